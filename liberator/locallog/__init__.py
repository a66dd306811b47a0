"""The local log: a small durable broker in one SQLite file, for one machine.

Enters: events, offsets and positions, in transactions. Leaves: events in the order of their partition, to as many readers
as like, and partitions shared out among the consumers of a group. Called by `publish.local`, `consume.local` and
`checkpoint.local`. There is no server: every process opens the file, and whoever finds something to be done does it.

Theory of operation. A transaction of the log is a transaction of SQLite, so nobody ever sees half of one, and an aborted
one leaves nothing behind; it is written in one go, never held open. Writers stand in line (`file`); readers wait for
nobody. A record's place is a number made of its partition and its offset (`record`). Consumers of a group keep their
membership, their partitions and their offsets in tables (`group`); a partition changes hands in two steps, its owner
first gives it up. Old records go when writers have time (`cleaning`).
"""

from liberator.locallog.failure import LocalLogFailure
from liberator.locallog.log import Bounds, LocalLog
from liberator.locallog.settings import TopicSettings
from liberator.locallog.transaction import Transaction

__all__ = ["Bounds", "LocalLog", "LocalLogFailure", "TopicSettings", "Transaction"]

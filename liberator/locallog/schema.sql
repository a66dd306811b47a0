-- The tables of a local log. A record's place is (partition's id << 40) | offset, see record.py.

CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL             -- JSON object, by Kafka's names
);

CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL REFERENCES topics,
    number INTEGER NOT NULL,
    first INTEGER NOT NULL DEFAULT 0,      -- offset of the oldest record that retention has left
    next INTEGER NOT NULL DEFAULT 0,       -- offset of the next record
    newest INTEGER NOT NULL DEFAULT 0,     -- timestamp of the newest record: timestamps never go back
    records INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,      -- of keys, values and headers
    compacted INTEGER NOT NULL DEFAULT 0,  -- before this offset every key is there at most once
    tombstone INTEGER,                     -- timestamp of the oldest tombstone before `compacted`
    UNIQUE (topic, number)
);

CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    timestamp INTEGER NOT NULL,            -- milliseconds since the Unix epoch, when it was appended or happened
    key BLOB,
    value BLOB,
    headers BLOB                           -- see record.py; null: none
);

-- Consumer groups. generation: grows with every change of members or claims.
CREATE TABLE groups (id TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE members (
    id TEXT PRIMARY KEY,
    in_group TEXT NOT NULL REFERENCES groups,
    topics TEXT NOT NULL,                  -- JSON array of names
    seen REAL NOT NULL,                    -- the machine's monotonic clock, seconds
    timeout REAL NOT NULL                  -- seconds after which it counts as dead
) WITHOUT ROWID;

-- owner: the member that reads the partition; heir: the one that shall.
CREATE TABLE claims (
    in_group TEXT NOT NULL REFERENCES groups,
    partition INTEGER NOT NULL REFERENCES partitions,
    owner TEXT NOT NULL,
    heir TEXT NOT NULL,
    PRIMARY KEY (in_group, partition)
) WITHOUT ROWID;

CREATE TABLE offsets (
    in_group TEXT NOT NULL,
    partition INTEGER NOT NULL REFERENCES partitions,
    next INTEGER NOT NULL,                 -- offset of the first record that is not done
    PRIMARY KEY (in_group, partition)
) WITHOUT ROWID;

-- Positions of source connectors, for exactly once.
CREATE TABLE epochs (connector TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE positions (
    connector TEXT NOT NULL,
    partition TEXT NOT NULL,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    saved_at TEXT NOT NULL,
    PRIMARY KEY (connector, partition)
) WITHOUT ROWID;

CREATE TABLE cleaning (due INTEGER NOT NULL);  -- one row: milliseconds since the Unix epoch
INSERT INTO cleaning VALUES (0);

//! The Debezium-shaped envelope (twin of liberator/codec/debezium.py).

use serde_json::Value;

use super::{NO_ROW, Piece, Told, Transaction, Written};

/// What ``source`` begins and ends with: `head`, times, `database`, places, `tail`, transaction.
pub struct Table {
    head: Vec<u8>,
    database: Vec<u8>,
    tail: Vec<u8>,
}

impl Table {
    pub fn parse(description: &Value) -> Option<Table> {
        let part = |name| Some(description.get(name)?.as_str()?.as_bytes().to_vec());
        Some(Table {
            head: part("head")?,
            database: part("database")?,
            tail: part("tail")?,
        })
    }

    pub fn changes(&self, transaction: &Transaction, mark: &[u8], now_us: i128) -> Changes {
        let last = match transaction.last_commit {
            Some(lsn) => format!("\\\"{lsn}\\\""),
            None => "null".to_owned(),
        };
        let xid = match transaction.xid {
            Some(xid) => xid.to_string(),
            None => "null".to_owned(),
        };
        let (ms, us, ns) = times(transaction.committed_us);
        let (now_ms, now_us, now_ns) = times(now_us);
        Changes {
            to_lsn: [
                &self.head,
                format!("{ms},\"ts_us\":{us},\"ts_ns\":{ns},\"snapshot\":\"").as_bytes(),
                mark,
                b"\"",
                &self.database,
                format!("\"[{last},\\\"").as_bytes(),
            ]
            .concat(),
            from_lsn: [
                b"\\\"]\"".as_slice(),
                &self.tail,
                format!("{xid},\"lsn\":").as_bytes(),
            ]
            .concat(),
            end: format!(
                "\",\"ts_ms\":{now_ms},\"ts_us\":{now_us},\"ts_ns\":{now_ns},\"transaction\":null}}"
            )
            .into_bytes(),
        }
    }
}

/// Milliseconds, as Python's ``//`` rounds; microseconds; nanoseconds.
fn times(us: i128) -> (i128, i128, i128) {
    (us.div_euclid(1000), us, us.saturating_mul(1000))
}

/// `to_lsn` and `from_lsn` stand around the first LSN of a change, `end` behind its op.
pub struct Changes {
    to_lsn: Vec<u8>,
    from_lsn: Vec<u8>,
    end: Vec<u8>,
}

impl Changes {
    pub fn value(&self, told: &Told, out: &mut Written) -> Piece {
        let mut digits = itoa::Buffer::new();
        let lsn = digits.format(told.lsn).as_bytes();
        let (open, close): (&[u8], &[u8]) = match told.unchanged {
            [] => (b"", b""),
            _ => (b",\"unchanged\":[", b"]"),
        };
        out.add(&[
            b"{\"before\":",
            told.before.unwrap_or(NO_ROW),
            b",\"after\":",
            told.after,
            &self.to_lsn,
            lsn,
            &self.from_lsn,
            lsn,
            b",\"xmin\":null",
            open,
            told.unchanged,
            close,
            b"},\"op\":\"",
            &[told.op],
            &self.end,
        ])
    }
}

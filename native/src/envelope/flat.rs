//! Flat events: the row is the value, all else is in headers (twin of liberator/codec/flat.py).

use serde_json::Value;

use super::{NO_ROW, Piece, Told, Transaction, Written};

/// named: the table's schema and name; none for what belongs to no table.
pub struct Table {
    named: Option<(Vec<u8>, Vec<u8>)>,
}

impl Table {
    pub fn parse(description: &Value) -> Option<Table> {
        let named: Vec<(String, String)> =
            serde_json::from_value(description.get("named")?.clone()).ok()?;
        let named = match named.as_slice() {
            [] => None,
            [(first, schema), (second, table)] if first == "__schema" && second == "__table" => {
                Some((schema.clone().into_bytes(), table.clone().into_bytes()))
            }
            _ => return None,
        };
        Some(Table { named })
    }

    pub fn changes(&self, transaction: &Transaction, now_us: i128) -> Changes {
        let ms = |us: i128| us.div_euclid(1000).to_string().into_bytes();
        Changes {
            named: self.named.clone(),
            source_ms: ms(transaction.committed_us),
            now_ms: ms(now_us),
        }
    }
}

/// What all events of a transaction tell.
pub struct Changes {
    named: Option<(Vec<u8>, Vec<u8>)>,
    source_ms: Vec<u8>,
    now_ms: Vec<u8>,
}

impl Changes {
    pub fn row(&self, told: &Told, out: &mut Written) -> Piece {
        let value = out.add(&[told.after]);
        self.headers(told.op, told.lsn, b"false", out);
        if !told.unchanged.is_empty() {
            out.header("__unchanged", &[b"[", told.unchanged, b"]"]);
        }
        if let (None, Some(before)) = (told.key, told.before) {
            out.header("__before", &[before]);
        }
        value
    }

    pub fn removed(&self, told: &Told, out: &mut Written) -> Option<Piece> {
        let value = (!told.forget).then(|| out.add(&[told.before.unwrap_or(NO_ROW)]));
        self.headers(b'd', told.lsn, b"true", out);
        value
    }

    pub fn headers(&self, op: u8, lsn: u64, deleted: &[u8], out: &mut Written) {
        out.header("__op", &[&[op]]);
        if let Some((schema, table)) = &self.named {
            out.header("__schema", &[schema]);
            out.header("__table", &[table]);
        }
        out.header("__source_ts_ms", &[&self.source_ms]);
        out.header("__lsn", &[itoa::Buffer::new().format(lsn).as_bytes()]);
        out.header("__ts_ms", &[&self.now_ms]);
        out.header("__deleted", &[deleted]);
    }
}

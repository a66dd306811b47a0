//! CloudEvents, binary or structured (twin of liberator/codec/cloudevents.py).

use std::collections::HashMap;

use serde_json::Value;

use super::{NO_ROW, Piece, Told, Transaction, Written};
use crate::values;

const STRUCTURED: &[u8] = b"application/cloudevents+json; charset=UTF-8";

/// An attribute: its name as a header has it, and its text.
type Attribute = (&'static str, Vec<u8>);

/// Where the name of an attribute begins in that of its header.
const PREFIX: usize = "ce_".len();

/// types: by op. fixed: the attributes that all events of the table have.
pub struct Table {
    is_structured: bool,
    types: HashMap<u8, Vec<u8>>,
    fixed: Vec<Attribute>,
}

impl Table {
    pub fn parse(description: &Value) -> Option<Table> {
        let types = description.get("types")?.as_object()?.iter();
        let fixed = description.get("fixed")?.as_array()?.iter();
        Some(Table {
            is_structured: description.get("structured")?.as_bool()?,
            types: types
                .map(|(op, text)| Some((*op.as_bytes().first()?, bytes(text)?)))
                .collect::<Option<_>>()?,
            fixed: fixed
                .map(|pair| {
                    let name = match pair.get(0)?.as_str()? {
                        "specversion" => "ce_specversion",
                        "source" => "ce_source",
                        "dataschema" => "ce_dataschema",
                        _ => return None,
                    };
                    Some((name, bytes(pair.get(1)?)?))
                })
                .collect::<Option<_>>()?,
        })
    }

    pub fn changes(&self, transaction: &Transaction, mark: &[u8]) -> Option<Changes> {
        let mut fixed = self.fixed.clone();
        fixed.push(("ce_time", moment(transaction.committed_us)));
        if mark != b"false" {
            fixed.push(("ce_snapshot", mark.to_vec()));
        }
        if let Some(xid) = transaction.xid {
            fixed.push(("ce_txid", xid.to_string().into_bytes()));
        }
        let mut members = b"{".to_vec();
        for (name, text) in &fixed {
            member(name, text, &mut members)?;
        }
        Some(Changes {
            is_structured: self.is_structured,
            types: self.types.clone(),
            fixed,
            members,
        })
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    Some(value.as_str()?.as_bytes().to_vec())
}

/// Append `"name":"text",`. None where the text is no text.
fn member(name: &str, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes().get(PREFIX..)?);
    out.extend_from_slice(b"\":");
    values::string(text, out).ok()?;
    out.push(b',');
    Some(())
}

/// The attributes of a transaction, as headers and as members of an object that is open.
pub struct Changes {
    is_structured: bool,
    types: HashMap<u8, Vec<u8>>,
    fixed: Vec<Attribute>,
    members: Vec<u8>,
}

impl Changes {
    /// The value, and its headers. None where a member would be no text.
    pub fn value(&self, told: &Told, out: &mut Written) -> Option<Piece> {
        let data = [
            b"{\"before\":".as_slice(),
            told.before.unwrap_or(NO_ROW),
            b",\"after\":",
            told.after,
            b"}",
        ];
        let value = if self.is_structured {
            let start = out.add(&[&self.members]).start;
            for (name, text) in self.own(told.op, told.key, told.id, told.lsn)? {
                member(name, &text, &mut out.bytes)?;
            }
            out.add(&[b"\"datacontenttype\":\"application/json\",\"data\":"]);
            out.add(&data);
            let end = out.add(&[b"}"]).end;
            out.header("content-type", &[STRUCTURED]);
            start..end
        } else {
            let value = out.add(&data);
            self.headers(told.op, told.key, told.id, told.lsn, out)?;
            out.header("content-type", &[b"application/json"]);
            value
        };
        if !told.unchanged.is_empty() {
            out.header("__unchanged", &[b"[", told.unchanged, b"]"]);
        }
        Some(value)
    }

    /// The headers of an event, or of a tombstone, whose attributes are all that it has.
    pub fn headers(
        &self,
        op: u8,
        key: Option<&[u8]>,
        id: &[u8],
        lsn: u64,
        out: &mut Written,
    ) -> Option<()> {
        for (name, text) in &self.fixed {
            out.header(name, &[text]);
        }
        for (name, text) in self.own(op, key, id, lsn)? {
            out.header(name, &[&text]);
        }
        Some(())
    }

    fn own(&self, op: u8, key: Option<&[u8]>, id: &[u8], lsn: u64) -> Option<Vec<Attribute>> {
        let mut own = vec![
            ("ce_id", id.to_vec()),
            ("ce_type", self.types.get(&op)?.clone()),
        ];
        if let Some(key) = key {
            own.push(("ce_subject", key.to_vec()));
        }
        own.push(("ce_lsn", lsn.to_string().into_bytes()));
        Some(own)
    }
}

/// `2000-01-01T00:00:00.000000Z`, of years with four digits.
fn moment(us: i128) -> Vec<u8> {
    const DAY: i128 = 86_400_000_000;
    let (days, us) = (us.div_euclid(DAY), us.rem_euclid(DAY));
    let (year, month, day) = date(days);
    let (seconds, us) = (us / 1_000_000, us % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z").into_bytes()
}

/// The date of a day since 1970-01-01. It counts from March, so that a leap day is the last of its year (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
fn date(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i128::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_python_does() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(moment(us), text.as_bytes());
        }
    }
}

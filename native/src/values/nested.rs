//! Types made of several others: ranges, multiranges, composites.

use serde_json::Value;

use super::cursor::Cursor;
use super::quoting::field;
use super::{Converted, Converter, Unfit};

const OF_RANGES: &[u8] = b",()[]\"\\";
const OF_COMPOSITES: &[u8] = b",()\"\\";

/// An object of two bounds. An unbounded side is null, which is not the subtype's own infinity.
pub fn range(raw: &[u8], bound: &Converter, out: &mut Vec<u8>) -> Converted {
    if raw == b"empty" {
        out.extend_from_slice(b"{\"empty\":true}");
        return Ok(());
    }
    let mut from = Cursor::new(raw);
    one_range(&mut from, bound, out)?;
    if from.is_done() { Ok(()) } else { Err(Unfit) }
}

/// An array of ranges.
pub fn multirange(raw: &[u8], bound: &Converter, out: &mut Vec<u8>) -> Converted {
    if raw == b"{}" {
        out.extend_from_slice(b"[]");
        return Ok(());
    }
    let mut from = Cursor::new(raw);
    if !from.eat(b'{') {
        return Err(Unfit);
    }
    out.push(b'[');
    one_range(&mut from, bound, out)?;
    while from.eat(b',') {
        out.push(b',');
        one_range(&mut from, bound, out)?;
    }
    if from.rest() != b"}" {
        return Err(Unfit);
    }
    out.push(b']');
    Ok(())
}

fn one_range(from: &mut Cursor<'_>, bound: &Converter, out: &mut Vec<u8>) -> Converted {
    let lower_inc: &[u8] = match from.next() {
        Some(b'[') => b"true",
        Some(b'(') => b"false",
        _ => return Err(Unfit),
    };
    out.extend_from_slice(b"{\"empty\":false,\"lower\":");
    value_or_null(from, OF_RANGES, bound, out)?;
    if !from.eat(b',') {
        return Err(Unfit);
    }
    out.extend_from_slice(b",\"upper\":");
    value_or_null(from, OF_RANGES, bound, out)?;
    let upper_inc: &[u8] = match from.next() {
        Some(b']') => b"true",
        Some(b')') => b"false",
        _ => return Err(Unfit),
    };
    for part in [
        b",\"lower_inc\":",
        lower_inc,
        b",\"upper_inc\":",
        upper_inc,
        b"}",
    ] {
        out.extend_from_slice(part);
    }
    Ok(())
}

fn value_or_null(
    from: &mut Cursor<'_>,
    special: &[u8],
    converter: &Converter,
    out: &mut Vec<u8>,
) -> Converted {
    match field(from, special)? {
        Some(value) => converter.convert(&value, out),
        None => {
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
}

/// An object by attribute name. checked: nothing that is trusted elsewhere is among the attributes.
#[derive(Debug)]
pub struct Composite {
    attributes: Vec<(Vec<u8>, Converter)>,
    checked: bool,
}

impl Composite {
    /// attributes: pairs of a name as JSON and a converter.
    pub fn parse(attributes: &Value) -> Option<Composite> {
        let attributes: Vec<_> = attributes
            .as_array()?
            .iter()
            .map(|attribute| {
                let [name, converter] = attribute.as_array()?.as_slice() else {
                    return None;
                };
                Some((
                    name.as_str()?.as_bytes().to_vec(),
                    Converter::parse(converter)?,
                ))
            })
            .collect::<Option<_>>()?;
        let checked = attributes
            .iter()
            .all(|(_, converter)| converter.is_checked());
        Some(Composite {
            attributes,
            checked,
        })
    }

    /// A type can have had other attributes when a value was written, so what is made of those that are trusted elsewhere
    /// is looked at.
    pub fn convert(&self, raw: &[u8], out: &mut Vec<u8>) -> Converted {
        let start = out.len();
        let mut from = Cursor::new(raw);
        if !from.eat(b'(') {
            return Err(Unfit);
        }
        out.push(b'{');
        for (number, (name, converter)) in self.attributes.iter().enumerate() {
            if number > 0 {
                if !from.eat(b',') {
                    return Err(Unfit);
                }
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            value_or_null(&mut from, OF_COMPOSITES, converter, out)?;
        }
        if from.rest() != b")" {
            return Err(Unfit);
        }
        out.push(b'}');
        if self.checked || is_json(out.get(start..).unwrap_or_default()) {
            Ok(())
        } else {
            Err(Unfit)
        }
    }
}

/// Nested more deeply than most readers go, it is not.
fn is_json(made: &[u8]) -> bool {
    serde_json::from_slice::<Value>(made).is_ok()
}

//! Bytes: bytea and geometry as base64, uuid as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Converted, Unfit, quoted_if};

const HAS_SRID: u32 = 0x2000_0000;

/// Four bytes as a number and back, in one of the two orders.
type Order = (fn([u8; 4]) -> u32, fn(u32) -> [u8; 4]);
const LITTLE: Order = (u32::from_le_bytes, u32::to_le_bytes);
const BIG: Order = (u32::from_be_bytes, u32::to_be_bytes);

fn nibble(byte: u8) -> Result<u8, Unfit> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Unfit),
    }
}

fn from_hex(raw: &[u8]) -> Result<Vec<u8>, Unfit> {
    if !raw.len().is_multiple_of(2) {
        return Err(Unfit);
    }
    let byte = |pair: &[u8]| match pair {
        [high, low] => Ok(nibble(*high)? << 4 | nibble(*low)?),
        _ => Err(Unfit),
    };
    raw.chunks_exact(2).map(byte).collect()
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) -> Converted {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    if let Some(place) = out.get_mut(start..) {
        STANDARD.encode_slice(bytes, place).map_err(|_| Unfit)?;
    }
    Ok(())
}

/// `\x00ff5c`.
pub fn bytea(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let bytes = from_hex(raw.strip_prefix(b"\\x").ok_or(Unfit)?)?;
    out.push(b'"');
    base64(&bytes, out)?;
    out.push(b'"');
    Ok(())
}

/// Told by its shape.
pub fn uuid(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let fits = raw.len() == 36
        && raw.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    quoted_if(fits, raw, out)
}

/// EWKB in hex -> the SRID, which PostGIS keeps in the outermost header only, and WKB without it.
pub fn geometry(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let shape = from_hex(raw)?;
    let (order, rest) = shape.split_first().ok_or(Unfit)?;
    let (read, write) = match order {
        1 => LITTLE,
        0 => BIG,
        _ => return Err(Unfit),
    };
    let (kind, rest) = rest.split_first_chunk().ok_or(Unfit)?;
    let kind = read(*kind);
    if kind & HAS_SRID == 0 {
        out.extend_from_slice(b"{\"srid\":null,\"wkb\":\"");
        base64(&shape, out)?;
    } else {
        let (srid, rest) = rest.split_first_chunk().ok_or(Unfit)?;
        out.extend_from_slice(format!("{{\"srid\":{},\"wkb\":\"", read(*srid)).as_bytes());
        base64(
            &[&[*order], &write(kind & !HAS_SRID)[..], rest].concat(),
            out,
        )?;
    }
    out.extend_from_slice(b"\"}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::made_by;

    #[test]
    fn bytes_become_base64() {
        assert_eq!(made_by(bytea, "\\x00ff5c").unwrap(), "\"AP9c\"");
        assert_eq!(made_by(bytea, "\\x00ff").unwrap(), "\"AP8=\"");
        assert_eq!(made_by(bytea, "\\x").unwrap(), "\"\"");
        for wrong in ["", "\\x0", "\\xgg", "00"] {
            assert_eq!(made_by(bytea, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_geometry_gives_its_srid_away() {
        let point = "0101000020E6100000000000000000F03F0000000000000040";
        assert_eq!(
            made_by(geometry, point).unwrap(),
            r#"{"srid":4326,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAABA"}"#
        );
        assert_eq!(
            made_by(geometry, "0101000000").unwrap(),
            r#"{"srid":null,"wkb":"AQEAAAA="}"#
        );
        for wrong in ["", "02", "01010000", "0101000020E61000"] {
            assert_eq!(made_by(geometry, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_uuid_is_lower_case() {
        let same = "6ecd8c99-4036-403d-bf84-cf8400f67836";
        assert_eq!(made_by(uuid, same).unwrap(), format!("\"{same}\""));
        assert_eq!(made_by(uuid, &same.to_uppercase()), None);
        assert_eq!(made_by(uuid, "6ecd8c99"), None);
    }
}

//! Values: the server's text of a column -> JSON, byte for byte as liberator/postgres/values makes it in Python.
//!
//! Enters: the output-function text of a value that is not NULL. Leaves: JSON, appended to a buffer, or `Unfit`. Which
//! converter a column gets is decided in Python alone, which describes it here as JSON: `["name", parameter...]`.
//!
//! | described as                                    | made by               |
//! |-------------------------------------------------|-----------------------|
//! | `verbatim`, `text`, `trimmed`, `one_byte`       | here, `text`          |
//! | `quoted` pattern                                | here                  |
//! | `float`, `numeric`, `money`, `bool`, `integers` | `numbers`             |
//! | `date`, `time`, `timetz`, `timestamp`, `timestamptz` | `datetimes`      |
//! | `uuid`, `bytea`, `geometry`                     | `binary`              |
//! | `document`, `document_line`                     | `text`                |
//! | `point`, `vector`, `sparsevec`                  | `numbers`             |
//! | `hstore`                                        | `quoting`             |
//! | `array`                                         | `arrays`              |
//! | `range`, `multirange`, `composite`              | `nested`              |
//! | `changed`: masks and casts behind any of these  | `changes`             |
//!
//! Whatever has another name, or none, is Python's: `Converter::parse` gives None, and the table is not native.

mod arrays;
mod binary;
mod changes;
mod cursor;
mod datetimes;
mod nested;
mod numbers;
mod quoting;
mod text;

use regex::bytes::Regex;
use serde_json::Value;

use arrays::Array;
use changes::Change;
use nested::Composite;

pub use text::{plain_string, string};

/// Text that is no value of its type, or one that only Python can judge. What was appended before is of no use.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit;

pub type Converted = Result<(), Unfit>;

type Make = fn(&[u8], &mut Vec<u8>) -> Converted;

/// Makes JSON of the values of one column.
#[derive(Debug)]
pub enum Converter {
    Verbatim,
    Made(Make),
    /// As `Made`, of what is trusted to be JSON already.
    Spliced(Make),
    Quoted(Regex),
    Array(Box<Array>),
    Range(Box<Converter>),
    Multirange(Box<Converter>),
    Composite(Box<Composite>),
    Changed(Box<Converter>, Vec<Change>),
}

impl Converter {
    /// The converter that Python describes; None: it is Python's.
    pub fn parse(described: &Value) -> Option<Converter> {
        let parts = described.as_array()?;
        let (name, given) = parts.split_first()?;
        let simple = |make: Make| given.is_empty().then_some(Self::Made(make));
        let spliced = |make: Make| given.is_empty().then_some(Self::Spliced(make));
        match name.as_str()? {
            "verbatim" => given.is_empty().then_some(Self::Verbatim),
            "text" => simple(text::string),
            "trimmed" => simple(text::trimmed),
            "one_byte" => simple(text::one_byte),
            "document" => spliced(text::document),
            "document_line" => spliced(text::document_line),
            "float" => simple(numbers::float),
            "numeric" => simple(numbers::numeric),
            "money" => simple(numbers::money),
            "bool" => simple(numbers::truth),
            "integers" => simple(numbers::integers),
            "point" => simple(numbers::point),
            "vector" => spliced(numbers::vector),
            "sparsevec" => simple(numbers::sparse_vector),
            "date" => simple(datetimes::date),
            "time" => simple(datetimes::time),
            "timetz" => simple(datetimes::timetz),
            "timestamp" => simple(datetimes::timestamp),
            "timestamptz" => simple(datetimes::timestamptz),
            "uuid" => simple(binary::uuid),
            "bytea" => simple(binary::bytea),
            "geometry" => simple(binary::geometry),
            "hstore" => simple(quoting::hstore),
            "quoted" => Some(Self::Quoted(whole(one(given)?.as_str()?)?)),
            "array" => Some(Self::Array(Box::new(Array::parse(given)?))),
            "range" => Some(Self::Range(Box::new(Self::parse(one(given)?)?))),
            "multirange" => Some(Self::Multirange(Box::new(Self::parse(one(given)?)?))),
            "composite" => Some(Self::Composite(Box::new(Composite::parse(one(given)?)?))),
            "changed" => {
                let [inner, changes] = given else { return None };
                let changes = changes
                    .as_array()?
                    .iter()
                    .map(Change::parse)
                    .collect::<Option<_>>()?;
                Some(Self::Changed(Box::new(Self::parse(inner)?), changes))
            }
            _ => None,
        }
    }

    /// Append the JSON of a value that is not NULL.
    pub fn convert(&self, raw: &[u8], out: &mut Vec<u8>) -> Converted {
        match self {
            Self::Verbatim => {
                out.extend_from_slice(raw);
                Ok(())
            }
            Self::Made(make) | Self::Spliced(make) => make(raw, out),
            Self::Quoted(pattern) => quoted_if(pattern.is_match(raw), raw, out),
            Self::Array(array) => array.convert(raw, out),
            Self::Range(bound) => nested::range(raw, bound, out),
            Self::Multirange(bound) => nested::multirange(raw, bound, out),
            Self::Composite(composite) => composite.convert(raw, out),
            Self::Changed(inner, changes) => changes::changed(raw, inner, changes, out),
        }
    }

    /// Is what it makes of any bytes well-formed JSON?
    fn is_checked(&self) -> bool {
        match self {
            Self::Made(_) | Self::Quoted(_) | Self::Composite(_) => true,
            Self::Verbatim | Self::Spliced(_) | Self::Changed(..) => false,
            Self::Array(array) => array.is_checked(),
            Self::Range(bound) | Self::Multirange(bound) => bound.is_checked(),
        }
    }
}

fn one(given: &[Value]) -> Option<&Value> {
    match given {
        [only] => Some(only),
        _ => None,
    }
}

/// A pattern of Python's that must match all of a text; it knows ASCII classes only.
pub(crate) fn whole(pattern: &str) -> Option<Regex> {
    regex::bytes::RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
        .unicode(false)
        .build()
        .ok()
}

/// Append a text that needs no escape, in quotes.
fn quoted(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    out.reserve(raw.len() + 2);
    out.push(b'"');
    out.extend_from_slice(raw);
    out.push(b'"');
    Ok(())
}

fn quoted_if(fits: bool, raw: &[u8], out: &mut Vec<u8>) -> Converted {
    if fits { quoted(raw, out) } else { Err(Unfit) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// What a function makes of a text; None: it does not fit.
    pub fn made_by(make: Make, raw: &str) -> Option<String> {
        let mut out = Vec::new();
        make(raw.as_bytes(), &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    fn made(described: Value, raw: &str) -> Option<String> {
        let mut out = Vec::new();
        let converter = Converter::parse(&described).expect("a converter");
        converter.convert(raw.as_bytes(), &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_not_known_here_is_left_to_python() {
        for unknown in [
            json!(["sealed"]),
            json!([]),
            json!("text"),
            json!(["text", 1]),
            json!(["quoted", "("]),
            json!(["array", ["sealed"], ",", "drop"]),
            json!(["array", ["text"], "{", "drop"]),
            json!(["changed", ["text"], [["sealed"]]]),
            json!(["composite", [["\"a\"", ["sealed"]]]]),
        ] {
            assert!(Converter::parse(&unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn arrays_nest_as_they_are_written() {
        let texts = json!(["array", ["text"], ",", "text"]);
        assert_eq!(
            made(texts.clone(), r#"{"NULL",NULL,"","a,b",é}"#).unwrap(),
            r#"["NULL",null,"","a,b","é"]"#
        );
        assert_eq!(
            made(texts.clone(), "[0:0][1:2]={{a,b}}").unwrap(),
            "\"[0:0][1:2]={{a,b}}\""
        );
        assert_eq!(made(texts.clone(), "{}").unwrap(), "[]");
        for wrong in [
            "", "{", "{a", "{a}}", "{,a}", "{a,}", "{{a}{b}}", "{a}b", "[0]={a}", "{\"a}",
        ] {
            assert_eq!(made(texts.clone(), wrong), None, "{wrong}");
        }
        let integers = |bounds| json!(["array", ["verbatim"], ",", bounds]);
        assert_eq!(
            made(integers("fail"), "{{1,NULL},{-3,4}}").unwrap(),
            "[[1,null],[-3,4]]"
        );
        assert_eq!(made(integers("drop"), "[0:1]={7,8}").unwrap(), "[7,8]");
        assert_eq!(made(integers("fail"), "[0:1]={7,8}"), None);
        assert_eq!(
            made(
                json!(["array", ["text"], ";", "drop"]),
                "{(1,1),(0,0);(2,2),(1,1)}"
            )
            .unwrap(),
            r#"["(1,1),(0,0)","(2,2),(1,1)"]"#
        );
    }

    #[test]
    fn ranges_know_their_bounds() {
        let range = json!(["range", ["verbatim"]]);
        assert_eq!(made(range.clone(), "empty").unwrap(), r#"{"empty":true}"#);
        assert_eq!(
            made(range.clone(), "[2,6)").unwrap(),
            r#"{"empty":false,"lower":2,"upper":6,"lower_inc":true,"upper_inc":false}"#
        );
        for wrong in ["", "[2,6", "2,6)", "[2)", "[2,6)x"] {
            assert_eq!(made(range.clone(), wrong), None, "{wrong}");
        }
        assert_eq!(
            made(json!(["multirange", ["date"]]), "{(,2024-01-02]}").unwrap(),
            r#"[{"empty":false,"lower":null,"upper":"2024-01-02","lower_inc":false,"upper_inc":true}]"#
        );
    }

    #[test]
    fn a_composite_of_other_attributes_is_refused() {
        let pair = json!(["composite", [["\"a\"", ["verbatim"]], ["\"b\"", ["text"]]]]);
        assert_eq!(
            made(pair.clone(), r#"(1,"a,""b\\")"#).unwrap(),
            r#"{"a":1,"b":"a,\"b\\"}"#
        );
        assert_eq!(made(pair.clone(), "(,)").unwrap(), r#"{"a":null,"b":null}"#);
        for wrong in ["", "()", "(1)", "(1,2,3)", "(x,y)", "(1,2)x", "(1,2"] {
            assert_eq!(made(pair.clone(), wrong), None, "{wrong}");
        }
        assert_eq!(made(json!(["composite", []]), "()").unwrap(), "{}");
    }
}

//! Values: the server's text of a column -> JSON, in the bytes of `liberator.postgres.values`.

use serde_json::Value;

/// Text that this converter does not surely turn into what Python's does.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit;

/// What makes JSON of a column's text.
pub enum Converter {
    /// The text is JSON as it stands.
    Verbatim,
}

impl Converter {
    /// From its description; None: not known here.
    pub fn parse(description: &Value) -> Option<Converter> {
        match description.get("kind")?.as_str()? {
            "verbatim" => Some(Converter::Verbatim),
            _ => None,
        }
    }

    /// Append the JSON of `text`.
    pub fn convert(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Converter::Verbatim => out.extend_from_slice(text),
        }
        Ok(())
    }
}

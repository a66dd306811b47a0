//! What is left to be checked of a column, on the bytes of its JSON.

use serde_json::Value;

/// A check that may say "not sure": then Python's decides.
pub enum Check {}

impl Check {
    /// From its description; None: not known here.
    pub fn parse(_description: &Value) -> Option<Check> {
        None
    }

    /// Does the value surely pass?
    pub fn passes(&self, _json: &[u8]) -> bool {
        match *self {}
    }
}

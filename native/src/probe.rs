//! One converter, or one check, by itself: for tests that hold it against Python's.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{checks, values};

/// `Converter(description: str)`, JSON. ValueError: it is not known here.
#[pyclass(frozen)]
pub struct Converter(values::Converter);

#[pymethods]
impl Converter {
    #[new]
    fn new(description: &str) -> PyResult<Converter> {
        let described = serde_json::from_str(description).ok();
        let known = described.and_then(|described| values::Converter::parse(&described));
        known
            .map(Converter)
            .ok_or_else(|| PyValueError::new_err("no such converter"))
    }

    /// The JSON of a text; None: it does not fit.
    fn convert<'py>(&self, py: Python<'py>, text: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        self.0.convert(text, &mut out).ok()?;
        Some(PyBytes::new(py, &out))
    }
}

/// `Check(description: str)`, JSON. ValueError: it is not known here.
#[pyclass(frozen)]
pub struct Check(checks::Check);

#[pymethods]
impl Check {
    #[new]
    fn new(description: &str) -> PyResult<Check> {
        let described = serde_json::from_str(description).ok();
        let known = described.and_then(|described| checks::Check::parse(&described));
        known
            .map(Check)
            .ok_or_else(|| PyValueError::new_err("no such check"))
    }

    /// Does the value surely pass?
    fn passes(&self, json: &[u8]) -> bool {
        self.0.passes(json)
    }
}

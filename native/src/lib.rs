//! The executor of plans in Rust: runs of the log's frames and of COPY lines -> encoded events, in the very bytes of the
//! reference.
//!
//! What is rare is not done here: where a run meets it, it stops, and Python's executor (liberator/plan/python.py) does that
//! one frame. So every error, every violation and every change of a table is the reference's own. Nothing here panics on
//! any bytes, knows a clock or does I/O.

pub mod checks;
pub mod copying;
pub mod envelope;
pub mod frames;
pub mod lines;
pub mod plan;
#[cfg(feature = "python")]
mod probe;
#[cfg(feature = "python")]
mod python;
pub mod transcoder;
pub mod values;

#[cfg(feature = "python")]
#[pyo3::pymodule]
mod liberator_native {
    /// What Python's side must know to use this module: it changes whenever a call or a description changes.
    #[pymodule_export]
    const INTERFACE: u32 = 4;

    #[pymodule_export]
    use crate::probe::{Check, Converter};
    #[pymodule_export]
    use crate::python::{Events, Executor, Plan, lines};
}

//! Reads and writes arrays of doubles in NumPy's format, for `aegis sim`, and describes files that are not such arrays.
//! Files are written whole or not at all.

use std::path::Path;

use aegis_files::read_bytes;
use aegis_sim::arrays::read_doubles;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::write;

/// Reads an array of doubles from a file. `needed` is the type and shape that the error asks for.
pub fn read_array(path: &Path, needed: &str) -> Result<Array2<f64>, Failure> {
    let bytes = read_bytes(path).map_err(|error| input(path, &format!("cannot read: {error}")))?;
    read_doubles(&bytes).map_err(|error| input(path, &format!("need {needed}: {error}")))
}

/// Makes the failure for an input file that is not valid.
pub fn input(path: &Path, reason: &str) -> Failure {
    failure(Exit::Input, format!("{}: {reason}", path.display()))
}

/// Writes states as an array `[states, width]`.
pub fn write_states(path: &Path, states: &[Vec<f64>]) -> Result<(), Failure> {
    let width = states.first().map_or(0, Vec::len);
    let array = Array2::from_shape_vec((states.len(), width), states.concat()).or_exit(Exit::Failed)?;
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).or_exit(Exit::Failed)?;
    write(path, &bytes)
}

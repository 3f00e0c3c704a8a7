//! Arrays of doubles in NumPy's format: what `aegis sim` reads and writes, and what it says of a file that is none.
//! Files are written whole or not at all.

use std::path::Path;

use aegis_files::read_bytes;
use aegis_sim::arrays::read_doubles;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::write;

/// An array of doubles from a file.
pub fn read_array(path: &Path, needed: &str) -> Result<Array2<f64>, Failure> {
    let bytes = read_bytes(path).map_err(|error| input(path, &format!("cannot read: {error}")))?;
    read_doubles(&bytes).map_err(|error| input(path, &format!("need {needed}: {error}")))
}

/// A file that does not say what is needed.
pub fn input(path: &Path, reason: &str) -> Failure {
    failure(Exit::Input, format!("{}: {reason}", path.display()))
}

/// Writes states as an array, a row each.
pub fn write_states(path: &Path, states: &[Vec<f64>]) -> Result<(), Failure> {
    let width = states.first().map_or(0, Vec::len);
    let array = Array2::from_shape_vec((states.len(), width), states.concat()).or_exit(Exit::Failed)?;
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).or_exit(Exit::Failed)?;
    write(path, &bytes)
}

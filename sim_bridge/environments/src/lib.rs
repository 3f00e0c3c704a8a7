//! Python module `aegis_libero._native`: LIBERO plants that are stepped one at a time or many at once, without Python's lock. The
//! package `aegis_libero` beside it makes gymnasium environments of them.

mod plants;
mod suite;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::plants::{Plants, Snapshot};
    #[pymodule_export]
    use crate::suite::Scenes;
}

//! Lookup of the names of `task.json` in a compiled model, and checks of list lengths.
//! Every mismatch is an error that names the file and the field.

use std::path::Path;

use mujoco_rs::prelude::{MjModel, MjtObjBase};
use nalgebra::{SMatrix, SVector};

use crate::error::{SuiteError, field};

/// Lookup of names and checks of list lengths, with errors that name the field.
pub(crate) struct Names<'a> {
    pub path: &'a Path,
    pub model: &'a MjModel,
}

impl Names<'_> {
    pub fn wrong(&self, name: &str, found: &str, valid: &str) -> SuiteError {
        field(self.path, name, found, valid)
    }

    pub fn size(&self, name: &str, found: usize, valid: usize) -> Result<(), SuiteError> {
        if found == valid {
            return Ok(());
        }
        Err(field(self.path, name, &found.to_string(), &valid.to_string()))
    }

    pub fn one(&self, kind: MjtObjBase, name: &str, value: &str) -> Result<usize, SuiteError> {
        self.model
            .name_to_id(kind, value)
            .ok_or_else(|| field(self.path, name, value, "a name that the model has"))
    }

    pub fn body(&self, name: &str, value: &str) -> Result<usize, SuiteError> {
        self.one(MjtObjBase::mjOBJ_BODY, name, value)
    }

    pub fn site(&self, name: &str, value: &str) -> Result<usize, SuiteError> {
        self.one(MjtObjBase::mjOBJ_SITE, name, value)
    }

    /// Returns the address at which a joint's coordinates begin in `qpos`.
    pub fn qpos_address(&self, name: &str, value: &str) -> Result<usize, SuiteError> {
        let joint = self.one(MjtObjBase::mjOBJ_JOINT, name, value)?;
        Ok(self.model.jnt_qposadr()[joint] as usize)
    }

    pub fn all<const N: usize>(
        &self,
        kind: MjtObjBase,
        name: &str,
        values: &[String],
    ) -> Result<[usize; N], SuiteError> {
        let ids = values.iter().map(|value| self.one(kind, name, value)).collect::<Result<Vec<_>, _>>()?;
        self.array(name, &ids)
    }

    pub fn array<const N: usize, T: Copy>(&self, name: &str, values: &[T]) -> Result<[T; N], SuiteError> {
        values
            .try_into()
            .map_err(|_| field(self.path, name, &format!("{} values", values.len()), &format!("{N} values")))
    }

    /// Makes a matrix from its values in row-major order.
    pub fn matrix<const R: usize, const C: usize>(
        &self,
        name: &str,
        values: &[f64],
    ) -> Result<SMatrix<f64, R, C>, SuiteError> {
        self.size(name, values.len(), R * C)?;
        Ok(SMatrix::from_row_slice(values))
    }

    pub fn vector<const N: usize>(&self, name: &str, values: &[f64]) -> Result<SVector<f64, N>, SuiteError> {
        self.array::<N, f64>(name, values).map(SVector::from)
    }
}

//! Plan files: reading a plan from disk.

use std::path::Path;

use aegis_files::toml_file;

use crate::plan::{Plan, PlanError};

impl Plan {
    /// Reads and checks a plan, and resolves model paths against the plan's own folder.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not a valid plan.
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        Self::read(path).map(|plan| plan.located(path))
    }

    /// Reads and checks a plan, with model paths as written.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not a valid plan.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        Self::parse(&toml_file::text(path)?, path)
    }
}

//! Frozen values: everything that a study's figures depend on, namely plan, models, probe, scenes and versions.
//! Registered and found values have the same type and are compared here.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::{canonical, digest, leaves};
use crate::plan::Plan;

/// Values that a registration freezes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// SHA-256 of the plan's canonical form.
    pub plan_sha256: String,
    /// Versions by name: the binary, and the libraries that physics and inference come from.
    pub versions: BTreeMap<String, String>,
    /// Model cards, weights, external data files of the weights, and the probe, by role.
    pub models: BTreeMap<String, NamedFile>,
    /// Scenes of the suite.
    pub scenes: Scenes,
    /// Whole plan, with model paths as written in it.
    pub plan: Value,
}

/// File and the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFile {
    /// Path, as written in the plan or the card.
    pub file: String,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
}

/// Files of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenes {
    /// Name of the suite.
    pub suite: String,
    /// SHA-256 over `files`, in canonical form.
    pub sha256: String,
    /// SHA-256 of each file, by its path within the suite's folder.
    pub files: BTreeMap<String, String>,
}

/// Name of a plant file among the files of a suite whose plants another process serves.
const PLANT: &str = "plant.toml";

impl Scenes {
    /// Returns the files of a suite whose plants another process serves: the SHA-256 of its plant file, and of its content without
    /// the suite's name.
    pub fn served(suite: String, file: String, content: String) -> Self {
        Self::new(suite, [(PLANT.to_owned(), file), ("content".to_owned(), content)].into())
    }

    /// Returns the scenes of a suite, with one digest over all files.
    pub fn new(suite: String, files: BTreeMap<String, String>) -> Self {
        Self { suite, sha256: Self::over(&files, |_| true), files }
    }

    /// Returns the SHA-256 over all `files` except `suite.json` or `plant.toml`, which contain the suite's name.
    /// The digest is the same for the same scenes under any name.
    pub fn content_sha256(&self) -> String {
        Self::over(&self.files, |path| path != "suite.json" && path != PLANT)
    }

    fn over(files: &BTreeMap<String, String>, which: impl Fn(&str) -> bool) -> String {
        let files = files.iter().filter(|(path, _)| which(path));
        digest(&Value::Object(files.map(|(path, sha256)| (path.clone(), sha256.as_str().into())).collect()))
    }
}

/// One value that differs from the registered one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// File of the value; `plan` or `versions` for values without a file of their own.
    pub file: String,
    /// Dotted key of the setting, or the property of the file.
    pub field: String,
    /// Registered value; `None` for a value that was added since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// Value found; `None` for a value that was removed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        let Self { file, field, registered, found } = self;
        write!(formatter, "{file}: {field}: registered {}, found {}", text(registered), text(found))
    }
}

impl Frozen {
    /// Builds the frozen values of a plan whose model paths are [as written](Plan::read).
    ///
    /// # Errors
    /// A plan with a number that JSON cannot represent; a plan that was loaded has none.
    pub fn new(
        plan: &Plan,
        versions: BTreeMap<String, String>,
        models: BTreeMap<String, NamedFile>,
        scenes: Scenes,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::of(serde_json::to_value(plan)?, versions, models, scenes))
    }

    /// Builds the frozen values of settings that are JSON already.
    pub fn of(
        plan: Value,
        versions: BTreeMap<String, String>,
        models: BTreeMap<String, NamedFile>,
        scenes: Scenes,
    ) -> Self {
        Self { plan_sha256: digest(&plan), versions, models, scenes, plan }
    }

    /// Returns the SHA-256 over all values, in canonical form.
    ///
    /// # Errors
    /// Values that JSON cannot represent; a lock has none.
    pub fn sha256(&self) -> Result<String, serde_json::Error> {
        serde_json::to_value(self).map(|value| digest(&value))
    }

    /// Returns every difference between `self`, which is registered, and `found`, sorted by file and field.
    pub fn compare(&self, found: &Self) -> Vec<Difference> {
        let (registered, found) = (self.items(), found.items());
        let keys = registered.keys().chain(found.keys().filter(|key| !registered.contains_key(*key)));
        let mut differences: Vec<Difference> = keys
            .filter(|key| registered.get(*key) != found.get(*key))
            .map(|key| Difference {
                file: key.0.clone(),
                field: key.1.clone(),
                registered: registered.get(key).cloned(),
                found: found.get(key).cloned(),
            })
            .collect();
        differences.sort_by(|a, b| (&a.file, &a.field).cmp(&(&b.file, &b.field)));
        differences
    }

    /// Returns every value by file and field.
    fn items(&self) -> BTreeMap<(String, String), String> {
        let plan = leaves(&self.plan).into_iter().map(|(key, text)| (("plan".into(), key), text));
        let versions = self.versions.iter().map(|(name, version)| {
            let key: (String, String) = ("versions".into(), name.clone());
            (key, version.clone())
        });
        let models = self.models.iter().map(|(role, NamedFile { file, sha256 })| {
            ((file.clone(), format!("SHA-256 ({role})")), sha256.clone())
        });
        let suite = &self.scenes.suite;
        let scenes = self.scenes.files.iter().map(|(path, sha256)| {
            let file = format!("scenes/{suite}/{path}");
            ((file, "SHA-256".to_owned()), sha256.clone())
        });
        plan.chain(versions).chain(models).chain(scenes).collect()
    }
}

/// Returns the canonical form of a plan whose model paths are [as written](Plan::read).
///
/// # Errors
/// As [`Frozen::new`].
pub fn canonical_plan(plan: &Plan) -> Result<String, serde_json::Error> {
    serde_json::to_value(plan).map(|value| canonical(&value))
}

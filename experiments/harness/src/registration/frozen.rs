//! Everything that a study's figures depend on, as values: plan, models, probe, scenes, versions.
//! What is registered and what is found are both of this kind, and are held against each other here.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::{canonical, digest, leaves};
use crate::plan::Plan;

/// What is frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// SHA-256 of the plan's canonical form.
    pub plan_sha256: String,
    /// Versions by name: the binary, and the libraries that physics and inference come from.
    pub versions: BTreeMap<String, String>,
    /// Cards, weights, the files that weights keep values in, and probe, by their role.
    pub models: BTreeMap<String, NamedFile>,
    /// The scenes.
    pub scenes: Scenes,
    /// The plan, whole, model paths as it gives them.
    pub plan: Value,
}

/// A file and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFile {
    /// Where it is, as plan and card give it.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// The files of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenes {
    /// The suite's name.
    pub suite: String,
    /// SHA-256 over `files`, in canonical form.
    pub sha256: String,
    /// SHA-256 of each file, by its path within the suite's folder.
    pub files: BTreeMap<String, String>,
}

impl Scenes {
    /// A suite's files, sorted, and the one digest over them.
    pub fn new(suite: String, files: BTreeMap<String, String>) -> Self {
        Self { suite, sha256: Self::over(&files, |_| true), files }
    }

    /// SHA-256 over all `files` but `suite.json`, which has the suite's name and its list of tasks in it: the same for the
    /// same scenes, whatever they are called.
    pub fn content_sha256(&self) -> String {
        Self::over(&self.files, |path| path != "suite.json")
    }

    fn over(files: &BTreeMap<String, String>, which: impl Fn(&str) -> bool) -> String {
        let files = files.iter().filter(|(path, _)| which(path));
        digest(&Value::Object(files.map(|(path, sha256)| (path.clone(), sha256.as_str().into())).collect()))
    }
}

/// One thing that is not as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The file; `plan` and `versions` for what is in no file of its own.
    pub file: String,
    /// The setting, or what of the file.
    pub field: String,
    /// What is registered; none for what has come since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// What is there; none for what has gone.
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
    /// What is frozen of a plan whose model paths are [as written](Plan::read).
    ///
    /// # Errors
    /// A plan with a number that JSON cannot hold; one that was loaded has none.
    pub fn new(
        plan: &Plan,
        versions: BTreeMap<String, String>,
        models: BTreeMap<String, NamedFile>,
        scenes: Scenes,
    ) -> Result<Self, serde_json::Error> {
        let plan = serde_json::to_value(plan)?;
        Ok(Self { plan_sha256: digest(&plan), versions, models, scenes, plan })
    }

    /// SHA-256 over all of it.
    ///
    /// # Errors
    /// None for values that a lock can hold.
    pub fn sha256(&self) -> Result<String, serde_json::Error> {
        serde_json::to_value(self).map(|value| digest(&value))
    }

    /// Names each thing that is not as in `self`, which is registered, sorted by file and field.
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

    /// Everything by file and field.
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

/// The canonical form of a plan whose model paths are [as written](Plan::read).
///
/// # Errors
/// As [`Frozen::new`].
pub fn canonical_plan(plan: &Plan) -> Result<String, serde_json::Error> {
    serde_json::to_value(plan).map(|value| canonical(&value))
}

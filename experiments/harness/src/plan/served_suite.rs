//! Plant file: tasks, number of initial states, features and channels of a plant in another process, as the plant announces them. A
//! plan can thus be checked, registered and judged without the plant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::Observation;
use aegis_core::feature::{ActionChannel, Feature, Schema};
use aegis_files::toml_file::{self, TomlError};
use serde::{Deserialize, Serialize};

/// Version of the file's fields.
const VERSION: u32 = 1;
/// Most tasks, and most initial states of a task.
const MOST: usize = 1_000_000;

/// Fields of the TOML file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    schema: u32,
    suite: String,
    initial_states: usize,
    period_ns: u64,
    tasks: Vec<String>,
    features: Vec<Feature>,
    actions: Vec<ActionChannel>,
}

/// A suite of tasks whose plants another process serves.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedSuite {
    /// Name of the suite.
    pub suite: String,
    /// The instruction of each task.
    pub tasks: Vec<String>,
    /// Number of initial states of each task, to which the plant can be reset.
    pub initial_states: usize,
    /// Control period of the plant, nanoseconds.
    pub period_ns: u64,
    /// Features and actions, the same in every task.
    pub schema: Arc<Schema>,
}

/// Error of reading a plant file.
#[derive(Debug, thiserror::Error)]
pub enum ServedSuiteError {
    /// The file cannot be read, or is not a plant file.
    #[error(transparent)]
    File(#[from] TomlError),
    /// A field is not valid.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Value found.
        found: String,
        /// Description of the valid values.
        valid: String,
    },
}

impl ServedSuite {
    /// Parses and checks the text of a plant file. `path` is the file, for messages.
    ///
    /// # Errors
    /// Text that is not a plant file, or a field that is not valid.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ServedSuiteError> {
        let fields: Fields = toml_file::parse(text, path)?;
        let wrong = |field: &str, found: String, valid: &str| ServedSuiteError::Field {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            valid: valid.to_owned(),
        };
        let Fields { schema: version, suite, initial_states, period_ns, tasks, features, actions } = fields;
        if version != VERSION {
            return Err(wrong("schema", version.to_string(), &VERSION.to_string()));
        }
        let valid = format!("1 to {MOST}");
        if !(1..=MOST).contains(&initial_states) {
            return Err(wrong("initial_states", initial_states.to_string(), &valid));
        }
        if !(1..=MOST).contains(&tasks.len()) {
            return Err(wrong("tasks", format!("{} instructions", tasks.len()), &valid));
        }
        if actions.is_empty() {
            let valid = "one or more channels, because policies are matched to plants by the channels' names";
            return Err(wrong("actions", "none".into(), valid));
        }
        let schema = Schema::new(features, actions)
            .map_err(|error| wrong(&error.place, error.found.clone(), &error.valid))?;
        Ok(Self { suite, tasks, initial_states, period_ns, schema: Arc::new(schema) })
    }

    /// Returns the text of the plant file.
    ///
    /// # Errors
    /// A value that TOML cannot represent, such as a period of more than 2⁶³ nanoseconds.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&Fields {
            schema: VERSION,
            suite: self.suite.clone(),
            initial_states: self.initial_states,
            period_ns: self.period_ns,
            tasks: self.tasks.clone(),
            features: self.schema.features().to_vec(),
            actions: self.schema.actions().to_vec(),
        })
    }

    /// Returns the text of the plant file without the suite's name: the same for the same plant under any name.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn content(&self) -> Result<String, toml::ser::Error> {
        Self { suite: String::new(), ..self.clone() }.text()
    }

    /// Returns the action with which the plant stands still, `[channels]`; `None` where a channel is a position, which has no such
    /// value.
    pub fn null_action(&self) -> Option<Vec<f32>> {
        self.schema.actions().iter().map(|channel| channel.still).collect()
    }

    /// Describes how a plant's reply to a reset differs from this file; `None` where it does not.
    pub fn difference(&self, task: usize, observed: &Observation) -> Option<String> {
        let known = self.tasks.get(task).map_or("", String::as_str);
        if *observed.instruction != *known {
            return Some(format!(
                "task {task}: found the instruction {:?}; valid is {known:?}",
                observed.instruction
            ));
        }
        if *observed.schema == *self.schema {
            return None;
        }
        let named = |schema: &Schema| {
            let features = schema.features().iter().map(ToString::to_string);
            features
                .chain(schema.actions().iter().map(|channel| channel.name.to_string()))
                .collect::<Vec<_>>()
        };
        let (found, valid) = (named(&observed.schema), named(&self.schema));
        if found == valid {
            return Some(
                "units, frames, component names, bounds or still values of its features or channels differ"
                    .into(),
            );
        }
        Some(format!("found features and channels {}; valid are {}", found.join(", "), valid.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> ServedSuite {
        let channel = |name: &str, bounds, still| ActionChannel {
            name: name.into(),
            semantics: "rad".into(),
            bounds,
            still,
        };
        let features = vec![Feature::vector("joint_positions", &["pan", "lift"], "rad")];
        let actions = vec![
            channel("pan", [f32::NEG_INFINITY, f32::INFINITY], None),
            channel("lift", [-1.0, 1.0], Some(0.0)),
        ];
        ServedSuite {
            suite: "arm".into(),
            tasks: vec!["reach the cube".into()],
            initial_states: 50,
            period_ns: 50_000_000,
            schema: Arc::new(Schema::new(features, actions).unwrap()),
        }
    }

    #[test]
    fn a_written_file_is_read_back() {
        let text = suite().text().unwrap();
        assert_eq!(ServedSuite::parse(&text, Path::new("arm.toml")).unwrap(), suite(), "{text}");
        let other = ServedSuite { suite: "copy".into(), ..suite() };
        assert_eq!(other.content().unwrap(), suite().content().unwrap());
        assert_eq!(suite().null_action(), None, "a position has no value at which it stands still");
    }

    #[test]
    fn an_invalid_plant_file_is_refused_by_field() {
        let text = suite().text().unwrap();
        for (from, to, named) in [
            ("schema = 1", "schema = 2", "schema: found 2; valid is 1"),
            ("initial_states = 50", "initial_states = 0", "initial_states: found 0"),
            ("name = \"lift\"", "name = \"pan\"", "pan"),
            ("period_ns", "period", "unknown field `period`"),
        ] {
            assert!(text.contains(from), "{text}");
            let error =
                ServedSuite::parse(&text.replace(from, to), Path::new("arm.toml")).unwrap_err().to_string();
            assert!(error.contains(named) && error.starts_with("arm.toml: "), "{error}");
        }
    }
}

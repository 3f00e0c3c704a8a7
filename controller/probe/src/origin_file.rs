//! `origins.toml`: origins of the files in its folder that do not state their origin and whose bytes may not change. A
//! statement applies to the file with the given digest, under any name.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use aegis_files::same_digest;
use aegis_files::toml_file::{self, TomlError};

use crate::origin::{Impossible, Origin, Statement, Use};

/// File name.
pub const ORIGINS: &str = "origins.toml";
/// Version of the file's layout.
const SCHEMA: u32 = 1;

/// Origins of the files of a folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origins {
    schema: u32,
    #[serde(default)]
    file: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// File name for readers; files are matched by digest.
    #[serde(rename = "name")]
    _name: String,
    sha256: String,
    part: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    part: String,
    origin: Origin,
}

/// Error of reading the file.
#[derive(Debug, thiserror::Error)]
pub enum OriginFileError {
    /// The file cannot be read, or is not a file of origins.
    #[error(transparent)]
    File(#[from] TomlError),
    /// The file has another schema version.
    #[error("{path}: schema: found {found}; valid is {SCHEMA}", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// A statement of the file cannot be true.
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

impl Origins {
    /// Reads the `origins.toml` in the folder of `neighbour`; `None` where it does not exist.
    ///
    /// # Errors
    /// A file that exists and cannot be used.
    pub fn beside(neighbour: &Path) -> Result<Option<Self>, OriginFileError> {
        let path = neighbour.with_file_name(ORIGINS);
        let text = match aegis_files::read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => {
                return Ok(None);
            }
            Err(source) => return Err(TomlError::Read { path, source }.into()),
        };
        let found: Self = toml_file::parse(&text, &path)?;
        if found.schema != SCHEMA {
            return Err(OriginFileError::Schema { path, found: found.schema });
        }
        for (index, file) in found.file.iter().enumerate() {
            for (part, said) in file.part.iter().enumerate() {
                let place = format!("file[{index}].part[{part}].origin");
                said.origin.validate(&path.display().to_string(), &place, None)?;
            }
        }
        Ok(Some(found))
    }

    /// Returns the statements about the file with this digest; empty where there is none. `file` is the file's name for
    /// messages, and `used` gives the use of a part by the part's name.
    pub fn of(&self, file: &str, sha256: &str, used: fn(&str) -> Use) -> Vec<Statement> {
        let named = self.file.iter().filter(|one| same_digest(&one.sha256, sha256));
        let parts = named.flat_map(|one| &one.part);
        parts
            .map(|Part { part, origin }| Statement {
                file: format!("{file}, by {ORIGINS} beside it"),
                part: part.clone(),
                used: used(part),
                origin: Some(origin.clone()),
            })
            .collect()
    }
}

/// Returns the statements of a model card about its training data, one for each data set.
///
/// # Errors
/// An `origin` that cannot be parsed or cannot be true, with its key in the card.
pub fn of_card(file: &str, card: &toml::Table) -> Result<Vec<Statement>, String> {
    let wrong = |place: &str, found: &str, valid: &str| {
        Err(format!("{file}: {place}: found {found}; valid is {valid}"))
    };
    let training = card.get("training").and_then(toml::Value::as_table);
    let data = training.and_then(|training| training.get("data"));
    if let Some(data) = data.filter(|data| !data.is_array()) {
        return wrong("training.data", data.type_str(), "a [[training.data]] table for each data set");
    }
    // A misspelt `origin` would otherwise be ignored, and with it what it states.
    let tables = data.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_table);
    let stray = |table: &toml::Table, allowed: &[&str]| {
        let is_stray =
            |key: &&String| key.to_lowercase().starts_with("origin") && !allowed.contains(&key.as_str());
        table.keys().find(is_stray).cloned()
    };
    if let Some(key) = training.and_then(|training| stray(training, &[])) {
        return wrong(
            &format!("training.{key}"),
            "a statement of origin",
            "origin in a [[training.data]] table",
        );
    }
    for (index, table) in tables.enumerate() {
        if let Some(key) = stray(table, &["origin"]) {
            return wrong(&format!("training.data[{index}].{key}"), "an unknown key", "origin");
        }
    }
    let data = data.and_then(toml::Value::as_array);
    let said = |(index, data): (usize, &toml::Value)| {
        let name = data.get("file").and_then(toml::Value::as_str).unwrap_or("a data set without a name");
        let origin = data.get("origin").map(|origin| {
            let place = format!("training.data[{index}].origin");
            let parsed: Result<Origin, _> = origin.clone().try_into();
            let parsed = parsed.map_err(|error| format!("{file}: {place}: {}", error.message()))?;
            parsed.validate(file, &place, None).map_err(|error| error.to_string())?;
            Ok::<_, String>(parsed)
        });
        let (part, used) = (name.to_owned(), Use::Training);
        Ok(Statement { file: file.to_owned(), part, used, origin: origin.transpose()? })
    };
    let found: Vec<Statement> =
        data.into_iter().flatten().enumerate().map(said).collect::<Result<_, String>>()?;
    if !found.is_empty() {
        return Ok(found);
    }
    let (file, part) = (file.to_owned(), "training".to_owned());
    Ok(vec![Statement { file, part, used: Use::Training, origin: None }])
}

/// Returns the file's own statements and those from `origins.toml`. Where the file states no origin at all, only those from
/// `origins.toml` are returned, if there are any.
pub fn resolved(own: Vec<Statement>, beside: Vec<Statement>) -> Vec<Statement> {
    let silent = own.iter().all(|statement| statement.origin.is_none());
    if silent && !beside.is_empty() { beside } else { [own, beside].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_models_and_probes_state_their_origins() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/models");
        let origins = Origins::beside(&models.join("probe.json")).unwrap().expect("it is shipped");
        for (name, parts, first) in [
            ("probe.json", &["discovery", "calibration"][..], 200),
            ("probe_vision.json", &["discovery", "calibration"], 200),
            ("weak.onnx", &["demonstrations.safetensors"], 50),
            ("weak_vision.onnx", &["pictures.safetensors"], 50),
            (
                "strong.onnx",
                &[
                    "demonstrations.safetensors",
                    "disturbed.safetensors",
                    "after-weak.safetensors",
                    "after-strong.safetensors",
                ],
                50,
            ),
        ] {
            let sha256 = aegis_files::sha256(&models.join(name)).unwrap();
            let said = origins.of(name, &sha256, Use::in_probe);
            assert_eq!(said.iter().map(|one| one.part.as_str()).collect::<Vec<_>>(), parts, "{name}");
            let origin = said[0].origin.as_ref().unwrap();
            assert_eq!(origin.starts.initial_states[0][0], first, "{name}");
            for statement in &said {
                let starts = &statement.origin.as_ref().unwrap().starts;
                let [first, end] = starts.initial_states[0];
                let share = crate::StateRange { first, end, replicates: 1 };
                let again = crate::origin::Starts::of(share.keys(starts.tasks.iter().copied()));
                assert_eq!(*starts, again, "{name}: {}", statement.part);
            }
        }
        assert!(origins.of("probe.json", "00", Use::in_probe).is_empty(), "other bytes are another file");
    }

    #[test]
    fn a_card_states_the_origin_of_each_data_set_or_of_none() {
        let of = |text: &str| of_card("weak.toml", &toml::from_str(text).unwrap());
        assert_eq!(of("").unwrap()[0].origin, None);
        let starts = crate::StateRange { first: 3, end: 5, replicates: 1 }.keys([0]);
        let sha256 = crate::origin::Starts::of(starts).sha256;
        let card = |states: &str| {
            let starts = format!("{{ tasks = [0], initial_states = {states}, sha256 = \"{sha256}\" }}");
            let origin = format!("origin = {{ suite = \"line\", master_seed = 1, starts = {starts} }}");
            format!("[[training.data]]\nfile = \"a\"\n[[training.data]]\nfile = \"calibration\"\n{origin}\n")
        };
        let said = of(&card("[[3, 5]]")).unwrap();
        assert_eq!(said[1].used, Use::Training, "whatever a data set is called");
        let error = of(&card("[[5, 3]]")).unwrap_err();
        assert!(
            error.contains("weak.toml: training.data[1].origin.starts.initial_states: found [[5, 3]]"),
            "{error}"
        );
        assert_eq!((said[0].part.as_str(), &said[0].origin), ("a", &None));
        assert_eq!(said[1].origin.as_ref().unwrap().starts.initial_states, [[3, 5]]);
        let error = of("[[training.data]]\norigin = { suit = 1 }\n").unwrap_err();
        assert!(error.contains("weak.toml: training.data[0].origin") && error.contains("suit"), "{error}");
    }
}

//! Statements of a report beside its figures: the policies, the gate's settings, and the use of each range of starts.
//! All of them are registered, so the page of a store is the same on every machine.

use std::collections::BTreeMap;

use crate::plan::Plan;
use crate::plan::registration::Lock;
use aegis_probe::file::ProbeFile;
use aegis_probe::origin::Statement;

/// The plan, lock, probe and model cards that a study was registered with, and what is known of tasks, packages and origins.
#[derive(Clone, Copy, Debug)]
pub struct Background<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The plan's lock.
    pub lock: &'a Lock,
    /// The probe, with its thresholds.
    pub probe: &'a ProbeFile,
    /// Model cards as parsed TOML, by role: `weak` and `strong`.
    pub cards: &'a BTreeMap<String, toml::Table>,
    /// Description of each policy's inputs, by role.
    pub reads: &'a BTreeMap<String, String>,
    /// The plan's tasks, each with its instruction.
    pub tasks: &'a [(usize, String)],
    /// Versions of the packages that the suite's scenes were made with, by package name.
    pub packages: &'a BTreeMap<String, String>,
    /// Registered statements of the policies' and the probe's files about the starts they were made from.
    pub statements: &'a [Statement],
    /// Sentences on the provenance of the results: registration, digests, amendments, interruptions and precondition.
    pub provenance: &'a [String],
}

/// Returns the value at `path` of a card as text. `None` where it is absent, a table or a list.
pub(super) fn stated(card: &toml::Table, path: &[&str]) -> Option<String> {
    let (last, tables) = path.split_last()?;
    let table = tables.iter().try_fold(card, |table, key| table.get(*key)?.as_table())?;
    match table.get(*last)? {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Table(_) | toml::Value::Array(_) => None,
        other => Some(other.to_string()),
    }
}

/// Returns the tables of the list at `path` of a card. Empty where there is no such list.
pub(super) fn listed<'a>(card: &'a toml::Table, path: &[&str]) -> Vec<&'a toml::Table> {
    let Some((last, tables)) = path.split_last() else { return Vec::new() };
    let table = tables.iter().try_fold(card, |table, key| table.get(*key)?.as_table());
    let list = table.and_then(|table| table.get(*last)?.as_array());
    list.map(|list| list.iter().filter_map(toml::Value::as_table).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_read_by_path_and_may_lack_keys() {
        let card: toml::Table = toml::from_str(
            "file = \"weak.onnx\"\n[training]\nparameters = 64583\n[[training.data]]\nfile = \"a\"\n[[training.data]]\n",
        )
        .unwrap();
        assert_eq!(stated(&card, &["file"]).as_deref(), Some("weak.onnx"));
        assert_eq!(stated(&card, &["training", "parameters"]).as_deref(), Some("64583"));
        for absent in
            [&["success", "all"][..], &["training", "seed"], &["training", "data"], &["training"], &[]]
        {
            assert_eq!(stated(&card, absent), None, "{absent:?}");
        }
        let data = listed(&card, &["training", "data"]);
        assert_eq!(
            data.iter().map(|one| stated(one, &["file"])).collect::<Vec<_>>(),
            [Some("a".into()), None]
        );
        assert!(listed(&card, &["frames"]).is_empty() && listed(&card, &["file"]).is_empty());
    }
}

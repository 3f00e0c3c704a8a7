//! What a robot is driven by: the weak policy, its backup, and the probe. The backup is a policy, named by its card, or a person.

use std::fmt::{self, Formatter};
use std::path::PathBuf;

use aegis_core::control::OperatorSettings;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Weak policy, backup and probe of a robot file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotModels {
    /// Model card of the weak policy.
    pub weak: PathBuf,
    /// Who drives when the gate fires.
    pub strong: Strong,
    /// Probe file for the weak policy.
    pub probe: PathBuf,
}

/// The backup: who drives when the gate fires.
#[derive(Clone, Debug, PartialEq)]
pub enum Strong {
    /// A policy, by its model card.
    Card(PathBuf),
    /// A person, who is called.
    Operator(OperatorSettings),
}

impl Strong {
    /// Returns the path of the policy's card; `None` where the backup is a person.
    pub fn card(&self) -> Option<&PathBuf> {
        match self {
            Self::Card(path) => Some(path),
            Self::Operator(_) => None,
        }
    }

    /// Returns the settings of the person; `None` where the backup is a policy.
    pub fn operator(&self) -> Option<&OperatorSettings> {
        match self {
            Self::Card(_) => None,
            Self::Operator(settings) => Some(settings),
        }
    }
}

impl<'de> Deserialize<'de> for Strong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrongVisitor)
    }
}

struct StrongVisitor;

impl<'de> Visitor<'de> for StrongVisitor {
    type Value = Strong;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "the path of a card in quotes, or { operator = { stream_timeout_ms = N, answer_within_ms = N } }",
        )
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<Strong, E> {
        Ok(Strong::Card(path.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strong, A::Error> {
        let mut settings = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "operator" {
                return Err(A::Error::unknown_field(&key, &["operator"]));
            }
            settings = Some(Strong::Operator(map.next_value()?));
        }
        settings.ok_or_else(|| A::Error::missing_field("operator"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(strong: &str) -> Result<Strong, String> {
        let text = format!("weak = \"a\"\nstrong = {strong}\nprobe = \"c\"");
        toml::from_str::<RobotModels>(&text)
            .map(|models| models.strong)
            .map_err(|error| error.message().into())
    }

    #[test]
    fn the_backup_is_a_card_or_a_person() {
        assert_eq!(read("\"strong.toml\""), Ok(Strong::Card("strong.toml".into())));
        let person = read("{ operator = { stream_timeout_ms = 300, answer_within_ms = 60000 } }").unwrap();
        let settings = person.operator().unwrap();
        assert_eq!((settings.stream_timeout_ms, settings.answer_within_ms), (300.0, 60_000.0));
        assert_eq!((settings.release_after_ms, &settings.first_within[..]), (0.0, &[][..]));
        for (strong, words) in [
            ("3", "expected the path of a card in quotes, or { operator ="),
            ("{}", "missing field `operator`"),
            ("{ person = {} }", "unknown field `person`, expected `operator`"),
            ("{ operator = { answer_within_ms = 1 } }", "missing field `stream_timeout_ms`"),
            (
                "{ operator = { stream_timeout_ms = 300, answer_within_ms = 1, patience = 3 } }",
                "unknown field `patience`",
            ),
        ] {
            let said = read(strong).unwrap_err();
            assert!(said.contains(words), "{strong}: {said}");
        }
    }
}

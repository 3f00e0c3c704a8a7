//! The lock: what was registered, and every change since, in a chain of seals.
//! A seal is a digest over an entry and the seal before it, so an entry that was edited breaks the chain there.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::canonical::digest;
use super::frozen::{Difference, Frozen};
use crate::text::is_obeyed;

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;

/// A registered plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this layout.
    pub schema: u32,
    /// When it was registered, RFC 3339, UTC.
    pub created: String,
    /// Commit of the source that the registering binary was built from, `-dirty` where it had been changed; `unknown`
    /// outside a repository. Told, not held: what a later binary makes of the same store is held by `verify`.
    pub commit: String,
    /// Digest of what was frozen then.
    pub registered_sha256: String,
    /// What is to be known of the registration, in sentences that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seal of the registration.
    pub seal: String,
    /// Changes since, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amendments: Vec<Amendment>,
    /// What holds now.
    pub frozen: Frozen,
}

/// One change of a registered plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// When, RFC 3339, UTC.
    pub when: String,
    /// Why, in words.
    pub why: String,
    /// Episodes of the confirmation range that were stored then.
    pub episodes_seen: u64,
    /// What is to be known of it, in sentences that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What changed; nothing where it is only noted that episodes were run outside the study.
    pub changes: Vec<Difference>,
    /// Digest of what has been frozen since.
    pub frozen_sha256: String,
    /// Seal of this entry.
    pub seal: String,
}

impl Amendment {
    /// Whether data had been seen.
    pub fn data_seen(&self) -> bool {
        self.episodes_seen > 0
    }

    fn sealed(&self, previous: &str) -> Result<String, serde_json::Error> {
        let mut entry = serde_json::to_value(self)?;
        entry["seal"] = Value::Null;
        Ok(digest(&json!({ "previous": previous, "entry": entry })))
    }
}

/// Why a lock is refused.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// An entry is not the one that was sealed.
    #[error("{entry}: found another content than was sealed; the lock was edited by hand, restore it")]
    Broken {
        /// Which entry.
        entry: String,
    },
    /// An amendment of nothing.
    #[error("nothing differs from what is registered, so there is nothing to amend")]
    NoChange,
    /// An amendment without a reason.
    #[error("why: found no words; valid is the reason for the change")]
    NoReason,
    /// A reason that is no line of words, which the report and a terminal could not show as one.
    #[error("why: found the character {found:?}; valid is the reason for the change as one line of words")]
    NoLine {
        /// What is no part of a line.
        found: char,
    },
    /// A value that JSON cannot hold.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl Lock {
    /// Registers what was found.
    ///
    /// # Errors
    /// As [`Frozen::sha256`].
    pub fn new(
        frozen: Frozen,
        created: String,
        commit: String,
        notes: Vec<String>,
    ) -> Result<Self, LockError> {
        let registered_sha256 = frozen.sha256()?;
        let (schema, seal, amendments) = (SCHEMA, String::new(), Vec::new());
        let mut lock = Self { schema, created, commit, registered_sha256, notes, seal, amendments, frozen };
        lock.seal = lock.registration_seal();
        Ok(lock)
    }

    /// The seal that the registration has to have.
    fn registration_seal(&self) -> String {
        let Self { schema, created, commit, registered_sha256, notes, .. } = self;
        // A lock without notes is sealed as it was before there were any.
        let notes = (!notes.is_empty()).then_some(notes);
        digest(&json!({
            "schema": schema, "created": created, "commit": commit, "registered_sha256": registered_sha256,
            "notes": notes
        }))
    }

    /// The newest seal, which stands for the whole lock: quote it where the study is announced.
    pub fn head(&self) -> &str {
        self.amendments.last().map_or(&self.seal, |amendment| &amendment.seal)
    }

    /// Names each thing that is found otherwise than registered, amendments included.
    pub fn compare(&self, found: &Frozen) -> Vec<Difference> {
        self.frozen.compare(found)
    }

    /// Follows the chain from the registration to what holds now.
    ///
    /// # Errors
    /// [`LockError::Broken`] at the first entry that is not as it was sealed.
    pub fn verify(&self) -> Result<(), LockError> {
        let broken = |entry: String| Err(LockError::Broken { entry });
        if self.seal != self.registration_seal() {
            return broken("registration".into());
        }
        let (mut seal, mut frozen_sha256) = (&self.seal, &self.registered_sha256);
        for (index, amendment) in self.amendments.iter().enumerate() {
            if amendment.seal != amendment.sealed(seal)? {
                return broken(format!("amendments[{index}]"));
            }
            (seal, frozen_sha256) = (&amendment.seal, &amendment.frozen_sha256);
        }
        let Frozen { plan, plan_sha256, scenes, .. } = &self.frozen;
        let again = super::Scenes::new(scenes.suite.clone(), scenes.files.clone());
        if *frozen_sha256 != self.frozen.sha256()? || *plan_sha256 != digest(plan) || again != *scenes {
            return broken("frozen".into());
        }
        Ok(())
    }

    /// The lock with what is found now, and the change in its log.
    ///
    /// # Errors
    /// A chain that is broken already, a change of nothing, no reason, or one that is no line.
    pub fn amend(
        &self,
        found: Frozen,
        when: String,
        why: &str,
        episodes_seen: u64,
        notes: Vec<String>,
    ) -> Result<Self, LockError> {
        if why.trim().is_empty() {
            return Err(LockError::NoReason);
        }
        if let Some(found) = why.trim().chars().find(|symbol| is_obeyed(*symbol)) {
            return Err(LockError::NoLine { found });
        }
        if self.compare(&found).is_empty() {
            return Err(LockError::NoChange);
        }
        self.append(found, when, why.trim().to_owned(), episodes_seen, notes)
    }

    /// The lock with a word in its log on episodes of the confirmation range that were run outside the study.
    ///
    /// # Errors
    /// A chain that is broken already.
    pub fn note(&self, when: String, what: &str, episodes: u64) -> Result<Self, LockError> {
        self.append(self.frozen.clone(), when, what.to_owned(), episodes, Vec::new())
    }

    fn append(
        &self,
        found: Frozen,
        when: String,
        why: String,
        episodes_seen: u64,
        notes: Vec<String>,
    ) -> Result<Self, LockError> {
        self.verify()?;
        let (changes, frozen_sha256) = (self.compare(&found), found.sha256()?);
        let mut amendment =
            Amendment { when, why, episodes_seen, notes, changes, frozen_sha256, seal: String::new() };
        amendment.seal = amendment.sealed(self.head())?;
        let mut amended = Self { frozen: found, ..self.clone() };
        amended.amendments.push(amendment);
        Ok(amended)
    }
}

//! Lock of a plan: the registration and every amendment since, in a chain of seals. A seal is a digest over an entry
//! and the previous seal, so an entry that was edited breaks the chain at that entry.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::canonical::digest;
use super::frozen::{Difference, Frozen};
use aegis_files::text::is_obeyed;

/// Version of the lock file's layout.
pub const SCHEMA: u32 = 1;

/// Lock of a registered plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this layout.
    pub schema: u32,
    /// Time of the registration, RFC 3339, UTC.
    pub created: String,
    /// Commit of the source that the registering binary was built from, with `-dirty` where the source had uncommitted
    /// changes; `unknown` outside a repository. The commit is reported but not compared: `verify` checks what a later
    /// binary computes from the same store.
    pub commit: String,
    /// Digest of the values frozen at the registration.
    pub registered_sha256: String,
    /// Remarks on the registration, as sentences that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seal of the registration.
    pub seal: String,
    /// Amendments since, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amendments: Vec<Amendment>,
    /// Frozen values that apply now.
    pub frozen: Frozen,
}

/// One change of a registered plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// Time of the amendment, RFC 3339, UTC.
    pub when: String,
    /// Reason for the change, as one line of text.
    pub why: String,
    /// Number of episodes of the confirmation range that were stored at that time.
    pub episodes_seen: u64,
    /// Remarks on the amendment, as sentences that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Changes; empty where the entry only records that episodes were run outside the study.
    pub changes: Vec<Difference>,
    /// Digest of the values that are frozen since.
    pub frozen_sha256: String,
    /// Seal of this entry.
    pub seal: String,
}

impl Amendment {
    /// Returns whether episodes of the confirmation range had been stored before the amendment.
    pub fn data_seen(&self) -> bool {
        self.episodes_seen > 0
    }

    fn sealed(&self, previous: &str) -> Result<String, serde_json::Error> {
        let mut entry = serde_json::to_value(self)?;
        entry["seal"] = Value::Null;
        Ok(digest(&json!({ "previous": previous, "entry": entry })))
    }
}

/// Error of a lock or of a change to it.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The content of an entry differs from its seal.
    #[error("{entry}: found content that differs from its seal; the lock was edited by hand, restore it")]
    Broken {
        /// Name of the entry.
        entry: String,
    },
    /// An amendment that changes nothing.
    #[error("found no difference from the registered values, so there is nothing to amend")]
    NoChange,
    /// An amendment without a reason.
    #[error("why: found no words; valid is the reason for the change")]
    NoReason,
    /// A reason with a control character or a line end, which the report and a terminal could not show as one line.
    #[error("why: found the character {found:?}; valid is the reason for the change as one line of words")]
    NoLine {
        /// Character that does not belong in a line of text.
        found: char,
    },
    /// A value that JSON cannot represent.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl Lock {
    /// Creates the lock of a new registration.
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

    /// Computes the seal of the registration.
    fn registration_seal(&self) -> String {
        let Self { schema, created, commit, registered_sha256, notes, .. } = self;
        // Null members are left out of the canonical form, so a lock without notes has the same seal as before notes
        // existed.
        let notes = (!notes.is_empty()).then_some(notes);
        digest(&json!({
            "schema": schema, "created": created, "commit": commit, "registered_sha256": registered_sha256,
            "notes": notes
        }))
    }

    /// Returns the newest seal, which covers the whole lock: quote it where the study is announced.
    pub fn head(&self) -> &str {
        self.amendments.last().map_or(&self.seal, |amendment| &amendment.seal)
    }

    /// Returns every difference between the frozen values, amendments included, and those found.
    pub fn compare(&self, found: &Frozen) -> Vec<Difference> {
        self.frozen.compare(found)
    }

    /// Verifies the chain of seals from the registration to the frozen values.
    ///
    /// # Errors
    /// [`LockError::Broken`] at the first entry that differs from its seal.
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

    /// Returns the lock with the values found now, and with an amendment that records the changes.
    ///
    /// # Errors
    /// A broken chain, no change, a missing reason, or a reason that is not one line.
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

    /// Returns the lock with an entry that records episodes of the confirmation range that were run outside the study.
    ///
    /// # Errors
    /// A broken chain.
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

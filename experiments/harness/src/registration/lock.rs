//! The lock: what was registered, and every change since, in a chain of seals.
//! A seal is a digest over an entry and the seal before it, so an entry that was edited breaks the chain there.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::canonical::digest;
use super::frozen::{Difference, Frozen};

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
    /// What changed.
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
    /// A value that JSON cannot hold.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl Lock {
    /// Registers what was found.
    ///
    /// # Errors
    /// As [`Frozen::sha256`].
    pub fn new(frozen: Frozen, created: String, commit: String) -> Result<Self, LockError> {
        let registered_sha256 = frozen.sha256()?;
        let seal = registration_seal(SCHEMA, &created, &commit, &registered_sha256);
        Ok(Self { schema: SCHEMA, created, commit, registered_sha256, seal, amendments: Vec::new(), frozen })
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
        if self.seal != registration_seal(self.schema, &self.created, &self.commit, &self.registered_sha256) {
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
    /// A chain that is broken already, a change of nothing, or no reason.
    pub fn amend(
        &self,
        found: Frozen,
        when: String,
        why: &str,
        episodes_seen: u64,
    ) -> Result<Self, LockError> {
        self.verify()?;
        let changes = self.compare(&found);
        if changes.is_empty() {
            return Err(LockError::NoChange);
        }
        if why.trim().is_empty() {
            return Err(LockError::NoReason);
        }
        let why = why.trim().to_owned();
        let frozen_sha256 = found.sha256()?;
        let mut amendment =
            Amendment { when, why, episodes_seen, changes, frozen_sha256, seal: String::new() };
        amendment.seal = amendment.sealed(self.head())?;
        let mut amended = Self { frozen: found, ..self.clone() };
        amended.amendments.push(amendment);
        Ok(amended)
    }
}

fn registration_seal(schema: u32, created: &str, commit: &str, registered_sha256: &str) -> String {
    digest(&json!({
        "schema": schema, "created": created, "commit": commit, "registered_sha256": registered_sha256
    }))
}

//! A registered plan: its canonical form, the lock that freezes it with all that a run reads, and amendments.
//! Pure but for the lock's own file: who registers says what was found and what time it is.

mod canonical;
mod file;
mod frozen;
mod lock;
mod ranges;
mod since;

pub use canonical::{canonical, digest};
pub use file::{LockFileError, lock_path};
pub use frozen::{Difference, Frozen, NamedFile, Scenes, canonical_plan};
pub use lock::{Amendment, Lock, LockError, SCHEMA};

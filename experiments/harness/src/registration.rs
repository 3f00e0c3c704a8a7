//! Registration of a plan: its canonical form, the lock that freezes the plan with everything that a run reads, and
//! amendments. Without side effects apart from reading and writing the lock file: the caller passes the found values
//! and the time.

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

//! Registration of a plan: its canonical form, the lock that freezes the plan with everything that a run reads, and
//! amendments. Without side effects: the caller passes the found values and the time. `data/lock_file.rs` reads and writes the
//! lock.

mod canonical;
mod frozen;
mod lock;
mod ranges;
mod since;

pub use canonical::{canonical, digest};
pub use frozen::{Difference, Frozen, NamedFile, Scenes, canonical_plan};
pub use lock::{Amendment, Lock, LockError, SCHEMA};

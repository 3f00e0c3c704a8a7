//! A watchdog beside a robot, in a process of its own: it reads the commands that go to a plant and what the plant executes, and
//! stops the plant by the plant's own means when commands cease, jump, leave the bounds of the watchdog's own file, are not
//! finite, are old, or come from two controllers. A trip is latched: the plant is then asked repeatedly to stop, and no
//! message of a controller ends a trip.
//! `bounds`, `trip` and `judge` are pure: values in, values out, time as a value. `watch` does the input and output.
//!
//! ```
//! use aegis_watchdog::Bounds;
//!
//! let error = Bounds::parse("rate_hz = 20\nsilence_ms = 150\nchannels = []").unwrap_err();
//! assert_eq!(error, "channels: found none; valid is one for each value of an action, 1 to 64");
//! ```

pub mod bounds;
pub mod judge;
pub mod trip;
pub mod watch;

pub use bounds::{Bounds, BoundsError, Channel};
pub use judge::Watchdog;
pub use trip::{Kind, Trip};
pub use watch::{Report, WatchError, watch};

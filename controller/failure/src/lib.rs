//! Errors that carry the exit code of the process. The command line and the robot session return them; `main` prints the
//! error once.
//!
//! ```
//! use aegis_failure::{Exit, OrExit};
//!
//! let error = "five".parse::<u32>().or_exit(Exit::Input).expect_err("a word");
//! assert_eq!(error.prefixed("--plants").to_string(), "--plants: invalid digit found in string");
//! ```

use std::fmt::{self, Display, Formatter};

/// Exit codes of the process, by the kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The work itself failed.
    Failed = 1,
    /// Arguments, settings or models are not valid.
    Input = 2,
    /// The cache or a library is missing.
    Setup = 3,
    /// A safe stop or an e-stop ended a controller's run or its last episode.
    Stopped = 4,
    /// A signal ended a controller, after a safe stop.
    Signal = 5,
}

/// An error with the exit code that the process ends with.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the failure with `place` before its message.
    #[must_use]
    pub fn prefixed(self, place: impl Display) -> Self {
        failure(self.exit, format!("{place}: {self}"))
    }

    /// Returns the failure with `more` after its message.
    #[must_use]
    pub fn followed(self, more: impl Display) -> Self {
        failure(self.exit, format!("{self}; {more}"))
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        // The libraries' errors include their cause in their own message; printing the chain would repeat the cause.
        formatter.write_str(self.error.to_string().trim_end())
    }
}

/// Attaches an exit code to an error.
pub trait OrExit<T> {
    /// Turns any error into a [`Failure`] with this code.
    ///
    /// # Errors
    /// The error of `self`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}

/// Makes a failure from a message.
pub fn failure(exit: Exit, message: impl Display) -> Failure {
    Failure { exit, error: anyhow::anyhow!("{message}") }
}

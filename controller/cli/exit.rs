//! How the process ends: one error style, and every exit code in one place.
//! Verbs attach a code to what went wrong; `main` prints it once.

use std::fmt::{self, Arguments, Display, Formatter};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
#[cfg(feature = "robot")]
use std::sync::{Arc, atomic::AtomicBool};

#[cfg(feature = "robot")]
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};

/// Shown under `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 an episode or a file failed; 2 bad arguments, settings or models; \
                        3 not set up (run `cargo xtask setup`); 4 a safe stop or an e-stop ended a run \
                        or its last episode; \
                        5 a signal did, after a safe stop.";

/// What kind of failure ended a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The work itself failed.
    Failed = 1,
    /// Arguments, settings or models are not valid.
    Input = 2,
    /// The cache or a library is missing.
    Setup = 3,
    #[cfg_attr(not(feature = "robot"), allow(dead_code))] // Robots alone end so.
    /// A controller stopped and was not reset, or was and had no further episode.
    Stopped = 4,
    #[cfg_attr(not(feature = "robot"), allow(dead_code))] // Robots alone end so.
    /// A signal ended a controller, after a safe stop.
    Signal = 5,
}

/// An error and the code that it ends the process with.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

#[cfg(feature = "robot")]
impl Failure {
    /// The same with what it is about before it.
    pub fn prefixed(self, place: impl Display) -> Self {
        failure(self.exit, format!("{place}: {self}"))
    }

    /// The same with what else went wrong behind it.
    pub fn followed(self, more: impl Display) -> Self {
        failure(self.exit, format!("{self}; {more}"))
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        // The libraries' errors give their cause within their own message; the chain would say it twice.
        formatter.write_str(self.error.to_string().trim_end())
    }
}

/// Attaches an exit code to an error.
pub trait OrExit<T> {
    /// Turns any error into a [`Failure`] with this code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}

/// A failure from a message alone.
pub fn failure(exit: Exit, message: impl Display) -> Failure {
    Failure { exit, error: anyhow::anyhow!("{message}") }
}

#[cfg(feature = "robot")]
/// A flag that is set once a signal tells the process to end: SIGINT, SIGTERM, SIGQUIT or SIGHUP.
pub fn end_signal() -> Result<Arc<AtomicBool>, Failure> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS.iter().chain([&SIGHUP]) {
        signal_hook::flag::register(*signal, Arc::clone(&told)).or_exit(Exit::Failed)?;
    }
    Ok(told)
}

/// Prints an error, if there is one, and gives the process its code.
pub fn report(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Prints a line to standard output, as `println!` does, but ends the process where nobody reads any more.
macro_rules! say {
    ($($text:tt)*) => { $crate::exit::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// What [`say!`] does. A reader that has gone, as `head` does, has had what it wanted; any other error is one.
pub fn print_line(line: Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        let gone = error.kind() == ErrorKind::BrokenPipe;
        std::process::exit(if gone { 0 } else { Exit::Failed as i32 });
    }
}

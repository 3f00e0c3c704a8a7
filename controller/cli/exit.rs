//! How the process ends: one error style, and every exit code in one place.
//! Verbs attach a code to what went wrong; `main` prints it once.

use std::borrow::Cow;
use std::fmt::{self, Arguments, Display, Formatter};
use std::io::{self, ErrorKind};
use std::process::ExitCode;
#[cfg(feature = "robot")]
use std::sync::{Arc, atomic::AtomicBool};
use std::sync::{Mutex, PoisonError};

use aegis_experiments::text::is_obeyed;
#[cfg(feature = "robot")]
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};

use crate::outlet::{self, Stream};

/// Prints a line to standard output, as `println!` does, but neither panics nor ends the work where that cannot be written.
macro_rules! say {
    ($($text:tt)*) => { $crate::exit::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a line to standard error, as `eprintln!` does, but does not panic where that cannot be written.
macro_rules! tell {
    ($($text:tt)*) => { $crate::exit::tell_line(format_args!($($text)*)) };
}
pub(crate) use tell;

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

impl Failure {
    /// The code that it ends the process with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
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

/// Prints an error, if there is one, and gives the process its code: that of the work, or where only its words were lost,
/// that of a file that could not be written.
pub fn report(result: Result<(), Failure>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    outlet::finish(|late| {
        let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take().or(late);
        let result = match (result, lost) {
            (Ok(()), Some(error)) if !is_gone(&error) => Err(unwritten(&error)),
            (result, _) => result,
        };
        if let Err(failure) = result {
            tell!("error: {failure}");
            code = ExitCode::from(failure.exit as u8);
        }
    });
    code
}

/// Prints what is to be said of a command line that no verb is run for: help, the version, or what is wrong with it.
pub fn usage(said: &clap::Error) -> ExitCode {
    match said.print() {
        Err(error) if said.exit_code() == 0 && !is_gone(&error) => report(Err(unwritten(&error))),
        _ => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(Exit::Input as u8)),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    failure(Exit::Failed, format!("standard output: cannot write: {error}"))
}

/// Why a line could not be printed; nothing is printed after it.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// What [`say!`] does.
pub fn print_line(line: Arguments<'_>) {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_none() {
        *lost = outlet::say(Stream::Output, shown(&line.to_string()).into_owned()).err();
    }
}

/// What [`tell!`] does.
pub fn tell_line(line: Arguments<'_>) {
    // Standard error has failed as well: nowhere is left to report it.
    let _ = outlet::say(Stream::Errors, shown(&line.to_string()).into_owned());
}

/// Text for a terminal, which shows what it would obey, as names and reasons that come from files may have it.
fn shown(text: &str) -> Cow<'_, str> {
    let obeyed = |symbol: char| is_obeyed(symbol) && !matches!(symbol, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    for symbol in text.chars() {
        if obeyed(symbol) { whole.extend(symbol.escape_default()) } else { whole.push(symbol) }
    }
    Cow::Owned(whole)
}

/// Whether an error of standard output says that its reader has gone: a pipe's, as `head` does once it has what it wanted, or
/// a terminal that was closed, which answers with EIO, as a broken disk does.
fn is_gone(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    let to_a_file = || std::fs::metadata("/proc/self/fd/1").is_ok_and(|output| output.is_file());
    error.kind() == ErrorKind::BrokenPipe || (error.raw_os_error() == Some(EIO) && !to_a_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let plain = "a table\n\twith ≥ 2 rows · and “words”";
        assert_eq!(shown(plain), plain);
        assert_eq!(shown("red \u{1b}[31m\r\u{202e}x\u{7}\n"), "red \\u{1b}[31m\\r\\u{202e}x\\u{7}\n");
    }
}

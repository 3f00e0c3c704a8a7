//! Output of commands and of their errors: lines on standard output and standard error, and the end of the process with the
//! exit code that an error carries.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_files::text::is_obeyed;
#[cfg(feature = "robot")]
use signal_hook::consts::{
    SIGALRM, SIGIO, SIGPROF, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};

pub use aegis_failure::{Exit, Failure, OrExit, failure};

use crate::outlet::{self, Stream};

/// Prints a line to standard output, as `println!` does, but neither panics nor ends the work where the output cannot be
/// written.
macro_rules! say {
    ($($text:tt)*) => { $crate::exit::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a line to standard error, as `eprintln!` does, but does not panic where the output cannot be written.
macro_rules! tell {
    ($($text:tt)*) => { $crate::exit::tell_line(format_args!($($text)*)) };
}
pub(crate) use tell;

/// Text about exit codes at the end of `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 an episode or a file failed; 2 bad arguments, settings or models; \
                        3 not set up (run `cargo xtask setup`); 4 a safe stop or an e-stop ended a run \
                        or its last episode; \
                        5 a signal did, after a safe stop.";

/// Returns a flag that is set once the process receives SIGINT, SIGTERM, SIGQUIT or SIGHUP.
pub fn end_signal() -> Result<Arc<AtomicBool>, Failure> {
    flag_of(TERM_SIGNALS.iter().chain([&SIGHUP]))
}

/// Returns a flag that is set once the process receives one of these signals.
fn flag_of<'a>(signals: impl IntoIterator<Item = &'a i32>) -> Result<Arc<AtomicBool>, Failure> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in signals {
        signal_hook::flag::register(*signal, Arc::clone(&told)).or_exit(Exit::Failed)?;
    }
    Ok(told)
}

/// Signals that would end or suspend a process, beside those that ask it to end. A server of a robot that is suspended leaves the
/// robot moving.
#[cfg(feature = "robot")]
const OTHER_ENDS: [i32; 12] = [
    SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXCPU, SIGXFSZ,
];

/// Returns a flag that is set once the process receives a signal that asks it to end, or that would end or suspend it: for servers
/// of robots, whose end stops the robot. Of the latter, signals that the process was started to ignore stay ignored, as SIGHUP
/// under `nohup`. No program can handle SIGKILL and SIGSTOP.
#[cfg(feature = "robot")]
pub fn robot_end_signal() -> Result<Arc<AtomicBool>, Failure> {
    let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
    let others = OTHER_ENDS.iter().filter(|signal| ignored & (1_u64 << (**signal - 1)) == 0);
    flag_of(TERM_SIGNALS.iter().chain(others))
}

/// Returns the set of signals that a process ignores, by its status as Linux tells it: signal n is bit n - 1.
#[cfg(feature = "robot")]
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// Returns a flag that is set once the process receives SIGTSTP, which Ctrl-Z sends. From then on SIGTSTP does not suspend the process,
/// whose robot would run on without its controller.
#[cfg(feature = "robot")]
pub fn suspend_signal() -> Result<Arc<AtomicBool>, Failure> {
    flag_of(&[SIGTSTP])
}

/// Prints the error, if there is one, and returns the exit code of the process: that of the work, or, where the work
/// succeeded and only its output could not be written, that of a failed write. A closed pipe or terminal is not a
/// failure.
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
            code = ExitCode::from(failure.exit() as u8);
        }
    });
    code
}

/// Prints clap's message for a command line that runs no command: help, the version, or what is wrong with the arguments.
/// Returns the exit code.
pub fn usage(said: &clap::Error) -> ExitCode {
    match said.print() {
        Err(error) if said.exit_code() == 0 && !is_gone(&error) => report(Err(unwritten(&error))),
        _ => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(Exit::Input as u8)),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    failure(Exit::Failed, format!("standard output: cannot write: {error}"))
}

/// Error of the first line that could not be printed to standard output; no line is printed after it.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line to standard output, for [`say!`].
pub fn print_line(line: Arguments<'_>) {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_none() {
        *lost = outlet::say(Stream::Output, shown(&line.to_string()).into_owned()).err();
    }
}

/// Prints a line to standard error, for [`tell!`].
pub fn tell_line(line: Arguments<'_>) {
    // A failure of standard error cannot be reported anywhere.
    let _ = outlet::say(Stream::Errors, shown(&line.to_string()).into_owned());
}

/// Escapes the characters that a terminal would obey instead of showing. Names and reasons that come from files may contain
/// such characters.
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

/// Returns whether an error of standard output means that its reader is gone: a closed pipe, as of `head` once it has read
/// enough, or a terminal that was closed. A closed terminal answers with EIO, as a broken disk does, so EIO counts only
/// where standard output is not a file.
fn is_gone(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    let to_a_file = || std::fs::metadata("/proc/self/fd/1").is_ok_and(|output| output.is_file());
    error.kind() == ErrorKind::BrokenPipe || (error.raw_os_error() == Some(EIO) && !to_a_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "robot")]
    #[test]
    fn signals_that_a_process_ignores_are_read_from_its_status() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert_eq!(ignored(status) & (1 << (SIGHUP - 1)), 1, "as under `nohup`");
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored(""), 0);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let plain = "a table\n\twith ≥ 2 rows · and “words”";
        assert_eq!(shown(plain), plain);
        assert_eq!(shown("red \u{1b}[31m\r\u{202e}x\u{7}\n"), "red \\u{1b}[31m\\r\\u{202e}x\\u{7}\n");
    }
}

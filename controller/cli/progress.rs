//! Progress with time left, on standard error, and only for a person.
//! Results go to standard output, so a pipe sees nothing of this.

use aegis_experiments::runner::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::exit::tell;

/// A bar over `total` items under a heading.
pub fn bar(heading: impl Into<std::borrow::Cow<'static, str>>, total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_message(heading);
    // The template is a constant; should it ever be wrong, the default style does.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// What a run tells the bar: a job done moves it, an interruption is printed above it, for a person and for a log.
pub fn follow(bar: &ProgressBar) -> impl Fn(Progress<'_>) + Sync + '_ {
    move |event| match event {
        Progress::Done => bar.inc(1),
        Progress::Interrupted { what, reason } => {
            bar.suspend(|| tell!("{what}: interrupted, run again from its beginning: {reason}"));
        }
    }
}

//! Live view of a run in the terminal: mode, score against threshold, budget, lateness, the newest events, and an
//! operator's keys. `draw` is a pure function of [`Live`], and `asked` is a pure function of a key. The thread around both
//! only reads keys and the newest values.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::control::{CallPhase, CallReport, Mode, StopReason};
use aegis_link::wire::OperatorCommand;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline};

use crate::exit::{Exit, Failure, failure};
use aegis_robot::Worker;
use aegis_robot::events::TickEvent;

/// Interval between two drawn frames.
const INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for the terminal to accept its first bytes. A terminal that is stopped shows the run once it continues.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Number of scores, and of log lines, that are kept.
const KEPT: usize = 240;
const KEYS: &str = " e e-stop   s stop   r reset   g start   q or Ctrl-C end ";

/// State that the view shows.
#[derive(Clone, Debug)]
pub struct Live {
    mode: Mode,
    cause: Option<StopReason>,
    step: u32,
    /// The call of an operator, where the backup is a person.
    call: Option<CallReport>,
    risk: f64,
    threshold: f64,
    budget_left: u32,
    late_ns: u64,
    skipped: u64,
    /// Risks at the newest boundaries, in hundredths; a flagged score is 100.
    risks: VecDeque<u64>,
    lines: VecDeque<String>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            mode: Mode::Idle,
            cause: None,
            step: 0,
            call: None,
            risk: 0.0,
            threshold: f64::INFINITY,
            budget_left: 0,
            late_ns: 0,
            skipped: 0,
            risks: VecDeque::new(),
            lines: VecDeque::new(),
        }
    }
}

impl Live {
    /// Updates the state with a control period.
    pub fn take(&mut self, turn: &TickEvent<'_>) {
        let period = turn.period;
        let output = &period.output;
        (self.mode, self.cause, self.step) = (output.mode, output.cause, output.step);
        self.call.clone_from(&output.call);
        self.skipped += u64::from(period.inputs.skipped);
        // The maximum of the lateness, which decays by a thousandth each period.
        self.late_ns = period.late_ns.max(self.late_ns - self.late_ns / 1000);
        if let Some(decision) = &output.decision {
            self.risk = decision.score.risk();
            self.threshold = decision.thresholds.fire;
            self.budget_left = decision.budget_left;
            push(&mut self.risks, (self.risk.clamp(0.0, 1.0) * 100.0) as u64);
        }
    }

    /// Adds a log line.
    pub fn say(&mut self, line: &str) {
        push(&mut self.lines, line.to_owned());
    }
}

fn push<T>(kept: &mut VecDeque<T>, value: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(value);
}

/// Returns where the call of an operator stands, in words.
fn called(report: &CallReport) -> String {
    match report.phase {
        CallPhase::Quiet => String::new(),
        CallPhase::Called => {
            format!("  an operator is called: {:.0} s left to answer ", report.left.as_secs_f64())
        }
        CallPhase::Driving => "  an operator drives ".into(),
        CallPhase::Released => "  the operator has let go ".into(),
    }
}

/// Draws the view.
fn draw(frame: &mut Frame<'_>, live: &Live) {
    let colour = match live.mode {
        Mode::Idle => Color::Gray,
        Mode::Weak => Color::Green,
        Mode::Strong => Color::Cyan,
        Mode::Holding => Color::Yellow,
        Mode::SafeStop | Mode::EStop => Color::Red,
    };
    let rows = [3, 3, 8, 3].map(Constraint::Length);
    let [top, gauge, scores, loop_row, rest] =
        Layout::vertical([rows[0], rows[1], rows[2], rows[3], Constraint::Min(3)]).areas(frame.area());
    let cause = live.cause.map_or(String::new(), |cause| format!("  {cause:?}"));
    let call = live.call.as_ref().map_or(String::new(), called);
    let title = format!(" {:?}{cause}   step {} {call}", live.mode, live.step);
    let bold = Style::new().fg(colour).add_modifier(Modifier::BOLD);
    frame
        .render_widget(Paragraph::new(Line::styled(title, bold)).block(Block::bordered().title("mode")), top);
    let label =
        format!("risk {:.3}, threshold {:.3}, fires left {}", live.risk, live.threshold, live.budget_left);
    let ratio = if live.risk.is_finite() { live.risk.clamp(0.0, 1.0) } else { 1.0 };
    let over = if live.risk > live.threshold { Color::Red } else { Color::Green };
    let risk =
        Gauge::default().block(Block::bordered().title("score")).gauge_style(over).ratio(ratio).label(label);
    frame.render_widget(risk, gauge);
    let width = usize::from(scores.width.saturating_sub(2));
    let newest: Vec<u64> = live.risks.iter().skip(live.risks.len().saturating_sub(width)).copied().collect();
    let spark = Sparkline::default()
        .block(Block::bordered().title("risk at boundaries, 0 to 1"))
        .max(100)
        .data(newest);
    frame.render_widget(spark, scores);
    let late = format!(
        " late by {:.0} µs at most lately   missed periods {} ",
        live.late_ns as f64 / 1e3,
        live.skipped
    );
    frame.render_widget(Paragraph::new(late).block(Block::bordered().title("loop")), loop_row);
    let height = usize::from(rest.height.saturating_sub(2));
    let lines = live.lines.iter().skip(live.lines.len().saturating_sub(height));
    let lines: Vec<Line<'_>> = lines.map(|line| Line::from(line.as_str())).collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title("events").title_bottom(KEYS)),
        rest,
    );
}

/// Action that an operator's key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// An operator command, as `aegis operate` sends it.
    OperatorCommand(OperatorCommand),
    /// The end of the run, as a signal requests it.
    End,
}

/// Returns the action that a key asks for; most keys ask for none. While the view owns the terminal (raw mode), the
/// terminal turns no key into a signal, so keys that would send a signal are handled here.
fn asked(key: &KeyEvent) -> Option<Asked> {
    let (KeyCode::Char(letter), KeyEventKind::Press) = (key.code, key.kind) else { return None };
    let held = key.modifiers.difference(KeyModifiers::SHIFT);
    Some(match (letter.to_ascii_lowercase(), held) {
        // A stop key works with any modifier.
        ('e', _) => Asked::OperatorCommand(OperatorCommand::EStop),
        ('s', _) => Asked::OperatorCommand(OperatorCommand::Stop),
        // SIGINT and SIGQUIT; a terminal sends the byte of Ctrl-\ for Ctrl-4 too.
        ('c' | '\\' | '4', KeyModifiers::CONTROL) => Asked::End,
        // Ctrl-Z stops the robot instead of sending SIGTSTP, which would suspend the controller while the robot runs.
        ('z', KeyModifiers::CONTROL) => Asked::OperatorCommand(OperatorCommand::Stop),
        ('r', KeyModifiers::NONE) => Asked::OperatorCommand(OperatorCommand::Reset),
        ('g', KeyModifiers::NONE) => Asked::OperatorCommand(OperatorCommand::Start),
        ('q', KeyModifiers::NONE) => Asked::End,
        _ => return None,
    })
}

/// Checks that there is a terminal to draw the view on and to read keys from.
///
/// # Errors
/// Standard output is not a terminal, or no keys can be read.
pub fn check_terminal() -> Result<(), Failure> {
    let reads_keys = io::stdin().is_terminal() || std::fs::File::open("/dev/tty").is_ok();
    let found = match (io::stdout().is_terminal(), reads_keys) {
        (true, true) => return Ok(()),
        (false, _) => "standard output",
        (true, false) => "standard input",
    };
    let valid = "valid is a terminal, so run it in one, or leave --view out and use `aegis operate`";
    Err(failure(Exit::Input, format!("--view: {found} is no terminal; {valid}")))
}

/// Shows the view on the terminal until the returned worker is dropped. `operate` is called with each operator command; a
/// key that ends the run sets `quit`, as a signal does.
///
/// # Errors
/// A terminal that cannot be drawn on.
pub fn show(
    live: Arc<Mutex<Live>>,
    operate: impl Fn(OperatorCommand) + Send + 'static,
    quit: Arc<AtomicBool>,
) -> io::Result<Worker> {
    let (sender, begun) = sync_channel(1);
    let view = Worker::start("view", move |end| {
        // The terminal is opened on this thread: a write to a stopped terminal blocks the thread that writes.
        let mut terminal = match ratatui::try_init() {
            Ok(terminal) => terminal,
            Err(error) => {
                let _ = ratatui::try_restore();
                let _ = sender.send(error);
                return;
            }
        };
        drop(sender);
        let mut draw_newest = || {
            let now = live.lock().unwrap_or_else(PoisonError::into_inner).clone();
            terminal.draw(|frame| draw(frame, &now)).is_ok()
        };
        while !end.load(Ordering::Acquire) {
            // A terminal that was closed does not stop the robot. It is not polled: polling it would keep a processor busy.
            let ready =
                if draw_newest() { event::poll(INTERVAL) } else { Err(io::ErrorKind::BrokenPipe.into()) };
            if ready.is_err() {
                std::thread::sleep(INTERVAL);
            }
            if let Ok(true) = ready
                && let Ok(Event::Key(key)) = event::read()
            {
                match asked(&key) {
                    Some(Asked::OperatorCommand(wish)) => operate(wish),
                    Some(Asked::End) => quit.store(true, Ordering::Release),
                    None => {}
                }
            }
        }
        draw_newest();
        // Neither the destructor of `terminal` nor `ratatui::restore` may run here: both panic where they cannot print
        // their error.
        if terminal.show_cursor().is_err() {
            std::mem::forget(terminal);
        }
        let _ = ratatui::try_restore();
    })?;
    match begun.recv_timeout(TIMEOUT) {
        Ok(error) => Err(io::Error::new(error.kind(), format!("--view: cannot use the terminal: {error}"))),
        // The view shows the run, or will show it once the terminal continues.
        Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => Ok(view),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn what_matters_is_on_the_screen() {
        let mut live =
            Live { mode: Mode::SafeStop, cause: Some(StopReason::StrongLost), risk: 0.75, ..Live::default() };
        live.threshold = 0.5;
        live.late_ns = 41_000;
        (0..300).for_each(|number| live.say(&format!("event {number}")));
        for size in [(100, 40), (40, 24), (10, 5), (1, 1), (0, 0)] {
            let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
            terminal.draw(|frame| draw(frame, &live)).unwrap();
            if size.0 == 100 {
                let screen = terminal.backend().to_string();
                for word in ["SafeStop", "StrongLost", "0.750", "0.500", "41 µs", "event 299", "e-stop"] {
                    assert!(screen.contains(word), "{word} is missing from\n{screen}");
                }
            }
        }
    }
    #[test]
    fn a_key_asks_for_what_the_manual_says_in_either_case_and_ctrl_c_for_the_end() {
        let [none, shift, control] = [KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL];
        let wish = |wish| Some(Asked::OperatorCommand(wish));
        for (letter, held, expected) in [
            ('e', none, wish(OperatorCommand::EStop)),
            ('E', shift, wish(OperatorCommand::EStop)),
            ('E', none, wish(OperatorCommand::EStop)),
            ('e', control, wish(OperatorCommand::EStop)),
            ('s', none, wish(OperatorCommand::Stop)),
            ('S', shift, wish(OperatorCommand::Stop)),
            ('s', control, wish(OperatorCommand::Stop)),
            ('r', none, wish(OperatorCommand::Reset)),
            ('R', shift, wish(OperatorCommand::Reset)),
            ('g', none, wish(OperatorCommand::Start)),
            ('G', shift, wish(OperatorCommand::Start)),
            ('q', none, Some(Asked::End)),
            ('Q', shift, Some(Asked::End)),
            ('c', control, Some(Asked::End)),
            ('\\', control, Some(Asked::End)),
            ('4', control, Some(Asked::End)),
            ('z', control, wish(OperatorCommand::Stop)),
            // A start, reset or quit key with Ctrl, and a bare letter of a Ctrl key, may be meant for something else: they
            // do nothing.
            ('g', control, None),
            ('r', control, None),
            ('q', control, None),
            ('c', none, None),
            ('z', none, None),
            ('4', none, None),
        ] {
            let key = KeyEvent::new(KeyCode::Char(letter), held);
            assert_eq!(asked(&key), expected, "{key:?}");
            let released = KeyEvent { kind: KeyEventKind::Release, ..key };
            assert_eq!(asked(&released), None, "{released:?}");
        }
        assert_eq!(asked(&KeyEvent::new(KeyCode::Enter, none)), None);
    }
}

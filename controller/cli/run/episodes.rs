//! The episodes of a run, one after another: when one may begin, whether it has, and when it is over.
//! A start counts for the moment at which it is said: a stop or a reset after it, and a plant that is lost, end it.

use std::time::{Duration, Instant};

use aegis_core::Start;
use aegis_core::control::Mode;
use aegis_runtime::StartAt;
use tracing::{info, warn};

use super::{Drive, End, POLL_INTERVAL};
use crate::exit::{Exit, Failure, failure};

/// A start that comes too late for what was seen of the plant is made again for so long.
const STARTING: Duration = Duration::from_secs(3);

/// What a wait for a start comes to.
enum Awaited {
    /// An episode may begin, unless there are more interruptions by then.
    Start(u64),
    /// The run is over.
    End(End),
}

/// What an episode comes to.
enum Begun {
    /// It is over; with how the run ends, where the run ends with it.
    Over(Option<End>),
    /// It did not begin: the plant stands where none may.
    Refused(Failure),
    /// It did not begin: a stop, a reset or a fault came after its start was said.
    Interrupted,
}

/// What comes of a start.
enum Started {
    /// The episode is on.
    On,
    /// It came too late for what was seen of the plant, which may be looked at again.
    Late(Failure),
    /// The episode does not begin.
    No(Begun),
}

impl Drive<'_> {
    /// Runs every episode of the robot file.
    pub(super) fn episodes(&mut self, exit_on_stop: bool) -> Result<End, Failure> {
        for (index, start) in self.robot.file.starts.iter().enumerate() {
            loop {
                let as_of = match self.await_start(exit_on_stop)? {
                    Awaited::Start(as_of) => as_of,
                    Awaited::End(end) => return Ok(end),
                };
                match self.episode(index, *start, as_of)? {
                    Begun::Over(None) => break,
                    Begun::Over(Some(end)) => return Ok(end),
                    Begun::Interrupted => warn!("no start: a stop or a reset came after it was said"),
                    // An operator has to move the robot nearer to rest, and to start again.
                    Begun::Refused(error) if !self.auto_start => warn!("no start: {error}"),
                    Begun::Refused(error) => return Err(error),
                }
            }
        }
        Ok(self.await_reset(exit_on_stop).unwrap_or(End::Done))
    }

    /// Claims the plant and waits for an operator's start, or for none where episodes begin by themselves. A latch has to
    /// be opened first, however often a stop comes while the start is waited for.
    fn await_start(&mut self, exit_on_stop: bool) -> Result<Awaited, Failure> {
        let mut is_said = false;
        loop {
            if let Some(end) = self.await_reset(exit_on_stop) {
                return Ok(Awaited::End(end));
            }
            let as_of = self.cell.wishes.interruptions();
            if self.plant.is_some() && !self.cell.ears.holds() {
                // A plant that was lost latches, and is claimed when somebody resets that.
                self.await_control();
                if self.cell.control.mode().is_latched() {
                    continue;
                }
            }
            let claimed = self.claim();
            if self.cell.is_told_to_end() {
                return Ok(Awaited::End(End::Signal));
            }
            claimed?;
            if !is_said {
                // A start counts from here on: one that was said before was about another episode.
                self.cell.ears.takes_start();
                if !self.auto_start {
                    info!("waiting for a start: `aegis operate start --plant {}`", self.robot.file.plant);
                }
                is_said = true;
            }
            let start = if self.auto_start { Some(as_of) } else { self.cell.ears.takes_start() };
            if let Some(as_of) = start
                && !self.is_interrupted(as_of)
            {
                return Ok(Awaited::Start(as_of));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// A stop is over when an operator resets it; only then may there be a next episode.
    fn await_reset(&mut self, exit_on_stop: bool) -> Option<End> {
        while self.cell.control.mode().is_latched() {
            if exit_on_stop && self.cell.control.is_at_rest() {
                return Some(End::Stopped(self.cell.control.mode()));
            }
            if self.cell.is_told_to_end() {
                return Some(End::Signal);
            }
            // A plant that was lost is claimed before the latch opens: no mode has a plant that is not there.
            if self.cell.ears.takes_reset() {
                match self.claim() {
                    Ok(()) => self.cell.wishes.reset(),
                    Err(error) => warn!("no reset: {error}"),
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        None
    }

    /// One episode to its end or to a stop, where the plant stands near enough to begin and nobody has interrupted the start
    /// that was said `as_of` so many interruptions.
    fn episode(&mut self, index: usize, start: Start, as_of: u64) -> Result<Begun, Failure> {
        let Some((plant, _)) = &mut self.plant else { return Ok(Begun::Interrupted) };
        let named =
            |error: Failure| error.prefixed(format_args!("{}: starts[{index}]", self.robot.path.display()));
        let reset = self.cell.reset(plant, start);
        if self.cell.is_told_to_end() {
            return Ok(Begun::Over(Some(End::Signal)));
        }
        self.newest_episode = plant.episode();
        let episode = match reset {
            Ok(episode) => episode,
            // Whatever else failed, an operator or a fault has ended it.
            Err(_) if self.is_interrupted(as_of) => return Ok(Begun::Interrupted),
            Err(error) if self.cell.thinks() => return Ok(Begun::Refused(named(error))),
            Err(error) => return Err(named(error)),
        };
        let begin = Instant::now();
        loop {
            match self.start(episode, as_of)? {
                Started::On => break,
                Started::Late(_) if begin.elapsed() < STARTING => {}
                Started::Late(error) => return Ok(Begun::Refused(error)),
                Started::No(begun) => return Ok(begun),
            }
        }
        let Start { task, initial_state } = start;
        let round_trip_us = self.cell.ears.round_trip().map(|time| time.as_secs_f64() * 1e6);
        info!(
            episode,
            task,
            initial_state,
            round_trip_us,
            "episode {episode}: task {task}, initial state {initial_state}"
        );
        self.await_end()
    }

    /// Begins an episode from where the plant stands now.
    fn start(&self, episode: u64, as_of: u64) -> Result<Started, Failure> {
        if self.is_interrupted(as_of) {
            return Ok(Started::No(Begun::Interrupted));
        }
        let path = self.robot.path.display();
        let (taken, observation) = match self.cell.first_look() {
            Ok(seen) => seen,
            Err(_) if self.cell.is_told_to_end() => return Ok(Started::No(Begun::Over(Some(End::Signal)))),
            Err(_) if self.is_interrupted(as_of) => return Ok(Started::No(Begun::Interrupted)),
            Err(error) => return Ok(Started::No(Begun::Refused(error.prefixed(format_args!("{path}"))))),
        };
        let pose = self.robot.pose(&observation)?;
        if let Err(error) = self.robot.recipe.allows_start(&pose) {
            let error = failure(Exit::Input, format!("{path}: {error}"));
            return Ok(Started::No(Begun::Refused(error)));
        }
        let refused = self.cell.control.refused_starts();
        self.cell.wishes.start(StartAt { episode, pose, taken, as_of });
        self.await_start_taken(episode, refused, as_of)
    }

    /// Waits until the control thread has taken a start, of which it had `refused` so many before.
    fn await_start_taken(&self, episode: u64, refused: u64, as_of: u64) -> Result<Started, Failure> {
        let control = &self.cell.control;
        loop {
            let is_interrupted = self.is_interrupted(as_of);
            if is_interrupted {
                // What was taken before the interruption has begun by then; what was not never does.
                self.await_control();
            }
            if control.episode() == episode {
                return Ok(Started::On);
            }
            if is_interrupted {
                return Ok(Started::No(Begun::Interrupted));
            }
            if control.refused_starts() > refused {
                let reason = format!(
                    "{}: control.max_age_ms = {}: expected the start within that time of the observation that says where the \
                     plant stands; found none in {} s: observations come late, or the machine is too busy",
                    self.robot.path.display(),
                    self.robot.file.control.max_age_ms,
                    STARTING.as_secs()
                );
                return Ok(Started::Late(failure(Exit::Failed, reason)));
            }
            self.check_thread()?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the episode that has begun is over.
    fn await_end(&self) -> Result<Begun, Failure> {
        loop {
            let mode = self.cell.control.mode();
            if mode.is_latched() || (mode == Mode::Idle && self.cell.control.is_at_rest()) {
                return Ok(Begun::Over(None));
            }
            if self.cell.is_told_to_end() {
                return Ok(Begun::Over(Some(End::Signal)));
            }
            self.check_thread()?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether a stop or a reset has come since then, or a latch is closed.
    fn is_interrupted(&self, as_of: u64) -> bool {
        self.cell.wishes.interruptions() != as_of || self.cell.control.mode().is_latched()
    }

    /// Waits until the control thread has acted on all that was known before.
    fn await_control(&self) {
        let periods = self.cell.control.periods();
        // The period that runs may have read before; the next one has not.
        while self.cell.control.periods() < periods + 2
            && self.cell.thread.is_alive()
            && !self.cell.is_told_to_end()
        {
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn check_thread(&self) -> Result<(), Failure> {
        if self.cell.thread.is_alive() {
            return Ok(());
        }
        Err(failure(Exit::Failed, "the control thread has gone; the plant stops by itself"))
    }
}

//! The episodes of a run, one after another: when an episode may begin, whether it has begun, and when it is over. A start
//! is valid as of the moment at which it was sent: a later stop or reset cancels it, and so does the loss of the plant.

use std::time::{Duration, Instant};

use aegis_core::Start;
use aegis_core::control::Mode;
use aegis_runtime::StartAt;
use tracing::{info, warn};

use crate::run::{self, End, POLL_INTERVAL, Run};
use aegis_failure::{Exit, Failure, failure};

/// How long a start is retried when the control thread refuses it because its observation is too old.
const STARTING: Duration = Duration::from_secs(3);

/// How long a stop has been at rest when the command that goes on is told: the reason of the stop, which another thread tells, comes
/// first.
const TELL_AFTER: Duration = Duration::from_millis(250);

/// Result of waiting for a start.
enum Awaited {
    /// An episode may begin, unless the number of interruptions grows beyond this one first.
    Start(u64),
    /// The run is over, in this way.
    End(End),
}

/// Result of an attempt to run an episode.
enum Begun {
    /// The episode is over; `Some` where the run ends with it.
    Over(Option<End>),
    /// The episode did not begin: it was refused, for example because the plant stands too far from rest.
    Refused(Failure),
    /// The episode did not begin: a stop, a reset or a fault came after its start was sent.
    Interrupted,
}

/// Result of one start that was passed to the control thread.
enum Started {
    /// The episode has begun.
    On,
    /// The start was refused because its observation was too old. It may be retried with a newer observation.
    Late(Failure),
    /// The episode does not begin.
    No(Begun),
}

impl Run<'_> {
    /// Runs every episode of the robot file. Returns how the run ended.
    ///
    /// # Errors
    /// A plant that cannot be claimed or reset, a start that is refused with `auto_start`, or a control thread that has ended.
    pub fn episodes(&mut self) -> Result<End, Failure> {
        let exit_on_stop = self.options.exit_on_stop;
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
                    // The operator has to move the robot nearer to rest and send a start again.
                    Begun::Refused(error) if !self.options.auto_start => warn!("no start: {error}"),
                    Begun::Refused(error) => return Err(error),
                }
            }
        }
        Ok(self.await_reset(exit_on_stop, "the run ends then").unwrap_or(End::Done))
    }

    /// Claims the plant and waits for an operator's start, or for none with `--auto-start`. A latched mode has to be reset
    /// first, however often a stop comes during the wait.
    fn await_start(&mut self, exit_on_stop: bool) -> Result<Awaited, Failure> {
        let mut is_said = false;
        let next = match self.options.auto_start {
            true => "the next episode begins by itself then".into(),
            false => format!("then `aegis operate start --plant {}` goes on", self.robot.file.plant),
        };
        loop {
            if let Some(end) = self.await_reset(exit_on_stop, &next) {
                return Ok(Awaited::End(end));
            }
            let as_of = self.robot_session.wishes.interruptions();
            if self.plant.is_some() && !self.robot_session.listener.holds() {
                // The loss of the plant latches the mode. The plant is claimed again after an operator's reset.
                self.await_control();
                if self.robot_session.control.mode().is_latched() {
                    continue;
                }
            }
            let claimed = self.claim();
            if self.robot_session.is_told_to_end() {
                return Ok(Awaited::End(End::Signal));
            }
            claimed?;
            if !is_said {
                // Starts are accepted from here on: a start that was sent earlier was meant for another episode.
                self.robot_session.listener.takes_start();
                if !self.options.auto_start {
                    info!("waiting for a start: `aegis operate start --plant {}`", self.robot.file.plant);
                }
                is_said = true;
            }
            let start =
                if self.options.auto_start { Some(as_of) } else { self.robot_session.listener.takes_start() };
            if let Some(as_of) = start
                && !self.is_interrupted(as_of)
            {
                return Ok(Awaited::Start(as_of));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits while the mode is latched. An operator's reset ends a stop; only then may the next episode begin. Says once what is
    /// waited for, and what is `next`. Returns how the run ends where it ends during the wait.
    fn await_reset(&mut self, exit_on_stop: bool, next: &str) -> Option<End> {
        let (mut is_said, mut rested) = (exit_on_stop, None);
        while self.robot_session.control.mode().is_latched() {
            // A reset while commands still move would be ignored.
            let is_at_rest = self.robot_session.control.is_at_rest();
            let waits = is_at_rest && rested.get_or_insert_with(Instant::now).elapsed() >= TELL_AFTER;
            if waits && !std::mem::replace(&mut is_said, true) {
                let refusal = self.robot_session.listener.refusal();
                let refusal = refusal.map_or(String::new(), |refusal| format!("; {refusal}"));
                let stop = run::stop(self.robot_session.control.mode());
                let plant = &self.robot.file.plant;
                info!(
                    "{stop} is on{refusal}; waiting for a reset: `aegis operate reset --plant {plant}`; {next}"
                );
            }
            if exit_on_stop && self.robot_session.control.is_at_rest() {
                return Some(End::Stopped(self.robot_session.control.mode()));
            }
            if self.robot_session.is_told_to_end() {
                return Some(End::Signal);
            }
            // A lost plant is claimed before the latch opens, so that no unlatched mode is entered without a plant.
            if let Some(as_of) = self.robot_session.listener.takes_reset() {
                match self.claim() {
                    // A stop during the claim cancels the reset.
                    Ok(()) => self.robot_session.wishes.reset_as_of(as_of),
                    Err(error) => warn!("no reset: {error}"),
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        None
    }

    /// Runs one episode to its end or to a stop, where the plant stands near enough to rest and the number of interruptions
    /// is still `as_of`, its value when the start was sent.
    fn episode(&mut self, index: usize, start: Start, as_of: u64) -> Result<Begun, Failure> {
        let Some((plant, _)) = &mut self.plant else { return Ok(Begun::Interrupted) };
        let index = self.options.first_start + index;
        let named =
            |error: Failure| error.prefixed(format_args!("{}: starts[{index}]", self.robot.path.display()));
        let reset = self.robot_session.reset(plant, start);
        if self.robot_session.is_told_to_end() {
            return Ok(Begun::Over(Some(End::Signal)));
        }
        self.newest_episode = plant.episode();
        let episode = match reset {
            Ok(episode) => episode,
            // Whatever else failed, an operator or a fault has cancelled the start.
            Err(_) if self.is_interrupted(as_of) => return Ok(Begun::Interrupted),
            Err(error) if self.robot_session.thinks() => return Ok(Begun::Refused(named(error))),
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
        let round_trip_us = self.robot_session.listener.round_trip().map(|time| time.as_secs_f64() * 1e6);
        info!(
            episode,
            task,
            initial_state,
            round_trip_us,
            "episode {episode}: task {task}, initial state {initial_state}"
        );
        self.await_end()
    }

    /// Begins an episode from the plant's present pose.
    fn start(&self, episode: u64, as_of: u64) -> Result<Started, Failure> {
        if self.is_interrupted(as_of) {
            return Ok(Started::No(Begun::Interrupted));
        }
        let path = self.robot.path.display();
        let (taken, observation) = match self.robot_session.first_observation() {
            Ok(seen) => seen,
            Err(_) if self.robot_session.is_told_to_end() => {
                return Ok(Started::No(Begun::Over(Some(End::Signal))));
            }
            Err(_) if self.is_interrupted(as_of) => return Ok(Started::No(Begun::Interrupted)),
            Err(error) => return Ok(Started::No(Begun::Refused(error.prefixed(format_args!("{path}"))))),
        };
        self.robot.check_tasks(&observation.schema)?;
        let pose = self.robot.pose(&observation)?;
        if let Err(error) = self.robot.recipe.allows_start(&pose) {
            let error = failure(Exit::Input, format!("{path}: {error}"));
            return Ok(Started::No(Begun::Refused(error)));
        }
        let refused = self.robot_session.control.refused_starts();
        self.robot_session.wishes.start(StartAt { episode, pose, taken, as_of });
        self.await_start_taken(episode, refused, as_of)
    }

    /// Waits until the control thread has accepted or refused a start. `refused` is the number of starts that it had
    /// refused before.
    fn await_start_taken(&self, episode: u64, refused: u64, as_of: u64) -> Result<Started, Failure> {
        let control = &self.robot_session.control;
        loop {
            let is_interrupted = self.is_interrupted(as_of);
            if is_interrupted {
                // A start that the control thread took before the interruption has begun by then; one that it did not take
                // never begins.
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
                     plant stands, with the plant near rest and no command moving; found none in {} s: observations come late, the \
                     machine is too busy, or the plant moves",
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

    /// Waits until the running episode is over.
    fn await_end(&self) -> Result<Begun, Failure> {
        loop {
            let mode = self.robot_session.control.mode();
            if mode.is_latched() || (mode == Mode::Idle && self.robot_session.control.is_at_rest()) {
                return Ok(Begun::Over(None));
            }
            if self.robot_session.is_told_to_end() {
                return Ok(Begun::Over(Some(End::Signal)));
            }
            self.check_thread()?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns whether a stop or a reset has come since the number of interruptions was `as_of`, or the mode is latched.
    fn is_interrupted(&self, as_of: u64) -> bool {
        self.robot_session.wishes.interruptions() != as_of || self.robot_session.control.mode().is_latched()
    }

    /// Waits until the control thread has acted on everything that was stored before this call.
    fn await_control(&self) {
        let periods = self.robot_session.control.periods();
        // The running period may have read its inputs already; the next one has not.
        while self.robot_session.control.periods() < periods + 2
            && self.robot_session.thread.is_alive()
            && !self.robot_session.is_told_to_end()
        {
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn check_thread(&self) -> Result<(), Failure> {
        if self.robot_session.thread.is_alive() {
            return Ok(());
        }
        Err(failure(Exit::Failed, "the control thread has gone; the plant stops by itself"))
    }
}

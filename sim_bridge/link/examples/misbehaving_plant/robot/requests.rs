//! Answers to requests: claims, resets and releases, as the protocol demands (`--strict`) or with fewer checks.

use std::time::Duration;

use aegis_link::wire::{
    Claim, Claimed, Code, FramesRequest, Message, Mode, Moved, Pictures, Refused, Reset, WireError,
};

use super::{CONTROLLER_TIMEOUT, Episode, Held, Robot};
use crate::journal::What;

/// Maximum length of a refusal's reason, characters.
const REASON: usize = 1000;

type Refusal = (Code, String);
/// The answer and an optional event for the log, or a refusal.
type Answer = Result<(Message, Option<String>), Refusal>;

impl Robot {
    /// Answers a request; returns `None` while the plant is deaf.
    pub fn request(&mut self, bytes: &[u8], now: Duration) -> Option<Vec<u8>> {
        let mut line = self.line(now, What::Message);
        if self.faults.deaf {
            if let Ok(message) = Message::decode(bytes) {
                line.take_message(&message);
            }
            line.event = Some("not answered".into());
            self.lines.push(line);
            return None;
        }
        let answer = match Message::decode(bytes) {
            Ok(message) => {
                line.take_message(&message);
                self.answer(message, now)
            }
            Err(error) => {
                self.dropped += 1;
                let version = matches!(error, WireError::Version { .. });
                let code = if version { Code::Version } else { Code::Malformed };
                Err((code, error.to_string()))
            }
        };
        let (message, event) = answer.unwrap_or_else(|(code, reason)| {
            self.refused += 1;
            let reason: String = reason.chars().take(REASON).collect();
            let event = format!("refused: {reason}");
            (Refused { code, reason }.into(), Some(event))
        });
        line.phase = self.phase();
        line.event = event;
        self.lines.push(line);
        Some(message.encode())
    }

    fn answer(&mut self, message: Message, now: Duration) -> Answer {
        match message {
            Message::Claim(claim) => self.claim(claim, now),
            Message::Reset(reset) => self.reset(&reset, now),
            Message::FramesRequest(look) => self.look(&look, now),
            Message::Release(release) => {
                self.session(release.session, now)?;
                (self.held, self.command) = (None, None);
                Ok((self.status_message(now), None))
            }
            Message::Step(_) => Err((Code::Mode, "this plant moves at its own rate, not by steps".into())),
            other => Err((Code::Malformed, format!("{} is no request", other.name()))),
        }
    }

    fn claim(&mut self, claim: Claim, now: Duration) -> Answer {
        self.expire(now);
        if claim.mode == Mode::LockStep {
            let reason = "this plant moves at its own rate: expected mode free_running, found lock_step";
            return Err((Code::Mode, reason.into()));
        }
        let event = format!("claimed by {:?}", claim.controller);
        match &mut self.held {
            Some(held) if held.claim == claim => held.seen = now,
            Some(held) => {
                let reason = format!("held by {:?}, which lives", held.claim.controller);
                return Err((Code::Held, reason));
            }
            None => {
                self.claims += 1;
                self.command = None;
                let session = self.instance.wrapping_add(self.claims);
                let (newest_episode, newest_action) = (0, 0);
                self.held = Some(Held {
                    claim,
                    session,
                    seen: now,
                    pulse_ns: [0; 2],
                    newest_episode,
                    newest_action,
                    stopped: false,
                    episode: None,
                });
            }
        }
        let claimed = Claimed {
            instance: self.instance,
            session: self.held.as_ref().map_or(0, |held| held.session),
            action_width: u32::try_from(self.settings.action_width()).unwrap_or(u32::MAX),
            tasks: self.tasks(),
            period_ns: nanoseconds(self.settings.period),
            command_timeout_ns: nanoseconds(self.settings.command_timeout),
            controller_timeout_ns: nanoseconds(CONTROLLER_TIMEOUT),
        };
        Ok((claimed.into(), Some(event)))
    }

    /// Starts an episode from the present joint positions: a robot cannot be put into a given state.
    fn reset(&mut self, reset: &Reset, now: Duration) -> Answer {
        let (strict, tasks) = (self.settings.strict, self.tasks());
        let held = self.session(reset.session, now)?;
        let session = held.session;
        if let Some(episode) = held.episode.as_ref().filter(|episode| episode.reset == *reset) {
            if strict && episode.sequence > 0 {
                let reason = format!("episode {} is at step {}", reset.episode, episode.sequence);
                return Err((Code::Episode, reason));
            }
            return Ok((episode.answer.clone().into(), Some("asked again".into())));
        }
        if strict && reset.episode <= held.newest_episode {
            let reason = format!("episode {} is not newer than {}", reset.episode, held.newest_episode);
            return Err((Code::Episode, reason));
        }
        if reset.task >= tasks {
            let reason = format!("task: expected 0 to {}, found {}", tasks - 1, reset.task);
            return Err((Code::Plant, reason));
        }
        let started_ns = self.clock.stamp_ns(now);
        let observation = self.shown(started_ns, started_ns, reset.task);
        let answer = Moved {
            session,
            episode: reset.episode,
            sequence: 0,
            stamp_ns: started_ns,
            success: false,
            observation,
            schema: Some(self.scene.announcement(self.body.joints().len())),
            state: Vec::new(),
        };
        let message = Message::from(answer.clone());
        self.remember(0, message.encode());
        self.command = None;
        if let Some(held) = &mut self.held {
            held.newest_episode = held.newest_episode.max(reset.episode);
            held.newest_action = 0;
            held.stopped = false;
            held.episode = Some(Episode { reset: reset.clone(), started_ns, sequence: 0, answer });
        }
        Ok((message, None))
    }

    fn look(&mut self, look: &FramesRequest, now: Duration) -> Answer {
        let held = self.session(look.session, now)?;
        let episode = held.episode.as_ref().filter(|episode| episode.reset.episode == look.episode);
        let Some(episode) = episode else {
            return Err((Code::Episode, format!("episode {} is not on", look.episode)));
        };
        let (session, episode, sequence) = (look.session, look.episode, episode.sequence);
        Ok((Pictures { session, episode, sequence, pictures: Vec::new() }.into(), None))
    }

    fn session(&mut self, session: u64, now: Duration) -> Result<&mut Held, Refusal> {
        self.expire(now);
        match &mut self.held {
            Some(held) if held.session == session => {
                held.seen = now;
                Ok(held)
            }
            _ => Err((
                Code::Session,
                format!("no session {session}: released, expired, or of another process"),
            )),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

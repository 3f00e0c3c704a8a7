//! A policy on another machine: served over Zenoh under a plant's keys, and asked with a deadline.
//! An answer counts for its own question alone; a server of another model is refused before anything moves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use aegis_core::{Chunk, Inference, Observation, Policy, PolicyError};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, Querier, Query};

use crate::wire::{Code, Infer, Inferred, Message, Refused};
use crate::{KeyExprs, LinkError};

/// Questions that may wait while the policy thinks. One that finds no place is dropped: its asker has given up by then.
const QUEUE: usize = 8;
/// Between two looks at whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// For a server to say that it is there.
const PRESENCE: Duration = Duration::from_secs(2);

/// Where a plant's strong policy answers.
fn key(plant: &str) -> Result<String, LinkError> {
    KeyExprs::of(plant)?;
    Ok(format!("aegis/{plant}/policy/strong"))
}

/// Serves a policy as the strong one of `plant` until `stop` is set. `model` is the SHA-256 of its weights; `ready` is
/// called once others can ask.
///
/// # Errors
/// [`LinkError::Name`], and what Zenoh reports.
pub fn serve_policy(
    session: &zenoh::Session,
    plant: &str,
    model: &str,
    policy: &mut dyn Policy,
    stop: &AtomicBool,
    ready: impl FnOnce(),
) -> Result<(), LinkError> {
    let key = key(plant)?;
    let (push, inbox) = sync_channel::<Query>(QUEUE);
    let callback = move |query| drop(push.try_send(query));
    let _questions = session.declare_queryable(&key).callback(callback).wait()?;
    let _present = session.liveliness().declare_token(format!("{key}/{model}")).wait()?;
    ready();
    while !stop.load(Ordering::Relaxed) {
        match inbox.recv_timeout(POLL_INTERVAL) {
            Ok(query) => {
                let bytes = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
                let answer = answer(&bytes, model, policy).encode();
                // Who does not hear it has a deadline of its own.
                let _ = query.reply(query.key_expr().clone(), answer).wait();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

fn answer(bytes: &[u8], model: &str, policy: &mut dyn Policy) -> Message {
    let refused = |code, reason: String| Refused { code, reason: reason.chars().take(1000).collect() }.into();
    let Infer { request, step, observation } = match Message::decode(bytes) {
        Ok(Message::Infer(infer)) => infer,
        Ok(other) => return refused(Code::Malformed, format!("{} is no question to a policy", other.name())),
        Err(error) => return refused(Code::Malformed, error.to_string()),
    };
    match policy.infer(&observation.at(step)) {
        Ok(Inference { chunk, .. }) => {
            let width = u32::try_from(chunk.width()).unwrap_or(u32::MAX);
            Inferred { request, model: model.into(), width, values: chunk.values().to_vec() }.into()
        }
        Err(error) => refused(Code::Policy, error.to_string()),
    }
}

/// A policy at the other end of a session.
#[derive(Debug)]
pub struct RemotePolicy {
    querier: Querier<'static>,
    model: String,
    deadline: Duration,
    asked: u64,
}

impl RemotePolicy {
    /// Finds the server of `plant`'s strong policy, which has to serve `model`, the SHA-256 of its weights.
    ///
    /// # Errors
    /// [`LinkError::Nobody`] where none is there, [`LinkError::Refused`] where another model is served.
    pub fn find(
        session: &zenoh::Session,
        plant: &str,
        model: &str,
        deadline: Duration,
    ) -> Result<Self, LinkError> {
        let key = key(plant)?;
        let name = format!("{plant}/policy/strong");
        let present = session.liveliness().get(format!("{key}/*")).timeout(PRESENCE).wait()?;
        let found: Vec<String> = std::iter::from_fn(|| present.recv().ok())
            .filter_map(|reply| Some(reply.result().ok()?.key_expr().as_str().rsplit('/').next()?.to_owned()))
            .collect();
        match found.iter().find(|found| *found != model) {
            Some(other) => {
                return Err(LinkError::Refused {
                    name,
                    reason: format!("it serves model {other}; valid is {model}"),
                });
            }
            None if found.is_empty() => return Err(LinkError::Nobody { name }),
            None => {}
        }
        let querier = session
            .declare_querier(key)
            .timeout(deadline)
            .priority(Priority::InteractiveHigh)
            .express(true)
            .consolidation(ConsolidationMode::None)
            .wait()?;
        Ok(Self { querier, model: model.into(), deadline, asked: 0 })
    }
}

impl Policy for RemotePolicy {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let begin = Instant::now();
        self.asked += 1;
        let (request, step) = (self.asked, observation.step);
        let question = Message::from(Infer { request, step, observation: observation.into() });
        let failed = |reason: String| PolicyError::Backend(reason);
        let asked = self.querier.get().payload(question.encode()).with(FifoChannel::new(4)).wait();
        let answers = asked.map_err(|error| failed(error.to_string()))?;
        loop {
            let late = || PolicyError::Deadline { limit: self.deadline, elapsed: begin.elapsed() };
            let left = self.deadline.checked_sub(begin.elapsed()).ok_or_else(late)?;
            let reply = match answers.recv_timeout(left) {
                Ok(Some(reply)) => reply,
                Ok(None) => return Err(late()),
                Err(_) => return Err(failed("nobody answers for the strong policy".into())),
            };
            let bytes = reply.result().map(|sample| sample.payload().to_bytes());
            match bytes.ok().map(|bytes| Message::decode(&bytes)) {
                Some(Ok(Message::Inferred(inferred))) if inferred.request == request => {
                    if inferred.model != self.model {
                        let reason = format!("model {} answers; valid is {}", inferred.model, self.model);
                        return Err(failed(reason));
                    }
                    let chunk = Chunk::new(inferred.width as usize, inferred.values)?;
                    return Ok(Inference { chunk, activation: None });
                }
                Some(Ok(Message::Refused(refused))) => return Err(failed(refused.reason)),
                // An answer to another question, or none that can be read: the right one may still come.
                _ => {}
            }
        }
    }
}

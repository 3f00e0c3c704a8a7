//! A policy in another process: served over Zenoh under a plant's keys, and asked with a deadline.
//! An answer is accepted only for its own request. A server of another model is refused before the plant moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use aegis_core::{Chunk, Inference, Observation, Policy, PolicyError, Schema};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, Querier, Query};

use crate::wire::{Code, Infer, Inferred, Message, Refused};
use crate::{KeyExprs, LinkError};

/// Maximum number of requests that wait while the policy runs. A request beyond it is dropped: its deadline would have
/// passed before its turn.
const QUEUE: usize = 8;
/// Poll interval of the stop flag.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit for a server's liveliness token to be reported.
const PRESENCE: Duration = Duration::from_secs(2);

/// Returns the key of a plant's strong policy.
fn key(plant: &str) -> Result<String, LinkError> {
    KeyExprs::of(plant)?;
    Ok(format!("aegis/{plant}/policy/strong"))
}

/// Serves a policy as the strong policy of `plant` until `stop` is set. `model` is the SHA-256 of the policy's weights;
/// `ready` is called once controllers can send requests.
///
/// # Errors
/// [`LinkError::Name`] for an invalid plant name, and errors that Zenoh reports.
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
    let mut known = Known::default();
    while !stop.load(Ordering::Relaxed) {
        match inbox.recv_timeout(POLL_INTERVAL) {
            Ok(query) => {
                let bytes = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
                let answer = answer(&bytes, model, policy, &mut known).encode();
                // A lost answer needs no handling: the controller has its own deadline.
                let _ = query.reply(query.key_expr().clone(), answer).wait();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

/// What a server remembers from one request to the next.
#[derive(Debug, Default)]
struct Known {
    schema: Option<Arc<Schema>>,
    seed: Option<u64>,
}

fn answer(bytes: &[u8], model: &str, policy: &mut dyn Policy, known: &mut Known) -> Message {
    let refused = |code, reason: String| Refused { code, reason: reason.chars().take(1000).collect() }.into();
    let Infer { request, step, seed, schema, observation } = match Message::decode(bytes) {
        Ok(Message::Infer(infer)) => infer,
        Ok(other) => return refused(Code::Malformed, format!("{} is no question to a policy", other.name())),
        Err(error) => return refused(Code::Malformed, error.to_string()),
    };
    let schema = match schema.schema(known.schema.as_ref()) {
        Ok(schema) => schema,
        Err(error) => return refused(Code::Policy, format!("schema.{error}")),
    };
    known.schema = Some(Arc::clone(&schema));
    if known.seed.replace(seed) != Some(seed) {
        policy.begin(seed);
    }
    let observation = match observation.at(step, &schema) {
        Ok(observation) => observation,
        Err(error) => return refused(Code::Policy, error.to_string()),
    };
    match policy.infer(&observation) {
        Ok(Inference { chunk, .. }) => {
            let width = u32::try_from(chunk.width()).unwrap_or(u32::MAX);
            Inferred { request, model: model.into(), width, values: chunk.values().to_vec() }.into()
        }
        Err(error) => refused(Code::Policy, error.to_string()),
    }
}

/// A policy at the other end of a Zenoh session.
#[derive(Debug)]
pub struct RemotePolicy {
    querier: Querier<'static>,
    model: String,
    deadline: Duration,
    asked: u64,
    seed: u64,
}

impl RemotePolicy {
    /// Finds the server of `plant`'s strong policy, which must serve `model`, the SHA-256 of the policy's weights.
    ///
    /// # Errors
    /// [`LinkError::Nobody`] where no server is found, [`LinkError::Refused`] where another model is served.
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
        Ok(Self { querier, model: model.into(), deadline, asked: 0, seed: 0 })
    }
}

impl Policy for RemotePolicy {
    fn begin(&mut self, seed: u64) {
        self.seed = seed;
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let begin = Instant::now();
        self.asked += 1;
        let (request, step, seed) = (self.asked, observation.step, self.seed);
        let schema = (&*observation.schema).into();
        let question = Message::from(Infer { request, step, seed, schema, observation: observation.into() });
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
                // The answer belongs to another request or cannot be decoded; the right answer may still arrive.
                _ => {}
            }
        }
    }
}

//! Server of a policy of this program, as the strong policy of a plant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use aegis_core::{Frame, Inference, Policy, Schema};
use zenoh::Wait;
use zenoh::query::Query;

use super::{Place, key};
use crate::LinkError;
use crate::wire::{Code, Infer, Inferred, Message, Refused};

/// Maximum number of requests that wait while the policy runs. A request beyond it is dropped: its deadline would have
/// passed before its turn.
const QUEUE: usize = 8;
/// Poll interval of the stop flag.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

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
    let key = key(plant, Place::Strong)?;
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
    /// Client, number and seed of the episode, and its number of inferences.
    episode: Option<(u64, u64, u64)>,
    inferences: u32,
}

impl Known {
    /// Begins the episode of a request where it is another than the last. A policy that remembers is refused an inference whose
    /// predecessors it has not seen.
    fn follow(&mut self, policy: &mut dyn Policy, infer: &Infer) -> Result<(), String> {
        let episode = Some((infer.client, infer.episode, infer.seed));
        let is_same = self.episode == episode;
        let expected = if is_same { self.inferences } else { 0 };
        if policy.remembers() && infer.inference != expected {
            let found = infer.inference;
            return Err(format!(
                "inference: found {found} of an episode; valid is {expected}: this policy remembers, and serves one episode of one \
                 controller at a time, from its beginning"
            ));
        }
        if !is_same {
            policy.begin(infer.seed);
        }
        (self.episode, self.inferences) = (episode, infer.inference.saturating_add(1));
        Ok(())
    }
}

fn answer(bytes: &[u8], model: &str, policy: &mut dyn Policy, known: &mut Known) -> Message {
    let refused = |code, reason: String| Refused { code, reason: reason.chars().take(1000).collect() }.into();
    let infer = match Message::decode(bytes) {
        Ok(Message::Infer(infer)) => infer,
        Ok(other) => {
            return refused(Code::Malformed, format!("{} is no question to this policy", other.name()));
        }
        Err(error) => return refused(Code::Malformed, error.to_string()),
    };
    if let Err(reason) = known.follow(policy, &infer) {
        return refused(Code::Policy, reason);
    }
    let Infer { request, step, schema, observation, pictures, .. } = infer;
    let schema = match schema.schema(known.schema.as_ref()) {
        Ok(schema) => schema,
        Err(error) => return refused(Code::Policy, format!("schema.{error}")),
    };
    known.schema = Some(Arc::clone(&schema));
    let mut observation = match observation.at(step, &schema) {
        Ok(observation) => observation,
        Err(error) => return refused(Code::Policy, error.to_string()),
    };
    observation.frames = pictures.into_iter().map(Frame::from).collect();
    match policy.infer(&observation) {
        Ok(inference) => inferred(request, model, &inference).into(),
        Err(error) => refused(Code::Policy, error.to_string()),
    }
}

/// Returns the answer with an inference.
fn inferred(request: u64, model: &str, Inference { chunk, activation }: &Inference) -> Inferred {
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    Inferred {
        request,
        model: model.into(),
        width: size(chunk.width()),
        values: chunk.values().to_vec(),
        activation_width: activation.as_ref().map_or(0, |activation| size(activation.width())),
        activation: activation.as_ref().map_or_else(Vec::new, |activation| activation.values().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use aegis_core::{Chunk, Observation, PolicyError};

    use super::*;

    /// A policy that remembers, and counts its episodes and inferences.
    #[derive(Default)]
    struct Counting {
        begun: Vec<u64>,
        inferences: u32,
    }

    impl Policy for Counting {
        fn begin(&mut self, seed: u64) {
            self.begun.push(seed);
        }

        fn remembers(&self) -> bool {
            true
        }

        fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
            self.inferences += 1;
            let first = observation.frames.first().map_or(-1.0, |frame| f32::from(frame.rgb[0]));
            Ok(Inference { chunk: Chunk::new(1, vec![first])?, activation: None })
        }
    }

    fn question(client: u64, episode: u64, inference: u32) -> Infer {
        let observation = Observation::of(&[("joint", &[0.5])]).unwrap();
        let schema = (&*observation.schema).into();
        let rgb = vec![7, 8, 9];
        let picture = crate::wire::Picture { camera: "c".into(), width: 1, height: 1, rgb };
        let (request, step, seed) = (1, 0, episode + 40);
        let observation = (&observation).into();
        Infer {
            client,
            episode,
            inference,
            request,
            step,
            seed,
            schema,
            observation,
            pictures: vec![picture],
        }
    }

    #[test]
    fn a_policy_that_remembers_sees_each_episode_from_its_beginning_and_no_other_in_between() {
        let (mut policy, mut known) = (Counting::default(), Known::default());
        let mut ask = |client, episode, inference| {
            let bytes = Message::from(question(client, episode, inference)).encode();
            match answer(&bytes, "ab", &mut policy, &mut known) {
                Message::Inferred(inferred) => Ok(inferred.values),
                Message::Refused(refused) => Err(refused.reason),
                other => Err(other.name().into()),
            }
        };
        assert_eq!(ask(1, 1, 0), Ok(vec![7.0]), "the pictures arrive");
        assert_eq!(ask(1, 1, 1), Ok(vec![7.0]));
        assert!(ask(2, 1, 3).unwrap_err().contains("found 3 of an episode; valid is 0"));
        assert!(ask(1, 1, 1).unwrap_err().contains("valid is 2"), "an inference is not made twice");
        assert!(ask(2, 1, 0).is_ok(), "another controller begins an episode");
        assert!(ask(1, 1, 2).unwrap_err().contains("valid is 0"), "and the first one's has ended");
        assert_eq!((policy.begun, policy.inferences), (vec![41, 41], 3));
    }
}

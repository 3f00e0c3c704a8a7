//! A policy at the other end of a Zenoh session, asked with a deadline.

use std::time::{Duration, Instant};

use aegis_core::{Activation, Chunk, Inference, Observation, Policy, PolicyError};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, Querier};

use super::{Place, key};
use crate::LinkError;
use crate::plant::nonce;
use crate::presence::awaited;
use crate::wire::{Describe, Described, Infer, Inferred, Message, Picture};

/// A policy at the other end of a Zenoh session.
#[derive(Debug)]
pub struct RemotePolicy {
    querier: Querier<'static>,
    /// The policy in words, for errors.
    name: String,
    model: String,
    deadline: Duration,
    client: u64,
    asked: u64,
    episode: u64,
    inference: u32,
    seed: u64,
}

impl RemotePolicy {
    /// Finds a policy: that of a plant, or one under a name of its own. The server has to state `model`, the SHA-256 of the policy's
    /// weights; any model is accepted where this is `None`.
    ///
    /// # Errors
    /// [`LinkError::NoPolicy`] where no server is found, or servers of several models, [`LinkError::OtherModel`] where another model is
    /// served.
    pub fn find(
        session: &zenoh::Session,
        (name, place): (&str, Place),
        model: Option<&str>,
        deadline: Duration,
    ) -> Result<Self, LinkError> {
        let key = key(name, place)?;
        let name = place.words(name);
        let model_of = |token: &str| token.rsplit('/').next().map(str::to_owned);
        let found = awaited(session, &format!("{key}/*"), model_of)?;
        let model = match (&found[..], model) {
            ([], _) => return Err(LinkError::NoPolicy { name }),
            ([one], None) => one.clone(),
            ([one], Some(model)) if one == model => one.clone(),
            (several, model) => {
                let valid = model.map_or("one model".into(), str::to_owned);
                return Err(LinkError::OtherModel { name, found: several.join(" and "), valid });
            }
        };
        let querier = session
            .declare_querier(key)
            .timeout(deadline)
            .priority(Priority::InteractiveHigh)
            .express(true)
            .consolidation(ConsolidationMode::None)
            .wait()?;
        let client = nonce();
        Ok(Self { querier, name, model, deadline, client, asked: 0, episode: 0, inference: 0, seed: 0 })
    }

    /// Asks what the policy reads and returns.
    ///
    /// # Errors
    /// [`PolicyError::Backend`] where the server does not say it, [`PolicyError::Deadline`] where it does not answer in time.
    pub fn describe(&mut self) -> Result<Described, PolicyError> {
        self.asked += 1;
        let request = self.asked;
        let answer = self.ask(&Describe { request }.into(), |message| match message {
            Message::Described(described) if described.request == request => Some(described),
            _ => None,
        })?;
        self.check_model(&answer.model)?;
        Ok(answer)
    }

    /// Sends a question; returns the first answer that `wanted` takes.
    fn ask<T>(&self, question: &Message, wanted: impl Fn(Message) -> Option<T>) -> Result<T, PolicyError> {
        let begin = Instant::now();
        let failed = |reason: String| PolicyError::Backend(format!("{}: {reason}", self.name));
        let asked = self.querier.get().payload(question.encode()).with(FifoChannel::new(4)).wait();
        let answers = asked.map_err(|error| failed(error.to_string()))?;
        let mut reason = "nobody answers; has its process ended?";
        loop {
            let late = || PolicyError::Deadline { limit: self.deadline, elapsed: begin.elapsed() };
            let left = self.deadline.checked_sub(begin.elapsed()).ok_or_else(late)?;
            let reply = match answers.recv_timeout(left) {
                Ok(Some(reply)) => reply,
                Ok(None) => return Err(late()),
                Err(_) => return Err(failed(reason.into())),
            };
            // Zenoh's own answer, at the deadline.
            let Ok(sample) = reply.result() else { return Err(late()) };
            match Message::decode(&sample.payload().to_bytes()) {
                Ok(Message::Refused(refused)) => return Err(failed(refused.reason)),
                // An answer to another request is left out; the right one may still arrive.
                Ok(message) => match wanted(message) {
                    Some(answer) => return Ok(answer),
                    None => reason = "its answer belongs to another question",
                },
                Err(error) => return Err(failed(format!("its answer cannot be read: {error}"))),
            }
        }
    }

    fn check_model(&self, found: &str) -> Result<(), PolicyError> {
        if found == self.model {
            return Ok(());
        }
        let reason = format!("{}: model {found} answers; valid is {}", self.name, self.model);
        Err(PolicyError::Backend(reason))
    }

    /// Returns the SHA-256 that the server states of the policy's weights.
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl Policy for RemotePolicy {
    fn begin(&mut self, seed: u64) {
        self.episode += 1;
        (self.seed, self.inference) = (seed, 0);
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        self.asked += 1;
        let request = self.asked;
        let question = Message::from(Infer {
            client: self.client,
            episode: self.episode,
            inference: self.inference,
            request,
            step: observation.step,
            seed: self.seed,
            schema: (&*observation.schema).into(),
            observation: observation.into(),
            pictures: observation.frames.iter().cloned().map(Picture::from).collect(),
        });
        let answer = self.ask(&question, |message| match message {
            Message::Inferred(inferred) if inferred.request == request => Some(inferred),
            _ => None,
        })?;
        // After a failed inference the server has to be asked from the beginning of an episode, if it remembers.
        self.inference += 1;
        let Inferred { model, width, values, activation_width, activation, .. } = answer;
        self.check_model(&model)?;
        let named = |error: PolicyError| PolicyError::Backend(format!("{}: {error}", self.name));
        let chunk = Chunk::new(width as usize, values).map_err(named)?;
        let activation = match activation_width {
            0 if activation.is_empty() => None,
            width => Some(Activation::new(width as usize, activation).map_err(named)?),
        };
        Ok(Inference { chunk, activation })
    }
}

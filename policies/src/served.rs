//! The card of a policy that another process serves, bound to a plant. Pure; the caller sends and receives.

use std::sync::Arc;

use aegis_core::feature::Schema;
use aegis_core::{Inference, Observation, PolicyError};

use crate::card::ModelCard;
use crate::filler::check_camera;
use crate::image::picture_of;
use crate::inputs::Input;
use crate::outputs::Outputs;
pub use crate::question::Given;
use crate::question::Question;
use crate::server::{Protocol, ServedCamera, ServerSpec};
use crate::vector::BoundVector;

/// The card of a served policy, bound to a plant: converts observations to requests, and replies to chunks of the plant.
#[derive(Debug)]
pub struct ServedContract {
    card: ModelCard,
    server: ServerSpec,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    /// Schema of the plant.
    schema: Arc<Schema>,
    asked: Asked,
    order: Option<Vec<usize>>,
}

/// Content of a request.
#[derive(Debug)]
enum Asked {
    /// Features and pictures as the plant gives them, to a process of this project's own protocol.
    Features {
        /// Schema of the features that the policy reads.
        sent: Arc<Schema>,
        vector: Option<BoundVector>,
    },
    /// The card's inputs, to a server behind a WebSocket.
    Keys(Question),
}

/// A tensor of a reply: its shape and its values, row-major.
pub type Tensor = (Vec<usize>, Vec<f64>);

impl ServedContract {
    /// Makes the contract of a card; `None` for a card without `[server]`.
    pub fn of(card: ModelCard) -> Option<Self> {
        let server = card.server.clone()?;
        Some(Self { card, server, bound: None })
    }

    /// Returns the card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the process that serves the policy.
    pub fn server(&self) -> &ServerSpec {
        &self.server
    }

    /// Binds the card to a plant's schema. Binding to the same schema again costs nothing.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] with the field of the card, its value and the plant's values.
    pub fn bind(&mut self, schema: &Arc<Schema>) -> Result<(), PolicyError> {
        let is_bound = |bound: &Bound| Arc::ptr_eq(&bound.schema, schema) || *bound.schema == **schema;
        if self.bound.as_ref().is_some_and(is_bound) {
            return Ok(());
        }
        let refused = |place: String, reason: String| {
            PolicyError::Observation(format!("{}: {place}: {reason}", self.card.path.display()))
        };
        let asked = match self.server.protocol {
            Protocol::Aegis => self.asked_features(schema),
            Protocol::OpenPi | Protocol::VlaEval => Question::bind(&self.card.inputs, schema)
                .map(Asked::Keys)
                .map_err(|(index, reason)| (self.card.place(index), reason)),
        };
        let asked = asked.map_err(|(place, reason)| refused(place, reason))?;
        let order = Outputs::order(&self.card.chunk, schema);
        let order = order.map_err(|reason| refused("chunk".into(), reason))?;
        self.bound = Some(Bound { schema: Arc::clone(schema), asked, order });
        Ok(())
    }

    /// Binds the features and cameras that the card names.
    fn asked_features(&self, schema: &Arc<Schema>) -> Result<Asked, (String, String)> {
        let mut vector = None;
        for (index, input) in self.card.inputs.iter().enumerate() {
            let checked = match input {
                Input::Vector(spec) => BoundVector::bind(spec, schema).map(|bound| vector = Some(bound)),
                Input::Image(image) => check_camera(image, schema),
                _ => Ok(()),
            };
            checked.map_err(|reason| (self.card.place(index), reason))?;
        }
        let read = |name: &String| schema.feature(name).cloned();
        let sent =
            Schema::new(self.server.features.iter().filter_map(read).collect(), schema.actions().to_vec());
        let sent = sent.map_err(|error| ("server.features".to_owned(), error.to_string()))?;
        Ok(Asked::Features { sent: Arc::new(sent), vector })
    }

    /// Returns the request to a server behind a WebSocket: each key of the card with its value for an observation.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and [`PolicyError`] for an observation that lacks a feature or picture of the policy.
    pub fn keys(&mut self, observation: &Observation) -> Result<Vec<(String, Given)>, PolicyError> {
        self.bind(&observation.schema)?;
        let Some(Bound { asked: Asked::Keys(question), .. }) = &mut self.bound else {
            return Err(PolicyError::Observation(
                "server.protocol: found \"aegis\"; valid is \"openpi\" or \"vla_eval\", whose requests have keys".into(),
            ));
        };
        question.ask(observation).map_err(|(index, error)| match error {
            PolicyError::Observation(reason) => PolicyError::Observation(format!(
                "{}: {}: {reason}",
                self.card.path.display(),
                self.card.place(index)
            )),
            other => other,
        })
    }

    /// Returns the part of an observation that the policy reads.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and [`PolicyError`] for an observation that lacks a feature or has a picture of another size.
    pub fn question(&mut self, observation: &Observation) -> Result<Observation, PolicyError> {
        self.bind(&observation.schema)?;
        let Some(Bound { asked: Asked::Features { sent, vector }, .. }) = &mut self.bound else {
            return Err(PolicyError::Observation(
                "server.protocol: found one with keys; valid is \"aegis\", whose requests have features"
                    .into(),
            ));
        };
        let mut values = Vec::with_capacity(sent.width());
        if let Some(vector) = vector {
            vector.encode(observation, &mut values)?;
        }
        let mut frames = Vec::with_capacity(self.server.cameras.len());
        for ServedCamera { camera, height, width } in &self.server.cameras {
            let frame = picture_of(camera, &observation.frames)?;
            if (frame.height, frame.width) != (*height, *width) {
                return Err(PolicyError::Shape {
                    what: format!("picture of camera {camera}"),
                    expected: format!("{height} rows of {width} pixels"),
                    found: format!("{} rows of {}", frame.height, frame.width),
                });
            }
            frames.push(frame.clone());
        }
        Ok(Observation {
            step: observation.step,
            plant_time: observation.plant_time,
            task: observation.task,
            instruction: Arc::clone(&observation.instruction),
            schema: Arc::clone(sent),
            values,
            frames: frames.into(),
        })
    }

    /// Converts a reply with the policy's own chunk to the chunk and activation that the card describes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn answer(&self, answer: &Inference) -> Result<Inference, PolicyError> {
        let found = &answer.chunk;
        let numbers: Vec<f64> = found.values().iter().map(|value| f64::from(*value)).collect();
        let activation = answer.activation.as_ref().map(|found| {
            let width = found.width();
            (vec![found.values().len() / width.max(1), width], found.values().to_vec())
        });
        self.converted((&[found.horizon(), found.width()], &numbers), activation)
    }

    /// Converts the tensors of a reply to the chunk and activation that the card describes. A first axis of size 1 is the batch, and is
    /// ignored.
    ///
    /// # Errors
    /// [`PolicyError::Shape`] for a chunk or an activation of another size than in the card, and [`PolicyError::NotFinite`] for an action
    /// that is not finite.
    pub fn read(&self, actions: &Tensor, activation: Option<&Tensor>) -> Result<Inference, PolicyError> {
        let activation = activation.map(|(shape, values)| {
            let rows = if let [rows @ .., _] = &shape[..] { rows.iter().product() } else { 1 };
            let width = shape.last().copied().unwrap_or(1);
            (vec![rows, width], values.iter().map(|value| *value as f32).collect())
        });
        let (shape, values) = actions;
        let shape: &[usize] = match &shape[..] {
            [1, rest @ ..] if rest.len() == 2 => rest,
            [width] if self.card.chunk.horizon == 1 => &[1, *width],
            shape => shape,
        };
        self.converted((shape, values), activation)
    }

    /// Converts a chunk of this shape, and an activation `[tokens, width]`.
    fn converted(
        &self,
        (shape, numbers): (&[usize], &[f64]),
        activation: Option<(Vec<usize>, Vec<f32>)>,
    ) -> Result<Inference, PolicyError> {
        let spec = &self.card.chunk;
        if shape != [spec.horizon, spec.width] {
            let found = match shape {
                [horizon, width] => format!("{horizon} of {width}"),
                other => format!("an array of shape {other:?}"),
            };
            return Err(PolicyError::Shape {
                what: format!("chunk of policy {:?}", self.name()),
                expected: format!("{} actions of {} values, as in its card", spec.horizon, spec.width),
                found,
            });
        }
        let order = self.bound.as_ref().and_then(|bound| bound.order.as_deref());
        let chunk = spec.chunk(order, numbers)?;
        let Some(spec) = &self.card.activation else { return Ok(Inference { chunk, activation: None }) };
        let wrong = |found: String| PolicyError::Shape {
            what: format!("activation of policy {:?}", self.name()),
            expected: format!("{} tokens of {} values, as in its card", spec.tokens, spec.width),
            found,
        };
        let Some((shape, values)) = activation else { return Err(wrong("none".into())) };
        if shape != [spec.tokens, spec.width] {
            return Err(wrong(format!("{} values, {} each", values.len(), shape[1])));
        }
        Ok(Inference { chunk, activation: Some(spec.pooled(values)?) })
    }

    /// Returns the name under which the policy is served, or its endpoint.
    fn name(&self) -> &str {
        if self.server.name.is_empty() { &self.server.endpoint } else { &self.server.name }
    }
}

#[cfg(test)]
mod tests {
    use aegis_core::{ActionChannel, Activation, Chunk, Feature, Frame};

    use super::*;

    const CARD: &str = r#"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[server]
endpoint = "tcp/127.0.0.1:7450"
name = "mine"
deadline_ms = 100
features = ["hand", "joints"]
cameras = [{ camera = "front", height = 1, width = 2 }]
[chunk]
tensor = "actions"
horizon = 2
width = 2
names = ["b", "a"]
scale = 2.0
[activation]
tensor = "hidden"
tokens = 2
width = 1
pool = "last"
"#;

    fn card(name: &str, text: &str) -> Result<ModelCard, String> {
        let folder = std::env::temp_dir().join(format!("aegis-served-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("card.toml"), text).unwrap();
        let card = ModelCard::load(&folder.join("card.toml")).map_err(|error| error.to_string());
        std::fs::remove_dir_all(folder).unwrap();
        card
    }

    fn seen(frame: Frame) -> Observation {
        let features = vec![
            Feature::vector("joints", &["1", "2"], "rad"),
            Feature::vector("other", &["1"], ""),
            Feature::vector("hand", &["x"], "m"),
        ];
        let channel = |name: &str| ActionChannel {
            name: name.into(),
            semantics: "".into(),
            bounds: [-9.0, 9.0],
            still: Some(0.0),
        };
        let mut seen = Observation::of(&[("any", &[0.0])]).unwrap();
        seen.schema = Arc::new(Schema::new(features, vec![channel("a"), channel("b")]).unwrap());
        (seen.values, seen.frames) = (vec![0.1, 0.2, 7.0, 0.3], [frame].into());
        seen
    }

    fn frame(width: u32) -> Frame {
        Frame { camera: "front".into(), width, height: 1, rgb: vec![5; 3 * width as usize] }
    }

    #[test]
    fn only_the_policys_features_are_sent_and_its_reply_becomes_the_plants_chunk() {
        let mut contract = ServedContract::of(card("sent", CARD).unwrap()).unwrap();
        let question = contract.question(&seen(frame(2))).unwrap();
        let names: Vec<String> = question.schema.features().iter().map(|one| one.name.to_string()).collect();
        assert_eq!((names, question.values), (vec!["hand".into(), "joints".into()], vec![0.3, 0.1, 0.2]));
        assert_eq!(question.frames.len(), 1);
        let answer = |chunk: &[f32], activation: &[f32]| {
            contract.answer(&Inference {
                chunk: Chunk::new(2, chunk.to_vec()).unwrap(),
                activation: Some(Activation::new(1, activation.to_vec()).unwrap()),
            })
        };
        let inference = answer(&[1.0, 2.0, 3.0, 4.0], &[0.5, 0.25]).unwrap();
        assert_eq!(inference.chunk.values(), [4.0, 2.0, 8.0, 6.0], "scaled, and in the plant's order");
        assert_eq!(inference.activation.unwrap().values(), [0.25]);
        assert!(answer(&[1.0, 2.0], &[0.5, 0.25]).unwrap_err().to_string().contains("2 actions of 2 values"));
        assert!(answer(&[1.0; 4], &[0.5]).unwrap_err().to_string().contains("2 tokens of 1 values"));
        let silent = Inference { chunk: Chunk::new(2, vec![1.0; 4]).unwrap(), activation: None };
        assert!(contract.answer(&silent).unwrap_err().to_string().contains("found none"));
    }

    #[test]
    fn a_mismatch_is_named_with_file_and_field() {
        let mut contract = ServedContract::of(card("fits", CARD).unwrap()).unwrap();
        let wrong = contract.question(&seen(frame(3))).unwrap_err().to_string();
        assert!(wrong.contains("picture of camera front") && wrong.contains("1 rows of 2 pixels"), "{wrong}");
        let unknown = CARD.replace("\"hand\", ", "\"elbow\", ");
        let mut contract = ServedContract::of(card("unknown", &unknown).unwrap()).unwrap();
        let wrong = contract.question(&seen(frame(2))).unwrap_err().to_string();
        assert!(wrong.contains("card.toml: server.features: terms[0].feature: found \"elbow\""), "{wrong}");
        let refused = |name: &str, from: &str, to: &str| {
            assert!(CARD.contains(from), "{from}");
            card(name, &CARD.replacen(from, to, 1)).unwrap_err()
        };
        assert!(
            refused("file", "[server]", "file = \"m.onnx\"\n[server]")
                .contains("file: found beside [server]")
        );
        assert!(
            refused("late", "deadline_ms = 100", "deadline_ms = 0").contains("server.deadline_ms: found 0")
        );
        assert!(refused("twice", "\"joints\"", "\"hand\"").contains("server.features: found \"hand\" twice"));
        assert!(
            refused("none", "[server]", "[training]")
                .contains("file: missing; valid is the model's file, or a table [server]")
        );
    }
}

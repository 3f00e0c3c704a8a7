//! A plant and a policy of your own: a cart on a line, pushed to the origin. Whatever implements these two traits can be driven,
//! compared and recorded.
//!
//!     cargo run --release -p aegis-core --example plant_and_policy

use std::sync::Arc;

use aegis_core::{
    ActionChannel, Activation, Chunk, Feature, Inference, Observation, Plant, PlantError, Policy,
    PolicyError, Schema, Start, Transition,
};

/// Cart with a position in metres; an action is one displacement in metres.
struct Cart {
    schema: Arc<Schema>,
    position: f64,
    step: u32,
}

impl Cart {
    /// Announces what the cart measures and takes.
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let features = vec![Feature::vector("cart_position", &["x"], "m, along the line")];
        let displacement = ActionChannel {
            name: "displacement".into(),
            semantics: "m".into(),
            bounds: [-0.2, 0.2],
            still: Some(0.0),
        };
        let schema = Arc::new(Schema::new(features, vec![displacement])?);
        Ok(Self { schema, position: 0.0, step: 0 })
    }

    fn observation(&self) -> Observation {
        Observation {
            step: self.step,
            plant_time: f64::from(self.step) * 0.05,
            task: 0,
            instruction: "go to the origin".into(),
            schema: Arc::clone(&self.schema),
            values: vec![self.position],
            frames: [].into(),
        }
    }
}

impl Plant for Cart {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        (self.position, self.step) = (1.0 + start.initial_state as f64, 0);
        Ok(self.observation())
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let [displacement] = action else {
            return Err(PlantError::Action { expected: 1, found: format!("{} values", action.len()) });
        };
        self.position += f64::from(*displacement);
        self.step += 1;
        Ok(Transition { observation: self.observation(), success: self.position.abs() < 0.01 })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.push(self.position);
    }
}

/// Proposes five equal displacements, half of the way. The activation is what a probe would score, `[1 token, 1]`.
struct HalfWay;

impl Policy for HalfWay {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let missing = || PolicyError::Observation("cart_position is missing".into());
        let [distance] = observation.array("cart_position").ok_or_else(missing)?;
        let distance = distance as f32;
        let chunk = Chunk::new(1, vec![-distance / 10.0; 5])?;
        Ok(Inference { chunk, activation: Some(Activation::new(1, vec![distance])?) })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut cart, mut policy) = (Cart::new()?, HalfWay);
    let mut observation = cart.reset(Start { task: 0, initial_state: 0 })?;
    for chunk in 0..10 {
        let Inference { chunk: actions, .. } = policy.infer(&observation)?;
        for step in 0..actions.horizon() {
            let transition = cart.step(actions.action(step).unwrap_or_default())?;
            observation = transition.observation;
            if transition.success {
                println!("at the origin after {} control steps", observation.step);
                return Ok(());
            }
        }
        println!("chunk {chunk}: {:.3} m to go", cart.position);
    }
    Err("the cart did not arrive".into())
}

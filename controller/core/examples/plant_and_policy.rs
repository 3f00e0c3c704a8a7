//! A plant and a policy of your own: a cart on a line, pushed to the origin. Whatever implements these two traits can be driven,
//! compared and recorded.
//!
//!     cargo run --release -p aegis-core --example plant_and_policy

use aegis_core::{
    Activation, Chunk, Inference, Observation, Plant, PlantError, Policy, PolicyError, Pose, Proprioception,
    Start, Transition,
};

/// Cart with a position in metres; an action is one displacement in metres.
struct Cart {
    position: f64,
    step: u32,
}

impl Cart {
    fn observation(&self) -> Observation {
        let end_effector = Pose { position: [self.position, 0.0, 0.0], ..Pose::IDENTITY };
        let proprioception =
            Proprioception { joint_positions: vec![self.position], end_effector, gripper: Vec::new() };
        Observation {
            step: self.step,
            plant_time: f64::from(self.step) * 0.05,
            task: 0,
            instruction: "go to the origin".into(),
            proprioception,
            objects: Vec::new(),
            frames: [].into(),
        }
    }
}

impl Plant for Cart {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        *self = Self { position: 1.0 + start.initial_state as f64, step: 0 };
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
        let distance = observation.proprioception.joint_positions[0] as f32;
        let chunk = Chunk::new(1, vec![-distance / 10.0; 5])?;
        Ok(Inference { chunk, activation: Some(Activation::new(1, vec![distance])?) })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut cart, mut policy) = (Cart { position: 0.0, step: 0 }, HalfWay);
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
        println!("chunk {chunk}: {:.3} m to go", observation.proprioception.joint_positions[0]);
    }
    Err("the cart did not arrive".into())
}

//! Disturbances in physics: each acts from the beginning of its control step, in the scene's own terms.
//!
//! A push is a force at the centre of mass of the hand. A slip replaces the action's gripper value by that which opens,
//! whether or not the gripper holds something. A displacement moves the target object on its support; an object that the
//! robot touches, or that touches nothing yet, is not on its support and stays.

use std::collections::BTreeSet;

use aegis_core::Disturbance;
use aegis_core::disturbance::Effect;
use aegis_core::policy::PlantError;

use crate::displaceable::Displaceable;
use crate::osc::COMMAND;
use crate::plant::Episode;
use crate::schema::NULL_ACTION;

/// Directions that are tried for a displacement, each turned by an equal part of a full turn against the one before.
const DIRECTIONS: u32 = 8;
/// Depth by which a displaced object may reach deeper into what it touched before, metres.
const DEEPER: f64 = 0.001;

impl Episode {
    /// Gives the episode its disturbance.
    ///
    /// # Errors
    /// [`PlantError::Undisturbed`] for a displacement in a task whose target cannot be moved.
    pub(crate) fn accept(&mut self, disturbance: Disturbance) -> Result<(), PlantError> {
        if let Err(field) = disturbance.check_finite() {
            return Err(PlantError::Undisturbed(format!("{field}: found a number that is not finite")));
        }
        if matches!(disturbance.effect, Effect::Displacement { .. }) && self.bound.displaceable.is_none() {
            let task = self.task;
            return Err(PlantError::Undisturbed(format!(
                "displacement: the goal of task {task} names no object that moves freely"
            )));
        }
        self.disturbance = Some(disturbance);
        Ok(())
    }

    /// Applies the disturbance at the beginning of a control step; returns the gripper value to execute, given that of the
    /// action.
    pub(crate) fn disturb(&mut self, grip: f64) -> f64 {
        let Some(disturbance) = self.disturbance else { return grip };
        if let Some([x, y, z]) = disturbance.force_at(self.step) {
            self.data.xfrc_applied_mut()[self.bound.hand] = [x, y, z, 0.0, 0.0, 0.0];
        }
        if let (Some(shift), Some(target)) = (disturbance.shift_at(self.step), self.bound.displaceable) {
            self.displace(target, shift);
        }
        if disturbance.opens_at(self.step) { f64::from(NULL_ACTION[COMMAND]) } else { grip }
    }

    /// Moves the target by `shift`, or by the same distance in the next of [`DIRECTIONS`] in which it still touches what it
    /// touched before, is not pressed into it, and touches nothing else. It stays where none is free, and where the robot
    /// touches it.
    fn displace(&mut self, target: Displaceable, [x, y]: [f64; 2]) {
        self.data.fwd_position();
        let before = self.touched(target);
        let robot = self.root(self.bound.hand as i32);
        if before.bodies.iter().any(|body| self.root(*body) == robot) {
            return;
        }
        let at = target.position;
        let here = [self.data.qpos()[at], self.data.qpos()[at + 1]];
        for turn in 0..DIRECTIONS {
            let (sine, cosine) = (std::f64::consts::TAU * f64::from(turn) / f64::from(DIRECTIONS)).sin_cos();
            let moved = [here[0] + cosine * x - sine * y, here[1] + sine * x + cosine * y];
            self.data.qpos_mut()[at..at + 2].copy_from_slice(&moved);
            self.data.fwd_position();
            let after = self.touched(target);
            let rests = !after.bodies.is_empty() && after.bodies.is_subset(&before.bodies);
            if rests && after.depth <= before.depth + DEEPER {
                return;
            }
        }
        self.data.qpos_mut()[at..at + 2].copy_from_slice(&here);
        self.data.fwd_position();
    }

    /// Returns what the target touches, by the last forward pass.
    fn touched(&self, target: Displaceable) -> Touched {
        let model = &self.bound.model;
        let mut touched = Touched { bodies: BTreeSet::new(), depth: 0.0 };
        for contact in self.data.contact().iter().filter(|contact| contact.dist <= 0.0) {
            let [first, second] = contact.geom.map(|geom| model.geom_bodyid()[geom as usize]);
            let other = match (self.root(first) == target.body, self.root(second) == target.body) {
                (true, false) => second,
                (false, true) => first,
                _ => continue,
            };
            touched.bodies.insert(other);
            touched.depth = touched.depth.max(-contact.dist);
        }
        touched
    }

    fn root(&self, body: i32) -> i32 {
        self.bound.model.body_rootid()[body as usize]
    }
}

/// Bodies that an object touches.
struct Touched {
    bodies: BTreeSet<i32>,
    /// Depth of the deepest contact, metres.
    depth: f64,
}

//! Joints of the misbehaving plant: they execute a command exactly, without smoothing, limits or delay.

/// Meaning of a command to the joints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The joint's next position, radians.
    Position,
    /// Change of the joint's position in one control period, radians.
    Rate,
}

/// Joint positions and the largest change of any joint in one control period.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    kind: Kind,
    joints: Vec<f64>,
    jump: f64,
}

impl Body {
    /// Creates a body at rest at `joints`, radians.
    pub fn new(kind: Kind, joints: Vec<f64>) -> Self {
        Self { kind, joints, jump: 0.0 }
    }

    /// Returns the meaning of a command.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the joint positions, radians.
    pub fn joints(&self) -> &[f64] {
        &self.joints
    }

    /// Returns the largest change of any joint in one control period since the start, radians.
    pub fn jump(&self) -> f64 {
        self.jump
    }

    /// Executes one control period of `command`, whose values are finite. Values beyond the joints, such as a gripper's,
    /// move nothing.
    pub fn execute(&mut self, command: &[f32]) {
        for (joint, value) in self.joints.iter_mut().zip(command) {
            let (before, value) = (*joint, f64::from(*value));
            *joint = match self.kind {
                Kind::Position => value,
                Kind::Rate => before + value,
            };
            let jump = (*joint - before).abs();
            // A NaN command counts as an infinite jump: `f64::max` would ignore NaN.
            self.jump = if jump.is_nan() { f64::INFINITY } else { self.jump.max(jump) };
        }
    }

    /// Sets the joints to `joints`, radians, as a push by hand does. The change does not count as a jump.
    pub fn place(&mut self, joints: &[f64]) {
        self.joints.copy_from_slice(joints);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_executed_exactly_and_the_largest_change_is_kept() {
        let mut body = Body::new(Kind::Position, vec![0.5, 0.0]);
        body.execute(&[0.25, 1.0, -1.0]);
        assert_eq!((body.joints(), body.jump()), (&[0.25, 1.0][..], 1.0));
        body.execute(&[0.25, 0.75, -1.0]);
        assert_eq!((body.joints(), body.jump()), (&[0.25, 0.75][..], 1.0));
    }

    #[test]
    fn a_rate_adds_up() {
        let mut body = Body::new(Kind::Rate, vec![1.0]);
        body.execute(&[0.25]);
        body.execute(&[-0.5]);
        assert_eq!((body.joints(), body.jump()), (&[0.75][..], 0.5));
    }

    #[test]
    fn a_command_that_is_no_number_is_the_largest_jump() {
        let mut body = Body::new(Kind::Position, vec![0.5]);
        body.execute(&[f32::NAN]);
        body.execute(&[0.5]);
        assert_eq!(body.jump(), f64::INFINITY);
    }

    #[test]
    fn a_push_is_no_jump() {
        let mut body = Body::new(Kind::Position, vec![0.0]);
        body.place(&[2.0]);
        assert_eq!((body.joints(), body.jump()), (&[2.0][..], 0.0));
        body.execute(&[2.5]);
        assert_eq!(body.jump(), 0.5, "counted from where it was pushed to");
    }
}

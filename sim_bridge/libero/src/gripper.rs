//! The parallel gripper: an action's sign opens or closes the fingers at a fixed speed.
//! Pure; reproduces robosuite 1.4's `PandaGripper.format_action` and `Manipulator.grip_action`.

/// Number of fingers of the gripper.
pub const FINGERS: usize = 2;

/// Constants of the gripper.
#[derive(Clone, Debug, PartialEq)]
pub struct Gripper {
    /// Change of a normalised finger command per physics step.
    pub speed: f64,
    /// Sign of each finger's change under a positive action, which closes.
    pub direction: [f64; FINGERS],
    /// Lowest and highest actuator command of each finger, metres.
    pub control_range: [[f64; 2]; FINGERS],
}

impl Gripper {
    /// Moves the normalised finger commands, each in −1 to 1, by one physics step of `action`. Zero holds.
    pub fn advance(&self, action: f64, command: &mut [f64; FINGERS]) {
        let sign = if action == 0.0 { 0.0 } else { action.signum() };
        for (value, direction) in command.iter_mut().zip(self.direction) {
            *value = (*value + direction * self.speed * sign).clamp(-1.0, 1.0);
        }
    }

    /// Converts normalised finger commands to actuator commands, metres.
    pub fn control(&self, command: &[f64; FINGERS]) -> [f64; FINGERS] {
        std::array::from_fn(|finger| {
            let [low, high] = self.control_range[finger];
            0.5 * (high + low) + 0.5 * (high - low) * command[finger]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANDA: Gripper =
        Gripper { speed: 0.01, direction: [-1.0, 1.0], control_range: [[0.0, 0.04], [-0.04, 0.0]] };

    #[test]
    fn only_the_sign_counts_and_zero_holds() {
        let mut command = [0.0; FINGERS];
        PANDA.advance(0.3, &mut command);
        assert_eq!(command, [-0.01, 0.01]);
        PANDA.advance(-0.0, &mut command);
        assert_eq!(command, [-0.01, 0.01]);
        PANDA.advance(-7.0, &mut command);
        assert_eq!(command, [0.0, 0.0]);
    }

    #[test]
    fn fingers_stop_at_their_range() {
        let mut command = [0.0; FINGERS];
        (0..200).for_each(|_| PANDA.advance(1.0, &mut command));
        assert_eq!(PANDA.control(&command), [0.0, 0.0]);
        (0..400).for_each(|_| PANDA.advance(-1.0, &mut command));
        assert_eq!(PANDA.control(&command), [0.04, -0.04]);
    }
}

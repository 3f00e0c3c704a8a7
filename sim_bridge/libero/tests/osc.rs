//! Tests of the operational-space controller against numbers that robosuite 1.4.0 computed.
//! `fixtures/osc.json` holds three physics steps of one episode; torques are after clipping.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::Path;

use aegis_sim::osc::{ArmState, Osc, Target};
use nalgebra::{Matrix3, SMatrix, SVector, Vector3, Vector6};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    initial_joint: [f64; 7],
    command: [f64; 6],
    states: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    target_position: [f64; 3],
    target_orientation: [f64; 9],
    position: [f64; 3],
    orientation: [f64; 9],
    joint_positions: [f64; 7],
    joint_velocities: [f64; 7],
    jacobian: Vec<f64>,
    mass_matrix: Vec<f64>,
    bias: [f64; 7],
    torques: [f64; 7],
}

impl State {
    fn arm(&self) -> ArmState {
        ArmState {
            position: self.position.into(),
            orientation: Matrix3::from_row_slice(&self.orientation),
            joint_positions: self.joint_positions.into(),
            joint_velocities: self.joint_velocities.into(),
            translational_jacobian: SMatrix::from_row_slice(&self.jacobian[..21]),
            rotational_jacobian: SMatrix::from_row_slice(&self.jacobian[21..]),
            mass_matrix: SMatrix::from_row_slice(&self.mass_matrix),
            bias: self.bias.into(),
        }
    }

    fn target(&self) -> Target {
        Target {
            position: self.target_position.into(),
            orientation: Matrix3::from_row_slice(&self.target_orientation),
        }
    }
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/osc.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn osc() -> Osc {
    let output = Vector6::new(0.05, 0.05, 0.05, 0.5, 0.5, 0.5);
    let torque = SVector::from([80.0, 80.0, 80.0, 80.0, 80.0, 12.0, 12.0]);
    Osc {
        stiffness: Vector6::repeat(150.0),
        damping: Vector6::repeat(2.0 * 150f64.sqrt()),
        input_min: Vector6::repeat(-1.0),
        input_max: Vector6::repeat(1.0),
        output_min: -output,
        output_max: output,
        rest_posture: fixture().initial_joint.into(),
        torque_min: -torque,
        torque_max: torque,
    }
}

#[test]
fn torques_equal_upstream() {
    for (index, state) in fixture().states.iter().enumerate() {
        let torques = osc().torques(&state.target(), &state.arm());
        let difference = (torques - SVector::from(state.torques)).amax();
        assert!(difference < 1e-9, "state {index}: {difference:e} N·m");
    }
}

#[test]
fn a_command_moves_the_target_as_upstream() {
    let fixture = fixture();
    let state = &fixture.states[0];
    let mut target = Target { position: Vector3::zeros(), orientation: Matrix3::zeros() };
    osc().command(&fixture.command.into(), &state.arm(), &mut target);
    let expected = state.target();
    assert!((target.position - expected.position).amax() < 1e-15);
    // The single-precision roundings must match upstream's: without them the difference is about 1e-7.
    assert!((target.orientation - expected.orientation).amax() < 1e-14);
}

#[test]
fn a_command_without_rotation_keeps_the_target_orientation() {
    let state = fixture().states.swap_remove(2);
    let mut target = state.target();
    osc().command(&Vector6::new(1.0, 0.0, -1.0, 0.0, -0.0, 0.0), &state.arm(), &mut target);
    assert_eq!(target.orientation, state.target().orientation);
    assert_eq!(target.position, Vector3::from(state.position) + Vector3::new(0.05, 0.0, -0.05));
}

#[test]
fn a_command_is_clipped() {
    let state = fixture().states.swap_remove(2);
    let moved = |size: f64| {
        let mut target = state.target();
        osc().command(&Vector6::repeat(size), &state.arm(), &mut target);
        target
    };
    assert_eq!(moved(1.0), moved(7.0));
}

#[test]
fn a_singular_arm_gets_finite_torques() {
    let mut arm = fixture().states[0].arm();
    arm.translational_jacobian.row_mut(2).fill(0.0);
    let target = fixture().states[0].target();
    assert!(osc().torques(&target, &arm).iter().all(|torque| torque.is_finite()));
}

//! Operational-space control of a seven-joint arm's grip site: state and goal in, joint torques out.
//! Pure; reproduces robosuite 1.4's `OSC_POSE` with uncoupled position and orientation.
//!
//! Source: Khatib, *A unified approach for motion and force control of robot manipulators: the operational space
//! formulation*, IEEE Journal of Robotics and Automation 3(1), 1987; constants and conventions from robosuite 1.4.0,
//! `controllers/osc.py` and `utils/control_utils.py`.

use nalgebra::{Matrix3, SMatrix, SVector, Vector3, Vector6};

/// Number of joints of the arm.
pub const JOINTS: usize = 7;

/// Number of values of an arm command: translation, then rotation.
pub const COMMAND: usize = 6;

/// One value per joint.
pub type JointVector = SVector<f64, JOINTS>;

/// Proportional gain of the null-space task, 1/s².
const NULL_SPACE_STIFFNESS: f64 = 10.0;

/// Eigenvalues whose magnitude is at most this fraction of the largest are dropped, as `numpy.linalg.pinv` does.
const RELATIVE_CUTOFF: f64 = 1e-15;

/// Gains and scales. Vectors hold translation in x, y, z, then rotation about x, y, z, in the world frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Osc {
    /// Stiffness, 1/s².
    pub stiffness: Vector6<f64>,
    /// Damping, 1/s.
    pub damping: Vector6<f64>,
    /// Lower bound to which commands are clipped, dimensionless.
    pub input_min: Vector6<f64>,
    /// Upper bound to which commands are clipped, dimensionless.
    pub input_max: Vector6<f64>,
    /// Displacement for the smallest command, metres and radians.
    pub output_min: Vector6<f64>,
    /// Displacement for the largest command, metres and radians.
    pub output_max: Vector6<f64>,
    /// Posture to which the null-space task pulls the joints, radians.
    pub rest_posture: JointVector,
    /// Lower torque limits, N·m.
    pub torque_min: JointVector,
    /// Upper torque limits, N·m.
    pub torque_max: JointVector,
}

/// Target pose of the grip site.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// World position, metres.
    pub position: Vector3<f64>,
    /// World orientation.
    pub orientation: Matrix3<f64>,
}

/// State of the arm that the controller reads at one physics step.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmState {
    /// Position of the grip site, world frame, metres.
    pub position: Vector3<f64>,
    /// Orientation of the grip site, world frame.
    pub orientation: Matrix3<f64>,
    /// Joint positions, radians.
    pub joint_positions: JointVector,
    /// Joint velocities, radians per second.
    pub joint_velocities: JointVector,
    /// Translational Jacobian of the grip site, metres per radian.
    pub translational_jacobian: SMatrix<f64, 3, JOINTS>,
    /// Rotational Jacobian of the grip site.
    pub rotational_jacobian: SMatrix<f64, 3, JOINTS>,
    /// The arm's block of the joint-space inertia, kg·m².
    pub mass_matrix: SMatrix<f64, JOINTS, JOINTS>,
    /// Gravity, Coriolis and centrifugal torques, N·m.
    pub bias: JointVector,
}

impl Osc {
    /// Moves `target` by a command relative to the grip site's pose.
    ///
    /// A command with a rotation of exactly zero leaves the target's orientation unchanged, so the target does not follow
    /// drift.
    pub fn command(&self, command: &Vector6<f64>, state: &ArmState, target: &mut Target) {
        let range = (self.input_max - self.input_min).abs();
        let scale = (self.output_max - self.output_min).abs().component_div(&range);
        let input_centre = (self.input_max + self.input_min) / 2.0;
        let output_centre = (self.output_max + self.output_min) / 2.0;
        let clipped = command.zip_zip_map(&self.input_min, &self.input_max, f64::clamp);
        let delta = (clipped - input_centre).component_mul(&scale) + output_centre;
        let rotation = delta.fixed_rows::<3>(3).into_owned();
        if rotation.iter().any(|angle| *angle != 0.0) {
            target.orientation = rotation_matrix(&rotation) * state.orientation;
        }
        target.position = state.position + delta.fixed_rows::<3>(0);
    }

    /// Returns the joint torques that pull the grip site to `target`, clipped to the limits, N·m.
    pub fn torques(&self, target: &Target, state: &ArmState) -> JointVector {
        let translational = &state.translational_jacobian;
        let rotational = &state.rotational_jacobian;
        let mut jacobian = SMatrix::<f64, 6, JOINTS>::zeros();
        jacobian.fixed_rows_mut::<3>(0).copy_from(translational);
        jacobian.fixed_rows_mut::<3>(3).copy_from(rotational);

        let mut error = Vector6::zeros();
        error.fixed_rows_mut::<3>(0).copy_from(&(target.position - state.position));
        error.fixed_rows_mut::<3>(3).copy_from(&orientation_error(&target.orientation, &state.orientation));
        let velocity = jacobian * state.joint_velocities;
        let acceleration = error.component_mul(&self.stiffness) - velocity.component_mul(&self.damping);

        let inverse_mass = inverse(&state.mass_matrix);
        let force = inverse(&(translational * inverse_mass * translational.transpose()))
            * acceleration.fixed_rows::<3>(0);
        let moment =
            inverse(&(rotational * inverse_mass * rotational.transpose())) * acceleration.fixed_rows::<3>(3);
        let mut wrench = Vector6::zeros();
        wrench.fixed_rows_mut::<3>(0).copy_from(&force);
        wrench.fixed_rows_mut::<3>(3).copy_from(&moment);

        let inertia = inverse(&(jacobian * inverse_mass * jacobian.transpose()));
        let generalised_inverse = inverse_mass * jacobian.transpose() * inertia;
        let null_space = SMatrix::<f64, JOINTS, JOINTS>::identity() - generalised_inverse * jacobian;
        let posture = NULL_SPACE_STIFFNESS * (self.rest_posture - state.joint_positions)
            - 2.0 * NULL_SPACE_STIFFNESS.sqrt() * state.joint_velocities;

        let torques = jacobian.transpose() * wrench
            + state.bias
            + null_space.transpose() * (state.mass_matrix * posture);
        torques.zip_zip_map(&self.torque_min, &self.torque_max, f64::clamp)
    }
}

/// Returns the rotation from `current` to `desired` as half the sum of the cross products of their columns; radians for
/// small angles. Source: robosuite 1.4, `orientation_error`.
fn orientation_error(desired: &Matrix3<f64>, current: &Matrix3<f64>) -> Vector3<f64> {
    (0..3).map(|axis| current.column(axis).cross(&desired.column(axis))).sum::<Vector3<f64>>() * 0.5
}

/// Returns the rotation matrix of a rotation vector (axis times angle, radians), through a quaternion in single precision.
///
/// Upstream's `quat2mat` rounds to single precision, which moves a target by about 1e-7 rad; this function rounds at the
/// same places and in the same order.
fn rotation_matrix(rotation: &Vector3<f64>) -> Matrix3<f64> {
    let angle = rotation.norm();
    let axis = rotation / angle;
    let (sine, cosine) = (angle / 2.0).sin_cos();
    let quaternion = [cosine, axis.x * sine, axis.y * sine, axis.z * sine].map(|value| value as f32);
    let squared_norm = quaternion.iter().map(|value| f64::from(value * value)).sum::<f64>() as f32;
    let scale = (2.0 / f64::from(squared_norm)).sqrt();
    let scaled = quaternion.map(|value| (f64::from(value) * scale) as f32);
    let product = |i: usize, j: usize| scaled[i] * scaled[j];
    let diagonal = |i: usize, j: usize| 1.0 - f64::from(product(i, i)) - f64::from(product(j, j));
    let plus = |i: usize, j: usize, k: usize| f64::from(product(i, j) + product(k, 0));
    let minus = |i: usize, j: usize, k: usize| f64::from(product(i, j) - product(k, 0));
    Matrix3::new(
        diagonal(2, 3),
        minus(1, 2, 3),
        plus(1, 3, 2),
        plus(1, 2, 3),
        diagonal(1, 3),
        minus(2, 3, 1),
        minus(1, 3, 2),
        plus(2, 3, 1),
        diagonal(1, 2),
    )
}

/// Returns the inverse of a symmetric matrix, or the pseudo-inverse where the matrix is not positive definite.
fn inverse<const N: usize>(matrix: &SMatrix<f64, N, N>) -> SMatrix<f64, N, N> {
    if let Some(factor) = matrix.cholesky() {
        return factor.inverse();
    }
    let eigen = nalgebra::DMatrix::from_column_slice(N, N, matrix.as_slice()).symmetric_eigen();
    let largest = eigen.eigenvalues.amax();
    let inverted = eigen
        .eigenvalues
        .map(|value| if value.abs() > RELATIVE_CUTOFF * largest { 1.0 / value } else { 0.0 });
    let product =
        &eigen.eigenvectors * nalgebra::DMatrix::from_diagonal(&inverted) * eigen.eigenvectors.transpose();
    SMatrix::from_column_slice(product.as_slice())
}

//! Inputs of the arm's controller before each physics step, read directly from MuJoCo's arrays.
//! The values equal the arm's part of `mj_fullM` and `mj_jacSite` bit for bit, without computing the other bodies' parts.

use std::sync::Arc;

use mujoco_rs::prelude::{MjData, MjModel};
use nalgebra::{Matrix3, SMatrix, Vector3};

use crate::osc::{ArmState, JOINTS};

/// Indices of the arm's values in MuJoCo's arrays.
#[derive(Clone, Debug)]
pub(crate) struct ArmIndex {
    /// The site that the controller moves.
    pub grip_site: usize,
    /// Addresses in `qpos`.
    pub positions: [usize; JOINTS],
    /// Addresses in `qvel`.
    pub dofs: [usize; JOINTS],
    /// Root body of the kinematic tree of the grip site: MuJoCo's motion axes are relative to that tree's centre of mass.
    root: usize,
    /// Addresses in the sparse joint-space inertia; `None` where two joints have no entry.
    inertia: [[Option<usize>; JOINTS]; JOINTS],
}

impl ArmIndex {
    /// Finds the arm's indices in a model; returns `None` where a joint does not move the grip site.
    pub fn bind(model: &MjModel, grip_site: usize, joints: [usize; JOINTS]) -> Option<Self> {
        let dofs = joints.map(|joint| model.jnt_dofadr()[joint] as usize);
        let body = model.site_bodyid()[grip_site] as usize;
        let movers = dofs_that_move(model, body);
        let inertia = dofs.map(|row| dofs.map(|column| inertia_address(model, row, column)));
        dofs.iter().all(|dof| movers.contains(dof)).then(|| Self {
            grip_site,
            positions: joints.map(|joint| model.jnt_qposadr()[joint] as usize),
            dofs,
            root: model.body_rootid()[body] as usize,
            inertia,
        })
    }

    /// Reads the arm's state as MuJoCo's position and velocity stages computed it.
    pub fn read(&self, data: &MjData<Arc<MjModel>>) -> ArmState {
        let (position, orientation) = self.grip_pose(data);
        let offset = position - Vector3::from(data.subtree_com()[self.root]);
        let axes = self.dofs.map(|dof| {
            let [rx, ry, rz, tx, ty, tz] = data.cdof()[dof];
            (Vector3::new(rx, ry, rz), Vector3::new(tx, ty, tz))
        });
        ArmState {
            position,
            orientation,
            joint_positions: self.positions.map(|address| data.qpos()[address]).into(),
            joint_velocities: self.dofs.map(|address| data.qvel()[address]).into(),
            translational_jacobian: SMatrix::from_columns(
                &axes.map(|(rotation, translation)| translation + rotation.cross(&offset)),
            ),
            rotational_jacobian: SMatrix::from_columns(&axes.map(|(rotation, _)| rotation)),
            mass_matrix: SMatrix::from_fn(|row, column| {
                self.inertia[row][column].map_or(0.0, |address| data.m()[address])
            }),
            bias: self.dofs.map(|address| data.qfrc_bias()[address]).into(),
        }
    }

    /// Returns position (metres) and orientation of the grip site in the world frame, as of the last forward pass.
    pub fn grip_pose(&self, data: &MjData<Arc<MjModel>>) -> (Vector3<f64>, Matrix3<f64>) {
        let site = self.grip_site;
        (data.site_xpos()[site].into(), Matrix3::from_row_slice(&data.site_xmat()[site]))
    }
}

/// Returns every degree of freedom between a body and the world body.
fn dofs_that_move(model: &MjModel, mut body: usize) -> Vec<usize> {
    while body != 0 && model.body_dofnum()[body] == 0 {
        body = model.body_parentid()[body] as usize;
    }
    let last = model.body_dofadr()[body] + model.body_dofnum()[body] - 1;
    std::iter::successors(usize::try_from(last).ok(), |dof| usize::try_from(model.dof_parentid()[*dof]).ok())
        .collect()
}

/// Returns the address of an entry of the symmetric inertia. MuJoCo stores the lower triangle, row by row.
fn inertia_address(model: &MjModel, row: usize, column: usize) -> Option<usize> {
    let (row, column) = (row.max(column), row.min(column));
    let start = model.m_rowadr()[row] as usize;
    let columns = &model.m_colind()[start..start + model.m_rownnz()[row] as usize];
    columns.iter().position(|found| *found as usize == column).map(|offset| start + offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use mujoco_rs::prelude::MjtObjBase;

    use super::*;

    /// Returns a model with bodies before and after the arm, a branch beside the arm, and a fixed body that carries the site.
    fn model() -> MjModel {
        let link = |index: usize, inner: &str| {
            let axis = ["0 0 1", "0 1 0", "1 0.3 0"][index % 3];
            format!(
                r#"<body pos="0.02 0.01 0.2"><joint name="arm{index}" axis="{axis}" armature="0.1"/>
                <geom size="0.05 0.1" type="capsule" pos="0.03 0 0.1" mass="{}"/>{inner}</body>"#,
                3 - index / 3
            )
        };
        let hand = r#"<body pos="0 0.1 0.1" euler="10 20 30"><site name="grip" pos="0.01 0.02 0.1"/></body>
            <body><joint name="finger" type="slide"/><geom size="0.02" mass="0.1"/></body>"#;
        let arm = (0..JOINTS).rev().fold(hand.to_owned(), |inner, index| link(index, &inner));
        let free = r#"<body pos="1 1 1"><freejoint/><geom type="box" size="0.1 0.2 0.3"/></body>"#;
        MjModel::from_xml_string(&format!(
            "<mujoco><worldbody>{free}<body pos=\"0 1 0\">{arm}</body>{free}</worldbody></mujoco>"
        ))
        .unwrap()
    }

    fn id(model: &MjModel, kind: MjtObjBase, name: &str) -> usize {
        model.name_to_id(kind, name).unwrap()
    }

    fn bind(model: &MjModel, names: [&str; JOINTS]) -> Option<ArmIndex> {
        let site = id(model, MjtObjBase::mjOBJ_SITE, "grip");
        ArmIndex::bind(model, site, names.map(|name| id(model, MjtObjBase::mjOBJ_JOINT, name)))
    }

    #[test]
    fn reads_what_mujoco_computes() {
        let model = Arc::new(model());
        let arm = bind(&model, ["arm0", "arm1", "arm2", "arm3", "arm4", "arm5", "arm6"]).unwrap();
        let nv = model.nv() as usize;
        let mut data = MjData::new(Arc::clone(&model));
        for (index, dof) in arm.dofs.into_iter().enumerate() {
            data.qvel_mut()[dof] = 0.7 - index as f64 / 5.0;
        }
        let mut inertia = vec![0.0; nv * nv];
        for _ in 0..20 {
            (0..10).for_each(|_| data.step());
            data.step1();
            let state = arm.read(&data);
            let (translational, rotational) = data.try_jac_site(true, true, arm.grip_site).unwrap();
            data.full_m(&mut inertia).unwrap();
            for (column, dof) in arm.dofs.into_iter().enumerate() {
                for row in 0..3 {
                    assert_eq!(state.translational_jacobian[(row, column)], translational[row * nv + dof]);
                    assert_eq!(state.rotational_jacobian[(row, column)], rotational[row * nv + dof]);
                }
                for (row, other) in arm.dofs.into_iter().enumerate() {
                    assert_eq!(state.mass_matrix[(row, column)], inertia[other * nv + dof]);
                }
                assert_eq!(state.joint_velocities[column], data.qvel()[dof]);
                assert_eq!(state.bias[column], data.qfrc_bias()[dof]);
            }
        }
    }

    #[test]
    fn refuses_a_joint_beside_the_arm() {
        assert!(bind(&model(), ["arm0", "arm1", "arm2", "arm3", "arm4", "arm5", "finger"]).is_none());
    }
}

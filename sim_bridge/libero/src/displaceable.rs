//! The object that a displacement moves: the task's target, where it moves freely.

use mujoco_rs::prelude::{MjtJoint, MjtObjBase};

use crate::error::SuiteError;
use crate::model_lookup::Names;
use crate::task::ObjectInfo;

/// Free joint of a task's target object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Displaceable {
    /// Address of the position in `qpos`: x, y, z, then the quaternion.
    pub position: usize,
    /// Root body of the object.
    pub body: i32,
}

impl Displaceable {
    /// Finds the joint of an object; `None` where the object does not move freely.
    pub fn bind(names: &Names<'_>, object: &ObjectInfo) -> Result<Option<Self>, SuiteError> {
        let body = names.body("objects.root_body", &object.root_body)?;
        let [joint] = object.joints.as_slice() else { return Ok(None) };
        let joint = names.one(MjtObjBase::mjOBJ_JOINT, "objects.joints", joint)?;
        let model = names.model;
        let free = model.jnt_type()[joint] == MjtJoint::mjJNT_FREE;
        let position = model.jnt_qposadr()[joint] as usize;
        Ok(free.then(|| Self { position, body: model.body_rootid()[body] }))
    }
}

//! When a task counts as done: the conjunction of predicates that upstream evaluates after each control step.
//! Source: LIBERO, `envs/object_states/base_object_states.py` and `envs/predicates/base_predicates.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mujoco_rs::prelude::{MjData, MjModel, MjtObjBase};

use crate::task::{ObjectInfo, TaskInfo};

/// How far apart, in the table's plane, the origins of an object and its support may be, metres.
const ON_DISTANCE: f64 = 0.03;

/// Why a goal cannot be evaluated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// The predicate is not implemented here.
    #[error("unsupported predicate ({found}); supported is (on OBJECT OBJECT)")]
    Unsupported {
        /// The predicate as the task states it.
        found: String,
    },
    /// A name is missing in the compiled model.
    #[error("the model has no {kind} {name}")]
    Missing {
        /// Body or geom.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// A conjunction of predicates bound to a model.
#[derive(Clone, Debug)]
pub struct Goal {
    conditions: Vec<On>,
}

/// One object rests on another: it is not lower, they touch, and it is centred within [`ON_DISTANCE`].
#[derive(Clone, Debug)]
struct On {
    object: Item,
    support: Item,
}

#[derive(Clone, Debug)]
struct Item {
    body: usize,
    geoms: BTreeSet<i32>,
}

impl Goal {
    /// Refuses a goal that [`Goal::bind`] could not evaluate, without a model.
    pub fn check(task: &TaskInfo) -> Result<(), GoalError> {
        task.goal.iter().try_for_each(|predicate| arguments(task, predicate).map(|_| ()))
    }

    /// Finds the goal's bodies and geoms in the model.
    pub fn bind(task: &TaskInfo, model: &MjModel) -> Result<Self, GoalError> {
        let conditions = task
            .goal
            .iter()
            .map(|predicate| {
                let (object, support) = arguments(task, predicate)?;
                Ok(On { object: Item::bind(object, model)?, support: Item::bind(support, model)? })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions })
    }

    /// Whether the goal holds, by the contacts and body poses of the last forward pass.
    pub fn holds(&self, data: &MjData<Arc<MjModel>>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(data))
    }
}

impl On {
    fn holds(&self, data: &MjData<Arc<MjModel>>) -> bool {
        let object = data.xpos()[self.object.body];
        let support = data.xpos()[self.support.body];
        support[2] <= object[2]
            && ((support[0] - object[0]).powi(2) + (support[1] - object[1]).powi(2)).sqrt() < ON_DISTANCE
            && data.contact().iter().any(|contact| {
                let [first, second] = contact.geom;
                (self.object.geoms.contains(&first) && self.support.geoms.contains(&second))
                    || (self.object.geoms.contains(&second) && self.support.geoms.contains(&first))
            })
    }
}

impl Item {
    fn bind(info: &ObjectInfo, model: &MjModel) -> Result<Self, GoalError> {
        let body = model.name_to_id(MjtObjBase::mjOBJ_BODY, &info.root_body);
        let body = body.ok_or_else(|| GoalError::Missing { kind: "body", name: info.root_body.clone() })?;
        let geoms = info
            .contact_geoms
            .iter()
            .map(|name| {
                let id = model.name_to_id(MjtObjBase::mjOBJ_GEOM, name);
                id.map(|id| id as i32).ok_or_else(|| GoalError::Missing { kind: "geom", name: name.clone() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { body, geoms })
    }
}

/// The object and its support in `(on object support)`.
fn arguments<'a>(
    task: &'a TaskInfo,
    predicate: &[String],
) -> Result<(&'a ObjectInfo, &'a ObjectInfo), GoalError> {
    let unsupported = || GoalError::Unsupported { found: predicate.join(" ") };
    let find = |name: &str| {
        task.objects.iter().chain(&task.fixtures).find(|item| item.name == name).ok_or_else(unsupported)
    };
    match predicate {
        [name, object, support] if name == "on" => Ok((find(object)?, find(support)?)),
        _ => Err(unsupported()),
    }
}

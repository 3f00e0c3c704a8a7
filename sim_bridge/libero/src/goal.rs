//! Goal of a task: the conjunction of predicates that upstream evaluates after each control step.
//! This module parses the predicates of a task and binds them to a model; `condition.rs` evaluates them.
//!
//! Source: LIBERO, `envs/predicates/base_predicates.py` and `envs/object_states/base_object_states.py`.

mod condition;

use std::collections::BTreeSet;
use std::sync::Arc;

use mujoco_rs::prelude::{MjData, MjModel, MjtObjBase};

use crate::error::GoalError;
use crate::task::{Limit, ObjectInfo, SiteInfo, TaskInfo};
use condition::{Condition, Item, Region};

/// A conjunction of predicates bound to a model.
#[derive(Clone, Debug)]
pub struct Goal {
    conditions: Vec<Condition>,
}

impl Goal {
    /// Checks, without a model, that every predicate of the task's goal is supported and its arguments exist in the task.
    pub fn check(task: &TaskInfo) -> Result<(), GoalError> {
        task.goal.iter().try_for_each(|predicate| Statement::read(task, predicate).map(|_| ()))
    }

    /// Finds the goal's bodies, geoms, sites and joints in the model.
    pub fn bind(task: &TaskInfo, model: &MjModel) -> Result<Self, GoalError> {
        let conditions = task
            .goal
            .iter()
            .map(|predicate| Statement::read(task, predicate)?.bind(model))
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions })
    }

    /// Returns whether the goal is met, by contacts and poses of the last forward pass and the present joint positions.
    pub fn holds(&self, data: &MjData<Arc<MjModel>>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(data))
    }
}

/// A predicate with its arguments resolved in the task.
enum Statement<'a> {
    OnObject { object: &'a ObjectInfo, support: &'a ObjectInfo },
    OnSite { object: &'a ObjectInfo, site: &'a SiteInfo, parent: Option<&'a ObjectInfo> },
    InSite { object: &'a ObjectInfo, site: &'a SiteInfo },
    Joints { joints: &'a [String], limit: Limit, every: bool },
}

impl<'a> Statement<'a> {
    fn read(task: &'a TaskInfo, predicate: &[String]) -> Result<Self, GoalError> {
        let stated = || predicate.join(" ");
        let wrong = |name: &str, expected| GoalError::Argument {
            predicate: stated(),
            name: name.to_owned(),
            expected,
        };
        let object = |name: &str| task.object(name).ok_or_else(|| wrong(name, "object"));
        let terms: Vec<&str> = predicate.iter().map(String::as_str).collect();
        match terms.as_slice() {
            ["on", name, support] => match (task.object(support), task.site(support)) {
                (Some(support), _) => Ok(Self::OnObject { object: object(name)?, support }),
                (None, Some(site)) => {
                    let parent = site.parent.as_deref().map(object).transpose()?;
                    Ok(Self::OnSite { object: object(name)?, site, parent })
                }
                (None, None) => Err(wrong(support, "object or region")),
            },
            // In upstream only regions can contain: for an object upstream fails, because objects lack `in_box`.
            ["in", name, region] => Ok(Self::InSite {
                object: object(name)?,
                site: task.site(region).ok_or_else(|| wrong(region, "region"))?,
            }),
            [question @ ("open" | "close"), name] => {
                let (joints, owner) = match (task.object(name), task.site(name)) {
                    (Some(thing), _) => (&thing.joints, thing),
                    (None, Some(site)) => {
                        let parent =
                            site.parent.as_deref().ok_or_else(|| wrong(name, "region of an object"))?;
                        (&site.joints, object(parent)?)
                    }
                    (None, None) => return Err(wrong(name, "object or region")),
                };
                Self::joints(stated(), question, owner, joints)
            }
            [question @ ("turnon" | "turnoff"), name] => {
                let thing = object(name)?;
                Self::joints(stated(), question, thing, &thing.joints)
            }
            _ => Err(GoalError::Unsupported { found: stated() }),
        }
    }

    /// Makes a joint statement. "Open" and "on" need one joint past its limit; "closed" and "off" need every joint.
    fn joints(
        predicate: String,
        question: &str,
        owner: &ObjectInfo,
        joints: &'a [String],
    ) -> Result<Self, GoalError> {
        let articulation = &owner.articulation;
        let (limit, question, every) = match question {
            "open" => (articulation.is_open, "is_open", false),
            "close" => (articulation.is_close, "is_close", true),
            "turnon" => (articulation.turn_on, "turn_on", false),
            _ => (articulation.turn_off, "turn_off", true),
        };
        let missing = || GoalError::Threshold { predicate, name: owner.name.clone(), question };
        Ok(Self::Joints { joints, limit: limit.ok_or_else(missing)?, every })
    }

    fn bind(self, model: &MjModel) -> Result<Condition, GoalError> {
        Ok(match self {
            Self::OnObject { object, support } => {
                Condition::OnObject { object: item(object, model)?, support: item(support, model)? }
            }
            Self::OnSite { object, site, parent } => Condition::OnRegion {
                object: item(object, model)?,
                region: region(site, model)?,
                parent: parent.map(|parent| geoms(parent, model)).transpose()?,
            },
            Self::InSite { object, site } => {
                Condition::InRegion { body: body(object, model)?, region: region(site, model)? }
            }
            Self::Joints { joints, limit, every } => {
                let address = |name: &String| {
                    let joint = find(model, MjtObjBase::mjOBJ_JOINT, "joint", name)?;
                    Ok(model.jnt_qposadr()[joint] as usize)
                };
                let addresses = joints.iter().map(address).collect::<Result<_, _>>()?;
                Condition::Joints { addresses, limit, every }
            }
        })
    }
}

fn item(info: &ObjectInfo, model: &MjModel) -> Result<Item, GoalError> {
    Ok(Item { body: body(info, model)?, geoms: geoms(info, model)? })
}

fn body(info: &ObjectInfo, model: &MjModel) -> Result<usize, GoalError> {
    find(model, MjtObjBase::mjOBJ_BODY, "body", &info.root_body)
}

fn geoms(info: &ObjectInfo, model: &MjModel) -> Result<BTreeSet<i32>, GoalError> {
    let geom = |name: &String| Ok(find(model, MjtObjBase::mjOBJ_GEOM, "geom", name)? as i32);
    info.contact_geoms.iter().map(geom).collect()
}

fn region(info: &SiteInfo, model: &MjModel) -> Result<Region, GoalError> {
    let site = find(model, MjtObjBase::mjOBJ_SITE, "site", &info.name)?;
    Ok(Region { site, half_size: info.half_size.into() })
}

fn find(model: &MjModel, kind: MjtObjBase, noun: &'static str, name: &str) -> Result<usize, GoalError> {
    model.name_to_id(kind, name).ok_or_else(|| GoalError::Missing { kind: noun, name: name.to_owned() })
}

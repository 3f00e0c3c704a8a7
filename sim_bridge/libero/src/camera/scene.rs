//! Textured scene for drawing: a task's scene, compiled once and shared between plants.
//! Physics never runs on this model.

use std::path::Path;
use std::sync::Arc;

use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjModel, MjSpec, MjtObjBase, MjvOption};

use crate::camera::DrawnState;
use crate::error::{SuiteError, field};
use crate::model_lookup::Names;
use crate::task::{Limit, TaskInfo};

/// Number of groups by which sites can be shown or hidden. All sites except burners are in the first group.
const SITE_GROUPS: usize = 6;

/// The model of a task with textures, about 190 MB.
#[derive(Debug)]
pub(crate) struct TexturedScene {
    pub model: Arc<MjModel>,
    burners: Vec<Burner>,
}

/// The glowing disc of a stove: a site in a separate group.
#[derive(Debug)]
struct Burner {
    group: usize,
    /// Addresses in `qpos`.
    joints: Vec<usize>,
    /// Joint limit beyond which the burner is lit.
    on: Limit,
}

impl TexturedScene {
    /// Compiles `scene.xml` in `folder`.
    pub fn compile(folder: &Path, task: &TaskInfo) -> Result<Self, SuiteError> {
        let path = folder.join("scene.xml");
        let refused = |message: String| SuiteError::Model { path: path.clone(), message };
        let mut spec = MjSpec::from_xml(&path).map_err(|error| refused(error.to_string()))?;
        spec.site_iter_mut().for_each(|site| site.set_group(0));
        let mut lit = Vec::new();
        for thing in task.objects.iter().chain(&task.fixtures) {
            // Upstream: `FlatStove` and `YellowStove` in LIBERO, `envs/objects/articulated_objects.py`.
            let site = spec.site_mut(&format!("{}_burner", thing.name));
            if let (Some(site), Some(limit)) = (site, thing.articulation.turn_on) {
                let group = 1 + lit.len();
                if group == SITE_GROUPS {
                    let valid = format!("at most {}", SITE_GROUPS - 1);
                    return Err(field(&path, "burners", "more", &valid));
                }
                site.set_group(group as i32);
                lit.push((group, &thing.joints, limit));
            }
        }
        let model = spec.compile().map_err(|error| refused(error.to_string()))?;
        let names = Names { path: &path, model: &model };
        names.size("nq", model.nq() as usize, task.nq)?;
        let address = |name: &String| names.qpos_address("burner joint", name);
        let burners = lit
            .into_iter()
            .map(|(group, joints, on)| {
                Ok(Burner {
                    group,
                    joints: joints.iter().map(address).collect::<Result<_, SuiteError>>()?,
                    on,
                })
            })
            .collect::<Result<_, SuiteError>>()?;
        Ok(Self { model: Arc::new(model), burners })
    }

    /// Sets the visibility of geoms and sites as in upstream's pictures.
    pub fn set_visible(&self, seen: &DrawnState, options: &mut MjvOption) {
        // robosuite draws visual geoms (group 1) without collision shapes (group 0), and turns sites transparent.
        options.geomgroup[0] = 0;
        options.sitegroup = [0; SITE_GROUPS];
        for burner in &self.burners {
            let lit = burner.joints.iter().any(|joint| burner.on.passed(seen.switches[*joint]));
            options.sitegroup[burner.group] = lit.into();
        }
    }

    /// Returns the index of the camera with this name.
    pub fn camera(&self, name: &str) -> Result<usize, PlantError> {
        let find = |name| self.model.name_to_id(MjtObjBase::mjOBJ_CAMERA, name);
        find(name).ok_or_else(|| {
            let cameras = 0..self.model.ncam() as usize;
            let names: Vec<&str> = cameras
                .filter_map(|camera| self.model.id_to_name(MjtObjBase::mjOBJ_CAMERA, camera))
                .collect();
            PlantError::Backend(format!("camera: found {name}; valid is one of {}", names.join(", ")))
        })
    }
}

//! Finder of LIBERO scenes for snapshots of a plant: the suite whose task has the snapshot's instruction and state. Poses
//! come from the native simulator, which is reset to the snapshot's state.

use aegis_core::Pose;
use aegis_core::scene::{Body, Scene};
use aegis_recorder::SceneResolver;
use aegis_recorder::snapshots::PlantSnapshot;
use aegis_sim::{LiberoPlant, Suite};

use crate::suites::{installed_suites, load_suite};

/// Finder of scenes among the suites that are installed on this machine.
#[derive(Default)]
pub struct Libero {
    suites: Option<Vec<Suite>>,
    /// A plant of the suite that was found last, and the number of values of a snapshot's state that are time, positions
    /// and velocities.
    found: Option<(LiberoPlant, usize)>,
}

impl Libero {
    fn suites(&mut self) -> &[Suite] {
        self.suites.get_or_insert_with(|| {
            installed_suites().iter().filter_map(|name| load_suite(name, None).ok()).collect()
        })
    }
}

impl SceneResolver for Libero {
    fn bodies(&mut self, sight: &PlantSnapshot) -> Vec<Body> {
        let task = sight.task as usize;
        let found = self.suites().iter().find_map(|suite| {
            let info = suite.task(task).filter(|info| info.language == sight.instruction)?;
            let width = 1 + info.nq + info.nv;
            (sight.state.len() >= width).then(|| (LiberoPlant::new(suite.clone()), width))
        });
        self.found = found;
        if self.poses(sight).is_empty() {
            self.found = None;
        }
        self.found.as_ref().map_or(Vec::new(), |(plant, _)| plant.bodies())
    }

    fn poses(&mut self, sight: &PlantSnapshot) -> Vec<Pose> {
        let mut poses = Vec::new();
        if let Some((plant, width)) = &mut self.found
            && let Some(state) = sight.state.get(..*width)
            && plant.reset_from(sight.task as usize, state).is_ok()
        {
            plant.poses(&mut poses);
        }
        poses
    }
}

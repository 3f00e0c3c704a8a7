//! Tests of sampled starts: reproducible, all different, within upstream's placements, and physically valid.
//! A state is constructed for each reason of refusal.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use aegis_core::policy::{Plant, PlantError, Start};
use aegis_sim::sampler::{ATTEMPTS, Rejection, StartSampler};
use aegis_sim::task::placements::{AnchorInfo, StepInfo};
use aegis_sim::{LiberoPlant, Suite};
use serde_json::{Value, json};

const SEED: u64 = 11;
/// Number of recorded states per task.
const RECORDED: usize = 50;
const NULL: [f64; 7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
/// Objects of task 0 in the order of their free joints.
const BOWL: usize = 0;
const OTHER_BOWL: usize = 1;
const PLATE: usize = 4;

fn start(task: usize, initial_state: usize) -> Start {
    Start { task, initial_state }
}

/// Returns the range of an object's pose in a state of task 0: after time, seven arm joints and two fingers.
fn pose(object: usize) -> std::ops::Range<usize> {
    let first = 1 + 7 + 2 + 7 * object;
    first..first + 7
}

#[test]
fn a_start_does_not_depend_on_order_or_plant() {
    let ascending = support::suite().with_sampled_starts(SEED);
    let first: Vec<_> = [50, 51, 1000].map(|index| ascending.start(start(0, index)).unwrap()).to_vec();
    let shared = support::suite().with_sampled_starts(SEED);
    let second: Vec<_> = std::thread::scope(|scope| {
        let draws = [1000, 51, 50].map(|index| {
            let suite = shared.clone();
            scope.spawn(move || {
                let mut plant = LiberoPlant::new(suite);
                plant.reset(start(0, index)).unwrap();
                plant.state_flat()
            })
        });
        draws.map(|draw| draw.join().unwrap()).into_iter().rev().collect()
    });
    assert_eq!(first, second);
    // Recorded states are unchanged.
    let recorded = support::suite().start(start(0, 49)).unwrap();
    assert_eq!(ascending.start(start(0, 49)).unwrap(), recorded);
}

#[test]
fn starts_are_distinct_across_indices_tasks_and_seeds() {
    let suite = support::suite();
    let mut seen = BTreeSet::new();
    let mut draws = 0;
    for (task, seed, count) in [(0, SEED, 200), (1, SEED, 20), (0, SEED + 1, 20)] {
        let mut sampler = StartSampler::new(&suite, task, seed).unwrap().unchecked();
        for index in RECORDED..RECORDED + count {
            let state = sampler.draw(index).unwrap().state;
            assert_eq!(state[0], 0.0);
            seen.insert(state.into_iter().map(f64::to_bits).collect::<Vec<_>>());
            draws += 1;
        }
    }
    assert_eq!(seen.len(), draws);
}

#[test]
fn objects_are_drawn_inside_their_regions() {
    let suite = support::suite();
    let placements = suite.task(0).unwrap().placements.clone().unwrap();
    let mut sampler = StartSampler::new(&suite, 0, SEED).unwrap().unchecked();
    let states: Vec<_> = (50..150).map(|index| sampler.draw(index).unwrap().state).collect();
    let objects = &suite.task(0).unwrap().objects;
    let mut checked = 0;
    for step in &placements.sequence {
        let StepInfo::Object(how) = step else { continue };
        let AnchorInfo::Point { position } = how.anchor else { continue };
        let place = pose(objects.iter().position(|object| object.name == how.name).unwrap());
        for (axis, [low, high]) in [how.ranges[0].x, how.ranges[0].y].into_iter().enumerate() {
            let ends = [low + how.inset + position[axis], high - how.inset + position[axis]];
            let [low, high] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
            let values = || states.iter().map(|state| state[place.start + axis]);
            assert!(
                values().all(|value| (low..=high).contains(&value)),
                "{} leaves [{low}, {high}]",
                how.name
            );
            let spread = values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min);
            assert!(spread > 0.8 * (high - low), "{} fills {spread} of {}", how.name, high - low);
            checked += 1;
        }
    }
    assert_eq!(checked, 10);
}

#[test]
fn accepted_starts_settle_upright_without_the_goal() {
    let suite = support::suite().with_sampled_starts(SEED);
    let mut plant = LiberoPlant::new(suite.clone());
    for index in [50, 51, 52] {
        plant.reset(start(0, index)).unwrap();
        for _ in 0..60 {
            assert!(!plant.apply(&NULL).unwrap().success);
        }
        let observation = plant.apply(&NULL).unwrap().observation;
        for (name, position) in observation.object_positions() {
            let [w, x, y, z] = observation.object(name).unwrap().orientation;
            assert!(1.0 - 2.0 * (x * x + y * y) > 0.95, "{name} lies over: {:?}", [w, x, y, z]);
            assert!((0.88..0.93).contains(&position[2]), "{name} is at {position:?}");
        }
        // No object penetrates another at rest: the sampler's own check of the settled state finds no contact too deep.
        let mut sampler = StartSampler::new(&suite, 0, SEED).unwrap();
        let drawn = suite.start(start(0, index)).unwrap();
        assert_eq!(sampler.refuse(&drawn).unwrap(), None);
    }
}

#[test]
fn every_kind_of_placement_gives_sound_starts() {
    // Tasks with a drawer, a cabinet's top and a stove; a floor that objects are drawn into; an open cabinet; a microwave.
    for (name, task) in [
        ("libero_spatial", 4),
        ("libero_spatial", 7),
        ("libero_object", 0),
        ("libero_10", 3),
        ("libero_10", 9),
    ] {
        let suite = support::load(name);
        let mut sampler = StartSampler::new(&suite, task, SEED).unwrap();
        let drawn = sampler.draw(RECORDED).unwrap();
        let info = suite.task(task).unwrap();
        assert_eq!(drawn.state.len(), 1 + info.nq + info.nv);
        assert!(drawn.state[1 + info.nq..].iter().all(|velocity| *velocity == 0.0));
    }
}

#[test]
fn each_reason_to_refuse_is_found() {
    let suite = support::suite();
    let mut sampler = StartSampler::new(&suite, 0, SEED).unwrap();
    let sound = sampler.draw(RECORDED).unwrap().state;
    assert_eq!(sampler.refuse(&sound).unwrap(), None);
    let mut changed = |change: &dyn Fn(&mut Vec<f64>)| {
        let mut state = sound.clone();
        change(&mut state);
        sampler.refuse(&state).unwrap()
    };
    let into_the_plate = changed(&|state| {
        state.copy_within(pose(PLATE), pose(OTHER_BOWL).start);
    });
    assert_eq!(into_the_plate, Some(Rejection::Overlap));
    let off_the_table = changed(&|state| state[pose(OTHER_BOWL).start + 1] = 0.9);
    assert_eq!(off_the_table, Some(Rejection::Fell));
    let over_the_plate = changed(&|state| {
        state.copy_within(pose(PLATE), pose(BOWL).start);
        state[pose(BOWL).start + 2] += 0.1;
    });
    assert_eq!(over_the_plate, Some(Rejection::GoalHolds));
    let last = sound.len() - 1;
    assert_eq!(changed(&|state| state[last] = 1e12), Some(Rejection::Diverged));
}

#[test]
fn starts_beyond_the_recorded_ones_need_a_seed() {
    let refused = support::suite().start(start(0, RECORDED));
    assert!(matches!(refused, Err(PlantError::UnknownInitialState { task: 0, found: 50, last: 49 })));
    let error = support::suite().with_sampled_starts(SEED).start(start(10, RECORDED)).unwrap_err();
    assert!(matches!(error, PlantError::UnknownTask { found: 10, last: 9 }));
}

/// Returns a suite of one task with changed placements.
fn altered(name: &str, change: impl Fn(&mut Value)) -> Suite {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    let task = folder.join("tasks/00");
    std::fs::create_dir_all(&task).unwrap();
    let source = support::folder("libero_spatial");
    for name in ["assets", "tasks/00/physics.xml", "tasks/00/initial_states.npy"] {
        std::os::unix::fs::symlink(source.join(name), folder.join(name)).unwrap();
    }
    let read =
        |name: &str| -> Value { serde_json::from_slice(&std::fs::read(source.join(name)).unwrap()).unwrap() };
    let mut suite = read("suite.json");
    suite["tasks"].as_array_mut().unwrap().truncate(1);
    std::fs::write(folder.join("suite.json"), suite.to_string()).unwrap();
    let mut description = read("tasks/00/task.json");
    change(&mut description);
    std::fs::write(task.join("task.json"), description.to_string()).unwrap();
    Suite::load(&folder).unwrap()
}

#[test]
fn a_task_without_room_ends_in_an_error() {
    let crowded = altered("crowded", |task| {
        for step in task["placements"]["sequence"].as_array_mut().unwrap() {
            if step["kind"] == "object" {
                step["ranges"] = json!([{ "x": [0.0, 0.0], "y": [0.0, 0.0] }]);
                step["inset"] = json!(0.0);
            }
        }
    });
    let error = crowded.with_sampled_starts(SEED).start(start(0, RECORDED)).unwrap_err().to_string();
    assert!(error.contains(&format!("all {ATTEMPTS} draws refused")), "{error}");
    assert!(error.contains(&format!("crowded: {ATTEMPTS}")), "{error}");
}

#[test]
fn an_error_about_missing_placements_has_advice() {
    let old = altered("old", |task| {
        task.as_object_mut().unwrap().remove("placements");
    });
    assert_eq!(old.initial_state_count(0), Some(RECORDED));
    let error = old.with_sampled_starts(SEED).start(start(0, RECORDED)).unwrap_err().to_string();
    assert!(error.contains("placements") && error.contains("export the scenes again"), "{error}");
}

#[test]
fn a_reference_that_was_not_placed_is_refused() {
    let wrong = altered("reference", |task| {
        let anchor = json!({ "kind": "object", "reference": "nothing" });
        let sequence = task["placements"]["sequence"].as_array_mut().unwrap();
        sequence[0]["anchor"] = anchor;
    });
    let error = wrong.with_sampled_starts(SEED).start(start(0, RECORDED)).unwrap_err().to_string();
    assert!(error.contains("anchor.reference") && error.contains("nothing"), "{error}");
}

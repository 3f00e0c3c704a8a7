//! Tests a policy with camera input: it gets the pictures of the boundary at which it is asked, and its error names a missing
//! camera.
//! Needs EGL, as every test that renders.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::common::{Study, edit, folder, repository, runtime};
use aegis_core::record::NoRecorder;
use aegis_core::{Frame, Observation, Plant, PlantError, Policy, Probe, Start, Transition};
use aegis_experiments::{Arm, EpisodeContext, EpisodeError, EpisodeResult, run_episode};
use aegis_policies::layout::Layout;
use aegis_policies::{CardError, ModelCard, OnnxPolicy, OpenError};
use aegis_sim::{Cameras, LiberoPlant};

fn card() -> PathBuf {
    repository().join("policies/models/weak_vision.toml")
}

fn looking() -> OnnxPolicy {
    OnnxPolicy::open(&runtime(), &card()).expect("the shipped model opens")
}

/// A plant that counts the requests for pictures.
struct Counted {
    plant: LiberoPlant,
    asked: Rc<Cell<u32>>,
}

impl Plant for Counted {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.plant.reset(start)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.plant.step(action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        self.asked.set(self.asked.get() + 1);
        self.plant.frames()
    }
}

/// Runs 30 control steps of the weak arm. Returns the result and the number of requests for pictures.
fn episode(
    study: &Study,
    plant: LiberoPlant,
    weak: Box<dyn Policy>,
) -> (Result<EpisodeResult, EpisodeError>, u32) {
    let mut settings = study.settings();
    settings.gate.horizon_steps = 30;
    let asked = Rc::new(Cell::new(0));
    let plant = Box::new(Counted { plant, asked: Rc::clone(&asked) });
    let mut context = EpisodeContext { weak, probe: Probe::blank(64).into(), ..study.parties_around(plant) };
    let result = run_episode(&mut context, &Arm::weak(), study.keys()[0], &settings, &mut NoRecorder);
    (result.map(|(result, _)| result), asked.get())
}

#[test]
fn an_episode_on_pictures_draws_once_a_chunk_and_is_the_same_twice() {
    let study = Study::open();
    let cameras = || Cameras::new(&Cameras::LIBERO, 128, 128).unwrap();
    let plant = || LiberoPlant::with_cameras(study.suite.clone(), cameras());
    let (first, asked) = episode(&study, plant(), Box::new(looking()));
    let first = first.unwrap();
    assert_eq!((first.steps, asked), (30, 3));
    let (again, _) = episode(&study, plant(), Box::new(looking()));
    assert_eq!(again.unwrap(), first);

    // For a policy without camera input no pictures are rendered.
    let blind = OnnxPolicy::open(&runtime(), &study.plan.models.weak).unwrap();
    let (other, asked) = episode(&study, plant(), Box::new(blind));
    assert_eq!(asked, 0);
    assert_ne!(other.unwrap().path, first.path);

    let (refused, _) = episode(&study, LiberoPlant::new(study.suite.clone()), Box::new(looking()));
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("camera agentview is missing; the plant sends no pictures"), "{error}");
}

#[test]
fn a_picture_of_another_size_or_camera_is_refused() {
    let mut policy = looking();
    let vector = vec![0.0; Layout::Proprio.width()];
    let frame = |camera: &str, size: u32| Frame {
        camera: camera.into(),
        width: size,
        height: size,
        rgb: vec![7; 3 * (size * size) as usize],
    };
    let [agent, wrist] = Cameras::LIBERO;
    // The order of the pictures does not matter.
    let seen = policy.infer_encoded(&vector, &[frame(wrist, 128), frame(agent, 128)]).unwrap();
    assert_eq!(policy.infer_encoded(&vector, &[frame(agent, 128), frame(wrist, 128)]).unwrap(), seen);
    for (frames, words) in [
        (vec![frame(agent, 128)], "camera robot0_eye_in_hand is missing; the plant sends agentview"),
        (vec![frame(agent, 64), frame(wrist, 128)], "found 64×64 pixels; valid is 128×128 pixels"),
    ] {
        let error = policy.infer_encoded(&vector, &frames).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Copies the shipped card and its weights into a new folder and replaces `from` by `to` in the card. Returns the card's path.
fn damaged(name: &str, from: &str, to: &str) -> PathBuf {
    let folder = folder(name);
    let copy = |file: &Path| {
        let to = folder.join(file.file_name().expect("it has a name"));
        std::fs::copy(file, &to).expect("the file can be copied");
        to
    };
    copy(&card().with_extension("onnx"));
    let card = copy(&card());
    edit(&card, from, to);
    card
}

#[test]
fn a_card_that_does_not_fit_its_graph_is_refused() {
    let size = damaged("vision-size", "height = 128", "height = 64");
    let error = OnnxPolicy::open(&runtime(), &size).err().expect("it is refused").to_string();
    let words = "frames: found uint8[1, 64, 128, 3]; valid is uint8[1, 128, 128, 3]";
    assert!(error.contains(words), "{error}");

    let tensor = damaged("vision-tensor", "tensor = \"agentview\"", "tensor = \"front\"");
    let error = OnnxPolicy::open(&runtime(), &tensor).err().expect("it is refused");
    assert!(matches!(&error, OpenError::Tensor { valid, .. } if valid.contains("agentview")), "{error}");

    let layout = damaged("vision-layout", "libero-proprio-v1", "libero-proprio-v9");
    let error = ModelCard::load(&layout).expect_err("it is refused");
    assert!(matches!(error, CardError::Parse { .. }));
    let text = error.to_string();
    assert!(text.contains("libero-proprio-v9") && text.contains("\"libero-lowdim-v1\""), "{text}");

    let width = damaged("vision-width", "width = 28", "width = 88");
    let text = ModelCard::load(&width).expect_err("it is refused").to_string();
    assert!(text.contains("observation.width: found 88; valid is 28"), "{text}");
}

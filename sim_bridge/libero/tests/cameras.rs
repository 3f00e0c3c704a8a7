//! Tests of pictures compared with upstream's, and that cameras do not change the physics.
//! The fixtures come from `pictures.py --fixtures`. Needs EGL: without EGL these tests fail and state what to install.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::support;

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use aegis_core::Frame;
use aegis_core::policy::{Plant, Start};
use aegis_sim::camera::CameraError;
use aegis_sim::{Cameras, LiberoPlant, Suite};
use mujoco_rs::prelude::{MjModel, MjtObjBase};
use ndarray_npy::WriteNpyExt;

const SIZE: u32 = 128;
/// Maximum mean difference from upstream's picture, in units of 1/255. The renderer that drew the fixtures (llvmpipe, Mesa
/// 22.3) stays below 0.03; the bound also accepts softpipe, which has no multisampling.
const MEAN: f64 = 3.5;
/// Maximum fraction of pixels that differ by more than [`NEAR`] in a colour channel.
const SHARE: f64 = 0.10;
const NEAR: u8 = 8;

fn cameras() -> Cameras {
    Cameras::new(&Cameras::LIBERO, SIZE, SIZE).unwrap()
}

fn plant(suite: Suite) -> LiberoPlant {
    LiberoPlant::with_cameras(suite, cameras())
}

fn replay(plant: &mut LiberoPlant, start: Start, actions: &str, steps: usize) {
    plant.reset(start).unwrap();
    for action in support::array::<f32>(actions).rows().into_iter().take(steps) {
        plant.step(&action.to_vec()).unwrap();
    }
}

/// Reads upstream's picture.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.png"));
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut rgb).unwrap();
    rgb
}

/// Returns the mean difference, and the fraction of pixels that differ by more than [`NEAR`].
fn distance(ours: &[u8], theirs: &[u8]) -> (f64, f64) {
    assert_eq!(ours.len(), theirs.len());
    let gaps: Vec<u8> = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).collect();
    let far = gaps.chunks_exact(3).filter(|pixel| pixel.iter().any(|gap| *gap > NEAR)).count();
    let mean = gaps.iter().map(|gap| f64::from(*gap)).sum::<f64>() / gaps.len() as f64;
    (mean, far as f64 / (gaps.len() / 3) as f64)
}

fn same(what: &str, ours: &[u8], theirs: &[u8]) -> bool {
    let (mean, share) = distance(ours, theirs);
    println!("{what}: mean {mean:.3}, {:.2} % of pixels beyond {NEAR}", 100.0 * share);
    mean <= MEAN && share <= SHARE
}

fn flipped(frame: &Frame) -> Vec<u8> {
    frame.rgb.chunks_exact(3 * frame.width as usize).rev().flatten().copied().collect()
}

/// Returns the exported suite with one file of one task replaced.
struct Variant(PathBuf);

impl Variant {
    fn new(name: &str, task: usize, file: &str, write: impl Fn(&Path, &Path)) -> Self {
        let source = support::folder("libero_spatial");
        let folder = std::env::temp_dir().join(format!("aegis-cameras-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("tasks")).unwrap();
        symlink(source.join("suite.json"), folder.join("suite.json")).unwrap();
        symlink(source.join("assets"), folder.join("assets")).unwrap();
        for entry in std::fs::read_dir(source.join("tasks")).unwrap().map(Result::unwrap) {
            let target = folder.join("tasks").join(entry.file_name());
            if entry.file_name() != format!("{task:02}").as_str() {
                symlink(entry.path(), target).unwrap();
                continue;
            }
            std::fs::create_dir(&target).unwrap();
            for part in std::fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                if part.file_name() != file {
                    symlink(part.path(), target.join(part.file_name())).unwrap();
                }
            }
            write(&entry.path(), &target.join(file));
        }
        Self(folder)
    }

    fn suite(&self) -> Suite {
        Suite::load(&self.0).unwrap()
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compares one picture from each camera, and checks that wrong pictures do not pass.
#[test]
fn pictures_are_upstreams() {
    let start = Start { task: 4, initial_state: 7 };
    let mut plant = plant(support::suite());
    replay(&mut plant, start, "task04_init07_actions.npy", 20);
    let theirs = Cameras::LIBERO.map(|camera| fixture(&format!("task04_init07_step020_{camera}")));
    let ours = plant.frames().unwrap();
    assert_eq!(ours.iter().map(|frame| &*frame.camera).collect::<Vec<_>>(), Cameras::LIBERO);
    for (frame, upstream) in ours.iter().zip(&theirs) {
        assert_eq!((frame.width, frame.height), (SIZE, SIZE));
        assert!(same(&frame.camera, &frame.rgb, upstream), "{}", frame.camera);
        assert!(!same("flipped", &flipped(frame), upstream), "upside down passes");
    }
    assert!(!same("other camera", &ours[1].rgb, &theirs[0]), "the wrist's picture passes for the agent's");
    assert!(!same("other camera", &ours[0].rgb, &theirs[1]), "the agent's picture passes for the wrist's");

    plant.reset(start).unwrap();
    for (frame, upstream) in plant.frames().unwrap().iter().zip(&theirs) {
        assert!(!same("a second early", &frame.rgb, upstream), "{}: another pose passes", frame.camera);
    }
    let bare = Variant::new("bare", 4, "scene.xml", |task, scene| {
        std::fs::copy(task.join("physics.xml"), scene).unwrap();
    });
    let mut plant = self::plant(bare.suite());
    replay(&mut plant, start, "task04_init07_actions.npy", 20);
    for (frame, upstream) in plant.frames().unwrap().iter().zip(&theirs) {
        assert!(!same("no textures", &frame.rgb, upstream), "{}: passes without textures", frame.camera);
    }
}

/// Compares a picture after 120 control steps with a grasp and a release.
#[test]
fn a_long_episode_ends_in_upstreams_picture() {
    let mut plant = plant(support::suite());
    replay(&mut plant, Start { task: 0, initial_state: 3 }, "task00_init03_success_actions.npy", 120);
    let upstream = fixture("task00_init03_step120_agentview");
    assert!(same("agentview", &plant.frames().unwrap()[0].rgb, &upstream));
}

/// Checks that a burner's red disc is shown while its knob is turned on, as in upstream, and no other site.
#[test]
fn a_stove_that_is_on_glows() {
    let model = MjModel::from_xml(support::folder("libero_spatial").join("tasks/00/physics.xml")).unwrap();
    let knob = model.name_to_id(MjtObjBase::mjOBJ_JOINT, "flat_stove_1_button").unwrap();
    let knob = 1 + model.jnt_qposadr()[knob] as usize;
    let lit = Variant::new("lit", 0, "initial_states.npy", |task, states| {
        let source = File::open(task.join("initial_states.npy")).unwrap();
        let mut array = <ndarray::Array2<f64> as ndarray_npy::ReadNpyExt>::read_npy(source).unwrap();
        array[[0, knob]] = 1.0;
        array.write_npy(File::create(states).unwrap()).unwrap();
    });
    let upstream = fixture("task00_init00_lit_step000_agentview");
    let start = Start { task: 0, initial_state: 0 };
    let [on, off] = [lit.suite(), support::suite()].map(|suite| {
        let mut plant = plant(suite);
        plant.reset(start).unwrap();
        plant.frames().unwrap().swap_remove(0).rgb
    });
    assert!(same("on", &on, &upstream));
    // The region of the disc, which is a small part of the picture.
    let disc = |rgb: &[u8]| -> Vec<u8> {
        let pixels = on.chunks_exact(3).zip(off.chunks_exact(3)).zip(rgb.chunks_exact(3));
        let lit = pixels.filter(|((on, off), _)| on != off).map(|(_, pixel)| pixel);
        lit.flatten().copied().collect()
    };
    let [on, off, upstream] = [&on, &off, &upstream].map(|rgb| disc(rgb));
    assert!(upstream.len() > 3 * 30, "{} pixels change", upstream.len() / 3);
    let (on, off) = (distance(&on, &upstream).0, distance(&off, &upstream).0);
    println!("the disc's mean difference: on {on:.3}, off {off:.3}");
    assert!(on < 0.75 * off, "a stove that is off passes for one that is on");
}

/// Checks that drawing does not change the physics, and that a plant without cameras returns no pictures.
#[test]
fn cameras_change_no_bit() {
    let start = Start { task: 0, initial_state: 0 };
    let mut with = plant(support::suite());
    assert!(with.frames().unwrap().is_empty(), "nothing to see before the first reset");
    let mut without = support::plant();
    with.reset(start).unwrap();
    without.reset(start).unwrap();
    for action in support::array::<f32>("task00_init03_actions.npy").rows().into_iter().take(6) {
        assert_eq!(with.frames().unwrap().len(), 2);
        assert!(without.frames().unwrap().is_empty());
        with.step(&action.to_vec()).unwrap();
        without.step(&action.to_vec()).unwrap();
        let bits = |plant: &LiberoPlant| {
            let mut state = Vec::new();
            plant.state(&mut state);
            state.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(&with), bits(&without));
    }
}

/// Checks that the picture is the same on another thread, and in another plant restored from a snapshot.
#[test]
fn pictures_move_with_the_plant() {
    let start = Start { task: 0, initial_state: 3 };
    let mut first = plant(support::suite());
    replay(&mut first, start, "task00_init03_actions.npy", 3);
    let here = first.frames().unwrap();
    let snapshot = first.snapshot().unwrap();
    let there = std::thread::spawn(move || first.frames().unwrap()).join().unwrap();
    assert_eq!(there, here, "drawn from another thread");
    let mut second = plant(support::suite());
    second.restore(&snapshot).unwrap();
    assert_eq!(second.frames().unwrap(), here, "drawn after restoring a snapshot");
}

#[test]
fn refuses_cameras_that_are_none() {
    for (width, height) in [(0, 128), (128, 0), (641, 128), (128, 481)] {
        let refused = Cameras::new(&Cameras::LIBERO, width, height).unwrap_err();
        assert_eq!(refused, CameraError::Size { width, height });
    }
    let mut plant =
        LiberoPlant::with_cameras(support::suite(), Cameras::new(&["hindview"], SIZE, SIZE).unwrap());
    plant.reset(Start { task: 0, initial_state: 0 }).unwrap();
    let error = plant.frames().unwrap_err().to_string();
    assert!(error.contains("hindview") && error.contains("agentview"), "{error}");
}

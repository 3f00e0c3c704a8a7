//! `aegis demonstrations import` on files that LIBERO's own `create_dataset.py` made, and on damaged copies of them.
//! The fixtures are smaller in pixels alone; `tests/fixtures/libero_demo.py` made them.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_policies::layout::Layout;
use aegis_sim::demonstration_file::DemonstrationFile;
use aegis_sim::{LiberoPlant, Suite};
use safetensors::SafeTensors;

use crate::common::{aegis, folder, refuses, repository, scenes, succeeds};

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

fn import(files: &[&Path], out: &Path) -> Command {
    let mut command = aegis();
    command.args(["demonstrations", "import"]).args(files).arg("--out").arg(out);
    command
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[test]
fn demonstrations_of_libero_become_the_file_that_policies_train_on() {
    let place = folder("import");
    let (file, out) = (fixture("libero_demo.hdf5"), place.join("human.safetensors"));
    let said = succeeds(import(&[&file], &out).args(["--frames-every", "2"]));
    assert!(said.contains("task 0, 2 demonstrations; 2 reach the goal"), "{said}");
    let bytes = std::fs::read(&out).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();

    // Every row is what the simulator observes in the recorded state, with the recorded action.
    let suite = Suite::load(&scenes()).unwrap();
    let opened = DemonstrationFile::open(&file).unwrap();
    let task = opened.task(&suite).unwrap();
    let info = suite.task(task).unwrap();
    let width = 1 + info.nq + info.nv;
    let mut plant = LiberoPlant::new(suite.clone());
    let (mut vectors, mut actions, mut episodes) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..opened.count() {
        let one = opened.read(index, width, false).unwrap();
        for (state, action) in one.states.rows().into_iter().zip(one.actions.rows()) {
            let observation = plant.reset_from(task, &state.to_vec()).unwrap();
            vectors.extend(Layout::LowDim.encode(&observation).unwrap());
            actions.extend(action.iter().map(|value| *value as f32));
            episodes.push(index as i64);
        }
    }
    assert_eq!(floats(&tensors, "observation"), vectors);
    assert_eq!(floats(&tensors, "action"), actions);
    assert!(tensors.tensor("clean").unwrap().data().iter().all(|clean| *clean == 1));
    let stored = tensors.tensor("episode").unwrap().data().to_vec();
    let stored: Vec<i64> =
        stored.chunks_exact(8).map(|eight| i64::from_le_bytes(eight.try_into().unwrap())).collect();
    assert_eq!(stored, episodes);

    // LIBERO's pictures are of the state after their row's action: that of row 1 is the first recorded one.
    let one = opened.read(0, width, true).unwrap();
    let rows = tensors.tensor("frame_row").unwrap().data().to_vec();
    assert_eq!(i64::from_le_bytes(rows[..8].try_into().unwrap()), 2);
    let pictures = tensors.tensor("frames.agentview").unwrap();
    let picture = one.pictures[0].step(1).unwrap();
    assert_eq!(&pictures.data()[..picture.len()], picture);
}

#[test]
fn pictures_that_precede_their_actions_are_told_by_the_joints() {
    let place = folder("import-regenerated");
    // Such a file says nothing of its task; its name does.
    let file = place
        .join("pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate_demo.hdf5");
    std::fs::copy(fixture("libero_regenerated.hdf5"), &file).unwrap();
    let out = place.join("again.safetensors");
    succeeds(import(&[&file], &out).args(["--frames-every", "1", "--layout", "features"]));
    let bytes = std::fs::read(&out).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let rows = tensors.tensor("frame_row").unwrap().data().to_vec();
    assert_eq!(i64::from_le_bytes(rows[..8].try_into().unwrap()), 0);
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: &HashMap<String, String> = metadata.metadata().as_ref().unwrap();
    let names: Vec<String> = serde_json::from_str(&metadata["components"]).unwrap();
    assert_eq!(names[0], "joint_positions.joint1");
    assert_eq!(tensors.tensor("observation").unwrap().shape()[1], names.len());
}

#[test]
fn files_that_are_no_demonstrations_of_the_suite_are_refused() {
    let place = folder("import-refusals");
    let (file, out) = (fixture("libero_demo.hdf5"), place.join("out.safetensors"));
    let text = place.join("notes.hdf5");
    std::fs::write(&text, "notes").unwrap();
    refuses(&mut import(&[&text], &out), 2, &["notes.hdf5", "an HDF5 file"]);
    refuses(&mut import(&[&place.join("none.hdf5")], &out), 2, &["none.hdf5", "cannot read"]);
    refuses(&mut import(&[&place], &out), 2, &["import-refusals"]);
    refuses(
        import(&[&file], &out).args(["--layout", "mine"]),
        2,
        &["libero-lowdim-v1", "libero-proprio-v1", "features"],
    );
    // The name of the file is no guide to its task where the file itself says another.
    refuses(
        import(&[&file], &out).args(["--suite", "libero_10"]),
        2,
        &["bddl_file_name", "a task of libero_10"],
    );
    assert!(!out.exists());
}

#[test]
fn damaged_files_are_errors() {
    let place = folder("import-damaged");
    let whole = std::fs::read(fixture("libero_demo.hdf5")).unwrap();
    let suite = Suite::load(&scenes()).unwrap();
    let info = suite.task(0).unwrap();
    let width = 1 + info.nq + info.nv;
    let file = place.join("damaged.hdf5");
    let mut refused = 0;
    let cut = (0..40).map(|part| whole[..whole.len() * part / 40].to_vec());
    // Bytes of the headers, and bytes spread over the file, by a fixed rule.
    let changed = (0..160).map(|number: usize| {
        let mut bytes = whole.clone();
        let at = if number < 80 { number * 7 } else { number * 104_729 % whole.len() };
        bytes[at] ^= 0xff;
        bytes
    });
    for bytes in cut.chain(changed) {
        std::fs::write(&file, bytes).unwrap();
        let read = DemonstrationFile::open(&file).and_then(|opened| {
            opened.task(&suite)?;
            (0..opened.count()).try_for_each(|index| opened.read(index, width, true).map(|_| ()))
        });
        if let Err(error) = read {
            refused += 1;
            assert!(error.to_string().contains("damaged.hdf5"), "{error}");
        }
    }
    assert!(refused > 40, "only {refused} of the damaged files were refused");
}

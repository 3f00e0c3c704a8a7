//! Replays records that earlier versions wrote: the current controller has to make the recorded decisions from their inputs.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};

use crate::common;

/// The record has two episodes of `controller/libero.toml` against `aegis sim serve`, with a hand-over, and was written by 0.1.0
/// at commit 4832caec753e.
#[test]
fn a_record_of_format_2_drives_as_it_did_to_the_bit() {
    let folder = common::folder("record-format-2");
    let fixture = common::repository().join("tests/fixtures/libero-format-2.aegis.gz");
    common::unpack(&fixture, &folder.join("run.aegis"));
    let said = common::succeeds(common::aegis().args(["replay", "--check"]).arg(&folder));
    assert!(said.contains("237 control periods, every decision and every command the same"), "{said}");
}

/// The record has one episode of six position joints with an e-stop, and was written by 0.1.0 at commit 6bed8138508d.
#[test]
fn a_record_of_format_3_drives_as_it_did_to_the_bit() {
    let (folder, _) = unpacked("record-format-3", "arm-format-3.aegis.gz");
    let said = common::succeeds(common::aegis().args(["replay", "--check"]).arg(&folder));
    assert!(said.contains("77 control periods, every decision and every command the same"), "{said}");
}

/// Unpacks a record into a new folder. Returns the folder and the path of the record.
fn unpacked(name: &str, fixture: &str) -> (PathBuf, PathBuf) {
    let folder = common::folder(name);
    let record = folder.join("run.aegis");
    common::unpack(&common::repository().join("tests/fixtures").join(fixture), &record);
    (folder, record)
}

/// Splits a record into its first eight bytes and its frames. A frame begins with `before` bytes, the first four of which are the
/// length of its content.
fn frames(record: &Path, before: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = std::fs::read(record).unwrap();
    let (first, mut rest) = bytes.split_at(8);
    let mut frames = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk() {
        let (frame, behind) = rest.split_at(before + u32::from_le_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = behind;
    }
    (first.to_vec(), frames)
}

#[test]
fn periods_that_changed_places_are_found_in_records_whose_checksums_do_not_tell() {
    for (fixture, before) in [("libero-format-2.aegis.gz", 4), ("arm-format-3.aegis.gz", 8)] {
        let (folder, record) = unpacked(&format!("record-moved-{before}"), fixture);
        let (first, whole) = frames(&record, before);
        // Frame 0 is the header. The swapped periods are both at rest and have the same decision, so only their order shows the
        // edit.
        let [mut swapped, mut repeated] = [whole.clone(), whole];
        swapped.swap(1, 2);
        repeated[2] = repeated[3].clone();
        for (frames, period) in [(swapped, "period 1: "), (repeated, "period 2: ")] {
            std::fs::write(&record, [first.clone(), frames.concat()].concat()).unwrap();
            let words = ["run.aegis: ", period, "is not after that of the one before"];
            common::refuses(common::aegis().args(["replay", "--check"]).arg(&folder), 1, &words);
        }
    }
}

#[test]
fn every_file_of_a_runs_folder_is_checked_or_named_as_not_checked() {
    let (folder, record) = unpacked("record-folder", "arm-format-3.aegis.gz");
    let mut damaged = std::fs::read(&record).unwrap();
    std::fs::write(folder.join("black-box-1.aegis"), &damaged).unwrap();
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let said = common::succeeds(common::aegis().args(["replay", "--check"]).arg(&folder));
    for words in ["run.aegis: 77 control", "black-box-1.aegis: 77 control", "not checked", "notes.txt"] {
        assert!(said.contains(words), "{words:?} is missing from: {said}");
    }
    let last = damaged.len() - 20;
    damaged[last] ^= 1;
    std::fs::write(folder.join("black-box-1.aegis"), &damaged).unwrap();
    std::fs::write(folder.join("events.jsonl"), "{\"timestamp\": \"2026").unwrap();
    std::fs::write(folder.join("summary.json"), "{\"periods\": 77").unwrap();
    std::fs::write(folder.join("sights.aegis"), "AEGSSEE2\u{1}").unwrap();
    let words = [
        "black-box-1.aegis: period 76: damaged",
        "events.jsonl: line 1",
        "summary.json: damaged",
        "sights.aegis: it ends early, within snapshot 0",
    ];
    common::refuses(common::aegis().args(["replay", "--check"]).arg(&folder), 1, &words);
}

//! Disturbances of a plan's episodes on the real plant and the real policies: the same in every arm, before the onset nothing,
//! and none at all where the shares are zero.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::Path;

use aegis_core::disturbance::Effect;
use aegis_core::record::NoRecorder;
use aegis_core::{ChunkRecord, EpisodeKey, Recorder, StepRecord};
use aegis_experiments::episode::fork::run_twins;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::episode::twins;
use aegis_experiments::{Arm, Drive, EpisodeSettings, run_episode};
use aegis_probe::disturbances::{DisplacementSettings, DisturbanceSettings, PushSettings, SlipSettings};
use aegis_probe::rollout_file::read;

use crate::common::{Study, aegis, aegis_on_few_tasks, edit, folder, refuses, repository, succeeds};
use crate::experiment::small_plan;
use crate::twins::every_arm;

/// Every kind in a third of the episodes, early enough that weak meets it before an episode ends.
const ALL_KINDS: DisturbanceSettings = DisturbanceSettings {
    push: Some(PushSettings { share: 0.34, onset: [0.1, 0.3], steps: [4, 6], newtons: [30.0, 60.0] }),
    slip: Some(SlipSettings { share: 0.33, onset: [0.2, 0.35], steps: [4, 6] }),
    displacement: Some(DisplacementSettings { share: 0.33, onset: [0.05, 0.2], metres: [0.03, 0.05] }),
};

fn disturbed(study: &Study) -> EpisodeSettings {
    EpisodeSettings { disturbances: Some(ALL_KINDS), ..study.settings() }
}

/// Returns the first key of the confirmation range, after `skipped`, whose disturbance is of this kind.
fn key_of(study: &Study, kind: &str, skipped: usize) -> EpisodeKey {
    let settings = disturbed(study);
    let of_kind = |key: &EpisodeKey| settings.disturbance(*key).is_some_and(|one| one.effect.kind() == kind);
    study.keys().into_iter().filter(of_kind).nth(skipped).expect("a third of the episodes")
}

/// Recorder of the digest of all states up to each control step.
#[derive(Default)]
struct Paths {
    now: [u8; 16],
    after: Vec<[u8; 16]>,
}

impl Recorder for Paths {
    fn chunk(&mut self, _: &ChunkRecord) {}

    fn step(&mut self, _: &StepRecord<'_>) {
        self.after.push(self.now);
    }

    fn state_path(&mut self, digest: [u8; 16]) {
        self.now = digest;
    }
}

#[test]
fn disturbed_twins_are_equal_up_to_their_first_hand_over_and_forks_are_whole_runs() {
    let study = Study::open();
    let (arms, mut context) = (every_arm(&study), study.context());
    let mut parted_before = 0;
    for (index, kind) in Effect::KINDS.into_iter().enumerate() {
        let key = key_of(&study, kind, index);
        let mut run = |fork| -> Vec<EpisodeResult> {
            let settings = EpisodeSettings { fork, ..disturbed(&study) };
            let found = run_twins(&mut context, &arms, key, &settings, &mut NoRecorder).expect("they run");
            found.into_iter().map(|(result, _)| result).collect()
        };
        let (forked, whole) = (run(true), run(false));
        assert_eq!(forked, whole, "{kind}");
        let weak = &forked[0];
        let disturbance = weak.disturbance.expect("this key has one");
        assert_eq!(disturbance.effect.kind(), kind);
        for twin in &forked {
            assert_eq!(twin.disturbance, weak.disturbance, "{kind}: {}", twin.arm);
            assert_eq!(twins::check(weak, twin), Ok(()), "{kind}: {}", twin.arm);
            parted_before +=
                usize::from(twin.hand_overs.first().is_some_and(|step| *step < disturbance.step));
        }
    }
    println!("{parted_before} arms handed over before their disturbance began");
}

#[test]
fn a_disturbed_episode_differs_from_the_undisturbed_one_from_its_onset_on() {
    let study = Study::open();
    let mut context = study.context();
    let arm = Arm { name: "strong".into(), drive: Drive::Strong };
    for kind in ["push", "displacement"] {
        let key = key_of(&study, kind, 0);
        let mut run = |settings: &EpisodeSettings| {
            let mut paths = Paths::default();
            let (result, _) = run_episode(&mut context, &arm, key, settings, &mut paths).expect("it runs");
            (result, paths.after)
        };
        let ((plain, before), (with, after)) = (run(&study.settings()), run(&disturbed(&study)));
        let onset = with.disturbance.expect("this key has one").step as usize;
        assert_eq!(plain.disturbance, None);
        assert!(onset > 5 && onset < before.len().min(after.len()), "{kind} at {onset}");
        assert!(before[..onset] == after[..onset], "{kind}: before control step {onset}");
        assert!(before[onset] != after[onset], "{kind}: after control step {onset}");
    }
}

#[test]
fn shares_of_zero_give_the_bits_of_a_plan_without_disturbances() {
    let study = Study::open();
    let mut context = study.context();
    let null = DisturbanceSettings {
        push: ALL_KINDS.push.map(|push| PushSettings { share: 0.0, ..push }),
        slip: ALL_KINDS.slip.map(|slip| SlipSettings { share: 0.0, ..slip }),
        displacement: None,
    };
    let without = study.settings();
    let none = EpisodeSettings { disturbances: Some(null), ..study.settings() };
    for key in &study.keys()[..2] {
        let mut run = |settings: &EpisodeSettings| {
            let found = run_episode(&mut context, &Arm::weak(), *key, settings, &mut NoRecorder);
            serde_json::to_string(&found.expect("it runs").0).unwrap()
        };
        let text = run(&without);
        assert_eq!(run(&none), text);
        assert!(!text.contains("disturbance"), "{text}");
    }
}

/// Adds every kind to a plan, early in the horizon.
pub fn add_disturbances(plan: &Path) {
    let table = "[disturbances.push]\nshare = 0.4\nonset = [0.05, 0.4]\nsteps = [4, 6]\nnewtons = [30.0, 60.0]\n\n\
                 [disturbances.slip]\nshare = 0.2\nonset = [0.05, 0.4]\nsteps = [4, 6]\n\n\
                 [disturbances.displacement]\nshare = 0.4\nonset = [0.05, 0.4]\nmetres = [0.03, 0.05]\n\n[fit]";
    edit(plan, "[fit]", table);
}

#[test]
fn rollouts_say_which_disturbance_each_episode_had_and_belong_to_their_plan() {
    let place = folder("disturbances-collect");
    let plan = small_plan(&place);
    edit(&plan, "discovery = { first = 200, end = 280", "discovery = { first = 200, end = 202");
    let plain = plan.with_file_name("plain.toml");
    std::fs::copy(&plan, &plain).unwrap();
    add_disturbances(&plan);
    let collect = |plan: &Path, out: &Path| {
        let mut command = aegis_on_few_tasks();
        command.args(["collect", "discovery", "--plan"]).arg(plan).arg("--out").arg(out);
        succeeds(&mut command);
        read(out).unwrap()
    };
    let (there, without) = (place.join("disturbed.parquet"), place.join("plain.parquet"));
    let (provenance, rollouts) = collect(&plan, &there);
    let (before, undisturbed) = collect(&plain, &without);
    assert!(provenance.disturbances.is_some() && before.disturbances.is_none());
    assert!(undisturbed.iter().all(|rollout| rollout.disturbance.is_none()));
    let kinds: Vec<_> =
        rollouts.iter().map(|rollout| rollout.disturbance.expect("each has one").effect.kind()).collect();
    assert!(kinds.len() > 1, "{kinds:?}");
    let fit = |plan: &Path, rollouts: &Path| {
        let mut command = aegis_on_few_tasks();
        command
            .args(["probe", "fit", "--plan"])
            .arg(plan)
            .arg("--discovery")
            .arg(rollouts)
            .arg("--calibration");
        command.arg(rollouts).arg("--out").arg(place.join("probe.json"));
        command
    };
    refuses(&mut fit(&plain, &there), 2, &["disturbed.parquet", "disturbances is {", "the plan's is null"]);
    refuses(&mut fit(&plan, &without), 2, &["plain.parquet", "disturbances is null, the plan's is {"]);
}

#[test]
fn a_plan_whose_target_cannot_be_moved_is_refused_before_an_episode() {
    let place = folder("disturbances-refused");
    let plan = place.join("plan.toml");
    std::fs::copy(repository().join("experiments/demo.toml"), &plan).unwrap();
    let models = repository().join("policies/models");
    edit(&plan, "\"../policies/models/weak.toml\"", &format!("{:?}", models.join("weak.toml")));
    edit(&plan, "\"../policies/models/strong.toml\"", &format!("{:?}", models.join("strong.toml")));
    edit(&plan, "\"../policies/models/probe.json\"", &format!("{:?}", models.join("probe.json")));
    add_disturbances(&plan);
    let demo = || {
        let mut command = aegis();
        command.args(["demo", "--episodes", "1", "--plan"]).arg(&plan).arg("--out").arg(place.join("out"));
        command
    };
    let whole = std::fs::read_to_string(&plan).unwrap();
    let bad: [(&str, &str, [&str; 3]); 4] = [
        ("share = 0.2", "share = 1.2", ["plan.toml: disturbances.slip.share", "found 1.2", "0 to 1"]),
        (
            "newtons = [30.0, 60.0]",
            "newtons = [60.0, 30.0]",
            ["disturbances.push.newtons", "[60, 30]", "above 0"],
        ),
        ("metres = [0.03, 0.05]", "meters = [0.03, 0.05]", ["plan.toml", "meters", "metres"]),
        ("share = 0.2", "share = 0.4", ["plan.toml: disturbances: found shares", "1.2", "at most 1"]),
    ];
    for (from, to, words) in bad {
        edit(&plan, from, to);
        refuses(&mut demo(), 2, &words);
        std::fs::write(&plan, &whole).unwrap();
    }
    edit(&plan, "suite = \"libero_spatial\"", "suite = \"libero_goal\"");
    edit(&plan, "sample_seed = 20261125\n", "");
    for (from, to) in [("50, end = 120", "0, end = 10"), ("200, end = 280", "10, end = 20")] {
        edit(&plan, from, to);
    }
    for (from, to) in [("300, end = 340", "20, end = 30"), ("400, end = 440", "30, end = 40")] {
        edit(&plan, from, to);
    }
    edit(&plan, "500, end = 540", "40, end = 50");
    refuses(
        &mut demo(),
        2,
        &["plan.toml: disturbances: found a displacement", "libero_goal", "moves freely", "`tasks`"],
    );
    assert!(!place.join("out").exists());
}

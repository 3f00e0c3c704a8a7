//! Counterfactual branches of weak episodes on a one-dimensional plant: each equals the episode of the arm that hands over there, run
//! from its start; collecting them can be interrupted; and their files are checked when they are read.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{self, Breaking, KEYS, Line, open, settings};
use aegis_core::record::NoRecorder;
use aegis_core::{
    EpisodeKey, Inference, Observation, Plant, PlantError, Policy, PolicyError, Saved, Start, Transition,
};
use aegis_experiments::episode::counterfactual::{
    Counterfactuals, run_counterfactuals, single_hold, single_hold_limits, take_over,
};
use aegis_experiments::forks::{Effort, analyse};
use aegis_experiments::run::collection::Collection;
use aegis_experiments::run::fork_files::ForkFiles;
use aegis_experiments::run::forks::{forked_rollouts, forks};
use aegis_experiments::run::rollouts::rollouts;
use aegis_experiments::run::runner::{RunError, SetupError};
use aegis_experiments::{Arm, EpisodeContext, EpisodeError, EpisodeSettings, run_episode};
use aegis_files::Scratch;
use aegis_probe::fork_file::{self, ForkProvenance};
use aegis_probe::forks::EpisodeForks;
use aegis_probe::rollout_file;
use serde_json::{Map, json};

/// Settings whose hold of 16 steps lets the strong policy win from a lost start if it begins early enough.
fn long_holds() -> EpisodeSettings {
    let mut settings = settings();
    settings.gate.hold_chunks = 8;
    settings
}

fn branches(key: EpisodeKey, settings: &EpisodeSettings, most: Option<u32>) -> Counterfactuals {
    run_counterfactuals(&mut open(), key, settings, most, &mut NoRecorder).unwrap()
}

#[test]
fn a_branch_is_the_episode_of_the_arm_that_hands_over_there_bit_for_bit() {
    // The plan's gate would prolong a hold until it has been calm for long; a branch has the hold alone.
    let mut slow_to_return = long_holds();
    slow_to_return.gate.return_chunks = 12;
    for settings in [settings(), long_holds(), slow_to_return] {
        let holds = EpisodeSettings { gate: single_hold_limits(&settings.gate), ..settings.clone() };
        let mut outcomes = [[0; 2]; 2];
        for key in KEYS.keys(0..1) {
            let found = branches(key, &settings, None);
            let from_start = |arm: &Arm, settings: &EpisodeSettings| {
                run_episode(&mut open(), arm, key, settings, &mut NoRecorder).unwrap().0
            };
            assert_eq!(found.weak, from_start(&Arm::weak(), &settings));
            let steps: Vec<u32> = found.branches.iter().map(|one| one.step).collect();
            assert_eq!(
                steps,
                (4..found.weak.steps).step_by(2).collect::<Vec<_>>(),
                "from the guard to the last"
            );
            for one in &found.branches {
                assert_eq!(one.take_over, from_start(&take_over(one.step), &settings), "step {}", one.step);
                assert_eq!(one.hold, from_start(&single_hold(one.step / 2), &holds), "step {}", one.step);
                outcomes[usize::from(one.hold.success)][usize::from(one.take_over.success)] += 1;
            }
        }
        let [[lost, only_take_over], [only_hold, won]] = outcomes;
        assert!(lost > 0 && won > 0 && only_take_over > 0 && only_hold == 0, "{outcomes:?}");
    }
    // From a lost start the strong policy wins up to step 15, and a hold of 16 steps up to step 6.
    let lost = branches(KEYS.keys(0..1)[1], &long_holds(), None);
    let won = |of: fn(&aegis_experiments::episode::counterfactual::Branches) -> bool| {
        lost.branches.iter().filter(|one| of(one)).map(|one| one.step).collect::<Vec<_>>()
    };
    assert!(!lost.weak.success);
    assert_eq!(won(|one| one.hold.success), [4, 6]);
    assert_eq!(won(|one| one.take_over.success), [4, 6, 8, 10, 12, 14]);
}

/// A line that counts its control steps.
struct Counting(Line, Arc<AtomicU64>);

impl Plant for Counting {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.0.reset(start)
    }
    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.step(action)
    }
    fn state(&self, out: &mut Vec<f64>) {
        self.0.state(out);
    }
    fn save(&self) -> Result<Option<Saved>, PlantError> {
        self.0.save()
    }
    fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
        self.0.resume(saved)
    }
}

#[test]
fn no_control_step_is_run_that_is_known() {
    let count = Arc::new(AtomicU64::new(0));
    let mut context = EpisodeContext { plant: Box::new(Counting(Line::default(), count.clone())), ..open() };
    let settings = long_holds();
    let found: Vec<EpisodeForks> = KEYS.keys(0..1)[..2]
        .iter()
        .map(|key| run_counterfactuals(&mut context, *key, &settings, None, &mut NoRecorder).unwrap())
        .map(|found| forks(&found, false))
        .collect();
    let effort = Effort::of(&found);
    assert_eq!(effort.control_steps, count.load(Ordering::Relaxed));
    // From step 24 on a hold of 16 steps reaches the horizon of 40, and its branches are one.
    // Up to step 6 the strong policy wins within the hold.
    let is_one = |step| step >= 24 || step <= 6;
    assert!(found[1].forks.iter().all(|fork| fork.is_shared() == is_one(fork.step)), "{found:?}");
    assert!(
        effort.branches_shared > 8 && effort.control_steps * 2 < effort.control_steps_from_start,
        "{effort:?}"
    );
}

#[test]
fn drawn_boundaries_are_equally_likely_and_state_their_probability() {
    let settings = long_holds();
    let lost = KEYS.keys(0..1)[1];
    let all = forks(&branches(lost, &settings, None), true);
    assert!(all.is_complete() && all.forks.len() == 18);
    let mut met = [0_u32; 18];
    for replicate in 0..360 {
        let key = EpisodeKey { replicate, ..lost };
        let some = forks(&branches(key, &settings, Some(3)), true);
        assert_eq!(some.forks.len(), 3);
        for fork in &some.forks {
            assert_eq!(fork.inclusion, 3.0 / 18.0);
            let place = all.forks.iter().position(|one| one.step == fork.step).unwrap();
            // Only which boundaries are run depends on the draw.
            assert_eq!((fork.hold, fork.take_over, fork.risk), {
                let one = all.forks[place];
                (one.hold, one.take_over, one.risk)
            });
            met[place] += 1;
        }
    }
    assert!(met.iter().all(|count| (35..90).contains(count)), "60 each expected: {met:?}");
    assert_eq!(branches(lost, &settings, Some(3)), branches(lost, &settings, Some(3)));
    assert_eq!(forks(&branches(lost, &settings, Some(99)), true), all, "more than there are");
}

struct WithoutSnapshots(Line);

impl Plant for WithoutSnapshots {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.0.reset(start)
    }
    fn step(&mut self, _: &[f32]) -> Result<Transition, PlantError> {
        panic!("a plant that cannot go back is refused before its first control step");
    }
    fn state(&self, out: &mut Vec<f64>) {
        self.0.state(out);
    }
}

struct Remembering;

impl Policy for Remembering {
    fn infer(&mut self, _: &Observation) -> Result<Inference, PolicyError> {
        panic!("it is not asked");
    }
    fn remembers(&self) -> bool {
        true
    }
}

#[test]
fn what_cannot_go_back_to_a_boundary_is_refused_before_anything_runs() {
    let key = KEYS.keys(0..1)[0];
    let refused = |context: &mut EpisodeContext, settings: &EpisodeSettings| {
        run_counterfactuals(context, key, settings, None, &mut NoRecorder).unwrap_err()
    };
    let mut context = EpisodeContext { plant: Box::new(WithoutSnapshots(Line::default())), ..open() };
    let error = refused(&mut context, &settings());
    assert!(matches!(error, EpisodeError::NoSnapshots(_)));
    assert!(
        error.to_string().contains("the plant cannot save its state")
            && error.to_string().contains("valid is")
    );
    for (weak, what) in [(true, "the weak policy"), (false, "the strong policy")] {
        let mut context = open();
        *if weak { &mut context.weak } else { &mut context.strong } = Box::new(Remembering);
        assert!(refused(&mut context, &settings()).to_string().contains(&format!("{what} keeps a state")));
    }
    let limits: [fn(&mut EpisodeSettings); 3] = [
        |settings| settings.gate.guard_fraction = 1.0,
        |settings| settings.gate.budget_fraction = 0.0,
        |settings| settings.gate.duty_cap = 0.1,
    ];
    for change in limits {
        let mut settings = settings();
        change(&mut settings);
        assert!(matches!(refused(&mut open(), &settings), EpisodeError::NeverFires));
    }
}

fn provenance(probe_sha256: Option<String>) -> ForkProvenance {
    ForkProvenance {
        schema: fork_file::SCHEMA,
        plan_sha256: "plan".into(),
        rollouts: support::provenance(),
        gate: long_holds().gate,
        boundaries_per_episode: None,
        probe_sha256,
    }
}

/// Collects the missing episodes into the folder of `out`; returns how many were kept in this call.
fn collect(
    out: &Path,
    files: &ForkFiles,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
) -> (Collection, Result<u64, RunError>) {
    let about = Map::from_iter([("suite".to_owned(), json!("line"))]);
    let rollouts = provenance(None).rollouts;
    let collection = Collection::open(&Collection::place(out), &about, rollouts).unwrap();
    let kept = AtomicU64::new(0);
    let missing = collection.missing(&KEYS.keys(0..1));
    let keep = |rollout: &_, forks: &_| {
        files.keep(forks)?;
        collection.keep(rollout)?;
        kept.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let ran = forked_rollouts(&missing, 2, &long_holds(), (None, true), open, &|_| {}, &keep);
    let kept = kept.into_inner();
    (collection, ran.map(|()| kept))
}

#[test]
fn a_collection_with_forks_continues_after_a_failure_with_the_same_bytes() {
    let around = Scratch::within(&std::env::temp_dir()).unwrap();
    let keys = KEYS.keys(0..1);
    let written = |name: &str, breaks: bool| {
        let out = around.path().join(name);
        let files = ForkFiles::new(&out, provenance(Some("probe".into())));
        if breaks {
            let breaks = |_| {
                let plant = Box::new(Breaking::after(4, || PlantError::Backend("it broke".into())));
                Ok(EpisodeContext { plant, ..open() })
            };
            collect(&out, &files, &breaks).1.unwrap_err();
            // Forks whose rollout was not written, as a kill between both leaves them, are not read.
            let last = ForkFiles::name(*keys.last().unwrap());
            std::fs::write(Collection::place(&out).join(last), "PAR1").unwrap();
        }
        let (collection, kept) = collect(&out, &files, &|_| Ok(open()));
        let kept = kept.unwrap();
        assert!(if breaks { (1..20).contains(&kept) } else { kept == 20 }, "{kept}");
        let forks = ForkFiles::beside(&out);
        files.write(&forks, &files.all(&keys).unwrap()).unwrap();
        rollout_file::write(&out, &provenance(None).rollouts, &collection.all(&keys).unwrap()).unwrap();
        let names: Vec<String> = keys.iter().map(|key| ForkFiles::name(*key)).collect();
        let beside: Vec<&str> = names.iter().map(String::as_str).collect();
        collection.remove(&keys, &beside).unwrap();
        assert!(!Collection::place(&out).exists(), "nothing is left");
        [out, forks].map(|path| std::fs::read(path).unwrap())
    };
    let whole = written("whole.parquet", false);
    assert!(whole == written("pieces.parquet", true), "to the byte");
    let plain = around.path().join("plain.parquet");
    let alone = rollouts(&keys, 1, &long_holds(), &|_| Ok(open()), &|_| {}, &|_| Ok(())).unwrap();
    rollout_file::write(&plain, &provenance(None).rollouts, &alone).unwrap();
    assert!(
        whole[0] == std::fs::read(&plain).unwrap(),
        "the rollouts are those of a collection without forks"
    );
    let (read, episodes) = fork_file::read(&around.path().join("whole.forks.parquet")).unwrap();
    assert_eq!(read, provenance(Some("probe".into())));
    let report = analyse(&read, &episodes, None);
    assert_eq!((report.episodes, report.lost, report.timing.episodes), (20, 10, 10));
    assert_eq!((report.timing.onsets[0].step, report.timing.onsets[0].episodes), (4, 10));
    assert_eq!(report.timing.points_of_no_return[0].step, 14);
    assert_eq!((report.oracle.oracle.recovered(u64::MAX), report.oracle.choices.len()), (10, 10));
}

#[test]
fn a_file_of_forks_is_read_as_written_and_one_that_was_changed_is_refused() {
    let around = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = around.path().join("forks.parquet");
    let mut episodes: Vec<EpisodeForks> =
        KEYS.keys(0..1).into_iter().map(|key| forks(&branches(key, &long_holds(), Some(5)), true)).collect();
    // An episode that ends before the guard has no row, and is not lost with it.
    episodes[4].forks.clear();
    episodes[3].forks[0].risk = None;
    let about = provenance(Some("probe".into()));
    fork_file::write(&path, &about, &episodes).unwrap();
    assert_eq!(fork_file::read(&path).unwrap(), (about.clone(), episodes.clone()));
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for place in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        match fork_file::read(&path) {
            Ok((_, read)) => assert_eq!(read, episodes, "byte {place}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > whole.len() / 20, "{refused} of {}", whole.len() / 5);

    let mut unscored = episodes.clone();
    unscored.iter_mut().flat_map(|episode| &mut episode.forks).for_each(|fork| fork.risk = None);
    fork_file::write(&path, &provenance(None), &episodes).unwrap();
    let error = fork_file::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("values of SHA-256"),
        "a risk without its column is not the risk that was written: {error}"
    );
    fork_file::write(&path, &provenance(None), &unscored).unwrap();
    assert_eq!(fork_file::read(&path).unwrap(), (provenance(None), unscored));

    type Change = fn(&mut EpisodeForks);
    let changes: [(&str, Change); 8] = [
        ("step: found row 0: 5; valid is a multiple of 2", |episode| episode.forks[0].step = 5),
        ("inclusion: found row 0: 0; valid is above 0", |episode| episode.forks[0].inclusion = 0.0),
        ("hold_steps: found row 0: 41; valid is above", |episode| episode.forks[0].hold.steps = 41),
        ("hold_strong_steps: found row 0: 0", |episode| episode.forks[0].hold.strong_steps = 0),
        ("take_over_strong_steps: found row 0: 40", |episode| episode.forks[0].take_over.strong_steps = 40),
        ("weak_steps: found row 0: 41; valid is at most 40", |episode| episode.steps = 41),
        ("step: found row 1:", |episode| episode.forks.swap(0, 1)),
        ("rows: found 1 to 19, 77 of tasks 0", |episode| episode.key.start.initial_state = 77),
    ];
    for (words, change) in changes {
        let mut changed = episodes.clone();
        change(&mut changed[0]);
        fork_file::write(&path, &about, &changed).unwrap();
        let error = fork_file::read(&path).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is missing from: {error}");
    }
    rollout_file::write(
        &path,
        &about.rollouts,
        &rollouts(&KEYS.keys(0..1), 1, &settings(), &|_| Ok(open()), &|_| {}, &|_| Ok(())).unwrap(),
    )
    .unwrap();
    let error = fork_file::read(&path).unwrap_err().to_string();
    assert!(error.contains("aegis_forks: found no such key") && error.contains("--forks"), "{error}");
}

//! The harness on a one-dimensional plant, on which every outcome can be computed by hand.
//! The weak policy walks the wrong way from odd starts, the strong policy never does, and the probe detects odd starts.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::sync::Arc;

use crate::support::{KEYS, Line, gated, open, probe, settings};
use aegis_core::probe::HeadKind;
use aegis_core::record::NoRecorder;
use aegis_core::trigger::Schedule;
use aegis_core::{
    Executing, Inference, Observation, Plant, PlantError, Policy, PolicyError, Rule, Saved, Start, Transition,
};
use aegis_experiments::episode::twins;
use aegis_experiments::report::summary::summarise;
use aegis_experiments::run::rollouts::rollouts;
use aegis_experiments::run::runner::{RunError, run_arms};
use aegis_experiments::{
    Arm, Drive, EpisodeContext, EpisodeError, EpisodeResult, EpisodeSettings, run_episode,
};
use aegis_probe::StateRange;
use aegis_probe::calibration::calibrate;
use aegis_probe::evaluation::{Discovery, evaluate};
use aegis_probe::file::{Data, ProbeFile, ProbeFileError};
use aegis_probe::fit::{FitSettings, Fitted, fit};
use aegis_probe::origin::Starts;
use aegis_probe::rollout::{Rollout, digest};
use aegis_probe::rollout_file::{self, Provenance, RolloutFileError};
use arrow::array::{BooleanArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn fit_settings(head: HeadKind) -> FitSettings {
    FitSettings {
        head,
        penalties: vec![0.1, 1.0],
        folds: 4,
        hidden: 3,
        epochs: 40,
        seed: 1,
        window_fraction: 1.0,
        alpha: 0.1,
        return_alpha: 0.25,
        early_fraction: 0.3,
        trend_window: 3,
    }
}

fn rolled_out() -> Vec<Rollout> {
    rollouts(&KEYS.keys(0..1), 2, &settings(), &|_| Ok(open()), &|_| {}, &|_| Ok(())).unwrap()
}

fn fitted(head: HeadKind) -> ProbeFile {
    let (rollouts, settings_) = (rolled_out(), fit_settings(head));
    let gate = settings().gate;
    let found = fit(&rollouts, &settings_, gate.horizon_steps, &|| {}).unwrap();
    let calibration = calibrate(&found.probe, &rollouts, &gate, &settings_).unwrap();
    let belongs = ("abc".to_owned(), "action_tokens".to_owned());
    ProbeFile::new(belongs, data(&rollouts), settings_, found, calibration)
}

/// Returns the data of discovery from these rollouts, and of calibration from the same rollouts with other starts.
fn data(rollouts: &[Rollout]) -> (Data, Data) {
    let mut others = rollouts.to_vec();
    others.iter_mut().for_each(|rollout| rollout.key.start.initial_state += rollouts.len());
    let of = |rollouts: &[Rollout]| Data::from(rollouts, provenance().origin(rollouts));
    (of(rollouts), of(&others))
}

fn provenance() -> Provenance {
    Provenance {
        schema: rollout_file::SCHEMA,
        suite: "line".into(),
        suite_sha256: Some("00".repeat(32)),
        master_seed: 1,
        sample_seed: None,
        range: "discovery".into(),
        starts: Some(Starts::of(KEYS.keys(0..1))),
        weak_sha256: "abc".into(),
        strong_sha256: "def".into(),
        tensor: "action_tokens".into(),
        horizon_steps: 40,
        chunk_steps: 2,
        action_width: 1,
        sensor: Some(settings().sensor),
        settle_steps: Some(0),
        disturbances: None,
    }
}

#[test]
fn the_gate_recovers_what_weak_loses_and_breaks_nothing() {
    let arms = [Arm::weak(), gated(), Arm::strong()];
    let run =
        |workers| run_arms(&KEYS.keys(0..1), &arms, workers, &settings(), &|_| Ok(open()), &|_| {}).unwrap();
    let results: Vec<_> = run(1).into_iter().map(|(result, _)| result).collect();
    let parallel: Vec<_> = run(4).into_iter().map(|(result, _)| result).collect();
    assert_eq!(results, parallel, "the number of workers changes nothing");

    let summary = summarise(&results).unwrap();
    let aegis = &summary[1];
    assert_eq!((summary[0].successes, aegis.successes, summary[2].successes), (10, 20, 20));
    assert_eq!((aegis.recovered, aegis.weak_lost, aegis.broken, aegis.weak_won), (10, 10, 0, 10));
    assert!((aegis.p_value / 0.5_f64.powi(10) - 1.0).abs() < 1e-12);
    assert_eq!(aegis.fires, 10);
    assert_eq!((summary[0].duty, summary[2].duty), (0.0, 1.0));
    for triple in results.chunks(3) {
        assert_eq!(twins::check(&triple[0], &triple[1]), Ok(()));
        assert!(triple[1].hand_overs.iter().all(|step| step % triple[1].chunk_steps == 0));
        // Four control steps the wrong way during the guard, then 14 steps of 0.5 from −2 to 5.
        if triple[1].fires > 0 {
            assert_eq!((triple[1].hand_overs.clone(), triple[1].strong_steps), (vec![4], 14));
        }
    }
}

#[test]
fn a_fork_in_another_state_than_its_twin_is_refused() {
    /// A plant that resumes at a position that differs in its last bit.
    #[derive(Default)]
    struct Slipping(Line);
    impl Plant for Slipping {
        fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
            self.0.reset(start)
        }
        fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
            self.0.step(action)
        }
        fn state(&self, out: &mut Vec<f64>) {
            self.0.state(out);
        }
        fn save(&self) -> Result<Option<Saved>, PlantError> {
            self.0.save()
        }
        fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
            let seen = self.0.resume(saved)?;
            self.0.position = f64::from_bits(self.0.position.to_bits() ^ 1);
            Ok(seen)
        }
    }
    let open = |_| Ok(EpisodeContext { plant: Box::<Slipping>::default(), ..open() });
    let settings = EpisodeSettings { fork: true, ..settings() };
    let error =
        run_arms(&KEYS.keys(0..1), &[Arm::weak(), gated()], 1, &settings, &open, &|_| {}).unwrap_err();
    assert!(matches!(error, RunError::Job { source: EpisodeError::Fork { step: 4 }, .. }), "{error}");
}

#[test]
fn a_setup_that_fails_stops_the_run() {
    let fails = |_| Err("no such plant".into());
    let error = run_arms(&KEYS.keys(0..1), &[Arm::weak()], 2, &settings(), &fails, &|_| {}).unwrap_err();
    assert!(matches!(error, RunError::Setup(_)));
    assert_eq!(error.to_string(), "no such plant");
}

#[test]
fn a_probe_of_any_head_fitted_on_rollouts_tells_lost_from_won() {
    let rollouts = rolled_out();
    for head in HeadKind::ALL {
        let file = fitted(head);
        assert_eq!((file.discovery.episodes, file.discovery.lost), (20, 10));
        assert_eq!(file.candidates.len(), 2);
        let best = file.candidates.iter().min_by(|a, b| a.held_out_loss.total_cmp(&b.held_out_loss)).unwrap();
        assert_eq!(file.penalty, best.penalty);
        let calibration = &file.calibration;
        assert!(
            calibration.threshold < 0.5 && calibration.return_threshold <= calibration.threshold,
            "{head}"
        );
        let found =
            evaluate(&file, Discovery { rollouts: &rollouts, motion: &[] }, &rollouts, &settings().gate, 1)
                .unwrap();
        assert_eq!(found.probe.overall.estimate, 1.0, "{head}");
        // There is only one task, so the task baseline has an AUROC of 0.5. A recurrent head is excluded, since it can count
        // boundaries, of which won episodes have fewer.
        if head != HeadKind::Recurrent {
            assert_eq!(found.baselines[0].overall.estimate, 0.5, "{head}");
        }
        assert!(found.rules.iter().all(|rule| rule.false_alarms.k == 0), "{:?}", found.rules);
        assert_eq!(found.rules[0].caught.k, 10, "conformal catches every lost episode");
        assert!(found.coverage.iter().all(|coverage| coverage.holds));
    }
}

#[test]
fn a_probe_needs_failures_and_successes() {
    let won: Vec<Rollout> = rolled_out().into_iter().filter(|rollout| rollout.success).collect();
    let settings_ = fit_settings(HeadKind::Linear);
    let error = fit(&won, &settings_, 40, &|| {}).unwrap_err().to_string();
    assert!(error.contains("failed = false"), "{error}");
    assert!(fit(&[], &settings_, 40, &|| {}).unwrap_err().to_string().contains("no trajectories"));
    let error = calibrate(&probe(), &won, &settings().gate, &settings_).unwrap_err().to_string();
    assert!(error.contains("failed = false"), "{error}");
    let discovery = rolled_out();
    let discovery = Discovery { rollouts: &discovery, motion: &[] };
    let error = evaluate(&fitted(HeadKind::Linear), discovery, &won, &settings().gate, 1).unwrap_err();
    assert!(error.to_string().starts_with("evaluation: "), "{error}");
    let mut poisoned = rolled_out();
    poisoned[3].boundaries[2].features[1] = f64::NAN;
    let error = fit(&poisoned, &settings_, 40, &|| {}).unwrap_err().to_string();
    assert!(error.contains("trajectory 3, boundary 2, value 1: found NaN"), "{error}");
}

#[test]
fn rollouts_are_read_back_from_their_file() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("rollouts.parquet");
    let provenance = provenance();
    let rollouts = rolled_out();
    rollout_file::write(&path, &provenance, &rollouts).unwrap();
    let (found, read) = rollout_file::read(&path).unwrap();
    assert_eq!((&found, &read), (&provenance, &rollouts));
    assert_eq!(digest(&read), digest(&rollouts));
    assert_ne!(digest(&rollouts[1..]), digest(&rollouts), "the digest names the data");

    // One value is changed, as by a disk error or an edit; the rest of the file is unchanged.
    let file = std::fs::File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let about = reader.schema().metadata()["aegis"].clone();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let mut wins: Vec<bool> =
        rollouts.iter().flat_map(|one| one.boundaries.iter().map(|_| one.success)).collect();
    wins.iter_mut().take(rollouts[0].boundaries.len()).for_each(|won| *won = !*won);
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of("success").unwrap()] = Arc::new(BooleanArray::from(wins));
    let changed = |about: &str| {
        let metadata = [("aegis".to_owned(), about.to_owned())].into();
        let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(metadata));
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), schema.clone(), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, columns.clone()).unwrap()).unwrap();
        writer.close().unwrap();
        rollout_file::read(&path)
    };
    let error = changed(&about).unwrap_err().to_string();
    for words in [
        "rollouts.parquet: rows: found values of",
        &digest(&rollouts),
        "values_sha256",
        "docs/reference/rollouts.md",
    ] {
        assert!(error.contains(words), "{words:?} is missing from: {error}");
    }
    // A file that was changed on purpose is valid without the key `values_sha256`.
    let mut said: serde_json::Value = serde_json::from_str(&about).unwrap();
    said.as_object_mut().unwrap().remove("values_sha256").unwrap();
    assert_eq!(changed(&said.to_string()).unwrap().1[0].success, !rollouts[0].success);
    rollout_file::write(&path, &provenance, &rollouts).unwrap();

    let error = rollout_file::write(&path, &provenance, &[]).unwrap_err().to_string();
    assert!(error.contains("valid is one or more"), "{error}");
    assert_eq!(rollout_file::read(&path).unwrap().1, rollouts, "a refused write leaves what was there");
    std::fs::write(&path, b"no parquet").unwrap();
    assert!(matches!(rollout_file::read(&path), Err(RolloutFileError::Read { .. })));
    let later = Provenance { schema: 99, ..provenance };
    rollout_file::write(&path, &later, &rollouts).unwrap();
    let error = rollout_file::read(&path).unwrap_err().to_string();
    assert!(error.contains("rollouts.parquet") && error.contains("schema: found 99; valid is 2"), "{error}");
}

#[test]
fn rows_are_checked_against_the_starts_of_their_file() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("stated.parquet");
    let rollouts = rolled_out();
    rollout_file::write(&path, &provenance(), &rollouts[1..]).unwrap();
    let error = rollout_file::read(&path).unwrap_err().to_string();
    let missing = "missing: task 0, initial state 0, replicate 0";
    for words in [
        "stated.parquet: rows",
        "found 1 to 19 of tasks 0",
        "valid is 0 to 19 of tasks 0",
        "metadata",
        missing,
    ] {
        assert!(error.contains(words), "{words:?} is missing from: {error}");
    }
    rollout_file::write(&path, &Provenance { starts: None, ..provenance() }, &rollouts).unwrap();
    let error = rollout_file::read(&path).unwrap_err().to_string();
    assert!(error.contains("metadata.aegis.starts"), "{error}");

    // A file of schema 1 states no starts; they are read from its rows.
    let old = Provenance { schema: 1, starts: None, ..provenance() };
    rollout_file::write(&path, &old, &rollouts[1..]).unwrap();
    let (found, read) = rollout_file::read(&path).unwrap();
    assert_eq!(found.starts.as_ref(), Some(&Starts::of(read.iter().map(|rollout| rollout.key))));
    assert_eq!(found.origin(&read).starts.initial_states, [[1, 20]]);
}

#[test]
fn a_probe_file_is_read_back_and_only_for_its_model() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe.json");
    let rollouts = rolled_out();
    let mut file = fitted(HeadKind::Linear);
    file.calibration.threshold = f64::INFINITY;
    file.calibration.slope = f64::NEG_INFINITY;
    let all =
        Fitted { probe: file.probe.clone(), penalty: file.penalty, candidates: file.candidates.clone() };
    let belongs = (file.model_sha256.clone(), file.tensor.clone());
    let again =
        ProbeFile::new(belongs, data(&rollouts), file.settings.clone(), all, file.calibration.clone());
    assert_eq!(again, file);
    file.save(&path).unwrap();
    assert_eq!(ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap(), file);
    for (model, tensor, width, field) in [
        ("abd", "action_tokens", 2, "model_sha256"),
        ("abc", "tokens", 2, "tensor"),
        ("abc", "action_tokens", 3, "probe.mean"),
    ] {
        let error = ProbeFile::load(&path, model, tensor, width).unwrap_err();
        assert!(
            matches!(&error, ProbeFileError::Mismatch { field: found, .. } if *found == field),
            "{error}"
        );
    }
    // A probe file has to state its starts, except in schema 2.
    let mut silent = file.clone();
    (silent.discovery.origin, silent.calibrated_on.origin) = (None, None);
    silent.save(&path).unwrap();
    let error = ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap_err().to_string();
    assert!(error.contains("discovery.origin: found none; valid is rollouts of model abc"), "{error}");
    silent.schema = 2;
    silent.save(&path).unwrap();
    assert_eq!(ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap(), silent);
    assert!(silent.statements("it").iter().all(|statement| statement.origin.is_none()));
    assert_eq!(file.statements("it")[1].origin.as_ref().unwrap().starts.initial_states, [[20, 40]]);
    // Statements about the rollouts that are not possible.
    let edited = |edit: &dyn Fn(&mut ProbeFile)| {
        let mut edited = file.clone();
        edit(&mut edited);
        edited.save(&path).unwrap();
        ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap_err().to_string()
    };
    fn starts(data: &mut Data) -> &mut Starts {
        &mut data.origin.as_mut().unwrap().starts
    }
    let more = |file: &mut ProbeFile| file.discovery.lost = 21;
    let same = |file: &mut ProbeFile| file.calibrated_on = file.discovery.clone();
    let meets = |file: &mut ProbeFile| {
        let [first, end] = [19, 39];
        *starts(&mut file.calibrated_on) = Starts::of(StateRange { first, end, replicates: 1 }.keys(0..1));
    };
    let shifted = |file: &mut ProbeFile| starts(&mut file.discovery).initial_states = vec![[60, 80]];
    let none = |file: &mut ProbeFile| starts(&mut file.calibrated_on).tasks.clear();
    let counted = |file: &mut ProbeFile| file.calibration.episodes = [20, 9];
    type Edit<'a> = &'a dyn Fn(&mut ProbeFile);
    let edits: [(Edit<'_>, &str); 6] = [
        (&more, "probe.json: discovery.lost: found 21; valid is 0 to 20, discovery.episodes"),
        (&same, "discovery.sha256; valid is rollouts that the probe was not fitted on"),
        (&meets, "calibrated_on.origin.starts: found initial states 19, which are in discovery too"),
        (&shifted, "discovery.origin.starts.sha256: found "),
        (&none, "calibrated_on.origin.starts.tasks: found []; valid is one or more tasks"),
        (&counted, "calibration.episodes: found [20, 9]; valid is [20, 10]"),
    ];
    for (edit, words) in edits {
        let error = edited(edit);
        assert!(error.contains(words), "{words:?} is missing from: {error}");
    }
    // A value that is not a number is named in the error.
    file.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"threshold\":\"inf\"", "\"threshold\":null", 1)).unwrap();
    let error = ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap_err().to_string();
    assert!(error.contains("not a probe file: threshold: found neither a number nor \"inf\""), "{error}");
    let mut lame = file;
    lame.probe.scale[1] = 0.0;
    lame.save(&path).unwrap();
    let error = ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap_err().to_string();
    assert!(error.contains("probe.json") && error.contains("scale: found 0"), "{error}");
    std::fs::write(&path, "{ \"schema\": 1 }").unwrap();
    let error = ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap_err().to_string();
    assert!(
        error.contains(
            "schema: found 1; valid is 3, 5 with a benefit head, 4 for rollouts of another program"
        ),
        "{error}"
    );
    std::fs::write(&path, "{ \"schema\": 2").unwrap();
    assert!(matches!(ProbeFile::load(&path, "abc", "action_tokens", 2), Err(ProbeFileError::Parse { .. })));
}

#[test]
fn an_arm_with_a_share_fires_in_about_that_share_and_moves_no_other_arm() {
    let blind = || Rule::Blind { schedule: Schedule::At(vec![3]) };
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let share = |name: &str, share| arm(name, Drive::Fraction { rule: blind(), share });
    let keys = StateRange { first: 0, end: 200, replicates: 1 }.keys(0..1);
    let run = |arms: &[Arm], fork| {
        let settings = EpisodeSettings { fork, ..settings() };
        let twins = run_arms(&keys, arms, 2, &settings, &|_| Ok(open()), &|_| {}).unwrap();
        twins.into_iter().map(|(result, _)| result).collect::<Vec<_>>()
    };
    let before = [
        Arm::weak(),
        gated(),
        arm("random", Drive::Yoked("aegis".into())),
        arm("blind", Drive::Rule(blind())),
    ];
    let after = [&before[..], &[share("all", 1.0), share("most", 0.7), share("some", 0.3)]].concat();
    let (old, new) = (run(&before, true), run(&after, true));
    assert_eq!(run(&after, false), new, "forked or not");
    let of = |results: &[EpisodeResult], name: &str| -> Vec<EpisodeResult> {
        results.iter().filter(|result| result.arm == *name).cloned().collect()
    };
    for name in ["weak", "aegis", "random", "blind"] {
        assert_eq!(of(&old, name), of(&new, name), "{name}");
    }
    let fired = |name: &str| of(&new, name).iter().map(|result| result.fires > 0).collect::<Vec<bool>>();
    assert_eq!(fired("all"), fired("blind"));
    let (all, most, some) = (fired("all"), fired("most"), fired("some"));
    let count = |fired: &[bool]| fired.iter().filter(|fired| **fired).count() as f64;
    assert!((count(&most) / count(&all) - 0.7).abs() < 0.12, "{} of {}", count(&most), count(&all));
    assert!((count(&some) / count(&all) - 0.3).abs() < 0.12, "{} of {}", count(&some), count(&all));
    // Episodes that fire at the smaller share fire at the larger one too. An episode that does not fire equals weak.
    assert!(most.iter().zip(&some).all(|(most, some)| *most || !some));
    for (weak, twin) in of(&new, "weak").iter().zip(of(&new, "some")).filter(|(_, twin)| twin.fires == 0) {
        assert_eq!((&weak.path, weak.success), (&twin.path, twin.success));
    }
}

/// What a policy was told of the chunk in execution, at each of its inferences.
type Told = Arc<std::sync::Mutex<Vec<Option<Executing>>>>;

/// A walker that keeps what it is told.
struct Listening(Box<dyn Policy>, Told);

impl Policy for Listening {
    fn set_executing(&mut self, executing: Option<Executing>) {
        self.1.lock().unwrap().push(executing);
    }

    fn remembers(&self) -> bool {
        true
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        self.0.infer(observation)
    }
}

#[test]
fn a_policy_is_told_of_its_own_chunk_while_it_drives() {
    let told: [Told; 2] = Default::default();
    let mut context = open();
    context.weak = Box::new(Listening(context.weak, Arc::clone(&told[0])));
    context.strong = Box::new(Listening(context.strong, Arc::clone(&told[1])));
    // The weak policy loses from an odd start, so that the gate calls the strong one.
    let key = KEYS.keys(0..1).into_iter().find(|key| key.start.initial_state % 2 == 1).unwrap();
    let (result, _) = run_episode(&mut context, &gated(), key, &settings(), &mut NoRecorder).unwrap();
    let first_strong = result.hand_overs[0] / 2;
    for (index, told) in told.iter().enumerate() {
        let told = told.lock().unwrap();
        assert!(told.len() as u32 > first_strong + 1, "{told:?}");
        for (boundary, told) in told.iter().enumerate() {
            let strong_drove = boundary as u32 > first_strong;
            let drove = boundary > 0 && strong_drove == (index == 1);
            assert_eq!(*told, drove.then_some(Executing { back: 0, steps: 2 }), "{index} {boundary}");
        }
    }
}

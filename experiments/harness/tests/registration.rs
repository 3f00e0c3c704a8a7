//! A registered plan: its canonical form, the changes that a lock detects, and its amendments.
//! The plan is the shipped template; models and scenes are stand-ins.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_core::Start;
use aegis_experiments::data::lock_file::lock_path;
use aegis_experiments::data::store::{StoredEpisode, StoredSet};
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::{Frozen, Lock, LockError, NamedFile, Scenes, canonical_plan};
use aegis_experiments::run::ran_under::{Before, RanUnder};

fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.toml")).unwrap()
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn plan(name: &str, text: &str) -> Plan {
    let path = place(&format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    Plan::read(&path).unwrap()
}

fn frozen(plan: &Plan) -> Frozen {
    let named = |file: &str, sha256: &str| NamedFile { file: file.into(), sha256: sha256.into() };
    let models = [
        ("weak card", named("models/weak.toml", "01")),
        ("weak weights", named("models/weak.onnx", "02")),
        ("probe", named("models/probe.json", "03")),
    ];
    let scenes = [("suite.json", "11"), ("tasks/00/scene.xml", "12")];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Frozen::new(
        plan,
        [("aegis", "0.1.0"), ("mujoco", "3.17.0")].map(owned).into(),
        models.map(|(role, file)| (role.to_owned(), file)).into(),
        Scenes::new("libero_spatial".into(), scenes.map(owned).into()),
    )
    .unwrap()
}

#[test]
fn comments_order_and_spacing_leave_no_trace() {
    let shipped = text();
    let original = canonical_plan(&plan("original", &shipped)).unwrap();

    let bare: String =
        shipped.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n\n")).collect();
    assert_ne!(bare, shipped);
    assert_eq!(canonical_plan(&plan("bare", &bare)).unwrap(), original);

    // The tables in reverse order, and two keys of one table exchanged.
    let mut tables: Vec<Vec<&str>> = vec![Vec::new()];
    for line in shipped.lines() {
        if line.starts_with('[') {
            tables.push(Vec::new());
        }
        tables.last_mut().unwrap().push(line);
    }
    tables[1..].reverse();
    let turned: String = tables.concat().into_iter().map(|line| format!("{line}\n")).collect();
    let turned = turned
        .replace("hold_chunks = 3\nreturn_chunks = 2", "return_chunks  =  2\nhold_chunks = 3 # as before");
    assert_ne!(turned, shipped);
    assert_eq!(canonical_plan(&plan("turned", &turned)).unwrap(), original);

    let numbers = shipped
        .replace("guard_fraction = 0.20", "guard_fraction = 2e-1")
        .replace("duty_points = 5.0", "duty_points = 5")
        .replace("missing_episodes = 0", "missing_episodes = 0x0");
    assert_ne!(numbers, shipped);
    assert_eq!(canonical_plan(&plan("numbers", &numbers)).unwrap(), original);
}

#[test]
fn every_value_leaves_a_trace() {
    let shipped = text();
    let original = frozen(&plan("values", &shipped));
    for (from, to, field) in [
        ("guard_fraction = 0.20", "guard_fraction = 0.20000000000000001", ""),
        ("guard_fraction = 0.20", "guard_fraction = 0.20000000000000004", "gate.guard_fraction"),
        ("master_seed = 20260606", "master_seed = 20260607", "master_seed"),
        ("sample_seed = 20261125\n", "", "sample_seed"),
        ("probe.json", "other.json", "models.probe"),
        ("sequential = false", "sequential = true", "study.sequential"),
        ("{ better = \"aegis\", than = \"blind\" },\n", "", "study.contrasts"),
        ("at = [5, 9]", "at = [5, 10]", "study.rules.blind.schedule.at"),
    ] {
        assert!(shipped.contains(from), "{from}");
        let changed = frozen(&plan("changed", &shipped.replace(from, to)));
        let differences = original.compare(&changed);
        let named: Vec<_> = differences.iter().map(|one| (one.file.as_str(), one.field.as_str())).collect();
        if field.is_empty() {
            // Both texts are the same double.
            assert!(named.is_empty() && changed.plan_sha256 == original.plan_sha256);
        } else {
            assert_eq!(named, [("plan", field)]);
            assert_ne!(changed.plan_sha256, original.plan_sha256);
        }
    }
}

#[test]
fn each_thing_that_differs_is_named() {
    let registered = frozen(&plan("compare", &text()));
    assert_eq!(registered.compare(&registered), []);
    let mut found = registered.clone();
    found.models.get_mut("weak weights").unwrap().sha256 = "ff".into();
    found.versions.insert("mujoco".into(), "3.18.0".into());
    let mut files: BTreeMap<_, _> = found.scenes.files.clone();
    files.remove("tasks/00/scene.xml");
    files.insert("tasks/00/new.xml".into(), "13".into());
    found.scenes = Scenes::new("libero_spatial".into(), files);
    assert_ne!(found.scenes.sha256, registered.scenes.sha256);
    // The content digest of the scenes does not depend on `suite.json`.
    assert_ne!(found.scenes.content_sha256(), registered.scenes.content_sha256());
    let mut renamed = registered.scenes.files.clone();
    renamed.insert("suite.json".into(), "99".into());
    let renamed = Scenes::new("mine".into(), renamed);
    assert_ne!(renamed.sha256, registered.scenes.sha256);
    assert_eq!(renamed.content_sha256(), registered.scenes.content_sha256());
    let lock = Lock::new(registered, "2026-11-25T12:00:00Z".into(), "unknown".into(), Vec::new()).unwrap();
    let said: Vec<String> = lock.compare(&found).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "models/weak.onnx: SHA-256 (weak weights): registered 02, found ff",
            "scenes/libero_spatial/tasks/00/new.xml: SHA-256: registered nothing, found 13",
            "scenes/libero_spatial/tasks/00/scene.xml: SHA-256: registered 12, found nothing",
            "versions: mujoco: registered 3.17.0, found 3.18.0",
        ]
    );
}

/// Returns a lock with two amendments. Tests run in parallel, so each passes a different `name` for its plan file.
fn amended(name: &str) -> Lock {
    let shipped = text();
    let notes = vec!["One set of the tuning range ran.".to_owned()];
    let registered = frozen(&plan(name, &shipped));
    let lock = Lock::new(registered, "2026-11-25T12:00:00Z".into(), "unknown".into(), notes).unwrap();
    let longer = frozen(&plan(name, &shipped.replace("hold_chunks = 3", "hold_chunks = 4")));
    let lock = lock.amend(longer, "2026-11-26T12:00:00Z".into(), " longer holds ", 0, vec![]).unwrap();
    let back = frozen(&plan(name, &shipped));
    lock.amend(back, "2026-11-27T12:00:00Z".into(), "back again", 40, vec!["Nothing was tried.".into()])
        .unwrap()
}

#[test]
fn an_amendment_records_change_time_reason_and_episodes_seen() {
    let lock = amended("why");
    lock.verify().unwrap();
    let [first, second] = &lock.amendments[..] else { panic!("two amendments") };
    assert_eq!((first.why.as_str(), first.when.as_str()), ("longer holds", "2026-11-26T12:00:00Z"));
    assert_eq!(first.changes[0].to_string(), "plan: gate.hold_chunks: registered 3, found 4");
    assert_eq!((first.data_seen(), second.data_seen()), (false, true));
    assert_eq!(second.frozen_sha256, lock.registered_sha256, "the second undoes the first");
    assert_eq!(lock.head(), second.seal);

    let same = lock.frozen.clone();
    assert!(matches!(lock.amend(same, "now".into(), "why", 0, vec![]), Err(LockError::NoChange)));
    let mut other = lock.frozen.clone();
    other.versions.clear();
    assert!(matches!(lock.amend(other.clone(), "now".into(), " \n", 0, vec![]), Err(LockError::NoReason)));
    for (why, found) in
        [("typo.\n\n## Verdict: holds", '\n'), ("red \u{1b}[31m", '\u{1b}'), ("a\u{202e}b", '\u{202e}')]
    {
        let error = lock.amend(other.clone(), "now".into(), why, 0, vec![]).unwrap_err();
        assert!(matches!(error, LockError::NoLine { found: at } if at == found), "{error}");
    }
}

#[test]
fn episodes_outside_the_study_are_recorded_in_the_chain_and_change_nothing() {
    let lock = amended("noted");
    let noted = lock.note("2026-11-28T12:00:00Z".into(), "`aegis demo` ran 10 sets", 10).unwrap();
    noted.verify().unwrap();
    assert_ne!(noted.head(), lock.head());
    assert_eq!((&noted.frozen, &noted.seal), (&lock.frozen, &lock.seal));
    let last = noted.amendments.last().unwrap();
    assert_eq!((last.changes.len(), last.episodes_seen), (0, 10));
    // The seal of a lock from before notes existed is still valid.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../study.lock.toml");
    Lock::load(&shipped).unwrap();
}

#[test]
fn changes_since_a_seal_are_found_and_some_affect_episodes() {
    let shipped = text();
    let registered = frozen(&plan("since", &shipped));
    let lock = Lock::new(registered.clone(), "then".into(), "unknown".into(), vec![]).unwrap();
    let amend = |lock: &Lock, found: Frozen| lock.amend(found, "now".into(), "why", 0, vec![]).unwrap();
    let since = |lock: &Lock, place: usize| {
        let changed = lock.changed_since(place).into_iter();
        changed.map(|one| (one.to_string(), one.affects_episodes())).collect::<Vec<_>>()
    };
    assert_eq!((lock.place_of(&lock.seal), lock.place_of("other"), since(&lock, 0)), (Some(0), None, vec![]));
    let of_text = |from: &str, to: &str| {
        assert!(shipped.contains(from), "{from}");
        frozen(&plan("since", &shipped.replace(from, to)))
    };
    let longer = amend(&lock, of_text("hold_chunks = 3", "hold_chunks = 4"));
    let longest = amend(&longer, of_text("hold_chunks = 3", "hold_chunks = 5"));
    assert_eq!(longest.place_of(longest.head()), Some(2));
    let line = |from: u8, to: u8| format!("plan: gate.hold_chunks: registered {from}, found {to}");
    assert_eq!(since(&longest, 0), [(line(3, 5), true)]);
    assert_eq!(since(&longest, 1), [(line(4, 5), true)]);
    assert_eq!((since(&longest, 2), since(&amend(&longest, registered.clone()), 0)), (vec![], vec![]));

    for (from, to, of_episodes) in [
        ("alpha = 0.05", "alpha = 0.06", false),
        ("harm_cap = 0.10", "harm_cap = 0.20", false),
        ("level = 0.95", "level = 0.9", false),
        ("first = 500", "first = 501", false),
        ("master_seed = 20260606", "master_seed = 7", true),
        ("object_position_sd = 0.002", "object_position_sd = 0.2", true),
        ("at = [5, 9]", "at = [5, 10]", true),
        (", \"aa\"]", "]", true),
    ] {
        let found = since(&amend(&lock, of_text(from, to)), 0);
        assert_eq!(found.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [of_episodes], "{found:?}");
    }
    // The same weights under another name, other weights, and another version of a library.
    let mut renamed = registered.clone();
    renamed.models.get_mut("weak weights").unwrap().file = "models/other.onnx".into();
    assert_eq!(since(&amend(&lock, renamed.clone()), 0), []);
    renamed.models.get_mut("weak weights").unwrap().sha256 = "ff".into();
    assert_eq!(since(&amend(&lock, renamed), 0).iter().filter(|(_, of)| *of).count(), 1);
    let mut other = registered;
    other.versions.insert("mujoco".into(), "3.18.0".into());
    assert_eq!(since(&amend(&lock, other.clone()), 0).len(), 1);
    assert!(since(&amend(&lock, other), 0)[0].1);
}

#[test]
fn stored_sets_are_checked_against_the_lock_that_they_ran_under() {
    let shipped = text();
    let registered = frozen(&plan("ran-under", &shipped));
    let lock = Lock::new(registered, "then".into(), "unknown".into(), vec![]).unwrap();
    let milder = frozen(&plan("ran-under", &shipped.replace("alpha = 0.05", "alpha = 0.06")));
    let milder = lock.amend(milder, "later".into(), "why", 0, vec![]).unwrap();
    let shorter =
        shipped.replace("alpha = 0.05", "alpha = 0.06").replace("hold_chunks = 3", "hold_chunks = 2");
    let shorter =
        milder.amend(frozen(&plan("ran-under", &shorter)), "last".into(), "why", 6, vec![]).unwrap();
    let set = |task: usize, lock: Option<&str>| StoredSet {
        key: EpisodeKey { start: Start { task, initial_state: 1 }, replicate: 0 },
        episodes: vec![StoredEpisode { place: 0, arm: "weak".into(), text: String::new() }],
        trace: None,
        lock: lock.map(str::to_owned),
    };
    let old = RanUnder::of(&shorter, &[set(0, None), set(1, None)]);
    assert_eq!((old.wrong, old.unknown, old.known), (vec![], 2, 0));
    let sets = [set(0, Some(lock.head())), set(1, Some(milder.head())), set(2, None)];
    let found = RanUnder::of(&milder, &sets);
    assert_eq!((found.wrong.len(), found.before[0], found.unknown), (0, Before { sets: 1, episodes: 1 }, 1));
    assert!(
        found
            .sentence(0)
            .unwrap()
            .contains("1 sets of twins (1 episodes) of these results had run; for 1 sets")
    );
    assert!(found.unreported(&milder)[0].contains("found 0; 1 episodes"), "{:?}", found.unreported(&milder));
    let found = RanUnder::of(&shorter, &sets);
    assert_eq!((found.wrong.len(), found.before[1].sets), (2, 2));
    assert!(found.wrong.iter().all(|line| line.contains("gate.hold_chunks: registered 3, found 2")));
    // A lock that was reset to an earlier state.
    let found = RanUnder::of(&lock, &sets);
    assert_eq!(found.wrong.len(), 1);
    assert!(
        found.wrong[0].contains("task 1") && found.wrong[0].contains("which is not in this lock's chain")
    );
}

#[test]
fn a_start_of_any_earlier_range_is_refused_for_confirmation() {
    let shipped = text();
    let moved = |tuning: &str, confirmation: &str| {
        let text = shipped.replace("tuning = { first = 400, end = 440", &format!("tuning = {{ {tuning}"));
        plan(
            "ranges",
            &text.replace(
                "confirmation = { first = 500, end = 540",
                &format!("confirmation = {{ {confirmation}"),
            ),
        )
    };
    let registered = frozen(&plan("ranges", &shipped));
    let lock = Lock::new(registered, "now".into(), "unknown".into(), vec![]).unwrap();
    let swapped = moved("first = 500, end = 540", "first = 400, end = 440");
    let (field, reason) = lock.check_confirmation(&swapped).unwrap_err();
    assert_eq!(field, "ranges.confirmation");
    assert!(reason.contains("400 to 439 were starts of ranges.tuning"), "{reason}");
    // The same is refused when the ranges are moved in two amendments.
    let aside = moved("first = 900, end = 940", "first = 500, end = 540");
    assert_eq!(lock.check_confirmation(&aside), Ok(()));
    let lock = lock.amend(frozen(&aside), "later".into(), "aside", 0, vec![]).unwrap();
    let (_, reason) =
        lock.check_confirmation(&moved("first = 900, end = 940", "first = 439, end = 480")).unwrap_err();
    assert!(reason.contains("439 to 439 were starts of ranges.tuning"), "{reason}");
    // A part of the registered confirmation starts, or new starts, are allowed.
    for confirmation in ["first = 500, end = 510", "first = 600, end = 640"] {
        assert_eq!(lock.check_confirmation(&moved("first = 900, end = 940", confirmation)), Ok(()));
    }
}

type Edit = fn(&mut Lock);

#[test]
fn an_edited_lock_is_refused_with_the_entry() {
    let whole = amended("edited");
    let edits: [(&str, Edit); 13] = [
        ("registration", |lock| lock.notes.clear()),
        ("registration", |lock| lock.notes[0].push('!')),
        ("amendments[1]", |lock| lock.amendments[1].notes.clear()),
        ("registration", |lock| lock.created = "2026-11-24T12:00:00Z".into()),
        ("registration", |lock| lock.registered_sha256.replace_range(..1, "x")),
        ("amendments[0]", |lock| lock.amendments[0].why = "a better reason".into()),
        ("amendments[0]", |lock| lock.amendments[0].changes.clear()),
        ("amendments[1]", |lock| lock.amendments[1].episodes_seen = 0),
        ("amendments[0]", |lock| drop(lock.amendments.remove(0))),
        ("amendments[0]", |lock| lock.amendments.swap(0, 1)),
        ("frozen", |lock| lock.frozen.plan["gate"]["hold_chunks"] = 5.into()),
        ("frozen", |lock| lock.frozen.models.get_mut("probe").unwrap().sha256 = "00".into()),
        ("frozen", |lock| drop(lock.frozen.versions.remove("mujoco"))),
    ];
    for (index, (entry, edit)) in edits.into_iter().enumerate() {
        let mut edited = whole.clone();
        edit(&mut edited);
        let error = edited.verify().expect_err("an edit").to_string();
        assert!(error.starts_with(entry), "edit {index}: {error}");
    }
    // Without the last amendment the chain of seals is valid, but does not match the frozen plan.
    let mut shorter = whole.clone();
    shorter.amendments.pop();
    assert!(shorter.verify().unwrap_err().to_string().starts_with("frozen"));
}

#[test]
fn a_lock_is_written_once_and_read_back() {
    let path = lock_path(&place("written.toml"));
    assert_eq!(path, place("written.lock.toml"));
    let _ = std::fs::remove_file(&path);
    let lock = amended("written-plan");
    lock.create(&path).unwrap();
    assert_eq!(Lock::load(&path).unwrap(), lock);
    let error = lock.create(&path).unwrap_err().to_string();
    assert!(error.contains("written.lock.toml") && error.contains("aegis plan amend"), "{error}");

    let written = std::fs::read_to_string(&path).unwrap();
    let refused = |text: &str, words: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let error = Lock::load(&path).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is missing from: {error}");
        }
    };
    assert!(written.contains("why = \"back again\""));
    refused(&written.replace("back again", "for good"), &["amendments[1]", "edited"]);
    refused(&written.replace("schema = 1", "schema = 9"), &["schema", "9", "1"]);
    refused("what = 1\n", &["schema", "none"]);
    refused(&written[..written.len() / 2], &["written.lock.toml"]);
    std::fs::remove_file(&path).unwrap();
    assert!(Lock::load(&path).unwrap_err().to_string().contains("cannot read"));
}

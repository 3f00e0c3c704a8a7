//! Detection of edits, on a one-dimensional plant: each field of a result, each field of a trace and each column of a store
//! is edited in turn. Also tests what running the sets again detects.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_core::Rule;
use aegis_experiments::data::merge::merge;
use aegis_experiments::data::store::{Chain, Store, StoredSet};
use aegis_experiments::data::trace::{Boundary, Layout, Row, TraceFile, verify};
use aegis_experiments::run::experiment::{self, Experiment, STORE, Shard, read_trace, trace_path};
use aegis_experiments::run::rerun::{Job, rerun};
use aegis_experiments::run::runner::{Progress, describe};
use aegis_experiments::{Arm, Drive, EpisodeResult, EpisodeSettings};
use rusqlite::Connection;

use crate::support::{KEYS, gated, open, settings};

const BELONGS: &str = "registration of a test";

/// Creates an empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("integrity-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Returns one arm for each way of driving, in the order in which the arms run.
fn arms() -> Vec<Arm> {
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let Drive::Rule(rule) = gated().drive else { panic!("a rule") };
    vec![
        Arm::weak(),
        gated(),
        arm("aa", Drive::Weak),
        arm("shadow", Drive::Shadow(rule)),
        arm("take_over", Drive::Rule(Rule::TakeOver { step: 10 })),
        Arm::strong(),
        arm("random", Drive::Yoked("aegis".into())),
    ]
}

/// Returns the keys of four starts; weak loses the odd ones.
fn keys() -> Vec<EpisodeKey> {
    KEYS.keys(0..1)[..4].to_vec()
}

fn run(folder: &Path, keys: &[EpisodeKey], fork: bool, workers: usize) {
    let store = Store::open(&folder.join(STORE), BELONGS).unwrap();
    let settings = EpisodeSettings { fork, ..settings() };
    let experiment = Experiment { folder, store, keys, arms: &arms() };
    let progress = |_: Progress<'_>| {};
    experiment::run(experiment, workers, &settings, &|_| Ok(open()), &progress).unwrap();
}

fn read(folder: &Path) -> Store {
    Store::read(&folder.join(STORE), BELONGS).unwrap()
}

fn chain(folder: &Path) -> Chain {
    read(folder).chain().unwrap().expect("a store with seals")
}

fn trace_of(folder: &Path, set: &StoredSet) -> TraceFile {
    let bytes = read_trace(folder, set.key, set.trace.as_deref().unwrap()).unwrap();
    TraceFile::read(bytes).unwrap()
}

/// Returns the faults that verification finds in a set.
fn wrong(set: &StoredSet, trace: &TraceFile) -> Vec<String> {
    verify(set, trace, &arms(), &settings().gate, None).wrong
}

/// Converts an empty store to the version without seals, whose traces have layout 1.
fn unseal(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let version = "UPDATE store SET value = '1' WHERE name = 'schema'; DROP TABLE seals; DROP TABLE parts";
    connection.execute_batch(version).unwrap();
}

#[test]
fn results_equal_those_of_their_traces_forked_or_not() {
    for fork in [true, false] {
        let folder = folder(&format!("sound-{fork}"));
        run(&folder, &keys(), fork, 2);
        for set in read(&folder).sets().unwrap() {
            let trace = trace_of(&folder, &set);
            assert_eq!(trace.layout(), Layout::Two);
            let found = verify(&set, &trace, &arms(), &settings().gate, None);
            assert_eq!((found.wrong, found.unchecked), (Vec::new(), Vec::new()), "forked: {fork}");
            assert_eq!(TraceFile::read(trace.parquet().unwrap()).unwrap(), trace);
        }
        assert_eq!(chain(&folder).wrong, Vec::<String>::new());
    }
}

type Edit = (&'static str, fn(&mut EpisodeResult));

const FIGURES: [Edit; 13] = [
    ("arm", |result| result.arm = "other".into()),
    ("key", |result| result.key.replicate += 1),
    ("success", |result| result.success = !result.success),
    ("steps", |result| result.steps += 1),
    ("chunk_steps", |result| result.chunk_steps += 1),
    ("fires", |result| result.fires += 1),
    ("strong_steps", |result| result.strong_steps += 1),
    ("hand_overs", |result| result.hand_overs.push(38)),
    ("scores[0]", |result| result.scores[0] = Some(0.123)),
    ("scores", |result| result.scores.truncate(result.scores.len() - 1)),
    ("prefixes[0]", |result| result.prefixes[0].replace_range(..1, "x")),
    ("prefixes", |result| result.prefixes.truncate(result.prefixes.len() - 1)),
    ("path", |result| result.path.replace_range(..1, "x")),
];

/// Returns a set in which the result of one arm is edited.
fn edited(set: &StoredSet, place: usize, edit: fn(&mut EpisodeResult)) -> StoredSet {
    let mut set = set.clone();
    let mut result: EpisodeResult = serde_json::from_str(&set.episodes[place].text).unwrap();
    edit(&mut result);
    set.episodes[place].text = serde_json::to_string(&result).unwrap();
    set
}

#[test]
fn every_figure_of_every_arm_that_was_edited_is_named() {
    let folder = folder("figures");
    run(&folder, &keys(), true, 1);
    for set in read(&folder).sets().unwrap() {
        let trace = trace_of(&folder, &set);
        for (place, arm) in arms().iter().enumerate() {
            let what = describe(set.key, arm.name.as_str());
            for (field, edit) in FIGURES {
                let found = wrong(&edited(&set, place, edit), &trace);
                let named =
                    found.iter().any(|line| line.starts_with(&format!("{what}: {field}: the store has")));
                assert!(named, "{what}: {field}: {found:?}");
            }
            // Text that differs only in spacing is not what a run writes.
            let mut spelled = set.clone();
            spelled.episodes[place].text += " ";
            assert!(wrong(&spelled, &trace)[0].starts_with(&format!("{what}: text: ")));
            // The columns beside the result.
            let mut column = set.clone();
            column.episodes[place].place += 10;
            assert!(wrong(&column, &trace)[0].contains(": place: "));
            let mut column = set.clone();
            column.episodes[place].arm = "other".into();
            let found = wrong(&column, &trace);
            assert!(
                found.contains(&format!("{what}: arm: is in the trace and not in the store")),
                "{found:?}"
            );
        }
    }
}

/// Name of a column and an edit of that column in a row.
type RowEdit = (&'static str, fn(&mut Row));

fn boundary(row: &mut Row, edit: fn(&mut Boundary)) {
    if let Some(boundary) = &mut row.boundary {
        edit(boundary);
    }
}

const COLUMNS: [RowEdit; 11] = [
    ("step", |row| row.step += 1),
    ("strong", |row| row.strong = !row.strong),
    ("success", |row| row.success = !row.success),
    ("boundary", |row| {
        row.boundary = match row.boundary {
            Some(_) => None,
            None => Some(Boundary { fired: false, handed_over: false, score: f64::NAN, prefix: [0; 16] }),
        };
    }),
    ("fired", |row| boundary(row, |one| one.fired = !one.fired)),
    ("handed_over", |row| boundary(row, |one| one.handed_over = !one.handed_over)),
    ("score", |row| boundary(row, |one| one.score += 0.001)),
    ("prefix", |row| boundary(row, |one| one.prefix[0] ^= 1)),
    ("path", |row| row.path[15] ^= 1),
    ("action", |row| row.action[0] += 0.001),
    ("end_effector", |row| row.end_effector[2] += 0.001),
];

/// Returns the trace with recomputed digests of its columns, as after a deliberate edit.
fn with_digests_made_again(mut trace: TraceFile, set: &StoredSet) -> TraceFile {
    for line in wrong(set, &trace) {
        let Some((place, digests)) = line.split_once(": its rows have SHA-256 ") else { continue };
        let (arm, column) = (place.split(" · ").next().unwrap(), place.rsplit(": ").next().unwrap());
        let made = digests.split(',').next().unwrap().to_owned();
        let notes = trace.notes.as_mut().unwrap();
        let noted = notes.arms.iter_mut().find(|one| one.arm == arm).unwrap();
        noted.columns.insert(column.to_owned(), made);
    }
    trace
}

#[test]
fn every_field_of_a_trace_that_was_edited_is_named() {
    let folder = folder("fields");
    run(&folder, &keys()[1..2], true, 1);
    let set = read(&folder).sets().unwrap().remove(0);
    let trace = trace_of(&folder, &set);
    for place in 0..trace.rows.len() {
        let arm = trace.rows[place].arm.clone();
        let ends = trace.rows.get(place + 1).is_none_or(|next| next.arm != arm || next.step % 2 == 0);
        for (column, edit) in COLUMNS {
            let mut other = trace.clone();
            edit(&mut other.rows[place]);
            if other == trace {
                continue;
            }
            let found = wrong(&set, &other);
            let line = format!("{}: trace: {column}: its rows have", describe(set.key, &arm));
            assert!(found.iter().any(|one| one.starts_with(&line)), "row {place}, {column}: {found:?}");
            // An edit of a column that results follow from is found even with recomputed digests.
            let decides = !["action", "end_effector"].contains(&column) && (column != "path" || ends);
            let found = wrong(&set, &with_digests_made_again(other, &set));
            assert_eq!(!found.is_empty(), decides, "row {place}, {column}: {found:?}");
        }
        let mut other = trace.clone();
        other.rows[place].arm = "other".into();
        assert!(wrong(&set, &other).iter().any(|line| line.contains(": trace: ")), "row {place}, arm");
    }
}

#[test]
fn every_edited_metadata_value_of_a_trace_is_named() {
    let folder = folder("notes");
    run(&folder, &keys()[1..2], true, 1);
    let set = read(&folder).sets().unwrap().remove(0);
    let trace = trace_of(&folder, &set);
    let notes = trace.notes.clone().unwrap();
    let shadow = notes.arms.iter().find(|one| one.arm == "shadow").unwrap();
    assert!(!shadow.fired_before.is_empty(), "a shadow's gate fires on the weak trajectory");
    let named = |edit: &dyn Fn(&mut aegis_experiments::data::trace::Notes), words: &str| {
        let mut other = trace.clone();
        edit(other.notes.as_mut().unwrap());
        let found = wrong(&set, &other);
        assert!(found.iter().any(|line| line.contains(words)), "{words}: {found:?}");
    };
    named(&|notes| notes.key.start.initial_state += 1, "trace: metadata.aegis.key: ");
    named(&|notes| notes.chunk_steps += 1, "trace: metadata.aegis.chunk_steps: ");
    for place in 0..notes.arms.len() {
        let what = describe(set.key, &notes.arms[place].arm);
        named(&|notes| notes.arms[place].arm = "other".into(), "trace: metadata.aegis.arms: ");
        named(&|notes| notes.arms[place].fired_before.push(39), &format!("{what}: trace: fired_before: "));
        for column in notes.arms[place].columns.keys() {
            let line = format!("{what}: trace: {column}: its rows have");
            let edit = |notes: &mut aegis_experiments::data::trace::Notes| {
                notes.arms[place].columns.insert(column.clone(), "00".into());
            };
            named(&edit, &line);
        }
    }
    named(&|notes| drop(notes.arms.pop()), "trace: metadata.aegis.arms: ");
    named(&|notes| notes.arms[3].fired_before.clear(), ": fires: the store has");
    // A file that is not a trace of a known layout is refused before any check.
    let mut later = trace.clone();
    later.notes.as_mut().unwrap().schema = 9;
    let error = TraceFile::read(later.parquet().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "metadata.aegis.schema: found 9; valid is 2");
    assert!(TraceFile::read(b"no trace".to_vec()).unwrap_err().to_string().starts_with("not a step trace: "));
}

#[test]
fn a_trace_of_layout_1_is_checked_as_far_as_it_determines_figures() {
    let folder = folder("layout-1");
    drop(Store::open(&folder.join(STORE), BELONGS).unwrap());
    unseal(&folder.join(STORE));
    run(&folder, &keys(), true, 2);
    let store = read(&folder);
    assert!(store.chain().unwrap().is_none(), "a store without seals goes on without them");
    for set in store.sets().unwrap() {
        let trace = trace_of(&folder, &set);
        assert_eq!(trace.layout(), Layout::One);
        let found = verify(&set, &trace, &arms(), &settings().gate, None);
        assert_eq!(found.wrong, Vec::<String>::new());
        assert!(found.unchecked.contains(&"fires of a gate that is not obeyed"), "{:?}", found.unchecked);
        for (place, arm) in arms().iter().enumerate() {
            let name = arm.name.as_str();
            for (field, edit) in FIGURES {
                let found = wrong(&edited(&set, place, edit), &trace);
                // Layout 1 cannot verify the fires of the shadow arm, or every score, prefix and path of the weak arm.
                let own = ["scores[0]", "prefixes[0]", "path"].contains(&field);
                let held = match (name, field) {
                    ("shadow", "fires") => false,
                    ("weak", _) if own => !found.is_empty(),
                    (_, "path") => !found.is_empty(),
                    _ => true,
                };
                let line = format!("{}: {field}: the store has", describe(set.key, name));
                let named = found.iter().any(|one| one.starts_with(&line));
                assert!(named || !held || name == "weak" && own, "{name} {field}: {found:?}");
            }
        }
    }
}

/// Edits of every column of every table of a store.
const EDITS: [&str; 20] = [
    "UPDATE episodes SET task = 7 WHERE rowid = 1",
    "UPDATE episodes SET initial_state = 77 WHERE rowid = 1",
    "UPDATE episodes SET replicate = 7 WHERE rowid = 1",
    "UPDATE episodes SET arm = 'other' WHERE rowid = 1",
    "UPDATE episodes SET place = 77 WHERE rowid = 1",
    "UPDATE episodes SET result = replace(result, '\"steps\":', '\"steps\":1') WHERE rowid = 1",
    "UPDATE traces SET task = 7 WHERE rowid = 1",
    "UPDATE traces SET initial_state = 77 WHERE rowid = 1",
    "UPDATE traces SET replicate = 7 WHERE rowid = 1",
    "UPDATE traces SET sha256 = '00' WHERE rowid = 1",
    "UPDATE interruptions SET what = 'other'",
    "UPDATE interruptions SET reason = 'other'",
    "UPDATE seals SET place = 77 WHERE place = 2",
    "UPDATE seals SET task = 7 WHERE place = 2",
    "UPDATE seals SET initial_state = 77 WHERE place = 2",
    "UPDATE seals SET replicate = 7 WHERE place = 2",
    "UPDATE seals SET seal = '00' WHERE place = 2",
    "UPDATE seals SET seal = '00' WHERE place = (SELECT max(place) FROM seals)",
    "UPDATE seals SET interruption = 7 WHERE interruption IS NOT NULL",
    "UPDATE seals SET lock = '00' WHERE place = 2",
];

const REMOVALS: [&str; 5] = [
    "DELETE FROM episodes WHERE rowid = 1",
    "DELETE FROM traces WHERE rowid = 1",
    "DELETE FROM interruptions",
    "DELETE FROM seals WHERE place = 2",
    "INSERT INTO interruptions VALUES ('another', 'reason')",
];

#[test]
fn every_column_of_a_store_that_was_edited_breaks_its_chain() {
    let folder = folder("columns");
    run(&folder, &keys()[..2], true, 1);
    Store::open(&folder.join(STORE), BELONGS).unwrap().interrupted("an episode", "unplugged").unwrap();
    run(&folder, &keys(), true, 2);
    let whole = chain(&folder);
    assert_eq!((whole.seals, whole.wrong), (5, Vec::new()));
    let edited = |index: usize, edit: &str| {
        let path = folder.join(format!("edit-{index}.sqlite"));
        std::fs::copy(folder.join(STORE), &path).unwrap();
        assert!(Connection::open(&path).unwrap().execute(edit, []).unwrap() > 0, "{edit}");
        path
    };
    for (index, edit) in EDITS.iter().chain(&REMOVALS).enumerate() {
        let chain = Store::read(&edited(index, edit), BELONGS).unwrap().chain().unwrap().unwrap();
        assert!(!chain.wrong.is_empty(), "{edit}");
        let names = ["task ", "interruption "];
        assert!(names.iter().any(|name| chain.wrong[0].contains(name)), "{edit}: {:?}", chain.wrong);
    }
    for (index, (edit, field)) in [
        ("UPDATE store SET value = '9' WHERE name = 'schema'", "schema: found 9"),
        ("UPDATE store SET value = '1' WHERE name = 'belongs'", "belongs: found 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = Store::read(&edited(100 + index, edit), BELONGS).err().unwrap().to_string();
        assert!(error.contains(field), "{error}");
    }
    // Only the edited set is named, not the sets sealed after it.
    let path = edited(200, EDITS[9]);
    let wrong = Store::read(&path, BELONGS).unwrap().chain().unwrap().unwrap().wrong;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}

#[test]
fn merged_parts_are_sealed_anew_and_keep_their_last_seals() {
    let parts: Vec<PathBuf> = (1..=2)
        .map(|index| {
            let part = folder(&format!("part-{index}"));
            run(&part, &Shard { index, count: 2 }.of(&keys()), true, 1);
            part
        })
        .collect();
    let out = folder("merged").join("all");
    merge(&out, &parts, BELONGS, &keys(), None).unwrap();
    let whole = chain(&out);
    assert_eq!((whole.seals, whole.wrong), (4, Vec::new()));
    for (kept, part) in whole.parts.iter().zip(&parts) {
        assert_eq!((kept.sets, kept.seal.clone()), (2, Some(chain(part).head)));
    }
    for (index, edit) in [
        "UPDATE parts SET place = 77 WHERE place = 1",
        "UPDATE parts SET sets = 77 WHERE place = 1",
        "UPDATE parts SET seal = '00' WHERE place = 1",
        "DELETE FROM parts WHERE place = 1",
    ]
    .into_iter()
    .enumerate()
    {
        let path = out.join(format!("edit-{index}.sqlite"));
        std::fs::copy(out.join(STORE), &path).unwrap();
        assert!(Connection::open(&path).unwrap().execute(edit, []).unwrap() > 0, "{edit}");
        let chain = Store::read(&path, BELONGS).unwrap().chain().unwrap().unwrap();
        assert!(chain.wrong[0].starts_with("seal 1: "), "{edit}: {:?}", chain.wrong);
    }

    // A part without seals is accepted, and the merged store records that it has no seal.
    unseal(&parts[1].join(STORE));
    let mixed = out.with_file_name("mixed");
    merge(&mixed, &parts, BELONGS, &keys(), None).unwrap();
    assert_eq!(chain(&mixed).parts[1].seal, None);
    // A part that was edited after it was sealed is refused, and the error names the set.
    let edit = "UPDATE episodes SET result = replace(result, '\"fires\":0', '\"fires\":1') WHERE place = 0";
    Connection::open(parts[0].join(STORE)).unwrap().execute(edit, []).unwrap();
    let error = merge(&out.with_file_name("edited"), &parts, BELONGS, &keys(), None).unwrap_err().to_string();
    assert!(error.contains("integrity-part-1: seal 1: twins · task 0 · initial state 0"), "{error}");
}

#[test]
fn a_set_records_its_lock_in_a_part_and_in_a_merged_store() {
    let [older, newer] = ["older", "newer"].map(|name| folder(&format!("locks-{name}")));
    let halves = [1, 2].map(|index| Shard { index, count: 2 }.of(&keys()));
    run(&older, &halves[0], true, 1);
    // Converts the store to the previous version, which has no locks in its seals.
    let connection = Connection::open(older.join(STORE)).unwrap();
    let version = "ALTER TABLE seals DROP COLUMN lock; UPDATE store SET value = '2' WHERE name = 'schema'";
    connection.execute_batch(version).unwrap();
    drop(connection);
    assert_eq!(chain(&older).wrong, Vec::<String>::new());
    let locks = |folder: &Path| -> Vec<Option<String>> {
        read(folder).sets().unwrap().into_iter().map(|set| set.lock).collect()
    };
    assert_eq!(locks(&older), [None, None]);
    for (folder, keys, lock) in [(&older, keys()[..3].to_vec(), "one"), (&newer, halves[1].clone(), "two")] {
        let store = Store::open(&folder.join(STORE), BELONGS).unwrap().under(lock);
        let experiment = Experiment { folder, store, keys: &keys, arms: &arms() };
        experiment::run(experiment, 1, &settings(), &|_| Ok(open()), &|_: Progress<'_>| {}).unwrap();
        assert_eq!(chain(folder).wrong, Vec::<String>::new());
    }
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(locks(&older), [None, said("one"), None]);
    Connection::open(older.join(STORE))
        .unwrap()
        .execute_batch("DELETE FROM episodes WHERE initial_state = 1")
        .unwrap();
    assert!(chain(&older).wrong[0].contains("were edited"));
    let out = folder("locks-merged").join("all");
    let left = folder("locks-left");
    run(&left, &halves[0], true, 1);
    merge(&out, &[left, newer], BELONGS, &keys(), None).unwrap();
    assert_eq!(locks(&out), [None, said("two"), None, said("two")]);
    assert_eq!(chain(&out).wrong, Vec::<String>::new());
}

/// Runs every set again and compares the results with the stored sets after `edit`; returns the difference of each set.
fn again(folder: &Path, edit: &dyn Fn(&mut Vec<StoredSet>)) -> Vec<Option<String>> {
    let mut sets = read(folder).sets().unwrap();
    edit(&mut sets);
    let arms = arms();
    let jobs: Vec<Job<'_>> = sets.iter().map(|set| Job { folder, set, arms: &arms }).collect();
    rerun(&jobs, 2, &settings(), &|_| Ok(open()), &|_| {}).unwrap()
}

#[test]
fn a_second_run_equals_the_store_and_an_edit_is_named() {
    let folder = folder("again");
    run(&folder, &keys(), true, 1);
    assert_eq!(again(&folder, &|_| {}), [None, None, None, None]);
    for (place, arm) in arms().iter().enumerate() {
        for (field, edit) in FIGURES {
            let found = again(&folder, &|sets| sets[1] = edited(&sets[1], place, edit));
            let line = format!("{}: {field}: the store has", describe(keys()[1], arm.name.as_str()));
            assert!(found[1].as_ref().is_some_and(|found| found.starts_with(&line)), "{line}: {found:?}");
            assert_eq!((&found[0], &found[2], &found[3]), (&None, &None, &None));
        }
    }
    let found = again(&folder, &|sets| sets[2].trace = Some("00".into()));
    let line = format!("{}: trace: the store has SHA-256 00, run again it is ", describe(keys()[2], "twins"));
    assert!(found[2].as_ref().is_some_and(|found| found.starts_with(&line)), "{found:?}");
    let found = again(&folder, &|sets| drop(sets[0].episodes.pop()));
    assert!(
        found[0].as_ref().is_some_and(|found| found.contains("is in the plan and not in the store")),
        "{found:?}"
    );

    // A trace that was edited and whose digests were all recomputed; the first different field is named.
    let mut set = read(&folder).sets().unwrap().remove(1);
    let mut trace = trace_of(&folder, &set);
    trace.rows[3].action[0] += 0.001;
    let bytes = with_digests_made_again(trace, &set).parquet().unwrap();
    set.trace = Some(aegis_files::sha256_of(&bytes));
    std::fs::write(trace_path(&folder, set.key), bytes).unwrap();
    let found = again(&folder, &|sets| sets[1] = set.clone());
    let place = "the first difference is at arm weak, control step 3, action";
    assert!(found[1].as_ref().is_some_and(|found| found.ends_with(place)), "{found:?}");
}

#[test]
fn sets_without_forks_and_of_older_stores_are_run_again_alike() {
    let unforked = folder("again-unforked");
    run(&unforked, &keys(), false, 1);
    assert_eq!(again(&unforked, &|_| {}), [None, None, None, None]);
    let old = folder("again-old");
    drop(Store::open(&old.join(STORE), BELONGS).unwrap());
    unseal(&old.join(STORE));
    run(&old, &keys(), true, 1);
    assert_eq!(again(&old, &|_| {}), [None, None, None, None]);
}

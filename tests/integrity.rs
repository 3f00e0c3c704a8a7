//! Tests the integrity of a study. Edits of a store are found by seals, by traces and by running episodes again. External weight
//! files are checked like the model. A study in a read-only folder can be verified. Only one process at a time runs a study.
//! Uses real scenes and policies, a short horizon, and one recorded start of each of a few tasks.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_policies::{CardError, ModelCard, OnnxPolicy, OpenError};
use rusqlite::Connection;

use crate::common::{
    self, aegis, aegis_on_few_tasks, edit, folder, mode, refuses, repository, succeeds, unpack,
};
use crate::experiment::{merge, on, registered, report, run, small_plan};

/// Executes an SQL statement on a study's store.
///
/// # Panics
/// If the statement changes no row.
fn change(folder: &Path, sql: &str) {
    let store = Connection::open(folder.join("episodes.sqlite")).expect("the store opens");
    assert!(store.execute(sql, []).expect("valid SQL") > 0, "{sql} changes nothing");
}

/// Copies a study's folder, so that a test may edit the copy. Returns the path of the copy.
fn copy(from: &Path, to: PathBuf) -> PathBuf {
    let copied = Command::new("cp").arg("-r").arg(from).arg(&to).status().expect("cp starts");
    assert!(copied.success());
    to
}

/// Writes the report again, runs `verify`, which has to fail with exit code 1, and returns its standard error.
fn found(plan: &Path, folder: &Path, more: &[&str]) -> String {
    report(plan, folder);
    let output = on("verify", plan, folder).args(more).output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn what_was_edited_before_the_report_is_found_by_seals_traces_and_running_again() {
    let place = folder("integrity");
    let plan = registered(&place);
    let whole = place.join("whole");
    let ran = succeeds(&mut run(&plan, &whole));
    assert!(ran.contains("is the last of 4 seals"), "{ran}");
    report(&plan, &whole);
    let said = succeeds(on("verify", &plan, &whole).args(["--rerun", "all"]));
    for word in
        ["4 seals were computed again", "4 step traces", "4 of 4 stored sets were run again", "verified"]
    {
        assert!(said.contains(word), "{word:?} is missing from: {said}");
    }
    assert!(!said.contains("does not determine"), "{said}");

    // Change six outcomes and write the report again; the report then seals the bytes of the edited store.
    let flipped = copy(&whole, place.join("flipped"));
    change(
        &flipped,
        "UPDATE episodes SET result = replace(result, '\"success\":false', '\"success\":true') WHERE rowid IN \
         (SELECT rowid FROM episodes WHERE result LIKE '%\"success\":false%' LIMIT 6)",
    );
    let wrong = found(&plan, &flipped, &["--rerun", "all"]);
    let count = |word: &str| wrong.lines().filter(|line| line.contains(word)).count();
    assert_eq!(count("success: the store has true, its trace gives false"), 6, "{wrong}");
    assert!(count("were edited after they were stored") >= 1, "{wrong}");
    assert!(count("success: the store has true, run again it is false") >= 1, "{wrong}");

    // Edit each key column of one episode, and the rows of the other tables.
    for (index, (sql, named)) in [
        ("UPDATE episodes SET task = 77 WHERE rowid = 1", "task 77"),
        ("UPDATE episodes SET initial_state = 77 WHERE rowid = 1", "initial state 77"),
        ("UPDATE episodes SET replicate = 7 WHERE rowid = 1", "replicate 7"),
        ("UPDATE episodes SET arm = 'strong2' WHERE arm = 'strong' AND task = 0", "strong · task 0"),
        ("UPDATE traces SET sha256 = '00' WHERE task = 0", "task00-state0045-replicate0.parquet"),
        ("UPDATE seals SET seal = '00' WHERE place = 2", "seal 2"),
        ("UPDATE store SET value = '9' WHERE name = 'schema'", "schema: found 9"),
    ]
    .into_iter()
    .enumerate()
    {
        let edited = copy(&whole, place.join(format!("edited-{index}")));
        change(&edited, sql);
        let output = on("verify", &plan, &edited).output().expect("the binary starts");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success() && said.contains(named), "{sql}: {said}");
        std::fs::remove_dir_all(edited).expect("a copy can be removed");
    }
    let added = copy(&whole, place.join("added"));
    let store = Connection::open(added.join("episodes.sqlite")).expect("a store");
    store.execute_batch("CREATE TABLE notes (text TEXT); CREATE VIEW won AS SELECT 1;").expect("valid SQL");
    drop(store);
    let wrong = found(&plan, &added, &[]);
    assert!(
        wrong.contains("found table notes in the store") && wrong.contains("found view won in the store"),
        "{wrong}"
    );
    let place_edited = copy(&whole, place.join("edited-place"));
    change(&place_edited, "UPDATE episodes SET place = 77 WHERE rowid = 1");
    assert!(found(&plan, &place_edited, &[]).contains(": place: the store has"));

    // Change one result field. Without traces, running the episode again finds the change.
    let bare = copy(&whole, place.join("bare"));
    std::fs::remove_dir_all(bare.join("traces")).expect("traces can be removed");
    refuses(&mut on("verify", &plan, &bare), 1, &["found no step traces", "--without-traces", "--rerun N"]);
    let said = succeeds(on("verify", &plan, &bare).arg("--without-traces"));
    assert!(said.contains("step traces are missing") && said.contains("`--rerun N`"), "{said}");
    change(
        &bare,
        "UPDATE episodes SET result = replace(result, '\"fires\":', '\"fires\":1') WHERE arm = 'aegis' AND task = 2",
    );
    let wrong = found(&plan, &bare, &["--without-traces", "--rerun", "all"]);
    let named = "aegis · task 2 · initial state 45 · replicate 0: fires: the store has 1";
    assert!(wrong.contains(named), "{wrong}");
    refuses(
        on("verify", &plan, &bare).args(["--rerun", "0"]),
        2,
        &["--rerun", "valid is a number from 1 on, or all"],
    );
}

/// Returns the command without the capabilities by which root ignores file permissions, so that read-only folders are read-only
/// for root too.
fn without_privilege(command: &Command) -> Command {
    let root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
    if !root {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        return same;
    }
    let mut unprivileged = Command::new("setpriv");
    let caps = "-dac_override,-dac_read_search";
    unprivileged.args(["--bounding-set", caps, "--inh-caps", caps]).arg(command.get_program());
    unprivileged.args(command.get_args());
    unprivileged.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    unprivileged
}

#[test]
fn a_study_in_a_folder_that_cannot_be_written_is_reported_verified_and_replayed() {
    let place = folder("integrity-read-only");
    let plan = registered(&place);
    let out = place.join("out");
    succeeds(&mut run(&plan, &out));
    let read_only =
        |open: bool| [&out, &out.join("traces")].map(|folder| mode(folder, if open { 0o755 } else { 0o555 }));
    // Remove the files that SQLite leaves beside a store that was read in a writable folder.
    let tidy =
        || ["-wal", "-shm"].map(|end| drop(std::fs::remove_file(out.join(format!("episodes.sqlite{end}")))));
    tidy();
    // Without a stored report, the report is printed, and a message names the file that could not be written.
    read_only(false);
    let output = without_privilege(&on("report", &plan, &out)).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    read_only(true);
    assert!(output.status.success() && said.contains("report.json: cannot write"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("# "), "the page is printed");
    assert!(!out.join("report.json").exists());

    let expected = report(&plan, &out);
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&out).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    };
    tidy();
    let before = files();
    read_only(false);
    let reported = without_privilege(&on("report", &plan, &out)).output().expect("it starts");
    let verified = without_privilege(&on("verify", &plan, &out)).output().expect("it starts");
    let mut replay = aegis_on_few_tasks();
    let recording = place.join("one.rrd");
    replay
        .arg("replay")
        .arg(&out)
        .args(["--episode", "0/45", "--plan"])
        .arg(&plan)
        .arg("--rrd")
        .arg(&recording);
    let replayed = without_privilege(&replay).output().expect("it starts");
    let merged = place.join("merged");
    let together =
        without_privilege(&merge(&plan, std::slice::from_ref(&out), &merged)).output().expect("it starts");
    read_only(true);
    for output in [&reported, &verified, &replayed, &together] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!String::from_utf8_lossy(&reported.stderr).contains("cannot write"), "it was there already");
    assert!(String::from_utf8_lossy(&verified.stdout).contains("verified"));
    assert!(recording.is_file());
    assert_eq!(files(), before, "nothing was left behind");
    assert!(report(&plan, &out) == expected);
    assert!(report(&plan, &merged) == expected, "put together from a folder that is only read");

    // Verifying creates no files in a writable folder either, and states that recordings are not checked.
    std::fs::create_dir(out.join("recordings")).expect("the folder can be made");
    let before = files();
    let said = succeeds(&mut on("verify", &plan, &out));
    assert!(said.contains("recordings: not checked"), "{said}");
    assert_eq!(files(), before);
    // A write-ahead log that is not empty means that the store was not closed.
    let log = out.join("episodes.sqlite-wal");
    std::fs::write(&log, "garbage").expect("the file can be written");
    let with_log = files();
    refuses(
        &mut on("verify", &plan, &out),
        1,
        &["episodes.sqlite-wal, the log of a run that was killed or still runs"],
    );
    assert_eq!((files(), std::fs::read(&log).expect("the log")), (with_log, b"garbage".to_vec()));
    std::fs::remove_file(&log).expect("the file can be removed");
    // A refused store of another registration is left unchanged.
    let alien = place.join("alien");
    std::fs::create_dir(&alien).expect("the folder can be made");
    std::fs::copy(out.join("episodes.sqlite"), alien.join("episodes.sqlite")).expect("copied");
    change(&alien, "UPDATE store SET value = 'another' WHERE name = 'belongs'");
    refuses(&mut on("report", &plan, &alien), 2, &["belongs: found another"]);
    assert_eq!(std::fs::read_dir(&alien).expect("the folder").count(), 1, "nothing was left behind");

    // A journal that a killed run left behind is an error.
    std::fs::write(out.join("episodes.sqlite-journal"), "left").expect("the file can be written");
    tidy();
    read_only(false);
    for verb in ["report", "verify"] {
        let output = without_privilege(&on(verb, &plan, &out)).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("episodes.sqlite-journal, the log of a run"),
            "{verb}: {said}"
        );
    }
    read_only(true);
}

#[test]
fn a_second_run_into_one_folder_is_refused_and_what_a_killed_one_left_is_in_nobodys_way() {
    let place = folder("integrity-twice");
    let plan = registered(&place);
    let out = place.join("out");
    std::fs::create_dir(&out).expect("the folder can be made");
    let lock = out.join("run.lock");
    // Another run holds the lock of the file. A killed run leaves the text in the file, but no lock.
    let other = "process 7 on another-machine since 2026-01-02T03:04:05Z";
    std::fs::write(&lock, format!("{other}\n")).expect("the file can be written");
    let held = std::fs::File::open(&lock).expect("the file opens");
    held.lock().expect("nobody has it");
    refuses(
        &mut run(&plan, &out),
        2,
        &["out: found a run of process 7 on another-machine", other, "another --out"],
    );
    assert!(!out.join("episodes.sqlite").exists(), "nothing was begun");
    drop(held);
    succeeds(&mut run(&plan, &out));
    assert_eq!(std::fs::read_to_string(&lock).expect("it stays"), "", "nobody has the folder");
    report(&plan, &out);
    assert!(succeeds(&mut on("verify", &plan, &out)).contains("verified"));
}

#[test]
fn sets_of_the_shipped_study_are_run_again_from_its_stores_alone() {
    let (shipped, place) = (repository().join("experiments/study"), folder("integrity-shipped"));
    for name in ["report.json", "report.md", "report.html", "episodes.sqlite.sha256"] {
        std::fs::copy(shipped.join(name), place.join(name)).expect("the report is shipped");
    }
    std::fs::create_dir(place.join("precondition")).expect("the folder can be made");
    for name in ["episodes.sqlite", "precondition/episodes.sqlite"] {
        unpack(&shipped.join(format!("{name}.gz")), &place.join(name));
    }
    let mut verify = aegis();
    verify.args(["experiment", "verify", "--without-traces", "--rerun", "3", "--plan"]);
    let said = succeeds(verify.arg(repository().join("experiments/study.toml")).arg(&place));
    for word in [
        "has no seals",
        "step traces are missing, their 700 digests are in the store",
        "3 of 1100 stored sets were run again, drawn by seed 1: 3 equal the stored ones, bit for bit",
        "verified",
    ] {
        assert!(said.contains(word), "{word:?} is missing from: {said}");
    }
}

/// Copies the fixture model with external weights and its card into `folder`. Returns the path of the card.
fn beside(folder: &Path) -> PathBuf {
    for name in ["beside.toml", "beside.onnx", "beside.onnx.data"] {
        let fixture = repository().join("tests/fixtures").join(name);
        std::fs::copy(fixture, folder.join(name)).expect("the fixture can be copied");
    }
    folder.join("beside.toml")
}

/// Returns the error with which a card or its weights are refused.
fn refused(card: &Path) -> CardError {
    ModelCard::load(card).and_then(|card| card.weights()).expect_err("it is refused")
}

#[test]
fn weights_in_another_file_are_read_beside_the_model_and_held_by_its_digest() {
    let place = folder("integrity-external");
    let card = beside(&place);
    let loaded = ModelCard::load(&card).unwrap();
    let weights = loaded.weights().unwrap();
    assert_eq!(weights.external.keys().collect::<Vec<_>>(), ["beside.onnx.data"]);
    let whole = ModelCard::load(&repository().join("policies/models/weak.toml")).unwrap();
    assert_eq!(whole.model_sha256(), whole.sha256, "a model in one file keeps its digest");
    let digest = loaded.model_sha256();
    assert_ne!(digest, loaded.sha256);

    // The weights are read from the file beside the model, whatever the working directory.
    let mut policy = OnnxPolicy::open(&common::runtime(), &card).unwrap();
    let mut vector = vec![0.0; 88];
    vector[0] = 2.0;
    let chunk = policy.infer_encoded(&vector, &[]).unwrap().chunk;
    let (first, last) = (chunk.action(0).unwrap()[0], chunk.action(9).unwrap()[6]);
    assert!((first - 0.02).abs() < 1e-6 && (last - 1.4).abs() < 1e-6, "{first} {last}");

    let data = place.join("beside.onnx.data");
    let bytes = std::fs::read(&data).unwrap();
    let mut other = bytes.clone();
    other[5] ^= 1;
    std::fs::write(&data, &other).unwrap();
    assert!(matches!(refused(&card), CardError::Digest { path, .. } if path == data));
    let opened = OnnxPolicy::open(&common::runtime(), &card).err().expect("it is refused");
    assert!(matches!(opened, OpenError::Card(CardError::Digest { .. })), "{opened}");
    std::fs::remove_file(&data).unwrap();
    assert!(matches!(refused(&card), CardError::Read { path, .. } if path == data));

    // A symbolic link to a file outside the model's folder.
    let outside = folder("integrity-outside").join("beside.onnx.data");
    std::fs::write(&outside, &bytes).unwrap();
    std::os::unix::fs::symlink(&outside, &data).unwrap();
    assert!(refused(&card).to_string().contains("valid is a file in the model's folder or below it"));
    std::fs::remove_file(&data).unwrap();
    std::fs::write(&data, &bytes).unwrap();

    // A card that names another file, or no file. The model's digest follows the card.
    edit(&card, "file = \"beside.onnx.data\"", "file = \"other.data\"");
    assert!(
        refused(&card)
            .to_string()
            .contains("external: found other.data; valid are the files that beside.onnx reads")
    );
    assert_ne!(ModelCard::load(&card).unwrap().model_sha256(), digest);
    let text = std::fs::read_to_string(&card).unwrap();
    let begin = text.find("[[external]]").unwrap();
    let end = text.find("[observation]").unwrap();
    std::fs::write(&card, format!("{}{}", &text[..begin], &text[end..])).unwrap();
    assert!(
        refused(&card).to_string().contains("beside.onnx.data: missing; beside.onnx keeps weights in it")
    );

    // A model whose external data lies outside its folder.
    let model = place.join("beside.onnx");
    let leaves: Vec<u8> = replaced(&std::fs::read(&model).unwrap(), b"beside.onnx.data", b"../side.onnxdata");
    std::fs::write(&model, &leaves).unwrap();
    let sha256 = aegis_files::sha256(&model).unwrap();
    edit(&card, &loaded.sha256, &sha256);
    let error = refused(&card).to_string();
    assert!(
        error.contains("beside.onnx: tensor weights: external data: location: found \"../side.onnxdata\""),
        "{error}"
    );
}

#[test]
fn a_model_with_weights_in_another_file_is_inspected_and_tapped_beside_it() {
    let place = folder("integrity-tapped");
    let card = beside(&place);
    let model = place.join("beside.onnx");
    let json = |arguments: &[&str], out: Option<&Path>| {
        let mut command = common::aegis();
        command.args(["model", arguments[0]]).arg(&model).args(&arguments[1..]).arg("--json");
        if let Some(out) = out {
            command.arg("--out").arg(out);
        }
        serde_json::from_str::<serde_json::Value>(&succeeds(&mut command)).expect("JSON")
    };
    let data = place.join("beside.onnx.data");
    let digest = aegis_files::sha256(&data).unwrap();
    let external = serde_json::json!([{ "file": "beside.onnx.data", "sha256": digest }]);
    assert_eq!(json(&["inspect"], None)["external"], external);
    let out = place.join("tapped.onnx");
    let tap = ["tap", "--tensor", "row", "--pool", "none"];
    let tapped = json(&tap, Some(&out));
    assert_eq!((&tapped["external"], &tapped["output"]), (&external, &"row".into()), "{tapped}");
    // A card of the tapped model opens, with the weight file of the source model.
    edit(&card, "file = \"beside.onnx\"", "file = \"tapped.onnx\"");
    let old = aegis_files::sha256(&model).unwrap();
    edit(&card, &old, tapped["sha256"].as_str().unwrap());
    OnnxPolicy::open(&common::runtime(), &card).unwrap();

    let elsewhere = folder("integrity-tapped-elsewhere").join("tapped.onnx");
    let mut command = common::aegis();
    command.args(["model"]).args(["tap"]).arg(&model).args(&tap[1..]).arg("--out").arg(&elsewhere);
    refuses(
        &mut command,
        2,
        &["--out: ", "found another folder", "beside.onnx.data", "valid is a name in the model's folder"],
    );
    std::fs::remove_file(&data).unwrap();
    let mut command = common::aegis();
    refuses(command.args(["model", "inspect"]).arg(&model), 2, &["beside.onnx.data: cannot read"]);
}

/// Returns a copy of `bytes` with the first occurrence of `from` replaced by `to`.
///
/// # Panics
/// If `bytes` does not contain `from`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn a_registration_names_each_file_of_a_model_and_the_working_folder_is_not_read() {
    let place = folder("integrity-registered");
    let plan = small_plan(&place);
    let models = place.join("policies/models");
    beside(&models);
    edit(&plan, "strong = \"../policies/models/strong.toml\"", "strong = \"../policies/models/beside.toml\"");
    let check = |verb: &str| {
        let mut command = aegis_on_few_tasks();
        command.args(["plan", verb]).arg(&plan);
        command
    };
    succeeds(&mut check("register"));
    let lock = std::fs::read_to_string(plan.with_extension("lock.toml")).unwrap();
    assert!(lock.contains("strong external data beside.onnx.data"), "{lock}");
    succeeds(&mut check("check"));

    // A file of the same name in the working directory is never read, not even if the real file is missing.
    let elsewhere = folder("integrity-elsewhere");
    let data = models.join("beside.onnx.data");
    let bytes = std::fs::read(&data).unwrap();
    std::fs::write(elsewhere.join("beside.onnx.data"), vec![0; bytes.len()]).unwrap();
    let doctor = || {
        let mut command = aegis_on_few_tasks();
        command.args(["doctor", "--json", "--plan"]).arg(&plan).current_dir(&elsewhere);
        let output = command.output().expect("the binary starts");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = said["checks"].as_array().expect("a list").clone();
        let strong = checks.into_iter().find(|one| one["name"] == "strong policy").expect("it is looked at");
        (strong["ok"].clone(), strong["found"].as_str().expect("text").to_owned())
    };
    let (ok, said) = doctor();
    assert!(ok == true && said.contains("runs on cpu"), "{said}");
    std::fs::remove_file(&data).unwrap();
    let (ok, said) = doctor();
    assert!(ok == false && said.contains("policies/models/beside.onnx.data: cannot read"), "{said}");

    let mut other = bytes.clone();
    other[5] ^= 1;
    std::fs::write(&data, &other).unwrap();
    refuses(
        &mut check("check"),
        2,
        &["beside.onnx.data: SHA-256 (strong external data beside.onnx.data): registered"],
    );
    std::fs::write(&data, &bytes).unwrap();
    succeeds(&mut check("check"));
}

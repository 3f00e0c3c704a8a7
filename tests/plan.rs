//! Tests `aegis plan`: new, register, check and amend. Every change after registration has to be named.
//! The tests change copies of the shipped models and plan.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_probe::StateRange;
use aegis_probe::origin::Starts;

use crate::common::{self, aegis, copy_of_study, edit, folder, refuses};
use serde_json::Value;

fn plan(verb: &str, plan: &Path) -> Command {
    let mut command = aegis();
    command.args(["plan", verb]).arg(plan);
    command
}

fn runs(command: &mut Command) -> Value {
    let output = command.arg("--json").output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Copies the template plan beside copies of the shipped models. Returns the folder and the path of the plan.
fn new_study(name: &str) -> (PathBuf, PathBuf) {
    let folder = folder(name);
    copy_of_study(&folder);
    let path = folder.join("experiments/study.toml");
    let template = common::repository().join("experiments/template.toml");
    std::fs::copy(template, &path).expect("the template can be copied");
    (folder, path)
}

#[test]
fn a_new_plan_can_be_registered_where_it_was_written() {
    let path = folder("new-plan").join("deep/study.toml");
    let made = aegis().args(["plan", "new", "--out"]).arg(&path).output().expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    refuses(aegis().args(["plan", "new", "--out"]).arg(&path), 2, &["study.toml", "is there already"]);
    let registered = runs(&mut plan("register", &path));
    let checked = runs(&mut plan("check", &path));
    assert_eq!(registered, checked);
    assert!(path.with_extension("lock.toml").exists());
}

#[test]
fn a_policy_without_a_class_for_every_task_is_refused_before_anything_runs() {
    let (folder, path) = new_study("plan-classes");
    let card = folder.join("policies/models/strong.toml");
    let older = "[observation]\ntensor = \"observation\"\nlayout = \"libero-lowdim-v1\"\nwidth = 88\n";
    let newer = "[[inputs]]\ntensor = \"observation\"\nkind = \"vector\"\nterms = [{ feature = \"task\", one_hot = 8 }]\n";
    edit(&card, older, newer);
    let said = [
        "strong.toml: inputs[0].terms[0].one_hot: found 8, the number of classes of task; valid is 10 or more",
        "study.toml runs task 9 of suite libero_spatial",
    ];
    refuses(&mut plan("register", &path), 2, &said);
    let mut collect = aegis();
    collect.args(["collect", "calibration", "--out"]).arg(folder.join("never.parquet"));
    refuses(collect.arg("--plan").arg(&path), 2, &said);
}

#[test]
fn each_byte_that_changes_is_named() {
    let (folder, path) = new_study("plan-bytes");
    let lock = path.with_extension("lock.toml");
    refuses(&mut plan("check", &path), 2, &["study.lock.toml: found no lock", "`aegis plan register"]);
    let first = runs(&mut plan("register", &path));
    let written = std::fs::read(&lock).expect("the lock is there");
    refuses(&mut plan("register", &path), 2, &["study.lock.toml", "aegis plan amend"]);
    assert_eq!(std::fs::read(&lock).expect("the lock is there"), written, "a lock is never overwritten");

    // Comments may change.
    edit(&path, "# Rules of arms", "# The rules of arms");
    assert_eq!(runs(&mut plan("check", &path))["seal"], first["seal"]);

    let differs = |file: &Path, from: &str, to: &str, words: &[&str]| {
        let whole = std::fs::read(file).expect("the file can be read");
        edit(file, from, to);
        refuses(
            &mut plan("check", &path),
            2,
            &[&["study.toml: differs from its registration"], words].concat(),
        );
        std::fs::write(file, whole).expect("the file can be written");
    };
    let models = folder.join("policies/models");
    differs(
        &path,
        "duty_cap = 0.75",
        "duty_cap = 0.76",
        &["plan: gate.duty_cap: registered 0.75, found 0.76"],
    );
    differs(&path, "alpha = 0.05", "alpha = 0.06", &["plan: study.alpha: registered 0.05, found 0.06"]);
    differs(&models.join("probe.json"), "\"schema\":2", "\"schema\": 2", &["probe.json: SHA-256 (probe)"]);
    differs(
        &models.join("weak.toml"),
        "the weak policy",
        "the Weak policy",
        &["weak.toml: SHA-256 (weak card)"],
    );
    assert_eq!(runs(&mut plan("check", &path))["seal"], first["seal"], "everything is as it was");

    let weights = models.join("strong.onnx");
    let mut bytes = std::fs::read(&weights).expect("the model can be read");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&weights, bytes).expect("the model can be written");
    refuses(&mut plan("check", &path), 2, &["strong.onnx: SHA-256 (strong weights): registered 5924ae"]);
    // The changed weights can be neither amended nor registered, because they do not match the card's digest.
    let mut amend = plan("amend", &path);
    amend.args(["--why", "a better one", "--nothing-ran"]);
    refuses(&mut amend, 2, &["strong.onnx", "that in the card"]);
    std::fs::remove_file(&lock).expect("the lock can be removed");
    refuses(&mut plan("register", &path), 2, &["strong.onnx", "that in the card"]);
    assert!(!lock.exists(), "a refused registration leaves no lock");
}

#[test]
fn scenes_and_libraries_are_held_too() {
    let (folder, path) = new_study("plan-scenes");
    runs(&mut plan("register", &path));

    let scenes = folder.join("scenes");
    std::fs::create_dir(&scenes).expect("the folder can be made");
    for name in ["tasks", "assets"] {
        symlink(common::scenes().join(name), scenes.join(name)).expect("a link can be made");
    }
    let suite = std::fs::read_to_string(common::scenes().join("suite.json")).expect("the suite can be read");
    std::fs::write(scenes.join("suite.json"), &suite).expect("the suite can be written");
    let check = || {
        let mut command = plan("check", &path);
        command.env("AEGIS_SCENES", &scenes);
        command
    };
    runs(&mut check());
    std::fs::write(scenes.join("suite.json"), suite + "\n").expect("the suite can be written");
    refuses(&mut check(), 2, &["scenes/libero_spatial/suite.json: SHA-256"]);

    let library = folder.join("libonnxruntime.so.9.9.9");
    std::fs::write(&library, "no library").expect("the file can be written");
    let mut other = plan("check", &path);
    refuses(
        other.env("AEGIS_ORT_LIBRARY", &library),
        2,
        &["versions: onnx runtime: registered 1.32.0, found 9.9.9"],
    );
}

#[test]
fn an_amendment_says_whether_data_had_been_seen() {
    let (_, path) = new_study("plan-amend");
    let lock = path.with_extension("lock.toml");
    runs(&mut plan("register", &path));
    let amend = |why: &str, results: &Path| {
        let mut command = plan("amend", &path);
        command.args(["--why", why, "--results"]).arg(results);
        command
    };
    let results = path.with_file_name("runs");
    edit(&path, "duty_cap = 0.75", "duty_cap = 0.8");
    // A missing results folder is refused, because a mistyped name would count zero episodes.
    refuses(&mut amend("more help", &results), 2, &["runs: found nothing", "--results", "--nothing-ran"]);
    std::fs::create_dir(&results).expect("the folder can be made");
    // A folder without results is refused for the same reason.
    refuses(
        &mut amend("longer holds", &results),
        2,
        &["runs: found no results", "--results", "--nothing-ran"],
    );
    let row = |state| {
        format!("{{\"key\":{{\"start\":{{\"task\":0,\"initial_state\":{state}}},\"replicate\":0}}}}\n")
    };
    std::fs::write(results.join("episodes.jsonl"), row(400)).expect("written");
    refuses(&mut amend(" ", &results), 2, &["study.lock.toml", "why"]);
    let first = runs(&mut amend("more help", &results));
    assert_eq!(first["amendments"][0]["episodes_seen"], 0);
    assert_eq!(first["amendments"][0]["changes"][0]["field"], "gate.duty_cap");

    refuses(&mut amend("for nothing", &results), 2, &["study.lock.toml", "found no difference"]);
    refuses(
        &mut amend("typo.\n\n## Verdict: holds", &results),
        2,
        &["study.lock.toml: why: found the character '\\n'", "one line of words"],
    );
    // Starts of the tuning range, on which settings were chosen, may not become starts of the confirmation range.
    let whole = std::fs::read_to_string(&path).expect("the plan can be read");
    edit(&path, "tuning = { first = 400, end = 440", "tuning = { first = 600, end = 640");
    edit(&path, "confirmation = { first = 500, end = 540", "confirmation = { first = 400, end = 440");
    refuses(
        &mut amend("the other way round", &results),
        2,
        &["study.toml: ranges.confirmation: found first 400", "400 to 439 were starts of ranges.tuning"],
    );
    std::fs::write(&path, whole).expect("the plan can be written");
    // One episode of the confirmation range and one of the tuning range.
    std::fs::write(results.join("episodes.jsonl"), row(500) + &row(400)).expect("written");
    edit(&path, "duty_cap = 0.8", "duty_cap = 0.9");
    // Results are searched beside the plan, whatever the working directory.
    let second = runs(plan("amend", &path).args(["--why", "still more"]).current_dir("/"));
    assert_eq!(second["amendments"][1]["episodes_seen"], 1);
    assert_eq!(second["amendments"][0], first["amendments"][0]);
    assert_eq!(runs(&mut plan("check", &path)), second);

    edit(&lock, "episodes_seen = 1", "episodes_seen = 0");
    refuses(&mut plan("check", &path), 2, &["study.lock.toml", "amendments[1]", "edited"]);
    refuses(&mut amend("again", &results), 2, &["study.lock.toml", "amendments[1]"]);
}

#[test]
fn files_that_came_from_a_start_of_the_confirmation_range_are_refused_whatever_the_plan_says() {
    let (folder, path) = new_study("plan-leaks");
    let lock = path.with_extension("lock.toml");
    let whole = std::fs::read_to_string(&path).expect("the plan can be read");
    let origins = folder.join("policies/models/origins.toml");
    let kept = std::fs::read(&origins).expect("it is shipped");
    for (range, claimed, file) in [
        (
            "discovery = { first = 200, end = 280",
            "first = 200, end = 201",
            "probe.json, by origins.toml beside it: discovery",
        ),
        (
            "training = { first = 50, end = 120",
            "first = 119, end = 130",
            "weak.toml, by origins.toml beside it: demonstrations",
        ),
    ] {
        edit(
            &path,
            range,
            &format!("{} = {{ first = 900, end = 910", range.split(' ').next().expect("a name")),
        );
        edit(&path, "confirmation = { first = 500, end = 540", &format!("confirmation = {{ {claimed}"));
        refuses(&mut plan("register", &path), 2, &["study.toml", file, "ranges.confirmation", "valid is"]);
        assert!(!lock.exists(), "a refused registration leaves no lock");
        std::fs::write(&path, &whole).expect("the plan can be written");
    }
    // Files that do not state their origin are registered with a warning, and checked once they state it.
    std::fs::remove_file(&origins).expect("the file can be removed");
    edit(&path, "discovery = { first = 200, end = 280", "discovery = { first = 900, end = 910");
    edit(&path, "confirmation = { first = 500, end = 540", "confirmation = { first = 200, end = 201");
    let registered = plan("register", &path).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&registered.stderr);
    assert!(registered.status.success() && said.contains("probe.json: discovery: does not state"), "{said}");
    std::fs::write(&origins, kept).expect("the file can be written");
    refuses(&mut plan("check", &path), 2, &["probe.json", "initial states 200", "ranges.confirmation"]);
    let mut verify = aegis();
    verify.args(["experiment", "verify", "--plan"]).arg(&path).arg(&folder);
    refuses(&mut verify, 2, &["probe.json", "initial states 200", "ranges.confirmation"]);
}

#[test]
fn a_statement_that_cannot_be_right_is_refused_and_a_name_does_not_hide_one() {
    let (folder, path) = new_study("plan-statements");
    let card = folder.join("policies/models/weak.toml");
    let whole = std::fs::read_to_string(&card).expect("the card can be read");
    let say = |name: &str, suite: &str, states: [usize; 2], seed: &str| {
        let [first, end] = states;
        let sha256 = Starts::of(StateRange { first, end: end.max(first), replicates: 1 }.keys([0])).sha256;
        let starts = format!("{{ tasks = [0], initial_states = [{states:?}], sha256 = \"{sha256}\" }}");
        let origin = format!("{{ suite = \"{suite}\", master_seed = 1, {seed}starts = {starts} }}");
        let text = format!("{whole}\n[[training.data]]\nfile = \"{name}\"\norigin = {origin}\n");
        std::fs::write(&card, text).expect("the card can be written");
    };
    let seed = "sample_seed = 20261125, ";
    for (name, suite, states, seed, words) in [
        (
            "demos",
            "libero_spatial",
            [501, 500],
            seed,
            ["training.data[1].origin.starts.initial_states", "[[501, 500]]"],
        ),
        (
            "demos",
            "LIBERO_SPATIAL",
            [500, 501],
            seed,
            ["weak.toml: demos: was made from initial states 500", "ranges.confirmation"],
        ),
        ("demos", "libero_spatial", [500, 501], "", ["found [500, 501] without a sample_seed", "up to 50"]),
        ("demos", "libero_spatial", [500, 501], seed, ["initial states 500", "ranges.confirmation"]),
        // The origin of training data is checked whatever the name of its file.
        ("calibration", "libero_spatial", [400, 401], seed, ["weak.toml: calibration", "ranges.tuning"]),
    ] {
        say(name, suite, states, seed);
        refuses(&mut plan("register", &path), 2, &words);
    }
    assert!(!path.with_extension("lock.toml").exists(), "a refused registration leaves no lock");
}

#[test]
fn a_statement_is_found_wherever_a_file_or_a_link_to_it_lies() {
    let (folder, path) = new_study("plan-elsewhere");
    let models = folder.join("policies/models");
    edit(&path, "training = { first = 50, end = 120", "training = { first = 900, end = 970");
    edit(&path, "confirmation = { first = 500, end = 540", "confirmation = { first = 60, end = 64");
    let leak = ["weak", "initial states 60", "ranges.confirmation"];
    refuses(&mut plan("register", &path), 2, &leak);
    // In capitals, the digest is the same.
    let origins = models.join("origins.toml");
    let sha256 = "d7c7989f4346f06d7c6a7736380d07dc11508a38faba6fcfc0d5498bf58fb794";
    edit(&origins, &format!("sha256 = \"{sha256}\""), &format!("sha256 = \"{}\"", sha256.to_uppercase()));
    refuses(&mut plan("register", &path), 2, &leak);
    // The card in another folder than its model, or a link to it.
    let cards = folder.join("cards");
    std::fs::create_dir(&cards).unwrap();
    let text = std::fs::read_to_string(models.join("weak.toml")).unwrap();
    let moved = text.replace("file = \"weak.onnx\"", "file = \"../policies/models/weak.onnx\"");
    std::fs::write(cards.join("weak.toml"), moved).unwrap();
    symlink(models.join("weak.toml"), cards.join("linked.toml")).unwrap();
    symlink(models.join("weak.onnx"), cards.join("weak.onnx")).unwrap();
    for name in ["weak.toml", "linked.toml"] {
        let (from, to) = ("weak = \"../policies/models/weak.toml\"", format!("weak = \"../cards/{name}\""));
        edit(&path, from, &to);
        refuses(
            &mut plan("register", &path),
            2,
            &["policies/models/origins.toml", "valid is that file beside it"],
        );
        edit(&path, &to, from);
    }
    // A link to nowhere is no absent file.
    std::fs::rename(&origins, models.join("kept.toml")).unwrap();
    symlink("nowhere.toml", &origins).unwrap();
    refuses(&mut plan("register", &path), 2, &["origins.toml", "cannot read"]);
    std::fs::remove_file(&origins).unwrap();
    std::fs::rename(models.join("kept.toml"), &origins).unwrap();
    // One statement of the card's own does not hide the others.
    let sha256 = Starts::of(StateRange { first: 0, end: 1, replicates: 1 }.keys([0])).sha256;
    let starts = format!("{{ tasks = [0], initial_states = [[0, 1]], sha256 = \"{sha256}\" }}");
    let own = format!("origin = {{ suite = \"libero_spatial\", master_seed = 1, starts = {starts} }}");
    let card = models.join("weak.toml");
    let say = |more: &str| std::fs::write(&card, format!("{text}\n{more}\n")).unwrap();
    say(&format!("[[training.data]]\nfile = \"mine\"\n{own}"));
    refuses(&mut plan("register", &path), 2, &leak);
    // A statement under a key that nobody reads is an error.
    say(&format!("[[training.data]]\nfile = \"mine\"\n{}", own.replace("origin =", "origins =")));
    refuses(&mut plan("register", &path), 2, &["training.data[1].origins", "valid is origin"]);
    let table = text.replacen("[[training.data]]", "[training.data]", 1);
    std::fs::write(&card, table.split("[success]").next().unwrap()).unwrap();
    refuses(&mut plan("register", &path), 2, &["training.data: found table", "[[training.data]]"]);
    assert!(!path.with_extension("lock.toml").exists());
}

#[test]
fn one_set_of_the_tuning_range_runs_before_a_plan_is_frozen() {
    let (_, path) = new_study("plan-trial");
    let lock = path.with_extension("lock.toml");
    // The policies cannot read this suite's observations, which only a trial run shows.
    edit(&path, "libero_spatial", "libero_goal");
    let words = [
        "study.toml",
        "one set of the tuning range · task 0 · initial state 400",
        "akita_black_bowl_2",
        "not frozen",
    ];
    refuses(&mut plan("register", &path), 2, &words);
    assert!(!lock.exists());
    let left_out =
        plan("register", &path).args(["--without-trial", "--json"]).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&left_out.stderr);
    for part in ["discovery", "calibration"] {
        let words = format!("{part}: made from suite libero_spatial, and the plan's suite is libero_goal");
        assert!(said.contains("warning: ") && said.contains(&words), "{words:?} is missing from: {said}");
    }
    let left_out: Value = serde_json::from_slice(&left_out.stdout).expect("JSON");
    assert!(left_out["notes"][0].as_str().is_some_and(|note| note.contains("--without-trial")), "{left_out}");
    std::fs::remove_file(&lock).expect("the lock can be removed");
    edit(&path, "libero_goal", "libero_spatial");
    let tried = runs(common::aegis_on_few_tasks().args(["plan", "register"]).arg(&path));
    let note = tried["notes"][0].as_str().expect("a note");
    assert!(note.contains("with all 6 arms: task 0, initial state 400"), "{note}");
}

#[test]
fn what_is_run_of_the_confirmation_range_is_said_and_noted_in_the_log() {
    let (folder, path) = new_study("plan-noted");
    let demo = |range: &str| {
        let mut command = common::aegis_on_few_tasks();
        command.args(["demo", "--episodes", "1", "--range", range, "--plan"]).arg(&path);
        let output = command.arg("--out").arg(folder.join("demo")).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let log = path.with_extension("seen.jsonl");
    assert!(!demo("tuning").contains("confirmation"));
    assert!(!log.exists());
    let said = demo("confirmation");
    for words in ["1 sets of the confirmation range", "study.seen.jsonl", "--range tuning"] {
        assert!(said.contains(words), "{words:?} is missing from: {said}");
    }
    let few = |verb: &str| {
        let mut command = common::aegis_on_few_tasks();
        command.args(["plan", verb]).arg(&path);
        command
    };
    // The error for an invalid line of the log names the line and the remedy.
    let noted = std::fs::read_to_string(&log).expect("it was noted");
    for (line, found) in
        [("", "line 2: found an empty line"), ("{\"when\": \"20", "line 2: found \"{\\\"when\\\": \\\"20\"")]
    {
        std::fs::write(&log, format!("{noted}{line}\n")).expect("the log can be written");
        refuses(
            few("register").arg("--without-trial"),
            2,
            &["study.seen.jsonl", found, "valid is {\"when\"", "cut off"],
        );
    }
    std::fs::write(&log, noted).expect("the log can be written");
    let registered = runs(few("register").arg("--without-trial"));
    let note = registered["notes"][1].as_str().expect("a note");
    assert!(note.contains("`aegis demo` ran 1 sets of the confirmation range, 500 to 539"), "{note}");
    assert!(demo("confirmation").contains("study.lock.toml"));
    let checked = runs(&mut few("check"));
    assert_eq!(checked["amendments"][0]["changes"], serde_json::json!([]));
    assert!(
        checked["amendments"][0]["why"].as_str().is_some_and(|why| why.contains("`aegis demo`")),
        "{checked}"
    );
}

#[test]
fn a_pilot_says_whether_budgets_will_match_and_advises_a_share() {
    let (_, path) = new_study("plan-pilot");
    edit(&path, "tuning = { first = 400, end = 440", "tuning = { first = 40, end = 42");
    edit(&path, "sample_seed", "tasks = [0, 2]\nsample_seed");
    edit(&path, "replicates = 10000", "replicates = 200");
    let found = runs(&mut plan("pilot", &path));
    assert_eq!((&found["sets"], &found["arms"][0]["success"]["n"]), (&4.into(), &4.into()));
    let advice = &found["advice"][0];
    assert_eq!(
        (&advice["arm"], &advice["like"], &advice["now"]),
        (&"blind".into(), &"aegis".into(), &1.0.into())
    );
    assert!(advice["wanted"].as_f64().is_some_and(|wanted| wanted > 0.0), "{found}");
    let said = plan("pilot", &path).args(["--sets", "2"]).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&said.stdout);
    for words in ["2 sets of the tuning range", "[study.rules.blind]", "duty_mismatch_points"] {
        assert!(said.contains(words), "{words:?} is missing from: {said}");
    }
    refuses(plan("pilot", &path).args(["--sets", "5"]), 2, &["--sets: found 5", "1 to 4"]);
}

#[test]
fn a_plan_without_a_study_is_not_registered() {
    let folder = folder("plan-without-study");
    let path = copy_of_study(&folder);
    refuses(&mut plan("register", &path), 2, &["demo.toml", "study", "aegis plan new"]);
    assert!(!path.with_extension("lock.toml").exists());
}

#[test]
fn power_is_exact_for_one_and_simulated_for_all() {
    let power = |effect: &str| {
        let mut command = aegis();
        command.args(["plan", "power", "--discordance", "0.15", "--alpha", "0.05", "--effect", effect]);
        command
    };
    let found = runs(&mut power("0.05"));
    let stats =
        runs(aegis().args(["stats", "power", "--recovered", "0.1", "--broken", "0.05", "--power", "0.8"]));
    assert_eq!(found["alone"]["stable"], stats["stable"]);
    let episodes = |key: &str, field: &str| found[key][field].as_u64().expect("a count");
    assert!(episodes("alone", "first") < episodes("bonferroni", "first"));
    // All three claims together need more episodes than the hardest Holm step alone.
    assert!(episodes("bonferroni", "first") < episodes("family", "episodes"));
    assert!(found["family"]["all"].as_f64().expect("a share") >= 0.8);
    assert_eq!(runs(&mut power("0.05")), found, "a seed gives the same power again");
    refuses(&mut power("0.2"), 2, &["--effect: found 0.2", "--discordance 0.15"]);
    refuses(
        power("0.05").args(["--success", "0.01"]),
        2,
        &["--success: found 0.01; valid is at least 0.1, and at most 1 less 0.0"],
    );
}

#[test]
fn a_plan_that_no_study_can_be_run_by_is_refused_before_it_is_frozen() {
    let (_, path) = new_study("plan-refused");
    let whole = std::fs::read_to_string(&path).expect("the plan can be read");
    for (from, to, words) in [
        // A missing arm of a contrast, an arm without a rule, an unknown key, overlapping ranges.
        (
            "\"random\", \"strong\"",
            "\"strong\"",
            ["study.contrasts[1].than", "found random", "an arm of study.arms"],
        ),
        ("\"strong\", \"aa\"", "\"strong\", \"late\"", ["study.rules.late", "found none", "one of its own"]),
        (
            "duty_points = 5.0",
            "duty_point = 5.0",
            ["unknown field `duty_point`", "duty_points", "study.toml"],
        ),
        ("first = 500", "first = 439", ["ranges.confirmation", "ranges.tuning", "disjoint"]),
        // A number that a lock cannot store exactly, and a number of episodes too large for memory.
        (
            "master_seed = 20260606",
            "master_seed = 10000000000000000000",
            ["master_seed", "at most", "study.toml"],
        ),
        (
            "end = 540, replicates = 1 ",
            "end = 540, replicates = 1000000000000 ",
            ["ranges.confirmation", "100000", "memory"],
        ),
        // Models with shorter chunks, a probe fitted at another spacing or with other settings, a schedule past the end of the
        // episode.
        (
            "chunk_steps = 10",
            "chunk_steps = 11",
            ["gate.chunk_steps: found 11", "valid is at most 10", "weak.toml"],
        ),
        (
            "chunk_steps = 10",
            "chunk_steps = 5",
            ["gate.chunk_steps: found 5", "valid is 10, at", "probe.json"],
        ),
        (
            "alpha = 0.10",
            "alpha = 0.20",
            ["probe.json: settings.alpha: found 0.1", "valid is 0.2", "fit.alpha"],
        ),
        ("at = [5, 9]", "at = [900]", ["study.rules.blind.schedule.at: found 900", "5 to 19", "never fire"]),
        // Plans that could run but give no answer: one model as both policies, and a level that no p of 400 sets reaches.
        (
            "strong = \"../policies/models/strong.toml\"",
            "strong = \"../policies/models/weak.toml\"",
            ["study.toml: models.strong: found", "weak.toml", "another model"],
        ),
        (
            "alpha = 0.05",
            "alpha = 1e-300",
            ["ranges.confirmation: found 400 sets", "study.alpha", "plan power"],
        ),
    ] {
        edit(&path, from, to);
        refuses(&mut plan("register", &path), 2, &words);
        assert!(!path.with_extension("lock.toml").exists());
        std::fs::write(&path, &whole).expect("the plan can be written");
    }
}

//! Runs a registered study through the binary: whole, in shards and under SIGKILL. The study is reported and verified, and
//! edited results must be found.
//! Uses real scenes and policies, a short horizon, and one recorded start of each of a few tasks.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{
    aegis_on_few_tasks as aegis, copy_of_study, edit, folder, refuses, repository, succeeds,
};
use aegis_experiments::data::lock_file::lock_path;

/// Creates a plan from the template with few episodes, beside copies of the shipped models. A test may damage all of them.
pub fn small_plan(folder: &Path) -> PathBuf {
    let plan = copy_of_study(folder).with_file_name("study.toml");
    std::fs::copy(repository().join("experiments/template.toml"), &plan).expect("the template can be copied");
    let text = std::fs::read_to_string(&plan).expect("the plan can be read");
    let small = text.lines().map(|line| match line.split(" = ").next() {
        Some("tuning") => "tuning = { first = 42, end = 45, replicates = 1 }",
        Some("confirmation") => "confirmation = { first = 45, end = 46, replicates = 1 }",
        Some("bootstrap") => "bootstrap = { replicates = 200, seed = 1, level = 0.95 }",
        _ => line,
    });
    std::fs::write(&plan, small.collect::<Vec<_>>().join("\n") + "\n").expect("the plan can be written");
    // A significance level that a contrast of so few episodes can reach.
    edit(&plan, "alpha = 0.05", "alpha = 0.20");
    plan
}

/// Creates the small plan with a horizon so short that the weak policy wins nothing, for tests that run it often.
fn short_plan(folder: &Path) -> PathBuf {
    let plan = small_plan(folder);
    edit(&plan, "horizon_steps = 220", "horizon_steps = 60");
    // The template's boundaries of the blind arm lie beyond the shorter horizon.
    edit(&plan, "{ at = [5, 9] }", "{ at = [2] }");
    plan
}

/// Creates and registers a short plan without the precondition, which so short a study cannot meet.
pub fn registered(folder: &Path) -> PathBuf {
    let plan = short_plan(folder);
    edit(&plan, "precondition = {", "# precondition = {");
    register(&plan);
    plan
}

fn register(plan: &Path) {
    succeeds(aegis().args(["plan", "register"]).arg(plan));
}

pub fn run(plan: &Path, out: &Path) -> Command {
    let mut command = aegis();
    command.args(["experiment", "run", "--plan"]).arg(plan).arg("--out").arg(out);
    command
}

pub fn merge(plan: &Path, parts: &[PathBuf], out: &Path) -> Command {
    let mut command = aegis();
    command.args(["experiment", "merge", "--plan"]).arg(plan).arg("--out").arg(out).args(parts);
    command
}

pub fn on(verb: &str, plan: &Path, folder: &Path) -> Command {
    let mut command = aegis();
    command.args(["experiment", verb]).arg(folder).arg("--plan").arg(plan);
    command
}

/// Writes the report and returns the bytes of its JSON, Markdown and HTML files.
pub fn report(plan: &Path, folder: &Path) -> Vec<Vec<u8>> {
    succeeds(&mut on("report", plan, folder));
    let read = |name| std::fs::read(folder.join(name)).expect("the report is there");
    ["report.json", "report.md", "report.html"].map(read).to_vec()
}

#[test]
fn whole_in_parts_without_forks_or_killed_it_is_one_report() {
    const KILLS: usize = 20;
    let place = folder("experiment");
    let plan = registered(&place);
    let whole = place.join("whole");
    succeeds(&mut run(&plan, &whole));
    let expected = report(&plan, &whole);
    assert!(succeeds(&mut on("verify", &plan, &whole)).contains("verified"));

    // A stored episode of any arm can be replayed, including the arm whose fires are drawn at random.
    for arm in ["aegis", "random"] {
        let recording = place.join(arm).with_extension("rrd");
        let mut replay = aegis();
        replay.arg("replay").arg(&whole).args(["--episode", "0/45", "--arm", arm, "--plan"]).arg(&plan);
        succeeds(replay.arg("--rrd").arg(&recording));
        assert!((100_000..5_000_000).contains(&std::fs::metadata(&recording).unwrap().len()));
    }
    for (named, words) in [
        (&["--arm", "nobody"][..], ["--arm: found nobody", "random"]),
        (&["--arm", "random"], ["--episode: missing", "as 3/641"]),
        (&["--episode", "0/45/7"], ["--episode: found 0/45/7", "an episode in the store"]),
    ] {
        let mut replay = aegis();
        replay.arg("replay").arg(&whole).arg("--spawn").args(named).arg("--plan");
        refuses(replay.arg(&plan), 2, &words);
    }
    // An existing folder is not overwritten, and a missing one is reported as missing.
    refuses(
        &mut merge(&plan, std::slice::from_ref(&whole), &whole),
        2,
        &["whole: found an existing file or folder; valid is a new path"],
    );
    refuses(&mut on("verify", &plan, &place.join("nowhere")), 2, &["nowhere", "`aegis experiment report`"]);

    let unforked = place.join("unforked");
    succeeds(run(&plan, &unforked).args(["--no-fork", "--workers", "1"]));
    assert!(report(&plan, &unforked) == expected, "forked or not");

    let parts: Vec<PathBuf> = (1..=3).map(|index| place.join(format!("part-{index}"))).collect();
    for (index, part) in parts.iter().enumerate() {
        succeeds(run(&plan, part).arg("--shard").arg(format!("{}/3", index + 1)));
    }
    let merged = place.join("merged");
    refuses(&mut merge(&plan, &parts[1..], &place.join("gap")), 2, &["are in no part"]);
    succeeds(&mut merge(&plan, &parts, &merged));
    assert!(report(&plan, &merged) == expected, "in parts");

    // Kill the run at pseudo-random times. If it finishes before the kill, delete its folder and start again.
    let killed = place.join("killed");
    let (mut kills, mut state) = (0, 1_u64);
    while kills < KILLS {
        let mut child = run(&plan, &killed).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((state >> 33) % 900));
        match child.try_wait().unwrap() {
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
            Some(status) => {
                assert!(status.success());
                assert!(report(&plan, &killed) == expected, "after {kills} kills");
                std::fs::remove_dir_all(&killed).unwrap();
            }
        }
    }
    succeeds(&mut run(&plan, &killed));
    assert!(report(&plan, &killed) == expected, "after {kills} kills");
    assert!(succeeds(&mut on("verify", &plan, &killed)).contains("verified"));
}

#[test]
fn results_are_of_one_plan_and_say_what_had_run_before_it_was_amended() {
    let place = folder("experiment-amended");
    let plan = registered(&place);
    let out = place.join("out");
    let amend = |seen: &[&str]| {
        let mut command = aegis();
        command.args(["plan", "amend", "--why", "better", "--without-trial"]).arg(&plan).args(seen);
        succeeds(command.arg("--json"))
    };
    succeeds(run(&plan, &out).args(["--shard", "1/2"]));
    // Settings of the analysis may be amended; the report then states how many episodes had run, whatever the amendment claims.
    edit(&plan, "alpha = 0.20", "alpha = 0.21");
    amend(&["--nothing-ran"]);
    succeeds(&mut run(&plan, &out));
    report(&plan, &out);
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(page.contains("By then, 2 sets of twins (12 episodes) of these results had run."), "{page}");
    refuses(
        &mut on("verify", &plan, &out),
        1,
        &["amendments[0] of the lock", "episodes_seen: found 0; 12 episodes in 2 sets of twins"],
    );
    // Settings on which the episodes depend may not be changed for an existing store.
    edit(&plan, "hold_chunks = 3", "hold_chunks = 2");
    let amended = amend(&["--results", out.to_str().unwrap()]);
    assert!(amended.contains("\"episodes_seen\":24"), "{amended}");
    let words = [
        "episodes.sqlite: 2 sets of twins, the first is twins · task",
        "ran under the plan as registered on 2",
        "ran under the plan as amended on 2",
        "(plan: gate.hold_chunks: registered 3, found 2)",
    ];
    refuses(&mut run(&plan, &out), 2, &words);
    refuses(&mut on("report", &plan, &out), 2, &words);
    refuses(&mut on("verify", &plan, &out), 1, &words);
    refuses(&mut merge(&plan, std::slice::from_ref(&out), &place.join("merged")), 2, &words);
    // After the setting is restored the stored results are valid again.
    edit(&plan, "hold_chunks = 2", "hold_chunks = 3");
    amend(&["--results", out.to_str().unwrap()]);
    report(&plan, &out);
}

#[test]
fn a_probe_that_is_not_seen_to_rank_stops_the_study_before_it_starts() {
    let place = folder("experiment-refused");
    let plan = short_plan(&place);
    register(&plan);
    let out = place.join("out");
    refuses(
        &mut run(&plan, &out),
        1,
        &["study.toml: study.precondition", "12 weak episodes", "undefined", "above 0.6"],
    );
    assert!(!out.join("episodes.sqlite").exists(), "no episode that counts was run");
    refuses(&mut on("report", &plan, &out), 2, &["no store"]);
}

#[test]
fn a_precondition_that_is_met_is_kept_with_the_study() {
    let place = folder("experiment-precondition");
    let plan = small_plan(&place);
    register(&plan);
    let whole = place.join("whole");
    succeeds(&mut run(&plan, &whole));
    let expected = report(&plan, &whole);
    let json: serde_json::Value = serde_json::from_slice(&expected[0]).unwrap();
    let found = &json["precondition"]["found"];
    assert_eq!(
        (&found["range"], &found["episodes"], &found["met"]),
        (&"tuning".into(), &12.into(), &true.into())
    );
    assert!(succeeds(&mut on("verify", &plan, &whole)).contains("12 step traces"));

    let parts = ["1/2", "2/2"].map(|shard| {
        let part = place.join(shard.replace('/', "-"));
        succeeds(run(&plan, &part).args(["--shard", shard]));
        part
    });
    let merged = place.join("merged");
    succeeds(&mut merge(&plan, &parts, &merged));
    assert!(report(&plan, &merged) == expected, "in parts");

    // Other episodes in its place prove nothing: those of a run that was killed, of the study itself, of another range.
    let before = whole.join("precondition/episodes.sqlite");
    let kept = std::fs::read(&before).unwrap();
    std::fs::copy(whole.join("episodes.sqlite"), &before).unwrap();
    let words =
        ["precondition/episodes.sqlite: study.precondition: found an episode of arm", "ranges.tuning"];
    refuses(&mut on("report", &plan, &whole), 2, &words);
    refuses(&mut on("verify", &plan, &whole), 1, &words);
    std::fs::write(&before, &kept).unwrap();
    let amend = |plan: &Path| {
        let mut command = aegis();
        command.args(["plan", "amend", "--why", "why", "--without-trial", "--results"]).arg(&whole).arg(plan);
        succeeds(&mut command);
    };
    edit(&plan, "tuning = { first = 42, end = 45", "tuning = { first = 42, end = 44");
    amend(&plan);
    let words =
        ["study.precondition: found 12 episodes (too many: task 0, initial state 44", "ranges.tuning"];
    refuses(&mut on("report", &plan, &whole), 2, &words);
    edit(&plan, "tuning = { first = 42, end = 44", "tuning = { first = 42, end = 45");
    amend(&plan);
    report(&plan, &whole);

    let traces = whole.join("precondition/traces");
    let trace = std::fs::read_dir(traces).unwrap().next().unwrap().unwrap().path();
    damage(&trace);
    let name = trace.file_name().unwrap().to_string_lossy();
    refuses(&mut on("verify", &plan, &whole), 1, &[&*name]);
}

#[test]
fn a_disk_that_takes_no_more_is_said_and_what_was_stored_goes_on() {
    let place = folder("experiment-disk");
    let plan = registered(&place);
    let (out, whole) = (place.join("out"), place.join("whole"));
    succeeds(&mut run(&plan, &whole));
    // A file-size limit above the size of the traces and below that of the store. With SIGXFSZ ignored, a write beyond the limit
    // returns an error.
    let run = run(&plan, &out);
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 96; exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args())
        .envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    refuses(&mut limited, 1, &["episodes.sqlite"]);
    succeeds(&mut self::run(&plan, &out));
    assert!(report(&plan, &out) == report(&plan, &whole), "what was stored was whole");
}

/// Changes one byte in the middle of a file.
fn damage(path: &Path) -> Vec<u8> {
    let before = std::fs::read(path).expect("the file can be read");
    let mut after = before.clone();
    let middle = after.len() / 2;
    after[middle] ^= 1;
    std::fs::write(path, after).expect("the file can be written");
    before
}

#[test]
fn one_byte_of_anything_is_named() {
    let place = folder("experiment-tampered");
    let plan = registered(&place);
    let out = place.join("out");
    succeeds(&mut run(&plan, &out));
    report(&plan, &out);
    let trace = std::fs::read_dir(out.join("traces")).unwrap().next().unwrap().unwrap().path();
    let models = place.join("policies/models");
    for path in [
        models.join("strong.onnx"),
        out.join("episodes.sqlite"),
        trace,
        out.join("report.md"),
        out.join("report.html"),
    ] {
        let before = damage(&path);
        let output = on("verify", &plan, &out).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} was damaged and nothing said", path.display());
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(said.contains(&*name), "{name} is missing from: {said}");
        std::fs::write(&path, before).unwrap();
    }
    // A pipe in a file's place waits for nobody, and a file that no report made is not replaced.
    for name in ["report.html", "report.md", "report.json", "episodes.sqlite.sha256"] {
        let path = out.join(name);
        let before = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        refuses(&mut on("verify", &plan, &out), 2, &[name, "found a pipe"]);
        refuses(&mut on("report", &plan, &out), 2, &[name, "found a pipe"]);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "my notes\n").unwrap();
        refuses(&mut on("report", &plan, &out), 2, &[name, "found a file that no report wrote"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"my notes\n");
        std::fs::write(&path, before).unwrap();
    }
    let fresh = place.join("fresh");
    let mine = fresh.join("traces/task00-state0045-replicate0.parquet");
    std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
    std::fs::write(&mine, "my notes\n").unwrap();
    refuses(&mut run(&plan, &fresh), 1, &["task00-state0045-replicate0.parquet", "found text"]);
    assert_eq!(std::fs::read(&mine).unwrap(), b"my notes\n");
    // One value of the report, and one setting of the plan.
    let json = out.join("report.json");
    let before = std::fs::read_to_string(&json).unwrap();
    edit(&json, "\"killed\": true", "\"killed\": false");
    refuses(&mut on("verify", &plan, &out), 1, &["report.json: /report/killed"]);
    std::fs::write(&json, before).unwrap();
    edit(&plan, "alpha = 0.20", "alpha = 0.21");
    refuses(&mut on("verify", &plan, &out), 2, &["study.alpha", "registered 0.2, found 0.21"]);
    refuses(&mut run(&plan, &out), 2, &["study.alpha"]);
    edit(&plan, "alpha = 0.21", "alpha = 0.20");
    succeeds(&mut on("verify", &plan, &out));

    // A second registration of the same plan is a different study.
    let lock = lock_path(&plan);
    let text = std::fs::read_to_string(&lock).unwrap();
    std::fs::remove_file(&lock).unwrap();
    while {
        register(&plan);
        std::fs::read_to_string(&lock).unwrap() == text
    } {
        // Two registrations within the same second have the same lock, so register again.
        std::fs::remove_file(&lock).unwrap();
    }
    refuses(&mut run(&plan, &out), 2, &["episodes.sqlite", "belongs"]);
    refuses(&mut on("report", &plan, &place.join("nothing")), 2, &["no store"]);
}

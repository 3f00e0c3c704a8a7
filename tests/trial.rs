//! Tests `aegis trial` between processes: from a plan to a verified report, through kills, repetitions and an amendment, with a person who
//! is not told the arms.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use aegis_experiments::field::log::{self, Entry, Outcome};
use aegis_experiments::field::plan::OutcomeSource;
use aegis_link::{Claimant, FreeRunningPlant, Role};
use serde_json::Value;

use crate::common;
use crate::robot::{Plant, real_time_slot, robot_file};

const PLAN: &str = r#"
robot = "controller/libero.toml"
master_seed = 5
blocks_per_start = 1
attempts = 2
outcome = "person"
setups = ["bowl on the left mark", "bowl on the right mark"]
arms = ["weak", "aegis", "strong"]
alpha = 0.05
contrasts = [{ better = "aegis", than = "weak" }, { better = "strong", than = "weak" }]
bootstrap = { replicates = 200, seed = 1, level = 0.95 }
"#;

struct Trial {
    _plant: Plant,
    endpoint: String,
    plan: PathBuf,
    out: PathBuf,
}

impl Trial {
    fn new(name: &str) -> Self {
        let plant = Plant::serve("tcp/127.0.0.1:0");
        let folder = common::folder(name);
        let short = [("horizon_steps = 220", "horizon_steps = 24"), ("hold_chunks = 4", "hold_chunks = 1")];
        robot_file(&folder, &plant.endpoint, &short);
        let plan = folder.join("trial.toml");
        std::fs::write(&plan, PLAN).unwrap();
        Self { endpoint: plant.endpoint.clone(), _plant: plant, plan, out: folder.join("out") }
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = common::aegis();
        command.args(["trial", verb]).arg(&self.plan);
        command
    }

    fn on(&self, verb: &str) -> Command {
        let mut command = self.verb(verb);
        command.arg(&self.out);
        command
    }

    /// Starts a run of the trial, once the plant has let go of the controller before.
    fn run(&self, arguments: &[&str]) -> Child {
        let session = aegis_link::open(Role::Drive, &self.endpoint.parse().unwrap()).unwrap();
        while FreeRunningPlant::claim(&session, "cell", Claimant::new("test"), |_| ()).is_err() {}
        let mut command = self.verb("run");
        command.arg("--out").arg(&self.out).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs with these answers to the questions for outcomes. Returns the exit code and what was printed to standard error.
    fn says(&self, answers: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        let mut child = self.run(arguments);
        let mut stdin = child.stdin.take().unwrap();
        let mut answers = answers.iter();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.contains("did it succeed?") {
                writeln!(stdin, "{}", answers.next().expect("an answer for each question")).unwrap();
            }
            said += &(line + "\n");
        }
        assert_eq!(answers.next(), None, "{said}");
        (child.wait().unwrap().code(), said)
    }

    fn log(&self) -> PathBuf {
        self.out.join("attempts.jsonl")
    }

    /// Returns the kinds of the log's entries, but for a part of a line at its end.
    fn entries(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log()).unwrap();
        let text = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let kind = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["entry"]["entry"].as_str().unwrap().to_owned()
        };
        text.lines().map(kind).collect()
    }
}

fn read_until(stderr: &mut BufReader<ChildStderr>, words: &str) {
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "{words:?} was not printed");
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// Kills a run once it has printed these words.
fn until(mut child: Child, words: &str) {
    read_until(&mut BufReader::new(child.stderr.take().unwrap()), words);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs a command that fails with this text after a file was edited, and puts the file back.
fn refuses_edit(file: &Path, edit: impl Fn(&mut Vec<u8>), command: &mut Command, code: i32, said: &str) {
    let before = std::fs::read(file).unwrap();
    let mut after = before.clone();
    edit(&mut after);
    assert_ne!(before, after);
    std::fs::write(file, after).unwrap();
    common::refuses(command, code, &[said]);
    std::fs::write(file, before).unwrap();
}

#[test]
fn a_trial_goes_from_a_plan_through_kills_and_repetitions_to_a_verified_report() {
    let _slot = real_time_slot();
    let trial = Trial::new("trial");
    common::refuses(&mut trial.verb("run"), 2, &["found no lock", "aegis trial register"]);
    assert!(trial.verb("register").status().unwrap().success());
    common::refuses(&mut trial.verb("register"), 2, &["found a lock", "aegis trial amend"]);

    // Two episodes; an answer that is none is asked again.
    let (code, said) = trial.says(&["perhaps", "y", "n it slipped"], &["--auto-start", "--episodes", "2"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("episode 1 of 6, attempt 1, from task"), "{said}");
    assert!(said.contains("bowl on the"), "{said}");
    assert!(said.contains("the same call goes on with episode 3 of 6"), "{said}");
    for words in ["Weak", "Strong", "risk", "weak", "strong", "threshold"] {
        assert!(!said.contains(words), "{words} tells the arm: {said}");
    }
    common::refuses(&mut trial.on("report"), 2, &["found 4 episodes without an outcome", "--unfinished"]);

    // Ended before the episode began: nothing moved, and the attempt does not count.
    let mut child = trial.run(&[]);
    read_until(&mut BufReader::new(child.stderr.take().unwrap()), "waiting for a start");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    // Killed after the episode and before its outcome: it counts.
    until(trial.run(&["--auto-start"]), "did it succeed?");
    // As a kill in the middle of a line leaves it.
    let mut half = std::fs::File::options().append(true).open(trial.log()).unwrap();
    half.write_all(b"{\"entry\":{\"ent").unwrap();
    let counted = ["begun", "ended", "begun", "ended", "begun", "withdrawn", "begun"];
    assert_eq!(trial.entries(), counted);

    // A changed plan is refused until the lock says why; the order of episodes may not change any more.
    common::edit(&trial.plan, "alpha = 0.05", "alpha = 0.04");
    common::refuses(
        &mut trial.verb("run"),
        2,
        &["trial.alpha: registered 0.05, found 0.04", "aegis trial amend"],
    );
    let amend = || {
        let mut command = trial.verb("amend");
        command.args(["--why", "a reviewer asked", "--out"]).arg(&trial.out);
        command
    };
    common::edit(&trial.plan, "master_seed = 5", "master_seed = 6");
    common::refuses(&mut amend(), 2, &["master_seed: found another than is registered", "a new trial"]);
    common::edit(&trial.plan, "master_seed = 6", "master_seed = 5");
    common::edit(&trial.plan, "outcome = \"person\"", "outcome = \"plant\"");
    common::refuses(&mut amend(), 2, &["outcome: found another than is registered", "a new trial"]);
    common::edit(&trial.plan, "outcome = \"plant\"", "outcome = \"person\"");
    assert!(amend().status().unwrap().success());

    // The third episode has no attempt left after a repetition; the fourth is stopped by the person and then won.
    let (code, said) = trial.says(&["r I bumped the table"], &["--auto-start", "--episodes", "1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("episode 3: attempt 1 counts, though the program ended"), "{said}");
    let mut stopped = trial.run(&["--episodes", "1"]);
    let mut stdin = stopped.stdin.take().unwrap();
    let mut stderr = BufReader::new(stopped.stderr.take().unwrap());
    read_until(&mut stderr, "waiting for a start");
    stdin.write_all(b"\n").unwrap();
    read_until(&mut stderr, "episode 1: task");
    stdin.write_all(b"s\n").unwrap();
    read_until(&mut stderr, "a stop ended it");
    drop(stdin);
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert_eq!(stopped.wait().unwrap().code(), Some(0));
    let (code, said) = trial.says(&["y", "n", "y caught it late"], &["--auto-start"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("every one of 6 episodes is over, 1 without an outcome"), "{said}");

    let report = trial.on("report").output().unwrap();
    let page = String::from_utf8_lossy(&report.stdout);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    for words in ["Over the 1 of 2 blocks", "Amended", "a reviewer asked", "A person entered each outcome"] {
        assert!(page.contains(words), "{words:?} is missing from {page}");
    }
    let figures: Value =
        serde_json::from_slice(&std::fs::read(trial.out.join("report.json")).unwrap()).unwrap();
    let sum = |key: &str| {
        figures["arms"].as_array().unwrap().iter().map(|arm| arm[key].as_u64().unwrap()).sum::<u64>()
    };
    let sums = ["attempts", "stopped", "repeated", "abandoned", "missing"].map(sum);
    assert_eq!(sums, [8, 1, 1, 1, 1]);
    let arm = |name: &str| {
        figures["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == name).unwrap().clone()
    };
    assert_eq!((arm("weak")["duty"].as_f64(), arm("strong")["duty"].as_f64()), (Some(0.0), Some(1.0)));
    let verified = trial.on("verify").output().unwrap();
    let said = [verified.stdout, verified.stderr].concat();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(String::from_utf8_lossy(&said).contains("7 attempts: each record has its digest"));

    // Whatever is edited afterwards is found.
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| *bytes = String::from_utf8_lossy(bytes).replacen(from, to, 1).into_bytes()
    };
    let outcome = replace("\"success\":false", "\"success\":true");
    refuses_edit(&trial.log(), outcome, &mut trial.on("verify"), 2, "was edited, moved or left out");
    let report = replace("\"complete\": 1", "\"complete\": 2");
    refuses_edit(
        &trial.out.join("report.json"),
        report,
        &mut trial.on("verify"),
        1,
        "is not what the log gives",
    );
    let page = replace("is **not shown**", "is shown");
    refuses_edit(
        &trial.out.join("report.md"),
        page,
        &mut trial.on("verify"),
        1,
        "report.md: is not what the log gives",
    );
    let record = trial.out.join("records/00001/run.aegis");
    let damage = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    refuses_edit(&record, damage, &mut trial.on("verify"), 1, "record_sha256: the log has");
    assert!(trial.on("verify").status().unwrap().success());
}

#[test]
fn what_would_settle_the_answer_before_the_first_episode_is_not_registered() {
    let trial = Trial::new("trial-plan");
    let blind = "arms = [\"weak\", \"blind\", \"aegis\", \"strong\"]\n\
                 rules = { blind = { kind = \"blind\", schedule = { at = [1] } } }";
    common::edit(&trial.plan, "arms = [\"weak\", \"aegis\", \"strong\"]", blind);
    for (from, to, said) in [
        ("at = [1]", "at = [5000]", "rules.blind.schedule.at: found 5000; valid is chunk boundaries"),
        ("at = [1]", "at = []", "rules.blind.schedule.at: found none"),
        ("at = [1]", "at = [3]", "rules.blind.schedule.at: found 3; valid is chunk boundaries from 1 to 2"),
        ("replicates = 200", "replicates = 1000000000000", "bootstrap.replicates: found 1000000000000"),
        ("alpha = 0.05", "alpha = 0.6", "alpha: found 0.6"),
    ] {
        common::edit(&trial.plan, from, to);
        common::refuses(&mut trial.verb("register"), 2, &["trial.toml: ", said]);
        common::edit(&trial.plan, to, from);
    }
    assert!(trial.verb("register").status().unwrap().success());
}

/// Writes a log anew, with other entries and seals that follow from one another, as somebody who knows the format could.
fn forge(trial: &Trial, change: impl Fn(&mut Vec<Entry>)) {
    let lock: toml::Table =
        std::fs::read_to_string(trial.plan.with_extension("lock.toml")).unwrap().parse().unwrap();
    let mut head = lock["seal"].as_str().unwrap().to_owned();
    let mut entries = log::read(&std::fs::read_to_string(trial.log()).unwrap(), &head).unwrap().entries;
    change(&mut entries);
    let mut text = String::new();
    for entry in entries {
        let (line, seal) = log::line(entry, &head).unwrap();
        (text, head) = (text + &line, seal);
    }
    std::fs::write(trial.log(), text).unwrap();
}

#[test]
fn a_log_that_was_cut_or_forged_contradicts_its_records_and_is_noticed() {
    let _slot = real_time_slot();
    let trial = Trial::new("trial-forged");
    common::edit(&trial.plan, "outcome = \"person\"", "outcome = \"plant\"");
    assert!(trial.verb("register").status().unwrap().success());
    let (code, said) = trial.says(&[], &["--auto-start", "--episodes", "2"]);
    let newest = std::fs::read_to_string(trial.log()).unwrap();
    let newest: Value = serde_json::from_str(newest.lines().last().unwrap()).unwrap();
    let quoted = format!("seal {} is the log's last; quote it elsewhere", newest["seal"].as_str().unwrap());
    assert!(code == Some(0) && said.contains(&quoted), "{said}");
    assert!(trial.on("report").arg("--unfinished").output().unwrap().status.success());
    assert!(trial.on("verify").status().unwrap().success());
    let whole = std::fs::read(trial.log()).unwrap();
    let fails = |change: &dyn Fn(&mut Vec<Entry>), code: i32, said: &str| {
        forge(&trial, change);
        assert_ne!(std::fs::read(trial.log()).unwrap(), whole);
        // Whoever forges the log also makes the report of it.
        let _ = trial.on("report").arg("--unfinished").output().unwrap();
        common::refuses(&mut trial.on("verify"), code, &[said]);
        std::fs::write(trial.log(), &whole).unwrap();
    };

    // An unwelcome outcome is cut off and would run again.
    fails(&|entries| entries.truncate(2), 1, "records/00002: of no attempt of the log");
    forge(&trial, |entries| entries.truncate(2));
    let cut = std::fs::read(trial.log()).unwrap();
    let mut again = trial.verb("run");
    again.args(["--auto-start", "--out"]).arg(&trial.out);
    common::refuses(
        &mut again,
        2,
        &["records/00002: found a record of no attempt", "restore the log as it was written"],
    );
    assert_eq!(std::fs::read(trial.log()).unwrap(), cut, "nothing was written to the log");
    std::fs::write(trial.log(), &whole).unwrap();

    let withdrawn = |entries: &mut Vec<Entry>| {
        let Entry::Ended { when, attempt, .. } = entries[3].clone() else { panic!("{entries:?}") };
        entries[3] = Entry::Withdrawn { when, attempt, reason: "the plant was not there".into() };
        entries.truncate(4);
    };
    fails(&withdrawn, 1, "control periods in which a command was sent");
    let of_a_person = |entries: &mut Vec<Entry>| {
        let Entry::Ended { outcome: Outcome::Done { by, .. }, .. } = &mut entries[3] else {
            panic!("{entries:?}")
        };
        *by = OutcomeSource::Person;
    };
    fails(&of_a_person, 1, "by: the log has Person");
    let of_another = |entries: &mut Vec<Entry>| {
        let Entry::Begun { folder, .. } = &mut entries[2] else { panic!("{entries:?}") };
        *folder = "../../elsewhere".into();
    };
    fails(&of_another, 2, "line 3: folder: found \"../../elsewhere\"; valid is \"00002\"");
    let one_record = |entries: &mut Vec<Entry>| {
        let Entry::Ended { record_sha256: first, .. } = entries[1].clone() else { panic!("{entries:?}") };
        let Entry::Ended { record_sha256, .. } = &mut entries[3] else { panic!("{entries:?}") };
        *record_sha256 = first;
    };
    fails(&one_record, 2, "line 4: record_sha256: found");
    let earlier = |entries: &mut Vec<Entry>| {
        let Entry::Ended { when, .. } = &mut entries[3] else { panic!("{entries:?}") };
        *when = "2001-01-01T00:00:00Z".into();
    };
    fails(&earlier, 2, "line 4: when: found 2001-01-01T00:00:00Z");
    let report = trial.on("report").arg("--unfinished").output().unwrap();
    assert!(report.status.success());
    assert!(trial.on("verify").status().unwrap().success());

    // An amendment that says that nothing ran is contradicted by the log.
    common::edit(&trial.plan, "alpha = 0.05", "alpha = 0.04");
    let mut amend = trial.verb("amend");
    assert!(amend.args(["--why", "a reviewer asked", "--nothing-ran"]).status().unwrap().success());
    let report = trial.on("report").arg("--unfinished").output().unwrap();
    let page = String::from_utf8_lossy(&report.stdout);
    let words = "says that 0 attempts had been made by then; by the log it was 2";
    assert!(page.contains("**The log contradicts the lock**: ") && page.contains(words), "{page}");
    common::refuses(&mut trial.on("verify"), 1, &[words]);
}

#[test]
fn an_attempt_whose_process_is_gone_counts_whatever_its_record_says_and_a_suspension_stops_the_robot() {
    let _slot = real_time_slot();
    let trial = Trial::new("trial-gone");
    assert!(trial.verb("register").status().unwrap().success());
    // Killed, and its record is gone: nothing proves that nothing moved.
    until(trial.run(&["--auto-start"]), "did it succeed?");
    std::fs::remove_file(trial.out.join("records/00001/run.aegis")).unwrap();

    // Ctrl-Z stops the robot; it does not suspend the controller while the robot runs on.
    let mut run = trial.run(&["--episodes", "1"]);
    let mut stdin = run.stdin.take().unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    read_until(&mut stderr, "episode 1: attempt 1 counts, though the program ended");
    read_until(&mut stderr, "waiting for a start");
    stdin.write_all(b"\n").unwrap();
    read_until(&mut stderr, "episode 1: task");
    signal(&run, "TSTP");
    read_until(&mut stderr, "a stop ended it");
    drop(stdin);
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(trial.entries(), ["begun", "abandoned", "begun", "ended"]);

    // An input that is over gives no outcome; the attempt counts, and no signal ended the call.
    let mut run = trial.run(&["--auto-start"]);
    let stdin = run.stdin.take().unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    read_until(&mut stderr, "did it succeed?");
    drop(stdin);
    read_until(&mut stderr, "standard input is over");
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_eq!(trial.entries()[4..], ["begun", "abandoned"]);
}

#[test]
fn a_look_at_an_unfinished_trial_is_noted_for_good() {
    let _slot = real_time_slot();
    let trial = Trial::new("trial-look");
    common::edit(&trial.plan, "outcome = \"person\"", "outcome = \"plant\"");
    assert!(trial.verb("register").status().unwrap().success());
    let (code, said) = trial.says(&[], &["--auto-start", "--episodes", "1"]);
    assert_eq!(code, Some(0), "{said}");
    let looked = trial.on("report").arg("--unfinished").output().unwrap();
    let page = String::from_utf8_lossy(&looked.stdout);
    assert!(
        page.contains("The trial is not over") && page.contains("after 1 attempts and before the last"),
        "{page}"
    );
    assert_eq!(trial.entries(), ["begun", "ended", "inspected"]);
    assert!(trial.on("verify").status().unwrap().success());

    // A plant that is not there is no attempt at an episode.
    common::edit(&trial.plan, "blocks_per_start = 1", "blocks_per_start = 0");
    common::refuses(&mut trial.verb("run"), 2, &["blocks_per_start: found 0; valid is 1 to 10000"]);
    common::edit(&trial.plan, "blocks_per_start = 0", "blocks_per_start = 1");
    let Trial { _plant, plan, out, .. } = trial;
    drop(_plant);
    let ended = common::aegis()
        .args(["trial", "run", "--auto-start"])
        .arg(&plan)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let text = std::fs::read_to_string(out.join("attempts.jsonl")).unwrap();
    assert!(!text.lines().skip(3).any(|line| line.contains("ended") || line.contains("abandoned")), "{text}");
}

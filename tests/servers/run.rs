//! `aegis run` with its strong policy behind openpi's server, which fails while it drives.

use super::{METADATA, card, free_port, served};
use crate::common::{Served, folder};
use crate::robot::{self, Run, real_time_slot};

/// Number of inferences before an episode begins, which warm the policy up.
const WARM_UP: usize = 3;

/// Serves a plant, and a strong policy with this fault; returns both with the changes of a robot file that name the policy's card.
fn served_strong(name: &str, fault: &str, deadline_ms: u32) -> (Served, robot::Plant, [String; 2], u16) {
    let (place, port) = (folder(name), free_port());
    let process = served("strong", port, METADATA, fault);
    let path = card(&place, "strong", port, deadline_ms);
    let plant = robot::Plant::serve("tcp/127.0.0.1:0");
    let strong = format!("strong = \"{}\"", path.display());
    (process, plant, [strong, "[rule]\nkind = \"blind\"\nschedule = { at = [6] }".into()], port)
}

fn edits([strong, rule]: &[String; 2]) -> [(&str, &str); 4] {
    [
        // The strong policy is asked only while it drives, so its questions can be counted.
        ("ask_strong = true", "ask_strong = false"),
        ("[rule]\nkind = \"conformal\"", rule),
        ("strong = \"../policies/models/strong.toml\"", strong),
        ("strong_patience_steps = 4", "strong_patience_steps = 40"),
    ]
}

#[test]
fn a_server_that_fails_in_the_middle_of_a_hold_is_a_strong_policy_that_is_lost() {
    let _slot = real_time_slot();
    for (fault, deadline_ms, words) in [
        ("half", 5000, "it ended the connection"),
        ("hang", 800, "its deadline is 800.000 ms"),
        ("raise", 5000, "it failed: ValueError: the policy's own error"),
        ("shape", 5000, "found 9 of 7; valid is 10 actions of 7 values, as in its card"),
    ] {
        let name = format!("servers-run-{fault}");
        // The second question while it drives.
        let fault = format!("{fault}@{}", WARM_UP + 2);
        let (_process, plant, changes, _) = served_strong(&name, &fault, deadline_ms);
        let mut run =
            Run::start(&format!("{name}-run"), &plant.endpoint, &edits(&changes), &["--exit-on-stop"]);
        run.until("Strong");
        run.until("SafeStop");
        let (code, folder) = run.code();
        assert_eq!(code, Some(4), "{name}");
        let summary = std::fs::read_to_string(folder.join("summary.json")).unwrap();
        assert!(summary.contains("stopped: strong_lost"), "{summary}");
        let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
        assert!(events.contains(words), "{name}: {words}: {events}");
    }
}

#[test]
fn a_server_that_comes_back_as_another_is_not_asked() {
    let _slot = real_time_slot();
    let (process, plant, changes, port) = served_strong("servers-run-other", "", 5000);
    let mut run =
        Run::waiting("servers-run-other-run", &plant.endpoint, &edits(&changes), &["--exit-on-stop"]);
    run.until("waiting for a start");
    drop(process);
    let _other = served("weak", port, r#"{"model": "other"}"#, "");
    plant.operate("start");
    run.until("SafeStop");
    let (code, folder) = run.code();
    assert_eq!(code, Some(4));
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    for words in [r#"found {\"model\": \"shipped\"}"#, r#"has {\"model\": \"other\"}"#] {
        assert!(events.contains(words), "{words}: {events}");
    }
}

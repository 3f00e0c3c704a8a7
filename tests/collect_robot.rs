//! Tests `aegis collect --robot`: rollouts in real time, kept one by one, from which a probe can be fitted for the same robot file.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use aegis_link::{Claimant, FreeRunningPlant, Role};
use aegis_probe::foreign::{ForeignRollouts, StepGrid, read};

use crate::common;
use crate::robot::{Plant, real_time_slot, robot_file};

const STARTS: &str = "starts = [
    { task = 0, initial_state = 50 },
    { task = 1, initial_state = 51 },
    { task = 0, initial_state = 52 },
]
";

fn collect(robot: &std::path::Path, out: &std::path::Path) -> Command {
    let mut command = common::aegis();
    command.args(["collect", "--auto-start", "--robot"]).arg(robot).arg("--out").arg(out);
    command
}

#[test]
fn rollouts_on_a_robot_are_kept_through_a_kill_and_marked_by_a_person() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("collect-robot");
    let robot = robot_file(&folder, &plant.endpoint, &[("horizon_steps = 220", "horizon_steps = 30")]);
    let text = std::fs::read_to_string(&robot).unwrap();
    let (begin, end) = (text.find("starts = [").unwrap(), text.find("[models]").unwrap());
    std::fs::write(&robot, format!("{}{STARTS}{}", &text[..begin], &text[end..])).unwrap();
    // A collection needs no probe: it is what one is fitted on.
    common::edit(&robot, "../policies/models/probe.json", "probe.json");
    let out = folder.join("rollouts.parquet");
    let waiting = folder.join("rollouts.parquet.collecting");

    let mut first = collect(&robot, &out).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(first.stderr.take().unwrap()).lines();
    let mut kept = lines.map(|line| line.unwrap()).filter(|line| line.contains("kept, lost"));
    assert!(kept.next().unwrap().starts_with("starts[0], task 0, initial state 50"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(waiting.is_file() && !out.exists());
    // As a kill in the middle of a line leaves it.
    let mut half = std::fs::File::options().append(true).open(&waiting).unwrap();
    half.write_all(b"{\"start\":2,\"succ").unwrap();

    // A person says that the second succeeded, wants the third again, and is gone at the repetition.
    // The plant lets go of a controller that was killed after some seconds.
    let session = aegis_link::open(Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    while FreeRunningPlant::claim(&session, "cell", Claimant::new("test"), |_| ()).is_err() {}
    let mut asked = collect(&robot, &out);
    asked.arg("--ask").stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut second = asked.spawn().unwrap();
    second.stdin.take().unwrap().write_all(b"maybe\ny\nr\n").unwrap();
    let ended = second.wait_with_output().unwrap();
    let (code, said) = (ended.status.code(), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("1 of 3 episodes are there from an earlier call"), "{said}");
    assert!(said.contains("starts[1], task 1, initial state 51: kept, won"), "{said}");
    assert!(said.contains("starts[2], task 0, initial state 52: not kept, because a person asked"), "{said}");
    assert!(said.contains("the same call collects the other 1"), "{said}");

    // Another horizon is another collection.
    common::edit(&robot, "horizon_steps = 30", "horizon_steps = 31");
    common::refuses(
        &mut collect(&robot, &out),
        2,
        &["line 1: gate.horizon_steps: found 30", "move the file away"],
    );
    common::edit(&robot, "horizon_steps = 31", "horizon_steps = 30");

    let last = collect(&robot, &out).output().unwrap();
    let said = String::from_utf8_lossy(&last.stdout);
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    assert!(
        said.contains("3 episodes, weak lost 2") && said.contains("next: aegis probe fit --rollouts"),
        "{said}"
    );
    assert!(!waiting.exists());
    let grid = StepGrid { horizon_steps: 30, chunk_steps: 8 };
    let ForeignRollouts { rollouts, has_starts, .. } = read(&out, grid, None).unwrap();
    assert!(has_starts && rollouts.len() == 3);
    for rollout in &rollouts {
        assert_eq!(rollout.success, rollout.key.start.task == 1);
        let steps: Vec<u32> = rollout.boundaries.iter().map(|boundary| boundary.step).collect();
        assert_eq!(steps, [0, 8, 16, 24]);
        let widths = rollout.boundaries.iter().map(|boundary| boundary.features.len());
        assert!(widths.into_iter().all(|width| width == 64));
    }
    assert_ne!(rollouts[0].boundaries[0].features, rollouts[0].boundaries[1].features);
}

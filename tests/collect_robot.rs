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

    // A person says that the second succeeded, wants the third again, and is gone at the repetition. What was typed before a question is
    // no answer to it, and neither is what is no text.
    // The plant lets go of a controller that was killed after some seconds.
    let free = || {
        let session = aegis_link::open(Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
        while FreeRunningPlant::claim(&session, "cell", Claimant::new("test"), |_| ()).is_err() {}
    };
    free();
    let mut asked = collect(&robot, &out);
    asked.arg("--ask").stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut second = asked.spawn().unwrap();
    let mut stdin = second.stdin.take();
    stdin.as_mut().unwrap().write_all(b"n\n").unwrap();
    let mut answers = [&b"maybe\n"[..], b"\xff\n", b"Y\n", b"r\n"].into_iter();
    let mut said = String::new();
    for line in BufReader::new(second.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("did it succeed?") {
            stdin.as_mut().unwrap().write_all(answers.next().unwrap()).unwrap();
        }
        said += &(line + "\n");
    }
    assert_eq!((second.wait().unwrap().code(), answers.next()), (Some(1), None), "{said}");
    assert!(said.contains("1 of 3 episodes are there from an earlier call"), "{said}");
    assert!(said.contains("starts[1], task 1, initial state 51: kept, won"), "{said}");
    assert!(said.contains("starts[2], task 0, initial state 52: not kept, because a person asked"), "{said}");
    assert!(said.contains("the same call collects the other 1"), "{said}");

    // A signal ends a question.
    free();
    let mut asked = collect(&robot, &out);
    asked.arg("--ask").stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut third = asked.spawn().unwrap();
    let mut stderr = BufReader::new(third.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("did it succeed?") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0);
    }
    // Somebody else may not collect into the same file meanwhile.
    common::refuses(&mut collect(&robot, &out), 2, &["another process collects into it"]);
    common::signal(&third, "INT");
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert_eq!(third.wait().unwrap().code(), Some(5));

    // Other limits are another collection, and so is one without a start that has an episode.
    common::edit(&robot, "horizon_steps = 30", "horizon_steps = 31");
    common::refuses(
        &mut collect(&robot, &out),
        2,
        &["line 1: robot.gate.horizon_steps: found 30, and it is 31 now", "move the file away"],
    );
    // Without an episode nothing would be lost: whoever looks for settings begins anew.
    let (other, begun) = (folder.join("other.parquet"), folder.join("other.parquet.collecting"));
    let header = std::fs::read_to_string(&waiting).unwrap().lines().next().unwrap().to_owned() + "\n";
    std::fs::write(&begun, &header).unwrap();
    common::edit(&robot, &plant.endpoint, "tcp/127.0.0.1:1");
    let nobody = collect(&robot, &other).output().unwrap();
    assert!(!nobody.status.success());
    let anew = std::fs::read_to_string(&begun).unwrap();
    assert_eq!(anew, header.replace("\"horizon_steps\":30", "\"horizon_steps\":31"), "{nobody:?}");
    common::edit(&robot, "tcp/127.0.0.1:1", &plant.endpoint);
    common::edit(&robot, "horizon_steps = 31", "horizon_steps = 30");
    common::edit(&robot, "initial_state = 51", "initial_state = 53");
    common::refuses(
        &mut collect(&robot, &out),
        2,
        &["from task 1, initial state 51, which the robot file's `starts` lack"],
    );
    common::edit(&robot, "initial_state = 53", "initial_state = 51");

    free();
    let last = collect(&robot, &out).output().unwrap();
    let said = String::from_utf8_lossy(&last.stdout);
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    assert!(
        said.contains("3 episodes, weak lost 2") && said.contains("next: aegis probe fit --rollouts"),
        "{said}"
    );
    assert!(!waiting.exists());
    // Given again, the same call drives no robot and replaces nothing.
    common::refuses(
        &mut collect(&robot, &out),
        2,
        &["rollouts.parquet: is there already", "choose another --out"],
    );
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

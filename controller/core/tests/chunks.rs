//! Checks of a whole chunk before its first action moves, one control period at a time, on a simulated rig.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::borrow::Cow;
use std::time::Duration;

use crate::support::{self, Answer, Rig, parts};
use aegis_core::control::{
    ChunkChecks, ControllerParts, Diagnostics, Inputs, Mode, Output, Proposal, Reply, StopReason, Treatment,
};

fn checked(chunk: ChunkChecks) -> ControllerParts {
    let mut parts = parts();
    parts.settings.chunk = chunk;
    parts
}

/// Limits of acceleration are 0.2 and of jerk 0.1, so a first action of 0.05 is no jump.
const NEAR: Answer = Answer::Chunk { after: 0, value: 0.05, score: 0.1 };
const FAR: Answer = Answer::Chunk { after: 0, value: 0.9, score: 0.1 };

/// Gives the weak policy's first reply of an episode, a chunk with these values in every channel.
fn replied(rig: &mut Rig, value: impl Fn(usize) -> f32) -> Output {
    rig.weak = Answer::Never;
    let request = rig.tick().ask_weak.unwrap();
    let values: Vec<f32> = (0..3 * support::HORIZON).map(|index| value(index / 3)).collect();
    let proposal = Ok(Proposal { width: 3, values: Cow::Owned(values), score: 0.1, benefit: None });
    let reply = Reply { request, episode: 1, observed: 0, took: Duration::ZERO, proposal, taken: None };
    let asked = Inputs { weak: Some(reply), ..rig.record[0].clone() };
    let wishes = Default::default();
    rig.feed(Inputs { now: asked.now + support::PERIOD, wishes, ..asked })
}

#[test]
fn a_chunk_that_begins_with_a_jump_is_rejected_and_counts_as_a_failure() {
    let chunk = ChunkChecks { jump: Treatment::Reject, ..ChunkChecks::default() };
    let mut rig = Rig::started(checked(chunk));
    rig.weak = NEAR;
    assert!(rig.run(12).iter().all(|output| !output.notices.has(Diagnostics::CHUNK_JUMP)));
    assert_eq!(rig.controller.mode(), Mode::Weak);
    (rig.weak, rig.strong) = (FAR, NEAR);
    let outputs = rig.run(40);
    assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::CHUNK_JUMP)));
    assert!(
        outputs.iter().any(|output| output.notices.has(Diagnostics::ESCALATED)),
        "after weak_misses rejections the strong policy drives"
    );
    let largest = rig.commands.iter().map(|command| command[0]).fold(0.0, f32::max);
    assert!(largest < 0.1, "no action of the chunk moved the robot: {largest}");
}

#[test]
fn a_strong_policy_whose_chunk_is_rejected_is_lost() {
    let chunk = ChunkChecks { jump: Treatment::Reject, ..ChunkChecks::default() };
    let mut rig = Rig::started(checked(chunk));
    (rig.weak, rig.strong) = (Answer::Chunk { after: 0, value: 0.05, score: 0.9 }, FAR);
    let stopped = rig.until(Mode::SafeStop, 40);
    assert_eq!(stopped.cause, Some(StopReason::StrongLost));
    assert!(rig.controller.counters().of(Diagnostics::CHUNK_JUMP) > 0);
}

#[test]
fn motion_within_a_chunk_stops_the_robot_before_its_first_action_where_the_settings_say_so() {
    let chunk = ChunkChecks { motion: Treatment::Stop, ..ChunkChecks::default() };
    let shakes = |index: usize| if index.is_multiple_of(2) { 0.3 } else { -0.3 };
    let mut rig = Rig::started(checked(chunk));
    let output = replied(&mut rig, shakes);
    assert_eq!((output.mode, output.cause), (Mode::SafeStop, Some(StopReason::ChunkRefused)));
    assert!(output.notices.has(Diagnostics::CHUNK_MOTION));
    assert!(rig.commands.iter().all(|command| command[0] == 0.0), "nothing moved");
    // With the default the same chunk is executed within its limits.
    let mut rig = Rig::started(parts());
    let output = replied(&mut rig, shakes);
    assert_eq!(output.mode, Mode::Weak);
    assert!(!output.notices.has(Diagnostics::CHUNK_MOTION) && output.limited != 0);
}

#[test]
fn an_action_out_of_bounds_stops_the_robot_where_the_settings_say_so() {
    let mut parts = parts();
    parts.settings.out_of_bounds = Treatment::Stop;
    let mut rig = Rig::started(parts);
    let output = replied(&mut rig, |index| if index == 7 { 1.5 } else { 0.0 });
    assert_eq!((output.mode, output.cause), (Mode::SafeStop, Some(StopReason::ChunkRefused)));
    assert!(output.notices.has(Diagnostics::REJECTED));
}

#[test]
fn settings_without_the_checks_are_written_as_they_were() {
    assert!(!serde_json::to_string(&parts().settings).unwrap().contains("chunk"));
    let refused: Result<ChunkChecks, _> = serde_json::from_str(r#"{ "jump": "ignore" }"#);
    assert!(refused.unwrap_err().to_string().contains("clamp"));
}

//! Tests of a person as the backup, within the controller: a fire calls an operator while the robot holds still, the operator drives
//! within the limits of every command, and the weak policy drives again once they let go.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::borrow::Cow;
use std::time::Duration;

use aegis_core::control::{
    CallPhase, CommandValues, ControlError, Controller, ControllerParts, Diagnostics, Inputs, Mode,
    OperatorCommands, OperatorSettings, Output, RefusalReason, StopReason, StrongLoss, TeleopCommand,
    TeleopFault, TeleopInputs,
};
use aegis_core::trigger::{DisagreementSettings, Rule};
use aegis_core::{Decision, Driver};

use crate::support::{ALARM, Answer, CALM, Rig, parts};

const ANNE: u64 = 7;

fn by_hand() -> ControllerParts {
    let operator = OperatorSettings {
        stream_timeout_ms: 200.0,
        answer_within_ms: 2000.0,
        first_within: Vec::new(),
        release_after_ms: 0.0,
    };
    let mut parts = parts();
    parts.operator = Some(operator);
    parts.limits.duty_cap = 1.0;
    parts
}

/// A rig with an operator who sends one command a period.
struct Called {
    rig: Rig,
    sequence: u32,
}

impl Called {
    /// Returns a rig in which the gate has just fired and the robot has come to rest.
    fn waiting() -> Self {
        let mut called = Self { rig: Rig::started(by_hand()), sequence: 0 };
        called.rig.until(Mode::Weak, 5);
        called.rig.weak = ALARM;
        called.rig.until(Mode::Holding, 20);
        while !called.rig.controller.is_at_rest() {
            called.rig.tick();
        }
        called
    }

    /// Returns a rig that an operator drives.
    fn driven() -> Self {
        let mut called = Self::waiting();
        let values = called.rig.controller.command().to_vec();
        assert_eq!(called.send(&values).mode, Mode::Strong);
        called
    }

    fn command(&mut self, values: &[f32], engaged: bool) -> TeleopCommand {
        self.sequence += 1;
        TeleopCommand {
            operator: ANNE,
            episode: 1,
            call: 1,
            sequence: self.sequence,
            arrived: 1,
            received: self.rig.now,
            stamp: self.rig.now,
            engaged,
            fault: TeleopFault::of(values, 3).filter(|_| engaged),
            values: CommandValues::of(values).unwrap(),
        }
    }

    fn pass(&mut self, command: TeleopCommand) -> Output {
        self.rig.teleop = Some(TeleopInputs { commands: Cow::Owned(vec![command]), foreign: 0 });
        self.rig.tick()
    }

    fn send(&mut self, values: &[f32]) -> Output {
        let command = self.command(values, true);
        self.pass(command)
    }

    fn release(&mut self) -> Output {
        let command = self.command(&[], false);
        self.pass(command)
    }
}

fn phase(output: &Output) -> CallPhase {
    output.call.as_ref().expect("the backup is a person").phase
}

#[test]
fn a_fire_calls_an_operator_while_the_robot_holds_still_within_its_limits() {
    let mut rig = Rig::started(by_hand());
    rig.latency = Some(Duration::ZERO);
    rig.until(Mode::Weak, 5);
    rig.weak = ALARM;
    let fired = rig.until(Mode::Holding, 20);
    assert!(fired.decision.is_some_and(|decision| decision.fired) && fired.ask_weak.is_none());
    let outputs = rig.run(30);
    assert!(outputs.iter().all(|output| output.ask_weak.is_none()), "a chunk would be too old by then");
    let mut called = Called::waiting();
    let output = called.rig.tick();
    assert_eq!(
        (output.mode, phase(&output), output.ask_strong, output.ask_weak),
        (Mode::Holding, CallPhase::Called, None, None)
    );
    let still = called.rig.controller.command().to_vec();
    let step = output.step;
    for _ in 0..10 {
        let output = called.rig.tick();
        assert_eq!(
            (output.mode, output.step, output.send),
            (Mode::Holding, step, true),
            "control steps stand still"
        );
        assert_eq!(called.rig.controller.command(), still);
        assert!(!output.notices.has(Diagnostics::AGED_CHUNK), "nothing is asked for while the robot waits");
    }
    // Acceleration 0.2 and jerk 0.1 a period: the commands between the fire and rest never exceed them.
    let positions: Vec<f64> = called.rig.commands.iter().map(|command| f64::from(command[1])).collect();
    let velocity: Vec<f64> = positions.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let acceleration: Vec<f64> = velocity.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(acceleration.iter().all(|value| value.abs() <= 0.2 + 1e-5));
    assert!(acceleration.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 0.1 + 1e-5));
}

#[test]
fn an_operator_takes_over_without_a_jump_drives_within_limits_and_hands_back() {
    let mut called = Called::waiting();
    let last = called.rig.controller.command().to_vec();
    let far = called.send(&[last[0], last[1] + 1.5, last[2]]);
    let refused = far.call.as_ref().unwrap().refused.unwrap();
    let RefusalReason::Far { channel: 1, away } = refused.reason else { panic!("{refused:?}") };
    assert!((away - 1.5).abs() < 1e-6 && far.notices.has(Diagnostics::FIRST_REFUSED));
    assert_eq!(
        (far.mode, called.rig.controller.command()),
        (Mode::Holding, &last[..]),
        "it is never executed"
    );
    let output = called.send(&last);
    assert_eq!((output.mode, phase(&output)), (Mode::Strong, CallPhase::Driving));
    // The far end of the range: reached by commands that are limited as a policy's are.
    let mut before = called.rig.commands.len();
    let wanted = [0.0, last[1] - 0.8, 1.0];
    while (called.rig.controller.command()[1] - wanted[1]).abs() > 1e-4 {
        assert_eq!(called.send(&wanted).mode, Mode::Strong);
        let commands = &called.rig.commands;
        assert!((commands[before][1] - commands[before - 1][1]).abs() <= 1.0 + 1e-5);
        before += 1;
        assert!(before < 200, "it is on its way");
    }
    assert_eq!(called.rig.controller.command()[2], 1.0, "the gripper");
    called.rig.weak = CALM;
    let output = called.release();
    assert_eq!(
        (output.mode, phase(&output)),
        (Mode::Holding, CallPhase::Quiet),
        "no time to take hold again"
    );
    let output = called.rig.until(Mode::Weak, 5);
    assert_eq!(phase(&output), CallPhase::Quiet);
    assert!(called.rig.run(20).iter().all(|output| output.mode == Mode::Weak));
}

#[test]
fn the_weak_policy_infers_in_shadow_and_no_score_takes_control_from_a_person() {
    let mut called = Called::driven();
    called.rig.weak = CALM;
    let (mut asked, mut decisions) = (0, 0);
    let hand_overs = called.rig.controller.counters().hand_overs;
    for period in 0..60 {
        // A calm gate would have handed back after the first hold, and one that alarms would have fired again.
        called.rig.weak = if period < 30 { CALM } else { ALARM };
        let values = called.rig.controller.command().to_vec();
        let output = called.send(&values);
        assert_eq!(output.mode, Mode::Strong);
        asked += u32::from(output.ask_weak.is_some());
        decisions += u32::from(output.decision.is_some());
        let is_held = |decision: &Decision| decision.driver == Driver::Strong && !decision.fired;
        assert!(output.decision.as_ref().is_none_or(is_held), "{:?}", output.decision);
    }
    assert_eq!(called.rig.controller.counters().hand_overs, hand_overs, "nobody has handed over");
    assert!(asked >= 5 && decisions >= 5, "{asked} questions, {decisions} decisions at boundaries");
    // A weak policy that is late, or lost, takes nothing away either, until it is needed again.
    called.rig.weak = Answer::Never;
    for _ in 0..20 {
        let values = called.rig.controller.command().to_vec();
        assert_eq!(called.send(&values).mode, Mode::Strong);
    }
    called.release();
    let output = called.rig.until(Mode::SafeStop, 5);
    assert_eq!(output.cause, Some(StopReason::WeakLost));
}

#[test]
fn the_gate_fires_again_after_a_hand_back_and_the_same_hold_of_the_person_does_not_answer() {
    let mut called = Called::driven();
    called.rig.weak = CALM;
    called.release();
    called.rig.until(Mode::Weak, 5);
    called.rig.weak = ALARM;
    let output = called.rig.until(Mode::Holding, 25);
    assert_eq!(output.call.as_ref().unwrap().call, 2);
    // Commands that answer the first call are dropped, however near they are.
    for _ in 0..3 {
        let values = called.rig.controller.command().to_vec();
        let output = called.send(&values);
        assert_eq!((output.mode, output.call.as_ref().unwrap().dropped), (Mode::Holding, 1));
    }
    let values = called.rig.controller.command().to_vec();
    let command = TeleopCommand { call: 2, ..called.command(&values, true) };
    assert_eq!(called.pass(command).mode, Mode::Strong);
}

#[test]
fn a_call_that_nobody_answers_and_a_stream_that_dies_are_safe_stops() {
    let mut called = Called::waiting();
    let output = called.rig.until(Mode::SafeStop, 45);
    assert_eq!((output.cause, phase(&output)), (Some(StopReason::Unanswered), CallPhase::Quiet));
    let mut called = Called::driven();
    let output = called.rig.until(Mode::SafeStop, 6);
    assert_eq!(output.cause, Some(StopReason::OperatorLost));
    for values in [&[f32::NAN, 0.0, 0.0][..], &[0.0; 4], &[]] {
        let mut called = Called::driven();
        let before = called.rig.controller.command().to_vec();
        let output = called.send(values);
        assert_eq!((output.mode, output.cause), (Mode::SafeStop, Some(StopReason::OperatorFault)));
        assert_eq!(called.rig.controller.command(), before, "at rest it stays at rest");
    }
}

#[test]
fn a_stop_ends_a_call_and_an_operators_control() {
    for stop in [
        OperatorCommands { stop: true, ..OperatorCommands::default() },
        OperatorCommands { e_stop: true, ..OperatorCommands::default() },
    ] {
        for mut called in [Called::waiting(), Called::driven()] {
            called.rig.wishes = stop;
            let values = called.rig.controller.command().to_vec();
            let output = called.send(&values);
            assert!(output.mode.is_latched() && phase(&output) == CallPhase::Quiet);
            let output = called.send(&values);
            assert_eq!((output.mode.is_latched(), output.call.as_ref().unwrap().dropped), (true, 1));
        }
    }
}

#[test]
fn a_lost_weak_policy_calls_an_operator_too_and_may_come_back_before_they_answer() {
    let mut rig = Rig::started(by_hand());
    rig.until(Mode::Weak, 5);
    rig.weak = Answer::Never;
    let output = rig.until(Mode::Holding, 40);
    assert_eq!((phase(&output), output.cause), (CallPhase::Called, None));
    let mut called = Called { rig, sequence: 0 };
    while !called.rig.controller.is_at_rest() {
        called.rig.tick();
    }
    let values = called.rig.controller.command().to_vec();
    assert_eq!(called.send(&values).mode, Mode::Strong);
}

#[test]
fn a_record_with_an_operator_gives_the_same_outputs_again_and_one_without_keeps_its_fields() {
    let mut called = Called::driven();
    let values = called.rig.controller.command().to_vec();
    called.send(&[values[0], values[1] - 0.4, 1.0]);
    called.rig.weak = CALM;
    called.release();
    called.rig.run(20);
    let mut again = Controller::new(by_hand()).unwrap();
    let mut sent = called.rig.commands.iter();
    for inputs in &called.rig.record {
        let text = serde_json::to_string(inputs).unwrap();
        assert_eq!(text.contains("\"teleop\""), inputs.teleop.is_some());
        assert_eq!(
            text.contains("\"cameras\""),
            inputs.teleop.is_some(),
            "the fields are read by their place"
        );
        let read: Inputs<'_> = serde_json::from_str(&text).unwrap();
        let output = again.tick(&read);
        if output.send {
            assert_eq!(Some(again.command()), sent.next().map(|command| &command[..]));
        }
    }
    assert_eq!(sent.next(), None);
    let mut rig = Rig::started(parts());
    let output = serde_json::to_string(&rig.tick()).unwrap();
    assert!(!output.contains("\"call\""), "{output}");
}

#[test]
fn settings_that_do_not_fit_a_person_are_refused_by_their_key() {
    let refused = |change: fn(&mut ControllerParts)| {
        let mut parts = by_hand();
        change(&mut parts);
        match Controller::new(parts) {
            Err(ControlError::Setting { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    fn operator(parts: &mut ControllerParts) -> &mut OperatorSettings {
        parts.operator.as_mut().unwrap()
    }
    let of = |key: &str| format!("models.strong.operator.{key}");
    assert_eq!(refused(|parts| operator(parts).stream_timeout_ms = 99.0), of("stream_timeout_ms"));
    assert_eq!(refused(|parts| operator(parts).stream_timeout_ms = f64::NAN), of("stream_timeout_ms"));
    assert_eq!(refused(|parts| operator(parts).answer_within_ms = 0.0), of("answer_within_ms"));
    assert_eq!(refused(|parts| operator(parts).release_after_ms = -1.0), of("release_after_ms"));
    assert_eq!(refused(|parts| operator(parts).first_within = vec![0.1]), of("first_within"));
    assert_eq!(refused(|parts| operator(parts).first_within = vec![0.1, 0.0, 0.1]), of("first_within[1]"));
    assert_eq!(refused(|parts| parts.ask_strong = true), "ask_strong");
    assert_eq!(
        refused(|parts| parts.settings.on_strong_loss = StrongLoss::WeakIfCalm),
        "control.on_strong_loss"
    );
    let distance = |parts: &mut ControllerParts| {
        let settings = DisagreementSettings { fire: 0.5, hand_back: 0.3 };
        parts.rule = Rule::Disagreement(settings).trigger().unwrap();
    };
    assert_eq!(refused(distance), "rule.kind");
    assert_eq!(operator(&mut by_hand()).stream_timeout(), Duration::from_millis(200));
}

#[test]
fn an_operators_control_period_allocates_nothing() {
    let mut called = Called::driven();
    let values = called.rig.controller.command().to_vec();
    let command = called.command(&values, true);
    let last = called.rig.record.last().unwrap().clone();
    let now = last.now + crate::support::PERIOD;
    let commands = [TeleopCommand { received: now, stamp: now, ..command }];
    let teleop = Some(TeleopInputs { commands: Cow::Borrowed(&commands), foreign: 0 });
    let inputs = Inputs { now, teleop, ..last };
    let counted = allocation_counter::measure(|| {
        assert_eq!(called.rig.controller.tick(&inputs).mode, Mode::Strong);
    });
    assert_eq!(counted.count_total, 0);
}

//! Tests of the call of an operator: who may take over, and what ends their control.

use std::borrow::Cow;

use super::super::channel::{Channel, ChannelKind};
use super::super::chunk_buffer::Overlap;
use super::super::motion::LimitScope;
use super::super::settings::{ChunkChecks, StrongLoss};
use super::super::teleop::TeleopFault;
use super::*;

const ANNE: u64 = 11;
const BERT: u64 = 22;

fn settings() -> ControlSettings {
    let channel =
        |kind| Channel { kind, low: -1.0, high: 1.0, velocity: 0.1, acceleration: 0.04, jerk: 0.03 };
    ControlSettings {
        rate_hz: 20.0,
        lead_steps: 1,
        overlap: Overlap::Replace,
        weak_misses: 2,
        strong_patience_steps: 4,
        on_strong_loss: StrongLoss::Stop,
        max_age_ms: 120.0,
        stale_steps: 3,
        frozen_ms: 0.0,
        plant_timeout_ms: 500.0,
        out_of_bounds: Treatment::Clamp,
        chunk: ChunkChecks::default(),
        limits: LimitScope::Always,
        start_within: f64::INFINITY,
        follow_within: f64::INFINITY,
        channels: vec![channel(ChannelKind::Position), channel(ChannelKind::Discrete)],
        cameras: Vec::new(),
    }
}

/// An operator's backup, and the time and numbers of the commands that it is given.
struct Rig {
    backup: OperatorBackup,
    settings: ControlSettings,
    last: Vec<f32>,
    now: Duration,
    sequence: u32,
    notices: Diagnostics,
}

impl Rig {
    fn called() -> Self {
        let (settings, last) = (settings(), vec![0.5, -1.0]);
        let operator = OperatorSettings {
            stream_timeout_ms: 200.0,
            answer_within_ms: 1000.0,
            first_within: Vec::new(),
            release_after_ms: 100.0,
        };
        let mut rig = Self {
            backup: OperatorBackup::new(operator, &settings.channels),
            settings,
            last,
            now: Duration::from_secs(5),
            sequence: 0,
            notices: Diagnostics::default(),
        };
        rig.hear(&[]);
        rig.backup.call();
        rig
    }

    /// Returns the next command of an operator, that answers the present call.
    fn command(&mut self, operator: u64, values: &[f32]) -> TeleopCommand {
        self.sequence += 1;
        TeleopCommand {
            operator,
            episode: 3,
            call: self.backup.report.call,
            sequence: self.sequence,
            arrived: 1,
            received: self.now,
            stamp: self.now,
            engaged: true,
            fault: TeleopFault::of(values, 2),
            values: CommandValues::of(values).unwrap(),
        }
    }

    /// Passes a control period of 50 ms with these commands.
    fn hear(&mut self, commands: &[TeleopCommand]) -> Option<OperatorEvent> {
        let inputs = TeleopInputs { commands: Cow::Borrowed(commands), foreign: 0 };
        let context =
            OperatorContext { now: self.now, episode: 3, last: &self.last, settings: &self.settings };
        self.notices = Diagnostics::default();
        let inputs = (!commands.is_empty()).then_some(&inputs);
        let event = self.backup.hear(inputs, &context, &mut self.notices);
        self.now += Duration::from_millis(50);
        event
    }

    /// Passes a control period with one command of an operator.
    fn send(&mut self, operator: u64, values: &[f32]) -> Option<OperatorEvent> {
        let command = self.command(operator, values);
        self.hear(&[command])
    }

    fn phase(&self) -> CallPhase {
        self.backup.phase()
    }

    /// Lets an operator take over.
    fn driven_by(operator: u64) -> Self {
        let mut rig = Self::called();
        assert_eq!(rig.send(operator, &[0.5, -1.0]), None);
        assert_eq!((rig.phase(), rig.backup.report().operator), (CallPhase::Driving, operator));
        rig
    }
}

#[test]
fn a_first_command_near_the_last_one_takes_over_and_another_is_told_how_far_it_is() {
    let mut rig = Rig::called();
    assert_eq!(rig.send(ANNE, &[0.7, -1.0]), None);
    let refused = rig.backup.report().refused.unwrap();
    let RefusalReason::Far { channel, away } = refused.reason else { panic!("{refused:?}") };
    assert!(channel == 0 && (away - 0.2).abs() < 1e-6 && refused.operator == ANNE, "{refused:?}");
    assert!(rig.notices.has(Diagnostics::FIRST_REFUSED));
    assert_eq!((rig.phase(), rig.backup.target()), (CallPhase::Called, None));
    // A gripper that would open is as far as its range.
    rig.send(ANNE, &[0.55, 1.0]);
    let refused = rig.backup.report().refused.unwrap();
    assert_eq!(refused.reason, RefusalReason::Far { channel: 1, away: 2.0 });
    rig.send(ANNE, &[0.6, -0.5]);
    assert_eq!((rig.phase(), rig.backup.report().refused), (CallPhase::Driving, None));
    assert_eq!(rig.backup.target(), Some(&[0.6, -0.5][..]));
    // From here on a command may be as far as it likes: the motion to it is limited.
    rig.send(ANNE, &[-0.9, 1.0]);
    assert_eq!(rig.backup.target(), Some(&[-0.9, 1.0][..]));
}

#[test]
fn a_first_command_that_cannot_be_executed_is_refused() {
    for (values, fault) in [
        (&[f32::NAN, -1.0][..], TeleopFault::NotFinite),
        (&[0.5, -1.0, 0.0], TeleopFault::Width),
        (&[], TeleopFault::Width),
    ] {
        let mut rig = Rig::called();
        assert_eq!(rig.send(ANNE, values), None);
        let refused = FirstRefusal { operator: ANNE, reason: RefusalReason::Faulty(fault) };
        assert_eq!((rig.phase(), rig.backup.report().refused), (CallPhase::Called, Some(refused)));
    }
}

#[test]
fn nobody_answers_and_the_robot_stops_after_the_time_for_an_answer() {
    let mut rig = Rig::called();
    for _ in 0..20 {
        assert_eq!(rig.hear(&[]), None);
        assert!(rig.backup.report().left < Duration::from_millis(1000));
    }
    assert_eq!(rig.hear(&[]), Some(OperatorEvent::Stop(StopReason::Unanswered)));
}

#[test]
fn a_stream_that_dies_and_a_command_that_cannot_be_executed_stop_the_robot() {
    let mut rig = Rig::driven_by(ANNE);
    for _ in 0..4 {
        assert_eq!(rig.hear(&[]), None);
        assert_eq!(rig.backup.target(), Some(&[0.5, -1.0][..]), "the last command goes on meanwhile");
    }
    assert_eq!(rig.hear(&[]), Some(OperatorEvent::Stop(StopReason::OperatorLost)));
    for values in [&[0.5, f32::INFINITY][..], &[0.5]] {
        let mut rig = Rig::driven_by(ANNE);
        assert_eq!(rig.send(ANNE, values), Some(OperatorEvent::Stop(StopReason::OperatorFault)));
    }
}

#[test]
fn who_lets_go_may_take_hold_again_for_a_while_by_the_rule_of_a_first_command() {
    let mut rig = Rig::driven_by(ANNE);
    let release = |rig: &mut Rig| {
        let command = TeleopCommand { engaged: false, ..rig.command(ANNE, &[]) };
        rig.hear(&[TeleopCommand { fault: None, ..command }])
    };
    assert_eq!(release(&mut rig), None);
    assert_eq!((rig.phase(), rig.backup.target()), (CallPhase::Released, None));
    assert_eq!(rig.send(ANNE, &[0.9, -1.0]), None);
    assert_eq!((rig.phase(), rig.backup.report().refused.is_some()), (CallPhase::Released, true));
    let mut held = Rig::driven_by(ANNE);
    release(&mut held);
    held.send(ANNE, &[0.45, -1.0]);
    assert_eq!((held.phase(), held.backup.report().operator), (CallPhase::Driving, ANNE));
    // The other one has not taken hold again, and no stream is needed any more.
    assert_eq!(rig.hear(&[]), Some(OperatorEvent::LetGo));
    assert_eq!(rig.phase(), CallPhase::Quiet);
}

#[test]
fn of_two_operators_the_first_drives_and_the_other_is_dropped() {
    let mut rig = Rig::called();
    let both = [rig.command(BERT, &[0.52, -1.0]), rig.command(ANNE, &[0.5, -1.0])];
    assert_eq!(rig.hear(&both), None);
    let report = rig.backup.report();
    assert_eq!((report.phase, report.operator, report.dropped), (CallPhase::Driving, BERT, 1));
    // The stream of the one who does not drive keeps nobody alive, and its faults stop nobody.
    for _ in 0..4 {
        assert_eq!(rig.send(ANNE, &[f32::NAN, -1.0]), None);
        assert_eq!(rig.backup.target(), Some(&[0.52, -1.0][..]));
        assert!(rig.notices.has(Diagnostics::OPERATOR_DROPPED));
    }
    assert_eq!(rig.send(ANNE, &[0.5, -1.0]), Some(OperatorEvent::Stop(StopReason::OperatorLost)));
}

#[test]
fn old_late_and_foreign_commands_and_those_without_a_call_are_dropped() {
    let mut rig = Rig::driven_by(ANNE);
    let good = rig.command(ANNE, &[0.6, -1.0]);
    rig.hear(&[good]);
    let target = Some(&[0.6, -1.0][..]);
    let dropped = |rig: &mut Rig, command: TeleopCommand| {
        assert_eq!(rig.hear(&[command]), None);
        rig.backup.report().dropped
    };
    let at = |rig: &mut Rig| rig.command(ANNE, &[0.9, -1.0]);
    let again = TeleopCommand { values: CommandValues::of(&[0.9, -1.0]).unwrap(), ..good };
    assert_eq!((dropped(&mut rig, again), rig.backup.target()), (1, target), "the same number again");
    let of_another_episode = TeleopCommand { episode: 2, ..at(&mut rig) };
    assert_eq!((dropped(&mut rig, of_another_episode), rig.backup.target()), (1, target));
    let with_older_ones = TeleopCommand { arrived: 3, ..at(&mut rig) };
    // One of the three has the number that the command of another episode left free.
    assert_eq!(dropped(&mut rig, with_older_ones), 1);
    assert_eq!(rig.backup.target(), Some(&[0.9, -1.0][..]));
    // On its way for longer than the fastest command by more than the stream's timeout.
    let mut late = TeleopCommand { values: CommandValues::of(&[0.1, -1.0]).unwrap(), ..at(&mut rig) };
    late.stamp -= Duration::from_millis(201);
    assert_eq!((dropped(&mut rig, late), rig.backup.target()), (1, Some(&[0.9, -1.0][..])));
    let mut rig = Rig::called();
    let earlier_call = TeleopCommand { call: 0, ..at(&mut rig) };
    assert_eq!((dropped(&mut rig, earlier_call), rig.phase()), (1, CallPhase::Called));
    rig.backup.withdraw();
    let command = rig.command(ANNE, &[0.5, -1.0]);
    assert_eq!((dropped(&mut rig, command), rig.phase()), (1, CallPhase::Quiet));
}

#[test]
fn bounds_and_checks_hold_for_a_person_as_for_a_policy() {
    let mut rig = Rig::driven_by(ANNE);
    assert_eq!(rig.send(ANNE, &[1.5, -1.0]), None);
    assert!(rig.backup.target().is_some() && rig.notices.has(Diagnostics::CLAMPED));
    rig.settings.out_of_bounds = Treatment::Reject;
    assert_eq!(rig.send(ANNE, &[1.5, -1.0]), None);
    assert!(rig.backup.target().is_none() && rig.notices.has(Diagnostics::REJECTED), "the robot holds still");
    assert_eq!(rig.send(ANNE, &[0.5, -1.0]), None);
    assert!(rig.backup.target().is_some());
    rig.settings.chunk.jump = Treatment::Reject;
    assert_eq!(rig.send(ANNE, &[0.8, -1.0]), None);
    assert!(rig.backup.target().is_none() && rig.notices.has(Diagnostics::CHUNK_JUMP));
    rig.settings.out_of_bounds = Treatment::Stop;
    assert_eq!(rig.send(ANNE, &[1.5, -1.0]), Some(OperatorEvent::Stop(StopReason::ChunkRefused)));
}

#[test]
fn streams_beyond_those_that_are_told_apart_take_the_place_of_the_oldest_and_never_of_the_drivers() {
    let mut rig = Rig::driven_by(ANNE);
    for operator in 100..120 {
        rig.send(operator, &[0.5, -1.0]);
        assert_eq!(rig.send(ANNE, &[0.5, -1.0]), None);
        assert_eq!((rig.phase(), rig.backup.report().operator), (CallPhase::Driving, ANNE));
    }
    let again = TeleopCommand { sequence: 1, ..rig.command(ANNE, &[0.7, -1.0]) };
    rig.hear(&[again]);
    assert_eq!(rig.backup.target(), Some(&[0.5, -1.0][..]), "its numbers are known still");
}

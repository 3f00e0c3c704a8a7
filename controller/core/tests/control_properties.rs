//! Invariants of the controller under random faults, operator commands and replies, over thousands of periods.

use crate::support::{self, Answer, Rig, channels, limits, parts};
use aegis_core::control::{
    Channel, ChannelKind, ControllerParts, LimitScope, Mode, Motion, NoProposal, OperatorCommands, Output,
    StrongLoss, Treatment,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Turn {
    weak: Answer,
    strong: Answer,
    wishes: OperatorCommands,
    observe: bool,
    heartbeat: bool,
    lost: bool,
    stopped: bool,
    skipped: u32,
    foreign: bool,
}

fn answer() -> impl Strategy<Value = Answer> {
    let value = prop_oneof![8 => -1.0_f32..1.0, 1 => Just(f32::NAN), 1 => Just(7.0_f32)];
    let score = prop_oneof![6 => 0.0_f64..1.0, 1 => Just(f64::NAN)];
    prop_oneof![
        20 => (0_u32..4, value, score).prop_map(|(after, value, score)| Answer::Chunk { after, value, score }),
        1 => Just(Answer::Fails(NoProposal::Failed)),
        1 => Just(Answer::Never),
    ]
}

fn rarely(one_in: u32) -> impl Strategy<Value = bool> {
    (0..one_in).prop_map(|draw| draw == 0)
}

fn turn() -> impl Strategy<Value = Turn> {
    let wishes = (rarely(60), rarely(40), rarely(6), rarely(4)).prop_map(|(e_stop, stop, reset, start)| {
        OperatorCommands { e_stop, stop, reset, start: start.then_some(1) }
    });
    let plant = (rarely(12), rarely(8), rarely(80), rarely(80));
    (answer(), answer(), wishes, plant, prop_oneof![9 => Just(0_u32), 1 => 1_u32..3], rarely(30)).prop_map(
        |(weak, strong, wishes, (blind, silent, lost, stopped), skipped, foreign)| Turn {
            weak,
            strong,
            wishes,
            observe: !blind,
            heartbeat: !silent,
            lost,
            stopped,
            skipped,
            foreign,
        },
    )
}

fn any_parts() -> impl Strategy<Value = ControllerParts> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1_u32..3).prop_map(|(shadow, calm, clamp, lead)| {
        let mut parts = parts();
        parts.ask_strong = shadow;
        parts.settings.on_strong_loss = if calm { StrongLoss::WeakIfCalm } else { StrongLoss::Stop };
        parts.settings.out_of_bounds = if clamp { Treatment::Clamp } else { Treatment::Reject };
        parts.settings.lead_steps = lead;
        parts
    })
}

fn play(parts: ControllerParts, turns: &[Turn], mut check: impl FnMut(&Rig, &Turn, Mode, &Output)) {
    let mut cell = Rig::started(parts);
    for turn in turns {
        (cell.weak, cell.strong, cell.wishes) = (turn.weak, turn.strong, turn.wishes);
        (cell.observe, cell.heartbeat) = (turn.observe, turn.heartbeat);
        (cell.lost, cell.stopped, cell.skipped) = (turn.lost, turn.stopped, turn.skipped);
        cell.episode = if turn.foreign { 2 } else { 1 };
        let before = cell.controller.mode();
        let output = cell.tick();
        check(&cell, turn, before, &output);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_controller_keeps_its_promises(parts in any_parts(), turns in prop::collection::vec(turn(), 1..250)) {
        let budget = limits().budget();
        let (mut fires, mut strong, mut last) = (0, 0_u32, vec![0.0_f32, 0.0, -1.0]);
        let mut speed = [0.0_f64; 2];
        play(parts, &turns, |cell, turn, before, output| {
            let command = cell.controller.command().to_vec();
            assert!(command.iter().all(|value| value.is_finite() && value.abs() <= 1.0));

            // An e-stop is obeyed in the same period, and no latched mode is left without a reset.
            if turn.wishes.e_stop {
                assert_eq!(output.mode, Mode::EStop);
            }
            if before.is_latched() && !output.mode.is_latched() {
                assert!(turn.wishes.reset);
            }
            // Outside the driving modes no policy's action is sent: commands only come to rest.
            let velocity = [f64::from(command[0]), f64::from(command[1]) - f64::from(last[1])];
            if !output.mode.drives() {
                assert!(output.driver.is_none() && output.limited == 0);
                assert_eq!(command[2], last[2], "a gripper stays as it is");
                if output.mode == Mode::EStop {
                    assert_eq!(velocity, [0.0; 2]);
                } else {
                    for (channel, (now, before)) in velocity.iter().zip(speed).enumerate() {
                        // The bounds of a position take precedence over its acceleration limit.
                        if channel == 1 && command[1].abs() == 1.0 {
                            continue;
                        }
                        // A current acceleration ends within the jerk limit: 0.2, then 0.1 more, and rounding.
                        assert!(now.abs() <= before.abs() + 0.2 + 1e-6, "{before} {now}");
                        assert!((now - before).abs() <= 0.2 + 1e-6 || before.abs() > 1.0, "{before} {now}");
                    }
                }
            }
            // In idle mode sending ends only at rest.
            if output.mode == Mode::Idle && !output.send {
                assert!(cell.controller.is_at_rest());
            }
            // The budget applies to each episode separately.
            let off = |mode: Mode| mode.is_latched() || mode == Mode::Idle;
            if off(before) && !off(output.mode) {
                (fires, strong) = (0, 0);
            }
            if let Some(decision) = &output.decision {
                fires += u32::from(decision.fired);
            }
            assert!(fires <= budget, "{fires} fires");
            // A strong policy that no longer replies does not keep control: it drives only on the chunks it gave, each
            // used once.
            strong = if output.mode == Mode::Strong && turn.strong == Answer::Never { strong + 1 } else { 0 };
            assert!(strong <= 3 * support::HORIZON as u32, "{strong}");
            speed = velocity;
            last = command;
        });
    }

    #[test]
    fn an_episode_comes_to_an_end_however_late_answers_are(
        parts in any_parts(),
        lateness in prop::collection::vec((0_u32..14, 0_u32..14, 0.0_f64..1.0, prop_oneof![9 => Just(0_u32), 1 => 1_u32..3]), 1..60),
    ) {
        let mut cell = Rig::started(parts);
        let mut turns = lateness.into_iter().cycle();
        let ended = (0..2000).any(|_| {
            let (weak, strong, score, skipped) = turns.next().unwrap();
            cell.weak = Answer::Chunk { after: weak, value: 0.5, score };
            cell.strong = Answer::Chunk { after: strong, value: -0.5, score: f64::NAN };
            cell.skipped = skipped;
            let mode = cell.tick().mode;
            mode == Mode::Idle || mode.is_latched()
        });
        prop_assert!(ended, "still {:?}", cell.controller.mode());
    }

    #[test]
    fn a_stop_keeps_acceleration_and_jerk_and_ends(
        commands in prop::collection::vec(-1.0_f32..1.0, 1..40), acceleration in 0.02_f64..0.5, jerk in 0.01_f64..0.5,
    ) {
        for kind in [ChannelKind::Rate, ChannelKind::Position] {
            let channel = Channel { kind, low: -1e3, high: 1e3, velocity: 2.0, acceleration, jerk };
            let mut motion = Motion::new(vec![channel], &[0.0], LimitScope::UntilCaughtUp);
            let mut sent = vec![0.0_f64];
            for command in &commands {
                motion.hand_over();
                motion.follow(&[*command]);
                sent.push(f64::from(motion.command()[0]));
            }
            let begin = sent.len();
            for _ in 0..2000 {
                if motion.is_at_rest() {
                    break;
                }
                motion.brake();
                sent.push(f64::from(motion.command()[0]));
            }
            prop_assert!(motion.is_at_rest(), "{:?} {:?}", kind, &sent[sent.len() - 8..]);
            let commands_of = sent.clone();
            let differences = |values: &[f64]| values.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
            let velocities = if kind == ChannelKind::Rate { sent } else { differences(&sent) };
            let accelerations = differences(&velocities);
            // Commands are 32-bit, so their third differences carry eight rounding errors.
            let largest = commands_of.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
            let slack = jerk * 1e-3 + 8.0 * largest * f64::from(f32::EPSILON);
            let from = begin.saturating_sub(2).min(accelerations.len());
            for pair in accelerations[from..].windows(2) {
                prop_assert!(pair[1].abs() <= acceleration + slack, "{:?}", pair);
                prop_assert!((pair[1] - pair[0]).abs() <= jerk + slack, "{:?} jerk {}", pair, jerk);
            }
        }
    }

    #[test]
    fn following_keeps_velocity_and_acceleration_and_arrives(targets in prop::collection::vec(-1.0_f32..1.0, 1..6)) {
        for index in 0..2 {
            let channel = channels()[index];
            let mut motion = Motion::new(vec![channel], &[0.0], LimitScope::UntilCaughtUp);
            let mut velocity = 0.0;
            for target in &targets {
                motion.hand_over();
                let mut periods = 0;
                loop {
                    let before = f64::from(motion.command()[0]);
                    let limited = motion.follow(&[*target]);
                    let now = f64::from(motion.command()[0]);
                    let next = if index == 0 { now } else { now - before };
                    prop_assert!(next.abs() <= 1.0 + 1e-6);
                    prop_assert!((next - velocity).abs() <= 0.2 + 1e-6, "{} to {}", velocity, next);
                    velocity = next;
                    periods += 1;
                    if limited == 0 {
                        break;
                    }
                    prop_assert!(periods < 60, "from {} towards {}", now, target);
                }
            }
        }
    }

    #[test]
    fn whatever_is_asked_for_no_command_leaves_its_bounds_or_its_limits(
        wishes in prop::collection::vec(wish(), 1..200),
        (velocity, acceleration, jerk) in limits_of_a_channel(),
        begin in -1.0_f32..1.0,
    ) {
        for kind in [ChannelKind::Rate, ChannelKind::Position] {
            let channel = Channel { kind, low: -1.0, high: 1.0, velocity, acceleration, jerk };
            let rest = if kind == ChannelKind::Rate { 0.0 } else { begin };
            let mut motion = Motion::new(vec![channel], &[rest], LimitScope::Always);
            let (mut before, mut speed, mut change) = (f64::from(rest), 0.0_f64, 0.0_f64);
            for wish in &wishes {
                match wish {
                    Some(target) => _ = motion.follow(&[*target]),
                    None => motion.brake(),
                }
                let command = f64::from(motion.command()[0]);
                prop_assert!(command.is_finite() && command.abs() <= 1.0, "{}", command);
                let next = if kind == ChannelKind::Rate { command } else { command - before };
                // Commands are 32-bit, so differences carry rounding errors; rest is exact.
                let slack = 8.0 * f64::from(f32::EPSILON) + 2e-3 * jerk.min(acceleration);
                prop_assert!(next.abs() <= velocity + slack, "{:?} velocity {} of {}", kind, next, velocity);
                let now = next - speed;
                prop_assert!(now.abs() <= acceleration + slack, "{:?} acceleration {} of {}", kind, now, acceleration);
                prop_assert!((now - change).abs() <= jerk + slack, "{:?} jerk {} of {}", kind, now - change, jerk);
                (before, speed, change) = (command, next, now);
            }
        }
    }

    #[test]
    fn a_target_that_stays_is_reached_within_all_limits(
        targets in prop::collection::vec(-1.0_f32..1.0, 1..5), (velocity, acceleration, jerk) in limits_of_a_channel(),
    ) {
        for kind in [ChannelKind::Rate, ChannelKind::Position] {
            let channel = Channel { kind, low: -1.0, high: 1.0, velocity, acceleration, jerk };
            let mut motion = Motion::new(vec![channel], &[0.0], LimitScope::Always);
            for target in &targets {
                let target = if kind == ChannelKind::Rate { target * velocity as f32 } else { *target };
                let reached = (0..4000).any(|_| motion.follow(&[target]) == 0);
                prop_assert!(reached, "{:?} at {:?} of {}", kind, motion.command(), target);
            }
        }
    }
}

/// Returns targets of a policy, of any kind; `None` is a stop.
fn wish() -> impl Strategy<Value = Option<f32>> {
    prop_oneof![
        12 => (-1.0_f32..1.0).prop_map(Some),
        1 => Just(Some(f32::NAN)),
        1 => Just(Some(f32::INFINITY)),
        1 => Just(Some(-3e30)),
        2 => Just(None),
    ]
}

/// Returns limits of velocity, acceleration and jerk, per control period.
fn limits_of_a_channel() -> impl Strategy<Value = (f64, f64, f64)> {
    (0.02_f64..0.5, 0.1_f64..1.0, 0.1_f64..1.0)
        .prop_map(|(velocity, share, part)| (velocity, velocity * share, velocity * share * part))
}

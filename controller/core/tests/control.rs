//! Reactions of the controller to faults, one control period at a time, on a simulated rig.

use std::time::Duration;

use crate::support::{self, ALARM, Answer, BACKUP, CALM, PERIOD, Rig, parts};
use aegis_core::control::{
    ChannelKind, ControllerParts, Diagnostics, Inputs, LimitScope, Mode, NoProposal, ObservationStamp,
    OperatorCommands, Overlap, PlantHealth, Proposal, Reply, StopReason, StrongLoss,
};
use aegis_core::trigger::BenefitSettings;
use aegis_core::{Driver, Rule};

#[test]
fn an_episode_runs_from_rest_to_rest() {
    let mut cell = Rig::started(parts());
    let first = cell.tick();
    assert_eq!((first.mode, first.ask_weak, first.send), (Mode::Holding, Some(1), true));
    let begun = cell.tick();
    assert_eq!((begun.mode, begun.step, begun.driver), (Mode::Weak, 0, Some(Driver::Weak)));
    let outputs = cell.run(130);
    let boundaries = outputs.iter().filter(|output| output.decision.is_some()).count();
    assert_eq!(boundaries, 9, "one every ten steps, the first above");
    assert_eq!(cell.controller.mode(), Mode::Idle, "the horizon ends it");
    assert!(cell.controller.is_at_rest());
    assert!(!cell.tick().send, "and nothing is sent any more");
    let counters = cell.controller.counters();
    assert_eq!((counters.weak_periods, counters.hand_overs, counters.stops), (100, 0, 0));
}

#[test]
fn a_goal_that_holds_ends_the_episode() {
    let mut cell = Rig::started(parts());
    cell.run(15);
    cell.success = true;
    assert_eq!(cell.tick().mode, Mode::Idle);
    assert!(cell.tick().send, "commands come to rest");
    cell.run(30);
    assert!(cell.controller.is_at_rest());
}

#[test]
fn the_rule_benefit_fires_by_what_a_hold_would_buy_whatever_the_risk() {
    let rule = Rule::Benefit(BenefitSettings { prices: vec![0.2] });
    let mut cell = Rig::started(ControllerParts { rule: rule.trigger().unwrap(), ..parts() });
    cell.weak = ALARM;
    cell.benefit = Some(0.1);
    cell.run(8);
    assert_eq!((cell.controller.mode(), cell.controller.counters().fires), (Mode::Weak, 0));
    (cell.weak, cell.benefit) = (CALM, Some(0.3));
    let fire = loop {
        let output = cell.tick();
        if output.decision.as_ref().is_some_and(|decision| decision.fired) {
            break output.decision.unwrap();
        }
    };
    assert_eq!((fire.reading, fire.thresholds.fire, fire.score.risk()), (Some(0.3), 0.2, 0.1));
    cell.until(Mode::Strong, 3);
    cell.benefit = Some(0.1);
    assert!(cell.until(Mode::Weak, 40).decision.unwrap().handed_over, "a hold ends by the same price");
}

#[test]
fn a_record_without_a_predicted_benefit_has_no_word_of_it() {
    let proposal = |benefit| Proposal { width: 1, values: vec![0.5_f32].into(), score: 0.1, benefit };
    let written = |benefit| serde_json::to_string(&proposal(benefit)).unwrap();
    assert_eq!(written(None), r#"{"width":1,"values":[0.5],"score":0.1}"#);
    let again: Proposal<'_> = serde_json::from_str(&written(Some(0.25))).unwrap();
    assert_eq!(again, proposal(Some(0.25)));
    let again: Proposal<'_> = serde_json::from_str(&written(None)).unwrap();
    assert_eq!(again, proposal(None));
}

#[test]
fn a_fire_hands_over_and_a_calm_rule_hands_back() {
    let mut cell = Rig::started(parts());
    cell.run(8);
    cell.weak = ALARM;
    let fire = loop {
        let output = cell.tick();
        if output.decision.as_ref().is_some_and(|decision| decision.fired) {
            break output;
        }
    };
    assert_eq!((fire.mode, fire.step), (Mode::Holding, 10), "no action of the chunk that raised the alarm");
    assert!(fire.ask_strong.is_some());
    let taken = cell.until(Mode::Strong, 3);
    assert_ne!(taken.limited, 0, "the jump from +0.5 to -0.5 is limited");
    cell.weak = CALM;
    let back = cell.until(Mode::Weak, 40);
    assert!(back.decision.unwrap().handed_over);
    assert_eq!((cell.controller.counters().fires, cell.controller.counters().hand_overs), (1, 2));
}

#[test]
fn a_strong_policy_that_is_asked_in_shadow_is_there_at_once() {
    let mut cell = Rig::started(ControllerParts { ask_strong: true, ..parts() });
    cell.weak = ALARM;
    let outputs = cell.run(4);
    assert_eq!(outputs[1].mode, Mode::Strong);
    assert!(outputs[1].decision.as_ref().unwrap().fired);
}

#[test]
fn a_shadow_that_was_asked_for_at_an_earlier_boundary_is_not_what_takes_over() {
    let mut cell = Rig::started(ControllerParts { ask_strong: true, ..parts() });
    // The chunk is asked for before step 10 and arrives after it: of its twelve actions, from step 9 on, one is left at
    // step 20.
    cell.run(8);
    cell.strong = Answer::Chunk { after: 4, value: -0.5, score: f64::NAN };
    cell.run(8);
    (cell.weak, cell.strong) = (ALARM, BACKUP);
    let strong = cell.run(24).iter().filter(|output| output.mode == Mode::Strong).count();
    assert!(strong >= 18, "{strong} periods of a hold of 20");
}

#[test]
fn a_chunk_of_another_length_is_no_chunk() {
    let mut cell = Rig::started(parts());
    cell.weak = Answer::Never;
    let request = cell.tick().ask_weak.unwrap();
    for length in [support::HORIZON - 1, support::HORIZON + 1] {
        let values = std::borrow::Cow::Owned(vec![0.5; 3 * length]);
        let proposal = Ok(Proposal { width: 3, values, score: 0.1, benefit: None });
        let reply = Reply { request, episode: 1, observed: 0, took: Duration::ZERO, proposal, taken: None };
        let output = cell.controller.clone().tick(&Inputs { weak: Some(reply), ..cell.record[0].clone() });
        assert_eq!(output.mode, Mode::Holding);
        assert!(output.notices.has(Diagnostics::REJECTED) && output.notices.has(Diagnostics::WEAK_FAILED));
    }
}

#[test]
fn one_missed_deadline_keeps_the_chunk_in_hand() {
    let mut cell = Rig::started(parts());
    cell.run(8);
    cell.weak = Answer::Chunk { after: 1, value: 0.2, score: 0.1 };
    let outputs = cell.run(20);
    assert!(outputs.iter().all(|output| output.mode == Mode::Weak));
    assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::WEAK_LATE)));
    assert_eq!(cell.controller.counters().stops, 0);
}

#[test]
fn a_weak_policy_that_misses_deadline_after_deadline_gives_way_to_the_strong_one_for_a_hold() {
    let mut cell = Rig::started(parts());
    cell.run(8);
    cell.weak = Answer::Never;
    let escalated = cell.run(10);
    assert!(escalated.iter().any(|output| output.notices.has(Diagnostics::ESCALATED)));
    assert_eq!(cell.controller.mode(), Mode::Strong);
    let stopped = cell.until(Mode::SafeStop, 40);
    assert_eq!(stopped.cause, Some(StopReason::WeakLost));
    let strong = cell.controller.counters().strong_periods;
    assert!(strong <= 20 + 2, "one hold and what was left of the last chunk: {strong}");
    assert_eq!(cell.controller.counters().fires, 0, "no fire was spent");
}

#[test]
fn both_lost_is_a_safe_stop() {
    let mut cell = Rig::started(parts());
    cell.run(8);
    (cell.weak, cell.strong) = (Answer::Never, Answer::Fails(NoProposal::Gone));
    let stopped = cell.until(Mode::SafeStop, 20);
    assert_eq!(stopped.cause, Some(StopReason::StrongLost));
}

#[test]
fn a_strong_policy_that_dies_mid_hold_runs_out_its_chunk_and_stops() {
    for death in [Answer::Never, Answer::Fails(NoProposal::Failed)] {
        let mut cell = Rig::started(parts());
        cell.weak = ALARM;
        cell.until(Mode::Strong, 5);
        cell.strong = death;
        let stopped = cell.until(Mode::SafeStop, 30);
        assert_eq!(stopped.cause, Some(StopReason::StrongLost));
        let strong = cell.controller.counters().strong_periods;
        assert_eq!(strong, support::HORIZON as u64, "every action that it gave is used, none again");
        assert_eq!(cell.controller.counters().fires, 1, "and the fire is not tried again");
    }
}

#[test]
fn where_it_may_a_calm_weak_policy_takes_over_from_a_dead_strong_one_and_fires_no_more() {
    let mut parts = parts();
    parts.settings.on_strong_loss = StrongLoss::WeakIfCalm;
    let mut cell = Rig::started(parts);
    cell.weak = ALARM;
    cell.until(Mode::Strong, 5);
    (cell.weak, cell.strong) = (CALM, Answer::Never);
    cell.until(Mode::Weak, 30);
    cell.weak = ALARM;
    let stopped = cell.until(Mode::SafeStop, 60);
    assert_eq!(stopped.cause, Some(StopReason::StrongLost));
    assert!(cell.controller.counters().of(Diagnostics::STRONG_FAILED) >= 1);
}

#[test]
fn a_strong_policy_that_takes_over_drives_from_its_step_to_the_end_whatever_the_gate_allows() {
    for (step, from) in [(0, 0), (15, 20)] {
        let mut parts = ControllerParts { take_over: Some(step), ask_strong: true, ..parts() };
        (parts.limits.budget_fraction, parts.limits.duty_cap) = (0.0, 0.0);
        let horizon = parts.limits.horizon_steps;
        let mut cell = Rig::started(parts);
        let outputs = cell.run(horizon + 3);
        let first = outputs.iter().find(|output| output.mode == Mode::Strong).unwrap();
        assert!((from..from + 3).contains(&first.step), "{}", first.step);
        let after: Vec<Mode> =
            outputs.iter().filter(|output| output.step > from + 2).map(|output| output.mode).collect();
        assert!(after.iter().all(|mode| matches!(mode, Mode::Strong | Mode::Idle)), "{after:?}");
        assert_eq!(after.last(), Some(&Mode::Idle));
        assert_eq!((cell.controller.counters().fires, cell.controller.counters().stops), (0, 0));
    }
}

#[test]
fn without_a_gate_the_weak_policy_does_not_take_the_lost_strong_ones_place() {
    let mut parts = ControllerParts { take_over: Some(0), ..parts() };
    parts.settings.on_strong_loss = StrongLoss::WeakIfCalm;
    let mut cell = Rig::started(parts);
    cell.until(Mode::Strong, 5);
    cell.strong = Answer::Never;
    let stopped = cell.until(Mode::SafeStop, 60);
    assert_eq!(stopped.cause, Some(StopReason::StrongLost));
}

#[test]
fn a_chunk_that_is_not_finite_or_out_of_bounds_is_no_chunk() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.5] {
        let mut cell = Rig::started(parts());
        cell.run(8);
        cell.weak = Answer::Chunk { after: 0, value, score: 0.1 };
        cell.strong = cell.weak;
        let outputs = cell.run(30);
        assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::REJECTED)), "{value}");
        assert_eq!(cell.controller.mode(), Mode::SafeStop, "{value}");
        assert!(cell.commands.iter().flatten().all(|command| command.is_finite() && command.abs() <= 1.0));
    }
}

#[test]
fn actions_are_clamped_where_the_settings_say_so() {
    let mut parts = parts();
    parts.settings.out_of_bounds = aegis_core::control::Treatment::Clamp;
    let mut cell = Rig::started(parts);
    cell.weak = Answer::Chunk { after: 0, value: 1.5, score: 0.1 };
    let outputs = cell.run(30);
    assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::CLAMPED)));
    assert_eq!(cell.controller.command()[0], 1.0);
    // NaN cannot be clamped.
    cell.weak = Answer::Chunk { after: 0, value: f32::NAN, score: 0.1 };
    cell.strong = cell.weak;
    cell.until(Mode::SafeStop, 40);
}

#[test]
fn a_score_that_is_not_a_number_is_the_highest_risk() {
    let mut cell = Rig::started(parts());
    cell.weak = Answer::Chunk { after: 0, value: 0.5, score: f64::NAN };
    let outputs = cell.run(4);
    let decision = outputs.iter().find_map(|output| output.decision.clone()).unwrap();
    assert!(decision.fired && decision.score.is_flagged());
    assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::FLAGGED)));
}

#[test]
fn an_old_observation_is_not_inferred_on_and_then_stops_the_robot() {
    let mut cell = Rig::started(parts());
    cell.run(7);
    cell.observe = false;
    let outputs = cell.run(10);
    let stale: Vec<bool> = outputs.iter().map(|output| output.notices.has(Diagnostics::STALE)).collect();
    let first = stale.iter().position(|stale| *stale).unwrap();
    assert_eq!(first, 2, "older than 120 ms from the third period on");
    assert!(outputs[first..].iter().all(|output| output.ask_weak.is_none()));
    assert_eq!(outputs[first + 2].cause, Some(StopReason::Stale), "the third stale period stops it");
}

#[test]
fn an_observation_counts_from_when_it_was_taken_and_not_from_when_it_came() {
    let ms = Duration::from_millis;
    let mut parts = parts();
    parts.settings.max_age_ms = 150.0;
    let mut cell = Rig::started(parts.clone());
    cell.latency = Some(ms(150));
    assert!(!cell.until(Mode::Weak, 3).notices.has(Diagnostics::STALE), "as old as may be");
    // Each observation arrives in the period that reads it, 600 ms after the plant took it: the connection is slow but
    // steady.
    let mut cell = Rig::started(parts);
    cell.latency = Some(ms(600));
    let outputs = cell.run(40);
    assert!(outputs[..3].iter().all(|output| output.notices.has(Diagnostics::STALE)));
    assert!(outputs.iter().all(|output| output.ask_weak.is_none() && !output.mode.drives()));
    assert_eq!(outputs[2].cause, Some(StopReason::Stale), "the third stale period stops it");
    assert!(cell.commands.iter().all(|command| command == &[0.0, 0.0, -1.0]), "it stands where it stood");
}

#[test]
fn a_chunk_made_from_what_was_taken_too_long_before_the_question_is_none() {
    for (ago, aged) in [(120, false), (121, true)] {
        let mut cell = Rig::started(parts());
        cell.weak = Answer::Never;
        let request = cell.tick().ask_weak.unwrap();
        let asked = cell.record.last().unwrap().clone();
        let values = vec![0.5; 3 * support::HORIZON].into();
        let proposal = Ok(Proposal { width: 3, values, score: 0.1, benefit: None });
        let taken = Some(asked.now - Duration::from_millis(ago));
        let reply = Reply { request, episode: 1, observed: 0, took: Duration::ZERO, proposal, taken };
        let output =
            cell.controller.tick(&Inputs { weak: Some(reply), wishes: OperatorCommands::default(), ..asked });
        assert_eq!(output.notices.has(Diagnostics::AGED_CHUNK), aged, "{ago} ms");
        assert_eq!(output.mode.drives(), !aged, "{ago} ms");
    }
}

#[test]
fn a_chunk_that_waits_while_nobody_drives_is_dropped_when_it_has_become_too_old() {
    // The longest wait for the strong policy is four periods; an offer may be one period older.
    let wait = |periods: u32| {
        let mut cell = Rig::started(parts());
        cell.weak = Answer::Never;
        let request = cell.tick().ask_weak.unwrap();
        let asked = cell.record.last().unwrap().clone();
        let values = vec![0.5; 3 * support::HORIZON].into();
        let proposal = Ok(Proposal { width: 3, values, score: 0.1, benefit: None });
        let taken = Some(asked.now - Duration::from_millis(120));
        let reply = Reply { request, episode: 1, observed: 0, took: Duration::ZERO, proposal, taken };
        let now = asked.now + Duration::from_millis(50) * periods;
        let plant = PlantHealth { heard: now, ..asked.plant };
        let wishes = OperatorCommands::default();
        let output = cell.controller.tick(&Inputs { now, plant, weak: Some(reply), wishes, ..asked });
        (output.notices.has(Diagnostics::AGED_CHUNK), output.mode.drives())
    };
    assert_eq!(wait(5), (false, true));
    assert_eq!(wait(6), (true, false));
}

#[test]
fn what_was_recorded_before_the_plants_clock_was_reads_as_it_did() {
    // Fields in order and without names, as in a record: the newest fields are the last ones, and they are missing here.
    let time = r#"{"secs":1,"nanos":0}"#;
    let seen: ObservationStamp = serde_json::from_str(&format!("[1,2,1,{time},0,false,null]")).unwrap();
    assert_eq!((seen.taken, seen.taken_at()), (None, Duration::from_secs(1)));
    assert_eq!(seen.age(Duration::from_secs(3)), Duration::from_secs(2));
    let plant: PlantHealth = serde_json::from_str(&format!("[{time},false,true]")).unwrap();
    assert_eq!((plant.stopped, plant.round_trip), (true, None));
    for (text, expected) in [
        (format!(r#"[1,1,0,{time},{{"Err":"gone"}}]"#), None),
        (format!(r#"[1,1,0,{time},{{"Err":"gone"}},{time}]"#), Some(Duration::from_secs(1))),
    ] {
        let reply: Reply<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(reply.taken, expected);
    }
    // Whatever a record holds, no observation was taken after its arrival.
    let early = ObservationStamp { taken: Some(Duration::from_secs(9)), ..seen };
    assert_eq!(early.taken_at(), seen.received);
}

#[test]
fn an_episode_begins_with_what_was_seen_before_it_and_not_with_what_was_seen_of_another() {
    for (seen_of, stale) in [(1, false), (7, true)] {
        let mut cell = Rig::new(parts());
        cell.episode = seen_of;
        cell.tick();
        (cell.episode, cell.observe, cell.wishes.start) = (1, false, Some(1));
        let output = cell.tick();
        assert_eq!(output.mode, Mode::Holding);
        assert_eq!(output.notices.has(Diagnostics::STALE), stale);
        assert_eq!(output.ask_weak.is_some(), !stale);
    }
}

#[test]
fn pictures_that_do_not_change_are_stale() {
    let mut cell = Rig::started(parts());
    for number in 0..8 {
        cell.pictures = number + 1;
        cell.tick();
    }
    let stopped = cell.until(Mode::SafeStop, 20);
    assert_eq!(stopped.cause, Some(StopReason::Stale));
    assert!(cell.controller.counters().of(Diagnostics::FROZEN) > 0);
}

#[test]
fn sequence_numbers_decide_what_an_observation_counts_for() {
    let mut cell = Rig::started(parts());
    cell.run(5);
    cell.sequence -= 2;
    assert!(cell.tick().notices.has(Diagnostics::DUPLICATE));
    cell.sequence += 4;
    assert!(cell.tick().notices.has(Diagnostics::GAP));
    cell.episode = 7;
    assert!(cell.tick().notices.has(Diagnostics::FOREIGN_OBSERVATION));
    assert_eq!(cell.controller.counters().missing_observations, 3);
}

#[test]
fn a_reply_of_an_earlier_episode_or_question_is_dropped() {
    let mut cell = Rig::started(parts());
    cell.weak = Answer::Chunk { after: 3, value: 0.9, score: 0.1 };
    cell.run(2);
    cell.wishes = OperatorCommands { stop: true, ..OperatorCommands::default() };
    cell.tick();
    cell.wishes = OperatorCommands { reset: true, start: Some(2), ..OperatorCommands::default() };
    cell.episode = 2;
    cell.weak = CALM;
    let asked = cell.tick().ask_weak.unwrap();
    // Replies to an earlier request, and to this request on an observation from before the reset.
    for (request, episode) in [(1, 1), (asked, 1)] {
        let values = vec![0.9; 3 * support::HORIZON].into();
        let proposal = Ok(Proposal { width: 3, values, score: 0.1, benefit: None });
        let reply = Reply { request, episode, observed: 3, took: Duration::ZERO, proposal, taken: None };
        let inputs = Inputs { weak: Some(reply), ..cell.record.last().unwrap().clone() };
        let output = cell.feed(Inputs { wishes: OperatorCommands::default(), ..inputs });
        assert!(output.notices.has(Diagnostics::FOREIGN_REPLY) && !output.mode.drives());
    }
    cell.until(Mode::Weak, 5);
    assert!(cell.commands.iter().all(|command| command[0] != 0.9));
}

#[test]
fn a_silent_lost_or_stopped_plant_stops_the_controller_until_somebody_resets_it() {
    type Spoil = (fn(&mut Rig), StopReason);
    let spoil: [Spoil; 3] = [
        (|cell| cell.heartbeat = false, StopReason::PlantSilent),
        (|cell| cell.lost = true, StopReason::PlantLost),
        (|cell| cell.stopped = true, StopReason::PlantStopped),
    ];
    for (spoil, cause) in spoil {
        let mut cell = Rig::started(parts());
        cell.run(8);
        spoil(&mut cell);
        let stopped = cell.until(Mode::SafeStop, 12);
        assert_eq!(stopped.cause, Some(cause));
        (cell.heartbeat, cell.lost, cell.stopped) = (true, false, false);
        cell.wishes.start = Some(1);
        let outputs = cell.run(40);
        assert!(
            outputs.iter().all(|output| output.mode == Mode::SafeStop),
            "a plant that is back changes nothing"
        );
        cell.wishes.reset = true;
        assert_eq!(cell.tick().mode, Mode::Idle);
        assert_eq!(cell.tick().mode, Mode::Idle, "and even then nothing moves before an episode begins");
        cell.wishes.start = Some(1);
        cell.until(Mode::Weak, 4);
    }
}

#[test]
fn a_plant_that_is_not_there_yet_is_no_fault_and_one_that_goes_between_episodes_is() {
    let mut cell = Rig::new(parts());
    cell.heartbeat = false;
    assert!(cell.run(30).iter().all(|output| output.mode == Mode::Idle), "nobody has been claimed yet");
    cell.heartbeat = true;
    cell.wishes.start = Some(1);
    cell.until(Mode::Weak, 4);
    cell.success = true;
    cell.until(Mode::Idle, 3);
    cell.run(30);
    cell.heartbeat = false;
    cell.until(Mode::SafeStop, 12);
}

#[test]
fn a_start_from_where_the_plant_stood_too_long_ago_is_refused() {
    let mut parts = parts();
    parts.settings.max_age_ms = 100.0;
    for (age, begins) in [(Duration::from_millis(100), true), (Duration::from_millis(101), false)] {
        let mut cell = Rig::started(parts.clone());
        cell.pose = Some(vec![0.0, 0.0, 1.0]);
        cell.pose_taken = Some(cell.now + PERIOD - age);
        let output = cell.tick();
        assert_eq!((output.mode.is_on(), output.notices.has(Diagnostics::START_REFUSED)), (begins, !begins));
    }
    // A start in a latched mode gives the diagnostic too.
    let mut cell = Rig::new(parts);
    cell.wishes.e_stop = true;
    cell.tick();
    (cell.wishes.start, cell.pose_taken) = (Some(1), Some(cell.now + PERIOD));
    let output = cell.tick();
    assert!(output.mode == Mode::EStop && output.notices.has(Diagnostics::START_REFUSED));
}

#[test]
fn a_discrete_channel_begins_at_rest_whatever_the_episode_before_left() {
    let mut cell = Rig::started(parts());
    cell.until(Mode::Weak, 10);
    cell.run(3);
    assert_eq!(cell.controller.command()[2], 0.5, "the policy moved it");
    cell.success = true;
    cell.until(Mode::Idle, 3);
    cell.success = false;
    cell.run(100);
    (cell.weak, cell.wishes.start) = (Answer::Never, Some(1));
    (cell.pose, cell.pose_taken) = (Some(vec![0.0, 0.0, -1.0]), Some(cell.now + PERIOD));
    assert_eq!(cell.tick().mode, Mode::Holding);
    assert_eq!(cell.controller.command()[2], -1.0);
}

#[test]
fn a_robot_that_does_not_follow_is_stopped_and_sent_nothing_before_the_next_start() {
    let mut parts = parts();
    parts.settings.channels[1].kind = ChannelKind::Position;
    parts.settings.follow_within = 0.1;
    let follows = |cell: &mut Rig, periods: usize| {
        for _ in 0..periods {
            cell.measured = Some(cell.controller.command().to_vec());
            assert!(cell.tick().send);
        }
    };
    // While a policy drives, in a safe stop, and in an e-stop: a drive is off, or a person pushes the arm.
    type Latch = fn(&mut Rig);
    let latches: [(Latch, StopReason); 3] = [
        (|_| (), StopReason::NotFollowing),
        (|cell| cell.wishes.stop = true, StopReason::Asked),
        (|cell| cell.wishes.e_stop = true, StopReason::EStop),
    ];
    for (latch, cause) in latches {
        let mut cell = Rig::started(parts.clone());
        follows(&mut cell, 20);
        latch(&mut cell);
        follows(&mut cell, 20);
        let away = cell.controller.command()[1] + 0.2;
        cell.measured = Some(vec![0.0, away, 0.0]);
        // An observation that is too old is no evidence of the current position.
        cell.latency = Some(Duration::from_secs(5));
        assert!(cell.tick().send);
        cell.latency = None;
        let output = cell.tick();
        assert!(!output.send && output.mode.is_latched());
        assert_eq!(output.cause, Some(cause));
        for _ in 0..50 {
            assert!(!cell.tick().send, "{cause:?}");
        }
        cell.wishes.reset = true;
        cell.until(Mode::Idle, 3);
        (cell.wishes.start, cell.pose) = (Some(1), Some(vec![0.0, away, -1.0]));
        cell.pose_taken = Some(cell.now + PERIOD);
        assert!(cell.tick().send, "{cause:?}");
        assert!((cell.controller.command()[1] - away).abs() < 0.05, "from where it stands");
    }
}

#[test]
fn a_latch_sends_nothing_to_a_plant_that_stopped_by_itself() {
    // Between episodes, after some time without commands.
    for wish in [
        OperatorCommands { stop: true, ..OperatorCommands::default() },
        OperatorCommands { e_stop: true, ..OperatorCommands::default() },
    ] {
        let mut cell = Rig::started(parts());
        cell.until(Mode::Weak, 10);
        cell.success = true;
        cell.until(Mode::Idle, 5);
        cell.success = false;
        let mut sent = true;
        for _ in 0..100 {
            sent = cell.tick().send;
        }
        assert!(!sent && cell.controller.is_at_rest());
        cell.wishes = wish;
        assert!(!cell.tick().send, "{wish:?}");
        assert!(cell.controller.mode().is_latched() && !cell.tick().send, "{wish:?}");
    }
    // In an episode: a command to stand still would move a robot that was pushed.
    let mut cell = Rig::started(parts());
    cell.until(Mode::Weak, 10);
    assert!(cell.tick().send);
    cell.stopped = true;
    let stopped = cell.until(Mode::SafeStop, 3);
    assert!(!stopped.send && !cell.tick().send);
    // The plant's pose is known again only after the next start.
    cell.stopped = false;
    for _ in 0..100 {
        assert!(!cell.tick().send);
    }
    cell.wishes.reset = true;
    cell.until(Mode::Idle, 3);
    cell.wishes.start = Some(1);
    assert!(cell.until(Mode::Weak, 10).send);
    // After a stop in an episode commands come to rest and stay there.
    cell.wishes.stop = true;
    for _ in 0..100 {
        assert!(cell.tick().send);
    }
}

#[test]
fn a_robot_that_still_moves_is_not_reset() {
    let mut cell = Rig::started(parts());
    cell.run(15);
    cell.wishes.stop = true;
    cell.tick();
    cell.wishes.reset = true;
    assert_eq!(cell.tick().mode, Mode::SafeStop);
    cell.run(40);
    cell.wishes.reset = true;
    assert_eq!(cell.tick().mode, Mode::Idle);
}

#[test]
fn missed_periods_are_counted_and_their_actions_are_not_made_up_for() {
    let mut cell = Rig::started(parts());
    cell.run(5);
    let sent = cell.commands.len();
    cell.skipped = 3;
    let output = cell.tick();
    assert!(output.notices.has(Diagnostics::OVERRUN));
    assert_eq!((output.step, cell.commands.len()), (7, sent + 1));
}

#[test]
fn a_controller_that_stood_still_too_long_stops_and_sends_nothing_before_the_next_start() {
    type Latch = fn(&mut Rig);
    let latches: [(Latch, StopReason); 3] = [
        (|_| (), StopReason::Suspended),
        (|cell| cell.wishes.stop = true, StopReason::Asked),
        (|cell| cell.wishes.e_stop = true, StopReason::EStop),
    ];
    let parts = parts();
    let longest = (parts.settings.plant_timeout().as_nanos() / parts.settings.period().as_nanos()) as u32;
    for (latch, cause) in latches {
        let mut cell = Rig::started(parts.clone());
        cell.run(8);
        latch(&mut cell);
        assert!(cell.tick().send);
        cell.skipped = longest;
        assert!(cell.tick().send, "as long as the plant may be silent");
        cell.skipped = longest + 1;
        // All is young and alive again, but nobody knows what happened to the robot.
        let output = cell.tick();
        assert_eq!((output.cause, output.mode.is_latched(), output.send), (Some(cause), true, false));
        assert!(cell.run(40).iter().all(|output| !output.send));
        cell.wishes.reset = true;
        assert_eq!(cell.tick().mode, Mode::Idle);
        cell.wishes.start = Some(2);
        cell.episode = 2;
        assert!(cell.tick().send);
    }
}

#[test]
fn a_budget_that_is_spent_binds_whatever_the_score() {
    let mut cell = Rig::started(parts());
    let mut outputs = Vec::new();
    for _ in 0..120 {
        cell.weak = if cell.controller.mode() == Mode::Strong { CALM } else { ALARM };
        outputs.push(cell.tick());
    }
    let fires = outputs.iter().filter(|output| output.decision.as_ref().is_some_and(|d| d.fired)).count();
    assert_eq!(fires, 2);
    assert!(outputs.iter().any(|output| output.notices.has(Diagnostics::BUDGET_SPENT)));
    assert!(cell.controller.counters().strong_periods <= 60, "the duty cap");
}

#[test]
fn a_score_that_dances_about_the_threshold_hands_over_no_more_often_than_the_limits_say() {
    let mut cell = Rig::started(parts());
    let mut high = false;
    let mut outputs = Vec::new();
    for _ in 0..120 {
        cell.weak = Answer::Chunk { after: 0, value: 0.5, score: if high { 0.5001 } else { 0.4999 } };
        let output = cell.tick();
        high ^= output.decision.is_some();
        outputs.push(output);
    }
    let changes = cell.controller.counters().hand_overs;
    assert!((1..=4).contains(&changes), "{changes}");
    let holds: Vec<usize> = outputs
        .split(|output| output.mode != Mode::Strong)
        .map(<[_]>::len)
        .filter(|length| *length > 0)
        .collect();
    assert!(holds.iter().all(|length| *length >= 20), "no hold is shorter than its minimum: {holds:?}");
}

#[test]
fn chunks_of_one_policy_blend_and_those_of_two_do_not() {
    let mut parts = parts();
    parts.settings.overlap = Overlap::Blend(3);
    parts.settings.limits = LimitScope::UntilCaughtUp;
    parts.settings.lead_steps = 2;
    parts.limits.chunk_steps = 5;
    let mut cell = Rig::started(parts);
    cell.weak = Answer::Chunk { after: 0, value: 0.1, score: 0.1 };
    cell.run(4);
    cell.weak = Answer::Chunk { after: 0, value: 0.9, score: 0.1 };
    cell.run(8);
    let blended: Vec<f32> = cell.commands.iter().map(|command| command[0]).collect();
    for between in [0.3, 0.5, 0.7] {
        assert!(blended.iter().any(|value| (value - between).abs() < 1e-6), "{between}: {blended:?}");
    }
}

#[test]
fn the_wall_clock_is_nowhere_and_time_starts_where_it_likes() {
    let run = |start: Duration| {
        let mut cell = Rig::new(parts());
        cell.now = start;
        cell.wishes.start = Some(1);
        cell.tick();
        cell.weak = BACKUP;
        cell.run(30);
        cell.commands
    };
    assert_eq!(run(Duration::ZERO), run(PERIOD * 1_000_000));
}

#[test]
fn a_record_of_the_inputs_gives_the_same_outputs_again() {
    let mut cell = Rig::started(parts());
    let mut outputs = Vec::new();
    for number in 0..140_u32 {
        cell.weak = if number % 37 < 12 { ALARM } else { CALM };
        cell.skipped = u32::from(number % 29 == 28);
        cell.observe = number % 31 != 30;
        outputs.push(cell.tick());
    }
    let mut again = Rig::new(parts());
    for (inputs, expected) in cell.record.into_iter().zip(outputs) {
        assert_eq!(format!("{:?}", again.controller.tick(&inputs)), format!("{expected:?}"));
    }
}

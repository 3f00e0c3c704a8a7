//! Limits of the gate, checked for every rule on every sequence of alarms and calms up to an episode's length.
//! Sequences are enumerated, not sampled; the rule's signals are read from a second copy of the rule beside the gate.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::fmt::Debug;

use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{
    BenefitSettings, BuiltIn, CostSettings, DisagreementSettings, FunctionalBand, Schedule, TrendSettings,
};
use aegis_core::{
    Driver, Evidence, Gate, GateLimits, PlattScaling, Readings, Rule, Score, Signal, Thresholds, Trigger,
};

const CHUNKS: u32 = 8;

fn grid() -> Vec<GateLimits> {
    let mut grid = Vec::new();
    for guard_fraction in [0.0, 0.3] {
        for (budget_fraction, budget_unit) in
            [(0.0, BudgetUnit::Chunks), (0.2, BudgetUnit::Chunks), (1.0, BudgetUnit::Steps)]
        {
            for duty_cap in [0.3, 0.6, 1.0] {
                for hold_chunks in [1, 2, 4] {
                    for (return_chunks, whole_holds) in [(0, false), (1, false), (1, true), (3, false)] {
                        // The horizon cuts the last chunk short.
                        grid.push(GateLimits {
                            return_chunks,
                            guard_fraction,
                            budget_fraction,
                            budget_unit,
                            duty_cap,
                            hold_chunks,
                            whole_holds,
                            horizon_steps: CHUNKS * 5 - 2,
                            chunk_steps: 5,
                        });
                    }
                }
            }
        }
    }
    grid
}

/// Values from which the evidence of one boundary is made.
#[derive(Clone, Copy, Debug)]
struct Given {
    score: f64,
    disagreement: Option<f64>,
}

/// Counts of an episode, for the tests that compare them.
struct Totals {
    fires: u32,
    alarms: u32,
    switches: u32,
}

/// Runs one episode and checks every decision against the limits.
fn check<T: Trigger + Clone + PartialEq + Debug>(
    limits: &GateLimits,
    trigger: &T,
    given: &[Given],
) -> Totals {
    let mut gate = Gate::new(limits.clone(), trigger.clone()).unwrap();
    let mut beside = trigger.clone();
    let (mut before, mut calm, mut held, mut strong_steps) = (Driver::Weak, 0, 0, 0);
    let mut totals = Totals { fires: 0, alarms: 0, switches: 0 };
    for (boundary, Given { score, disagreement }) in (0..).zip(given.iter().copied()) {
        // The benefit that is predicted is as high as the risk.
        let (step, benefit, score) = (boundary * limits.chunk_steps, Some(score), Score::new(score));
        let signal = beside.read(&Evidence { boundary, step, driver: before, score, benefit, disagreement });
        let mut twin = gate.clone();
        let readings = Readings { score, benefit, disagreement };
        let decision = gate.boundary(step, readings);
        assert_eq!(decision, twin.boundary(step, readings), "equal states decide equally");
        assert_eq!(gate, twin, "and stay equal");

        let told = || format!("{trigger:?} under {limits:?}, boundary {boundary} of {given:?}: {decision:?}");
        let room =
            totals.fires < limits.budget() && strong_steps + limits.hold_steps() <= limits.duty_steps();
        let fits = !limits.whole_holds || step + limits.hold_steps() <= limits.horizon_steps;
        let armed = step >= limits.guard_steps() && before == Driver::Weak && room && fits;
        assert_eq!(decision.guarded, step < limits.guard_steps(), "{}", told());
        assert_eq!(decision.armed, armed, "{}", told());
        assert_eq!(decision.fired, armed && signal.alarm, "{}", told());
        assert_eq!(decision.handed_over, decision.driver != before, "{}", told());
        assert_eq!((decision.reading, decision.thresholds), (signal.reading, signal.against), "{}", told());
        assert_eq!(decision.wanted, decision.driver, "{}", told());
        totals.alarms += u32::from(signal.alarm);
        totals.fires += u32::from(decision.fired);
        totals.switches += u32::from(decision.handed_over);
        assert_eq!(decision.budget_left, limits.budget() - totals.fires, "{}", told());
        match (before, decision.driver) {
            (Driver::Weak, Driver::Strong) => {
                assert!(decision.fired, "{}", told());
                (calm, held) = (0, 0);
            }
            (Driver::Strong, next) => {
                calm = if signal.calm { calm + 1 } else { 0 };
                let spent = strong_steps + limits.chunk_steps > limits.duty_steps();
                let returns = held >= limits.hold_chunks && (calm >= limits.return_chunks || spent);
                assert_eq!(next == Driver::Weak, returns, "{}", told());
            }
            (Driver::Weak, Driver::Weak) => {}
        }
        if decision.driver == Driver::Strong {
            held += 1;
            strong_steps += limits.chunk_steps;
        }
        assert!(strong_steps <= limits.duty_steps(), "{}", told());
        before = decision.driver;
    }
    assert!(totals.fires <= limits.budget());
    totals
}

/// Returns all sequences of one length over an alphabet.
fn sequences<A: Copy>(alphabet: &[A], length: u32) -> Vec<Vec<A>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        shorter
            .iter()
            .flat_map(|head| alphabet.iter().map(move |next| [head.as_slice(), &[*next]].concat()))
            .collect()
    })
}

/// Stand-in for a user's rule: returns the scripted signals, contradictory ones included.
#[derive(Clone, Debug, PartialEq)]
struct Puppet(Vec<(bool, bool)>);

impl Trigger for Puppet {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let (alarm, calm) = self.0[evidence.boundary as usize];
        let against = Thresholds { fire: 1.0, hand_back: 0.0 };
        Signal { alarm, calm, reading: Some(0.5), against }
    }
}

const QUIET: Given = Given { score: 0.1, disagreement: Some(0.1) };
const LOUD: Given = Given { score: 0.9, disagreement: Some(0.9) };
const MIDDLE: Given = Given { score: 0.5, disagreement: Some(0.5) };

#[test]
fn any_rule_of_a_users_own_stays_within_the_limits() {
    let signals = [(false, false), (false, true), (true, false), (true, true)];
    let scripts = sequences(&signals, 6);
    for limits in grid() {
        for script in &scripts {
            check(&limits, &Puppet(script.clone()), &[MIDDLE; 6]);
        }
    }
}

/// Returns every rule that reads evidence, each set so that `LOUD` after `QUIET` is an alarm and `QUIET` is calm.
fn reading_rules() -> Vec<Rule> {
    let thresholds = Thresholds { fire: 0.6, hand_back: 0.4 };
    let calibrator = PlattScaling { slope: 1.0, intercept: 0.0 };
    vec![
        Rule::Conformal(thresholds),
        Rule::FunctionalBand(FunctionalBand { upper: vec![0.95, 0.6, 0.4], hand_back: 0.2 }),
        Rule::Cost(CostSettings {
            cost_of_missed_failure: 2.0,
            cost_of_false_alarm: 3.0,
            hand_back: 0.4,
            calibrator,
        }),
        Rule::Trend(TrendSettings { window: 2, slope: 0.1, floor: 0.4, hand_back: 0.4, switch_cap: 5 }),
        Rule::Disagreement(DisagreementSettings { fire: 0.6, hand_back: 0.4 }),
        Rule::Benefit(BenefitSettings { prices: vec![0.95, 0.6] }),
    ]
}

#[test]
fn every_rule_that_reads_stays_within_the_limits_on_all_sequences() {
    let sequences = sequences(&[QUIET, LOUD], CHUNKS);
    for rule in reading_rules() {
        let trigger = rule.trigger().unwrap();
        let (mut fires, mut most_switches) = (0, 0);
        for limits in grid() {
            for given in &sequences {
                let totals = check(&limits, &trigger, given);
                fires += totals.fires;
                most_switches = most_switches.max(totals.switches);
            }
        }
        assert!(fires > 0, "{rule:?} never fired: the enumeration says nothing about it");
        if let Rule::Trend(settings) = rule {
            assert!(most_switches == settings.switch_cap - 1, "an odd cap acts as the even one below");
        }
    }
}

#[test]
fn every_rule_that_reads_stays_within_the_limits_between_its_thresholds_too() {
    let broken = Given { score: f64::NAN, disagreement: None };
    let sequences = sequences(&[QUIET, MIDDLE, broken], 5);
    // NaN is not equal to itself, so decisions that carry the score are compared on its risk.
    let as_risk = |given: &Given| Given {
        score: if given.score.is_nan() { f64::INFINITY } else { given.score },
        disagreement: given.disagreement.or(Some(f64::INFINITY)),
    };
    for rule in reading_rules() {
        let trigger = rule.trigger().unwrap();
        for limits in grid() {
            for given in &sequences {
                let highest: Vec<Given> = given.iter().map(as_risk).collect();
                check(&limits, &trigger, &highest);
                let drivers = |given: &[Given]| -> Vec<(Driver, bool)> {
                    let mut gate = Gate::new(limits.clone(), trigger.clone()).unwrap();
                    (0..)
                        .zip(given)
                        .map(|(boundary, Given { score, disagreement })| {
                            let readings = Readings {
                                score: Score::new(*score),
                                benefit: Some(*score),
                                disagreement: *disagreement,
                            };
                            gate.boundary(boundary * limits.chunk_steps, readings)
                        })
                        .map(|decision| (decision.driver, decision.fired))
                        .collect()
                };
                assert_eq!(drivers(given), drivers(&highest), "{rule:?}: NaN is the highest risk");
            }
        }
    }
}

#[test]
fn schedules_stay_within_the_limits_at_all_boundaries_they_may_name() {
    let named = sequences(&[false, true], CHUNKS);
    let sets = named
        .iter()
        .map(|chosen| (0..CHUNKS).filter(|boundary| chosen[*boundary as usize]).collect::<Vec<u32>>());
    let mut rules: Vec<Rule> = sets
        .flat_map(|boundaries| {
            [
                Rule::Random { boundaries: boundaries.clone() },
                Rule::Blind { schedule: Schedule::At(boundaries) },
            ]
        })
        .collect();
    for (first, period) in [(0, 1), (0, 3), (2, 2), (7, 1), (9, 4)] {
        rules.push(Rule::Blind { schedule: Schedule::Every { first, period } });
    }
    for limits in grid() {
        for rule in &rules {
            check(&limits, &rule.trigger().unwrap(), &[LOUD; CHUNKS as usize]);
        }
        let never = check(&limits, &Rule::Never {}.trigger().unwrap(), &[LOUD; CHUNKS as usize]);
        assert_eq!((never.alarms, never.fires), (0, 0));
    }
}

#[test]
fn drawn_fires_a_gap_apart_all_take_place_and_last_the_shortest_stay() {
    let named = sequences(&[false, true], CHUNKS);
    for limits in grid().into_iter().filter(|limits| limits.duty_cap == 1.0 && limits.budget() > 2) {
        let first = limits.guard_steps().div_ceil(limits.chunk_steps);
        for chosen in &named {
            let boundaries: Vec<u32> =
                (first..CHUNKS).filter(|boundary| chosen[*boundary as usize]).collect();
            let apart = boundaries.windows(2).all(|pair| pair[1] - pair[0] >= limits.fire_gap());
            // The last hold has to fit under the duty cap of the whole horizon, which is cut short.
            let stay = limits.fire_gap() - 1;
            let fit = boundaries.iter().all(|boundary| limits.may_fire_at(boundary * limits.chunk_steps));
            if apart && fit && boundaries.len() as u32 * stay * limits.chunk_steps <= limits.duty_steps() {
                let trigger = BuiltIn::Schedule(Schedule::At(boundaries.clone()));
                let totals = check(&limits, &trigger, &[QUIET; CHUNKS as usize]);
                assert_eq!(totals.fires as usize, boundaries.len(), "{boundaries:?} under {limits:?}");
            }
        }
    }
}

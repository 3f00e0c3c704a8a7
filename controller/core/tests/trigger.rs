//! Each alarm rule on evidence small enough to know the exact result, and the draw of the placebo.
//! Every error names its field.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::BTreeMap;

use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{
    BenefitSettings, CostSettings, DisagreementSettings, DrawError, FunctionalBand, Reach, Schedule,
    TrendSettings, chunk_disagreement, draw_boundaries,
};
use aegis_core::{
    Arbiter, Authority, Chunk, Driver, Evidence, Gate, GateLimits, PlattScaling, Rule, Score, Signal,
    Thresholds, Trigger,
};

fn at(boundary: u32, score: f64) -> Evidence {
    let step = boundary * 10;
    Evidence {
        boundary,
        step,
        driver: Driver::Weak,
        score: Score::new(score),
        benefit: None,
        disagreement: None,
    }
}

fn alarms(rule: &Rule, scores: &[f64]) -> Vec<bool> {
    let mut trigger = rule.trigger().unwrap();
    (0..).zip(scores).map(|(boundary, score)| trigger.read(&at(boundary, *score)).alarm).collect()
}

fn refused(rule: Rule) -> &'static str {
    rule.trigger().unwrap_err().field
}

fn limits() -> GateLimits {
    GateLimits {
        return_chunks: 1,
        guard_fraction: 0.2,
        budget_fraction: 0.1,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 1.0,
        hold_chunks: 3,
        whole_holds: false,
        horizon_steps: 100,
        chunk_steps: 10,
    }
}

#[test]
fn a_band_has_a_threshold_for_each_boundary_and_the_last_holds_beyond() {
    let band =
        |upper: &[f64], hand_back| Rule::FunctionalBand(FunctionalBand { upper: upper.into(), hand_back });
    let rule = band(&[0.9, f64::INFINITY, 0.3], 0.3);
    assert_eq!(alarms(&rule, &[0.5, 0.99, 0.5, 0.5, 0.3]), [false, false, true, true, false]);
    assert_eq!(alarms(&rule, &[f64::NAN; 3]), [true, false, true], "infinite is never, at NaN too");
    assert_eq!(refused(band(&[], 0.1)), "trigger.upper");
    assert_eq!(refused(band(&[0.5, f64::NAN], 0.1)), "trigger.upper");
    assert_eq!(refused(band(&[0.5, 0.2], 0.3)), "trigger.hand_back");
    assert_eq!(refused(band(&[0.5], f64::NAN)), "trigger.hand_back");
}

#[test]
fn fixed_thresholds_are_refused_when_they_cross() {
    let fixed = |fire, hand_back| Rule::Conformal(Thresholds { fire, hand_back });
    assert_eq!(refused(fixed(f64::NAN, 0.0)), "trigger.fire");
    assert_eq!(refused(fixed(0.1, 0.2)), "trigger.hand_back");
    assert_eq!(refused(fixed(0.1, f64::NAN)), "trigger.hand_back");
    let error = fixed(0.1, 0.2).trigger().unwrap_err().to_string();
    assert_eq!(error, "gate.trigger.hand_back: found 0.2 with fire at 0.1; valid is a number, at most fire");
}

fn cost(missed: f64, false_alarm: f64, slope: f64, hand_back: f64) -> CostSettings {
    CostSettings {
        cost_of_missed_failure: missed,
        cost_of_false_alarm: false_alarm,
        hand_back,
        calibrator: PlattScaling { slope, intercept: 0.0 },
    }
}

#[test]
fn the_cheaper_decision_in_expectation_wins_at_every_probability() {
    for (missed, false_alarm) in [(1.0, 1.0), (9.0, 1.0), (1.0, 4.0), (1e300, 1e299)] {
        let mut rule = cost(missed, false_alarm, 1.0, 0.0);
        for percent in 1..100 {
            let p = f64::from(percent) / 100.0 + 0.0005;
            let expected = p * missed > (1.0 - p) * false_alarm;
            assert_eq!(rule.read(&at(0, p)).alarm, expected, "{missed} against {false_alarm} at {p}");
        }
        assert!(rule.read(&at(0, f64::NAN)).alarm);
    }
    let hopelessly_dear = cost(1e-200, 1e200, 1.0, 0.0);
    assert!(
        hopelessly_dear.clone().read(&at(0, f64::NAN)).alarm
            && !hopelessly_dear.clone().read(&at(0, 0.9)).alarm
    );
}

#[test]
fn the_cost_rule_reads_the_calibrated_probability() {
    // Slope 2 maps odds of 2 to odds of 4.
    let mut rule = cost(1.0, 3.0, 2.0, 0.2);
    let signal = rule.read(&at(0, 2.0 / 3.0));
    assert!((signal.reading.unwrap() - 0.8).abs() < 1e-12);
    assert!(signal.alarm && !signal.calm && signal.against.fire == 0.75);
}

#[test]
fn cost_settings_are_refused_by_name() {
    let field = |settings| refused(Rule::Cost(settings));
    assert_eq!(field(cost(0.0, 1.0, 1.0, 0.1)), "trigger.cost_of_missed_failure");
    assert_eq!(field(cost(1.0, f64::INFINITY, 1.0, 0.1)), "trigger.cost_of_false_alarm");
    assert_eq!(field(cost(1.0, 1.0, -1.0, 0.1)), "trigger.calibrator.slope");
    assert_eq!(field(cost(1.0, 1.0, f64::NAN, 0.1)), "trigger.calibrator.slope");
    assert_eq!(field(cost(1.0, 1.0, 1.0, 0.6)), "trigger.hand_back");
    let calibrator = PlattScaling { slope: 1.0, intercept: f64::NAN };
    assert_eq!(
        field(CostSettings { calibrator, ..cost(1.0, 1.0, 1.0, 0.1) }),
        "trigger.calibrator.intercept"
    );
}

const TREND: TrendSettings =
    TrendSettings { window: 3, slope: 0.1, floor: 0.4, hand_back: 0.3, switch_cap: 2 };

#[test]
fn a_trend_needs_a_full_window_a_slope_and_a_floor() {
    let rule = Rule::Trend(TREND);
    let trigger = || rule.trigger().unwrap();
    assert_eq!(alarms(&rule, &[0.0, 0.9, 0.9, 0.9]), [false, false, true, false]);
    assert_eq!(alarms(&rule, &[0.0, 0.15, 0.35, 0.5]), [false, false, false, true], "the floor");
    let mut line = trigger();
    let slopes: Vec<f64> =
        [0.1, 0.3, 0.5, 0.4].iter().zip(0..).map(|(s, b)| line.read(&at(b, *s)).reading.unwrap()).collect();
    assert!((slopes[2] - 0.2).abs() < 1e-12 && (slopes[3] - 0.05).abs() < 1e-12);
}

#[test]
fn a_nan_is_a_rise_without_bound_and_then_no_line() {
    let nan = f64::NAN;
    let rule = Rule::Trend(TREND);
    assert_eq!(alarms(&rule, &[nan, 0.5, 0.9, 0.9, nan]), [true, false, false, true, true]);
    assert_eq!(alarms(&rule, &[nan, nan]), [true, true]);
    assert_eq!(alarms(&rule, &[f64::NEG_INFINITY, 0.5, 0.9]), [false, false, false]);
}

#[test]
fn a_trend_stops_at_its_cap_on_switches() {
    let mut trigger = Rule::Trend(TREND).trigger().unwrap();
    let drivers = [Driver::Weak, Driver::Strong, Driver::Strong, Driver::Weak];
    let alarms = drivers.map(|driver| trigger.read(&Evidence { driver, ..at(0, f64::NAN) }).alarm);
    assert_eq!(alarms, [true, false, false, false]);
    for (field, settings) in [
        ("trigger.window", TrendSettings { window: 1, ..TREND }),
        ("trigger.slope", TrendSettings { slope: f64::NAN, ..TREND }),
        ("trigger.floor", TrendSettings { floor: f64::INFINITY, ..TREND }),
        ("trigger.hand_back", TrendSettings { hand_back: 0.5, ..TREND }),
        ("trigger.switch_cap", TrendSettings { switch_cap: 1, ..TREND }),
    ] {
        assert_eq!(refused(Rule::Trend(settings)), field);
    }
}

#[test]
fn disagreement_is_a_root_mean_square_over_chunks_of_one_shape() {
    let chunk = |width, values: &[f32]| Chunk::new(width, values.to_vec()).unwrap();
    let weak = chunk(2, &[0.0, 1.0, 2.0, 3.0]);
    assert_eq!(chunk_disagreement(&weak, &weak).unwrap(), 0.0);
    assert_eq!(chunk_disagreement(&weak, &chunk(2, &[1.0, 1.0, 5.0, 6.0])).unwrap(), (19.0_f64 / 4.0).sqrt());
    let error = chunk_disagreement(&weak, &chunk(1, &[0.0; 4])).unwrap_err().to_string();
    assert_eq!(error, "strong action chunk beside the weak one: found [4, 1]; valid is [2, 2]");
}

#[test]
fn an_unknown_distance_counts_as_the_largest() {
    let mut rule = DisagreementSettings { fire: 0.5, hand_back: 0.2 };
    let mut read = |disagreement, score| {
        let signal = rule.read(&Evidence { disagreement, ..at(0, score) });
        (signal.alarm, signal.calm)
    };
    assert_eq!(read(Some(0.1), 0.9), (false, true));
    assert_eq!(read(Some(0.3), 0.9), (false, false));
    assert_eq!(read(Some(0.6), 0.0), (true, false));
    for (disagreement, score) in [(None, 0.0), (Some(f64::NAN), 0.0), (Some(0.1), f64::NAN)] {
        assert_eq!(read(disagreement, score), (true, false));
    }
    assert!(rule.needs_disagreement());
    assert_eq!(
        refused(Rule::Disagreement(DisagreementSettings { fire: 0.1, hand_back: 0.2 })),
        "trigger.hand_back"
    );
}

#[test]
fn a_benefit_is_compared_with_the_price_of_its_boundary_and_an_unknown_one_is_the_largest() {
    let mut rule = BenefitSettings { prices: vec![0.5, 0.2] };
    let mut read = |boundary, benefit, score| {
        let signal = rule.read(&Evidence { benefit, ..at(boundary, score) });
        (signal.alarm, signal.calm, signal.against.fire)
    };
    assert_eq!(read(0, Some(0.3), 0.9), (false, true, 0.5));
    assert_eq!(read(1, Some(0.3), 0.0), (true, false, 0.2));
    assert_eq!(read(7, Some(-0.3), 1.0), (false, true, 0.2), "the last price holds for later boundaries");
    assert_eq!(read(1, Some(0.2), 0.0), (false, false, 0.2), "at its price a hold neither begins nor ends");
    for (benefit, score) in [(None, 0.0), (Some(f64::NAN), 0.0), (Some(-1.0), f64::NAN)] {
        assert_eq!(read(1, benefit, score), (true, false, 0.2));
    }
    assert!(rule.needs_benefit() && !rule.needs_disagreement());
    for prices in [vec![], vec![f64::NAN], vec![0.1, -0.1]] {
        assert_eq!(refused(Rule::Benefit(BenefitSettings { prices })), "trigger.prices");
    }
    assert_eq!(Rule::Benefit(BenefitSettings { prices: vec![1.0] }).reach(), Reach::Unreachable);
    assert_eq!(Rule::Benefit(BenefitSettings { prices: vec![1.0, 0.9] }).reach(), Reach::Reachable);
}

#[test]
fn schedules_read_nothing() {
    let nan = [f64::NAN; 7];
    let blind = |schedule| Rule::Blind { schedule };
    let every = blind(Schedule::Every { first: 1, period: 3 });
    assert_eq!(alarms(&every, &nan), [false, true, false, false, true, false, false]);
    let random = Rule::Random { boundaries: vec![0, 5] };
    assert_eq!(alarms(&random, &nan), [true, false, false, false, false, true, false]);
    assert_eq!(alarms(&Rule::Never {}, &nan), [false; 7]);
    assert_eq!(refused(blind(Schedule::Every { first: 0, period: 0 })), "trigger.schedule.every.period");
    assert_eq!(refused(blind(Schedule::At(vec![3, 3]))), "trigger.boundaries");
    assert_eq!(refused(Rule::Random { boundaries: vec![5, 2] }), "trigger.boundaries");
}

#[test]
fn a_schedule_hands_back_right_after_the_hold() {
    let trigger = Rule::Random { boundaries: vec![3] }.trigger().unwrap();
    let mut gate = Gate::new(limits(), trigger).unwrap();
    let strong: Vec<u32> = (0..10)
        .filter(|boundary| gate.boundary(boundary * 10, Score::new(f64::NAN)).driver == Driver::Strong)
        .collect();
    assert_eq!(strong, [3, 4, 5]);
}

#[test]
fn the_draw_names_each_allowed_choice_exactly_once() {
    let allowed = [2, 3, 5, 6, 7, 11];
    for gap in 1..=5 {
        for count in 0..=4_usize {
            let fits = |set: &[u32]| set.windows(2).all(|pair| pair[1] - pair[0] >= gap);
            let mut expected: Vec<Vec<u32>> = (0..1_u32 << allowed.len())
                .map(|mask| (0..6).filter(|bit| mask >> bit & 1 == 1).map(|bit| allowed[bit]).collect())
                .filter(|set: &Vec<u32>| set.len() == count && fits(set))
                .collect();
            expected.sort();
            let mut ways = 0;
            let first = draw_boundaries(&allowed, count, gap, &mut |bound| {
                ways = bound;
                0
            });
            if expected.is_empty() {
                assert_eq!(first, Err(DrawError::TooFew { count, gap, allowed: 6 }));
                continue;
            }
            let drawn: Vec<Vec<u32>> =
                (0..ways).map(|rank| draw_boundaries(&allowed, count, gap, &mut |_| rank).unwrap()).collect();
            assert_eq!(drawn, expected, "count {count}, gap {gap}");
        }
    }
}

#[test]
fn the_draw_refuses_what_it_cannot_do() {
    let draw = |allowed: &[u32], count| draw_boundaries(allowed, count, 1, &mut |_| 0);
    assert_eq!(draw(&[1, 1], 1), Err(DrawError::NotAscending(vec![1, 1])));
    assert_eq!(draw(&[1, 2], 3), Err(DrawError::TooFew { count: 3, gap: 1, allowed: 2 }));
    let many: Vec<u32> = (0..200).collect();
    assert_eq!(draw(&many, 100), Err(DrawError::TooMany { count: 100, allowed: 200 }));
    assert_eq!(draw(&[], 0), Ok(vec![]));
}

#[test]
fn take_over_ignores_the_limits_and_never_returns() {
    let limits = GateLimits { budget_fraction: 0.0, duty_cap: 0.0, ..limits() };
    let rule = Rule::TakeOver { step: 15 };
    let mut arbiter = Arbiter::new(Authority::from_rule(&rule, &limits, false).unwrap());
    let decisions: Vec<(Driver, bool)> = (0..5)
        .map(|boundary| arbiter.boundary(boundary * 10, Score::new(0.0)))
        .map(|decision| (decision.driver, decision.handed_over))
        .collect();
    let (weak, strong) = (Driver::Weak, Driver::Strong);
    assert_eq!(decisions, [(weak, false), (weak, false), (strong, true), (strong, false), (strong, false)]);
    assert_eq!(Authority::from_rule(&rule, &limits, true).unwrap_err().field, "rule.kind");
    assert_eq!(refused(rule), "rule.kind");
}

#[test]
fn a_shadow_decides_as_the_gate_and_never_switches() {
    let rule = Rule::Conformal(Thresholds { fire: 0.6, hand_back: 0.4 });
    let arbiter = |shadow| Arbiter::new(Authority::from_rule(&rule, &limits(), shadow).unwrap());
    let (mut gated, mut shadow) = (arbiter(false), arbiter(true));
    let mut fires = 0;
    for (boundary, score) in (0..).zip([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1, 0.1]) {
        let obeyed = gated.boundary(boundary * 10, Score::new(score));
        let heard = shadow.boundary(boundary * 10, Score::new(score));
        assert_eq!((heard.driver, heard.handed_over), (Driver::Weak, false));
        assert_eq!((heard.wanted, heard.fired), (obeyed.driver, obeyed.fired));
        assert_eq!(heard.budget_left, obeyed.budget_left);
        fires += u32::from(heard.fired);
    }
    assert_eq!(fires, 1);
}

#[test]
fn fixed_authorities_never_hand_over() {
    for (authority, driver) in [(Authority::WeakOnly, Driver::Weak), (Authority::StrongOnly, Driver::Strong)]
    {
        let mut arbiter: Arbiter = Arbiter::new(authority);
        for boundary in 0..4 {
            let decision = arbiter.boundary(boundary * 10, Score::new(f64::NAN));
            assert_eq!((decision.driver, decision.handed_over, decision.fired), (driver, false, false));
        }
    }
}

#[test]
fn a_users_own_rule_can_be_chosen_at_run_time() {
    struct Odd;
    impl Trigger for Odd {
        fn read(&mut self, evidence: &Evidence) -> Signal {
            let against = Thresholds { fire: 0.5, hand_back: 0.5 };
            Signal { alarm: evidence.boundary % 2 == 1, calm: true, reading: None, against }
        }
    }
    let own: Box<dyn Trigger> = Box::new(Odd);
    let mut arbiter = Arbiter::new(Authority::Gated(Gate::new(limits(), own).unwrap()));
    let fired = (0..4).map(|boundary| arbiter.boundary(boundary * 10, Score::new(0.0)).fired);
    assert_eq!(fired.collect::<Vec<_>>(), [false, false, false, true]);
    let crossed: Box<dyn Trigger> = Box::new(Thresholds { fire: 0.1, hand_back: 0.2 });
    assert!(Gate::new(limits(), crossed).is_err());
}

#[test]
fn a_plan_names_its_rule_and_unknown_keys_are_refused() {
    let texts = BTreeMap::from([
        ("conformal", r#""fire": 0.6, "hand_back": 0.4"#),
        ("functional_band", r#""upper": [0.9, 0.6], "hand_back": 0.4"#),
        (
            "cost",
            r#""cost_of_missed_failure": 2.0, "cost_of_false_alarm": 1.0, "hand_back": 0.1,
               "calibrator": {"slope": 1.0, "intercept": 0.0}"#,
        ),
        ("trend", r#""window": 3, "slope": 0.1, "floor": 0.4, "hand_back": 0.3, "switch_cap": 4"#),
        ("disagreement", r#""fire": 0.6, "hand_back": 0.4"#),
        ("blind", r#""schedule": {"every": {"first": 5, "period": 8}}"#),
        ("random", r#""boundaries": [5]"#),
        ("take_over", r#""step": 40"#),
        ("never", ""),
    ]);
    for (kind, settings) in texts {
        let comma = if settings.is_empty() { "" } else { "," };
        let text = format!(r#"{{"kind": "{kind}"{comma} {settings}}}"#);
        let rule: Rule = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let again: Rule = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
        assert_eq!(rule, again);
        let unknown = format!(r#"{{"kind": "{kind}", "stray": 1{comma} {settings}}}"#);
        assert!(serde_json::from_str::<Rule>(&unknown).is_err(), "{unknown}");
    }
    let placebo: Rule = serde_json::from_str(r#"{"kind": "random"}"#).unwrap();
    assert_eq!(placebo, Rule::Random { boundaries: vec![] });
    assert!(serde_json::from_str::<Rule>(r#"{"kind": "hunch"}"#).unwrap_err().to_string().contains("hunch"));
}

//! The `[study]` table of a plan: its meaning, and every error with which it is refused.
//! Each case changes the shipped template in one place.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};

use aegis_core::{Rule, Thresholds};
use aegis_experiments::episode::arm::Drive;
use aegis_experiments::plan::Plan;
use aegis_probe::rules::RuleSettings;
use aegis_statistics::{Method, Over};

fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.toml")
}

/// Loads the template after some replacements. Each replaced text has to be in the template.
fn damaged(name: &str, edits: &[(&str, &str)]) -> Result<Plan, String> {
    let mut text = std::fs::read_to_string(template()).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("study-{name}.toml"));
    std::fs::write(&path, text).unwrap();
    Plan::load(&path).map_err(|error| error.to_string())
}

#[test]
fn plans_without_a_study_stay_valid() {
    for name in ["demo", "recorded", "vision"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../{name}.toml"));
        assert_eq!(Plan::load(&path).unwrap().study, None, "{name}");
    }
}

#[test]
fn the_template_has_the_arms_of_the_method() {
    let plan = Plan::load(&template()).unwrap();
    let study = plan.study.as_ref().unwrap();
    let over: Vec<_> = study.contrasts.iter().map(|contrast| contrast.over()).collect();
    assert_eq!(over, [Over::WeakLost, Over::WeakLost, Over::All]);
    assert_eq!(study.tolerance().duty, 0.05);
    assert_eq!((study.bootstrap().confidence, study.bootstrap().method), (0.95, Method::Percentile));
    assert!(!study.sequential);

    // A stand-in for calibration that depends only on the kind of rule.
    let arms = study.arms(&plan.rule, |settings| {
        let kind = format!("{settings:?}");
        if kind.starts_with("Blind") { Rule::TakeOver { step: 1 } } else { Rule::Never {} }
    });
    let arms = arms.unwrap();
    let names: Vec<_> = arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!(names, ["weak", "aegis", "blind", "random", "strong", "aa"]);
    assert_eq!(arms[0].drive, Drive::Weak);
    assert_eq!(arms[1].drive, Drive::Rule(Rule::Never {}));
    assert_eq!(arms[2].drive, Drive::Rule(Rule::TakeOver { step: 1 }));
    assert_eq!(arms[3].drive, Drive::Yoked("aegis".into()));
    assert_eq!(arms[4].drive, Drive::Strong);
    assert_eq!(arms[5].drive, Drive::Weak);
}

#[test]
fn any_trigger_can_be_registered_by_name() {
    let plan = damaged(
        "named",
        &[
            ("\"strong\", \"aa\"]", "\"strong\", \"steep\", \"shadow\", \"take_over\"]"),
            (
                "[study.rules.blind]",
                "[study.rules.steep]\nkind = \"trend\"\nswitch_cap = 4\n\
                 [study.rules.take_over]\nkind = \"take_over\"\nstep = 50\n[study.rules.blind]",
            ),
        ],
    )
    .unwrap();
    let study = plan.study.as_ref().unwrap();
    let arms = study.arms(&plan.rule, |_| Rule::Never {}).unwrap();
    assert_eq!(arms[5].drive, Drive::Rule(Rule::Never {}));
    assert_eq!(arms[6].drive, Drive::Shadow(Rule::Never {}));
}

#[test]
fn every_setting_is_refused_by_its_name() {
    let arms = "[\"weak\", \"aegis\", \"blind\", \"random\", \"strong\", \"aa\"]";
    let third = "{ better = \"aegis\", than = \"weak\" },";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("key", "sequential = false", "patience = 1", &["patience", "sequential"]),
        ("kill-key", "missing_episodes = 0", "missing = 0", &["missing", "missing_episodes"]),
        ("kill-left-out", "harm_cap = 0.10", "", &["harm_cap"]),
        ("empty", arms, "[]", &["study.arms", "weak"]),
        ("twice", "\"aa\"]", "\"aa\", \"weak\"]", &["study.arms[6]", "weak again"]),
        ("name", "\"aa\"]", "\"a/b\"]", &["study.arms[5]", "a/b", "a–z"]),
        ("yoked", "\"aegis\", \"blind\"", "\"blind\"", &["study.arms", "random only with aegis"]),
        ("ruleless", "\"aa\"]", "\"steep\"]", &["study.rules.steep", "found none"]),
        ("no-blind", "kind = \"blind\"\n", "kind = \"never\"\n#", &["schedule"]),
        (
            "alien",
            "[study.rules.blind]",
            "[study.rules.steep]",
            &["study.rules.steep", "rule of an arm that is not listed"],
        ),
        ("own", "[study.rules.blind]", "[study.rules.strong]", &["study.rules.strong", "none"]),
        (
            "other-kind",
            "kind = \"blind\"\n# Chunk boundaries from zero; 5 is the first past the guard, and 4 boundaries lie \
             between fires that meet no running hold.\nschedule = { at = [5, 9] }",
            "kind = \"never\"",
            &["study.rules.blind.kind", "blind"],
        ),
        ("schedule", "at = [5, 9]", "at = [9, 5]", &["study.rules.blind.schedule", "[9, 5]", "ascending"]),
        ("family", "alpha = 0.05\n", "alpha = 1.0\n", &["study.alpha", "found 1", "below 1"]),
        ("stranger", third, "{ better = \"aegis\", than = \"oracle\" },", &["contrasts[2].than", "oracle"]),
        ("copy", third, "{ better = \"aa\", than = \"weak\" },", &["contrasts[2].better", "aa"]),
        ("itself", third, "{ better = \"aegis\", than = \"aegis\" },", &["contrasts[2]", "both sides"]),
        ("again", third, "{ better = \"blind\", than = \"aegis\" },", &["contrasts[2]", "again"]),
        (
            "lost",
            third,
            "{ better = \"aegis\", than = \"weak\", over = \"weak_lost\" },",
            &["contrasts[2].over", "all"],
        ),
        ("draws", "replicates = 10000", "replicates = 99", &["bootstrap.replicates", "99", "100 or more"]),
        ("level", "level = 0.95", "level = 95", &["bootstrap.level", "95"]),
        ("points", "duty_points = 5.0", "duty_points = -1", &["budget_tolerance.duty_points", "-1"]),
        ("fires", "fires = 0.25", "fires = inf", &["budget_tolerance.fires", "inf"]),
        ("floor", "\nauroc_floor = 0.60", "\nauroc_floor = 60", &["kill.auroc_floor", "60", "0 to 1"]),
        (
            "before",
            "auroc_floor = 0.60 }",
            "auroc_floor = 60 }",
            &["precondition.auroc_floor", "60", "0 to 1"],
        ),
        (
            "unseen",
            "range = \"tuning\"",
            "range = \"confirmation\"",
            &["confirmation", "`calibration` or `tuning`"],
        ),
        ("share", "duty_of = \"horizon\"", "duty_of = \"time\"", &["time", "`steps` or `horizon`"]),
        ("duty", "duty_mismatch_points = 10.0", "duty_mismatch_points = nan", &["kill.duty_mismatch", "NaN"]),
        ("twins", "crn_violations = 0", "crn_violations = -1", &["crn_violations", "-1"]),
        ("harm", "harm_cap = 0.10", "harm_cap = 1.5", &["kill.harm_cap", "1.5"]),
    ];
    for (name, from, to, words) in cases {
        let error = damaged(name, &[(from, to)]).expect_err(name);
        for word in *words {
            assert!(error.contains(word), "{name}: {word:?} is missing from: {error}");
        }
    }
    let contrasts = damaged("none", &[("contrasts = [\n", "contrasts = []\nunused = [\n")]);
    assert!(contrasts.unwrap_err().contains("unused"));
}

#[test]
fn a_shadow_needs_a_gate() {
    let shadow = ("\"strong\", \"aa\"]", "\"strong\", \"shadow\"]");
    let gated = ("kind = \"conformal\"", "kind = \"take_over\"\nstep = 50");
    let error = damaged("shadow", &[shadow, gated]).unwrap_err();
    assert!(error.contains("study.rules.shadow") && error.contains("take_over"), "{error}");
    let late = (
        "[study.rules.blind]",
        "[study.rules.take_over]\nkind = \"take_over\"\nstep = 220\n[study.rules.blind]",
    );
    let error = damaged("late", &[("\"strong\", \"aa\"]", "\"take_over\"]"), late]).unwrap_err();
    assert!(error.contains("study.rules.take_over.step") && error.contains("220"), "{error}");
}

#[test]
fn rules_are_refused_before_a_probe_is_there() {
    for (name, rule, field) in [
        ("cost", "kind = \"cost\"\nmissed_failure = 0.0\nfalse_alarm = 1.0", "rule.missed_failure"),
        ("trend", "kind = \"trend\"\nswitch_cap = 1", "rule.switch_cap"),
        ("every", "kind = \"blind\"\nschedule = { every = { first = 5, period = 0 } }", "rule.schedule"),
    ] {
        let error = damaged(&format!("rule-{name}"), &[("kind = \"conformal\"", rule)]).unwrap_err();
        assert!(error.contains(field), "{error}");
    }
}

/// Checks the fires of a changed template whose probe has this threshold.
fn fires(name: &str, edits: &[(&str, &str)], threshold: f64) -> Result<(), String> {
    let plan = damaged(name, edits)?;
    let rule = |settings: &RuleSettings| match settings {
        RuleSettings::Blind { schedule, .. } => Rule::Blind { schedule: schedule.clone() },
        _ => Rule::Conformal(Thresholds { fire: threshold, hand_back: 0.2 }),
    };
    let study = plan.study.as_ref().unwrap();
    study.check_fires(&plan.rule, &plan.gate, rule).map_err(|error| error.to_string())
}

#[test]
fn a_gate_that_can_never_fire_is_refused_by_the_setting_that_forbids_it() {
    assert_eq!(fires("fires", &[], 0.8), Ok(()));
    let at = "schedule = { at = [5, 9] }";
    for (edits, words) in [
        (
            &[("duty_cap = 0.75", "duty_cap = 0.0")][..],
            ["gate.duty_cap: found 0", "30 control steps of one hold"],
        ),
        (&[("duty_cap = 0.75", "duty_cap = 0.1")], ["gate.duty_cap: found 0.1, 22 control", "0.136 or more"]),
        (&[("guard_fraction = 0.20", "guard_fraction = 1.0")], ["gate.guard_fraction: found 1", "below 1"]),
        (
            &[("budget_fraction = 0.05", "budget_fraction = 0.0")],
            ["gate.budget_fraction", "0 fires an episode"],
        ),
        (
            &[("guard_fraction = 0.20", "guard_fraction = 0.95")],
            ["gate.hold_chunks: found 3", "between guard and horizon"],
        ),
        (&[(at, "schedule = { at = [900] }")], ["study.rules.blind.schedule.at: found 900", "from 5 to 19"]),
        (&[(at, "schedule = { at = [4] }")], ["study.rules.blind.schedule.at: found 4", "from 5 to 19"]),
        (&[(at, "schedule = { at = [5, 22] }")], ["study.rules.blind.schedule.at: found 22", "from 5 to 19"]),
        (&[(at, "schedule = { at = [] }")], ["study.rules.blind.schedule.at: found none", "arm blind"]),
        (
            &[(at, "schedule = { every = { first = 900, period = 1 } }")],
            ["study.rules.blind.schedule.every: found first 900", "from 5 to 19"],
        ),
    ] {
        let error = fires("never", edits, 0.8).expect_err("it can never fire");
        for word in words.iter().chain(&["can never fire"]) {
            assert!(error.contains(word), "{word:?} is missing from: {error}");
        }
    }
    for threshold in [1.0, f64::INFINITY] {
        let error = fires("threshold", &[], threshold).expect_err("nothing reaches it");
        assert!(error.contains("rule.kind") && error.contains("calibrated on more"), "{error}");
    }
    // Scheduled fires that earlier fires make impossible: a hold takes three chunks and the boundary that ends it, and the
    // budget is two fires.
    for (at, lost) in [("at = [5, 6]", 6), ("at = [5, 8]", 8), ("at = [5, 9, 13]", 13)] {
        let error = fires("lost", &[("at = [5, 9]", at)], 0.8).expect_err(at);
        let found =
            format!("study.rules.blind.schedule.at: found {lost}, at which the gate has no fire left");
        assert!(error.contains(&found) && error.contains("4 or more apart, at most 2"), "{error}");
    }
    // The limits of the gate do not apply to a study whose arms have no gate.
    let weak = [
        (
            "arms = [\"weak\", \"aegis\", \"blind\", \"random\", \"strong\", \"aa\"]",
            "arms = [\"weak\", \"strong\", \"aa\"]",
        ),
        (
            "    { better = \"aegis\", than = \"blind\" },\n    { better = \"aegis\", than = \"random\" },\n",
            "",
        ),
        ("{ better = \"aegis\", than = \"weak\" }", "{ better = \"strong\", than = \"weak\" }"),
        ("[study.rules.blind]\nkind = \"blind\"", ""),
        ("schedule = { at = [5, 9] }", ""),
        ("budget_fraction = 0.05", "budget_fraction = 0.0"),
    ];
    assert_eq!(fires("gateless", &weak, 0.8), Ok(()));
}

/// Checks whether a changed template with this number of sets can show its claims.
fn answers(edits: &[(&str, &str)], sets: usize) -> Result<(), String> {
    damaged("answers", edits)?.check_answers(sets).map_err(|error| error.to_string())
}

#[test]
fn a_study_without_an_answer_is_refused_by_its_setting() {
    assert_eq!(answers(&[], 400), Ok(()));
    let kind = "[rule]\nkind = \"conformal\"";
    let two = |kind: &str| format!("[study.rules.other]\n{kind}\n[study.rules.blind]");
    let (same, never) = (two("kind = \"blind\"\nschedule = { at = [5, 9] }"), two("kind = \"never\""));
    let listed = ("\"strong\", \"aa\"]", "\"strong\", \"other\"]");
    let against = ("{ better = \"aegis\", than = \"random\" }", "{ better = \"other\", than = \"blind\" }");
    for (edits, sets, words) in [
        (
            &[(kind, "[rule]\nkind = \"never\"")][..],
            400,
            ["rule.kind: found never", "conformal, functional_band"],
        ),
        (
            &[(kind, "[rule]\nkind = \"blind\"\nschedule = { at = [5, 9] }")],
            400,
            ["rule.kind: found blind", "aegis"],
        ),
        (&[(kind, "[rule]\nkind = \"take_over\"\nstep = 50")], 400, ["rule.kind: found take_over", "aegis"]),
        (
            &[listed, against, ("[study.rules.blind]", &same)],
            400,
            ["study.contrasts[1]: found other and blind, which obey the same rule", "differ"],
        ),
        (
            &[listed, against, ("[study.rules.blind]", &never)],
            400,
            ["study.contrasts[1]: found other, whose rule never fires", "weak, or an arm"],
        ),
        (
            &[("\nauroc_floor = 0.60", "\nauroc_floor = 1.0")],
            400,
            ["study.kill.auroc_floor: found 1", "below 1"],
        ),
        (
            &[("auroc_floor = 0.60 }", "auroc_floor = 1.0 }")],
            400,
            ["study.precondition.auroc_floor: found 1", "below 1"],
        ),
        (
            &[("duty_mismatch_points = 10.0", "duty_mismatch_points = 1e12")],
            400,
            ["study.kill.duty_mismatch_points: found 1000000000000", "0 to 100"],
        ),
        (
            &[("crn_violations = 0", "crn_violations = 999999")],
            400,
            ["study.kill.crn_violations: found 999999", "0 to 2000"],
        ),
        (
            &[("missing_episodes = 0", "missing_episodes = 999999")],
            400,
            ["study.kill.missing_episodes: found 999999", "0 to 2400"],
        ),
        (
            &[("duty_points = 5.0", "duty_points = 1e12")],
            400,
            ["study.budget_tolerance.duty_points: found 1000000000000", "0 to 100"],
        ),
        (
            &[("fires = 0.25", "fires = 999999")],
            400,
            ["study.budget_tolerance.fires: found 999999", "0 to 2"],
        ),
        (
            &[("level = 0.95", "level = 1e-7")],
            400,
            ["study.bootstrap.level: found 0.0000001", "0.5 to below 1"],
        ),
        (&[("alpha = 0.05\n", "alpha = 0.9\n")], 400, ["study.alpha: found 0.9", "at most 0.5"]),
        (
            &[("return_chunks = 0", "return_chunks = 4000000000")],
            400,
            ["gate.return_chunks: found 4000000000", "0 to 22"],
        ),
        (
            &[("object_position_sd = 0.002", "object_position_sd = 1e30")],
            400,
            ["sensor.object_position_sd: found 1000", "0 to 1"],
        ),
        // The smallest p-value of n sets is 2⁻ⁿ, times three contrasts: 6 sets are the fewest with 3/64 below 0.05.
        (&[], 1, ["ranges.confirmation: found 1 sets", "6 or more sets"]),
        (&[], 5, ["ranges.confirmation: found 5 sets", "6 or more sets"]),
    ] {
        let error = answers(edits, sets).expect_err("it could not answer");
        for word in words {
            assert!(error.contains(word), "{word:?} is missing from: {error}");
        }
    }
    assert_eq!(answers(&[], 6), Ok(()));
}

#[test]
fn costs_that_no_score_reaches_are_a_gate_that_never_fires() {
    let plan = damaged("costs", &[]).unwrap();
    let calibrator = aegis_core::PlattScaling { slope: 0.1, intercept: 0.0 };
    let costs = |cost_of_false_alarm| aegis_core::trigger::CostSettings {
        cost_of_missed_failure: 1.0,
        cost_of_false_alarm,
        hand_back: 0.0,
        calibrator,
    };
    let said = |cost: f64| {
        let rule = |settings: &RuleSettings| match settings {
            RuleSettings::Blind { schedule, .. } => Rule::Blind { schedule: schedule.clone() },
            _ => Rule::Cost(costs(cost)),
        };
        plan.study
            .as_ref()
            .unwrap()
            .check_fires(&plan.rule, &plan.gate, rule)
            .map_err(|error| error.to_string())
    };
    assert_eq!(said(1.0), Ok(()));
    let error = said(1e9).unwrap_err();
    assert!(error.contains("rule.kind") && error.contains("lower false_alarm"), "{error}");
}

#[test]
fn a_blind_rule_may_be_obeyed_in_a_share_of_the_episodes() {
    let at = "schedule = { at = [5, 9] }";
    let plan = damaged("share", &[(at, "schedule = { at = [5] }\nshare = 0.6")]).unwrap();
    let arms = plan.study.as_ref().unwrap().arms(&plan.rule, |_| Rule::Never {}).unwrap();
    assert_eq!(arms[2].drive, Drive::Fraction { rule: Rule::Never {}, share: 0.6 });
    for (edits, words) in [
        (
            [(at, "schedule = { at = [5] }\nshare = 0.0")],
            ["study.rules.blind.share: found 0", "above 0, at most 1"],
        ),
        (
            [(at, "schedule = { at = [5] }\nshare = 1.5")],
            ["study.rules.blind.share: found 1.5", "above 0, at most 1"],
        ),
        (
            [(
                "[rule]\nkind = \"conformal\"",
                "[rule]\nkind = \"blind\"\nschedule = { at = [5] }\nshare = 0.5",
            )],
            ["rule.share: found 0.5", "[study.rules]"],
        ),
    ] {
        let error = damaged("share-refused", &edits).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{word:?} is missing from: {error}");
        }
    }
}

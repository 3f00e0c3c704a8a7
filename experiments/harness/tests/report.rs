//! The report of a study on a one-dimensional plant, with every count computed by hand.
//! Weak loses ten of twenty episodes, aegis wins all, and an arm that never fires wins the same episodes as weak.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{KEYS, gated, open, settings};
use aegis_core::platt::PlattScaling;
use aegis_core::record::NoRecorder;
use aegis_core::trigger::Schedule;
use aegis_core::{EpisodeKey, GateLimits, Rule};
use aegis_experiments::episode::arm::ArmName;
use aegis_experiments::episode::counterfactual::run_counterfactuals;
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::plan::study::DutyOf;
use aegis_experiments::report::{Background, Report, ReportError, report};
use aegis_experiments::run::forks::forks;
use aegis_experiments::run::runner::run_arms;
use aegis_experiments::{Arm, Drive, EpisodeResult, EpisodeSettings, run_episode};
use aegis_probe::StateRange;
use aegis_probe::file::ProbeFile;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::origin::{Origin, Starts, Statement, Use};
use aegis_probe::rules::RuleSettings;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn plan() -> Plan {
    let mut plan = Plan::load(&repository().join("experiments/template.toml")).expect("it is valid");
    plan.gate = settings().gate;
    if let Some(study) = &mut plan.study {
        study.bootstrap.replicates = 200;
    }
    plan
}

fn keys() -> Vec<EpisodeKey> {
    KEYS.keys(0..1)
}

fn results() -> Vec<EpisodeResult> {
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let arms = [
        Arm::weak(),
        gated(),
        arm("blind", Drive::Rule(Rule::Never {})),
        arm("random", Drive::Yoked("aegis".into())),
        Arm::strong(),
        arm("aa", Drive::Weak),
    ];
    let settings = EpisodeSettings { fork: true, ..settings() };
    let twins = run_arms(&keys(), &arms, 2, &settings, &|_| Ok(open()), &|_| {}).unwrap();
    twins.into_iter().map(|(result, _)| result).collect()
}

/// Computes the report with a calibrator of slope 1 and intercept 0.
fn made(plan: &Plan, results: &[EpisodeResult]) -> Result<Report, ReportError> {
    report(plan, &keys(), results, &PlattScaling { slope: 1.0, intercept: 0.0 }, None)
}

/// Background of a report: a plan, with the shipped lock, probe and cards.
struct Shipped {
    plan: Plan,
    lock: Lock,
    probe: ProbeFile,
    cards: BTreeMap<String, toml::Table>,
    packages: BTreeMap<String, String>,
}

impl Shipped {
    fn with(plan: Plan) -> Self {
        let text = |path: &str| std::fs::read_to_string(repository().join(path)).expect("it is shipped");
        let card = |role: &str| toml::from_str(&text(&format!("policies/models/{role}.toml"))).expect("TOML");
        Self {
            plan,
            lock: Lock::load(&repository().join("experiments/study.lock.toml")).expect("it is whole"),
            probe: serde_json::from_str(&text("policies/models/probe.json")).expect("a probe"),
            cards: ["weak", "strong"].map(|role| (role.to_owned(), card(role))).into(),
            packages: [("robosuite".to_owned(), "1.4.0".to_owned())].into(),
        }
    }

    /// Returns the page of a report as Markdown and as HTML.
    fn page(&self, found: &Report) -> [String; 2] {
        let Self { plan, lock, probe, cards, packages } = self;
        let reads =
            &[("weak".to_owned(), "camera eye; the objects' poses, which only a simulator knows".to_owned())]
                .into();
        let (tasks, provenance) = (&[(0, "reach five".to_owned())][..], &["Of a test.".to_owned()][..]);
        let statements = &statements()[..];
        let background =
            Background { plan, lock, probe, cards, reads, tasks, packages, statements, provenance };
        let page = found.page("A study", &background).unwrap();
        // Non-breaking spaces are replaced, so that both texts can be searched alike.
        [page.markdown(), page.html().replace('\u{a0}', " ")]
    }
}

/// Returns the statement of a probe with an origin of its discovery, and that of a policy without an origin.
fn statements() -> [Statement; 2] {
    let origin = Origin {
        suite: "line".into(),
        suite_sha256: None,
        starts: Starts::of(StateRange { first: 200, end: 208, replicates: 1 }.keys([0, 1, 4])),
        master_seed: 3,
        sample_seed: Some(7),
        weak_sha256: None,
        strong_sha256: None,
        sensor: None,
        settle_steps: None,
        disturbances: None,
    };
    let say = |file: &str, part: &str, used, origin| {
        let (file, part) = (file.into(), part.into());
        Statement { file, part, used, origin }
    };
    [
        say("my-probe.json", "discovery", Use::Fit, Some(origin)),
        say("my-policy.toml", "training", Use::Training, None),
    ]
}

#[test]
fn every_stated_range_is_printed_and_files_without_one_are_named() {
    let found = made(&plan(), &results()).unwrap();
    for text in Shipped::with(plan()).page(&found) {
        let [stated, _] = statements();
        let sha256 = &stated.origin.as_ref().unwrap().starts.sha256;
        in_order(&text, &["my-probe.json", "200 to 207", "0 to 1, 4 of line", "3, of starts 7", sha256]);
        in_order(
            &text,
            &["These files state no range", "my-policy.toml", "my-probe.json", "states no range"],
        );
        in_order(&text, &["my-probe.json: discovery: made from suite line, and the plan's suite is"]);
    }
}

/// Checks that a text contains all parts in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or too early in {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn figures_are_those_that_can_be_counted_by_hand() {
    let found = made(&plan(), &results()).unwrap();
    let names: Vec<_> = found.arms.iter().map(|arm| arm.arm.as_str()).collect();
    assert_eq!(names, ["weak", "aegis", "blind", "random", "strong", "aa"]);
    let won: Vec<_> = found.arms.iter().map(|arm| arm.success.k).collect();
    assert_eq!((won[0], won[1], won[2], won[4], won[5]), (10, 20, 10, 20, 10));
    let aegis = found.arms[1].effects.unwrap();
    let counts =
        |rate: Option<aegis_statistics::Rate>| rate.map(|rate| (rate.proportion.k, rate.proportion.n));
    assert_eq!((counts(aegis.recovered), counts(aegis.broken)), (Some((10, 10)), Some((0, 10))));
    assert_eq!((aegis.mcnemar.one_sided, aegis.net_effect), (0.5_f64.powi(10), 0.5));
    assert_eq!(found.arms[1].fires, 0.5);
    assert_eq!((found.arms[0].duty, found.arms[4].duty), (0.0, 1.0));

    // The strong policy drives in the ten episodes that weak loses; the instructive episodes are among them.
    assert_eq!((found.arms[1].help.helped, found.arms[0].help.helped), (10, 0));
    assert_eq!(found.arms[1].help.began.iter().map(|[_, count]| count).sum::<u64>(), 10);
    assert_eq!(found.arms[4].help.began, Vec::<[u64; 2]>::new(), "strong is never handed control");
    let whys: Vec<_> = found.instructive.iter().map(|one| one.why).collect();
    assert_eq!(
        whys,
        ["weak alone lost it, aegis won it", "weak and the blind schedule lost it, aegis won it"]
    );
    // The toy probe's score separates lost from won episodes completely.
    let roc = found.discrimination.roc.as_ref().unwrap();
    assert!(roc.iter().any(|point| (point.false_alarms, point.detected) == (0.0, 1.0)), "{roc:?}");
    let bins = &found.discrimination.reliability.as_ref().unwrap().bins;
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 20);

    // In the contrasts with blind and weak, aegis alone won ten pairs.
    let blind = &found.contrasts[0];
    assert_eq!((blind.figures.b, blind.figures.c, blind.figures.treatment.unwrap().n), (10, 0, 10));
    assert_eq!(blind.figures.mcnemar.one_sided, 0.5_f64.powi(10));
    assert!(blind.budget.is_some() && !blind.holds, "blind spent nothing, so the budgets differ");
    let weak = &found.contrasts[2];
    assert_eq!((weak.figures.b, weak.figures.treatment.unwrap().n), (10, 20));
    assert!(weak.budget.is_none() && weak.holds);
    assert!(found.contrasts.iter().all(|one| one.adjusted >= one.figures.mcnemar.one_sided));

    let audit = &found.audit;
    assert_eq!((audit.expected, audit.found, audit.pairs, audit.equal_copies), (120, 120, 100, Some(20)));
    assert!(audit.missing.is_empty() && audit.violations.is_empty() && audit.foreign.is_empty());
    // Only the criterion on the difference of budgets fires.
    let fired: Vec<_> = found.kill.iter().filter(|one| one.fired).map(|one| one.name).collect();
    assert_eq!(fired, ["duty_mismatch_points"]);
    assert!(found.killed);
}

#[test]
fn duty_is_a_share_of_the_plans_steps() {
    // Ten episodes of aegis have 14 strong steps of 18, ten have none of 10; the horizon is 40.
    for (of, expected) in [(DutyOf::Steps, 140.0 / 280.0), (DutyOf::Horizon, 140.0 / 800.0)] {
        let mut plan = plan();
        if let Some(study) = &mut plan.study {
            study.budget_tolerance.duty_of = of;
        }
        let found = made(&plan, &results()).unwrap();
        assert_eq!(found.contrasts[0].budget.unwrap().duty.treatment, expected);
        assert_eq!(found.arms[1].duty, 0.5, "an arm's is of the steps that it took");
    }
}

#[test]
fn the_order_of_the_episodes_changes_nothing() {
    let (mut shuffled, first) = (results(), made(&plan(), &results()).unwrap());
    shuffled.reverse();
    assert_eq!(made(&plan(), &shuffled).unwrap(), first);
    for text in Shipped::with(plan()).page(&first) {
        for part in ["duty_mismatch_points", "20 of 20 (100.0 %)", "Of a test.", "120 of 120"] {
            assert!(text.contains(part), "{part} is missing from {text}");
        }
    }
}

#[test]
fn missing_foreign_and_unequal_episodes_are_named() {
    let mut found = results();
    // One arm of the fourth key is missing, so the whole set is not used.
    found.retain(|result| !(result.key == keys()[3] && result.arm == *"strong"));
    // An episode of another plan.
    let mut foreign = found[0].clone();
    foreign.key.start.initial_state = 99;
    found.push(foreign);
    // An episode of the arm `aa` that differs from weak: other noise would change the digest of its path.
    let copy = found.iter_mut().find(|result| result.key == keys()[5] && result.arm == *"aa").unwrap();
    copy.path = "0".repeat(32);
    let found = made(&plan(), &found).unwrap();
    let audit = &found.audit;
    assert_eq!(audit.missing, ["strong · task 0 · initial state 3 · replicate 0"]);
    assert_eq!(audit.foreign, ["weak · task 0 · initial state 99 · replicate 0"]);
    assert_eq!(audit.violations, ["aa · task 0 · initial state 5 · replicate 0"]);
    assert_eq!(audit.equal_copies, Some(19));
    assert_eq!(found.arms[0].success.n, 19);
    let fired: Vec<_> = found.kill.iter().filter(|one| one.fired).map(|one| one.name).collect();
    assert_eq!(fired, ["duty_mismatch_points", "crn_violations", "missing_episodes"]);
}

/// Returns a plan of gates that fire once and hand back after their hold, its results, and the forks of every weak episode.
fn with_forks() -> (Plan, Vec<EpisodeResult>, Vec<EpisodeForks>) {
    let mut plan = plan();
    plan.gate = GateLimits { return_chunks: 0, budget_fraction: 0.05, whole_holds: true, ..plan.gate };
    assert_eq!(plan.gate.budget(), 1);
    let study = plan.study.as_mut().unwrap();
    study.arms = ["weak", "aegis", "blind", "random"].map(ArmName::from).into();
    study.contrasts.truncate(2);
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let arms = [
        Arm::weak(),
        gated(),
        arm("blind", Drive::Rule(Rule::Blind { schedule: Schedule::At(vec![9]) })),
        arm("random", Drive::Yoked("aegis".into())),
    ];
    let settings = EpisodeSettings { fork: true, gate: plan.gate.clone(), ..settings() };
    let twins = run_arms(&keys(), &arms, 2, &settings, &|_| Ok(open()), &|_| {}).unwrap();
    let results = twins.into_iter().map(|(result, _)| result).collect();
    let mut context = open();
    let of = |key: &EpisodeKey| {
        forks(&run_counterfactuals(&mut context, *key, &settings, None, &mut NoRecorder).unwrap(), false)
    };
    let forks = keys().iter().map(of).collect();
    (plan, results, forks)
}

fn in_hindsight(
    (plan, results, forks): &(Plan, Vec<EpisodeResult>, Vec<EpisodeForks>),
) -> Result<Report, ReportError> {
    report(plan, &keys(), results, &PlattScaling { slope: 1.0, intercept: 0.0 }, Some(forks))
}

#[test]
fn arms_stand_beside_an_oracle_that_is_never_below_them() {
    let study = with_forks();
    let (_, results, _) = &study;
    let report = in_hindsight(&study).unwrap();
    let found = report.hindsight.as_ref().unwrap();
    assert!(found.holds_alone);
    let names: Vec<&str> = found.arms.iter().map(|one| one.arm.as_str()).collect();
    assert_eq!(names, ["aegis", "blind", "random"], "weak does not fire");
    for one in &found.arms {
        let of = |arm: ArmName| results.iter().filter(move |result| result.arm == arm);
        let pairs = of("weak".into()).zip(of(one.arm.clone()));
        let recovered = pairs.filter(|(weak, arm)| !weak.success && arm.success).count() as u64;
        assert_eq!(one.recovered, recovered);
        assert_eq!(one.strong_steps, of(one.arm.clone()).map(|one| u64::from(one.strong_steps)).sum::<u64>());
        assert!(one.recovered <= one.oracle && one.oracle <= found.lost, "{one:?}");
    }
    let fires = results.iter().filter(|result| result.arm != *"weak" && result.fires == 1).count() as u64;
    assert_eq!((found.checked, fires > 20), (fires, true), "every hold ends as the fork of its boundary");
    assert!(Shipped::with(study.0.clone()).page(&report).iter().all(|text| text.contains("Hindsight")));
    let text = serde_json::to_string(&in_hindsight(&(study.0, study.1, study.2)).unwrap()).unwrap();
    assert_eq!(text, serde_json::to_string(&report).unwrap());
}

#[test]
fn forks_of_other_episodes_are_refused() {
    type Change = fn(&mut Vec<EpisodeForks>);
    let changes: [(Change, &str); 4] = [
        (|forks| drop(forks.pop()), "found no forks of it"),
        (|forks| forks[3].success = !forks[3].success, "its forks are of an episode that ends otherwise"),
        (
            |forks| forks.iter_mut().flat_map(|one| &mut one.forks).for_each(|fork| fork.hold.steps += 1),
            "ends otherwise than the fork there",
        ),
        (|forks| forks.iter_mut().for_each(|one| one.forks.clear()), "from which there is no fork"),
    ];
    for (change, expected) in changes {
        let mut study = with_forks();
        change(&mut study.2);
        let error = in_hindsight(&study).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("aegis collect confirmation --forks"), "{error}");
    }
}

#[test]
fn without_results_or_study_there_is_no_report() {
    let error = made(&plan(), &[]).unwrap_err();
    assert!(error.to_string().contains("arm weak: found no complete set of twins"), "{error}");
    let without = Plan { study: None, ..plan() };
    assert!(matches!(made(&without, &results()), Err(ReportError::NoStudy)));
    // One arm alone is not a complete set.
    let mut context = open();
    let (alone, _) =
        run_episode(&mut context, &Arm::weak(), keys()[0], &settings(), &mut NoRecorder).unwrap();
    assert!(made(&plan(), &[alone]).is_err());
}

#[test]
fn a_study_with_too_few_results_is_void_and_has_no_interval_of_one_start() {
    let all = results();
    let of = |keep: &dyn Fn(EpisodeKey) -> bool| {
        let keys: Vec<EpisodeKey> = keys().into_iter().filter(|key| keep(*key)).collect();
        let found = report(&plan(), &keys, &all, &PlattScaling { slope: 1.0, intercept: 0.0 }, None).unwrap();
        let pages = Shipped::with(plan()).page(&found);
        assert!(found.killed || found.contrasts.iter().any(|one| !one.holds));
        assert!(pages.iter().all(|text| !text.contains("NaN")));
        (found, pages)
    };
    let weak_won = |key: EpisodeKey| {
        all.iter().any(|result| result.key == key && result.arm == *"weak" && result.success)
    };
    let odd = keys().into_iter().find(|key| !weak_won(*key)).unwrap();
    // Three cases: weak wins every episode, weak wins all but one, and there is a single start, which weak loses or wins.
    let (found, [markdown, _]) = of(&weak_won);
    assert_eq!(found.contrasts[0].figures.treatment, None);
    assert!(found.contrasts.iter().all(|one| !one.holds && one.adjusted == 1.0));
    in_order(
        &markdown,
        &[
            "No answer",
            "aegis won 0 and blind 0 of the episodes that weak lost, of which there are 0, without",
        ],
    );
    let (found, [markdown, _]) = of(&|key| weak_won(key) || key == odd);
    let blind = &found.contrasts[0].figures;
    assert_eq!((blind.b, blind.treatment.unwrap().n, blind.difference), (1, 1, None));
    assert!(
        markdown.contains("aegis won 1 and blind 0 of the episodes that weak lost, of which there are 1")
    );
    for key in [odd, keys().into_iter().find(|key| weak_won(*key)).unwrap()] {
        let (found, _) = of(&|one| one == key);
        assert!(found.contrasts.iter().all(|one| one.figures.difference.is_none() && !one.holds));
        assert!(found.contrasts[0].budget_unknown && found.contrasts[0].budget.is_none());
        let mismatch = found.kill.iter().find(|one| one.name == "duty_mismatch_points").unwrap();
        assert!(mismatch.fired && mismatch.found.is_none());
    }
}

#[test]
fn the_answer_comes_first_and_then_every_section() {
    let found = made(&plan(), &results()).unwrap();
    let [markdown, html] = Shipped::with(plan()).page(&found);
    // The answer and the verdict come before the table of contents.
    in_order(
        &html,
        &[
            "<header>",
            "<h2>Question</h2>",
            "<h2>Answer</h2>",
            "aegis wins 100.0 points more of the episodes that weak lost than blind",
            "<p class=\"verdict void\"><strong>Verdict: void.</strong> A kill criterion fired (duty_mismatch_points)",
            "<p>What to change: duty_mismatch_points: ",
            "<figure aria-label=\"Differences with their intervals",
            "<figcaption><b>Figure 1.</b> Each registered claim",
            "</header>",
            "<nav",
            "<main>",
            "<h2>Contrasts</h2>",
            "<th>p</th><th>adjusted p</th><th>holds</th>",
        ],
    );
    assert_eq!(html.matches("<figure ").count(), html.matches("<figcaption>").count());
    assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("@import"), "one file");
    let headings = [
        "Question",
        "Answer",
        "Contents",
        "Contrasts",
        "Budgets",
        "Arms",
        "Times of hand-overs",
        "Tasks",
        "By task",
        "Score over an episode of weak",
        "Discrimination and calibration",
        "Instructive episodes",
        "Kill criteria",
        "Audit",
        "Policies and probe",
        "Gate, rule and thresholds",
        "Starts",
        "Planned power",
        "Versions",
        "Registration",
    ];
    let [as_markdown, as_html] = [("\n## ", "\n"), (">", "</h2>")]
        .map(|(before, after)| headings.map(|heading| format!("{before}{heading}{after}")));
    in_order(&markdown, &as_markdown.each_ref().map(String::as_str));
    in_order(&html, &as_html.each_ref().map(String::as_str));
    for anchor in html.split("<a href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(html.contains(&format!("<section id=\"{anchor}\">")), "{anchor} leads nowhere");
    }
    let probe = "3eac29762b9f1f52930e82be74594b4206a9ca16a86f6967f697dcbdea8e1030";
    for part in [
        // Policies and probe.
        "residual MLP, width 64, 1 block(s)",
        "64583",
        "2180455",
        "weak.onnx, SHA-256 d7c7989f4346f06d7c6a7736380d07dc11508a38faba6fcfc0d5498bf58fb794",
        "demonstrations.safetensors (SHA-256 f79965b30b76d8d2c2da45d7f0f8ef3489bdb9655f3edfeda64c71c47b6803e1)",
        "161 of 400 episodes (confirmation, experiments/demo.toml)",
        "the objects' poses, which only a simulator knows",
        probe,
        "fitted on 800 weak episodes, of which 474 were lost",
        // Gate, rule, thresholds, ranges.
        "hands over where the probe's risk of failure lies above 0.822",
        "at most 10 % of the episodes that weak wins may raise an alarm",
        "no hand-over before control step",
        "weak episodes that set the thresholds",
        // Descriptions of the arms.
        "As aegis, but at random times",
        "equal those of weak bit for bit",
        // Planned power, tasks, versions.
        "a power of 80 % at Holm's strictest level, 0.05 / 3",
        "reach five",
        "7197731a64c1",
        "3.17.0",
        "robosuite, of the suite libero_spatial",
    ] {
        for text in [&markdown, &html] {
            assert!(text.contains(part), "{part:?} is missing from {text}");
        }
    }
}

#[test]
fn values_missing_from_a_card_are_reported_as_not_stated() {
    let mut shipped = Shipped::with(plan());
    for card in shipped.cards.values_mut() {
        card.remove("training");
        card.remove("success");
    }
    shipped.packages.clear();
    let [markdown, _] = shipped.page(&made(&plan(), &results()).unwrap());
    for row in ["architecture", "parameters", "trained on", "training", "success alone, by its card"] {
        let said = format!("| {row} | not stated in the card | not stated in the card |");
        assert!(markdown.contains(&said), "{said} is missing from {markdown}");
    }
    assert!(markdown.contains("| packages of the suite libero_spatial | not stated in its files |"));
}

#[test]
fn an_arm_that_is_weak_by_design_takes_a_line() {
    // The blind arm of `results` never fires; this plan states that rule. `aa` is a copy of weak in any plan.
    let mut plan = plan();
    if let Some(study) = &mut plan.study {
        study.rules.insert("blind".into(), RuleSettings::Never {});
    }
    let found = made(&plan, &results()).unwrap();
    let [markdown, _] = Shipped::with(plan.clone()).page(&found);
    for arm in ["aa", "blind"] {
        let line = format!(
            "\n{arm} drives as weak does by design, and its results agree: none of 20 episodes recovered or broken"
        );
        assert!(markdown.contains(&line), "{line:?} is missing from {markdown}");
        assert!(!markdown.contains(&format!("\n### {arm}\n")));
    }
    assert!(markdown.contains("\n### aegis\n"));
    // If `aa` differs from weak, the report has its table by task.
    let mut broken = results();
    broken.iter_mut().filter(|result| result.arm == *"aa").for_each(|result| result.success = true);
    let [markdown, _] = Shipped::with(plan.clone()).page(&made(&plan, &broken).unwrap());
    assert!(markdown.contains("\n### aa\n"));
}

#[test]
fn a_negative_difference_is_fewer_and_a_void_report_has_advice() {
    let mut plan = plan();
    if let Some(study) = &mut plan.study {
        let one = &mut study.contrasts[0];
        std::mem::swap(&mut one.better, &mut one.than);
        study.kill.duty_mismatch_points = 100.0;
    }
    let mut results = results();
    let [markdown, html] = Shipped::with(plan.clone()).page(&made(&plan, &results).unwrap());
    for text in [&markdown, &html] {
        assert!(
            text.contains("blind wins 100.0 points fewer of the episodes that weak lost than aegis"),
            "{text}"
        );
        assert!(
            !text.contains("-100.0")
                && !text.contains("points more of the episodes that weak lost than aegis")
        );
        // No criterion fires, but budgets that differ still void a claim.
        assert!(text.contains("Verdict: not shown."), "{text}");
        assert!(text.contains("What to change: blind against aegis: budgets differ in duty, of the horizon (0.00 % and 17.50 %)"), "{text}");
        assert!(text.contains("register it anew"), "{text}");
    }
    // Missing episodes need another run, not another registration. Without faults there is no advice.
    if let Some(study) = &mut plan.study {
        study.budget_tolerance.duty_points = 100.0;
        study.budget_tolerance.fires = 10.0;
    }
    let [markdown, _] = Shipped::with(plan.clone()).page(&made(&plan, &results).unwrap());
    assert!(!markdown.contains("What to change"), "{markdown}");
    results.retain(|result| !(result.key == keys()[3] && result.arm == *"strong"));
    let [markdown, _] = Shipped::with(plan.clone()).page(&made(&plan, &results).unwrap());
    assert!(markdown.contains("What to change: missing_episodes: 1 without a result"), "{markdown}");
    assert!(!markdown.contains("register it anew"), "{markdown}");
}

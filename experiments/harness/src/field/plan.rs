//! Plan of a field trial, a TOML file beside the robot file that it names. Unknown keys are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aegis_core::{GateLimits, Rule};
use aegis_files::toml_file::{self, TomlError};
use aegis_probe::rules::RuleSettings;
use aegis_statistics::Bootstrap;
use serde::{Deserialize, Serialize};

use crate::episode::arm::{AEGIS, ArmName, WEAK};
use crate::plan::answers::EVEN;
use crate::plan::bounds::check_written;
use crate::plan::study::{AA, BootstrapSettings, RANDOM, SHADOW, STRONG, StudyError, check_gate_fires};

/// Most characters of a text of `setups`.
const LONGEST_SETUP: usize = 500;

/// Plan of a field trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldPlan {
    /// Robot file, relative to the plan's folder: the plant, the policies, the probe, every limit, and the starts of the trial.
    pub robot: PathBuf,
    /// Seed of the order of blocks, and of the order of arms in each.
    pub master_seed: u64,
    /// Number of blocks from each start of the robot file.
    pub blocks_per_start: u32,
    /// Number of attempts at an episode, after which it counts as missing.
    pub attempts: u32,
    /// Source of each episode's outcome.
    pub outcome: OutcomeSource,
    /// Text that tells a person how to set a start up, one for each start of the robot file, in its order; none where omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setups: Vec<String>,
    /// Arms in the order of tables.
    pub arms: Vec<ArmName>,
    /// Rules of the arms that have their own, by the arm's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<ArmName, RuleSettings>,
    /// Family-wise level of the contrasts.
    pub alpha: f64,
    /// Family of contrasts, in order.
    pub contrasts: Vec<FieldContrast>,
    /// Settings of the bootstrap intervals.
    pub bootstrap: BootstrapSettings,
}

/// Claim that one arm wins more episodes than another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldContrast {
    /// Arm that is claimed to win more.
    pub better: ArmName,
    /// Arm of the comparison.
    pub than: ArmName,
}

/// Source of an episode's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeSource {
    /// The plant reports that the goal is reached.
    Plant,
    /// A person enters it after the episode, without knowing the arm.
    Person,
}

/// Error of reading or checking a plan of a field trial.
#[derive(Debug, thiserror::Error)]
pub enum FieldPlanError {
    /// The file cannot be read, or is not such a plan.
    #[error(transparent)]
    File(#[from] TomlError),
    /// A setting is invalid.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Invalid {
        /// The plan.
        path: PathBuf,
        /// Dotted key of the setting.
        field: String,
        /// Value found.
        found: String,
        /// Valid values.
        valid: String,
    },
}

/// Key, value found and valid values.
type Refused = (String, String, String);

fn refused(field: impl Into<String>, found: impl Into<String>, valid: &str) -> Refused {
    (field.into(), found.into(), valid.to_owned())
}

/// Parts a text `found …; valid is …`.
fn parted(field: String, reason: &str) -> Refused {
    let (found, valid) = reason.split_once("; valid is ").unwrap_or((reason, "another value"));
    refused(field, found.strip_prefix("found ").unwrap_or(found), valid)
}

impl FieldPlan {
    /// Parses and checks a plan. `path` is the plan's file, for messages.
    ///
    /// # Errors
    /// Text that is not a plan, or a setting that is not valid.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FieldPlanError> {
        let plan: Self = toml_file::parse(text, path)?;
        plan.check().map_err(|refused| plan.error(path, refused))?;
        Ok(plan)
    }

    /// Checks the settings that depend on the robot file: `starts` is the number of its starts, `gated` its rule and `gate` the limits
    /// of its gate.
    ///
    /// # Errors
    /// A setting that does not fit the robot file.
    pub fn check_robot(
        &self,
        path: &Path,
        starts: usize,
        gated: &RuleSettings,
        gate: &GateLimits,
    ) -> Result<(), FieldPlanError> {
        let checked = || {
            if !self.setups.is_empty() && self.setups.len() != starts {
                let valid = format!("none, or one for each of the robot file's {starts} starts");
                return Err(refused("setups", format!("{} texts", self.setups.len()), &valid));
            }
            let reads_nothing = matches!(
                gated,
                RuleSettings::Never {} | RuleSettings::Blind { .. } | RuleSettings::TakeOver { .. }
            );
            if reads_nothing && self.arms.iter().any(|arm| *arm == *AEGIS) {
                let valid =
                    "a robot file whose [rule] reads the probe or the policies, for the arm aegis obeys it";
                return Err(refused("robot", "a robot file whose rule reads nothing", valid));
            }
            for (arm, rule) in &self.rules {
                if let RuleSettings::TakeOver { step } = rule
                    && *step >= gate.horizon_steps
                {
                    let valid = format!("below the robot file's gate.horizon_steps, {}", gate.horizon_steps);
                    return Err(refused(format!("rules.{arm}.step"), step.to_string(), &valid));
                }
            }
            Ok(())
        };
        checked().map_err(|refused| self.error(path, refused))
    }

    /// Returns the robot file's path, from where the process runs. `path` is the plan's file.
    pub fn robot_file(&self, path: &Path) -> PathBuf {
        path.parent().unwrap_or(Path::new("")).join(&self.robot)
    }

    /// Returns the rule that an arm obeys; `gated` is the robot file's. `None` for a name that is no arm of this plan.
    pub fn rule<'a>(&'a self, arm: &ArmName, gated: &'a RuleSettings) -> Option<RuleSettings> {
        match arm.as_str() {
            WEAK | AA => Some(RuleSettings::Never {}),
            STRONG => Some(RuleSettings::TakeOver { step: 0 }),
            AEGIS => Some(gated.clone()),
            _ => self.rules.get(arm).cloned(),
        }
    }

    /// Returns a setting that may not change once an attempt was made and that differs in `other`; `None` where none does.
    pub fn settled_differs(&self, other: &Self) -> Option<&'static str> {
        [
            ("robot", self.robot != other.robot),
            ("master_seed", self.master_seed != other.master_seed),
            ("blocks_per_start", self.blocks_per_start != other.blocks_per_start),
            ("outcome", self.outcome != other.outcome),
            ("arms", self.arms != other.arms),
        ]
        .into_iter()
        .find_map(|(field, differs)| differs.then_some(field))
    }

    /// Checks that the trial can answer its question. Plans are checked when they are frozen and not when they are read, so that frozen
    /// plans stay valid. `gate` has the limits of the robot file's gate, `gated` its rule, and `rule` gives the rule of an arm with the
    /// thresholds of the robot file's probe.
    ///
    /// # Errors
    /// A setting that determines the result before the first episode.
    pub fn check_answers(
        &self,
        path: &Path,
        gated: &RuleSettings,
        gate: &GateLimits,
        rule: impl Fn(&ArmName) -> Rule,
    ) -> Result<(), FieldPlanError> {
        let error = |refused| self.error(path, refused);
        for (field, ok, found, valid) in [
            (
                "alpha",
                self.alpha <= EVEN,
                self.alpha,
                "above 0, at most 0.5, for at a higher level a false claim is shown more often than not",
            ),
            (
                "bootstrap.level",
                self.bootstrap.level >= EVEN,
                self.bootstrap.level,
                "0.5 to below 1, for an interval of a lower level misses the true value more often than not",
            ),
        ] {
            if !ok {
                return Err(error(refused(field, found.to_string(), valid)));
            }
        }
        for (index, FieldContrast { better, than }) in self.contrasts.iter().enumerate() {
            if self.rule(better, gated) == self.rule(than, gated) {
                let found = format!("{better} and {than}, which obey the same rule");
                return Err(error(refused(
                    format!("contrasts[{index}]"),
                    found,
                    "two arms with different rules",
                )));
            }
        }
        for arm in &self.arms {
            let own =
                if self.rules.contains_key(arm) { format!("rules.{arm}") } else { "robot: rule".into() };
            let Some(settings) = self.rule(arm, gated) else { continue };
            check_gate_fires(arm, &own, &settings, gate, || rule(arm)).map_err(
                |StudyError { field, reason }| {
                    let field = if field.starts_with("gate.") { format!("robot: {field}") } else { field };
                    error(parted(field, &reason))
                },
            )?;
        }
        Ok(())
    }

    fn error(&self, path: &Path, (field, found, valid): Refused) -> FieldPlanError {
        FieldPlanError::Invalid { path: path.to_owned(), field, found, valid }
    }

    fn check(&self) -> Result<(), Refused> {
        if self.robot.as_os_str().is_empty() {
            return Err(refused("robot", "an empty path", "a robot file, from the plan's folder on"));
        }
        for (field, found, most) in
            [("blocks_per_start", self.blocks_per_start, 10_000), ("attempts", self.attempts, 100)]
        {
            if !(1..=most).contains(&found) {
                return Err(refused(field, found.to_string(), &format!("1 to {most}")));
            }
        }
        for (index, text) in self.setups.iter().enumerate() {
            let is_plain = !text.trim().is_empty()
                && text.chars().count() <= LONGEST_SETUP
                && !text.chars().any(aegis_files::text::is_obeyed);
            if !is_plain {
                let valid = format!("one line of words, at most {LONGEST_SETUP} characters");
                return Err(refused(format!("setups[{index}]"), format!("{text:?}"), &valid));
            }
        }
        self.check_arms()?;
        self.check_rules()?;
        self.check_contrasts()?;
        let open = |value: f64| value > 0.0 && value < 1.0;
        let BootstrapSettings { replicates, level, .. } = self.bootstrap;
        for (field, ok, found, valid) in [
            ("alpha", open(self.alpha), self.alpha.to_string(), "above 0, below 1"),
            (
                "bootstrap.replicates",
                Bootstrap::REPLICATES.contains(&replicates),
                replicates.to_string(),
                "100 to 1000000, for each is kept in memory",
            ),
            ("bootstrap.level", open(level), level.to_string(), "above 0, below 1"),
        ] {
            if !ok {
                return Err(refused(field, found, valid));
            }
        }
        check_written(self).map_err(|(field, reason)| parted(field, &reason))
    }

    fn check_arms(&self) -> Result<(), Refused> {
        if self.arms.len() < 2 {
            let listed: Vec<_> = self.arms.iter().map(ArmName::as_str).collect();
            return Err(refused("arms", format!("[{}]", listed.join(", ")), "two arms or more"));
        }
        let mut seen = BTreeSet::new();
        for (index, name) in self.arms.iter().enumerate() {
            let field = format!("arms[{index}]");
            if !name.is_plain() {
                return Err(refused(field, format!("{:?}", name.as_str()), "1 to 32 of a–z, 0–9 and _"));
            }
            if [RANDOM, SHADOW].contains(&name.as_str()) {
                let valid = "another arm: random needs the fires of a twin, and shadow drives as weak does, on a robot as in a study, where \
                             both can be had";
                return Err(refused(field, name.to_string(), valid));
            }
            if !seen.insert(name) {
                return Err(refused(field, format!("{name} again"), "every arm once"));
            }
            let has_own = ![WEAK, AA, STRONG, AEGIS].contains(&name.as_str());
            if has_own && !self.rules.contains_key(name) {
                let valid = "a rule of its own for an arm by this name";
                return Err(refused(format!("rules.{name}"), "nothing", valid));
            }
        }
        Ok(())
    }

    fn check_rules(&self) -> Result<(), Refused> {
        for (name, rule) in &self.rules {
            let field = format!("rules.{name}");
            if !self.arms.contains(name) {
                return Err(refused(field, "a rule of no arm", "rules of arms that the plan lists"));
            }
            if [WEAK, AA, STRONG, AEGIS].contains(&name.as_str()) {
                let valid = "none: aegis obeys the robot file's [rule], weak, aa and strong obey none";
                return Err(refused(field, "a rule of its own", valid));
            }
            rule.validate().map_err(|(setting, reason)| parted(format!("{field}.{setting}"), &reason))?;
        }
        Ok(())
    }

    fn check_contrasts(&self) -> Result<(), Refused> {
        if self.contrasts.is_empty() {
            return Err(refused("contrasts", "none", "one or more"));
        }
        let mut seen = Vec::new();
        for (index, FieldContrast { better, than }) in self.contrasts.iter().enumerate() {
            let field = format!("contrasts[{index}]");
            for (side, name) in [("better", better), ("than", than)] {
                if !self.arms.contains(name) {
                    return Err(refused(format!("{field}.{side}"), name.to_string(), "an arm of the plan"));
                }
            }
            if better == than {
                return Err(refused(field, format!("{better} on both sides"), "two arms"));
            }
            if seen.contains(&(better, than)) || seen.contains(&(than, better)) {
                return Err(refused(field, format!("{better} and {than} again"), "every pair of arms once"));
            }
            seen.push((better, than));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aegis_core::trigger::Thresholds;

    use super::*;

    pub const TEXT: &str = r#"
        robot = "robot.toml"
        master_seed = 7
        blocks_per_start = 3
        attempts = 2
        outcome = "person"
        arms = ["weak", "aegis", "blind", "strong"]
        alpha = 0.05
        contrasts = [{ better = "aegis", than = "weak" }, { better = "aegis", than = "blind" }]
        [rules.blind]
        kind = "blind"
        schedule = { at = [3] }
        share = 0.5
        [bootstrap]
        replicates = 200
        seed = 1
        level = 0.95
    "#;

    pub fn plan() -> FieldPlan {
        FieldPlan::parse(TEXT, Path::new("trial.toml")).unwrap()
    }

    #[test]
    fn arms_obey_the_rules_that_their_names_say() {
        let (plan, gated) = (plan(), RuleSettings::Conformal {});
        let rule = |arm: &str| plan.rule(&arm.into(), &gated);
        assert_eq!(rule("weak"), Some(RuleSettings::Never {}));
        assert_eq!(rule("strong"), Some(RuleSettings::TakeOver { step: 0 }));
        assert_eq!(rule("aegis"), Some(RuleSettings::Conformal {}));
        assert_eq!(rule("blind").and_then(|rule| rule.share()), Some(0.5));
        assert_eq!(rule("other"), None);
    }

    #[test]
    fn each_wrong_setting_is_refused_by_its_key() {
        for (from, to, said) in [
            ("\"robot.toml\"", "\"\"", "robot: found an empty path"),
            (
                "blocks_per_start = 3",
                "blocks_per_start = 0",
                "blocks_per_start: found 0; valid is 1 to 10000",
            ),
            ("attempts = 2", "attempts = 0", "attempts: found 0; valid is 1 to 100"),
            ("alpha = 0.05", "alpha = 1.5", "alpha: found 1.5; valid is above 0, below 1"),
            ("alpha = 0.05", "alpha = nan", "alpha: found NaN"),
            ("replicates = 200", "replicates = 9", "bootstrap.replicates: found 9; valid is 100 to 1000000"),
            ("replicates = 200", "replicates = 1000000000000", "bootstrap.replicates: found 1000000000000"),
            (
                "master_seed = 7",
                "master_seed = 10000000000000000000",
                "master_seed: found 10000000000000000000; valid",
            ),
            ("\"strong\"]", "\"weak\"]", "arms[3]: found weak again"),
            ("\"strong\"]", "\"Strong\"]", "arms[3]: found \"Strong\"; valid is 1 to 32 of"),
            ("\"strong\"]", "\"random\"]", "arms[3]: found random; valid is another arm"),
            ("\"strong\"]", "\"mine\"]", "rules.mine: found nothing; valid is a rule of its own"),
            ("[rules.blind]", "[rules.weak]", "rules.blind: found nothing"),
            ("share = 0.5", "share = 1.5", "rules.blind.share: found 1.5; valid is above 0, at most 1"),
            ("than = \"blind\"", "than = \"take_over\"", "contrasts[1].than: found take_over"),
            ("than = \"blind\"", "than = \"aegis\"", "contrasts[1]: found aegis on both sides"),
            ("than = \"blind\"", "than = \"weak\"", "contrasts[1]: found aegis and weak again"),
            ("attempts = 2", "attempts = 2\nsetups = [\"\"]", "setups[0]: found \"\"; valid is one line"),
            ("outcome = \"person\"", "outcome = \"me\"", "unknown variant"),
            ("attempts = 2", "attempt = 2", "unknown field"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = FieldPlan::parse(&TEXT.replace(from, to), Path::new("trial.toml")).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("trial.toml: ") && error.contains(said), "{said:?} is not in {error}");
        }
    }

    fn gate() -> GateLimits {
        serde_json::from_value(serde_json::json!({
            "return_chunks": 2, "guard_fraction": 0.2, "budget_fraction": 0.05, "budget_unit": "chunks", "duty_cap": 0.75,
            "hold_chunks": 4, "horizon_steps": 220, "chunk_steps": 8
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_that_answers_nothing_is_not_registered() {
        let fits = "schedule = { at = [6] }";
        for (from, to, said) in [
            ("alpha = 0.05", "alpha = 0.6", "alpha: found 0.6; valid is above 0, at most 0.5"),
            ("level = 0.95", "level = 0.4", "bootstrap.level: found 0.4; valid is 0.5 to below 1"),
            (
                fits,
                "schedule = { at = [5000] }",
                "rules.blind.schedule.at: found 5000; valid is chunk boundaries from 6",
            ),
            (
                fits,
                "schedule = { at = [] }",
                "rules.blind.schedule.at: found none; valid is chunk boundaries",
            ),
            (
                fits,
                "schedule = { every = { first = 900, period = 2 } }",
                "rules.blind.schedule.every: found first 900",
            ),
            (
                "\"blind\" }]",
                "\"aa\" }, { better = \"weak\", than = \"aa\" }]",
                "contrasts[2]: found weak and aa, which obey the same",
            ),
        ] {
            let text =
                TEXT.replace("schedule = { at = [3] }", fits).replace("\"strong\"]", "\"strong\", \"aa\"]");
            assert!(text.contains(from), "{from}");
            let path = Path::new("trial.toml");
            let answers = |text: &str| {
                let plan = FieldPlan::parse(text, path).unwrap();
                let reads = Rule::Conformal(Thresholds { fire: 0.9, hand_back: 0.3 });
                plan.check_answers(path, &RuleSettings::Conformal {}, &gate(), |_| reads.clone())
            };
            answers(&text).unwrap();
            let error = answers(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with("trial.toml: ") && error.contains(said), "{said:?} is not in {error}");
        }
    }

    #[test]
    fn the_robot_file_has_to_fit() {
        let gate = gate();
        let check = |plan: &FieldPlan, gated: &RuleSettings| {
            let checked = plan.check_robot(Path::new("trial.toml"), 4, gated, &gate);
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&plan(), &RuleSettings::Conformal {}), Ok(()));
        let error = check(&plan(), &RuleSettings::Never {}).unwrap_err();
        assert!(error.contains("robot: found a robot file whose rule reads nothing"), "{error}");
        let mut few = plan();
        few.setups = vec!["block left of the line".into()];
        let error = check(&few, &RuleSettings::Conformal {}).unwrap_err();
        assert!(
            error.contains("setups: found 1 texts; valid is none, or one for each of the robot file's 4"),
            "{error}"
        );
        let late = TEXT.replace(
            "kind = \"blind\"\n        schedule = { at = [3] }\n        share = 0.5",
            "kind = \"take_over\"\nstep = 220",
        );
        let late = FieldPlan::parse(&late, Path::new("trial.toml")).unwrap();
        let error = check(&late, &RuleSettings::Conformal {}).unwrap_err();
        assert!(error.contains("rules.blind.step: found 220; valid is below"), "{error}");
    }
}

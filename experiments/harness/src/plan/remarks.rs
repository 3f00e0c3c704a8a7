//! Remarks on conditions of a probe's data that differ from the plan's. They are reported, and the plan is not refused.

use aegis_probe::origin::{Statement, Use};

use crate::plan::Plan;
use aegis_files::same_digest;

/// Conditions under which a plan runs its episodes.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Digest of the scenes of the plan's suite.
    pub suite_sha256: &'a str,
}

impl Circumstances<'_> {
    /// Returns a sentence for each part of a probe that came from another suite, other scenes, or episodes with another
    /// sensor noise or another number of settling steps.
    pub fn remarks(&self, statements: &[Statement]) -> Vec<String> {
        let of_probe = statements.iter().filter(|statement| statement.used != Use::Training);
        of_probe.flat_map(|statement| self.of(statement)).collect()
    }

    fn of(&self, Statement { file, part, origin, .. }: &Statement) -> Vec<String> {
        let (Some(origin), plan) = (origin, self.plan) else { return Vec::new() };
        let mut found = Vec::new();
        if !origin.is_of(&plan.suite, Some(self.suite_sha256)) {
            let (theirs, ours) = (&origin.suite, &plan.suite);
            found.push(format!(
                "{file}: {part}: made from suite {theirs}, and the plan's suite is {ours}: the probe may not discriminate there."
            ));
        }
        let scenes = origin.suite_sha256.as_deref().filter(|sha256| !same_digest(sha256, self.suite_sha256));
        if let Some(sha256) = scenes.filter(|_| origin.suite == plan.suite) {
            let (suite, ours) = (&plan.suite, self.suite_sha256);
            found.push(format!(
                "{file}: {part}: made from other scenes of {suite} (suite_sha256 {sha256}) than the plan's ({ours})."
            ));
        }
        if let Some(sensor) = origin.sensor.filter(|sensor| *sensor != plan.sensor) {
            let (theirs, ours) = (sensor.object_position_sd, plan.sensor.object_position_sd);
            found.push(format!(
                "{file}: {part}: made from episodes with sensor.object_position_sd = {theirs}, and the plan's is {ours}."
            ));
        }
        if let Some(steps) = origin.settle_steps.filter(|steps| *steps != plan.settle_steps) {
            let ours = plan.settle_steps;
            found.push(format!(
                "{file}: {part}: made from episodes with settle_steps = {steps}, and the plan's is {ours}."
            ));
        }
        if origin.disturbances != plan.disturbances {
            let how = match (origin.disturbances, plan.disturbances) {
                (None, _) => "episodes without disturbances, and the plan has [disturbances]",
                (_, None) => "episodes with disturbances, and the plan has none",
                _ => "episodes with other disturbances than the plan's [disturbances]",
            };
            found.push(format!("{file}: {part}: made from {how}."));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use aegis_probe::StateRange;
    use aegis_probe::origin::{Origin, Starts};
    use aegis_probe::sensor::SensorNoise;

    #[test]
    fn a_probe_of_another_suite_or_of_other_settings_has_a_remark() {
        let plan = Plan::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo.toml")).unwrap();
        let here = Circumstances { plan: &plan, suite_sha256: "aa" };
        let ours = Origin {
            suite: plan.suite.clone(),
            suite_sha256: Some("aa".into()),
            starts: Starts::of(StateRange { first: 0, end: 2, replicates: 1 }.keys([0])),
            master_seed: 1,
            sample_seed: None,
            weak_sha256: None,
            strong_sha256: None,
            sensor: Some(plan.sensor),
            settle_steps: Some(plan.settle_steps),
            disturbances: None,
        };
        let say = |origin: &Origin, used| {
            let (file, part, origin) = ("probe.json".into(), "discovery".into(), Some(origin.clone()));
            here.remarks(&[Statement { file, part, used, origin }])
        };
        assert!(say(&ours, Use::Fit).is_empty());
        let silent = Origin { suite_sha256: None, sensor: None, settle_steps: None, ..ours.clone() };
        assert!(say(&silent, Use::Fit).is_empty(), "an older file does not say");
        assert!(
            say(&Origin { suite: "mine".into(), ..ours.clone() }, Use::Fit).is_empty(),
            "the same scenes"
        );
        let renewed = Origin { suite_sha256: Some("bb".into()), ..ours.clone() };
        let said = say(&renewed, Use::Fit);
        assert!(
            said.len() == 1 && said[0].contains("other scenes of libero_spatial (suite_sha256 bb)"),
            "{said:?}"
        );
        let sensor = Some(SensorNoise { object_position_sd: 0.5 });
        let settle_steps = Some(plan.settle_steps + 1);
        let other =
            Origin { suite: "mine".into(), suite_sha256: Some("bb".into()), sensor, settle_steps, ..ours };
        let said = say(&other, Use::Thresholds);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains(
                "probe.json: discovery: made from suite mine, and the plan's suite is libero_spatial"
            )
        );
        assert!(
            said[1].contains("object_position_sd = 0.5") && said[2].contains("settle_steps = "),
            "{said:?}"
        );
        assert!(say(&other, Use::Training).is_empty(), "policies learn from whatever there is");
    }
}

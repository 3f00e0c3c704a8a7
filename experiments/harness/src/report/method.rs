//! The report's sections on how the study was made: policies and probe, gate, starts, power, tasks, versions.
//! All content comes from the plan, the lock, the model cards and the probe. A fact that a card lacks is reported as missing.

use std::fmt::Display;

use aegis_core::HeadKind;
use aegis_core::gate::BudgetUnit;
use aegis_statistics::{Discordance, Method, mcnemar_power};

use super::arms::number;
use super::background::{listed, stated};
use super::page::Layout;
use super::{Background, Page, Report, Table};
use crate::plan::study::DutyOf;

const POLICIES: [&str; 2] = ["weak", "strong"];
const UNSAID: &str = "not stated in the card";
/// Power for which the smallest detectable effect is computed.
const POWER: f64 = 0.8;
/// Shares of discordant episodes (won by only one arm of a contrast) for which the smallest effect is computed.
const DISCORDANT: [f64; 3] = [0.1, 0.2, 0.4];

impl Report {
    /// Adds every section on how the study was made.
    pub(super) fn method(&self, page: &mut Page, background: &Background<'_>) {
        page.section("Policies and probe").say(
            "Statements of the model cards. A card is a file beside the weights; both are registered by digest. Object \
             positions that the simulator reports would have to be measured on a robot.",
        );
        page.table(background.policies()).say(background.probe_in_words());
        page.section("Gate, rule and thresholds").table(background.gate());
        page.section("Starts").say(background.starts_in_words()).table(background.starts());
        page.say(background.origins_in_words()).table(background.origins());
        self.planned_power(page, background);
        page.section("Versions")
            .say(
                "Registered versions; another version makes no report. The commit is that of the program which registered \
                 the plan.",
            )
            .table(background.versions());
    }

    /// Adds the section on planned power: the effects that the design can show, from its numbers of episodes alone.
    fn planned_power(&self, page: &mut Page, background: &Background<'_>) {
        let Some(study) = &background.plan.study else { return };
        let claims = study.contrasts.len();
        let level = study.alpha / claims.max(1) as f64;
        page.section("Planned power").say(format!(
            "The plan states no effect for which its size was chosen. The table has the smallest difference that one claim \
             shows with a power of {} at Holm's strictest level, {} / {claims}, by the exact one-sided McNemar test, where \
             the share of episodes in the column's head is won by only one of the two arms. Episodes count as independent.",
            percent(POWER),
            study.alpha
        ));
        let head = DISCORDANT.map(|share| format!("{} won by only one", percent(share)));
        let mut table = Table::new(&["episodes"]);
        table.head.extend(head);
        let of = self.contrasts.iter().filter_map(|one| one.figures.treatment);
        let mut counts: Vec<u64> = of.map(|treatment| treatment.n).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.dedup();
        for episodes in counts {
            let smallest = DISCORDANT.map(|share| smallest_effect(share, level, episodes));
            let cell = |found: Option<f64>| {
                found.map_or("none".into(), |effect| format!("{:.1} points", 100.0 * effect))
            };
            table.rows.push([episodes.to_string()].into_iter().chain(smallest.map(cell)).collect());
        }
        page.table(table);
    }
}

/// Returns the smallest difference, as a share of `episodes`, that one claim shows with power [`POWER`] at this level, if
/// only one arm wins the share `discordant` of the episodes. `None` where even the largest difference has less power.
fn smallest_effect(discordant: f64, level: f64, episodes: u64) -> Option<f64> {
    let shown = |effect: f64| {
        let treatment_only = (discordant + effect) / 2.0;
        let effect = Discordance { treatment_only, control_only: (discordant - treatment_only).max(0.0) };
        mcnemar_power(effect, level, episodes).is_ok_and(|power| power >= POWER)
    };
    if !shown(discordant) {
        return None;
    }
    let (mut low, mut high) = (0.0, discordant);
    // 16 bisections make the error smaller than the last printed digit.
    for _ in 0..16 {
        let middle = (low + high) / 2.0;
        if shown(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Key, in a card, of the metadata that the policy's server reports.
const METADATA: &[&str] = &["server", "metadata"];

impl Background<'_> {
    fn policies(&self) -> Table {
        let mut table = Table::new(&["", "weak", "strong"]).laid_out(Layout::Facts);
        let mut add = |name: &str, cell: &dyn Fn(&str, &toml::Table) -> Option<String>| {
            let empty = toml::Table::new();
            let said = POLICIES.map(|role| cell(role, self.cards.get(role).unwrap_or(&empty)));
            let mut row = vec![name.to_owned()];
            row.extend(said.map(|cell| cell.unwrap_or(UNSAID.into())));
            table.rows.push(row);
        };
        let file = |role: &str| {
            let file = self.lock.frozen.models.get(role)?;
            Some(format!("{}, SHA-256 {}", file.file, file.sha256))
        };
        add("card", &|role, _| file(&format!("{role} card")));
        let served = |card: &toml::Table| {
            let (endpoint, digest) = (stated(card, &["server", "endpoint"])?, stated(card, &["sha256"])?);
            Some(match stated(card, METADATA) {
                Some(_) => {
                    format!("not frozen: behind the server at {endpoint}, identified by its metadata")
                }
                None => format!("not frozen: in the process at {endpoint}, which stated SHA-256 {digest}"),
            })
        };
        add("weights", &|role, card| file(&format!("{role} weights")).or_else(|| served(card)));
        if self.cards.values().any(|card| stated(card, METADATA).is_some()) {
            // Registered before the first episode and compared after the last; an episode of another server is refused.
            add("its server's metadata, before and after the run", &|_, card| stated(card, METADATA));
        }
        add("architecture", &|_, card| stated(card, &["training", "architecture"]));
        add("parameters", &|_, card| stated(card, &["training", "parameters"]));
        add("trained on", &|_, card| trained_on(card));
        add("training", &|_, card| {
            let words = [("windows", "windows"), ("epochs", "epochs"), ("loss", "loss"), ("seed", "seed")];
            let said = words
                .iter()
                .filter_map(|(key, name)| Some(format!("{name} {}", stated(card, &["training", *key])?)));
            some_of(said.collect())
        });
        add("reads", &|role, _| self.reads.get(role).cloned());
        add("proposes", &|_, card| {
            let [steps, width] = ["horizon", "width"].map(|key| stated(card, &["chunk", key]));
            Some(format!("{} actions of {} numbers at a time", steps?, width?))
        });
        add("success alone, by its card", &|_, card| {
            let [won, episodes] = ["won", "episodes"].map(|key| stated(card, &["success", "all", key]));
            let starts = stated(card, &["success", "starts"]).unwrap_or("starts not stated".into());
            Some(format!("{} of {} episodes ({starts})", won?, episodes?))
        });
        table
    }

    fn probe_in_words(&self) -> String {
        let probe = self.probe;
        let head = match probe.settings.head {
            HeadKind::Linear => "a linear head".to_owned(),
            HeadKind::Mlp => format!("a head with one hidden layer of {} units", probe.settings.hidden),
            HeadKind::Recurrent => format!("a recurrent head of {} units", probe.settings.hidden),
        };
        let file = self.lock.frozen.models.get("probe");
        let file =
            file.map_or("not in the lock".into(), |file| format!("{}, SHA-256 {}", file.file, file.sha256));
        format!(
            "The probe ({file}) reads the weak policy's tensor {}, {} numbers at each chunk boundary, by {head}. It was \
             fitted on {} weak episodes, of which {} were lost, with an L2 penalty of {}; its thresholds were set on {} \
             others, of which {} were lost.",
            probe.tensor,
            probe.probe.width(),
            probe.discovery.episodes,
            probe.discovery.lost,
            probe.penalty,
            probe.calibrated_on.episodes,
            probe.calibrated_on.lost
        )
    }

    fn gate(&self) -> Table {
        let gate = &self.plan.gate;
        let mut table = Table::new(&["setting", "value"]).laid_out(Layout::Facts);
        let mut add = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
        add("horizon", format!("{} control steps, in chunks of {}", gate.horizon_steps, gate.chunk_steps));
        add("rule", format!("the gate {}", self.words(&self.plan.rule)));
        add(
            "how the threshold was set",
            format!(
                "at most {} of the episodes that weak wins may raise an alarm, split-conformal over {} weak episodes; \
                 the level of calm lies above all but {} of the scores of won episodes",
                percent(self.probe.settings.alpha),
                self.probe.calibrated_on.episodes,
                percent(self.probe.settings.return_alpha)
            ),
        );
        add(
            "threshold of the score",
            format!(
                "{}, of calm {}",
                number(self.probe.calibration.threshold),
                number(self.probe.calibration.return_threshold)
            ),
        );
        add(
            "guard",
            format!(
                "no hand-over before control step {}, {} of the horizon",
                gate.guard_steps(),
                percent(gate.guard_fraction)
            ),
        );
        let unit = match gate.budget_unit {
            BudgetUnit::Steps => "steps",
            BudgetUnit::Chunks => "chunks",
        };
        add(
            "budget",
            format!(
                "at most {} hand-overs an episode, {} of its {unit}, rounded up",
                gate.budget(),
                percent(gate.budget_fraction)
            ),
        );
        let whole = if gate.whole_holds { ", and only where all of it fits before the horizon" } else { "" };
        let hold = gate.hold_steps();
        add(
            "hold",
            format!("a hand-over lasts at least {hold} control steps, {} chunks{whole}", gate.hold_chunks),
        );
        let back = match gate.return_chunks {
            0 => "as soon as the hold is over, without the rule".into(),
            1 => "after the hold, at the first calm boundary".into(),
            calm => format!("after the hold, once {calm} boundaries in a row were calm"),
        };
        add("control goes back", back);
        add(
            "duty cap",
            format!(
                "the strong policy drives at most {} control steps, {} of the horizon",
                gate.duty_steps(),
                percent(gate.duty_cap)
            ),
        );
        add(
            "observation of the policies",
            format!(
                "object positions with fresh noise, standard deviation {} m an axis, after {} steps to settle",
                self.plan.sensor.object_position_sd, self.plan.settle_steps
            ),
        );
        table
    }

    fn starts_in_words(&self) -> String {
        let recorded =
            self.plan.sample_seed.map_or("All of them are recorded by the benchmark.".to_owned(), |seed| {
                format!(
                    "States beyond the recorded ones are drawn as the benchmark draws them, with seed {seed}."
                )
            });
        let intervals = self.plan.study.as_ref().map(|study| {
            let method = match study.bootstrap.method {
                Method::Percentile => "percentile",
                Method::Bca => "BCa",
            };
            let duty = match study.budget_tolerance.duty_of {
                DutyOf::Steps => "the steps that were taken",
                DutyOf::Horizon => "the horizon",
            };
            format!(
                " Intervals of differences are {method} bootstraps at {}, {} resamples of whole starts, seed {}; those \
                 of shares are exact. Budgets may differ by {} points of duty, of {duty}, and {} fires an episode.",
                percent(study.bootstrap.level),
                study.bootstrap.replicates,
                study.bootstrap.seed,
                study.budget_tolerance.duty_points,
                study.budget_tolerance.fires
            )
        });
        format!(
            "Initial states of each of {} tasks, by their use; no state has two uses. {recorded} Every random stream comes \
             from master seed {}.{}",
            self.tasks.len(),
            self.plan.master_seed,
            intervals.unwrap_or_default()
        )
    }

    fn starts(&self) -> Table {
        let mut table =
            Table::new(&["range", "initial states", "episodes, all tasks", "use"]).laid_out(Layout::Facts);
        for (name, share) in self.plan.ranges.named() {
            let serves = match name {
                "training" => "demonstrations that the policies learn from",
                "discovery" => "weak episodes that the probe learns from",
                "calibration" => "weak episodes that set the thresholds",
                "tuning" => "episodes that settings are chosen on",
                _ => "the episodes of this report, of each arm",
            };
            let states = share.end.saturating_sub(share.first) as u64;
            let episodes = states.saturating_mul(share.replicates).saturating_mul(self.tasks.len() as u64);
            table.rows.push(vec![
                name.into(),
                format!("{} to {}", share.first, share.end.saturating_sub(1)),
                episodes.to_string(),
                serves.into(),
            ]);
        }
        table
    }

    /// Returns the table of tasks with their instructions.
    pub(super) fn instructions(&self) -> Table {
        let mut table = Table::new(&["task", "instruction"]).laid_out(Layout::Facts);
        table.rows.extend(self.tasks.iter().map(|(task, words)| vec![task.to_string(), words.clone()]));
        table
    }

    fn versions(&self) -> Table {
        let mut table = Table::new(&["part", "version"]).laid_out(Layout::Facts);
        let mut add = |name: &dyn Display, version: &str| {
            table.rows.push(vec![name.to_string(), version.to_owned()]);
        };
        add(&"commit of the program", &self.lock.commit);
        for (name, version) in &self.lock.frozen.versions {
            add(name, version);
        }
        for (name, version) in self.packages {
            add(&format_args!("{name}, of the suite {}", self.plan.suite), version);
        }
        if self.packages.is_empty() {
            add(&format_args!("packages of the suite {}", self.plan.suite), "not stated in its files");
        }
        table
    }
}

/// Formats a share in percent, with at most one digit after the point.
fn percent(share: f64) -> String {
    format!("{} %", (1000.0 * share).round() / 10.0)
}

/// Joins parts with commas; `None` where there are none.
fn some_of(parts: Vec<String>) -> Option<String> {
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}

/// Returns the training data of a card: each file with its digest, and the number of demonstrations.
fn trained_on(card: &toml::Table) -> Option<String> {
    let demonstrations = stated(card, &["training", "demonstrations"]);
    let count = demonstrations.map(|count| format!("{count} demonstrations of it"));
    let file = |data: &toml::Table| {
        let name = stated(data, &["file"])?;
        let digest =
            stated(data, &["sha256"]).map_or("no digest given".into(), |digest| format!("SHA-256 {digest}"));
        Some(format!("{name} ({digest})"))
    };
    let files = listed(card, &["training", "data"]).into_iter().filter_map(file);
    some_of(files.chain(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_effect_has_the_power_and_a_smaller_one_has_not() {
        let at = |effect: f64| {
            let treatment_only = (0.2 + effect) / 2.0;
            mcnemar_power(Discordance { treatment_only, control_only: 0.2 - treatment_only }, 0.05, 100)
                .unwrap()
        };
        let found = smallest_effect(0.2, 0.05, 100).unwrap();
        assert!(at(found) >= POWER && at(found - 0.001) < POWER, "{found}");
        assert_eq!(smallest_effect(0.2, 0.05, 5), None, "five episodes show nothing");
    }

    #[test]
    fn a_card_with_few_keys_is_read() {
        assert_eq!(trained_on(&toml::Table::new()), None);
        let card: toml::Table =
            toml::from_str("[training]\ndemonstrations = 40\n[[training.data]]\nfile = \"a\"\n").unwrap();
        assert_eq!(trained_on(&card).as_deref(), Some("a (no digest given), 40 demonstrations of it"));
    }
}

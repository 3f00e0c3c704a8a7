//! Analysis of forks: where in an episode help still wins it, when it begins to, how much a hold buys at each boundary and in each
//! task, and what an oracle would choose with hindsight. Without side effects.

pub mod benefit;
pub mod control;
pub mod oracle;
pub mod price;
pub mod price_view;
pub mod timing;
pub mod view;

use aegis_core::GateLimits;
use aegis_probe::fork_file::ForkProvenance;
use aegis_probe::forks::{EpisodeForks, Fork};
use serde::Serialize;

use benefit::{BoundaryBenefit, TaskBenefit, by_boundary, by_task};
use oracle::{OracleReport, oracle};
use timing::{Timing, timing};

/// Figures of a file of forks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForkReport {
    /// Range of the plan.
    pub range: String,
    /// SHA-256 of the plan's canonical form.
    pub plan_sha256: String,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Limits of the plan's gate.
    pub gate: GateLimits,
    /// Most boundaries that were drawn in an episode; `None` where every boundary has its fork.
    pub boundaries_per_episode: Option<u32>,
    /// Weak episodes.
    pub episodes: u64,
    /// Weak episodes that were lost.
    pub lost: u64,
    /// Effort of the collection.
    pub effort: Effort,
    /// Figures of each boundary, by control step.
    pub boundaries: Vec<BoundaryBenefit>,
    /// Figures of each task.
    pub tasks: Vec<TaskBenefit>,
    /// Onsets and points of no return.
    pub timing: Timing,
    /// Oracle and random choices within a budget of strong steps.
    pub oracle: OracleReport,
}

/// Effort of collecting forks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Boundaries with a fork.
    pub forks: u64,
    /// Branches that were run.
    pub branches_run: u64,
    /// Branches that were known without a run, because the episode ended within its hold.
    pub branches_shared: u64,
    /// Control steps that were run, those of the weak episodes included.
    pub control_steps: u64,
    /// Control steps that all episodes and branches have, each counted from its own start.
    pub control_steps_from_start: u64,
}

impl Effort {
    /// Returns the effort of collecting these forks.
    pub fn of(episodes: &[EpisodeForks]) -> Self {
        let mut effort = Self::default();
        for episode in episodes {
            effort.control_steps += u64::from(episode.steps);
            effort.control_steps_from_start += u64::from(episode.steps);
            for fork in &episode.forks {
                let after_hold = fork.hold.steps - fork.step - fork.hold.strong_steps;
                effort.forks += 1;
                effort.branches_run += if fork.is_shared() { 1 } else { 2 };
                effort.branches_shared += u64::from(fork.is_shared());
                effort.control_steps += u64::from(fork.take_over.steps - fork.step + after_hold);
                effort.control_steps_from_start += u64::from(fork.take_over.steps + fork.hold.steps);
            }
        }
        effort
    }
}

/// Returns every fork with its episode.
fn rows(episodes: &[EpisodeForks]) -> impl Iterator<Item = (&EpisodeForks, &Fork)> {
    episodes.iter().flat_map(|episode| episode.forks.iter().map(move |fork| (episode, fork)))
}

/// Analyses the forks of a file. `duty` is the oracle's budget of strong steps, as a share of all episodes' horizons; without it the
/// budget is what the oracle needs to recover every episode that it can.
pub fn analyse(provenance: &ForkProvenance, episodes: &[EpisodeForks], duty: Option<f64>) -> ForkReport {
    ForkReport {
        range: provenance.rollouts.range.clone(),
        plan_sha256: provenance.plan_sha256.clone(),
        master_seed: provenance.rollouts.master_seed,
        gate: provenance.gate.clone(),
        boundaries_per_episode: provenance.boundaries_per_episode,
        episodes: episodes.len() as u64,
        lost: episodes.iter().filter(|episode| !episode.success).count() as u64,
        effort: Effort::of(episodes),
        boundaries: by_boundary(episodes),
        tasks: by_task(episodes),
        timing: timing(episodes, provenance.gate.horizon_steps),
        oracle: oracle(episodes, &provenance.gate, duty),
    }
}

/// Episodes for the unit tests of this folder.
#[cfg(test)]
pub(crate) mod tests {
    use aegis_core::{EpisodeKey, Start};
    use aegis_probe::forks::Branch;

    use super::*;

    /// An episode of a horizon of 100 with forks of chunks of 10: step, whether a hold of 20 wins, whether strong to the end does.
    pub(crate) fn episode(state: usize, success: bool, forks: &[(u32, bool, bool)]) -> EpisodeForks {
        let key = EpisodeKey { start: Start { task: state % 2, initial_state: state }, replicate: 0 };
        let fork = |&(step, hold, take_over): &(u32, bool, bool)| Fork {
            step,
            risk: None,
            inclusion: 1.0,
            hold: Branch { success: hold, steps: 100, strong_steps: 20.min(100 - step) },
            take_over: Branch { success: take_over, steps: 100, strong_steps: 100 - step },
        };
        let steps = if success { 90 } else { 100 };
        EpisodeForks { key, success, steps, forks: forks.iter().map(fork).collect() }
    }

    #[test]
    fn effort_counts_a_shared_branch_once_and_no_control_step_twice() {
        let episodes = [episode(0, false, &[(20, true, true), (80, false, false), (90, false, false)])];
        let effort = Effort::of(&episodes);
        assert_eq!((effort.forks, effort.branches_run, effort.branches_shared), (3, 4, 2));
        // The weak episode, 80 + 60 from step 20, and 20 and 10 from the last two, whose holds reach the horizon.
        assert_eq!(effort.control_steps, 100 + 80 + 60 + 20 + 10);
        assert_eq!(effort.control_steps_from_start, 700);
    }
}

//! Fits the two heads of a benefit head on forked boundaries, and calibrates their probabilities on forks that the fit has not seen.
//!
//! Every forked boundary is a training example of its own, with a weight of one. Boundaries that were drawn count equally, not by the
//! inverse of their probability: with N boundaries drawn in every episode, episodes have equal weights, as they have in a fit of risk.

use std::collections::BTreeSet;

use aegis_core::platt::{CalibrateError, PlattScaling};
use aegis_core::probe::{HeadKind, OutcomeHead, Probe, ProbeError};
use aegis_core::{BenefitHead, Start};

use super::{FittedBenefit, Forked, ForkedBoundary};
use crate::fit::{self, FitSettings, Fitted};
use crate::training::{SINGLE, Trajectory, rounded};

/// Columns with the labels of the two heads in a file of forks.
const COLUMNS: [&str; 2] = ["weak_success", "hold_success"];

/// Part of the forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Forks of the fit.
    Discovery,
    /// Forks of the calibration.
    Calibration,
}

/// Error of fitting or calibrating a benefit head.
#[derive(Debug, thiserror::Error)]
pub enum BenefitError {
    /// A recurrent head depends on earlier boundaries, and forks need not have them.
    #[error(
        "fit.head: found recurrent; valid for a benefit head is linear or mlp, which read one boundary alone: choose one with --benefit-head"
    )]
    Recurrent,
    /// A part has no forks.
    #[error(
        "rows: found no boundary with a fork; valid is one or more: a gate may fire in none of the episodes"
    )]
    Empty(Part),
    /// Too few forks have one of the outcomes.
    #[error(
        "{column}: found {lost} of {forks} forks lost; valid is both outcomes from several starts, in every fold of the \
         cross-validation: collect more episodes, or fork at more boundaries"
    )]
    OneOutcome {
        /// Part at fault.
        part: Part,
        /// Column of the outcome.
        column: &'static str,
        /// Forks that are lost.
        lost: usize,
        /// All forks of the part.
        forks: usize,
    },
    /// Both parts have forks from the same start.
    #[error(
        "rows: found start {} of task {}, which the forks of the fit have too; valid are other starts, because probabilities \
         calibrated on fitted starts are too sure",
        .0.initial_state,
        .0.task
    )]
    Shared(Start),
    /// A head cannot be fitted on the boundaries.
    #[error("{column}: {source}")]
    Fit {
        /// Column of the outcome.
        column: &'static str,
        /// Error of the fit; its trajectories are the forks.
        source: ProbeError,
    },
    /// A head cannot be calibrated.
    #[error("{column}: {source}")]
    Calibrate {
        /// Column of the outcome.
        column: &'static str,
        /// Error of the calibration; its scores are those of the forks.
        source: CalibrateError,
    },
}

impl BenefitError {
    /// Returns the part whose file is at fault; `None` where a setting is.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Recurrent => None,
            Self::Empty(part) | Self::OneOutcome { part, .. } => Some(*part),
            Self::Fit { .. } => Some(Part::Discovery),
            Self::Shared(_) | Self::Calibrate { .. } => Some(Part::Calibration),
        }
    }
}

/// Returns the number of heads that [`fit`] fits.
pub fn fits(settings: &FitSettings) -> usize {
    2 * fit::fits(settings)
}

/// Fits both heads on the forks of `discovery` and calibrates them on those of `calibration`. Penalties are chosen by the cross-validation
/// by which the risk head's is chosen, with folds of whole starts; `done` is called after each of the [`fits`].
///
/// # Errors
/// [`BenefitError`].
pub fn fit(
    (discovery, calibration): (&Forked<'_>, &Forked<'_>),
    settings: &FitSettings,
    hold_steps: u32,
    done: &(dyn Fn() + Sync),
) -> Result<FittedBenefit, BenefitError> {
    if settings.head == HeadKind::Recurrent {
        return Err(BenefitError::Recurrent);
    }
    for (part, forked) in [(Part::Discovery, discovery), (Part::Calibration, calibration)] {
        check(part, &forked.boundaries)?;
    }
    let fitted: BTreeSet<Start> = discovery.boundaries.iter().map(ForkedBoundary::start).collect();
    if let Some(shared) = calibration.boundaries.iter().find(|one| fitted.contains(&one.start())) {
        return Err(BenefitError::Shared(shared.start()));
    }
    let outcome = |head: usize| -> Result<(OutcomeHead, f64, Vec<fit::Candidate>), BenefitError> {
        let trajectories = examples(&discovery.boundaries, head);
        let starts = discovery.boundaries.iter().map(ForkedBoundary::start);
        let found = fit::choose(&trajectories, starts, settings, done);
        let Fitted { probe, penalty, candidates } = found.map_err(|source| match source {
            ProbeError::OneClass(_) => one_outcome(Part::Discovery, &discovery.boundaries, head),
            source => BenefitError::Fit { column: COLUMNS[head], source },
        })?;
        let calibration = calibrate(&probe, &calibration.boundaries, head)?;
        Ok((OutcomeHead { probe, calibration }, penalty, candidates))
    };
    let (without_hold, first, compared) = outcome(0)?;
    let (with_hold, second, compared_with) = outcome(1)?;
    Ok(FittedBenefit {
        hold_steps,
        discovery: discovery.data.clone(),
        calibrated_on: calibration.data.clone(),
        penalties: [first, second],
        candidates: [compared, compared_with],
        head: BenefitHead { without_hold, with_hold },
    })
}

/// Returns one training example for each boundary, with the outcome of the head of this index as its label.
pub(crate) fn examples(boundaries: &[ForkedBoundary<'_>], head: usize) -> Vec<Trajectory> {
    let example = |one: &ForkedBoundary<'_>| Trajectory {
        features: vec![one.boundary.features.clone()],
        failed: one.failures()[head],
    };
    boundaries.iter().map(example).collect()
}

/// Checks that a part has forks, and both outcomes of each head.
fn check(part: Part, boundaries: &[ForkedBoundary<'_>]) -> Result<(), BenefitError> {
    if boundaries.is_empty() {
        return Err(BenefitError::Empty(part));
    }
    for head in 0..COLUMNS.len() {
        let lost = boundaries.iter().filter(|one| one.failures()[head]).count();
        if lost == 0 || lost == boundaries.len() {
            return Err(one_outcome(part, boundaries, head));
        }
    }
    Ok(())
}

fn one_outcome(part: Part, boundaries: &[ForkedBoundary<'_>], head: usize) -> BenefitError {
    let lost = boundaries.iter().filter(|one| one.failures()[head]).count();
    BenefitError::OneOutcome { part, column: COLUMNS[head], lost, forks: boundaries.len() }
}

/// Fits the Platt scaling of one head, with one score for each boundary.
fn calibrate(
    probe: &Probe,
    boundaries: &[ForkedBoundary<'_>],
    head: usize,
) -> Result<PlattScaling, BenefitError> {
    let column = COLUMNS[head];
    let mut memory = probe.memory();
    let scores = boundaries.iter().map(|one| Ok(probe.score(&mut memory, &one.boundary.features)?.risk()));
    let scores: Result<Vec<f64>, ProbeError> = scores.collect();
    let scores = scores.map_err(|source| BenefitError::Fit { column, source })?;
    let failed: Vec<bool> = boundaries.iter().map(|one| one.failures()[head]).collect();
    let found = PlattScaling::fit(&scores, &failed);
    let PlattScaling { slope, intercept } =
        found.map_err(|source| BenefitError::Calibrate { column, source })?;
    // Rounded as the heads are, so that the probe's file reads back exactly.
    Ok(PlattScaling { slope: rounded(slope, SINGLE), intercept: rounded(intercept, SINGLE) })
}

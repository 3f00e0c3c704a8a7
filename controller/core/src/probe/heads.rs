//! Heads that read one activation at every boundary: the risk head, and a benefit head where the probe has one.

use super::benefit::{BenefitHead, BenefitMemory};
use super::{Memory, Probe, ProbeError, Score};

/// Risk head, with an optional benefit head.
#[derive(Clone, Debug, PartialEq)]
pub struct Heads {
    /// Head whose score is the risk of failure.
    pub risk: Probe,
    /// Head that predicts the benefit of a hold.
    pub benefit: Option<BenefitHead>,
}

/// Memory of all heads within one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadsMemory {
    risk: Memory,
    benefit: Option<BenefitMemory>,
}

impl From<Probe> for Heads {
    fn from(risk: Probe) -> Self {
        Self { risk, benefit: None }
    }
}

impl Heads {
    /// Returns the memory at the start of an episode.
    pub fn memory(&self) -> HeadsMemory {
        HeadsMemory { risk: self.risk.memory(), benefit: self.benefit.as_ref().map(BenefitHead::memory) }
    }

    /// Reads the next boundary's pooled activation, `[width]`: the risk, and the benefit of a hold where there is a head for it.
    ///
    /// # Errors
    /// As [`Probe::score`] and [`BenefitHead::benefit`].
    pub fn read(
        &self,
        memory: &mut HeadsMemory,
        features: &[f64],
    ) -> Result<(Score, Option<f64>), ProbeError> {
        let score = self.risk.score(&mut memory.risk, features)?;
        let benefit = match (&self.benefit, &mut memory.benefit) {
            (Some(head), Some(memory)) => Some(head.benefit(memory, features)?),
            _ => None,
        };
        Ok((score, benefit))
    }
}

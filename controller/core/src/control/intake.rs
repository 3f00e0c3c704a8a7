//! Intake: accepts or refuses observations on arrival, before a policy can read them.
//! An observation is accepted once, in its own episode, forward in time, and with every value finite and plausible.

use serde::{Deserialize, Serialize};

/// Largest magnitude of a value that a robot's sensor can report, in metres, radians or their rates.
pub const LARGEST: f64 = 1e6;

/// Fault of an observation's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentFault {
    /// A value is NaN or infinite.
    NotFinite,
    /// A value is larger than any sensor reports.
    OutOfBounds,
    /// The plant's time did not move forward.
    TimeBackward,
}

/// Reason why an observation does not reach a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The observation belongs to another episode.
    Foreign,
    /// The sequence number is not larger than that of the newest observation.
    NotNewer,
    /// The content is faulty; names the fault and the feature.
    Content(ContentFault, String),
}

/// Digest of an observation's values, with the first implausible value's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// FNV-1a over the bits of every value; never 0.
    pub digest: u64,
    fault: Option<(ContentFault, String)>,
}

impl Content {
    /// Reads the values of every feature, in order.
    pub fn of<'a>(features: impl IntoIterator<Item = (&'a str, &'a [f64])>) -> Self {
        let (mut digest, mut fault) = (0xcbf2_9ce4_8422_2325_u64, None);
        for (name, values) in features {
            for value in values {
                digest = (digest ^ value.to_bits()).wrapping_mul(0x0000_0100_0000_01b3);
                // Compared so that NaN, which fails every comparison, is found.
                let plausible = value.abs() <= LARGEST;
                if !plausible && fault.is_none() {
                    let finite = value.is_finite();
                    let kind = if finite { ContentFault::OutOfBounds } else { ContentFault::NotFinite };
                    fault = Some((kind, name.to_owned()));
                }
            }
        }
        Self { digest: digest.max(1), fault }
    }
}

/// Accepts or refuses the observations of one plant, one episode after another.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    episode: u64,
    sequence: Option<u32>,
    time: Option<f64>,
}

impl Intake {
    /// Starts an episode: from here on only its observations are accepted.
    pub fn begin(&mut self, episode: u64) {
        *self = Self { episode, ..Self::default() };
    }

    /// Takes an observation with its episode, the plant's control steps (`sequence`) and the plant's time in seconds,
    /// both since the reset.
    ///
    /// # Errors
    /// [`Refusal`] for an observation that must not reach a policy. The sequence number of an observation with faulty
    /// content still counts as seen.
    pub fn take(&mut self, episode: u64, sequence: u32, time: f64, content: Content) -> Result<(), Refusal> {
        if episode != self.episode {
            return Err(Refusal::Foreign);
        }
        if self.sequence.is_some_and(|last| sequence <= last) {
            return Err(Refusal::NotNewer);
        }
        self.sequence = Some(sequence);
        if let Some((fault, feature)) = content.fault {
            return Err(Refusal::Content(fault, feature));
        }
        let forward = time.is_finite() && self.time.is_none_or(|last| time > last);
        if !forward {
            let fault = if time.is_finite() { ContentFault::TimeBackward } else { ContentFault::NotFinite };
            return Err(Refusal::Content(fault, "plant_time".into()));
        }
        self.time = Some(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(values: &[f64]) -> Content {
        Content::of([("joint_positions", values)])
    }

    #[test]
    fn an_observation_counts_once_in_its_own_episode_and_forward_in_time() {
        let mut intake = Intake::default();
        intake.begin(3);
        let mut take = |episode, sequence, time| intake.take(episode, sequence, time, content(&[0.5]));
        assert_eq!(take(2, 0, 0.0), Err(Refusal::Foreign));
        assert_eq!(take(3, 0, 0.0), Ok(()));
        assert_eq!(take(3, 2, 0.1), Ok(()));
        assert_eq!(take(3, 2, 0.1), Err(Refusal::NotNewer));
        assert_eq!(take(3, 1, 0.05), Err(Refusal::NotNewer));
        let backward = Refusal::Content(ContentFault::TimeBackward, "plant_time".into());
        assert_eq!(take(3, 3, 0.1), Err(backward));
        assert_eq!(take(3, 4, 0.2), Ok(()));
    }

    #[test]
    fn implausible_values_are_refused_by_the_features_name() {
        for (value, fault) in [
            (f64::NAN, ContentFault::NotFinite),
            (f64::NEG_INFINITY, ContentFault::NotFinite),
            (1e30, ContentFault::OutOfBounds),
            (-1e30, ContentFault::OutOfBounds),
        ] {
            let mut intake = Intake::default();
            let content = Content::of([("gripper", &[0.0][..]), ("joint_positions", &[0.1, value])]);
            let refused = Refusal::Content(fault, "joint_positions".into());
            assert_eq!(intake.take(0, 1, 0.0, content.clone()), Err(refused));
            assert_eq!(intake.take(0, 1, 0.0, content), Err(Refusal::NotNewer), "its number has been seen");
        }
    }

    #[test]
    fn the_digest_tells_any_change_of_content() {
        let digest = |values: &[f64]| content(values).digest;
        assert_eq!(digest(&[0.1, 0.2]), digest(&[0.1, 0.2]));
        assert_ne!(digest(&[0.1, 0.2]), digest(&[0.2, 0.1]));
        assert_ne!(digest(&[0.1, 0.2]), digest(&[0.1, 0.2_f64.next_up()]));
    }
}

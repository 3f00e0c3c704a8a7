//! The watchdog's file of bounds on the commands of a plant. It is separate from the controller's robot file, so that one mistake
//! does not loosen both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_files::toml_file::{self, TomlError};
use serde::Deserialize;

/// Largest magnitude of a bound or a limit; plants report and execute nothing beyond it.
const LARGEST: f64 = 1e6;
/// Largest number of channels of a plant.
const CHANNELS: usize = 64;
/// Time within which a command has to follow another, milliseconds.
const SILENCE_MS: std::ops::RangeInclusive<u64> = 1..=60_000;
/// Control periods a second.
const RATE_HZ: std::ops::RangeInclusive<f64> = 1.0..=1000.0;

/// Bounds on the commands of a plant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Control periods of the plant, hertz.
    pub rate_hz: f64,
    /// Longest time without a command while a command moves the plant, milliseconds.
    pub silence_ms: u64,
    /// Channels of an action, in the plant's order.
    pub channels: Vec<Channel>,
}

/// Bounds on the values of one channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Name, for messages.
    pub name: String,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Largest change from one control period to the next.
    pub step: f64,
    /// Value at which the channel stands still, such as 0 for a velocity. A channel without it is a position, which stands still
    /// where it does not change.
    pub still: Option<f64>,
}

/// Reason why a file of bounds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] TomlError),
    /// The file has a value that is not valid, or one that does not fit the plant.
    #[error("{}: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Field, what was found and what is valid.
        reason: String,
    },
}

impl Bounds {
    /// Reads a file of bounds.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, has an unknown key or a value that is not valid.
    pub fn load(path: &Path) -> Result<Self, BoundsError> {
        let text = toml_file::text(path)?;
        Self::parse(&text).map_err(|reason| BoundsError::Invalid { path: path.to_owned(), reason })
    }

    /// Parses the text of a file of bounds.
    ///
    /// # Errors
    /// A message with the field, what was found and what is valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bounds: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        bounds.check()?;
        Ok(bounds)
    }

    fn check(&self) -> Result<(), String> {
        if !RATE_HZ.contains(&self.rate_hz) {
            return Err(format!("rate_hz: found {}; valid is the plant's rate, 1 to 1000", self.rate_hz));
        }
        if !SILENCE_MS.contains(&self.silence_ms) {
            return Err(format!("silence_ms: found {}; valid is 1 to 60000", self.silence_ms));
        }
        let period_ms = 1000.0 / self.rate_hz;
        if self.silence_ms as f64 <= period_ms {
            let valid = format!("valid is more than a control period, {period_ms} ms");
            return Err(format!("silence_ms: found {}; {valid}", self.silence_ms));
        }
        let count = self.channels.len();
        if count == 0 || count > CHANNELS {
            let found = if count == 0 { "none".into() } else { count.to_string() };
            return Err(format!(
                "channels: found {found}; valid is one for each value of an action, 1 to {CHANNELS}"
            ));
        }
        for (index, channel) in self.channels.iter().enumerate() {
            channel.check().map_err(|reason| format!("channels[{index}].{reason}"))?;
            let earlier = self.channels[..index].iter().position(|other| other.name == channel.name);
            if let Some(earlier) = earlier {
                let name = &channel.name;
                return Err(format!(
                    "channels[{index}].name: found {name:?}, which is channels[{earlier}] too"
                ));
            }
        }
        Ok(())
    }

    /// Returns what to consider of bounds that are valid: a silence so short that one late command trips.
    pub fn remark(&self) -> Option<String> {
        let period_ms = 1000.0 / self.rate_hz;
        let (found, usual) = (self.silence_ms, (3.0 * period_ms).ceil());
        (found as f64 <= 2.0 * period_ms).then(|| {
            format!(
                "silence_ms: found {found}, {:.1} control periods, so that one late command trips; usual are 3 or more, {usual}, with a \
                 longer --command-timeout of the plant's server",
                found as f64 / period_ms
            )
        })
    }

    /// Checks that the bounds fit a plant with this number of values per action and this control period.
    ///
    /// # Errors
    /// The field, what was found, and what is valid.
    pub fn fit(&self, action_width: u32, period_ns: u64) -> Result<(), String> {
        let found = self.channels.len();
        if found != action_width as usize {
            return Err(format!("channels: found {found}; valid is {action_width}, as the plant has"));
        }
        let plant_hz = 1e9 / period_ns.max(1) as f64;
        // A rate in the file may be rounded, such as 33.3.
        if (self.rate_hz - plant_hz).abs() > 0.01 * plant_hz {
            return Err(format!("rate_hz: found {}; valid is {plant_hz}, the plant's", self.rate_hz));
        }
        Ok(())
    }

    /// Returns the longest time without a command while a command moves the plant.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }
}

impl Channel {
    fn check(&self) -> Result<(), String> {
        let Self { name, low, high, step, still } = self;
        if name.is_empty() || name.len() > 512 {
            return Err(format!("name: found {} bytes; valid is 1 to 512", name.len()));
        }
        for (field, value) in [("low", low), ("high", high)] {
            if !(-LARGEST..=LARGEST).contains(value) {
                return Err(format!("{field}: found {value}; valid is -1e6 to 1e6"));
            }
        }
        if low >= high {
            return Err(format!("low: found {low}; valid is less than high, {high}"));
        }
        if !(*step > 0.0 && *step <= 2.0 * LARGEST) {
            return Err(format!("step: found {step}; valid is more than 0, at most 2e6"));
        }
        match still {
            Some(still) if !(low..=high).contains(&still) => {
                Err(format!("still: found {still}; valid is within low and high, or none for a position"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "rate_hz = 20\nsilence_ms = 150\n[[channels]]\nname = \"arm\"\nlow = -1\nhigh = 1\nstep = 0.1\n\
                         still = 0\n[[channels]]\nname = \"hand\"\nlow = 0\nhigh = 1\nstep = 1\n";

    #[test]
    fn a_complete_file_is_read() {
        let bounds = Bounds::parse(WHOLE).unwrap();
        assert_eq!((bounds.rate_hz, bounds.silence()), (20.0, Duration::from_millis(150)));
        let [arm, hand] = &bounds.channels[..] else { panic!("{bounds:?}") };
        assert_eq!((arm.low, arm.high, arm.step, arm.still), (-1.0, 1.0, 0.1, Some(0.0)));
        assert_eq!((hand.name.as_str(), hand.still), ("hand", None));
        assert_eq!(bounds.fit(2, 50_000_000), Ok(()));
        assert_eq!(bounds.remark(), None);
        let slower = Bounds::parse(&WHOLE.replace("rate_hz = 20", "rate_hz = 10")).unwrap();
        let remark = slower.remark().unwrap();
        assert!(
            remark.contains("found 150, 1.5 control periods") && remark.contains("3 or more, 300"),
            "{remark}"
        );
    }

    #[test]
    fn an_invalid_file_is_refused_with_its_field() {
        for (from, to, expected) in [
            ("rate_hz = 20", "rate_hz = 0", "rate_hz: found 0; valid is the plant's rate, 1 to 1000"),
            ("rate_hz = 20", "rate_hz = nan", "rate_hz: found NaN"),
            ("silence_ms = 150", "silence_ms = 0", "silence_ms: found 0; valid is 1 to 60000"),
            (
                "silence_ms = 150",
                "silence_ms = 50",
                "silence_ms: found 50; valid is more than a control period, 50 ms",
            ),
            ("silence_ms = 150", "silence_ms = -1", "silence_ms"),
            ("silence_ms = 150", "", "missing field `silence_ms`"),
            ("low = -1", "low = nan", "channels[0].low: found NaN; valid is -1e6 to 1e6"),
            ("low = -1", "low = 1", "channels[0].low: found 1; valid is less than high, 1"),
            ("high = 1\nstep = 0.1", "high = inf\nstep = 0.1", "channels[0].high: found inf"),
            ("step = 0.1", "step = 0", "channels[0].step: found 0; valid is more than 0"),
            ("step = 0.1", "step = nan", "channels[0].step: found NaN"),
            ("still = 0", "still = 2", "channels[0].still: found 2; valid is within low and high"),
            ("still = 0", "sitll = 0", "unknown field `sitll`"),
            ("\"hand\"", "\"arm\"", "channels[1].name: found \"arm\", which is channels[0] too"),
            ("\"hand\"", "\"\"", "channels[1].name: found 0 bytes"),
        ] {
            assert_eq!(WHOLE.matches(from).count(), 1, "{from}");
            let error = Bounds::parse(&WHOLE.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{to:?}: {error}");
        }
    }

    #[test]
    fn bounds_of_another_plant_are_refused() {
        let bounds = Bounds::parse(WHOLE).unwrap();
        let error = bounds.fit(7, 50_000_000).unwrap_err();
        assert_eq!(error, "channels: found 2; valid is 7, as the plant has");
        let error = bounds.fit(2, 10_000_000).unwrap_err();
        assert_eq!(error, "rate_hz: found 20; valid is 100, the plant's");
    }
}

//! Settings of the ONNX Runtime host: execution provider, device, threads, warm-up and deadline.
//! Values only; `provider.rs` opens sessions with them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest number of threads of a session.
pub const MAX_THREADS: usize = 256;
/// Largest number of warm-up inferences.
pub const MAX_WARM_UP: u32 = 10_000;

/// Execution provider: the backend that runs a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels on the processor.
    Cpu,
    /// CUDA kernels on an NVIDIA GPU.
    Cuda,
    /// TensorRT engines on an NVIDIA GPU; CUDA runs what TensorRT cannot.
    TensorRt,
}

/// The provider requested for a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderChoice {
    /// The processor. Results are bit for bit equal on machines of the same kind.
    #[default]
    Cpu,
    /// CUDA. Opening fails where CUDA does not run the whole graph.
    Cuda,
    /// TensorRT. Opening fails where TensorRT and CUDA do not run the whole graph.
    TensorRt,
    /// The first of TensorRT, CUDA and the processor on which the model opens.
    Auto,
}

/// Settings with which a session is opened and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// The requested execution provider.
    pub provider: ProviderChoice,
    /// Number of the GPU, from 0, in the driver's order.
    pub device_id: u32,
    /// Threads within an operator. Operators always run one after another. With more than one thread, sums may be
    /// computed in another order, so results may differ in the last bits.
    pub threads: usize,
    /// Number of inferences that are run and discarded when a session opens.
    pub warm_up: u32,
    /// Deadline of one inference in milliseconds. `None` means no limit.
    pub deadline_ms: Option<u64>,
}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}; valid is {valid}")]
pub struct SettingError {
    /// The setting.
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What would be valid.
    pub valid: String,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self { provider: ProviderChoice::Cpu, device_id: 0, threads: 1, warm_up: 3, deadline_ms: None }
    }
}

impl HostSettings {
    /// Checks the range of every setting.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), SettingError> {
        let refuse = |field, found: String, valid: String| Err(SettingError { field, found, valid });
        if !(1..=MAX_THREADS).contains(&self.threads) {
            return refuse("threads", self.threads.to_string(), format!("1 to {MAX_THREADS}"));
        }
        // At least one warm-up, so that a model that fails at its first inference fails when it opens.
        if !(1..=MAX_WARM_UP).contains(&self.warm_up) {
            return refuse("warm_up", self.warm_up.to_string(), format!("1 to {MAX_WARM_UP}"));
        }
        if self.deadline_ms == Some(0) {
            return refuse("deadline_ms", "0".into(), "1 or more, or no deadline at all".into());
        }
        if self.device_id != 0 && self.provider == ProviderChoice::Cpu {
            return refuse("device_id", self.device_id.to_string(), "0 with provider cpu".into());
        }
        if i32::try_from(self.device_id).is_err() {
            return refuse("device_id", self.device_id.to_string(), format!("0 to {}", i32::MAX));
        }
        Ok(())
    }

    /// Returns the deadline of one inference.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_ms.map(Duration::from_millis)
    }
}

impl Provider {
    /// Returns the provider's name as used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl ProviderChoice {
    /// Returns the providers to try, in this order.
    pub fn candidates(self) -> &'static [Provider] {
        match self {
            Self::Cpu => &[Provider::Cpu],
            Self::Cuda => &[Provider::Cuda],
            Self::TensorRt => &[Provider::TensorRt],
            Self::Auto => &[Provider::TensorRt, Provider::Cuda, Provider::Cpu],
        }
    }
}

impl FromStr for ProviderChoice {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "tensorrt" => Ok(Self::TensorRt),
            "auto" => Ok(Self::Auto),
            other => Err(SettingError {
                field: "provider",
                found: format!("{other:?}"),
                valid: "cpu, cuda, tensorrt or auto".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_a_table_that_may_be_empty() {
        assert_eq!(toml::from_str::<HostSettings>("").unwrap(), HostSettings::default());
        let found: HostSettings =
            toml::from_str("provider = \"tensorrt\"\ndevice_id = 1\nthreads = 2\ndeadline_ms = 20").unwrap();
        assert_eq!(found.provider, ProviderChoice::TensorRt);
        assert_eq!((found.device_id, found.threads, found.deadline_ms), (1, 2, Some(20)));
        assert_eq!(found.validate(), Ok(()));
        let unknown = toml::from_str::<HostSettings>("provder = \"cpu\"").unwrap_err().to_string();
        assert!(unknown.contains("provder") && unknown.contains("provider"), "{unknown}");
        let wrong = toml::from_str::<HostSettings>("provider = \"gpu\"").unwrap_err().to_string();
        assert!(wrong.contains("gpu") && wrong.contains("tensorrt"), "{wrong}");
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_what_is_valid() {
        let base = HostSettings::default();
        for (settings, field, valid) in [
            (HostSettings { threads: 0, ..base }, "threads", "1 to 256"),
            (HostSettings { threads: 257, ..base }, "threads", "1 to 256"),
            (HostSettings { warm_up: 0, ..base }, "warm_up", "1 to 10000"),
            (HostSettings { deadline_ms: Some(0), ..base }, "deadline_ms", "1 or more"),
            (HostSettings { device_id: 1, ..base }, "device_id", "provider cpu"),
            (
                HostSettings { device_id: u32::MAX, provider: ProviderChoice::Auto, ..base },
                "device_id",
                "0 to",
            ),
        ] {
            let error = settings.validate().unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.valid.contains(valid), "{error}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "cuda", "tensorrt"] {
            let choice: ProviderChoice = name.parse().unwrap();
            assert_eq!(choice.candidates().iter().map(|one| one.name()).collect::<Vec<_>>(), [name]);
        }
        assert_eq!("auto".parse::<ProviderChoice>().unwrap().candidates().last(), Some(&Provider::Cpu));
        assert!("CPU".parse::<ProviderChoice>().unwrap_err().to_string().contains("valid is cpu, cuda"));
    }
}

//! Arguments of the verbs that run models: execution provider, device, threads, and the deadline of an inference. Converts
//! them to checked settings of the ONNX Runtime host.

use aegis_policies::{HostSettings, ProviderChoice};
use clap::Args;

use crate::exit::{Exit, Failure, failure};

/// How models are run.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct HostArguments {
    /// What runs the models: cpu, cuda, tensorrt, or auto for the first of tensorrt, cuda and cpu that works. Results
    /// are the same bits only on cpu
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    provider: ProviderChoice,
    /// Which GPU, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    device_id: u32,
    /// Threads of one inference; another number than the plan's figures were made with may change bits
    #[arg(long, value_name = "N", default_value_t = HostSettings::default().threads)]
    threads: usize,
    /// Milliseconds after which an inference fails its episode; without it, there is no limit
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
}

impl Default for HostArguments {
    /// Returns the settings that a study runs with where no argument is given.
    fn default() -> Self {
        let HostSettings { provider, device_id, threads, deadline_ms, .. } = HostSettings::default();
        Self { provider, device_id, threads, deadline_ms }
    }
}

impl HostArguments {
    /// Returns the settings.
    ///
    /// # Errors
    /// A value out of range, with the flag that gave it.
    pub fn settings(&self) -> Result<HostSettings, Failure> {
        let settings = HostSettings {
            provider: self.provider,
            device_id: self.device_id,
            threads: self.threads,
            deadline_ms: self.deadline_ms,
            ..HostSettings::default()
        };
        settings.validate().map_err(|error| {
            let flag = error.field.replace('_', "-");
            failure(Exit::Input, format!("--{flag}: found {}; valid is {}", error.found, error.valid))
        })?;
        Ok(settings)
    }
}

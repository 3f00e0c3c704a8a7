//! Sessions on an execution provider: opens them with the host's settings, and gives advice where a provider does not start.
//! The advice is chosen from the text of the runtime's message.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CUDA, ExecutionProviderDispatch, TensorRT};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use crate::card::Weights;
use crate::node_assignment::Profile;
use crate::runtime::{OnnxRuntime, OpenError};
use crate::session_options::{HostSettings, Provider};

/// The provider that a session runs on, and the providers that were tried before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The provider that runs the graph.
    pub provider: Provider,
    /// Providers that `auto` tried first and could not use, each with the reason.
    pub passed_over: Vec<(Provider, String)>,
    /// Nodes that run on another provider, which only `auto` allows.
    pub elsewhere: Vec<String>,
}

impl fmt::Display for Selected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.provider)?;
        for (provider, reason) in &self.passed_over {
            write!(formatter, "; not {provider}: {reason}")?;
        }
        if !self.elsewhere.is_empty() {
            write!(formatter, "; elsewhere: {}", self.elsewhere.join(", "))?;
        }
        Ok(())
    }
}

/// Opens a graph on the processor with one thread, independently of the settings.
pub(crate) fn cpu_session(
    runtime: &OnnxRuntime,
    model: &[u8],
    external: &BTreeMap<String, Arc<[u8]>>,
    level: GraphOptimizationLevel,
) -> ort::Result<Session> {
    build(runtime, model, external, level, 1, &[], None)
}

/// Opens a graph on one provider with the runtime's settings. `refused` makes the error of a graph that the processor
/// refuses.
pub(crate) fn open(
    runtime: &OnnxRuntime,
    weights: &Weights,
    provider: Provider,
    profile: Option<&Profile>,
    refused: impl FnOnce(String) -> OpenError,
) -> Result<Session, OpenError> {
    let settings = runtime.settings();
    if !runtime.offers(provider) {
        let has: Vec<_> = runtime.providers().into_iter().map(Provider::name).collect();
        return Err(OpenError::Provider {
            provider,
            reason: format!("{} was built without it; it has {}", runtime.path().display(), has.join(", ")),
            advice: "name a library of onnxruntime-gpu in AEGIS_ORT_LIBRARY (docs/reference/cuda.md), or choose provider cpu",
        });
    }
    let providers = dispatches(settings, provider);
    let level = GraphOptimizationLevel::All;
    let Weights { model, external } = weights;
    build(runtime, model, external, level, settings.threads, &providers, profile).map_err(|error| {
        let reason = gist(&error.to_string());
        match provider {
            Provider::Cpu => refused(reason),
            _ => OpenError::Provider { provider, advice: advice(&reason), reason },
        }
    })
}

/// Opens a graph from memory. External data is passed from memory too, so that the session runs the bytes that were checked
/// against the card. The runtime itself would look for external files in the working folder.
fn build(
    runtime: &OnnxRuntime,
    model: &[u8],
    external: &BTreeMap<String, Arc<[u8]>>,
    level: GraphOptimizationLevel,
    threads: usize,
    providers: &[ExecutionProviderDispatch],
    profile: Option<&Profile>,
) -> ort::Result<Session> {
    let mut builder = Session::builder(&runtime.environment)?;
    if let Some(profile) = profile {
        builder = builder.with_profiling(profile.prefix())?;
    }
    for (location, bytes) in external {
        builder = builder.with_external_initializer_file_in_memory(location, Arc::clone(bytes))?;
    }
    builder
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_deterministic_compute(true)?
        .with_optimization_level(level)?
        .with_execution_providers(providers)?
        .commit_from_memory(model)
}

fn dispatches(settings: &HostSettings, provider: Provider) -> Vec<ExecutionProviderDispatch> {
    // `HostSettings::validate` has checked that the number fits.
    let device = i32::try_from(settings.device_id).unwrap_or(0);
    let cuda = || {
        CUDA::default()
            .with_device_id(device)
            // TF32 has 10 bits of mantissa, which would change actions by about a thousandth.
            .with_tf32(false)
            // The exhaustive search would choose the kernel by timing, which may differ from run to run.
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
            .build()
            .error_on_failure()
    };
    let tensorrt = || TensorRT::default().with_device_id(device).with_fp16(false).build().error_on_failure();
    match provider {
        Provider::Cpu => Vec::new(),
        Provider::Cuda => vec![cuda()],
        Provider::TensorRt => vec![tensorrt(), cuda()],
    }
}

/// Returns the first line of a runtime message without the place in the runtime's source code.
pub(crate) fn gist(said: &str) -> String {
    let first = said.lines().next().unwrap_or_default();
    let first = first.rsplit_once(" FAIL : ").map_or(first, |(_, gist)| gist).trim();
    if let Some((node, status)) = first.split_once(" Status Message: ")
        && let Some((_, node)) = node.split_once("while running ")
    {
        return format!("{}: {}", node.replace(". Name:", " "), after_place(status).unwrap_or(status));
    }
    after_place(first).unwrap_or(first).to_owned()
}

/// Returns the rest of a message that begins with file, line and function of C++ code. `None` for other messages.
fn after_place(said: &str) -> Option<&str> {
    let (place, rest) = said.split_once(' ')?;
    let is_source = |end| place.rsplit_once(end).is_some_and(|(_, line)| line.parse::<u32>().is_ok());
    if !place.starts_with('/') || ![".cc:", ".h:", ".cpp:", ".hpp:", ".cu:"].into_iter().any(is_source) {
        return None;
    }
    // The function's parameter list ends where all opened brackets are closed.
    let mut open = 0_usize;
    let end = rest.char_indices().find_map(|(at, symbol)| match symbol {
        '(' => {
            open += 1;
            None
        }
        ')' => {
            open = open.saturating_sub(1);
            (open == 0).then_some(at + 1)
        }
        _ => None,
    })?;
    let message = rest.get(end..)?.trim_start();
    let message = message.strip_prefix("const ").unwrap_or(message);
    (!message.is_empty()).then_some(message)
}

/// Returns advice for a provider that does not start, from the runtime's message.
fn advice(said: &str) -> &'static str {
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["no CUDA-capable device", "CUDA failure 100", "libcuda.so"]) {
        "no NVIDIA GPU is visible: `nvidia-smi` must list one, and CUDA_VISIBLE_DEVICES must not hide it"
    } else if any(&["driver version is insufficient", "CUDA failure 35"]) {
        "the NVIDIA driver is older than the library's CUDA: update the driver"
    } else if any(&["invalid device ordinal", "CUDA failure 101"]) {
        "no GPU has this device_id: `nvidia-smi -L` counts them from 0"
    } else if any(&["no kernel image", "CUDA failure 209"]) {
        "the library has no kernels for this GPU's generation: install another version of onnxruntime-gpu"
    } else if any(&["out of memory", "CUDA failure 2:"]) {
        "the GPU's memory is full: end other programs that use it, or run fewer workers"
    } else if any(&["libcudnn"]) {
        "cuDNN is missing: install it (pip: nvidia-cudnn-cu13) and name its folder in LD_LIBRARY_PATH"
    } else if any(&["libnvinfer", "libnvonnxparser"]) {
        "TensorRT is missing: install it (pip: tensorrt) and name its folder in LD_LIBRARY_PATH"
    } else if any(&["libcu", "libnvrtc"]) {
        "CUDA's libraries are missing: install them (docs/reference/cuda.md) and name their folders in LD_LIBRARY_PATH"
    } else {
        "`aegis doctor` lists the libraries that were found; provider cpu needs none of them"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_advice() {
        for (said, expected) in [
            ("libcudnn.so.9: cannot open shared object file: No such file", "nvidia-cudnn"),
            ("libcublasLt.so.13: cannot open shared object file: No such file", "CUDA's libraries"),
            ("CUDA failure 100: no CUDA-capable device is detected", "nvidia-smi"),
            (
                "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
                "update the driver",
            ),
            ("CUDA failure 101: invalid device ordinal", "device_id"),
            ("libnvinfer.so.10: cannot open shared object file", "TensorRT"),
            ("something else", "aegis doctor"),
        ] {
            assert!(advice(said).contains(expected), "{said:?} gave {:?}", advice(said));
        }
    }

    #[test]
    fn a_message_is_cut_to_its_content() {
        let said = "/src/bridge.cc:2043 Provider& Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library x.so\n";
        assert_eq!(gist(said), "Failed to load library x.so");
        assert_eq!(gist("plain"), "plain");
        let said = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const \
                    std::function<void(int)>&) Unsupported model IR version: 99, max supported IR version: 14";
        assert_eq!(gist(said), "Unsupported model IR version: 99, max supported IR version: 14");
        let said = "/s/a.h:46 void a::Check(int) const Opset 99 (of ai.onnx) is under development";
        assert_eq!(gist(said), "Opset 99 (of ai.onnx) is under development");
        let said = "Non-zero status code returned while running Reshape node. Name:'r' Status Message: /s/a.h:9 a::B(int) no shape";
        assert_eq!(gist(said), "Reshape node 'r': no shape");
        for whole in ["/models/mine.onnx is no model (at all)", "/s/a.cc:1 without brackets"] {
            assert_eq!(gist(whole), whole);
        }
    }

    #[test]
    fn auto_names_its_choice_and_the_reasons_against_the_others() {
        let passed_over = vec![(Provider::Cuda, "no GPU".to_owned())];
        let selected = Selected { provider: Provider::Cpu, passed_over, elsewhere: Vec::new() };
        assert_eq!(selected.to_string(), "cpu; not cuda: no GPU");
        let elsewhere = vec!["a (Gemm) on CPUExecutionProvider".to_owned()];
        let selected = Selected { provider: Provider::Cuda, passed_over: Vec::new(), elsewhere };
        assert_eq!(selected.to_string(), "cuda; elsewhere: a (Gemm) on CPUExecutionProvider");
    }
}

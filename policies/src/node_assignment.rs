//! Node assignment: which execution provider runs each node of a graph, read from ONNX Runtime's profile of one inference.
//! A registered provider may still leave nodes to another provider; the runtime reports this only in the profile.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ort::session::Session;
use serde::Deserialize;

use crate::session_options::Provider;

/// A node of a graph and the execution provider that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAssignment {
    /// Name of the node in the optimised graph.
    pub node: String,
    /// Operator of the node.
    pub operator: String,
    /// Name of the execution provider in ONNX Runtime.
    pub provider: String,
}

/// A session's profile while the runtime writes it. The file is removed when the profile ends.
pub(crate) struct Profile {
    prefix: PathBuf,
}

impl Profile {
    /// Creates a profile whose file name is used by no other profile.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("aegis-placement-{}-{number}", std::process::id());
        Self { prefix: std::env::temp_dir().join(name) }
    }

    /// Returns the prefix of the profile's file name, for the session to use.
    pub(crate) fn prefix(&self) -> &std::path::Path {
        &self.prefix
    }

    /// Ends the profile of a session that has run, and reads the nodes from it.
    pub(crate) fn end(self, session: &mut Session) -> Result<Vec<NodeAssignment>, String> {
        let path = session.end_profiling().map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"));
        // A file that cannot be removed stays in the temporary folder, which the system clears.
        let _ = std::fs::remove_file(&path);
        placed(&text?).map_err(|error| format!("{path}: {error}"))
    }
}

#[derive(Deserialize)]
struct Event {
    cat: String,
    name: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    op_name: Option<String>,
    provider: Option<String>,
}

/// Returns the nodes of a profile, each once, in the order in which they ran.
fn placed(profile: &str) -> Result<Vec<NodeAssignment>, serde_json::Error> {
    let events: Vec<Event> = serde_json::from_str(profile)?;
    let mut nodes: Vec<NodeAssignment> = Vec::new();
    for Event { name, args, .. } in events.into_iter().filter(|event| event.cat == "Node") {
        let (Some(operator), Some(provider)) = (args.op_name, args.provider) else { continue };
        let node = name.strip_suffix("_kernel_time").unwrap_or(&name).to_owned();
        if provider.is_empty() || nodes.iter().any(|known| known.node == node) {
            continue;
        }
        nodes.push(NodeAssignment { node, operator, provider });
    }
    Ok(nodes)
}

/// Returns the reasons why a graph does not run entirely on `provider`: each node that runs on another provider, or that no
/// node runs on `provider`. Empty where it does. TensorRT may leave nodes to CUDA, as it needs CUDA anyway.
pub fn elsewhere(nodes: &[NodeAssignment], provider: Provider) -> Vec<String> {
    let runtime = |provider: Provider| match provider {
        Provider::Cpu => "CPUExecutionProvider",
        Provider::Cuda => "CUDAExecutionProvider",
        Provider::TensorRt => "TensorrtExecutionProvider",
    };
    let (own, cuda) = (runtime(provider), runtime(Provider::Cuda));
    let beside = |node: &NodeAssignment| provider == Provider::TensorRt && node.provider == cuda;
    let strays = nodes.iter().filter(|node| node.provider != own && !beside(node));
    let mut found: Vec<String> =
        strays.map(|node| format!("{} ({}) on {}", node.node, node.operator, node.provider)).collect();
    if found.is_empty() && !nodes.iter().any(|node| node.provider == own) {
        found.push(format!("none of {} nodes on {own}", nodes.len()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, provider: &str) -> NodeAssignment {
        NodeAssignment {
            node: name.into(),
            operator: "Gemm".into(),
            provider: format!("{provider}ExecutionProvider"),
        }
    }

    #[test]
    fn a_profile_names_each_node_once_with_its_provider() {
        let profile = r#"[{"cat":"Session","name":"model_run","args":{}},
            {"cat":"Node","name":"a_fence_before","args":{"op_name":"Gemm"}},
            {"cat":"Node","name":"a_kernel_time","args":{"op_name":"Gemm","provider":"CUDAExecutionProvider"}},
            {"cat":"Node","name":"a_kernel_time","args":{"op_name":"Gemm","provider":"CUDAExecutionProvider"}}]"#;
        assert_eq!(placed(profile).unwrap(), [node("a", "CUDA")]);
        assert!(placed("{").is_err());
    }

    #[test]
    fn nodes_that_run_elsewhere_are_named() {
        let nodes = [node("a", "CUDA"), node("b", "CPU"), node("c", "Tensorrt")];
        assert_eq!(elsewhere(&nodes[..1], Provider::Cuda), [""; 0]);
        assert_eq!(elsewhere(&nodes[..2], Provider::Cuda), ["b (Gemm) on CPUExecutionProvider"]);
        assert_eq!(elsewhere(&[nodes[0].clone(), nodes[2].clone()], Provider::TensorRt), [""; 0]);
        assert_eq!(
            elsewhere(&nodes[..1], Provider::TensorRt),
            ["none of 1 nodes on TensorrtExecutionProvider"]
        );
        assert_eq!(elsewhere(&[], Provider::Cuda).len(), 1, "nothing ran there");
    }
}

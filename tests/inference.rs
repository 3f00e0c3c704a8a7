//! Tests the ONNX Runtime host: bitwise equal results, deadlines, and execution providers that are not available.
//! The running time of `fixtures/slow.onnx` grows with the first number of its observation.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aegis_core::{Inference, Observation, Policy, PolicyError};
use aegis_policies::node_assignment::elsewhere;
use aegis_policies::{HostSettings, OnnxPolicy, OpenError, Provider, ProviderChoice, layout};

const FOREVER: f64 = 1e9;
const FAR: Duration = Duration::from_secs(3600);

fn card(name: &str) -> PathBuf {
    common::repository().join("policies/models").join(name)
}

fn slow(settings: HostSettings) -> OnnxPolicy {
    let runtime = common::runtime().with_settings(settings).expect("the settings are valid");
    OnnxPolicy::open(&runtime, &common::repository().join("tests/fixtures/slow.toml")).expect("it opens")
}

/// Returns an observation whose encoding begins with `x`.
fn observation(x: f64) -> Observation {
    let [position, other] = [[x, 0.1, 1.0], [0.05, 0.1, 1.0]];
    let quaternion = [0.0, 0.0, 0.0, 1.0];
    let names =
        layout::OBJECTS.map(|name| ["position", "quaternion"].map(|part| format!("object/{name}/{part}")));
    let mut features: Vec<(&str, &[f64])> = vec![
        ("joint_positions", &[0.1; 7]),
        ("eef_position", &position),
        ("eef_site_quaternion", &quaternion),
        ("gripper_positions", &[0.02, -0.02]),
    ];
    for [place, turn] in &names {
        features.extend([(place.as_str(), &other[..]), (turn.as_str(), &quaternion[..])]);
    }
    let instruction = "pick up the black bowl".into();
    Observation { task: 3, instruction, ..Observation::of(&features).unwrap() }
}

/// Returns eight observations that differ in the x position of the end effector.
fn observations() -> Vec<Observation> {
    (0..8).map(|index| observation(-0.4 + 0.1 * f64::from(index))).collect()
}

/// Returns the bits of every action value and of the mean-pooled activation.
fn bits(inference: &Inference) -> Vec<u64> {
    let chunk = &inference.chunk;
    let actions = (0..chunk.horizon()).flat_map(|step| chunk.action(step).unwrap());
    let pooled = inference.activation.iter().flat_map(|activation| activation.mean_pool());
    actions.map(|value| u64::from(value.to_bits())).chain(pooled.map(f64::to_bits)).collect()
}

fn answers(policy: &mut OnnxPolicy, rounds: usize) -> Vec<Vec<u64>> {
    let seen = observations();
    let all = (0..rounds).flat_map(|_| &seen);
    all.map(|observation| bits(&policy.infer(observation).expect("it answers"))).collect()
}

#[test]
fn the_same_observation_gives_the_same_bits() {
    const ROUNDS: usize = 100;
    for name in ["weak.toml", "strong.toml"] {
        let open = || OnnxPolicy::open(&common::runtime(), &card(name)).expect("it opens");
        let first = answers(&mut open(), 1);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "{name}: it does not look at what it sees");
        let repeated: Vec<_> = (0..ROUNDS).flat_map(|_| first.clone()).collect();
        assert_eq!(answers(&mut open(), ROUNDS), repeated, "{name}: over runs and over sessions");
        std::thread::scope(|scope| {
            let workers = [0, 1].map(|_| scope.spawn(|| answers(&mut open(), ROUNDS)));
            for worker in workers {
                assert_eq!(worker.join().unwrap(), repeated, "{name}: beside another worker");
            }
        });
    }
}

#[test]
fn warm_up_runs_and_a_deadline_change_no_bit() {
    let plain = answers(&mut slow(HostSettings::default()), 2);
    let settings = HostSettings { warm_up: 40, deadline_ms: Some(3_600_000), ..HostSettings::default() };
    assert_eq!(answers(&mut slow(settings), 2), plain);
}

#[test]
fn what_takes_too_long_ends_and_leaves_no_stale_answer() {
    let settings = HostSettings { deadline_ms: Some(1), ..HostSettings::default() };
    let mut policy = slow(settings);
    let fresh = bits(&slow(HostSettings::default()).infer(&observation(5.0)).unwrap());
    for _ in 0..3 {
        policy.set_deadline(Some(Duration::from_millis(1))).unwrap();
        let error = policy.infer(&observation(FOREVER)).unwrap_err();
        let PolicyError::Deadline { limit, elapsed } = error else { panic!("{error}") };
        assert_eq!(limit, Duration::from_millis(1));
        assert!(elapsed > limit);
        assert!(error.to_string().contains("its deadline is 1.000 ms"), "{error}");
        // The same session still works, and its answer belongs to the new observation.
        policy.set_deadline(Some(FAR)).unwrap();
        assert_eq!(bits(&policy.infer(&observation(5.0)).unwrap()), fresh);
        policy.set_deadline(None).unwrap();
        assert_eq!(bits(&policy.infer(&observation(5.0)).unwrap()), fresh);
    }
}

#[test]
fn a_graph_that_does_not_end_is_found_while_it_warms_up() {
    let place = common::folder("inference-endless");
    let inputs = "[[inputs]]\ntensor = \"state\"\nkind = \"constant\"\nvalue = 1\n\
                  [chunk]\ntensor = \"actions\"\nhorizon = 1\nwidth = 7\n";
    let path = crate::inputs::card(&place, "endless", inputs);
    let limit = Duration::from_millis(100);
    let error = OnnxPolicy::open_within(&common::runtime(), &path, limit).err().expect("it does not end");
    let error = error.to_string();
    assert!(
        error.contains("endless.onnx: warm-up: inference took") && error.contains("100.000 ms"),
        "{error}"
    );
}

#[test]
fn a_vector_of_another_length_is_refused() {
    let mut policy = slow(HostSettings::default());
    let error = policy.infer_encoded(&[0.0; 87], &[]).unwrap_err().to_string();
    assert!(error.contains("observation: found 87 values; valid is 88 values"), "{error}");
}

#[test]
fn a_provider_that_the_library_lacks_is_refused_and_auto_goes_on_without_it() {
    let with = |provider| {
        let settings = HostSettings { provider, ..HostSettings::default() };
        let runtime = common::runtime().with_settings(settings).unwrap();
        OnnxPolicy::open(&runtime, &card("weak.toml"))
    };
    for (choice, lacked) in
        [(ProviderChoice::Cuda, Provider::Cuda), (ProviderChoice::TensorRt, Provider::TensorRt)]
    {
        let error = with(choice).err().expect("the pinned library is the processor's");
        let OpenError::Provider { provider, .. } = error else { panic!("{error}") };
        assert_eq!(provider, lacked);
        let said = error.to_string();
        for word in ["libonnxruntime.so", "it has cpu", "AEGIS_ORT_LIBRARY"] {
            assert!(said.contains(word), "{said}");
        }
    }
    let mut chosen = with(ProviderChoice::Auto).expect("the processor is always there");
    assert_eq!(chosen.provider().provider, Provider::Cpu);
    let passed_over: Vec<_> = chosen.provider().passed_over.iter().map(|(provider, _)| *provider).collect();
    assert_eq!(passed_over, [Provider::TensorRt, Provider::Cuda]);
    let mut plain = with(ProviderChoice::Cpu).unwrap();
    assert_eq!(answers(&mut chosen, 1), answers(&mut plain, 1));
}

#[test]
fn the_runtime_says_where_each_node_runs_and_a_node_elsewhere_is_found_out() {
    for name in ["weak.toml", "strong.toml", "weak_vision.toml"] {
        let nodes = OnnxPolicy::placement(&common::runtime(), &card(name)).expect("it runs");
        assert!(nodes.len() > 3, "{name}: {nodes:?}");
        assert!(elsewhere(&nodes, Provider::Cpu).is_empty(), "{name}: {nodes:?}");
        // Checked for CUDA instead, every node of the same graph is reported by name as running on another provider.
        let strays = elsewhere(&nodes, Provider::Cuda);
        assert_eq!(strays.len(), nodes.len());
        assert!(strays[0].contains(&nodes[0].node) && strays[0].contains("CPUExecutionProvider"));
    }
}

#[test]
fn the_command_line_says_what_is_valid() {
    let demo = |arguments: &[&str]| {
        let mut command = common::aegis();
        command.args(["demo", "--episodes", "1", "--workers", "1", "--out"]).arg(common::folder("host-demo"));
        command.args(arguments);
        command
    };
    common::refuses(&mut demo(&["--provider", "gpu"]), 2, &["gpu", "cpu, cuda, tensorrt or auto"]);
    common::refuses(&mut demo(&["--threads", "0"]), 2, &["--threads: found 0", "1 to 256"]);
    common::refuses(&mut demo(&["--device-id", "1"]), 2, &["--device-id: found 1", "0 with provider cpu"]);
    common::refuses(&mut demo(&["--deadline-ms", "0"]), 2, &["--deadline-ms: found 0"]);
    common::refuses(
        &mut demo(&["--provider", "cuda"]),
        2,
        &["provider cuda", "it has cpu", "docs/reference/cuda.md"],
    );
}

#[test]
fn the_check_on_a_gpu_says_that_there_is_none() {
    if Path::new("/proc/driver/nvidia").exists() {
        return; // There it would begin to download CUDA.
    }
    let check = || Command::new(common::repository().join("policies/check_cuda.sh"));
    common::refuses(&mut check(), 3, &["no NVIDIA GPU", "nvidia-smi"]);
    common::refuses(check().args(["--provider", "gpu"]), 2, &["--provider gpu", "valid is --provider cuda"]);
}

//! Tests `aegis model`: listing tensors, and adding a pooled tensor to the graph's outputs without changing the other outputs.
//! ONNX Runtime's Python package reads and runs the written models.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    common::repository().join("tests/fixtures").join(name)
}

fn weak() -> PathBuf {
    common::repository().join("policies/models/weak.onnx")
}

fn model(verb: &str, path: &Path, more: &[&str]) -> Command {
    let mut command = common::aegis();
    command.args(["model", verb]).arg(path).args(more);
    command
}

fn json(mut command: Command) -> Value {
    let output = command.arg("--json").output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn tap(source: &Path, tensor: &str, pool: &str, out: &Path) -> Value {
    let mut command = model("tap", source, &["--tensor", tensor, "--pool", pool, "--out"]);
    command.arg(out);
    json(command)
}

/// Returns the names of the tensors of type `kind` that `aegis model inspect` lists.
fn listed(source: &Path, kind: &str) -> Vec<String> {
    let found = json(model("inspect", source, &[]));
    let rows = found["tensors"].as_array().expect("a list").iter();
    rows.filter(|row| row["type"] == kind).map(|row| row["tensor"].as_str().unwrap().to_owned()).collect()
}

/// Python script that runs the source model and the three tapped models on the same inputs. It checks that the source's outputs
/// are unchanged and that the added outputs are the tensor, its mean over tokens, and its last token.
const READER: &str = r#"
import json, sys
import numpy, onnxruntime
source, plain, mean, last = (onnxruntime.InferenceSession(path) for path in sys.argv[1:5])
tensor, batch = sys.argv[5], int(sys.argv[6])
rng = numpy.random.default_rng(5)
def value(tensor):
    shape = [size if isinstance(size, int) else batch for size in tensor.shape]
    return rng.integers(0, 2, shape) if tensor.type == "tensor(int64)" else rng.normal(size=shape).astype(numpy.float32)
inputs = {tensor.name: value(tensor) for tensor in source.get_inputs()}
names = [output.name for output in source.get_outputs()]
said = source.run(names, inputs)
for tapped in (plain, mean, last):
    for one, other in zip(said, tapped.run(names, inputs)):
        assert one.tobytes() == other.tobytes(), "an output changed"
tokens, = plain.run([tensor], inputs)
pooled, = mean.run([tensor + "_mean"], inputs)
final, = last.run([tensor + "_last"], inputs)
assert tokens.ndim == 3 and tokens.shape[0] == batch, tokens.shape
numpy.testing.assert_allclose(pooled, tokens.mean(axis=1), rtol=1e-5, atol=1e-6)
numpy.testing.assert_array_equal(final, tokens[:, -1])
note = json.loads(mean.get_modelmeta().custom_metadata_map[f"aegis.tap.{tensor}_mean"])
print(json.dumps(note))
"#;

fn taps_are_what_they_say(source: &Path, tensor: &str, batch: &str, folder: &str) {
    let folder = common::folder(folder);
    let file = |pool: &str| folder.join(format!("{pool}.onnx"));
    let digest = json(model("inspect", source, &[]))["sha256"].clone();
    for pool in ["none", "mean", "last"] {
        let outcome = tap(source, tensor, pool, &file(pool));
        assert_eq!(outcome["source_sha256"], digest);
        assert_eq!(outcome["sha256"], json(model("inspect", &file(pool), &[]))["sha256"]);
    }
    let output = Command::new(common::repository().join(".deps/python/bin/python"))
        .args(["-c", READER])
        .arg(source)
        .args([file("none"), file("mean"), file("last")])
        .args([tensor, batch])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let note: Value = serde_json::from_slice(&output.stdout).expect("a note");
    assert_eq!(note, serde_json::json!({ "tensor": tensor, "pool": "mean", "source_sha256": digest }));
    // A tapped model can be tapped again; its metadata list both taps.
    let twice = folder.join("twice.onnx");
    tap(&file("mean"), tensor, "last", &twice);
    let taps = json(model("inspect", &twice, &[]))["taps"].clone();
    let names: Vec<_> = taps.as_object().expect("a map").keys().cloned().collect();
    assert_eq!(names, [format!("{tensor}_last"), format!("{tensor}_mean")]);
}

#[test]
fn a_tensor_of_the_shipped_model_is_tapped() {
    let tokens = listed(&weak(), "Tensor<f32>(1, 10, 64)");
    assert_eq!(tokens, ["action_tokens"]);
    let inner = listed(&weak(), "Tensor<f32>(1, 10, 7)");
    let inner = inner.iter().find(|name| *name != "actions").expect("a step on the way to the actions");
    taps_are_what_they_say(&weak(), inner, "1", "model-weak");
}

#[test]
fn a_tensor_of_another_exporters_model_is_tapped() {
    taps_are_what_they_say(&fixture("opset13.onnx"), "hidden", "3", "model-opset13");
}

#[test]
fn what_cannot_be_tapped_is_refused_and_nothing_is_written() {
    let folder = common::folder("model-refused");
    let out = folder.join("never.onnx");
    let tap = |source: &Path, tensor: &str, pool: &str| {
        let mut command = model("tap", source, &["--tensor", tensor, "--pool", pool, "--out"]);
        command.arg(&out);
        command
    };
    let small = fixture("opset13.onnx");
    common::refuses(&mut tap(&small, "hid", "mean"), 2, &["opset13.onnx", "hid", "hidden", "inspect"]);
    common::refuses(&mut tap(&small, "state", "none"), 2, &["--tensor state", "no node makes it"]);
    common::refuses(&mut tap(&small, "peak", "mean"), 2, &["--tensor peak", "[batch, tokens, width]"]);
    common::refuses(&mut tap(&small, "actions", "none"), 2, &["returns actions already"]);
    common::refuses(
        &mut tap(&fixture("external.onnx"), "hidden", "mean"),
        2,
        &["weights.bin", "cannot read"],
    );
    let whole = std::fs::read(&small).unwrap();
    let broken = folder.join("broken.onnx");
    for (bytes, said) in [(&whole[..whole.len() / 2], "not an ONNX model"), (&b""[..], "empty")] {
        std::fs::write(&broken, bytes).unwrap();
        common::refuses(&mut model("inspect", &broken, &[]), 2, &["broken.onnx", said]);
    }
    common::refuses(
        &mut model("inspect", &folder.join("absent.onnx"), &[]),
        2,
        &["absent.onnx", "cannot read"],
    );
    assert!(!out.exists());
}

#[test]
fn a_tensor_of_unknown_rank_is_shown_as_one_and_tapped_with_its_shape() {
    let folder = common::folder("model-unranked");
    let source = fixture("unranked.onnx");
    let found = json(model("inspect", &source, &[]));
    let kinds = |list: &str| -> Vec<String> {
        let rows = found[list].as_array().unwrap().iter();
        rows.map(|row| format!("{} {}", row["tensor"].as_str().unwrap(), row["type"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(kinds("inputs"), ["state Tensor<f32> of unknown rank"]);
    let outputs = ["actions Tensor<f32>(1, 7)", "same Tensor<f32> of unknown rank", "total Tensor<f32>()"];
    assert_eq!(kinds("outputs"), outputs);
    let first = String::from_utf8(model("card", &source, &[]).output().unwrap().stdout).unwrap();
    assert!(first.contains("tensor = \"state\" # float32 of unknown rank"), "{first}");
    assert!(first.contains("shape = \"TODO: sizes for float32 of unknown rank"), "{first}");
    let out = folder.join("tapped.onnx");
    let tap = |more: &[&str]| {
        let mut command = model("tap", &source, &["--tensor", "same", "--pool", "none", "--out"]);
        command.arg(&out).args(more);
        command
    };
    common::refuses(
        &mut tap(&["--name", "same"]),
        2,
        &["input state is Tensor<f32> of unknown rank: AEGIS needs its sizes", "--shape state=1,8"],
    );
    common::refuses(&mut tap(&["--shape", "state=1,8"]), 2, &["Reshape node"]);
}

#[test]
fn a_graph_that_does_not_end_is_not_tapped_for_ever() {
    let out = common::folder("model-endless").join("tapped.onnx");
    let arguments = ["--tensor", "turned", "--pool", "none", "--deadline-ms", "100", "--out"];
    let mut command = model("tap", &fixture("endless.onnx"), &arguments);
    common::refuses(command.arg(&out), 2, &["endless.onnx: the original graph took", "--deadline-ms"]);
    assert!(!out.exists());
}

//! Tests models of other exporters: every input type, free dimensions, names that are already used, tensors that are not finite,
//! and files that are not models. The fixtures are written by tests/fixtures/models.py.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_policies::{ModelCard, OnnxPolicy};
use serde_json::Value;

use crate::common::{self, copy_of_study, edit, folder, refuses, repository};

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

fn tap(source: &Path, tensor: &str, more: &[&str], out: &Path) -> Command {
    let mut command = common::aegis();
    command.args(["model", "tap"]).arg(source).args(["--tensor", tensor]).args(more).arg("--out").arg(out);
    command
}

fn outcome(command: &mut Command) -> Value {
    serde_json::from_str(&common::succeeds(command.arg("--json"))).expect("JSON")
}

/// Splits a protobuf message into its fields, as pairs of field number and bytes. The bytes are complete for length-delimited
/// fields (messages and text); varint fields have empty bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn number(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(value)
    }
    let mut found = Vec::new();
    while let Some(tag) = number(&mut bytes) {
        let length = match tag & 7 {
            0 => {
                let _ = number(&mut bytes);
                0
            }
            1 => 8,
            2 => number(&mut bytes).expect("a length") as usize,
            _ => 4,
        };
        let (field, rest) = bytes.split_at(length);
        bytes = rest;
        found.push((tag >> 3, field));
    }
    found
}

/// Returns for each graph output of an ONNX model whether it states its element type and its shape, as the ONNX specification
/// requires.
fn typed_outputs(model: &Path) -> BTreeMap<String, bool> {
    let bytes = std::fs::read(model).unwrap();
    let graphs = fields(&bytes).into_iter().filter(|(number, _)| *number == 7);
    let outputs = graphs.flat_map(|(_, graph)| fields(graph)).filter(|(number, _)| *number == 12);
    outputs
        .map(|(_, output)| {
            let of = |wanted: u64, bytes| {
                fields(bytes).into_iter().find(|(n, _)| *n == wanted).map(|(_, one)| one)
            };
            let name = String::from_utf8(of(1, output).expect("a name").to_vec()).unwrap();
            let tensor = of(2, output).and_then(|kind| of(1, kind));
            let typed = tensor.is_some_and(|tensor| of(1, tensor).is_some() && of(2, tensor).is_some());
            (name, typed)
        })
        .collect()
}

#[test]
fn every_type_is_sampled_and_each_tap_is_typed() {
    let folder = folder("foreign-types");
    let source = fixture("foreign.onnx");
    // The free dimension `t` has to be even. The graph does not state this, so the shape has to be given.
    let shape = ["--shape", "state=1,2,4"];
    for (tensor, pool, output, kind) in [
        ("squared", "none", "squared", "Tensor<f32>(batch, t, 4)"),
        ("squared", "mean", "squared_mean", "Tensor<f32>(batch, 4)"),
        ("squared", "last", "squared_last", "Tensor<f32>(batch, 4)"),
        ("half", "mean", "half_mean", "Tensor<f32>(batch, 4)"),
        ("half", "none", "half_float32", "Tensor<f32>(batch, t, 4)"),
        ("brain", "last", "brain_last", "Tensor<f32>(batch, 4)"),
        ("double", "none", "double_float32", "Tensor<f32>(batch, t, 4)"),
    ] {
        let out = folder.join(format!("{output}.onnx"));
        let found = outcome(&mut tap(&source, tensor, &[&shape[..], &["--pool", pool]].concat(), &out));
        assert_eq!((&found["output"], &found["type"]), (&Value::from(output), &Value::from(kind)));
        assert_eq!(found["unchanged"].as_array().map(Vec::len), Some(5));
        assert_eq!(found["drift"], 0.0, "the graph is too simple to be added up in another order");
        let outputs = typed_outputs(&out);
        assert!(outputs.len() == 6 && outputs.values().all(|typed| *typed), "{outputs:?}");
    }
    let named = ["--shape", "state=1,2,4", "--pool", "mean", "--name", "mine"];
    let out = folder.join("named.onnx");
    assert_eq!(outcome(&mut tap(&source, "hidden", &named, &out))["output"], "mine");
}

#[test]
fn the_shipped_model_that_looks_is_tapped() {
    let out = folder("foreign-vision").join("tapped.onnx");
    let source = repository().join("policies/models/weak_vision.onnx");
    let mut inspect = common::aegis();
    let listed = outcome(inspect.args(["model", "inspect"]).arg(&source));
    let inputs: Vec<_> = listed["inputs"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert!(inputs.contains(&"Tensor<u8>(1, 128, 128, 3)".into()), "{inputs:?}");
    let outputs: Vec<_> =
        listed["outputs"].as_array().unwrap().iter().map(|one| one["tensor"].clone()).collect();
    assert_eq!(outputs, ["actions", "action_tokens"]);
    let found = outcome(&mut tap(&source, "action_tokens", &["--pool", "mean"], &out));
    assert_eq!(found["type"], "Tensor<f32>(1, 64)");
    assert!(typed_outputs(&out).values().all(|typed| *typed));
}

#[test]
fn the_cause_is_told_and_whose_limit_it_is() {
    let out = folder("foreign-refused").join("never.onnx");
    let foreign = fixture("foreign.onnx");
    let shape = ["--shape", "state=1,2,4"];
    let tap = |source: &Path, tensor: &str, more: &[&str]| tap(source, tensor, more, &out);
    let with_shape = |more: &[&'static str]| [&shape[..], more].concat();
    let mean = with_shape(&["--pool", "mean"]);
    // Without `--shape` the free dimension is 1, which the graph cannot reshape.
    let words = ["does not run on sampled inputs", "state f32[1, 1, 4]", "Reshape", "--shape"];
    refuses(&mut tap(&foreign, "squared", &["--pool", "none"]), 2, &words);
    let words = ["an input of the model has that name", "hidden_mean", "--name"];
    refuses(&mut tap(&foreign, "hidden", &mean), 2, &words);
    refuses(&mut tap(&foreign, "nowhere", &mean), 2, &["NaN", "finite numbers"]);
    refuses(
        &mut tap(&foreign, "sizes", &with_shape(&["--pool", "none"])),
        2,
        &["i64[3]", "a probe reads float32", "float16"],
    );
    refuses(&mut tap(&foreign, "actions", &mean), 2, &["f32[1, 2]", "[batch, tokens, width]"]);
    let wrong = ["--pool", "none", "--shape", "state=2,2,5"];
    refuses(&mut tap(&foreign, "squared", &wrong), 2, &["--shape gives it [2, 2, 5]", "batch, t, 4"]);
    let wrong = ["--pool", "none", "--shape", "stat=2,2,4"];
    refuses(&mut tap(&foreign, "squared", &wrong), 2, &["--shape stat", "valid is state, in_uint8"]);
    refuses(
        &mut tap(&fixture("no-opset.onnx"), "hidden", &["--pool", "mean"]),
        2,
        &["no opset", "--pool none"],
    );
    let limit = ["input state is Tensor<f32>(0, 5, 4): AEGIS needs at least one value"];
    refuses(&mut tap(&fixture("nothing.onnx"), "hidden", &["--pool", "none"]), 2, &limit);
    let limit = ["input state is Tensor<f32>(100000000000, 5, 4): AEGIS samples inputs of at most"];
    refuses(&mut tap(&fixture("huge.onnx"), "hidden", &["--pool", "none"]), 2, &limit);
    assert!(!out.exists());
    // Without pooling no node is added, so no opset is needed.
    common::succeeds(&mut tap(&fixture("no-opset.onnx"), "hidden", &["--pool", "none"]));
}

/// Copies a fixture model into `folder` and writes a model card for it. Returns the path of the card.
fn card(folder: &Path, model: &str, sha256: &str) -> PathBuf {
    std::fs::copy(fixture(model), folder.join(model)).unwrap();
    let path = folder.join("card.toml");
    let text = format!(
        "file = {model:?}\nsha256 = {sha256:?}\n\n[observation]\ntensor = \"observation\"\nlayout = \"libero-lowdim-v1\"\n\
         width = 88\n\n[chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn opened(card: &Path) -> Result<OnnxPolicy, String> {
    OnnxPolicy::open(&common::runtime(), card).map_err(|error| error.to_string())
}

#[test]
fn a_free_batch_is_one_and_a_digest_has_no_case() {
    let folder = folder("foreign-batch");
    let model = std::fs::read(fixture("batch.onnx")).unwrap();
    let digest = aegis_files::sha256_of(&model).to_uppercase();
    let path = card(&folder, "batch.onnx", &digest);
    let mut policy = opened(&path).expect("a free batch is taken as 1");
    let chunk = policy.infer_encoded(&[0.5; 88], &[]).unwrap().chunk;
    assert_eq!(chunk.values().len(), 70);
    assert_eq!(ModelCard::load(&path).unwrap().model_sha256(), digest.to_lowercase());
    edit(&path, "horizon = 10", "horizon = 5");
    let error = opened(&path).err().expect("another size is another model");
    assert!(
        error.contains("found float32[1, 5, 7] or float32[5, 7]")
            && error.contains("valid is float32[batch, 10, 7]"),
        "{error}"
    );
    edit(&path, "horizon = 5", "horizon = 10000000000000");
    let error = opened(&path).err().expect("nobody makes room for it");
    assert!(error.contains("chunk: found horizon × width of 10000000000000 × 7"), "{error}");
}

#[test]
fn an_input_that_the_card_does_not_name_is_named_at_opening() {
    let folder = folder("foreign-instructed");
    let model = std::fs::read(fixture("instructed.onnx")).unwrap();
    let error = opened(&card(&folder, "instructed.onnx", &aegis_files::sha256_of(&model))).err().unwrap();
    for word in ["card.toml", "instructed.onnx", "\"words\"", "int64[batch, 16]", "[[inputs]]", "observation"]
    {
        assert!(error.contains(word), "{word} is missing from: {error}");
    }
    assert!(!error.contains("ONNXRuntimeError"), "{error}");
}

#[test]
fn an_unknown_key_of_a_card_is_refused_by_name() {
    let folder = folder("foreign-card");
    let path = card(&folder, "batch.onnx", &"0".repeat(64));
    edit(&path, "[chunk]", "[[words]]\ntensor = \"words\"\n\n[chunk]");
    let error = ModelCard::load(&path).unwrap_err().to_string();
    assert!(error.contains("words") && error.contains("observation"), "{error}");
}

#[test]
fn what_stands_in_a_files_place_is_named() {
    let folder = folder("foreign-places");
    let plan = copy_of_study(&folder);
    let models = folder.join("policies/models");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n";
    let page = "<!DOCTYPE html>\n<html><title>Sign in</title></html>\n";
    for place in
        [models.join("strong.onnx"), models.join("weak.toml"), models.join("probe.json"), plan.clone()]
    {
        let kept = std::fs::read(&place).unwrap();
        let name = place.file_name().unwrap().to_str().unwrap();
        for (text, said) in [(pointer, "git lfs pull"), (page, "HTML page"), ("", "empty")] {
            std::fs::write(&place, text).unwrap();
            refuses(common::aegis().arg("demo").arg("--plan").arg(&plan), 2, &[name, said]);
        }
        std::fs::write(&place, kept).unwrap();
    }
    let model = folder.join("model.onnx");
    for (bytes, said) in [
        (pointer.as_bytes(), "git lfs pull"),
        (b"PK\x03\x04\x14\0\0\0", "torch.save"),
        (b"PAR1\x15\x04", "Parquet"),
    ] {
        std::fs::write(&model, bytes).unwrap();
        refuses(common::aegis().args(["model", "inspect"]).arg(&model), 2, &["model.onnx", said]);
    }
    let rollouts = folder.join("rollouts.parquet");
    std::fs::write(&rollouts, pointer).unwrap();
    let error = aegis_probe::rollout_file::read(&rollouts).unwrap_err().to_string();
    assert!(error.contains("git lfs pull"), "{error}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let folder = folder("foreign-marks");
    let plan = copy_of_study(&folder);
    let models = folder.join("policies/models");
    for place in [models.join("weak.toml"), models.join("probe.json"), plan.clone()] {
        let text = std::fs::read_to_string(&place).unwrap();
        std::fs::write(&place, format!("\u{feff}{text}")).unwrap();
    }
    edit(&models.join("probe.json"), "\"model_sha256\":\"d7c", "\"model_sha256\":\"D7C");
    common::succeeds(common::aegis().arg("doctor").arg("--plan").arg(&plan));
    let scores = folder.join("scores.csv");
    std::fs::write(&scores, "\u{feff}label,score\n0,0.1\n1,0.9\n").unwrap();
    common::succeeds(common::aegis().args(["stats", "auroc", "--csv"]).arg(&scores));
}

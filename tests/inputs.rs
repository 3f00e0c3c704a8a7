//! Models of other people's shape: two inputs, pictures as numbers, 16-bit floats, noise, tokens, a state that is fed back, a
//! history, chunks of other lengths, and outputs of other ranks, bound to a plant by the names of its features. The models are
//! made by tests/fixtures/policies.py.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::{
    ActionChannel, Executing, Feature, Frame, Inference, Observation, Plant, Policy, Schema, Start,
};
use aegis_policies::OnnxPolicy;
use aegis_sim::{Cameras, LiberoPlant, Suite};

use crate::common::{self, cache, folder, repository};

/// The state that public policies for LIBERO read: position, rotation vector and fingers.
const STATE: &str = r#"terms = [
    { feature = "eef_position" },
    { feature = "eef_quaternion", transform = "axis_angle" },
    { feature = "gripper_positions" },
]"#;

/// Writes a card for a fixture and returns its path.
pub fn card(folder: &Path, model: &str, rest: &str) -> PathBuf {
    let name = format!("{model}.onnx");
    let to = folder.join(&name);
    std::fs::copy(repository().join("tests/fixtures").join(&name), &to).unwrap();
    let sha256 = aegis_files::sha256(&to).unwrap();
    let path = folder.join(format!("{model}.toml"));
    std::fs::write(&path, format!("file = \"{name}\"\nsha256 = \"{sha256}\"\n\n{rest}\n")).unwrap();
    path
}

fn vector(tensor: &str, more: &str) -> String {
    format!("[[inputs]]\ntensor = \"{tensor}\"\nkind = \"vector\"\n{STATE}\n{more}\n")
}

fn chunk(horizon: usize, more: &str) -> String {
    format!("[chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = 7\n{more}\n")
}

fn opened(card: &Path) -> Result<OnnxPolicy, String> {
    OnnxPolicy::open(&common::runtime(), card).map_err(|error| error.to_string())
}

/// Returns an observation with LIBERO's features of the robot, at a control step.
fn seen(step: u32, position: [f64; 3]) -> Observation {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let features: [(&str, &[f64]); 3] = [
        ("eef_position", &position),
        ("eef_quaternion", &[half, 0.0, 0.0, half]),
        ("gripper_positions", &[0.5, -0.25]),
    ];
    Observation { step, ..Observation::of(&features).unwrap() }
}

fn action(inference: &Inference, step: usize) -> Vec<f32> {
    inference.chunk.action(step).unwrap().to_vec()
}

#[test]
fn a_state_and_a_picture_as_numbers_give_sixteen_actions_and_an_activation_of_rank_four() {
    let place = folder("inputs-two");
    let picture = "[[inputs]]\ntensor = \"picture\"\nkind = \"image\"\ncamera = \"agentview\"\nheight = 16\nwidth = 16\n\
                   layout = \"chw\"\nrotate = 180\nresize = \"pad\"\nrender = [32, 16]\n";
    let rest = [
        &vector("state", ""),
        picture,
        &chunk(16, "execute = 10"),
        "[activation]\ntensor = \"features\"\ntokens = 16\nwidth = 3\naxis = 1\n",
    ];
    let path = card(&place, "two", &rest.concat());
    let mut policy = opened(&path).unwrap();
    // The upper half is red, the lower one blue; padded to a square, the picture has black at both sides.
    let rgb =
        (0..32 * 16).flat_map(|pixel| if pixel < 16 * 16 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    let frame = Frame { camera: "agentview".into(), width: 16, height: 32, rgb };
    let mut observation = seen(0, [1.0, 2.0, 3.0]);
    observation.frames = [frame].into();
    let inference = policy.infer(&observation).unwrap();
    assert_eq!(inference.chunk.horizon(), 10, "of the sixteen, ten may be executed");
    let first = action(&inference, 0);
    let state = 6.0 + std::f32::consts::FRAC_PI_2 + 0.25;
    assert!((first[0] - state).abs() < 1e-5, "{first:?}");
    assert!((first[1] - 0.25).abs() < 1e-6 && first[2] == 0.0 && (first[3] - 0.25).abs() < 1e-6, "{first:?}");
    // Token by token: turned by 180 degrees, the lower half is the red one.
    let activation = inference.activation.unwrap();
    assert_eq!(activation.width(), 3);
    let mean = activation.mean_pool();
    assert!((mean[0] - 0.25).abs() < 1e-6 && mean[1] == 0.0 && (mean[2] - 0.25).abs() < 1e-6, "{mean:?}");
    common::edit(&path, "axis = 1", "axis = 1\npool = \"last\"");
    let last = opened(&path).unwrap().infer(&observation).unwrap().activation.unwrap().mean_pool();
    assert_eq!(last, [0.0, 0.0, 0.0], "the last block is black");
    common::edit(&path, "resize = \"pad\"\nrender = [32, 16]", "resize = \"exact\"");
    let error = opened(&path).unwrap().infer(&observation).unwrap_err().to_string();
    assert!(
        error.contains("picture of camera agentview: found 16×32 pixels; valid is 16×16 pixels"),
        "{error}"
    );
}

#[test]
fn sixteen_bit_floats_and_an_output_of_rank_two_are_bound() {
    let place = folder("inputs-half");
    let terms = "terms = [{ feature = \"eef_position\", scale = 2, offset = -1, clip = [-1, 4] }, { feature = \"task\", one_hot = 6 }]";
    let input = format!("[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\n{terms}\n");
    let path = card(
        &place,
        "half",
        &(input + &chunk(10, "") + "[activation]\ntensor = \"hidden\"\ntokens = 1\nwidth = 7\n"),
    );
    let mut policy = opened(&path).unwrap();
    let observation = Observation { task: 2, ..seen(0, [0.25, 1.0, 3.0]) };
    let inference = policy.infer(&observation).unwrap();
    assert_eq!(action(&inference, 9), [-0.5, 1.0, 4.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(inference.activation.unwrap().mean_pool(), [-0.5, 1.0, 4.0, 0.0, 0.0, 1.0, 0.0]);
    let error = policy.infer(&Observation { task: 6, ..observation }).unwrap_err().to_string();
    for part in [
        "half.toml: inputs[0].terms[1].one_hot: found 6, the number of classes, and task 6",
        "valid is at least 7",
    ] {
        assert!(error.contains(part), "{part} is missing from {error}");
    }
    assert!(policy.card().check_task(5, "a plan").is_ok());
    let error = policy.card().check_task(6, "a plan runs task 6").unwrap_err().to_string();
    let said = "half.toml: inputs[0].terms[1].one_hot: found 6, the number of classes of task; valid is 7 or more: a plan runs";
    assert!(error.contains(said), "{error}");
}

#[test]
fn components_are_read_by_the_names_that_the_plant_gives_them() {
    let place = folder("inputs-components");
    let state = |terms: &str| {
        format!("[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{terms}]\n") + &chunk(10, "")
    };
    let terms = "{ feature = \"hand\", components = [\"z\", \"x\"] }, { feature = \"task\", one_hot = 7 }";
    let path = card(&place, "half", &state(terms));
    let schema = Schema::new(vec![Feature::vector("hand", &["x", "y", "z"], "m")], Vec::new()).unwrap();
    let observation = Observation {
        schema: Arc::new(schema),
        values: vec![1.0, 2.0, 4.0],
        ..Observation::of(&[("any", &[0.0])]).unwrap()
    };
    let inference = opened(&path).unwrap().infer(&observation).unwrap();
    assert_eq!(action(&inference, 0), [4.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    common::edit(&path, "\"z\", \"x\"", "\"z\", \"w\"");
    let error = opened(&path).unwrap().infer(&observation).unwrap_err().to_string();
    let said = "terms[0].components: found \"w\"; the plant's components of \"hand\" are x, y, z";
    assert!(error.contains(said), "{error}");
    common::edit(&path, "components =", "slice = [0, 2], components =");
    let error = opened(&path).err().unwrap();
    assert!(error.contains("inputs[0].terms[0].components: found beside slice"), "{error}");
}

#[test]
fn a_tensor_of_unknown_rank_takes_the_shape_of_the_card_and_is_no_scalar() {
    let place = folder("inputs-unranked");
    let input =
        "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{ feature = \"task\", one_hot = 7 }]\n";
    let path = card(&place, "unranked", &(input.to_owned() + &chunk(1, "")));
    let error = opened(&path).err().unwrap();
    let said =
        "inputs[0]: \"state\" is float32 of unknown rank; valid is a `shape` with every size, such as [1, 8]";
    assert!(error.contains(said), "{error}");
    common::edit(&path, "kind = \"vector\"", "kind = \"vector\"\nshape = [1, 7]");
    // The warm-up's zeros run, and so does an observation.
    let inference = opened(&path).unwrap().infer(&seen(0, [0.0; 3])).unwrap();
    assert_eq!(action(&inference, 0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    common::edit(&path, "[chunk]\ntensor = \"actions\"", "[chunk]\ntensor = \"same\"");
    let error = opened(&path).err().unwrap();
    assert!(error.contains("chunk: \"same\" is float32 of unknown rank; export the model with"), "{error}");
    common::edit(&path, "[chunk]\ntensor = \"same\"", "[chunk]\ntensor = \"total\"");
    let error = opened(&path).err().unwrap();
    assert!(error.contains("valid is float32[], as in the graph"), "a scalar is none: {error}");
}

#[test]
fn noise_is_that_of_the_episode_and_the_step_and_tokens_are_the_cards() {
    let place = folder("inputs-noise");
    let inputs = "[[inputs]]\ntensor = \"noise\"\nkind = \"noise\"\n\
                  [[inputs]]\ntensor = \"tokens\"\nkind = \"constant\"\nvalue = [1, 2, 3]\nshape = [1, 3]\n";
    let path = card(&place, "noise", &(inputs.to_owned() + &chunk(50, "skip = 2\nexecute = 5")));
    let mut policy = opened(&path).unwrap();
    let mut at = |seed: u64, step: u32| {
        policy.begin(seed);
        policy.infer(&seen(step, [0.0; 3])).unwrap().chunk
    };
    let first = at(7, 0);
    assert_eq!(first.horizon(), 5);
    let mean = first.values().iter().sum::<f32>() / 35.0;
    assert!(
        (mean - 6.0).abs() < 0.1 && first.values().iter().any(|value| (value - 6.0).abs() > 0.01),
        "{mean}"
    );
    assert_ne!(at(7, 10), first, "another step");
    assert_ne!(at(8, 0), first, "another episode");
    assert_eq!(at(7, 0), first, "the same boundary has the same noise, whatever ran before");
    common::edit(&path, "value = [1, 2, 3]", "value = [1, 2]");
    assert!(
        opened(&path).err().unwrap().contains("inputs[1]: value: found 2 numbers; valid is one, or the 3")
    );
    common::edit(&path, "\nshape = [1, 3]", "");
    assert!(
        opened(&path)
            .err()
            .unwrap()
            .contains("axis 1 of \"tokens\" is free: the graph has int64[batch, length]")
    );
}

#[test]
fn a_prefix_is_the_rest_of_the_chunk_in_execution() {
    let place = folder("inputs-prefix");
    let prefix = "[[inputs]]\ntensor = \"prefix\"\nkind = \"prefix\"\n\n\
                  [[inputs]]\ntensor = \"length\"\nkind = \"prefix_length\"\nof = \"prefix\"\n\n";
    let rest = vector("state", "") + prefix + &chunk(20, "skip = 1\nexecute = 5\nscale = 2.0");
    let path = card(&place, "continuing", &rest);
    let mut policy = opened(&path).unwrap();
    assert!(policy.remembers());
    policy.begin(1);
    let mut first_values = |executing, x| {
        policy.set_executing(executing);
        let inference = policy.infer(&seen(0, [x, 0.0, 0.0])).unwrap();
        let written = policy.written().unwrap();
        ((0..5).map(|step| action(&inference, step)[0]).collect::<Vec<_>>(), written[2][0])
    };
    let executing = |back, steps| Some(Executing { back, steps });
    assert_eq!(first_values(None, 1.0), (vec![2.0; 5], 0.0), "the start of an episode has no prefix");
    // The chunk of ones has 20 actions: one of the past, 16 executed before the next chunk's first, so that three are left. The
    // next chunk begins with them, and its own first action is of the past.
    assert_eq!(first_values(executing(0, 16), 3.0), (vec![2.0, 2.0, 6.0, 6.0, 6.0], 3.0));
    // The chunk in execution is still that of ones: the second was not taken. 14 actions are left, of which the tensor has room for 12.
    assert_eq!(first_values(executing(1, 5), 4.0), (vec![2.0; 5], 12.0));
    assert_eq!(first_values(executing(0, 19), 5.0), (vec![10.0; 5], 0.0), "a chunk at its end leaves none");
    policy.begin(2);
    policy.set_executing(executing(0, 1));
    assert_eq!(action(&policy.infer(&seen(0, [1.0, 0.0, 0.0])).unwrap(), 0), [2.0; 7], "another episode");
    let mut serve = common::aegis();
    serve.arg("serve-policy").arg(&path).args(["--protocol", "openpi", "--listen", "ws://127.0.0.1:0"]);
    common::refuses(
        &mut serve,
        2,
        &["prefix: found kind \"prefix\"", "does not state which chunk is executed"],
    );
    // The executed actions are the card's, scaled by two; the prefix is in the graph's own units.
    for (from, to, words) in [
        (
            "of = \"prefix\"",
            "of = \"state\"",
            "of: found \"state\"; valid is the tensor of an input of kind \"prefix\"",
        ),
        ("width = 7", "width = 6", "valid is [1, N, 6], N actions of chunk.width values"),
        ("kind = \"prefix_length\"\nof = \"prefix\"", "kind = \"prefix\"", "found \"prefix\" a second time"),
    ] {
        let whole = std::fs::read_to_string(&path).unwrap();
        common::edit(&path, from, to);
        let error = opened(&path).err().unwrap();
        assert!(error.contains(words), "{error}");
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_state_is_fed_back_and_zeros_begin_an_episode() {
    let place = folder("inputs-state");
    let state = "[[inputs]]\ntensor = \"hidden\"\nkind = \"state\"\noutput = \"next\"\n";
    let rest = vector("state", "")
        + state
        + &chunk(10, "")
        + "[activation]\ntensor = \"memory\"\ntokens = 1\nwidth = 12\n";
    let path = card(&place, "recurrent", &rest);
    let mut policy = opened(&path).unwrap();
    assert!(policy.remembers());
    for _ in 0..2 {
        policy.begin(1);
        for count in 1..4_u8 {
            let inference = policy.infer(&seen(0, [0.0; 3])).unwrap();
            assert_eq!(action(&inference, 0), [f32::from(count); 7]);
            assert_eq!(inference.activation.unwrap().mean_pool()[3], f64::from(count));
        }
    }
    common::edit(&path, "output = \"next\"", "output = \"memory\"");
    let error = opened(&path).err().unwrap();
    assert!(error.contains("inputs[1]: found float32[1, 4]; valid is float32[1, 12]"), "{error}");
    common::edit(&path, "output = \"memory\"", "output = \"nothing\"");
    assert!(
        opened(&path).err().unwrap().contains("inputs[1].tensor: no output named \"nothing\"; the graph has")
    );
}

#[test]
fn two_observations_are_stacked_and_the_first_is_repeated_before_there_are_two() {
    let place = folder("inputs-history");
    let path = card(&place, "history", &(vector("states", "history = 2") + &chunk(1, "")));
    let mut policy = opened(&path).unwrap();
    for _ in 0..2 {
        policy.begin(0);
        let mut moved = |x: f64| action(&policy.infer(&seen(0, [x, 0.0, 0.0])).unwrap(), 0)[0];
        assert_eq!([moved(1.0), moved(1.5), moved(1.25)], [0.0, 0.5, -0.25]);
    }
    common::edit(&path, "history = 2", "history = 3");
    let error = opened(&path).unwrap().infer(&seen(0, [0.0; 3])).unwrap_err().to_string();
    assert!(
        error.contains(
            "inputs[0]: terms: found 24 values (eef_position 3, eef_quaternion 3, gripper_positions 2)"
        ),
        "{error}"
    );
    assert!(error.contains("valid is the 16 of \"states\""), "{error}");
}

#[test]
fn what_a_plant_does_not_offer_or_stops_offering_is_named() {
    let place = folder("inputs-refused");
    let path = card(
        &place,
        "recurrent",
        &(vector("state", "")
            + "[[inputs]]\ntensor = \"hidden\"\nkind = \"state\"\noutput = \"next\"\n"
            + &chunk(10, "names = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\"]")),
    );
    let mut policy = opened(&path).unwrap();
    let channel = |name: &&str| ActionChannel {
        name: (*name).into(),
        semantics: "".into(),
        bounds: [-1.0, 1.0],
        still: Some(0.0),
    };
    let plant = |names: &[&str], features: &[&str]| {
        let features = features.iter().map(|name| Feature::vector(*name, &["x", "y", "z"], "m")).collect();
        Arc::new(Schema::new(features, names.iter().map(channel).collect()).unwrap())
    };
    let error = policy.bind(&plant(&["a"], &["eef_position"])).unwrap_err().to_string();
    assert!(
        error.contains("recurrent.toml: inputs[0]: terms[1].feature: found \"eef_quaternion\""),
        "{error}"
    );
    assert!(error.contains("the plant offers eef_position[3], and the index task"), "{error}");
    let error = policy.infer(&seen(0, [0.0; 3])).unwrap_err().to_string();
    assert!(error.contains("chunk: names: the plant announces no names of its channels"), "{error}");
    common::edit(&path, "\nnames = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\"]", "");
    let mut policy = opened(&path).unwrap();
    policy.infer(&seen(0, [0.0; 3])).unwrap();
    // In the middle of an episode the fingers are no longer announced.
    let features: [(&str, &[f64]); 2] =
        [("eef_position", &[0.0; 3]), ("eef_quaternion", &[0.0, 0.0, 0.0, 1.0])];
    let error = policy.infer(&Observation::of(&features).unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("terms[2].feature: found \"gripper_positions\"; the plant offers eef_position[3]"),
        "{error}"
    );
    common::edit(&path, "kind = \"state\"\noutput = \"next\"", "kind = \"constant\"\nvalue = 0");
    common::edit(
        &path,
        "[chunk]",
        "[observation]\ntensor = \"state\"\nlayout = \"libero-lowdim-v1\"\nwidth = 88\n[chunk]",
    );
    assert!(opened(&path).err().unwrap().contains("observation: found beside [[inputs]]"));
}

#[test]
fn the_eight_numbers_of_public_policies_are_read_in_every_suite() {
    let place = folder("inputs-suites");
    let path = card(&place, "history", &(vector("states", "history = 2") + &chunk(1, "")));
    let mut policy = opened(&path).unwrap();
    for name in ["libero_spatial", "libero_object", "libero_goal", "libero_10"] {
        let suite = Suite::load(&cache().join("scenes").join(name)).unwrap();
        let cameras = Cameras::new(&["agentview"], 16, 16).unwrap();
        let mut plant = LiberoPlant::with_cameras(suite, cameras);
        let first = plant.reset(Start { task: 3, initial_state: 0 }).unwrap();
        assert!(
            first.schema.feature("agentview").is_some_and(|camera| camera.shape == [16, 16, 3]),
            "{name}"
        );
        policy.begin(0);
        policy.infer(&first).unwrap();
        let moved = plant.step(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0]).unwrap().observation;
        let up = action(&policy.infer(&moved).unwrap(), 0);
        let rise = moved.end_effector().unwrap()[2] - first.end_effector().unwrap()[2];
        assert!(rise > 0.0 && (f64::from(up[2]) - rise).abs() < 1e-6, "{name}: {up:?}, {rise}");
    }
}

#[test]
fn a_tensor_that_is_read_in_two_roles_is_read_in_both() {
    let place = folder("inputs-shared");
    let hidden = "[[inputs]]\ntensor = \"hidden\"\nkind = \"state\"\noutput = \"next\"\n";
    let activation = "[activation]\ntensor = \"next\"\ntokens = 1\nwidth = 4\n";
    let path = card(&place, "recurrent", &(vector("state", "") + hidden + &chunk(10, "") + activation));
    let mut policy = opened(&path).unwrap();
    policy.begin(0);
    for count in 1..4_u8 {
        let inference = policy.infer(&seen(0, [0.0; 3])).unwrap();
        assert_eq!(action(&inference, 0)[0], f32::from(count), "the state is fed back");
        assert_eq!(inference.activation.unwrap().mean_pool(), [f64::from(count); 4], "and a probe reads it");
    }
    let activation = "[activation]\ntensor = \"actions\"\ntokens = 1\nwidth = 7\n";
    let path = card(&place, "history", &(vector("states", "history = 2") + &chunk(1, "") + activation));
    let mut policy = opened(&path).unwrap();
    policy.infer(&seen(0, [1.0, 0.0, 0.0])).unwrap();
    let inference = policy.infer(&seen(0, [1.5, 0.0, 0.0])).unwrap();
    assert_eq!((action(&inference, 0)[0], inference.activation.unwrap().mean_pool()[0]), (0.5, 0.5));
}

#[test]
fn what_no_plant_and_no_probe_can_use_is_refused_by_field() {
    let place = folder("inputs-unusable");
    let refused = |model: &str, rest: &str, words: &str| {
        let error = opened(&card(&place, model, rest)).err().unwrap();
        assert!(error.contains(words), "{words}: {error}");
    };
    let half =
        "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{ feature = \"task\", one_hot = 9 }]\n";
    let gripper = |text: &str| half.to_owned() + &chunk(10, &format!("gripper = {{ value = 6, {text} }}"));
    refused("half", &gripper("threshold = nan, closed = 1, open = -1"), "chunk.gripper: found threshold NaN");
    refused("half", &gripper("threshold = 0, closed = inf, open = -1"), "closed inf");
    refused("half", &gripper("threshold = 0, closed = 1, open = 1"), "closed different from open");
    let axis = half.to_owned()
        + &chunk(10, "")
        + "[activation]\ntensor = \"hidden\"\ntokens = 1\nwidth = 7\naxis = 0\n";
    refused("half", &axis, "activation: found 1 tokens of width 7 along axis 0");
    let picture = "[[inputs]]\ntensor = \"picture\"\nkind = \"image\"\ncamera = \"eye\"\nheight = 16\nwidth = 16\nrotat = 180\n";
    let rest = vector("state", "") + picture + &chunk(16, "");
    refused("two", &rest, "inputs[1] (tensor \"picture\"): unknown field `rotat`");
    let batch = "[[inputs]]\ntensor = \"noise\"\nkind = \"noise\"\n\
                 [[inputs]]\ntensor = \"tokens\"\nkind = \"constant\"\nvalue = 0\nshape = [2, 3]\n";
    refused(
        "noise",
        &(batch.to_owned() + &chunk(50, "")),
        "inputs[1]: shape: found [2, 3]; valid begins with 1, the batch",
    );
}

/// Copies the fixture of a tokenizer beside the cards of a folder; returns its SHA-256.
fn tokenizer(place: &Path) -> String {
    let to = place.join("tokenizer.json");
    std::fs::copy(repository().join("tests/fixtures/tokenizer.json"), &to).unwrap();
    aegis_files::sha256(&to).unwrap()
}

fn instructed(instruction: &str) -> Observation {
    Observation { instruction: instruction.into(), ..seen(0, [0.0; 3]) }
}

#[test]
fn an_instruction_becomes_the_tokens_and_the_mask_of_its_own_tokenizer() {
    let place = folder("inputs-tokens");
    let sha256 = tokenizer(&place);
    let inputs = format!(
        "[[inputs]]\ntensor = \"tokens\"\nkind = \"tokens\"\ntokenizer = \"tokenizer.json\"\nsha256 = \"{sha256}\"\n\
         template = \"{{instruction}}\\n\"\n\
         [[inputs]]\ntensor = \"mask\"\nkind = \"mask\"\nof = \"tokens\"\n"
    );
    let path = card(&place, "masked", &(inputs + &chunk(1, "")));
    let mut policy = opened(&path).unwrap();
    // As tests/fixtures/tokenizer.py prints them: 1, 123, 37, 27, 66, 3.
    let said = |policy: &mut OnnxPolicy, instruction: &str| {
        action(&policy.infer(&instructed(instruction)).unwrap(), 0)[0]
    };
    assert_eq!(said(&mut policy, "turn on the stove"), 257.0);
    let encoded = policy.encode(&instructed("turn on the stove")).unwrap();
    assert_eq!(encoded[0][..7], [1.0, 123.0, 37.0, 27.0, 66.0, 3.0, 0.0]);
    assert_eq!(encoded[1][..7], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    assert_ne!(said(&mut policy, "open the middle drawer of the cabinet"), 257.0);
    assert_eq!(said(&mut policy, "turn on the stove"), 257.0, "another episode, another instruction");
    let error = policy.infer(&instructed(&"turn on the stove ".repeat(9))).unwrap_err().to_string();
    assert!(error.contains("tokens; valid is at most 24, the length of \"tokens\""), "{error}");
    assert_eq!(said(&mut policy, "turn on the stove"), 257.0, "a refusal leaves nothing behind");
    common::edit(&path, "kind = \"tokens\"", "kind = \"tokens\"\nside = \"left\"\nspecial_tokens = false");
    let mut policy = opened(&path).unwrap();
    let encoded = policy.encode(&instructed("turn on the stove")).unwrap();
    assert_eq!(encoded[0][19..], [123.0, 37.0, 27.0, 66.0, 3.0]);
    assert_eq!(encoded[1][18..], [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused_by_field() {
    let place = folder("inputs-tokenizer");
    let sha256 = tokenizer(&place);
    let inputs = format!(
        "[[inputs]]\ntensor = \"tokens\"\nkind = \"tokens\"\ntokenizer = \"tokenizer.json\"\nsha256 = \"{sha256}\"\n\
         [[inputs]]\ntensor = \"mask\"\nkind = \"mask\"\nof = \"tokens\"\n"
    );
    let path = card(&place, "masked", &(inputs + &chunk(1, "")));
    let refused = |words: &str| {
        let error = opened(&path).err().unwrap();
        assert!(error.contains(words), "{words}: {error}");
    };
    common::edit(&path, "of = \"tokens\"", "of = \"token\"");
    refused("inputs[1].of: found \"token\"; valid is the tensor of an input of kind \"tokens\"");
    common::edit(&path, "of = \"token\"", "of = \"tokens\"");
    common::edit(&path, "kind = \"tokens\"", "kind = \"tokens\"\ntemplate = \"do it\"");
    refused("inputs[0].template: found \"do it\"; valid is a text with {instruction} in it");
    common::edit(&path, "\ntemplate = \"do it\"", "");
    let file = place.join("tokenizer.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "{}").unwrap();
    refused("tokenizer.json: SHA-256: found");
    common::edit(&path, &sha256, &aegis_files::sha256(&file).unwrap());
    refused("inputs[0].tokenizer: ");
    let mut without: serde_json::Value = serde_json::from_str(&whole).unwrap();
    without["padding"] = serde_json::Value::Null;
    std::fs::write(&file, without.to_string()).unwrap();
    common::edit(&path, &aegis_files::sha256_of(b"{}"), &aegis_files::sha256(&file).unwrap());
    let unfit = opened(&path).map(|mut policy| policy.infer(&instructed("turn on")).unwrap_err().to_string());
    assert!(unfit.as_ref().is_ok_and(|error| error.contains("inputs[0]: pad: missing")), "{unfit:?}");
    std::fs::remove_file(&file).unwrap();
    refused("tokenizer.json: cannot read");
}

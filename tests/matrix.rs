//! Takes policies of every kind of input through every verb, on LIBERO-10, which the shipped policies do not fit: from the graph to
//! a probe, a registered study and a recording. The table in docs/reference/policies.md is what this test finds.
//!
//! The graphs are fixtures by `onnx` (tests/fixtures/policies.py) whose actions are numbers without skill. So that there are won
//! and lost episodes, half of the initial states of a task have its goal met already.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_core::{Plant, Policy, Start};
use aegis_link::RemotePolicy;
use aegis_link::policy::Place;
use aegis_policies::OnnxPolicy;
use aegis_sim::{Cameras, LiberoPlant, Suite};
use ndarray::Array2;

use crate::common::{self, Served, aegis, cache, folder, repository};

/// A policy of the table.
pub(crate) struct Kind {
    /// What is particular about it.
    name: &'static str,
    /// Fixture.
    pub model: &'static str,
    /// Tables `[[inputs]]` of its card.
    inputs: &'static str,
    /// Actions of a chunk, and fields of `[chunk]` beside tensor, horizon and width.
    chunk: (u32, &'static str),
    /// Tensor that a probe reads.
    activation: Activation,
}

/// Where a probe reads: name, number of tokens and their width.
pub(crate) enum Activation {
    /// An output of the graph, with further fields of `[activation]`, and another tensor to tap.
    Output(&'static str, u32, u32, &'static str, &'static str),
    /// A tensor that has to be tapped first.
    Tap(&'static str, u32, u32),
}

const STATE: &str = "terms = [{ feature = \"eef_position\" }, { feature = \"eef_quaternion\", transform = \"axis_angle\" }, \
                     { feature = \"gripper_positions\" }]";

const HALF: &str = "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{ feature = \"joint_positions\" }, \
                    { feature = \"gripper_positions\" }]\n";
const HIDDEN: &str = "[[inputs]]\ntensor = \"hidden\"\nkind = \"state\"\noutput = \"next\"\n";

fn state(tensor: &str, more: &str) -> String {
    format!("[[inputs]]\ntensor = \"{tensor}\"\nkind = \"vector\"\n{STATE}\n{more}\n")
}

pub(crate) fn kinds() -> Vec<Kind> {
    let own = |text: String| -> &'static str { text.leak() };
    let image = "[[inputs]]\ntensor = \"picture\"\nkind = \"image\"\ncamera = \"agentview\"\nheight = 16\nwidth = 16\n\
                 layout = \"chw\"\n";
    let tokens = "[[inputs]]\ntensor = \"tokens\"\nkind = \"tokens\"\ntokenizer = \"tokenizer.json\"\nsha256 = \"TOKENIZER\"\n\
                  [[inputs]]\ntensor = \"mask\"\nkind = \"mask\"\nof = \"tokens\"\n";
    vec![
        Kind {
            name: "two inputs, a picture as numbers (channels first), free batch axis, chunk of 16",
            model: "two",
            inputs: own(state("state", "") + image),
            chunk: (16, "execute = 10"),
            activation: Activation::Output("features", 16, 3, "axis = 1", "colours"),
        },
        Kind {
            name: "`float16`, output of rank 2",
            model: "half",
            inputs: HALF,
            chunk: (10, ""),
            activation: Activation::Output("hidden", 1, 7, "", "seven"),
        },
        Kind {
            name: "noise, fixed tokens, chunk of 50 with `skip` and `execute`",
            model: "noise",
            inputs: "[[inputs]]\ntensor = \"noise\"\nkind = \"noise\"\n\
                     [[inputs]]\ntensor = \"tokens\"\nkind = \"constant\"\nvalue = [0, 0, 0]\nshape = [1, 3]\n",
            chunk: (50, "skip = 2\nexecute = 10"),
            activation: Activation::Tap("small", 50, 7),
        },
        Kind {
            name: "the instruction as `int64` tokens of a `tokenizer.json`, and their mask; chunk of 1",
            model: "masked",
            inputs: own(tokens.into()),
            chunk: (1, "scale = 0.001"),
            activation: Activation::Tap("number", 1, 1),
        },
        Kind {
            name: "a hidden state that is fed back",
            model: "recurrent",
            inputs: own(state("state", "") + HIDDEN),
            chunk: (10, "scale = 0.01"),
            activation: Activation::Output("memory", 1, 12, "", "count"),
        },
        Kind {
            name: "a history of two observations",
            model: "history",
            inputs: own(state("states", "history = 2")),
            chunk: (1, ""),
            activation: Activation::Tap("difference", 1, 8),
        },
        Kind {
            name: "weights in an external file",
            model: "beside",
            inputs: "[[inputs]]\ntensor = \"observation\"\nkind = \"vector\"\nterms = [{ feature = \"task\", one_hot = 88 }]\n",
            chunk: (10, "scale = 0.1\nclip = [-1, 1]"),
            activation: Activation::Tap("row", 1, 70),
        },
    ]
}

/// Marks around the table in the page.
const BEGIN: &str = "<!-- table of tests/matrix.rs -->";
const END: &str = "<!-- end of the table -->";
/// Verbs, one for each column of the table, in order of use.
const VERBS: [&str; 12] = [
    "model inspect",
    "model card",
    "model tap",
    "model check",
    "collect",
    "probe fit",
    "probe eval",
    "plan register",
    "experiment run",
    "replay",
    "demo --connect",
    "serve-policy",
];

/// Copies LIBERO-10 into `place`. In the task's initial states of even number, soup and sauce are in the basket already.
pub(crate) fn suite(place: &Path) {
    let from = cache().join("scenes/libero_10").canonicalize().unwrap();
    let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(place).status().unwrap();
    assert!(copied.success());
    let path = place.join("tasks/00/initial_states.npy");
    let mut states: Array2<f64> = ndarray_npy::read_npy(&path).unwrap();
    let mut plant = LiberoPlant::new(Suite::load(&from).unwrap());
    for initial_state in (0..40).step_by(2) {
        let seen = plant.reset(Start { task: 0, initial_state }).unwrap();
        let basket = seen.object("basket_1").unwrap().position;
        for (index, name) in ["alphabet_soup_1", "tomato_sauce_1"].into_iter().enumerate() {
            let position = seen.object(name).unwrap().position;
            let mut row = states.row_mut(initial_state);
            let near = |place: &usize| (0..3).all(|axis| (row[*place + axis] - position[axis]).abs() < 1e-6);
            let at = (1..row.len() - 3).find(near).expect("the object's position is in the state");
            let side = if index == 0 { 0.04 } else { -0.04 };
            for (axis, offset) in [0.0, side, 0.06].into_iter().enumerate() {
                row[at + axis] = basket[axis] + offset;
            }
        }
    }
    ndarray_npy::write_npy(&path, &states).unwrap();
}

/// A folder with a policy's files, in which every verb runs.
pub(crate) struct Journey<'a> {
    pub kind: &'a Kind,
    pub place: PathBuf,
    pub scenes: &'a Path,
}

impl Journey<'_> {
    pub(crate) fn aegis(&self, verb: &str) -> Command {
        let mut command = aegis();
        command.env("AEGIS_SCENES", self.scenes).current_dir(&self.place).args(verb.split(' '));
        command
    }

    #[track_caller]
    pub(crate) fn runs(&self, verb: &str) -> String {
        let output = self.aegis(verb).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: aegis {verb}: {said}\n{error}", self.kind.name);
        said
    }

    /// Brings the fixture, taps it where a probe needs that, and writes its card.
    pub(crate) fn prepare(&self) {
        let Kind { model, inputs, chunk: (horizon, more), activation, .. } = self.kind;
        for name in [format!("{model}.onnx"), format!("{model}.onnx.data"), "tokenizer.json".into()] {
            let from = repository().join("tests/fixtures").join(&name);
            if from.is_file() {
                std::fs::copy(from, self.place.join(name)).unwrap();
            }
        }
        assert!(self.runs(&format!("model inspect {model}.onnx")).contains("input"));
        let sketch = self.runs(&format!("model card {model}.onnx --suite libero_10"));
        assert!(sketch.matches("[[inputs]]").count() == inputs.matches("[[inputs]]").count(), "{sketch}");
        let (model, tensor, tokens, width, axis) = match activation {
            Activation::Output(tensor, tokens, width, more, other) => {
                self.tap(other);
                ((*model).to_owned(), tensor, tokens, width, *more)
            }
            Activation::Tap(tensor, tokens, width) => (self.tap(tensor), tensor, tokens, width, ""),
        };
        let digest = |name: &str| aegis_files::sha256(&self.place.join(name)).unwrap();
        let mut text =
            format!("file = \"{model}.onnx\"\nsha256 = \"{}\"\n", digest(&format!("{model}.onnx")));
        if self.kind.model == "beside" {
            text += &format!(
                "[[external]]\nfile = \"beside.onnx.data\"\nsha256 = \"{}\"\n",
                digest("beside.onnx.data")
            );
        }
        text += &inputs.replace("TOKENIZER", &digest("tokenizer.json"));
        text += &format!("[chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = 7\n{more}\n");
        text += &format!("[activation]\ntensor = \"{tensor}\"\ntokens = {tokens}\nwidth = {width}\n{axis}\n");
        std::fs::write(self.place.join("policy.toml"), text).unwrap();
    }

    /// Makes a tensor an output of a copy of the graph; returns the copy's name.
    fn tap(&self, tensor: &str) -> String {
        let model = self.kind.model;
        // The number of tokens is free in this graph, and a sample needs one.
        let shape = if model == "noise" { " --shape tokens=1,3" } else { "" };
        let out = format!("{model}-tapped");
        self.runs(&format!("model tap {model}.onnx --tensor {tensor} --pool none --out {out}.onnx{shape}"));
        out
    }

    /// Writes the card of a strong policy, which has to be another model.
    pub(crate) fn strong(&self) {
        let (model, inputs, horizon) = match self.kind.model {
            "half" => ("recurrent", format!("{}{HIDDEN}", state("state", "")), 10),
            _ => ("half", HALF.to_owned(), 10),
        };
        let to = self.place.join(format!("{model}.onnx"));
        std::fs::copy(repository().join(format!("tests/fixtures/{model}.onnx")), &to).unwrap();
        let sha256 = aegis_files::sha256(&to).unwrap();
        let text = format!(
            "file = \"{model}.onnx\"\nsha256 = \"{sha256}\"\n{inputs}\
             [chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = 7\nscale = 0.01\n"
        );
        std::fs::write(self.place.join("strong.toml"), text).unwrap();
    }

    /// Writes a plan of short episodes, in which every boundary is at a tenth step or, for chunks of one action, at every step.
    pub(crate) fn plan(&self) {
        let text = std::fs::read_to_string(repository().join("experiments/template.toml")).unwrap();
        let steps = if self.kind.chunk.0 == 1 { 1 } else { 10 };
        let guard = if steps == 1 { "guard_fraction = 0.05" } else { "guard_fraction = 0.30" };
        let mut text = text;
        for (from, to) in [
            ("suite = \"libero_spatial\"", "suite = \"libero_10\"\ntasks = [0]"),
            ("sample_seed = 20261125\n", ""),
            ("settle_steps = 10", "settle_steps = 2"),
            ("horizon_steps = 220", "horizon_steps = 20"),
            ("chunk_steps = 10", &format!("chunk_steps = {steps}")),
            ("guard_fraction = 0.20", guard),
            ("budget_fraction = 0.05", "budget_fraction = 0.25"),
            ("hold_chunks = 3", "hold_chunks = 1"),
            ("head = \"mlp\"", "head = \"linear\""),
            ("folds = 5", "folds = 2"),
            ("penalties = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]", "penalties = [1.0]"),
            ("alpha = 0.10", "alpha = 0.30"),
            ("training = { first = 50, end = 120", "training = { first = 48, end = 50"),
            ("discovery = { first = 200, end = 280", "discovery = { first = 0, end = 8"),
            ("calibration = { first = 300, end = 340", "calibration = { first = 8, end = 16"),
            ("tuning = { first = 400, end = 440", "tuning = { first = 16, end = 20"),
            ("confirmation = { first = 500, end = 540", "confirmation = { first = 20, end = 28"),
            (
                "arms = [\"weak\", \"aegis\", \"blind\", \"random\", \"strong\", \"aa\"]",
                "arms = [\"weak\", \"aegis\", \"blind\"]",
            ),
            (
                "    { better = \"aegis\", than = \"random\" },\n    { better = \"aegis\", than = \"weak\" },\n",
                "",
            ),
            ("../policies/models/weak.toml", "policy.toml"),
            ("../policies/models/strong.toml", "strong.toml"),
            ("../policies/models/probe.json", "probe.json"),
            ("precondition = { range = \"tuning\", auroc_floor = 0.60 }\n", ""),
            ("auroc_floor = 0.60", "auroc_floor = 0.0"),
            ("duty_mismatch_points = 10.0", "duty_mismatch_points = 100.0"),
            ("{ at = [5, 9] }", if steps == 1 { "{ at = [7] }" } else { "{ at = [1] }" }),
        ] {
            assert!(text.contains(from), "{from} is not in the template");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(self.place.join("plan.toml"), text).unwrap();
    }

    /// Runs every verb; returns a cell of the table for each.
    fn take(&self) -> Vec<String> {
        self.prepare();
        self.strong();
        self.plan();
        // A graph without skill may have values that never matter: what counts here is that it was bound and run.
        let checked = self.aegis("model check policy.toml --suite libero_10").output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(
            said.contains("good    binding:") && said.contains("chunk seam"),
            "{}: {said}",
            self.kind.name
        );
        for range in ["discovery", "calibration"] {
            self.runs(&format!("collect {range} --plan plan.toml --out {range}.parquet"));
        }
        self.runs(
            "probe fit --plan plan.toml --discovery discovery.parquet --calibration calibration.parquet",
        );
        self.runs("probe eval --plan plan.toml --discovery discovery.parquet --range tuning");
        self.runs("plan register plan.toml");
        let ran = self.runs("experiment run --plan plan.toml --out run");
        self.runs("experiment report --plan plan.toml run");
        assert!(self.runs("experiment verify --plan plan.toml run").contains("verified"), "{ran}");
        self.runs("replay run --plan plan.toml --episode 0/21 --arm weak --rrd episode.rrd");
        assert!(self.place.join("episode.rrd").metadata().unwrap().len() > 1000);
        let mut served = self.aegis("sim serve --suite libero_10 --pictures 16x16 --listen tcp/127.0.0.1:0");
        let (_served, ready) = Served::start(&mut served);
        let endpoint = ready.rsplit(' ').next().unwrap();
        self.runs(&format!(
            "demo --plan plan.toml --range tuning --episodes 2 --connect {endpoint} --plant libero --out demo"
        ));
        let last = self.serve(endpoint);
        let mut cells = vec!["yes".to_owned(); VERBS.len() - 1];
        cells.push(last);
        cells
    }

    /// Serves the policy for the plant at this endpoint, and asks it for the chunk that it gives in process.
    fn serve(&self, endpoint: &str) -> String {
        let verb = format!("serve-policy policy.toml --plant libero --connect {endpoint}");
        let (_server, ready) = Served::start(&mut self.aegis(&verb));
        let model = ready.rsplit(' ').next().unwrap();
        let cameras = Cameras::new(&["agentview"], 16, 16).unwrap();
        let mut plant = LiberoPlant::with_cameras(Suite::load(self.scenes).unwrap(), cameras);
        let mut seen = plant.reset(Start { task: 0, initial_state: 1 }).unwrap();
        seen.frames = plant.frames().unwrap().into();
        let session = aegis_link::open(aegis_link::Role::Drive, &endpoint.parse().unwrap()).unwrap();
        let minute = std::time::Duration::from_secs(60);
        let mut there = RemotePolicy::find(&session, ("libero", Place::Strong), Some(model), minute).unwrap();
        let mut here = OnnxPolicy::open(&common::runtime(), &self.place.join("policy.toml")).unwrap();
        for seed in [7, 8] {
            here.begin(seed);
            there.begin(seed);
            for inference in 0..2 {
                let (here, there) = (here.infer(&seen).unwrap(), there.infer(&seen).unwrap());
                assert_eq!(here, there, "{}: inference {inference} of episode {seed}", self.kind.name);
            }
        }
        "yes".into()
    }
}

#[test]
fn policies_of_every_kind_go_through_every_verb() {
    let place = folder("matrix");
    let scenes = place.join("libero_10");
    suite(&scenes);
    let mut table = format!(
        "| policy | {} |\n|---{}|\n",
        VERBS.map(|verb| format!("`{verb}`")).join(" | "),
        "|---".repeat(VERBS.len())
    );
    for (index, kind) in kinds().iter().enumerate() {
        let place = place.join(index.to_string());
        std::fs::create_dir_all(&place).unwrap();
        let cells = Journey { kind, place, scenes: &scenes }.take();
        table += &format!("| {} | {} |\n", kind.name, cells.join(" | "));
    }
    let page = repository().join("docs/reference/policies.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (found, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("AEGIS_WRITE_MATRIX").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}\n{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found.trim(), table.trim(), "AEGIS_WRITE_MATRIX=1 writes the table anew");
}

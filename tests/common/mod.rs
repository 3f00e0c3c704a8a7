//! Helpers that the integration tests share: the binary, copies of the shipped study, and the context of an episode.
//! Scenes and libraries come from the cache that `cargo xtask setup` fills; without the cache these tests fail with a message.
#![allow(clippy::expect_used)] // Helpers of tests, which clippy takes for other code.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use aegis_core::EpisodeKey;
use aegis_core::{Observation, Plant, PlantError, Start, Transition};
use aegis_experiments::episode::streams::Streams;
use aegis_experiments::plan::Plan;
use aegis_experiments::{EpisodeContext, EpisodeSettings};
use aegis_link::wire::{Message, Status};
use aegis_policies::{ModelCard, OnnxPolicy, OnnxRuntime};
use aegis_probe::file::ProbeFile;
use aegis_sim::{LiberoPlant, Suite};
use zenoh::Wait;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Locality, Sample};

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("AEGIS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("aegis")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/aegis")))
        .expect("HOME is set")
}

pub fn scenes() -> PathBuf {
    let scenes =
        std::env::var_os("AEGIS_SCENES").map_or_else(|| cache().join("scenes/libero_spatial"), PathBuf::from);
    assert!(scenes.is_dir(), "{}: no scenes; run `cargo xtask setup`", scenes.display());
    scenes
}

fn library() -> PathBuf {
    std::env::var_os("AEGIS_ORT_LIBRARY")
        .map_or_else(|| cache().join("lib/onnxruntime-1.32.0/libonnxruntime.so.1.32.0"), PathBuf::from)
}

/// Loads the inference library once per process; all tests of the process share one ONNX Runtime environment.
pub fn runtime() -> OnnxRuntime {
    static RUNTIME: OnceLock<OnnxRuntime> = OnceLock::new();
    RUNTIME.get_or_init(|| OnnxRuntime::load(&library()).expect("setup placed the library")).clone()
}

/// Returns every file with an extension at or below `place`, in order.
pub fn files_below(place: &Path, extension: &str) -> Vec<PathBuf> {
    let is_wanted = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let found = aegis_files::tree::below(place).expect("the folder can be read");
    found.into_values().filter(is_wanted).collect()
}

/// Sends a signal, named as `kill -s` takes it.
pub fn signal(process: &Child, name: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill starts").success());
}

/// Creates an empty folder for one test, and deletes the contents of an earlier run.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the folder can be emptied");
    }
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Copies the shipped plan and models into `folder`, where a test may damage them. Returns the path of the plan.
pub fn copy_of_study(folder: &Path) -> PathBuf {
    let models = folder.join("policies/models");
    std::fs::create_dir_all(&models).expect("the folder can be made");
    std::fs::create_dir_all(folder.join("experiments")).expect("the folder can be made");
    for entry in std::fs::read_dir(repository().join("policies/models")).expect("models are shipped") {
        let entry = entry.expect("the folder can be read");
        std::fs::copy(entry.path(), models.join(entry.file_name())).expect("the model can be copied");
    }
    let plan = folder.join("experiments/demo.toml");
    std::fs::copy(repository().join("experiments/demo.toml"), &plan).expect("the plan can be copied");
    plan
}

/// Unpacks a gzip file, such as one of the shipped study's stores.
pub fn unpack(from: &Path, to: &Path) {
    let unpacked = Command::new("gzip").args(["-dc"]).arg(from).output().expect("gzip starts");
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    std::fs::write(to, unpacked.stdout).expect("the store can be written");
}

/// Replaces every occurrence of `from` by `to` in a text file.
///
/// # Panics
/// If the file does not contain `from`.
pub fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    assert!(text.contains(from), "{} lacks {from:?}", path.display());
    std::fs::write(path, text.replace(from, to)).expect("the file can be written");
}

pub fn aegis() -> Command {
    Command::new(env!("CARGO_BIN_EXE_aegis"))
}

/// Environment variable that assigns Zenoh's tasks to threads. Zenoh reads it once per process.
const ZENOH_THREADS: &str = "ZENOH_RUNTIME";

/// Runs the test of the full name `test` in a separate process, unless the current process is that process already. Returns
/// whether the test ran in a separate process. A test that opens TLS sessions itself needs Zenoh to read and write on one
/// thread, as `aegis` configures it. In a shared process the sessions of other tests would share that thread, and no session
/// could send while another one reads.
pub fn ran_in_a_process_of_its_own(test: &str) -> bool {
    if std::env::var_os(ZENOH_THREADS).is_some() {
        return false;
    }
    let mut alone = Command::new(std::env::current_exe().expect("the test program has a path"));
    alone.args(["--exact", test, "--nocapture"]).env(ZENOH_THREADS, "(rx: (handover: tx))");
    let output = alone.output().expect("the test program starts");
    let [said, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}{errors}", output.status);
    true
}

/// A subscription whose callback only forwards samples to a channel. The callback never blocks, because one thread of Zenoh may
/// serve every session of the process.
pub struct Heard {
    pub samples: Receiver<Sample>,
    _subscriber: Subscriber<()>,
}

/// Subscribes to what other sessions publish on a key.
pub fn hear(session: &zenoh::Session, key: impl Into<String>) -> Heard {
    let (sender, samples) = channel();
    let subscriber = session
        .declare_subscriber(key.into())
        .allowed_origin(Locality::Remote)
        .callback(move |sample| drop(sender.send(sample)))
        .wait()
        .expect("it subscribes");
    Heard { samples, _subscriber: subscriber }
}

impl Heard {
    /// Waits for the next message that decodes as a plant's status, for at most 60 s per message.
    pub fn status(&self) -> Status {
        loop {
            let sample = self.samples.recv_timeout(Duration::from_secs(60)).expect("the plant beats");
            if let Ok(Message::Status(status)) = Message::decode(&sample.payload().to_bytes()) {
                return status;
            }
        }
    }
}

/// Returns a command that runs the binary on a suite with only the first [`FEW_TASKS`] tasks.
pub fn aegis_on_few_tasks() -> Command {
    let mut command = aegis();
    command.env("AEGIS_SCENES", few_tasks());
    command
}

/// Number of tasks in the reduced suite. The weak policy wins most starts of the first two tasks, and few of the others.
pub const FEW_TASKS: usize = 4;

/// Creates a scene folder with only the first [`FEW_TASKS`] tasks of the suite. Tests of properties that do not depend on the
/// tasks use it, and take less than half of the time.
pub fn few_tasks() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let (whole, few) = (scenes(), folder("few-tasks"));
        let text = std::fs::read_to_string(whole.join("suite.json")).expect("the suite can be read");
        let mut suite: serde_json::Value = serde_json::from_str(&text).expect("the suite is JSON");
        suite["tasks"].as_array_mut().expect("the suite lists its tasks").truncate(FEW_TASKS);
        std::fs::write(few.join("suite.json"), suite.to_string()).expect("the suite can be written");
        for name in ["assets", "tasks"] {
            std::os::unix::fs::symlink(whole.join(name), few.join(name)).expect("a link can be made");
        }
        few
    })
}

/// Runs a command and returns its standard output.
///
/// # Panics
/// If the command fails or its output is not UTF-8.
#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the command `aegis keys --out OUT`.
pub fn keys_command(out: &Path) -> Command {
    let mut command = aegis();
    command.args(["keys", "--out"]).arg(out);
    command
}

/// Creates a development certificate authority and the keys of every principal.
pub fn make_keys(out: &Path) {
    let output = keys_command(out).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Sets a file's permissions.
pub fn mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
}

/// Runs a command and checks its exit code and that its standard error contains every text of `words`.
#[track_caller]
pub fn refuses(command: &mut Command, code: i32, words: &[&str]) {
    let Output { status, stderr, .. } = command.output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is missing from: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// The shipped study, opened through the public interfaces of the crates.
pub struct Study {
    pub plan: Plan,
    pub suite: Suite,
    pub runtime: OnnxRuntime,
    pub probe: ProbeFile,
}

impl Study {
    pub fn open() -> Self {
        let plan =
            Plan::load(&repository().join("experiments/demo.toml")).expect("the shipped plan is valid");
        let card = ModelCard::load(&plan.models.weak).expect("the weak card is valid");
        let spec = card.activation.expect("the weak policy is watched");
        let probe = ProbeFile::load(&plan.models.probe, &card.sha256, &spec.tensor, spec.width)
            .expect("the shipped probe fits the weak policy");
        let suite = Suite::load(&scenes()).expect("the scenes are whole");
        let suite = suite.with_sampled_starts(plan.sample_seed.expect("the shipped plan samples its starts"));
        Self { plan, suite, runtime: runtime(), probe }
    }

    pub fn settings(&self) -> EpisodeSettings {
        EpisodeSettings {
            gate: self.plan.gate.clone(),
            ask_strong: false,
            sensor: self.plan.sensor,
            settle_steps: self.plan.settle_steps,
            disturbances: self.plan.disturbances,
            null_action: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0],
            streams: Streams::new(self.plan.master_seed),
            fork: true,
        }
    }

    pub fn keys(&self) -> Vec<EpisodeKey> {
        self.plan.ranges.confirmation.keys(0..self.suite.task_count())
    }

    pub fn context(&self) -> EpisodeContext {
        self.parties_around(Box::new(LiberoPlant::new(self.suite.clone())))
    }

    pub fn parties_around(&self, plant: Box<dyn Plant>) -> EpisodeContext {
        let open = |card| Box::new(OnnxPolicy::open(&self.runtime, card).expect("the shipped model opens"));
        EpisodeContext {
            plant,
            weak: open(&self.plan.models.weak),
            strong: open(&self.plan.models.strong),
            probe: self.probe.heads(),
        }
    }
}

/// The LIBERO plant, with a function that changes each action before it is executed.
pub struct Disturbed<F> {
    pub plant: LiberoPlant,
    pub disturb: F,
}

impl<F: FnMut(&mut [f32])> Plant for Disturbed<F> {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.plant.reset(start)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let mut action = action.to_vec();
        (self.disturb)(&mut action);
        self.plant.step(&action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }
}

/// A process that serves until this value is dropped.
pub struct Served(pub Child);

impl Served {
    /// Starts a command; returns it with its first line, by which it says that it serves.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let served = Self(process);
        let ready = lines.map(|line| line.expect("a line")).next().expect("it says that it is ready");
        (served, ready)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the commands of a documentation page as they are printed, all `sh` code blocks in order, in a folder that has the program
/// where a clone has it after its build. `changed` may replace parts of the text that cannot hold beside other tests, such as ports.
/// Processes that a page leaves in the background end with it. Returns what was printed.
pub fn follow(page: &str, folder: &Path, changed: impl FnOnce(String) -> String) -> String {
    let programs = folder.join("target/release");
    std::fs::create_dir_all(&programs).expect("the folder is writable");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aegis"), programs.join("aegis")).expect("it is new");
    let text =
        std::fs::read_to_string(repository().join("docs/guide").join(page)).expect("the page is there");
    let mut blocks = text.split("```");
    blocks.next();
    let blocks: Vec<&str> = blocks.step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect();
    assert!(!blocks.is_empty(), "{page} has no commands");
    let commands = changed(blocks.concat());
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args([
            "-euo",
            "pipefail",
            "-c",
            &format!("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}"),
        ])
        .env("PATH", format!("{}:{path}", repository().join(".deps/python/bin").display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder)
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Returns the text with each of these ports replaced by one that is free.
pub fn on_free_ports(mut text: String, ports: &[u16]) -> String {
    for port in ports {
        assert!(text.contains(&port.to_string()), "{port}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        text = text.replace(&port.to_string(), &free.expect("a port is free").port().to_string());
    }
    text
}

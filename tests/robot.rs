//! Tests `aegis run` against a served simulator, as processes on one machine, and its response when each process fails.
//! Tests wait for events: a heartbeat, a line of output, an exit. Timeouts only end a test that would hang.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::control::{Mode, StopReason, TickRecord};
use aegis_recorder::run_log::RunReader;
use aegis_recorder::snapshots::{SNAPSHOT_FILE, SnapshotReader};
use serde_json::Value;

/// A process of `aegis sim serve`, killed when the test ends.
pub struct Plant {
    process: Child,
    pub endpoint: String,
    _lines: Lines<BufReader<ChildStdout>>,
}

/// Largest number of real-time tests that run at the same time. Each uses little processor time but must keep its control
/// periods; a dozen at once would starve each other on a small machine.
const REAL_TIME_TESTS: usize = 2;
static SLOTS: (Mutex<usize>, Condvar) = (Mutex::new(REAL_TIME_TESTS), Condvar::new());

/// Time after which a reset that follows an e-stop is sent again. An e-stop is sent twice where no controller is known to hear it,
/// and of an e-stop and a reset in one period the e-stop counts.
pub const RESET_AGAIN: Duration = Duration::from_secs(30);

/// A slot for one real-time test, released when dropped.
pub struct Slot(());

pub fn real_time_slot() -> Slot {
    let (free, freed) = &SLOTS;
    let free = free.lock().unwrap_or_else(PoisonError::into_inner);
    *freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
    Slot(())
}

impl Drop for Slot {
    fn drop(&mut self) {
        *SLOTS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        SLOTS.1.notify_one();
    }
}

impl Plant {
    pub fn serve(listen: &str) -> Self {
        let mut process = common::aegis()
            .args(["sim", "serve", "--name", "cell", "--sample-seed", "20261125", "--listen", listen])
            .args(["--command-timeout", "4000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let ready = lines.next().expect("it says that it is ready").expect("a line");
        let endpoint = ready.rsplit(' ').next().expect("an endpoint").to_owned();
        Self { process, endpoint, _lines: lines }
    }

    pub fn operate(&self, wish: &str) {
        assert!(self.tries_to_operate(wish));
    }

    /// Sends an operator command and returns whether a controller received it.
    fn tries_to_operate(&self, wish: &str) -> bool {
        let status = common::aegis()
            .args(["operate", wish, "--plant", "cell", "--connect", &self.endpoint])
            .status()
            .expect("the binary starts");
        status.success()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Time after which a test that waits for a line of output fails.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A process of `aegis run`, killed when dropped.
pub struct Run {
    process: Child,
    lines: Receiver<String>,
    pub seen: Vec<String>,
    folder: PathBuf,
}

/// Writes the shipped robot file into `folder` for the plant `cell` at `endpoint`, with longer timeouts and with `edits` (pairs
/// of old and new text). Returns its path.
pub fn robot_file(folder: &Path, endpoint: &str, edits: &[(&str, &str)]) -> PathBuf {
    common::copy_of_study(folder);
    std::fs::create_dir_all(folder.join("controller")).unwrap();
    let path = folder.join("controller/libero.toml");
    std::fs::copy(common::repository().join("controller/libero.toml"), &path).unwrap();
    common::edit(&path, "plant = \"libero\"", "plant = \"cell\"");
    common::edit(&path, "tcp/127.0.0.1:7447", endpoint);
    wait_longer(&path);
    for (from, to) in edits {
        common::edit(&path, from, to);
    }
    path
}

/// Increases every timeout of a robot file, because a busy machine may stall any process for seconds. The response to a stall is
/// tested in the core, where time is an input.
pub fn wait_longer(path: &Path) {
    for (from, to) in [
        ("max_age_ms = 150", "max_age_ms = 10000"),
        ("stale_steps = 3", "stale_steps = 200"),
        ("plant_timeout_ms = 500", "plant_timeout_ms = 10000"),
        ("weak_misses = 3", "weak_misses = 100"),
    ] {
        common::edit(path, from, to);
    }
}

pub fn command(robot: &Path, out: &Path) -> Command {
    let mut command = common::aegis();
    command.arg("run").arg(robot).arg("--out").arg(out);
    command
}

impl Run {
    /// Starts a run whose episodes begin by themselves (`--auto-start`), which is allowed for the simulator.
    pub fn start(name: &str, endpoint: &str, edits: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::waiting(name, endpoint, edits, &[&["--auto-start"], arguments].concat())
    }

    /// Starts a run in which every episode waits for an operator's start.
    pub fn waiting(name: &str, endpoint: &str, edits: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = common::folder(name);
        Self::of(&robot_file(&folder, endpoint, edits), folder.join("run"), arguments)
    }

    /// Starts a run of any robot file, recorded in `out`.
    pub fn of(robot: &Path, out: PathBuf, arguments: &[&str]) -> Self {
        // SIGXFSZ is ignored, so that a file beyond the size limit gives a write error, as a full disk does, and no signal.
        let mut command = Command::new("bash");
        command
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_aegis"), "run"])
            .args([robot, Path::new("--out"), &out])
            .args(arguments);
        Self::watch(&mut command, out)
    }

    /// Starts a command that runs `aegis run` with its record in `folder`, and reads its output on a thread.
    fn watch(command: &mut Command, folder: PathBuf) -> Self {
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, lines, seen: Vec::new(), folder }
    }

    /// Waits for a line of output that contains `word`.
    #[track_caller]
    pub fn until(&mut self, word: &str) {
        self.until_trying(word, TIMEOUT, || {});
    }

    /// Waits as [`Self::until`] does, and calls `attempt` first and then whenever no line came for `every`. Repetition is needed
    /// because a message that is published without a subscriber is lost.
    #[track_caller]
    pub fn until_trying(&mut self, word: &str, every: Duration, mut attempt: impl FnMut()) {
        let begin = Instant::now();
        attempt();
        while begin.elapsed() < TIMEOUT {
            match self.lines.recv_timeout(every) {
                Ok(line) => {
                    let found = line.contains(word);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => attempt(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let _ = self.process.kill();
        let mut said = String::new();
        let _ = self.process.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
        panic!("no {word:?} in {:#?}; {said}", self.seen);
    }

    /// Returns whether a line with `word` was read so far.
    pub fn has_said(&self, word: &str) -> bool {
        self.seen.iter().any(|line| line.contains(word))
    }

    /// Returns the mode that the run printed last, or `None` before the first.
    pub fn mode(&mut self) -> Option<Mode> {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().rev().find_map(|line| {
            let mut words = line.split("step ").nth(1)?.split_whitespace();
            words.next()?.parse::<u32>().ok()?;
            let said = words.next()?;
            Mode::ALL.into_iter().find(|mode| format!("{mode:?}") == said)
        })
    }

    pub fn signal(&self, name: &str) {
        common::signal(&self.process, name);
    }

    /// Limits the size of every file that the run writes from here on, bytes: writes beyond it fail, as on a full disk.
    pub fn limit_files(&self, bytes: u64) {
        let (size, pid) = (format!("--fsize={bytes}"), self.process.id().to_string());
        assert!(Command::new("prlimit").args([&*size, "--pid", &pid]).status().unwrap().success());
    }

    /// Ends a run by SIGTERM and checks its exit code and that its record replays. Returns its folder.
    pub fn end(self) -> PathBuf {
        self.signal("TERM");
        let (code, folder) = self.code();
        assert_eq!(code, Some(5));
        replays(&folder);
        folder
    }

    pub fn code(mut self) -> (Option<i32>, PathBuf) {
        let begin = Instant::now();
        while begin.elapsed() < TIMEOUT {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => self.seen.push(line),
                Err(_) => break,
            }
        }
        let _ = begin.elapsed() < TIMEOUT || self.process.kill().is_ok();
        (self.process.wait().expect("it ends").code(), self.folder.clone())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Recorded {
    pub modes: Vec<Mode>,
    pub causes: Vec<Option<StopReason>>,
    pub commands: Vec<Vec<f32>>,
    e_stops: Vec<bool>,
}

pub fn recorded(folder: &Path) -> Recorded {
    let mut reader = RunReader::open(&folder.join("run.aegis")).expect("it was recorded");
    let mut record = Recorded { modes: vec![], causes: vec![], commands: vec![], e_stops: vec![] };
    while let Some(bytes) = reader.next_period().unwrap() {
        let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).expect("a period");
        record.modes.push(period.output.mode);
        record.causes.push(period.output.cause);
        record.commands.push(period.command.to_vec());
        record.e_stops.push(period.inputs.wishes.e_stop);
    }
    record
}

fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

fn events(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn replays(run: &Path) {
    common::succeeds(common::aegis().args(["replay", "--check"]).arg(run));
}

#[test]
fn an_episode_runs_to_its_end_and_replays_bit_for_bit() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let short = ("horizon_steps = 220", "horizon_steps = 48");
    let run = Run::start("robot-whole", &plant.endpoint, &[short], &[]);
    let (code, folder) = run.code();
    assert_eq!(code, Some(0));
    replays(&folder);
    let record = recorded(&folder);
    assert!(record.modes.contains(&Mode::Weak));
    let summary = summary(&folder);
    assert_eq!(summary["episodes"].as_array().unwrap().len(), 2);
    assert_eq!(summary["dropped_records"], 0);
    let recording = folder.join("run.rrd");
    let drawn = common::aegis().arg("replay").arg(&folder).arg("--rrd").arg(&recording).status();
    // The recording contains the robot, whose meshes are most of its size.
    assert!(drawn.unwrap().success() && std::fs::metadata(&recording).unwrap().len() > 1_000_000);
    let sights: Vec<_> = SnapshotReader::open(&folder.join(SNAPSHOT_FILE)).unwrap().collect();
    let of_both = [1, 2].map(|episode| sights.iter().filter(|sight| sight.episode == episode).count());
    assert!(of_both.iter().all(|count| *count > 30), "{of_both:?} looks");
    assert!(sights.iter().all(|sight| !sight.state.is_empty() && !sight.objects.is_empty()));
    assert!(sights.is_sorted_by_key(|sight| (sight.episode, sight.step)));
    // Every change of mode is an event with its fields.
    let events = events(&folder);
    let modes: Vec<&str> = events.iter().filter_map(|event| event["mode"].as_str()).collect();
    let mut changes = record.modes.clone();
    changes.dedup();
    assert_eq!(modes, changes.iter().skip(1).map(|mode| format!("{mode:?}")).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["timestamp"].is_string() && event["level"].is_string()));
    assert!(summary["weak_inference_us"]["n"].as_u64().unwrap() > 0);
    // Every file of the folder is checked, or named as not checked.
    let mut check = common::aegis();
    check.args(["replay", "--check"]).arg(&folder);
    let said = common::succeeds(&mut check);
    for words in ["equal the record's", "complete events", "snapshots of the plant", "not checked", "run.rrd"]
    {
        assert!(said.contains(words), "{words:?} is missing from: {said}");
    }
    let sights = std::fs::read(folder.join(SNAPSHOT_FILE)).unwrap();
    let mut damaged = sights.clone();
    damaged[sights.len() / 2] ^= 1;
    std::fs::write(folder.join(SNAPSHOT_FILE), damaged).unwrap();
    common::refuses(&mut check, 1, &["sights.aegis: damaged: frame"]);
    std::fs::write(folder.join(SNAPSHOT_FILE), sights).unwrap();
    // A truncated record replays up to the cut and is reported as incomplete.
    let path = folder.join("run.aegis");
    let mut bytes = std::fs::read(&path).unwrap();
    let cut = folder.join("cut.aegis");
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    replays(&path);
    // Cuts within the end mark, between the last period and the end mark, and within the last period.
    for (missing, words) in [(3, "within period"), (8, "without an end mark"), (20, "within period")] {
        std::fs::write(&cut, &bytes[..bytes.len() - missing]).unwrap();
        let mut check = common::aegis();
        check.args(["replay", "--check"]).arg(&cut);
        common::refuses(&mut check, 1, &["cut.aegis: the record ends early", words]);
        let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
        assert!(said.contains("control periods, every decision and every command the same"), "{said}");
    }
    // A changed bit is found wherever it is. The tests of the format try every bit of a smaller record.
    for byte in (0..bytes.len()).step_by(bytes.len() / 16) {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1 << (byte % 8);
        std::fs::write(&cut, damaged).unwrap();
        common::refuses(common::aegis().args(["replay", "--check"]).arg(&cut), 1, &["cut.aegis"]);
    }
    // A record with a changed command is found, with the place of the change.
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let words = ["run.aegis: period ", "damaged: frame", "at byte"];
    common::refuses(common::aegis().args(["replay", "--check"]).arg(&folder), 1, &words);
}

#[test]
fn an_e_stop_is_obeyed_in_the_period_that_hears_it_and_only_a_reset_leads_on() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run =
        Run::start("robot-estop", &plant.endpoint, &[("horizon_steps = 220", "horizon_steps = 100")], &[]);
    run.until("Weak");
    plant.operate("e-stop");
    run.until("EStop");
    run.until_trying("Idle", RESET_AGAIN, || plant.operate("reset"));
    run.until("episode 2");
    run.until("Weak");
    plant.operate("stop");
    run.until("SafeStop");
    let folder = run.end();
    let record = recorded(&folder);
    let heard = record.e_stops.iter().position(|heard| *heard).expect("it was heard");
    assert_eq!(record.modes[heard], Mode::EStop, "in that very period");
    assert!(record.commands[heard][..6].iter().all(|value| *value == 0.0));
    assert!(folder.join("black-box-1.aegis").is_file() && folder.join("black-box-2.aegis").is_file());
    replays(&folder.join("black-box-2.aegis"));
    assert_eq!(summary(&folder)["episodes"], serde_json::json!(["stopped: e_stop", "stopped: asked"]));
}

#[test]
fn a_run_whose_last_episode_was_stopped_says_so_at_its_end() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let one_start = ("    { task = 1, initial_state = 50 },\n", "");
    let mut run = Run::start("robot-last", &plant.endpoint, &[one_start], &[]);
    run.until("Weak");
    plant.operate("stop");
    run.until("SafeStop");
    // A reset opens the latch only once commands are at rest.
    run.until_trying("Idle", Duration::from_secs(1), || _ = plant.tries_to_operate("reset"));
    let (code, folder) = run.code();
    assert_eq!(code, Some(4));
    assert_eq!(summary(&folder)["episodes"], serde_json::json!(["stopped: asked"]));
    replays(&folder);
}

#[test]
fn a_signal_ends_in_a_safe_stop_and_says_so() {
    let _slot = real_time_slot();
    for signal in ["INT", "TERM", "QUIT", "HUP"] {
        let name = &format!("robot-{signal}");
        let plant = Plant::serve("tcp/127.0.0.1:0");
        let mut run = Run::start(name, &plant.endpoint, &[], &[]);
        run.until("Weak");
        run.signal(signal);
        let (code, folder) = run.code();
        assert_eq!(code, Some(5));
        let record = recorded(&folder);
        assert_eq!(record.causes.last().unwrap(), &Some(StopReason::Asked));
        assert!(record.commands.last().unwrap()[..6].iter().all(|value| *value == 0.0), "it came to rest");
        replays(&folder);
    }
}

#[test]
fn a_plant_that_is_killed_stops_the_controller_and_one_that_comes_back_waits_for_a_reset() {
    let _slot = real_time_slot();
    let mut plant = Plant::serve("tcp/127.0.0.1:0");
    let endpoint = plant.endpoint.clone();
    let mut run = Run::start("robot-killed", &endpoint, &[], &[]);
    run.until("Weak");
    plant.process.kill().unwrap();
    plant.process.wait().unwrap();
    run.until("SafeStop");
    let again = Plant::serve(&endpoint);
    // The plant's heartbeat shows that no controller has claimed it: the controller waits for a reset.
    let session = aegis_link::open(aegis_link::Role::Drive, &endpoint.parse().unwrap()).unwrap();
    assert_eq!(common::hear(&session, "aegis/cell/status").status().session, 0);
    // Until the controller has reconnected, no controller receives the reset.
    run.until_trying("Idle", Duration::from_secs(1), || _ = again.tries_to_operate("reset"));
    // No episode number is used twice in a run, even if the plant's process is new.
    run.until("episode 2");
    run.until("Weak");
    let folder = run.end();
    let record = recorded(&folder);
    let stopped = record.modes.iter().position(|mode| *mode == Mode::SafeStop).unwrap();
    assert!(matches!(
        record.causes[stopped],
        Some(StopReason::Stale | StopReason::PlantSilent | StopReason::PlantLost)
    ));
}

#[test]
fn a_controller_that_is_killed_leaves_a_plant_that_stops_by_itself() {
    use aegis_link::wire::Phase;
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run = Run::start("robot-gone", &plant.endpoint, &[], &[]);
    run.until("Weak");
    let session = aegis_link::open(aegis_link::Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    let statuses = common::hear(&session, "aegis/cell/status");
    run.process.kill().unwrap();
    while statuses.status().phase != Phase::Stopped {}
}

#[test]
fn a_second_controller_of_one_robot_does_not_start() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run = Run::start("robot-first", &plant.endpoint, &[], &[]);
    run.until("Weak");
    let folder = common::folder("robot-second");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    common::refuses(&mut command(&robot, &folder.join("run")), 1, &["refuses", "held by", "aegis run"]);
    run.until("step");
}

#[test]
fn a_robot_file_that_cannot_work_is_refused_before_anything_moves() {
    let folder = common::folder("robot-bad");
    let cases: [(&str, &str, &[&str]); 16] = [
        ("lead_steps = 1", "lead_step = 1", &["libero.toml", "lead_step", "expected"]),
        ("rate_hz = 20", "rate_hz = 5000", &["control.rate_hz", "5000", "1 to 1000"]),
        ("chunk_steps = 8", "chunk_steps = 10", &["gate.chunk_steps + control.lead_steps", "at most 10"]),
        ("max_age_ms = 150", "max_age_ms = nan", &["max_age_ms", "NaN", "above 0"]),
        (
            "jerk = 0.25 },\n    { kind = \"discrete\"",
            "jerk = 0 },\n    { kind = \"discrete\"",
            &["channels[5].jerk", "above 0"],
        ),
        ("rest = [0.0, ", "rest = [", &["rest", "6 values", "7 channels"]),
        ("rest = [0.0, ", "rest = [nan, ", &["rest[0]", "NaN", "0: a rate stands still at 0"]),
        ("rest = [0.0, ", "rest = [inf, ", &["rest[0]", "inf"]),
        ("0.0, 0.0, -1.0]", "0.0, 0.0, 5.0]", &["rest[6]", "5", "finite, -1 to 1"]),
        (
            "{ kind = \"rate\", low = -1, high = 1, acceleration = 0.5, jerk = 0.25 },\n    { kind = \"discrete\"",
            "{ kind = \"position\", low = -1, high = 1 },\n    { kind = \"discrete\"",
            &["control.start_within", "position channels"],
        ),
        ("    { kind = \"discrete\", low = -1, high = 1 },\n", "", &["control.channels: found 6", "7"]),
        (
            "connect = \"tcp/127.0.0.1:7447\"",
            "connect = \"udp/1.2.3.4:5\"",
            &["udp/1.2.3.4:5", "tcp/127.0.0.1:7447"],
        ),
        ("models/probe.json", "models/probe_vision.json", &["probe"]),
        (
            "plant = \"libero\"",
            "plant = \"my arm\"",
            &["libero.toml: plant name: found \"my arm\"", "1 to 64"],
        ),
        (
            "ask_strong = true",
            "ask_strong = true\nmetrics = \"0.0.0.0:9464\"",
            &["libero.toml: metrics: found 0.0.0.0:9464; valid is"],
        ),
        ("priority = 0", "priority = 100", &["libero.toml: real_time.priority: found 100; valid is 0 to 99"]),
    ];
    for (number, (from, to, words)) in cases.into_iter().enumerate() {
        let folder = folder.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        common::copy_of_study(&folder);
        std::fs::create_dir_all(folder.join("controller")).unwrap();
        let path = folder.join("controller/libero.toml");
        std::fs::copy(common::repository().join("controller/libero.toml"), &path).unwrap();
        common::edit(&path, from, to);
        common::refuses(&mut command(&path, &folder.join("run")), 2, words);
        assert!(!folder.join("run").exists(), "nothing half-written");
    }
    // Off loopback, plain TCP has to be allowed explicitly.
    let path = robot_file(&folder.join("network"), "tcp/192.0.2.1:7447", &[]);
    common::refuses(&mut command(&path, &folder.join("run")), 2, &["192.0.2.1", "loopback"]);
}

#[test]
fn a_plant_with_another_rate_or_another_version_is_refused() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("robot-rate");
    let path = robot_file(&folder, &plant.endpoint, &[("rate_hz = 20", "rate_hz = 50")]);
    common::refuses(&mut command(&path, &folder.join("run")), 2, &["rate_hz", "50", "20"]);
}

#[test]
fn a_disk_that_is_full_ends_the_record_and_not_the_run() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run =
        Run::start("robot-disk", &plant.endpoint, &[("horizon_steps = 220", "horizon_steps = 80")], &[]);
    run.until("Weak");
    // The limit holds for each file; the summary is smaller.
    run.limit_files(8192);
    run.until("error: the record ends here, control goes on");
    run.until("episode 2");
    run.until("Weak");
    run.until("2 episodes");
    let mut errors = run.process.stderr.take().unwrap();
    let (code, folder) = run.code();
    assert_eq!(code, Some(1));
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("error: the record ended early: "), "{said}");
    let summary = summary(&folder);
    assert!(summary["alarm"].is_string() && summary["episodes"].as_array().unwrap().len() == 2, "{summary}");
    assert!(!folder.join("reserve").exists());
    let mut check = common::aegis();
    common::refuses(check.args(["replay", "--check"]).arg(&folder), 1, &["the record ends early"]);
}

#[test]
fn a_record_that_is_removed_while_the_run_goes_on_is_said_to_be_gone() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run = Run::start("robot-record-gone", &plant.endpoint, &[], &[]);
    run.until("Weak");
    std::fs::remove_dir_all(&run.folder).unwrap();
    run.until("error: the record ends here, control goes on");
    run.signal("TERM");
    let mut errors = run.process.stderr.take().unwrap();
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("the record ended early: ") && said.contains("the record is gone"), "{said}");
    assert!(!folder.join("run.aegis").exists());
}

/// Bash script with the arguments `size mount-point folder command…`. It runs the command with a small disk at the mount point
/// and copies the folder `run` from that disk to `folder/kept`. Once `folder/fill` exists, a background process fills the disk.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99
(until [ -e "$3/fill" ]; do sleep 0.05; done; cat /dev/zero > "$2/other") 2> /dev/null &
"${@:4}"
code=$?
cp -r "$2/run" "$3/kept" || exit 98
exit $code
"#;

/// Returns a command that runs [`SMALL_DISK`] with a disk at `folder/disk`; the caller appends the command to run. Returns `None`
/// if the system does not permit mounting a file system in a user namespace.
fn small_disk(size: &str, folder: &Path) -> Option<Command> {
    let namespace = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"];
    let disk = folder.join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let mut permitted = Command::new("unshare");
    permitted.args(namespace).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(&disk).stderr(Stdio::null());
    if !permitted.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: `unshare --user --mount` is not permitted here, so there is no small disk");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).args(["bash", "-c", SMALL_DISK, "bash", size]).arg(&disk).arg(folder);
    Some(command)
}

#[test]
fn on_a_full_disk_a_stop_leaves_its_black_box_and_the_run_its_summary() {
    let _slot = real_time_slot();
    let folder = common::folder("robot-small-disk");
    let Some(mut command) = small_disk("24m", &folder) else { return };
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let aegis = env!("CARGO_BIN_EXE_aegis");
    command
        .args([aegis, "run", "--exit-on-stop", "--auto-start"])
        .arg(&robot)
        .arg("--out")
        .arg(folder.join("disk/run"));
    let mut run = Run::watch(&mut command, folder.join("kept"));
    run.until("Weak");
    std::fs::write(folder.join("fill"), "").unwrap();
    run.until("error: the record ends here, control goes on");
    plant.operate("stop");
    run.until("SafeStop");
    let mut errors = run.process.stderr.take().unwrap();
    let (code, kept) = run.code();
    assert_eq!(code, Some(4), "a stop is worse than a record that ended");
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("a safe stop ended the run; the record ended early: "), "{said}");
    let summary = summary(&kept);
    assert_eq!(summary["episodes"], serde_json::json!(["stopped: asked"]));
    assert!(summary["alarm"].as_str().unwrap().contains("No space left"), "{summary}");
    replays(&kept.join("black-box-1.aegis"));
    assert!(!kept.join("reserve").exists());
    // A run does not begin if the reserved space is not available.
    let folder = folder.join("smaller");
    let mut command = small_disk("4m", &folder).expect("it was permitted before");
    command.args([aegis, "run", "--auto-start"]).arg(&robot).arg("--out").arg(folder.join("disk/run"));
    common::refuses(&mut command, 1, &["disk/run: cannot set 8 MiB aside", "No space left", "--out"]);
    assert!(std::fs::read_dir(folder.join("kept")).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn garbage_on_every_key_is_counted_and_changes_nothing() {
    use zenoh::Wait;
    use zenoh::qos::CongestionControl;
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run =
        Run::start("robot-garbage", &plant.endpoint, &[("horizon_steps = 220", "horizon_steps = 60")], &[]);
    run.until("Weak");
    let session = aegis_link::open(aegis_link::Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    let version_1 = [&b"AEGS\x01\x00\x45\x00"[..], &[0x80]].concat();
    // An observation with a list whose length field claims four billion values.
    let boastful =
        [&b"AEGS\x03\x00\x42\x00"[..], &[0x81, 0xa5], b"state", &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
    let garbage = [vec![], b"AEGS".to_vec(), vec![7; 100_000], version_1, boastful];
    for key in ["observation", "status", "operator", "action", "pulse"] {
        for bytes in &garbage {
            // Blocking congestion control drops no message under load, because each message has to be counted.
            let put = session.put(format!("aegis/cell/{key}"), bytes.clone());
            put.congestion_control(CongestionControl::Block).wait().unwrap();
        }
    }
    run.until("2 episodes");
    let (code, folder) = run.code();
    assert_eq!(code, Some(0));
    replays(&folder);
    let summary = summary(&folder);
    assert_eq!(summary["malformed_messages"], 15, "three keys of a controller, five messages each");
    assert_eq!(summary["stops"], serde_json::json!([]));
}

/// A process of `aegis serve-policy` for the plant `cell`, killed when the test ends.
struct Backup(Child);

impl Backup {
    fn serve(card: &str, endpoint: &str) -> Self {
        let card = common::repository().join("policies/models").join(card);
        let mut process = common::aegis()
            .arg("serve-policy")
            .arg(card)
            .args(["--plant", "cell", "--connect", endpoint])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(process.stdout.as_mut().expect("it is piped")).lines();
        let ready = lines.next().expect("it says that it is ready").expect("a line");
        assert!(ready.starts_with("cell: "), "{ready}");
        Self(process)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Edits of the robot file for a remote strong policy, which takes over at the first boundary past the guard whatever the score.
const REMOTE: [(&str, &str); 3] = [
    ("[rule]\nkind = \"conformal\"", "[rule]\nkind = \"blind\"\nschedule = { at = [6] }"),
    ("[control]", "[remote_strong]\ndeadline_ms = 1000\n\n[control]"),
    // A busy machine may answer late; the response to late answers is tested elsewhere.
    ("strong_patience_steps = 4", "strong_patience_steps = 40"),
];

#[test]
fn a_strong_policy_of_another_process_drives_and_its_death_is_a_safe_stop() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut backup = Backup::serve("strong.toml", &plant.endpoint);
    let mut run = Run::start("robot-remote", &plant.endpoint, &REMOTE, &["--exit-on-stop"]);
    run.until("Strong");
    backup.0.kill().unwrap();
    run.until("SafeStop");
    let (code, folder) = run.code();
    assert_eq!(code, Some(4));
    replays(&folder);
    let record = recorded(&folder);
    assert_eq!(record.causes.last().unwrap(), &Some(StopReason::StrongLost));
    // On a busy machine an earlier episode may reach its goal with the actions that the strong policy had already sent.
    let summary = summary(&folder);
    assert_eq!(summary["episodes"].as_array().unwrap().last().unwrap(), "stopped: strong_lost");
    // The event states the reason and the policy's error text.
    let events = events(&folder);
    let failed = events.iter().find(|event| event["notice"] == "an inference of the strong policy failed");
    let failed = failed.expect("it is an event");
    assert!(failed["reason"].is_string() && failed["error"].is_string(), "{failed}");
    let strong = record.modes.iter().filter(|mode| **mode == Mode::Strong).count();
    assert!((1..=40).contains(&strong), "what it gave is used, and no more: {strong}");
}

#[test]
fn a_strong_policy_that_is_not_there_or_is_another_is_refused_at_the_start() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("robot-other");
    let robot = robot_file(&folder, &plant.endpoint, &REMOTE);
    common::refuses(&mut command(&robot, &folder.join("run")), 2, &["nobody serves", "cell/policy/strong"]);
    let _backup = Backup::serve("weak.toml", &plant.endpoint);
    common::refuses(&mut command(&robot, &folder.join("run")), 2, &["it serves model", "valid is"]);
}

#[test]
fn metrics_are_served_while_it_runs() {
    use std::io::Write;
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let metrics = [("ask_strong = true", "ask_strong = true\nmetrics = \"127.0.0.1:0\"")];
    let mut run = Run::start("robot-metrics", &plant.endpoint, &metrics, &[]);
    run.until("metrics: ");
    let line = run.seen.last().expect("it says where");
    let address = line.trim_start_matches("metrics: http://").trim_end_matches("/metrics").to_owned();
    run.until("Weak");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for line in [
        "200 OK",
        "aegis_mode{mode=\"Weak\"}",
        "aegis_periods_total{mode=\"Holding\"}",
        "aegis_lateness_seconds_bucket",
    ] {
        assert!(text.contains(line), "{line} is missing from {text}");
    }
}

#[test]
fn a_run_is_watched_and_stopped_in_a_terminal() {
    use std::io::Write;
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("robot-view");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let (out, robot) = (folder.join("run"), robot.display().to_string());
    let program = env!("CARGO_BIN_EXE_aegis");
    let run =
        format!("'{program}' run '{robot}' --out '{}' --exit-on-stop --auto-start --view", out.display());
    // `script` provides a terminal and passes the key presses to it.
    let mut terminal = Command::new("script")
        .args(["-qec", &format!("stty rows 40 cols 120; {run}"), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is there");
    let mut keys = terminal.stdin.take().expect("it is piped");
    let mut screen = terminal.stdout.take().expect("it is piped");
    let (mut shown, mut bytes, mut pressed) = (String::new(), [0; 4096], false);
    while let Ok(read) = screen.read(&mut bytes)
        && read > 0
    {
        shown += &String::from_utf8_lossy(&bytes[..read]);
        if !pressed && shown.contains("Weak") {
            keys.write_all(b"e").unwrap();
            keys.flush().unwrap();
            pressed = true;
        }
    }
    assert_eq!(terminal.wait().unwrap().code(), Some(4), "{shown}");
    for word in ["score", "boundaries", "threshold", "missed"] {
        assert!(shown.contains(word), "{word} is missing from {shown}");
    }
    assert_eq!(recorded(&out).causes.last().unwrap(), &Some(StopReason::EStop));
}

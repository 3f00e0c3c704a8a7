//! `aegis sim serve`: serves native environments as plants over Zenoh until the process is interrupted. Each name is an environment
//! of its own, on its own thread.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aegis_link::{
    Callbacks, CameraPublisher, Endpoint, Host, HostLimits, LinkError, PlantInfo, Principal, Role, TimePoint,
};
use aegis_sim::camera::{Painter, USUAL_CAMERAS};
use aegis_sim::plant::ACTION;
use aegis_sim::{Cameras, LiberoPlant, Suite};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, end_signal, failure, tell};
use crate::remote::guard;
use crate::suites::load_suite;

use super::cameras::Waiting;
use super::size;

/// Arguments of `aegis sim serve`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis sim serve --name libero\n  \
                        aegis sim serve --name one --name two --listen tcp/127.0.0.1:7448\n  \
                        aegis sim serve --listen tls/0.0.0.0:7447 --keys keys/plant\n  \
                        aegis sim serve --sample-seed 20261125, for the sampled starts of experiments/demo.toml\n\n\
                        The client chooses between lock-step and free-running; docs/reference/protocol.md has the protocol, \
                        docs/reference/security.md the use of keys.")]
pub struct ServeArguments {
    /// Suite, by its name in the cache
    #[arg(long, value_name = "NAME", default_value = "libero_spatial")]
    suite: String,
    /// Name of a plant; given several times, each is an environment of its own
    #[arg(long = "name", value_name = "NAME", default_value = "libero")]
    names: Vec<String>,
    /// Seed of the initial states beyond the recorded ones; without it there are none
    #[arg(long, value_name = "N")]
    sample_seed: Option<u64>,
    /// Zenoh endpoint to listen at; port 0 lets the system choose
    #[arg(long, value_name = "tcp|tls/HOST:PORT", default_value = "tcp/127.0.0.1:7447")]
    listen: Endpoint,
    /// Folder of the plant's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Allow an endpoint on the network over plain TCP, through which anyone can read and move the plant
    #[arg(long)]
    allow_plaintext_network: bool,
    /// Height and width of the pictures of both cameras, for controllers that request them; without it there are none
    #[arg(long, value_name = "HxW", value_parser = size)]
    pictures: Option<[u32; 2]>,
    /// Pictures per second of each camera of a free-running plant; fewer where drawing takes longer
    #[arg(long, value_name = "HZ", default_value_t = 10.0, value_parser = rate, requires = "pictures")]
    frame_rate: f64,
    /// Send the pictures of a free-running plant as JPEG of this quality, 1 to 100; uncompressed without it
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u8).range(1..=100), requires = "pictures")]
    jpeg: Option<u8>,
    /// Control periods per second, by the wall clock, of a free-running plant; the simulated time of a control step stays
    /// the same. Without it, the simulator's own rate
    #[arg(long, value_name = "HZ", value_parser = rate)]
    rate: Option<f64>,
    /// Time without an action after which a free-running plant stops, milliseconds, 1 to 60000
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    command_timeout: u64,
}

/// Runs `aegis sim serve`.
pub fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    let mut names = arguments.names.clone();
    names.sort();
    let whose = (Principal::Plant, &names[..]);
    let guarded =
        guard(&arguments.listen, arguments.keys.as_deref(), arguments.allow_plaintext_network, whose)?;
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(failure(
            Exit::Input,
            format!("--name {}: given twice; valid are different names", twice[0]),
        ));
    }
    let suite = load_suite(&arguments.suite, arguments.sample_seed)?;
    let info = info(&suite, arguments.rate)?;
    let cameras = arguments.pictures.map(|[height, width]| Cameras::new(&USUAL_CAMERAS, width, height));
    let cameras = cameras.transpose().or_exit(Exit::Input)?;
    let limits = HostLimits {
        command_timeout: Duration::from_millis(arguments.command_timeout),
        ..HostLimits::default()
    };
    let stop = end_signal()?;
    let session = aegis_link::open_guarded(Role::Serve, &guarded, &names).or_exit(Exit::Failed)?;
    let endpoint = aegis_link::listening(&session).or_exit(Exit::Failed)?;
    let serve_one = |name: &str| -> Result<(), LinkError> {
        let host = Host::new(aegis_link::instance(), info.clone(), limits);
        let mut plant = match &cameras {
            Some(cameras) => LiberoPlant::with_cameras(suite.clone(), cameras.clone()),
            None => LiberoPlant::new(suite.clone()),
        };
        // A closed standard output does not end the server, so an error of this line is ignored.
        let ready = || drop(writeln!(std::io::stdout(), "{name}: {} at {endpoint}", suite.name()));
        let warn = |text: &str| tell!("warning: {name}: {text}");
        let drawing = cameras.clone().map(|cameras| Painter::new(suite.clone(), cameras));
        let drawing = drawing
            .map(|painter| CameraPublisher::new(&session, name, arguments.jpeg).map(|to| (painter, to)))
            .transpose()?;
        let control_rate = 1.0 / info.period.as_secs_f64();
        let waiting = Waiting::new(arguments.frame_rate, control_rate);
        let moved = |moment: &TimePoint, plant: &LiberoPlant| {
            if cameras.is_some() {
                waiting.put(moment, || plant.picture_state());
            }
        };
        std::thread::scope(|scope| {
            if let Some((painter, publisher)) = drawing {
                scope.spawn(|| waiting.draw(painter, publisher, &stop, warn));
            }
            let callbacks = Callbacks { ready, warn, moved, idle: |_: &mut LiberoPlant| () };
            let served = aegis_link::serve_with(&session, name, host, &mut plant, &stop, callbacks);
            // When one plant is no longer served, the others are stopped too.
            stop.store(true, Ordering::Relaxed);
            served
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| serve_one(name))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(served) => served.or_exit(Exit::Failed),
            Err(_) => Err(failure(Exit::Failed, "the thread that serves a plant panicked")),
        })
    })
}

/// Parses a control rate in hertz, from 1 to 1000, as controllers accept it.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "valid is a number".to_owned())?;
    if (1.0..=1000.0).contains(&rate) { Ok(rate) } else { Err("valid is 1 to 1000".into()) }
}

fn info(suite: &Suite, rate: Option<f64>) -> Result<PlantInfo, Failure> {
    let task = suite.task(0).ok_or_else(|| {
        failure(Exit::Setup, format!("{}: found no task; valid is a suite with one or more", suite.name()))
    })?;
    Ok(PlantInfo {
        action_width: ACTION as u32,
        tasks: u32::try_from(suite.task_count()).or_exit(Exit::Setup)?,
        period: Duration::from_secs_f64(1.0 / rate.unwrap_or(task.control_freq)),
        // An action of zeros moves nothing and leaves the fingers as they are.
        stand_still: vec![0.0; ACTION],
    })
}

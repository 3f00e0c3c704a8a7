//! `aegis ros2 serve`: serves a ROS 2 robot as a plant, until the process is told to stop. It is a node to the robot, and needs no
//! ROS installation.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use aegis_link::{Endpoint, HostLimits, LinkError, Principal, Role};
use aegis_ros2::{RosFile, ServeError};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, robot_end_signal, tell};
use crate::remote::guard;

/// Arguments of `aegis ros2 serve`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis ros2 serve sim_bridge/ros2/arm.toml\n  \
                        aegis ros2 serve arm.toml --listen tls/0.0.0.0:7448 --keys keys/plant\n\n\
                        Start it on the robot's machine, beside its router: `ros2 run rmw_zenoh_cpp rmw_zenohd`. Every node of the \
                        robot runs with RMW_IMPLEMENTATION=rmw_zenoh_cpp. docs/guide/ros2.md leads from there to a supervised \
                        run.\n\n\
                        Every signal that ends or suspends a process stops the robot and ends the server, Ctrl-Z too; after \
                        SIGKILL and SIGSTOP nothing stops it.\n\n\
                        Exit codes: 0 ended by a signal; 1 the router or the link failed, a topic has another type than the \
                        file says, or the robot has not come to rest at the end; 2 the file is not valid.")]
pub struct ServeArguments {
    /// The robot's file: its topics, joints and bounds
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Zenoh endpoint to listen at, for controllers; port 0 lets the system choose
    #[arg(long, value_name = "tcp|tls/HOST:PORT", default_value = "tcp/127.0.0.1:7448")]
    listen: Endpoint,
    /// Folder of the plant's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Allow endpoints off this machine, over plain TCP: anybody there can read and move the robot
    #[arg(long)]
    allow_plaintext_network: bool,
    /// Time without an action after which the robot is stopped, milliseconds, 1 to 60000
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    command_timeout: u64,
}

/// Runs `aegis ros2 serve`.
pub fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    let file = RosFile::load(&arguments.file).or_exit(Exit::Input)?;
    let names = [file.plant.clone()];
    let allowed = arguments.allow_plaintext_network;
    let guarded =
        guard(&arguments.listen, arguments.keys.as_deref(), allowed, (Principal::Plant, &names[..]))?;
    let named = |reason: String| failure(Exit::Input, format!("{}: {reason}", arguments.file.display()));
    aegis_ros2::schema::schema(&file).map_err(|error| named(error.to_string()))?;
    let router: Endpoint =
        file.router.parse().map_err(|error: LinkError| named(format!("router: {error}")))?;
    let router = router.guard(allowed, None).map_err(|error| named(format!("router: {error}")))?;
    let limits = HostLimits {
        command_timeout: Duration::from_millis(arguments.command_timeout),
        ..HostLimits::default()
    };
    let stop = robot_end_signal()?;
    let robot = aegis_link::open_guarded(Role::Drive, &router, &[]).map_err(|error| {
        let place = &file.router;
        let reason = match error {
            LinkError::Drive { reason, .. } => reason,
            other => other.to_string(),
        };
        let valid = "valid is the robot's router, `ros2 run rmw_zenoh_cpp rmw_zenohd`";
        failure(Exit::Failed, format!("router {place}: cannot connect: {reason}; {valid}"))
    })?;
    let link = aegis_link::open_guarded(Role::Serve, &guarded, &names).or_exit(Exit::Failed)?;
    let endpoint = aegis_link::listening(&link).or_exit(Exit::Failed)?;
    let plant = file.plant.clone();
    // A closed standard output does not end the server, so an error of this line is ignored. A terminal may keep a process in the
    // background from writing, for as long as it lives; so no thread that serves writes it.
    let domain = file.domain_id;
    let ready = || {
        let line = format!("{plant}: ROS 2 robot of domain {domain} at {endpoint}");
        drop(std::thread::spawn(move || drop(writeln!(std::io::stdout(), "{line}"))));
    };
    let warned = plant.clone();
    let warn = move |text: &str| tell!("warning: {warned}: {text}");
    match aegis_ros2::serve(&file, (&robot, &link), limits, &stop, ready, warn) {
        Ok(()) => Ok(()),
        Err(ServeError::Link(error)) => Err(error).or_exit(Exit::Failed),
        Err(error @ ServeError::Type(_)) => Err(error).or_exit(Exit::Failed),
    }
}

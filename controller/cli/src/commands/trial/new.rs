//! `aegis trial new`: writes a plan of a trial to begin from.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::{Exit, Failure, failure, say};
use crate::files::{check_new, make_folder, write};

/// The template.
const TEMPLATE: &str = include_str!("template.toml");
/// Robot file of the template.
const ROBOT: &str = "robot.toml";

/// Arguments of `aegis trial new`.
#[derive(Args)]
#[command(after_help = "Example: aegis trial new --robot robot.toml --out trial.toml")]
pub struct NewArguments {
    /// Robot file that the trial runs with; what `aegis run` takes
    #[arg(long, value_name = "FILE")]
    robot: PathBuf,
    /// Where the plan goes; a file that is there already is kept
    #[arg(long, value_name = "FILE", default_value = "trial.toml")]
    out: PathBuf,
}

/// Runs `aegis trial new`.
pub fn run(NewArguments { robot, out }: &NewArguments) -> Result<(), Failure> {
    check_new(out)?;
    let real = |path: &Path| {
        let named = |error| failure(Exit::Input, format!("{}: cannot read: {error}", path.display()));
        path.canonicalize().map_err(named)
    };
    let robot = real(robot)?;
    let folder = out.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    make_folder(folder)?;
    let written = match robot.strip_prefix(real(folder)?) {
        Ok(inside) => inside,
        Err(_) => &robot,
    };
    let quoted = toml::Value::String(written.display().to_string()).to_string();
    write(out, TEMPLATE.replace(&format!("\"{ROBOT}\""), &quoted).as_bytes())?;
    say!("{}: settle its numbers, then `aegis trial register {}`", out.display(), out.display());
    Ok(())
}

//! `aegis completions` and `aegis manual`: make shell completions and manual pages from the definition of the command line.
//! No text is written by hand, so no text can differ from `--help`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::make_folder;

/// Arguments of `aegis completions`.
#[derive(Args)]
#[command(after_help = "Example: aegis completions bash > ~/.local/share/bash-completion/completions/aegis")]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `aegis manual`.
#[derive(Args)]
#[command(after_help = "Example: aegis manual --out ~/.local/share/man/man1 && man aegis-run")]
pub struct ManualArguments {
    /// Folder for the pages, one for each verb
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completion script of a shell.
pub fn completions(arguments: &CompletionsArguments, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "aegis", &mut script);
    say!("{}", String::from_utf8(script).or_exit(Exit::Failed)?.trim_end());
    Ok(())
}

/// Writes a manual page for each verb to a folder.
pub fn manual(arguments: &ManualArguments, command: Command) -> Result<(), Failure> {
    make_folder(&arguments.out)?;
    clap_mangen::generate_to(command, &arguments.out).map_err(|error| {
        failure(Exit::Failed, format!("{}: cannot write: {error}", arguments.out.display()))
    })?;
    say!("{}: manual pages, the first is aegis.1", arguments.out.display());
    Ok(())
}

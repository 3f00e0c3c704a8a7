//! `aegis experiment merge`: merges the parts that several machines ran into one store.

use std::path::PathBuf;

use aegis_experiments::data::merge::merge;
use aegis_experiments::run::precondition;
use clap::Args;

use super::{Registered, keys_of, read_store, registration_id};
use crate::exit::{Exit, Failure, OrExit, say};
use crate::world::World;

/// Arguments of `aegis experiment merge`.
#[derive(Args)]
#[command(after_help = "Example: aegis experiment merge --out runs/study runs/part-1 runs/part-2")]
pub struct MergeArguments {
    #[command(flatten)]
    registered: Registered,
    /// Folder of the merged store; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folders of the parts, as `aegis experiment run --shard` made them
    #[arg(required = true)]
    parts: Vec<PathBuf>,
}

/// Runs `aegis experiment merge`.
pub fn run(arguments: &MergeArguments) -> Result<(), Failure> {
    let (plan, lock) = arguments.registered.take_over()?;
    let MergeArguments { out, parts, .. } = arguments;
    let world = World::of(&plan)?;
    let before = precondition::keys(&plan, world.task_count());
    let keys = keys_of(&plan, &world);
    for part in parts {
        read_store(part, &lock)?;
        if before.is_some() {
            read_store(&part.join(precondition::FOLDER), &lock)?;
        }
    }
    let sets = merge(out, parts, registration_id(&lock), &keys, before.as_deref()).or_exit(Exit::Input)?;
    say!("{}: {sets} sets of twins from {} parts", out.display(), parts.len());
    Ok(())
}

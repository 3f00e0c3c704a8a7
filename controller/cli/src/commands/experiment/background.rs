//! Reads the files behind a report's statements: cards, task instructions, and the versions of the suite's packages. Callers have
//! checked all of these files against the registration.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::report::Background;
use aegis_policies::ModelCard;
use aegis_probe::file::ProbeFile;
use aegis_probe::origin::Statement;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::text;
use crate::origins;
use crate::study_loader::probe;
use crate::world::World;

/// The parts of a [`Background`] that are read from files.
pub struct Read {
    /// The probe of the plan.
    pub probe: ProbeFile,
    cards: BTreeMap<String, toml::Table>,
    reads: BTreeMap<String, String>,
    tasks: Vec<(usize, String)>,
    packages: BTreeMap<String, String>,
    statements: Vec<Statement>,
}

impl Read {
    /// Reads the files that a plan names.
    pub fn of(plan: &Plan, lock: &Lock) -> Result<Self, Failure> {
        let world = World::of(plan)?;
        let tasks = plan.task_list(world.task_count());
        let words = tasks.into_iter().filter_map(|task| Some((task, world.instruction(task)?.to_owned())));
        let cards = [("weak", &plan.models.weak), ("strong", &plan.models.strong)];
        let reads = cards
            .into_iter()
            .map(|(role, path)| Ok((role.to_owned(), ModelCard::load(path).or_exit(Exit::Input)?.reads())));
        let reads = reads.collect::<Result<_, Failure>>()?;
        let cards = cards.into_iter().map(|(role, path)| Ok((role.to_owned(), card(path)?)));
        let probe = probe(&plan.models)?;
        Ok(Self {
            statements: origins::sealed(plan, lock, &probe)?,
            probe,
            cards: cards.collect::<Result<_, Failure>>()?,
            reads,
            tasks: words.collect(),
            packages: world.packages()?,
        })
    }

    /// Returns the statements of a report beside its figures.
    pub fn background<'a>(
        &'a self,
        plan: &'a Plan,
        lock: &'a Lock,
        provenance: &'a [String],
    ) -> Background<'a> {
        let Self { probe, cards, reads, tasks, packages, statements } = self;
        Background { plan, lock, probe, cards, reads, tasks, packages, statements, provenance }
    }
}

/// Reads all fields of a card, including those that this program does not use.
fn card(path: &Path) -> Result<toml::Table, Failure> {
    toml::from_str(&text(path)?)
        .map_err(|error| failure(Exit::Input, format!("{}: not a model card: {error}", path.display())))
}

//! Reads from which starts the files of a plan state that they came, and refuses files from a start that the plan judges
//! on. Reads cards, probe and `origins.toml`. `aegis_probe::origin` defines when a start is shared.

use std::path::Path;

use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_policies::card::ModelCard;
use aegis_probe::Models;
use aegis_probe::file::ProbeFile;
use aegis_probe::origin::{Judged, Origin, Statement, Use, check, check_parts, check_suites};
use aegis_probe::origin_file::{ORIGINS, Origins, of_card, resolved};
use aegis_sim::published;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::{digest, text};
use crate::scene_digests::installed;
use crate::suites::installed_suites;
use crate::world::World;

/// Returns what a model card states about the starts of the model's training. Where the card states none, the statements of
/// the `origins.toml` beside it are returned instead. `name` is the card's name in statements and errors.
pub fn of_model(path: &Path, name: &str) -> Result<Vec<Statement>, Failure> {
    let card: toml::Table = toml::from_str(&text(path)?)
        .map_err(|error| failure(Exit::Input, format!("{}: not a model card: {error}", path.display())))?;
    let own = of_card(name, &card).map_err(|error| failure(Exit::Input, error))?;
    let card = ModelCard::load(path).or_exit(Exit::Input)?;
    let found = beside(path, name, &card.sha256, |_| Use::Training)?;
    check_elsewhere(path, &[&card.weights_path()], &card.sha256, &found)?;
    Ok(resolved(own, found))
}

/// Returns what a probe file states about the starts of its rollouts. Where the file states none, the statements of the
/// `origins.toml` beside it are returned instead. `name` is the file's name in statements.
pub fn of_probe(path: &Path, name: &str, probe: &ProbeFile) -> Result<Vec<Statement>, Failure> {
    let sha256 = digest(path)?;
    let found = beside(path, name, &sha256, Use::in_probe)?;
    check_elsewhere(path, &[], &sha256, &found)?;
    Ok(resolved(probe.statements(name).into(), found))
}

/// Refuses a file about which an `origins.toml` in another folder has a statement: in that of one of `parts`, or in that of a
/// file to which a link leads. A registration freezes the one beside the file itself, so the statement would be lost.
fn check_elsewhere(path: &Path, parts: &[&Path], sha256: &str, found: &[Statement]) -> Result<(), Failure> {
    let here = path.parent().map(Path::to_owned);
    let linked = [path].into_iter().chain(parts.iter().copied()).filter_map(|one| one.canonicalize().ok());
    let others = parts.iter().map(|part| part.to_path_buf()).chain(linked);
    for other in others.filter(|other| found.is_empty() && other.parent() != here.as_deref()) {
        if !beside(&other, "", sha256, |_| Use::Training)?.is_empty() {
            let place = other.with_file_name(ORIGINS);
            let message = format!(
                "{}: found a statement of where it came from in {}; valid is that file beside it: copy {ORIGINS} there",
                path.display(),
                place.display()
            );
            return Err(failure(Exit::Input, message));
        }
    }
    Ok(())
}

/// Returns what the `origins.toml` beside a file states about the bytes with the digest `sha256`; empty where there is no
/// such file. `name` is the file's name in statements; `used` gives the use of a part from the part's name.
pub fn beside(
    path: &Path,
    name: &str,
    sha256: &str,
    used: fn(&str) -> Use,
) -> Result<Vec<Statement>, Failure> {
    let origins = Origins::beside(path).or_exit(Exit::Input)?;
    Ok(origins.map_or(Vec::new(), |origins| origins.of(name, sha256, used)))
}

/// Returns what both policies' cards state, under the cards' resolved paths.
pub fn of_policies(models: &Models) -> Result<Vec<Statement>, Failure> {
    let said = [&models.weak, &models.strong].map(|path| of_model(path, &path.display().to_string()));
    Ok(said.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// Roles under which a lock records the `origins.toml` beside the weak card, the strong card and the probe.
pub const ROLES: [&str; 3] = ["weak origins", "strong origins", "probe origins"];

/// Returns what the files of a registered plan state, under the names that the lock has for the files. The contents of an
/// `origins.toml` count only where the lock records that file.
pub fn sealed(plan: &Plan, lock: &Lock, probe: &ProbeFile) -> Result<Vec<Statement>, Failure> {
    let models = &lock.frozen.models;
    let name = |role: &'static str| models.get(role).map_or(role, |file| file.file.as_str());
    let own = |card: &Path, role: &'static str| -> Result<Vec<Statement>, Failure> {
        let card = toml::from_str(&text(card)?).or_exit(Exit::Input)?;
        of_card(name(role), &card).map_err(|error| failure(Exit::Input, error))
    };
    let mut found = Vec::new();
    for (role, card, path) in
        [(ROLES[0], "weak card", &plan.models.weak), (ROLES[1], "strong card", &plan.models.strong)]
    {
        found.extend(match models.contains_key(role) {
            true => of_model(path, name(card))?,
            false => own(path, card)?,
        });
    }
    found.extend(match models.contains_key(ROLES[2]) {
        true => of_probe(&plan.models.probe, name("probe"), probe)?,
        false => probe.statements(name("probe")).into(),
    });
    Ok(found)
}

/// Returns the statements, with the digest of its scenes for each suite of upstream that states none, where the plan's suite is
/// not one of upstream: it may be a copy under another name.
///
/// # Errors
/// A suite whose scenes are not on this machine, so its digest is unknown.
fn with_scenes(statements: &[Statement], plan: &Plan) -> Result<Vec<Statement>, Failure> {
    let mut found = statements.to_vec();
    let is_published = |suite: &str| published::names().any(|name| name == suite);
    if is_published(&plan.suite) {
        return Ok(found);
    }
    for Statement { file, part, origin, .. } in &mut found {
        let Some(origin) = origin.as_mut().filter(|origin| origin.suite_sha256.is_none()) else { continue };
        if is_published(&origin.suite) {
            let digests = installed(&origin.suite).map_err(|error| {
                let suite = &plan.suite;
                error.prefixed(format_args!(
                    "{file}: {part}: origin.suite: whether suite {suite} has the scenes of {} cannot be told",
                    origin.suite
                ))
            })?;
            origin.suite_sha256 = Some(digests.content_sha256());
        }
    }
    Ok(found)
}

/// Refuses statements that cannot be right, and statements that name a start which the plan judges on: a start of its
/// confirmation range, of its precondition's range, or of the range `also`, which the calling verb judges on. The starts
/// that thresholds were set on may be in the precondition's range.
pub fn check_ranges(
    (path, plan): (&Path, &Plan),
    world: &World,
    statements: &[Statement],
    also: Option<&str>,
) -> Result<(), Failure> {
    let tasks = plan.task_list(world.task_count());
    let recorded = tasks.iter().filter_map(|task| world.initial_state_count(*task)).max().unwrap_or(0);
    let refused =
        |error: &dyn std::fmt::Display| failure(Exit::Input, format!("{}: {error}", path.display()));
    let here = installed_suites();
    let mut known: Vec<&str> = here.iter().map(String::as_str).chain([plan.suite.as_str()]).collect();
    published::names().for_each(|name| known.push(name));
    known.sort_unstable();
    known.dedup();
    check_suites(statements, &known).map_err(|error| refused(&error))?;
    check_parts(statements).map_err(|error| refused(&error))?;
    // A suite that setup did not bring may be a copy of one that it did.
    let statements = &with_scenes(statements, plan)?;
    // Digesting the scenes reads megabytes. The digest is needed only where a statement names another suite and gives a
    // digest of its scenes, which may be the plan's scenes under another name.
    let aliased = |origin: &Origin| origin.suite != plan.suite && origin.suite_sha256.is_some();
    let compared = statements.iter().filter_map(|statement| statement.origin.as_ref()).any(aliased);
    let suite_sha256 = if compared { Some(world.scenes()?.content_sha256()) } else { None };
    let named = plan.ranges.named();
    let judged = |name: &str| {
        let found = named.iter().find(|(known, _)| *known == name);
        found.map(|(range, share)| Judged {
            range,
            suite: &plan.suite,
            suite_sha256: suite_sha256.as_deref(),
            tasks: &tasks,
            task_count: world.task_count(),
            share: *share,
            sample_seed: plan.sample_seed,
            recorded,
        })
    };
    let ranges: Vec<Judged<'_>> = ["confirmation"].into_iter().chain(also).filter_map(judged).collect();
    check(statements, &ranges).map_err(|error| refused(&error))?;
    let Some(precondition) = plan.precondition() else { return Ok(()) };
    let ranking: Vec<Statement> =
        statements.iter().filter(|statement| statement.used != Use::Thresholds).cloned().collect();
    let range: Vec<Judged<'_>> = judged(precondition.range.name()).into_iter().collect();
    check(&ranking, &range).map_err(|error| refused(&error))
}

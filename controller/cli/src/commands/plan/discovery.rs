//! Finds the plan and all files that a run of it reads on this machine, for comparison with a lock. Each file is opened far enough
//! to know that a run could begin with it.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::{Frozen, NamedFile};
use aegis_policies::card::{ExternalFile, ModelCard};
use aegis_probe::file::ProbeFile;
use aegis_probe::origin::{Statement, Use};
use aegis_probe::origin_file::ORIGINS;
use aegis_probe::rules::RuleSettings;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::digest;
use crate::library;
use crate::origins::{ROLES, beside, check_ranges, of_policies, of_probe};
use crate::study_loader::{check_chunks, check_tasks, onnx_library, probe};
use crate::world::World;

/// Reads the plan, and digests every file that the plan names.
pub fn found(path: &Path) -> Result<(Plan, Frozen), Failure> {
    let plan = Plan::read(path).or_exit(Exit::Input)?;
    let located = plan.clone().located(path);
    let world = World::checked(&located, path)?;
    let frozen = Frozen::new(
        &plan,
        versions()?,
        {
            let (written, there) = (&plan.models, &located.models);
            models(
                (&written.weak, &there.weak),
                Some((&written.strong, &there.strong)),
                (&written.probe, &there.probe),
            )?
        },
        world.scenes()?,
    );
    Ok((plan, frozen.or_exit(Exit::Input)?))
}

/// Returns the versions of the program, and of the libraries for physics (MuJoCo) and inference (ONNX Runtime).
pub fn versions() -> Result<BTreeMap<String, String>, Failure> {
    let onnx = onnx_library()?;
    let mujoco = library::mujoco().ok_or_else(|| failure(Exit::Setup, "mujoco: not linked"))?;
    let mut found = BTreeMap::from([("aegis".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    for (name, path) in [("mujoco", &mujoco), ("onnx runtime", &onnx)] {
        let advice = |error| format!("{}: {error}; run `cargo xtask setup`", path.display());
        let version = library::version_of(path).map_err(|error| failure(Exit::Setup, advice(error)))?;
        found.insert(name.into(), version);
    }
    Ok(found)
}

/// A file: its path as written, and its resolved path.
pub type Place<'a> = (&'a Path, &'a Path);

/// Digests the cards, the weights with their external files, the probe, and each `origins.toml`, by role. `strong` is `None` where no
/// policy is the backup.
pub fn models(
    weak: Place<'_>,
    strong: Option<Place<'_>>,
    probe: Place<'_>,
) -> Result<BTreeMap<String, NamedFile>, Failure> {
    let mut found = BTreeMap::new();
    let mut add = |role: String, written: &Path, path: &Path| {
        let file = NamedFile { file: written.display().to_string(), sha256: digest(path)? };
        found.insert(role, file);
        Ok::<_, Failure>(())
    };
    // An `origins.toml` is part of a registration where it states the origin of a registered file.
    let origins = |path: &Path, sha256: &str| {
        let said = beside(path, "", sha256, |_| Use::Training)?;
        Ok::<_, Failure>((!said.is_empty()).then(|| path.with_file_name(ORIGINS)))
    };
    let [by_weak, by_strong, by_probe] = ROLES;
    let roles = [("weak", by_weak, Some(weak)), ("strong", by_strong, strong)];
    for (role, origins_role, place) in roles {
        let Some((written, path)) = place else { continue };
        let card = ModelCard::load(path).or_exit(Exit::Input)?;
        add(format!("{role} card"), written, path)?;
        let weights = written.with_file_name(&card.file);
        // The weights of a served policy are in another process; the card states the digest that the process reports.
        if card.server.is_none() {
            add(format!("{role} weights"), &weights, &card.weights_path())?;
        }
        for ExternalFile { file, .. } in &card.external {
            let place = card.weights_path().with_file_name(file);
            add(format!("{role} external data {file}"), &weights.with_file_name(file), &place)?;
        }
        if let Some(place) = origins(path, &card.sha256)? {
            add(origins_role.into(), &written.with_file_name(ORIGINS), &place)?;
        }
    }
    let (written, there) = probe;
    add("probe".into(), written, there)?;
    if let Some(place) = origins(there, &digest(there)?)? {
        add(by_probe.into(), &written.with_file_name(ORIGINS), &place)?;
    }
    Ok(found)
}

/// Checks the models' weights and chunks, and that the probe was fitted on the weak model; returns the probe. A plan that
/// cannot run is not registered.
pub fn check_models(path: &Path, located: &Plan) -> Result<ProbeFile, Failure> {
    for card in [&located.models.weak, &located.models.strong] {
        ModelCard::load(card).and_then(|card| card.check_weights()).or_exit(Exit::Input)?;
    }
    let world = World::checked(located, path)?;
    check_chunks(path, located, &world)?;
    check_tasks(path, located, &world)?;
    probe(&located.models)
}

/// Refuses a probe that was fitted with settings other than the plan's, and arms whose gate can never fire with this probe.
pub fn check_probe(path: &Path, located: &Plan, probe: &ProbeFile) -> Result<(), Failure> {
    let written = |settings| serde_json::to_value(settings).or_exit(Exit::Failed);
    let (fitted, said) = (written(&probe.settings)?, written(&located.fit)?);
    let fields = said.as_object().into_iter().flatten();
    if let Some((field, valid)) =
        fields.into_iter().find(|(field, valid)| fitted.get(field.as_str()) != Some(valid))
    {
        let found = fitted.get(field).map_or("nothing".into(), ToString::to_string);
        let advice = format!("fit it again with `aegis probe fit --plan {}`", path.display());
        let (file, plan) = (located.models.probe.display(), path.display());
        let message = format!(
            "{file}: settings.{field}: found {found}; valid is {valid}, fit.{field} of {plan}; {advice}"
        );
        return Err(failure(Exit::Input, message));
    }
    let whole =
        || ModelCard::load(&located.models.weak).or_exit(Exit::Input).map(|card| card.chunk.steps() as u64);
    let fitted = probe.chunk_steps.map_or_else(whole, |steps| Ok(u64::from(steps)))?;
    if fitted != u64::from(located.gate.chunk_steps) {
        let (plan, steps, file) = (path.display(), located.gate.chunk_steps, located.models.probe.display());
        let message = format!(
            "{plan}: gate.chunk_steps: found {steps}; valid is {fitted}, at which the thresholds of {file} were set, or a probe that \
             `aegis probe fit --plan {plan}` fits"
        );
        return Err(failure(Exit::Input, message));
    }
    let Some(study) = &located.study else { return Ok(()) };
    let rule = |rule: &RuleSettings| rule.rule(&probe.calibration, probe.settings.trend_window);
    study
        .check_fires(&located.rule, &located.gate, rule)
        .map_err(|error| failure(Exit::Input, format!("{}: {error}", path.display())))
}

/// Refuses a plan whose study could not answer its question: one with the same model as weak and strong policy, and one
/// that [`Plan::check_answers`] refuses.
pub fn check_answers(path: &Path, located: &Plan) -> Result<(), Failure> {
    let [weak, strong] = [&located.models.weak, &located.models.strong];
    let model = |card: &Path| Ok::<_, Failure>(ModelCard::load(card).or_exit(Exit::Input)?.model_sha256());
    if model(weak)? == model(strong)? {
        let message = format!(
            "{}: models.strong: found {}, whose model is that of the weak policy, {}; valid is the card of another model",
            path.display(),
            strong.display(),
            weak.display()
        );
        return Err(failure(Exit::Input, message));
    }
    let tasks = located.task_list(World::checked(located, path)?.task_count());
    let sets = located.ranges.confirmation.keys(tasks).len();
    located.check_answers(sets).map_err(|error| failure(Exit::Input, format!("{}: {error}", path.display())))
}

/// Refuses files that state a start on which the plan is judged as their origin. Returns the statements of all files.
pub fn check_origins(path: &Path, located: &Plan, probe: &ProbeFile) -> Result<Vec<Statement>, Failure> {
    let file = &located.models.probe;
    let said = [of_policies(&located.models)?, of_probe(file, &file.display().to_string(), probe)?].concat();
    check_ranges((path, located), &World::checked(located, path)?, &said, None)?;
    Ok(said)
}

//! What a run of a plan reads, as it is on this machine: the other side of a lock.
//! Everything is opened far enough to know that a run could begin with it.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_experiments::files;
use aegis_experiments::origin::{Statement, Use};
use aegis_experiments::origin_file::ORIGINS;
use aegis_experiments::plan::Plan;
use aegis_experiments::probe::file::ProbeFile;
use aegis_experiments::probe::rules::RuleSettings;
use aegis_experiments::registration::{Frozen, NamedFile, Scenes};
use aegis_policies::card::{ExternalFile, ModelCard};

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::digest;
use crate::library;
use crate::origins::{ROLES, beside, check_ranges, of_policies, of_probe};
use crate::study_loader::{check_chunks, onnx_library, probe, scenes_folder, suite_of};

/// Reads the plan and takes the digest of all that it names.
pub fn found(path: &Path) -> Result<(Plan, Frozen), Failure> {
    let plan = Plan::read(path).or_exit(Exit::Input)?;
    let located = plan.clone().located(path);
    suite_of(&plan, path)?;
    let frozen = Frozen::new(&plan, versions()?, models(&plan, &located)?, scenes(&plan.suite)?);
    Ok((plan, frozen.or_exit(Exit::Input)?))
}

/// Versions of the program and of the libraries that physics and inference come from.
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

/// Cards, weights with what they keep in other files, and probe. `plan` has their paths as written, `located` those to read from.
fn models(plan: &Plan, located: &Plan) -> Result<BTreeMap<String, NamedFile>, Failure> {
    let mut found = BTreeMap::new();
    let mut add = |role: String, written: &Path, path: &Path| {
        let file = NamedFile { file: written.display().to_string(), sha256: digest(path)? };
        found.insert(role, file);
        Ok::<_, Failure>(())
    };
    // `origins.toml` is part of a registration where it says something of a file that is.
    let origins = |path: &Path, sha256: &str| {
        let said = beside(path, "", sha256, |_| Use::Training)?;
        Ok::<_, Failure>((!said.is_empty()).then(|| path.with_file_name(ORIGINS)))
    };
    let (written, there) = (&plan.models, &located.models);
    let [weak, strong, by_probe] = ROLES;
    for (role, origins_role, written, path) in
        [("weak", weak, &written.weak, &there.weak), ("strong", strong, &written.strong, &there.strong)]
    {
        let card = ModelCard::load(path).or_exit(Exit::Input)?;
        add(format!("{role} card"), written, path)?;
        let weights = written.with_file_name(&card.file);
        add(format!("{role} weights"), &weights, &card.weights_path())?;
        for ExternalFile { file, .. } in &card.external {
            let place = card.weights_path().with_file_name(file);
            add(format!("{role} external data {file}"), &weights.with_file_name(file), &place)?;
        }
        if let Some(place) = origins(path, &card.sha256)? {
            add(origins_role.into(), &written.with_file_name(ORIGINS), &place)?;
        }
    }
    add("probe".into(), &written.probe, &there.probe)?;
    if let Some(place) = origins(&there.probe, &digest(&there.probe)?)? {
        add(by_probe.into(), &written.probe.with_file_name(ORIGINS), &place)?;
    }
    Ok(found)
}

/// The files of a suite.
pub fn scenes(suite: &str) -> Result<Scenes, Failure> {
    let folder = scenes_folder(suite)?;
    let named = |error| failure(Exit::Setup, format!("{}: cannot read: {error}", folder.display()));
    let files = files::below(&folder).map_err(named)?;
    let digests = files.into_iter().map(|(name, path)| Ok((name, digest(&path)?)));
    Ok(Scenes::new(suite.to_owned(), digests.collect::<Result<_, Failure>>()?))
}

/// Refuses models and a probe that do not belong together: nobody registers what cannot run.
pub fn check_models(path: &Path, located: &Plan) -> Result<ProbeFile, Failure> {
    for card in [&located.models.weak, &located.models.strong] {
        ModelCard::load(card).and_then(|card| card.weights()).or_exit(Exit::Input)?;
    }
    check_chunks(path, located)?;
    probe(&located.models)
}

/// Refuses a probe that was fitted otherwise than the plan says, and arms whose gate can never fire with it.
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
    let Some(study) = &located.study else { return Ok(()) };
    let rule = |rule: &RuleSettings| rule.rule(&probe.calibration, probe.settings.trend_window);
    study
        .check_fires(&located.rule, &located.gate, rule)
        .map_err(|error| failure(Exit::Input, format!("{}: {error}", path.display())))
}

/// Refuses a plan that could not answer what it asks.
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
    let tasks = located.task_list(suite_of(located, path)?.task_count());
    let sets = located.ranges.confirmation.keys(tasks).len();
    located.check_answers(sets).map_err(|error| failure(Exit::Input, format!("{}: {error}", path.display())))
}

/// Refuses files that say that they came from a start which the plan judges on; returns what they say.
pub fn check_origins(path: &Path, located: &Plan, probe: &ProbeFile) -> Result<Vec<Statement>, Failure> {
    let file = &located.models.probe;
    let said = [of_policies(&located.models)?, of_probe(file, &file.display().to_string(), probe)?].concat();
    check_ranges((path, located), &suite_of(located, path)?, &said, None)?;
    Ok(said)
}

//! The checks of `aegis doctor`: libraries, GPU, scenes, Python and models of this machine. Nothing is changed, and a missing
//! requirement does not end the checks.

use std::path::Path;

use aegis_experiments::plan::Plan;
use aegis_files::sha256_of;
use aegis_policies::{HostSettings, ModelCard, OnnxPolicy, OnnxRuntime, Provider};
use aegis_probe::file::ProbeFile;
use aegis_sim::{Suite, mj_steps_per_second, published};

use super::Check;
use crate::library;
use crate::paths::beside;
use crate::paths::cache_folder;
use crate::study_loader::onnx_library;
use crate::suites::{installed_suites, scenes_advice, scenes_folder};
use crate::system;

const SETUP: &str = "run `cargo xtask setup`";

/// Makes all checks, each after those that it depends on.
pub fn all(plan: &Plan, host: HostSettings) -> Vec<Check> {
    let mut checks = vec![cache()];
    let runtime = onnx(&mut checks);
    checks.push(gpu(&host));
    checks.push(mujoco());
    checks.extend(suites(&plan.suite).into_iter().map(|(suite, needed)| scenes(&suite, needed)));
    checks.push(step_rate(&plan.suite));
    checks.push(python());
    checks.extend(system());
    models(plan, runtime.as_ref(), host, &mut checks);
    checks
}

/// Checks the cache folder that setup makes. A release needs none, because its libraries lie beside the program.
fn cache() -> Check {
    let needed = beside("share/aegis").is_none();
    match cache_folder() {
        Ok(folder) if folder.is_dir() => Check::here("cache", needed, folder.display().to_string()),
        Ok(folder) => {
            Check::missing("cache", needed, format!("{}: found no folder", folder.display()), SETUP)
        }
        Err(failure) => Check::missing("cache", needed, failure.to_string(), "set AEGIS_CACHE or HOME"),
    }
}

/// Checks the ONNX Runtime library, and lists the execution providers that it was built with.
fn onnx(checks: &mut Vec<Check>) -> Option<OnnxRuntime> {
    const NAME: &str = "onnx runtime";
    let advice = "run `cargo xtask setup`, or name a library in AEGIS_ORT_LIBRARY";
    let loaded = onnx_library()
        .map_err(|failure| failure.to_string())
        .and_then(|path| OnnxRuntime::load(&path).map_err(|error| error.to_string()));
    match loaded {
        Ok(runtime) => {
            checks.push(Check::here(NAME, true, describe(runtime.path())));
            let names: Vec<_> = runtime.providers().into_iter().map(Provider::name).collect();
            checks.push(Check::here("onnx providers", true, names.join(", ")));
            Some(runtime)
        }
        Err(reason) => {
            checks.push(Check::missing(NAME, true, reason, advice));
            None
        }
    }
}

/// Returns the path, version and SHA-256 of a library as text.
fn describe(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match std::fs::read(&path) {
        Ok(bytes) => {
            let digest = sha256_of(&bytes);
            let version = library::version(&path, &bytes);
            format!("{}, version {version}, sha256 {digest}", path.display())
        }
        Err(error) => format!("{}: {error}", path.display()),
    }
}

/// Checks for NVIDIA GPUs, as the driver lists them. A GPU is needed only where the provider may not be the CPU.
fn gpu(host: &HostSettings) -> Check {
    let needed = !host.provider.candidates().contains(&Provider::Cpu);
    let driver = Path::new("/proc/driver/nvidia");
    let models: Vec<String> = std::fs::read_dir(driver.join("gpus"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|gpu| std::fs::read_to_string(gpu.path().join("information")).ok())
        .filter_map(|text| field(&text, "Model:"))
        .collect();
    if models.is_empty() {
        let advice = "providers cuda and tensorrt need one, with its driver; cpu does not";
        return Check::missing("gpu", needed, "no NVIDIA GPU with a driver", advice);
    }
    let version = std::fs::read_to_string(driver.join("version")).unwrap_or_default();
    let version = version.lines().next().unwrap_or("unknown driver").trim().to_owned();
    Check::here("gpu", needed, format!("{}; {version}", models.join(", ")))
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

fn mujoco() -> Check {
    match library::mujoco() {
        Some(path) => Check::here("mujoco", true, describe(&path)),
        None => Check::missing("mujoco", true, "this program is linked without it", SETUP),
    }
}

/// Returns the suites to check, and whether each is needed. The plan's own suite is first and the only needed one; the suites that
/// LIBERO publishes and those on this machine follow.
fn suites(wanted: &str) -> Vec<(String, bool)> {
    let mut others: Vec<String> = published::names().map(str::to_owned).chain(installed_suites()).collect();
    others.sort();
    others.dedup();
    let others = others.into_iter().filter(|suite| *suite != wanted).map(|suite| (suite, false));
    std::iter::once((wanted.to_owned(), true)).chain(others).collect()
}

fn scenes(suite: &str, needed: bool) -> Check {
    let name = format!("scenes {suite}");
    let advice = scenes_advice(suite);
    let folder = match scenes_folder(suite) {
        Ok(folder) => folder,
        Err(failure) => return Check::missing(&name, needed, failure.to_string(), advice),
    };
    if !folder.is_dir() {
        return Check::missing(&name, needed, format!("{}: found no scenes", folder.display()), advice);
    }
    match Suite::load(&folder) {
        Ok(found) if found.name() == suite => {
            let count = found.task_count();
            Check::here(&name, needed, format!("{}, {count} tasks", folder.display()))
        }
        Ok(found) => {
            let reason = format!("{}: found suite {}", folder.display(), found.name());
            Check::missing(&name, needed, reason, advice)
        }
        Err(error) => Check::missing(&name, needed, error.to_string(), advice),
    }
}

/// Measures physics steps per second by plain `mj_step`, in the first scene of a suite. Times of two machines can be
/// compared by this rate.
fn step_rate(suite: &str) -> Check {
    const NAME: &str = "mj_step rate";
    let loaded = scenes_folder(suite)
        .map_err(|failure| failure.to_string())
        .and_then(|folder| Suite::load(&folder).map_err(|error| error.to_string()));
    let rate = loaded.and_then(|suite| mj_steps_per_second(&suite, 0).map_err(|error| error.to_string()));
    match rate {
        Ok(rate) => Check::here(NAME, false, format!("{rate:.0} physics steps a second, {suite} task 0")),
        Err(reason) => Check::missing(NAME, false, reason, scenes_advice(suite)),
    }
}

/// Checks for Python with upstream's packages. Tests, comparisons and the first setup use it; the verbs do not.
fn python() -> Check {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/python/bin/python");
    if python.exists() {
        // The interpreter is a symbolic link that leads out of the cache, so the folder around it is reported.
        let folder = python.ancestors().nth(2).and_then(|folder| folder.canonicalize().ok());
        let path = folder.unwrap_or(python);
        return Check::here("python packages", false, path.display().to_string());
    }
    let advice = "`cargo xtask test` makes it; only tests and comparisons need it";
    Check::missing("python packages", false, format!("{}: not found", python.display()), advice)
}

/// Checks for system packages that drawing needs. Pictures and their tests need them; verbs that draw nothing do not.
fn system() -> Vec<Check> {
    let advice = format!("`{}` installs all missing packages", system::command(&system::missing()));
    let check = |part: &system::Part| {
        let needed_by = format!("{} and {} tests need it", part.wanted_by, part.tests.len());
        if part.is_here() {
            Check::here(part.name, false, format!("here; {needed_by}"))
        } else {
            Check::missing(part.name, false, format!("not found; {needed_by}"), advice.clone())
        }
    };
    system::PARTS.iter().map(check).collect()
}

fn models(plan: &Plan, runtime: Option<&OnnxRuntime>, host: HostSettings, checks: &mut Vec<Check>) {
    let restore = "restore it, or train it again with policies/train/reproduce.sh";
    for (name, card) in [("weak policy", &plan.models.weak), ("strong policy", &plan.models.strong)] {
        // The digest is checked first: it needs no library, and its error is more specific than that of a graph that does not open.
        let whole = ModelCard::load(card).and_then(|card| card.check_weights().map(|()| card));
        let card_path = card.display();
        checks.push(match (whole, runtime) {
            (Err(error), _) => Check::missing(name, true, error.to_string(), restore),
            (Ok(_), None) => {
                let found =
                    format!("{card_path}: digest is right; not opened, because the library is missing");
                Check::missing(name, true, found, SETUP)
            }
            (Ok(card), Some(runtime)) => {
                let opened = runtime.with_settings(host).and_then(|host| OnnxPolicy::open(&host, &card.path));
                match opened {
                    Ok(policy) => {
                        let found = format!("{card_path}: digest is right; runs on {}", policy.provider());
                        Check::here(name, true, found)
                    }
                    Err(error) => Check::missing(name, true, error.to_string(), restore_or_provider(&error)),
                }
            }
        });
    }
    let probe = &plan.models.probe;
    let loaded = ModelCard::load(&plan.models.weak).map_err(|error| error.to_string()).and_then(|card| {
        let Some(spec) = &card.activation else {
            return Err("found no [activation] in the weak policy's card; valid is a card with one".into());
        };
        ProbeFile::load(probe, &card.model_sha256(), &spec.tensor, spec.width)
            .map_err(|error| error.to_string())
    });
    checks.push(match loaded {
        Ok(_) => Check::here("probe", true, format!("{}: fits the weak policy", probe.display())),
        Err(reason) => Check::missing("probe", true, reason, "fit it again with `aegis probe fit`"),
    });
}

fn restore_or_provider(error: &aegis_policies::OpenError) -> &'static str {
    match error {
        aegis_policies::OpenError::Provider { .. } => "or leave --provider out",
        _ => "export it again to match its card",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plans_own_suite_is_needed() {
        let found = suites("libero_goal");
        assert_eq!(found[0], ("libero_goal".to_owned(), true));
        assert!(published::names().all(|name| found.iter().any(|(suite, _)| suite == name)));
        assert!(found[1..].iter().all(|(_, needed)| !needed));
    }

    #[test]
    fn the_drivers_files_are_read_by_field() {
        let text = "Model: \t\t NVIDIA H100\nIRQ:   12\n";
        assert_eq!(field(text, "Model:").as_deref(), Some("NVIDIA H100"));
        assert_eq!(field(text, "Memory:"), None);
    }
}

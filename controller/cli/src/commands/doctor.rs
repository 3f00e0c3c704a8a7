//! `aegis doctor`: reports which requirements of the verbs this machine meets, and how to meet the others. `doctor/checks.rs` makes
//! the checks; this file derives the verdict and prints it.

mod checks;

use std::path::PathBuf;

use aegis_experiments::plan::Plan;
use clap::Args;
use serde::Serialize;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::host::HostArguments;
use crate::study_loader::shipped_plan;

/// Arguments of `aegis doctor`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis doctor\n  aegis doctor --provider cuda --json\n\
                        Exit codes: 0 every requirement is met; 2 the plan or an argument is not valid; \
                        3 a requirement is missing.")]
pub struct DoctorArguments {
    /// Settings of the study whose scenes and models are needed; the shipped ones when left out
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    host: HostArguments,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the requirement.
    pub name: String,
    /// Whether the study needs it.
    pub needed: bool,
    /// Whether it is present and complete.
    pub ok: bool,
    /// Path, version, digest, or description of the fault.
    pub found: String,
    /// Remedy; `None` where the requirement is met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// Makes the check of a requirement that is met.
    pub fn here(name: &str, needed: bool, found: impl Into<String>) -> Self {
        Self { name: name.into(), needed, ok: true, found: found.into(), advice: None }
    }

    /// Makes the check of a requirement that is missing or damaged.
    pub fn missing(name: &str, needed: bool, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), needed, ok: false, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Runs `aegis doctor`.
pub fn run(arguments: &DoctorArguments) -> Result<(), Failure> {
    let plan = Plan::load(&arguments.plan.clone().unwrap_or_else(shipped_plan)).or_exit(Exit::Input)?;
    let checks = checks::all(&plan, arguments.host.settings()?);
    if arguments.json {
        let report = serde_json::json!({ "ok": verdict(&checks).is_none(), "checks": checks });
        say!("{}", serde_json::to_string_pretty(&report).or_exit(Exit::Failed)?);
    } else {
        say!("{}", table(&checks));
    }
    verdict(&checks).map_or(Ok(()), |missing| Err(failure(Exit::Setup, missing)))
}

/// Returns a message with the names of all missing requirements; `None` where none is missing.
fn verdict(checks: &[Check]) -> Option<String> {
    let missing = checks.iter().filter(|check| check.needed && !check.ok);
    let names: Vec<&str> = missing.map(|check| check.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("needed and missing: {}", names.join(", ")))
}

fn table(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in checks {
        let mark = match (check.ok, check.needed) {
            (true, _) => "ok",
            (false, true) => "missing",
            (false, false) => "optional",
        };
        lines.push(format!("{mark:8}  {:width$}  {}", check.name, check.found));
        if let Some(advice) = &check.advice {
            lines.push(format!("{:8}  {:width$}  → {advice}", "", ""));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_decides() {
        let gpu = Check::missing("gpu", false, "none", "nothing to do");
        let library = Check::here("library", true, "1.2.3");
        assert_eq!(verdict(&[gpu.clone(), library.clone()]), None);
        let scenes = Check::missing("scenes", true, "no such folder", "run setup");
        let said = verdict(&[gpu.clone(), scenes.clone(), library.clone()]);
        assert_eq!(said.as_deref(), Some("needed and missing: scenes"));
        let table = table(&[gpu, scenes, library]);
        let marks: Vec<_> = table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(marks, ["optional", "→", "missing", "→", "ok"]);
    }
}

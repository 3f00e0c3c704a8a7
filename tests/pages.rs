//! Pages that have to stay true: links lead to files, recipes name files that exist, and the page of commands is what the
//! program prints. `AEGIS_WRITE_COMMANDS=1` writes that page anew.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::fmt::Write;
use std::path::{Path, PathBuf};

const COMMANDS: &str = "docs/reference/commands.md";

/// All Markdown pages of the repository, outside of what is generated or fetched.
fn pages() -> Vec<PathBuf> {
    let root = common::repository();
    let beside = std::fs::read_dir(&root).expect("the folder can be read");
    let beside = beside.map(|entry| entry.expect("the folder can be read").path());
    let mut all: Vec<PathBuf> =
        beside.filter(|path| path.extension().is_some_and(|found| found == "md")).collect();
    all.extend(common::files_below(&root.join("docs"), "md"));
    all.sort();
    assert!(all.len() > 20, "{all:?}");
    all
}

/// The targets of a page's links and pictures.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        found.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    }
    found
}

#[test]
fn links_between_pages_lead_to_files() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = page.parent().unwrap_or(Path::new("."));
        for link in links(&text) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(
                folder.join(path).exists(),
                "{}: a link leads to {link}, which is not there",
                page.display()
            );
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let root = common::repository();
    let index = std::fs::read_to_string(root.join("docs/README.md")).unwrap();
    let listed: Vec<PathBuf> = links(&index).into_iter().map(|link| root.join("docs").join(link)).collect();
    for page in pages().into_iter().filter(|page| page.starts_with(root.join("docs"))) {
        let is_index = page.ends_with("docs/README.md");
        assert!(is_index || listed.contains(&page), "docs/README.md does not list {}", page.display());
    }
}

#[test]
fn recipes_name_files_that_exist() {
    let root = common::repository();
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    assert_eq!(text.matches("\n### ").count(), 10, "ten recipes");
    let (_, recipes) = text.split_once("## Recipes").expect("a part with recipes");
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|name| name.contains('/')).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names.into_iter().filter(|name| !name.contains(' ')) {
        assert!(root.join(name).exists(), "CONTRIBUTING.md names {name}, which is not there");
    }
    // Recipe 1: a rule is to touch five files at most, and a plot three.
    let steps = |number: usize| {
        let recipe = recipes.split("\n### ").nth(number).expect("a recipe");
        recipe.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).skip(1).count()
    };
    assert!(steps(1) <= 5 && steps(4) <= 3, "{} and {}", steps(1), steps(4));
}

/// The names of all keys in a value of a plan, except those of the rules of arms, which are those of `[rule]`.
fn keys_within(value: &toml::Value) -> Vec<&str> {
    match value {
        toml::Value::Table(table) => table
            .iter()
            .flat_map(|(key, value)| {
                let within = if key == "rules" { Vec::new() } else { keys_within(value) };
                std::iter::once(key.as_str()).chain(within)
            })
            .collect(),
        toml::Value::Array(values) => values.iter().flat_map(keys_within).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_key_of_the_template_of_a_plan_is_explained() {
    const PAGE: &str = "docs/reference/plan.md";
    let root = common::repository();
    let text = std::fs::read_to_string(root.join("experiments/template.toml")).unwrap();
    let plan: toml::Table = text.parse().expect("a plan");
    let page = std::fs::read_to_string(root.join(PAGE)).unwrap();
    let section = |heading: &str| {
        let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
        rest.split("\n## ").next().unwrap_or_default()
    };
    for (key, value) in &plan {
        let (heading, keys) = match value {
            toml::Value::Table(_) => (format!("`[{key}]`"), keys_within(value)),
            _ => ("Top level".to_owned(), vec![key.as_str()]),
        };
        for key in keys {
            assert!(
                section(&heading).contains(&format!("`{key}`")),
                "{PAGE}: {heading} does not explain {key}"
            );
        }
    }
}

/// What `aegis VERB … --help` prints, with what depends on the machine taken out.
fn help(verbs: &[String]) -> String {
    let text = common::succeeds(common::aegis().args(verbs).arg("--help"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    text.replace(
        &format!("results do not depend on it [default: {cores}]"),
        "results do not depend on it [default: the number of processors]",
    )
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let named = named.filter_map(|line| line.split_whitespace().next());
    named.filter(|verb| *verb != "help").map(ToOwned::to_owned).collect()
}

fn describe(page: &mut String, verbs_so_far: &[String]) {
    let text = help(verbs_so_far);
    let name = [&["aegis".to_owned()], verbs_so_far].concat().join(" ");
    let level = "#".repeat(2 + verbs_so_far.len().min(2));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    write!(page, "\n{level} `{name}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end()).unwrap();
    for verb in verbs(&text) {
        describe(page, &[verbs_so_far, &[verb]].concat());
    }
}

#[test]
fn the_page_of_commands_is_what_the_program_prints() {
    let mut page = "# Commands\n\n\
        Every verb with its arguments, as `--help` prints it, exit codes included. This page is written by a test: \
        `AEGIS_WRITE_COMMANDS=1 cargo test --release --test integration pages`.\n"
        .to_owned();
    describe(&mut page, &[]);
    let path = common::repository().join(COMMANDS);
    if std::env::var_os("AEGIS_WRITE_COMMANDS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(page.lines()).position(|(found, valid)| found != valid);
    assert!(
        found == page,
        "{COMMANDS}: differs from what the program prints from line {} on; write it anew as its head says",
        differs.map_or(found.lines().count().min(page.lines().count()), |at| at) + 1
    );
}

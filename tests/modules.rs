//! The layering of modules within each crate: no circle among files, and no I/O in modules that are declared pure.
//! The graph comes from `use` declarations and from paths that begin with `crate`, `super` or `self`; a name that a module
//! re-exports counts as an edge to the module that defines it. Unit tests within a file are not counted.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders and files whose code may neither read a clock nor do any I/O. `bootstrap.rs` of the statistics starts threads, whose
/// number changes no result.
const PURE: [&str; 45] = [
    "controller/core/src",
    "controller/dataset/src/episode_plan.rs",
    "controller/dataset/src/features.rs",
    "controller/dataset/src/statistics.rs",
    "controller/probe/src/benefit",
    "controller/probe/src/benefit.rs",
    "controller/probe/src/conformal.rs",
    "controller/probe/src/forks.rs",
    "controller/probe/src/hold_out.rs",
    "controller/watchdog/src/judge.rs",
    "controller/watchdog/src/trip.rs",
    "experiments/statistics/src",
    "experiments/harness/src/field",
    "experiments/harness/src/forks",
    "experiments/harness/src/plan",
    "experiments/harness/src/report",
    "experiments/harness/src/paired/analysis.rs",
    "experiments/harness/src/paired/csv.rs",
    "experiments/harness/src/paired/evaluators.rs",
    "experiments/harness/src/paired/pairs.rs",
    "experiments/harness/src/paired/rows.rs",
    "experiments/harness/src/paired/view.rs",
    "experiments/harness/src/data/trace/verify.rs",
    "sim_bridge/link/src/wire",
    "sim_bridge/link/src/host.rs",
    "sim_bridge/link/src/stop_order.rs",
    "sim_bridge/link/src/access.rs",
    "sim_bridge/link/src/endpoint.rs",
    "sim_bridge/ros2/src/attachment.rs",
    "sim_bridge/ros2/src/command.rs",
    "sim_bridge/ros2/src/file.rs",
    "sim_bridge/ros2/src/graph.rs",
    "sim_bridge/ros2/src/joints.rs",
    "sim_bridge/ros2/src/message.rs",
    "sim_bridge/ros2/src/names.rs",
    "sim_bridge/ros2/src/refusals.rs",
    "sim_bridge/ros2/src/stamps.rs",
    "sim_bridge/ros2/src/stream.rs",
    "sim_bridge/ros2/src/types.rs",
    "policies/websocket/src/array.rs",
    "policies/websocket/src/value.rs",
    "policies/websocket/src/message.rs",
    "policies/websocket/src/exchange.rs",
    "policies/websocket/src/endpoint.rs",
    "policies/websocket/src/observe.rs",
];

/// What pure code may not name.
const IMPURE: [&str; 7] =
    ["std::fs", "std::net::Tcp", "std::net::Udp", "std::process", "SystemTime", "Instant::now", "rusqlite"];

/// Path of a module within its crate.
type Module = Vec<String>;
type Edges = BTreeMap<Module, BTreeSet<Module>>;

/// The code of a file without comments, strings and its module of unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("the source can be read");
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |(at, _)| at + 1)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        if skipped == 0 {
            kept.push(first);
        }
        rest = &rest[taken..];
    }
    kept
}

/// Identifiers, `::` and single punctuation characters, in order.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        if !first.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    found
}

/// The paths of a tree of `use`, each as its segments, from the tokens before its `;`.
fn paths(tree: &[&str]) -> Vec<Vec<String>> {
    let open = tree.iter().position(|token| *token == "{");
    let segments = |tokens: &[&str]| -> Vec<String> {
        let until = tokens.iter().position(|token| *token == "as").unwrap_or(tokens.len());
        tokens[..until].iter().filter(|token| **token != "::").map(ToString::to_string).collect()
    };
    let Some(open) = open else { return vec![segments(tree)] };
    let prefix = segments(&tree[..open]);
    let close = tree.iter().rposition(|token| *token == "}").unwrap_or(tree.len());
    let (mut depth, mut begin, mut all) = (0, open + 1, Vec::new());
    for at in open + 1..=close.min(tree.len() - 1) {
        match tree[at] {
            "{" => depth += 1,
            "}" if at != close => depth -= 1,
            "," if depth == 0 => {
                all.extend(paths(&tree[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    if begin < close {
        all.extend(paths(&tree[begin..close]));
    }
    all.into_iter().map(|path| [prefix.clone(), path].concat()).collect()
}

/// All paths that a file names: those of `use`, with whether they are re-exported, and those within its code.
fn named(code: &str) -> Vec<(Vec<String>, bool)> {
    let tokens = tokens(code);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at] == "use" {
            let end =
                tokens[at..].iter().position(|token| *token == ";").map_or(tokens.len(), |end| at + end);
            let before = &tokens[at.saturating_sub(4)..at];
            let public = before.last() == Some(&"pub")
                || before.last() == Some(&")") && before.contains(&"pub") && before.contains(&"(");
            found.extend(paths(&tokens[at + 1..end]).into_iter().map(|path| (path, public)));
            at = end;
        } else if ["crate", "super", "self"].contains(&tokens[at]) && tokens.get(at + 1) == Some(&"::") {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::") && at + 2 < tokens.len() {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            found.push((path, false));
        }
        at += 1;
    }
    found
}

/// The module that `path`, named in `module`, begins from, and what follows.
fn absolute(module: &Module, path: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
    let mut rest = path;
    let mut base = match path.first()?.as_str() {
        "crate" => {
            rest = &rest[1..];
            Vec::new()
        }
        "self" => {
            rest = &rest[1..];
            module.clone()
        }
        "super" => {
            let mut base = module.clone();
            while rest.first().is_some_and(|one| one == "super") {
                base.pop();
                rest = &rest[1..];
            }
            base
        }
        name => {
            let child = [module.clone(), vec![name.to_owned()]].concat();
            modules.contains(&child).then(|| module.clone())?
        }
    };
    base.extend_from_slice(rest);
    Some(base)
}

/// Which module of a crate uses which; a parent and its children are one unit and have no edges between them.
fn graph(root: &Path) -> Edges {
    let files: BTreeMap<Module, PathBuf> = common::files_below(root, "rs")
        .into_iter()
        .map(|path| {
            let within = path.strip_prefix(root).expect("it is below").with_extension("");
            let mut module: Module =
                within.iter().map(|part| part.to_str().expect("a name").to_owned()).collect();
            if module.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
                module.pop();
            }
            (module, path)
        })
        .collect();
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let known = |mut path: Module| {
        while !modules.contains(&path) {
            path.pop()?;
        }
        Some(path)
    };
    let mut all: Vec<(Module, Module)> = Vec::new();
    let mut exported: BTreeMap<Module, Module> = BTreeMap::new();
    for (module, file) in &files {
        for (path, public) in named(&code(file)) {
            let Some(target) = absolute(module, &path, &modules) else { continue };
            if public
                && let (Some(name), Some(home)) = (target.last().cloned(), known(target.clone()))
                && home != *module
            {
                exported.insert([module.clone(), vec![name]].concat(), home);
            }
            all.push((module.clone(), target));
        }
    }
    let mut edges = Edges::new();
    for (module, target) in all {
        let defined = (1..=target.len()).rev().find_map(|length| exported.get(&target[..length]).cloned());
        let Some(target) = defined.or_else(|| known(target)) else { continue };
        if !module.starts_with(&target) && !target.starts_with(&module) {
            edges.entry(module).or_default().insert(target);
        }
    }
    edges
}

/// A circle that begins and ends at `module`, if there is one.
fn circle(edges: &Edges, module: &Module) -> Option<Vec<String>> {
    let mut ways = vec![vec![module.clone()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == module {
                return Some(way.iter().chain([next]).map(|one| one.join("::")).collect());
            }
            if seen.insert(next.clone()) {
                ways.push([way.clone(), vec![next.clone()]].concat());
            }
        }
    }
    None
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let manifest = std::fs::read_to_string(common::repository().join("Cargo.toml")).expect("it can be read");
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    let members = manifest["workspace"]["members"].as_array().expect("members");
    let crates = members.iter().map(|member| member.as_str().expect("a folder"));
    for root in crates.chain(["controller/cli"]).map(|member| format!("{member}/src")) {
        let edges = graph(&common::repository().join(&root));
        let found: Vec<String> =
            edges.keys().filter_map(|module| circle(&edges, module)).map(|way| way.join(" -> ")).collect();
        assert!(found.is_empty(), "{root}: {found:#?}");
    }
}

#[test]
fn a_circle_is_found_through_a_re_export_and_a_nested_use() {
    let root = common::folder("modules-circle");
    let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    write("lib.rs", "mod one;\nmod two;\nmod three;\npub use one::One;\n");
    write(
        "one.rs",
        "use std::{fmt, crate_name};\nuse crate::{three::Three, two::{self, Two}};\npub struct One;\n",
    );
    write("two.rs", "// use crate::three::Three;\nuse super::One;\npub struct Two;\n");
    write(
        "three.rs",
        "const TEXT: &str = \"use crate::one::One;\";\n#[cfg(test)]\nmod tests {\n use crate::one;\n}\n",
    );
    let edges = graph(&root);
    let one = vec!["one".to_owned()];
    assert_eq!(circle(&edges, &one), Some(vec!["one".into(), "two".into(), "one".into()]));
    assert_eq!(
        circle(&edges, &vec!["three".to_owned()]),
        None,
        "comments, strings and unit tests do not count"
    );
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    for place in PURE {
        for path in common::files_below(&common::repository().join(place), "rs") {
            let code = code(&path);
            let joined = tokens(&code).join(" ").replace(" :: ", "::");
            for word in IMPURE {
                assert!(!joined.contains(word), "{}: names {word}", path.display());
            }
        }
    }
}

//! Tests the shell completions, the manual pages and `--version` of the binary.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

fn prints(arguments: &[&str]) -> String {
    common::succeeds(common::aegis().args(arguments))
}

#[test]
fn a_shell_takes_the_completions() {
    let script = prints(&["completions", "bash"]);
    assert!(script.contains("--exit-on-stop"), "the verbs' options are in it");
    // From a file: one argument has room for 128 KiB.
    let file = common::folder("completions").join("aegis.bash");
    std::fs::write(&file, script).unwrap();
    let mut bash = std::process::Command::new("bash");
    let asked = bash.args(["-euc", "source \"$0\"; complete -p aegis"]).arg(&file);
    let output = asked.output().expect("bash is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("_aegis"));
}

#[test]
fn every_verb_has_a_page() {
    let folder = common::folder("manual");
    prints(&["manual", "--out", &folder.display().to_string()]);
    for (page, word) in
        [("aegis", "Exit codes"), ("aegis-run", "exit\\-on\\-stop"), ("aegis-plan-new", "study.toml")]
    {
        let text = std::fs::read_to_string(folder.join(page).with_extension("1")).expect(page);
        assert!(text.starts_with(".ie") && text.contains(word), "{page}: {text}");
    }
}

#[test]
fn the_version_names_commit_runtime_and_providers() {
    let short = prints(&["-V"]);
    assert_eq!(short.lines().count(), 1);
    let long = prints(&["--version"]);
    assert!(long.starts_with(short.trim_end()), "{long}");
    for word in ["libonnxruntime.so", "with cpu", "Rerun 0.36.3"] {
        assert!(long.contains(word), "{word} is missing from {long}");
    }
}

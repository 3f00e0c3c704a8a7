//! `aegis report --episodes` on tables as spreadsheets and programs write them, and what it refuses.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{aegis, folder, refuses, repository, succeeds};
use serde_json::Value;

/// Twelve starts of two tasks: `mine` wins all, `base` those of even seeds.
fn rows() -> Vec<[String; 4]> {
    let one = |seed: usize, arm: &str, success: bool| {
        let task = if seed < 6 { "open the drawer" } else { "push, then lift" };
        [task.into(), seed.to_string(), arm.into(), success.to_string()]
    };
    (0_usize..12)
        .flat_map(|seed| [one(seed, "base", seed.is_multiple_of(2)), one(seed, "mine", true)])
        .collect()
}

/// Writes the rows with a separator, fields with a comma quoted.
fn table(rows: &[[String; 4]], separator: &str, end: &str) -> String {
    let field = |text: &String| if text.contains(',') { format!("\"{text}\"") } else { text.clone() };
    let mut text = ["task", "seed", "arm", "success"].join(separator) + end;
    for row in rows {
        text += &(row.iter().map(field).collect::<Vec<_>>().join(separator) + end);
    }
    text
}

fn report(files: &[&Path]) -> Command {
    let mut command = aegis();
    command.env("AEGIS_CACHE", "/nonexistent").args(["report", "--episodes"]).args(files);
    command
}

fn written(place: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = place.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_table_in_whatever_dialect_gives_one_report() {
    let place = folder("paired-report");
    let plain = written(&place, "plain.csv", table(&rows(), ",", "\n"));
    let text = succeeds(&mut report(&[&plain]));
    for words in [
        "12 paired episodes in 12 clusters, arms against base",
        "claimed and not audited",
        "| mine | 6 | 0 | +50.0 | [",
        "| 0.031 | 0.031 | 0.016 |",
        "| open the drawer | 3 of 6 | 6 of 6 | 3 | 0 | 0.250 |",
        "| push, then lift |",
    ] {
        assert!(text.contains(words), "{words:?} is missing from {text}");
    }
    let upper: Vec<[String; 4]> = rows()
        .into_iter()
        .map(|[task, seed, arm, won]| [task, seed + ".0", arm, won.to_uppercase()])
        .collect();
    let numbers = |one: &str, none: &str| -> Vec<[String; 4]> {
        let number = |won: &str| if won == "true" { one.to_owned() } else { none.to_owned() };
        rows().into_iter().map(|[task, seed, arm, won]| [task, seed, arm, number(&won)]).collect()
    };
    let with_mark = [&b"\xef\xbb\xbf"[..], table(&upper, ";", "\r\n").as_bytes()].concat();
    let packed = Command::new("gzip").arg("-kf").arg(&plain).status().unwrap();
    assert!(packed.success());
    for path in [
        written(&place, "spreadsheet.csv", with_mark),
        written(&place, "floats.csv", table(&numbers("1.0", "0.0"), "\t", "\n")),
        written(&place, "commas.csv", table(&numbers("1,0", "0,0"), ";", "\r\n")),
        place.join("plain.csv.gz"),
        repository().join("experiments/harness/tests/fixtures/episodes.parquet"),
    ] {
        assert_eq!(succeeds(&mut report(&[&path])), text, "{}", path.display());
    }
    let found: Value = serde_json::from_str(&succeeds(report(&[&plain]).arg("--json"))).unwrap();
    assert_eq!(found["pairing"], "claimed by the file, not audited");
    let contrast = &found["contrasts"][0]["contrast"];
    assert_eq!((&contrast["b"], &contrast["c"]), (&6.into(), &0.into()));
    let stats: Value =
        serde_json::from_str(&succeeds(aegis().args(["stats", "mcnemar", "--b", "6", "--c", "0", "--json"])))
            .unwrap();
    assert_eq!(contrast["mcnemar"]["two_sided"], stats["two_sided"]);
    assert_eq!(found["contrasts"][0]["mid_p_one_sided"], stats["mid_p_one_sided"]);
    let turned: Value =
        serde_json::from_str(&succeeds(report(&[&plain]).args(["--control", "mine", "--json"]))).unwrap();
    assert_eq!(turned["contrasts"][0]["contrast"]["c"], 6);
}

#[test]
fn results_of_evaluators_are_compared_by_the_names_before_them() {
    let place = folder("paired-report-evaluators");
    let lerobot = |wins: [bool; 3]| {
        let task =
            serde_json::json!({ "task_group": "suite", "task_id": 0, "metrics": { "successes": wins } });
        serde_json::json!({ "per_task": [task], "per_group": {}, "overall": {} }).to_string()
    };
    let base = written(&place, "base.json", lerobot([false, false, true]));
    let mine = written(&place, "mine.json", lerobot([true, true, true]));
    let [base_named, mine_named] =
        [("base", &base), ("mine", &mine)].map(|(arm, file)| format!("{arm}={}", file.display()));
    let text = succeeds(&mut report(&[Path::new(&base_named), Path::new(&mine_named)]));
    for words in ["| mine | 2 | 0 | +66.7 |", "| suite_0 | 1 of 3 | 3 of 3 |", "LeRobot stores no seeds"] {
        assert!(text.contains(words), "{words:?} is missing from {text}");
    }
    refuses(
        &mut report(&[&base, &mine]),
        2,
        &["base.json: the file: arm: found no name", "weak=eval_info.json"],
    );
    let broken = written(&place, "broken.json", "{\"per_task\": [");
    refuses(&mut report(&[&broken]), 2, &["broken.json: cannot read: not JSON"]);
}

#[test]
fn what_is_no_pair_or_no_table_is_named_by_line_and_column() {
    let place = folder("paired-report-refused");
    let csv = |name: &str, rows: &[[String; 4]]| written(&place, name, table(rows, ",", "\n"));
    let mut twice = rows();
    twice.push(rows().remove(0));
    refuses(
        &mut report(&[&csv("twice.csv", &twice)]),
        2,
        &[
            "twice.csv: line 26: found task open the drawer, seed 0 of arm base again, first in",
            "twice.csv: line 2",
        ],
    );
    let mut more = rows();
    more[0][1] = "99".into();
    let more = csv("more.csv", &more);
    refuses(
        &mut report(&[&more]),
        2,
        &["seed 0 of arm mine, which base lacks", "--leave-out-unpaired (2 of 13)"],
    );
    let text = succeeds(report(&[&more]).arg("--leave-out-unpaired"));
    assert!(text.contains("11 paired episodes") && text.contains("2 starts were left out"), "{text}");
    let one: Vec<[String; 4]> = rows().into_iter().filter(|row| row[2] == "base").collect();
    refuses(&mut report(&[&csv("one.csv", &one)]), 2, &["one.csv: arm: found base; valid is two or more"]);
    refuses(
        report(&[&more]).args(["--control", "strong"]),
        2,
        &["--control: found strong; valid is one of base, mine"],
    );
    for (name, bytes, said) in [
        (
            "share.csv",
            &b"task,seed,arm,success\nlift,1,base,0.5\n"[..],
            "share.csv: line 2: success: found `0.5`",
        ),
        (
            "comma.csv",
            b"task,seed,arm,success\nlift,1,base,0,5\n",
            "comma.csv: line 2: fields: found 5; valid is 4",
        ),
        (
            "short.csv",
            b"task,seed,success\nlift,1,1\n",
            "short.csv: line 1: arm: found no such column among task, seed, success",
        ),
        ("wide.csv", b"\xff\xfet\0a\0", "UTF-16"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "cut.csv.gz: cannot read: a gzip file that is cut short"),
        ("empty.csv", b"", "empty"),
        ("cut.parquet", b"PAR1", "a Parquet file that is cut short or damaged"),
    ] {
        refuses(&mut report(&[&written(&place, name, bytes)]), 2, &[said]);
    }
    refuses(&mut report(&[&place.join("none.csv")]), 2, &["none.csv: cannot read"]);
    refuses(&mut report(&[Path::new("=a.csv")]), 2, &["valid is FILE or ARM=FILE"]);
}

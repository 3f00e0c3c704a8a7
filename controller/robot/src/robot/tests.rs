//! Tests of what a robot file may contain.

use super::*;

const SHIPPED: &str = include_str!("../../../libero.toml");

/// Parses the shipped robot file with one text replaced.
fn changed(from: &str, to: &str) -> Result<RobotFile, String> {
    assert!(SHIPPED.contains(from), "{from}");
    RobotFile::parse(&SHIPPED.replacen(from, to, 1))
}

/// Returns one copy of the file per table in it, each copy with an unknown key added to that table.
fn with_surplus(value: &toml::Value) -> Vec<toml::Value> {
    match value {
        toml::Value::Table(table) => {
            let with = |key: &str, value: toml::Value| {
                let mut table = table.clone();
                table.insert(key.into(), value);
                toml::Value::Table(table)
            };
            let within = table
                .iter()
                .flat_map(|(key, value)| with_surplus(value).into_iter().map(move |value| with(key, value)));
            within.chain([with("surplus", 1.into())]).collect()
        }
        toml::Value::Array(array) => {
            let with = |index: usize, value: toml::Value| {
                let mut array = array.clone();
                array[index] = value;
                toml::Value::Array(array)
            };
            let all = array.iter().enumerate();
            all.flat_map(|(index, value)| {
                with_surplus(value).into_iter().map(move |value| with(index, value))
            })
            .collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused_in_every_table() {
    let shipped: toml::Value = toml::from_str(SHIPPED).unwrap();
    let all = with_surplus(&shipped);
    // The file, models, control, gate, rule, real_time, two starts, and seven channels.
    assert_eq!(all.len(), 15);
    for file in all {
        let said = RobotFile::parse(&toml::to_string(&file).unwrap()).unwrap_err();
        assert!(said.contains("unknown field `surplus`"), "{said}");
    }
}

#[test]
fn what_is_of_the_wrong_type_is_said_in_words() {
    for (from, to, said) in [
        ("lead_steps = 1", "lead_steps = -1", "integer `-1`, expected a whole number, 0 to 4294967295"),
        ("task = 0", "task = -1", "integer `-1`, expected a whole number, 0 or more"),
        ("task = 0", "task = 0.5", "floating point `0.5`, expected a whole number, 0 or more"),
        ("priority = 0", "priority = 300", "integer `300`, expected a whole number, 0 to 255"),
        ("spin_us = 100", "spin_us = -1", "expected a whole number, 0 or more"),
        ("rate_hz = 20", "rate_hz = \"x\"", "string \"x\", expected a number"),
        ("{ task = 0, initial_state = 50 }", "5", "integer `5`, expected a table of keys"),
        ("overlap = \"replace\"", "overlap = \"blend\"", "found a word, expected { blend = N }"),
        (
            "overlap = \"replace\"",
            "overlap = { blend = 1, x = 2 }",
            "found a table of several keys, expected { blend = N }",
        ),
        ("rest = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]", "rest = 1", "integer `1`, expected a list"),
        ("plant = \"libero\"", "plant = 1", "integer `1`, expected a text in quotes"),
    ] {
        let error = changed(from, to).unwrap_err();
        assert!(error.contains(said) && error.contains("line "), "{to}: {error}");
    }
}

#[test]
fn a_number_of_no_size_that_a_robot_has_is_refused_in_few_digits() {
    for (from, to, said) in [
        ("rate_hz = 20", "rate_hz = 1e300", "control.rate_hz: found 1e300; valid is"),
        ("max_age_ms = 150", "max_age_ms = -1e-300", "control.max_age_ms: found -1e-300"),
        ("jerk = 0.25 }", "jerk = 1e-40 }", "control.channels[0].jerk: found 1e-40"),
        ("rest = [0.0", "rest = [1e300", "rest[0]: found 1e300"),
    ] {
        let error = changed(from, to).unwrap_err();
        assert!(error.contains(said) && error.len() < 200, "{to}: {error}");
    }
    for number in ["0", "inf", "nan", "1e15", "-1e-15"] {
        changed("rate_hz = 20", &format!("rate_hz = {number}")).unwrap();
    }
}
/// Merges the values of one table into another, recursively.
fn put(into: &mut toml::Table, table: toml::Table) {
    for (key, value) in table {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(table)) => put(into, table),
            (_, value) => _ = into.insert(key, value),
        }
    }
}

#[test]
fn the_manuals_robot_files_work() {
    let manual = include_str!("../../../../docs/guide/robot.md");
    let blocks = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    // Other files of the page have no table of the controller.
    let excerpts: Vec<&str> = blocks.filter(|block| block.contains("[control]")).collect();
    assert_eq!(excerpts.len(), 2);
    for excerpt in excerpts {
        let mut whole: toml::Table = toml::from_str(SHIPPED).unwrap();
        put(&mut whole, toml::from_str(excerpt).unwrap());
        let file = RobotFile::parse(&toml::to_string(&whole).unwrap()).unwrap();
        file.control.validate(&file.gate, 10).unwrap();
        file.control.validate_rest(&file.rest).unwrap();
        checks::check(&file.control).unwrap();
        readings(&file).unwrap();
    }
}

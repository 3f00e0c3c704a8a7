//! Rows of a table as episodes: the columns task, seed, initial_state, arm and success, in any order and case.

use super::csv::Table;
use super::{Complaint, Episode, Episodes};

/// Columns that are read.
pub(super) const COLUMNS: [&str; 5] = ["task", "seed", "initial_state", "arm", "success"];

/// Reads the rows of a table. `arm` is the arm of all of them, for a table without that column.
pub(super) fn episodes(table: &Table, arm: Option<&str>) -> Result<Episodes, Complaint> {
    let names: Vec<String> = table.header.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut places = [None; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let mut found = names.iter().enumerate().filter(|(_, name)| *name == column).map(|(index, _)| index);
        *place = found.next();
        if found.next().is_some() {
            let valid = "one column of this name";
            return Err(Complaint::new(&table.begins, column, "more than one", valid));
        }
    }
    let [task, seed, initial_state, arms, success] = places;
    let missing = |column: &str, valid: &str| {
        let found = format!("no such column among {}", table.header.join(", "));
        Complaint::new(&table.begins, column, found, valid)
    };
    let task = task.ok_or_else(|| missing("task", "a column with the task of each episode"))?;
    let success = success.ok_or_else(|| missing("success", "a column with the outcome of each episode"))?;
    if seed.is_none() && initial_state.is_none() {
        return Err(missing("seed", "a column seed or initial_state with the start of each episode"));
    }
    let arms = match (arms, arm) {
        (None, None) => {
            let valid = "a column with the arm of each episode, or the arm's name before the file, such as weak=results.csv";
            return Err(missing("arm", valid));
        }
        (Some(_), Some(arm)) => {
            let valid = format!(
                "no name before the file, because its column names the arms, and {arm} is another name"
            );
            return Err(Complaint::new(&table.begins, "arm", "a column of this name", valid));
        }
        (arms, _) => arms,
    };
    let row = |(place, fields): &(String, Vec<String>)| {
        let text = |column: usize, name: &str| -> Result<String, Complaint> {
            let text = fields.get(column).map_or("", |field| field.trim());
            if text.is_empty() {
                return Err(Complaint::new(place, name, "nothing", "a value in every row"));
            }
            Ok(text.to_owned())
        };
        let label = |column: Option<usize>, name: &str| -> Result<Option<String>, Complaint> {
            column.map(|column| Ok(whole(&text(column, name)?))).transpose()
        };
        Ok(Episode {
            task: whole(&text(task, "task")?),
            seed: label(seed, "seed")?,
            initial_state: label(initial_state, "initial_state")?,
            arm: match (arms, arm) {
                (Some(column), _) => text(column, "arm")?,
                (None, arm) => arm.unwrap_or_default().to_owned(),
            },
            success: flag(place, &text(success, "success")?)?,
            place: place.clone(),
        })
    };
    let episodes = table.rows.iter().map(row).collect::<Result<_, _>>()?;
    Ok(Episodes { episodes, notes: Vec::new() })
}

/// Returns a whole number without a fraction of zeros, which pandas writes where a number of the column is missing; other text
/// unchanged.
fn whole(text: &str) -> String {
    let number = text.split_once(['.', ',']).filter(|(whole, zeros)| {
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number(digits) && !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0')
    });
    number.map_or(text, |(whole, _)| whole).to_owned()
}

/// Parses an outcome.
fn flag(place: &str, text: &str) -> Result<bool, Complaint> {
    match whole(&text.to_lowercase()).as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => {
            let valid = "true or false, in any case, or 1 or 0";
            Err(Complaint::new(place, "success", format!("`{text}`"), valid))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::csv::table;

    fn read(text: &str, arm: Option<&str>) -> Result<Vec<Episode>, String> {
        let found = episodes(&table(text).unwrap(), arm).map_err(|error| error.to_string());
        Ok(found?.episodes)
    }

    #[test]
    fn outcomes_and_numbers_are_read_as_programs_write_them() {
        for (text, success) in [
            ("TRUE", true),
            ("False", false),
            ("true", true),
            ("1", true),
            ("0", false),
            ("1.0", true),
            ("0.0", false),
            ("\"1,0\"", true),
            ("\"0,00\"", false),
            (" 1 ", true),
        ] {
            let found = read(&format!("Task,SEED,arm ,Success\nlift,7.0,weak,{text}\n"), None).unwrap();
            assert_eq!((found[0].success, found[0].seed.as_deref()), (success, Some("7")), "{text}");
        }
        let found = read("task,initial_state,success\n3.0,a.0,1\n", Some("mine")).unwrap();
        assert_eq!(
            (&*found[0].task, found[0].initial_state.as_deref(), &*found[0].arm),
            ("3", Some("a.0"), "mine")
        );
    }

    #[test]
    fn an_invalid_value_is_named_by_line_and_column() {
        for (text, arm, said) in [
            (
                "task,seed,arm\nlift,1,weak\n",
                None,
                "line 1: success: found no such column among task, seed, arm",
            ),
            ("seed,arm,success\n1,weak,1\n", None, "line 1: task: found no such column"),
            (
                "task,arm,success\nlift,weak,1\n",
                None,
                "line 1: seed: found no such column among task, arm, success",
            ),
            ("task,seed,success\nlift,1,1\n", None, "line 1: arm: found no such column"),
            (
                "task,seed,arm,success\nlift,1,weak,1\n",
                Some("mine"),
                "line 1: arm: found a column of this name; valid is no name",
            ),
            ("task,seed,Task,arm,success\nlift,1,lift,weak,1\n", None, "line 1: task: found more than one"),
            (
                "task,seed,arm,success\nlift,1,weak,0.5\n",
                None,
                "line 2: success: found `0.5`; valid is true or false",
            ),
            ("task;seed;arm;success\nlift;1;weak;0,5\n", None, "line 2: success: found `0,5`"),
            ("task,seed,arm,success\nlift,1,weak,\n", None, "line 2: success: found nothing"),
            ("task,seed,arm,success\nlift,1,weak,1\n,1,weak,1\n", None, "line 3: task: found nothing"),
        ] {
            let error = read(text, arm).unwrap_err();
            assert!(error.contains(said), "{said:?} is missing from: {error}");
        }
    }
}

//! Result files of known evaluators as episodes: LeRobot's `eval_info.json` (read in LeRobot 0.4.4: `lerobot_eval.py`) and the
//! aggregates of vla-eval (read in vla-eval 0.8.0: `results/export.py`). Neither names an arm, so the caller does.

use serde_json::Value;

use super::{Complaint, Episode, Episodes};

/// Reads a result file of either evaluator.
pub(super) fn episodes(found: &Value, arm: Option<&str>) -> Result<Episodes, Complaint> {
    let whole = "the file";
    let Some(arm) = arm else {
        let valid = "the arm's name before the file, such as weak=eval_info.json, because result files of an evaluator name no arm";
        return Err(Complaint::new(whole, "arm", "no name", valid));
    };
    if found.get("per_task").is_some() {
        lerobot_tasks(found, arm)
    } else if found.get("per_episode").is_some() {
        lerobot_episodes(found, arm)
    } else if found.get("tasks").is_some() {
        vla_eval(found, arm)
    } else {
        let keys: Vec<&str> = found.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let valid = "per_task or per_episode of LeRobot's eval_info.json, or tasks of an aggregate of vla-eval; write other results as CSV";
        Err(Complaint::new(whole, "keys", keys.join(", "), valid))
    }
}

fn list<'a>(value: &'a Value, place: &str, key: &str) -> Result<&'a Vec<Value>, Complaint> {
    let found = || Complaint::new(place, key, brief(&value[key]), "a list");
    value[key].as_array().ok_or_else(found)
}

/// Returns a name or a number as text.
fn label(value: &Value, place: &str, key: &str) -> Result<String, Complaint> {
    match &value[key] {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Complaint::new(place, key, brief(other), "a name or a number")),
    }
}

fn flag(value: &Value, place: &str, key: &str) -> Result<bool, Complaint> {
    match value.as_bool().or(match value.as_f64() {
        Some(1.0) => Some(true),
        Some(0.0) => Some(false),
        _ => None,
    }) {
        Some(flag) => Ok(flag),
        None => Err(Complaint::new(place, key, brief(value), "true or false, or 1 or 0")),
    }
}

fn brief(value: &Value) -> String {
    let text = if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    if text.chars().count() > 60 { text.chars().take(57).collect::<String>() + "…" } else { text }
}

/// Reads a file of LeRobot since 0.4: lists of outcomes for each task, without seeds.
fn lerobot_tasks(found: &Value, arm: &str) -> Result<Episodes, Complaint> {
    let mut episodes = Vec::new();
    for (index, task) in list(found, "the file", "per_task")?.iter().enumerate() {
        let place = format!("per_task[{index}]");
        let name = format!("{}_{}", label(task, &place, "task_group")?, label(task, &place, "task_id")?);
        let outcomes = list(&task["metrics"], &format!("{place}.metrics"), "successes")?;
        for (episode, outcome) in outcomes.iter().enumerate() {
            let place = format!("{place}.metrics.successes[{episode}]");
            episodes.push(Episode {
                task: name.clone(),
                initial_state: None,
                seed: Some(episode.to_string()),
                arm: arm.to_owned(),
                success: flag(outcome, &place, "success")?,
                place,
            });
        }
    }
    let note = format!(
        "{arm}: LeRobot stores no seeds, so episodes are paired by their place in each task. That is the same start only where both \
         runs had the same --seed, --eval.batch_size and environment."
    );
    Ok(Episodes { episodes, notes: vec![note] })
}

/// Reads a file of LeRobot before 0.4, or of one environment: a list of episodes with their seeds.
fn lerobot_episodes(found: &Value, arm: &str) -> Result<Episodes, Complaint> {
    let of = |(index, episode): (usize, &Value)| {
        let place = format!("per_episode[{index}]");
        Ok(Episode {
            task: "0".into(),
            initial_state: None,
            seed: Some(label(episode, &place, "seed")?),
            arm: arm.to_owned(),
            success: flag(&episode["success"], &place, "success")?,
            place,
        })
    };
    let episodes =
        list(found, "the file", "per_episode")?.iter().enumerate().map(of).collect::<Result<_, _>>()?;
    Ok(Episodes { episodes, notes: Vec::new() })
}

/// Reads an aggregate of vla-eval: episodes of each task by number.
fn vla_eval(found: &Value, arm: &str) -> Result<Episodes, Complaint> {
    let (mut episodes, mut failures) = (Vec::new(), 0);
    for (index, task) in list(found, "the file", "tasks")?.iter().enumerate() {
        let place = format!("tasks[{index}]");
        let name = label(task, &place, "task")?;
        for (number, episode) in list(task, &place, "episodes")?.iter().enumerate() {
            let place = format!("{place}.episodes[{number}]");
            // An episode that ended with an error has no metrics; the evaluator counts it as lost.
            let broke_off = episode.get("failure_reason").is_some_and(|reason| !reason.is_null());
            failures += usize::from(broke_off);
            let outcome = &episode["metrics"]["success"];
            episodes.push(Episode {
                task: name.clone(),
                initial_state: None,
                seed: Some(label(episode, &place, "episode_id")?),
                arm: arm.to_owned(),
                success: if broke_off && outcome.is_null() {
                    false
                } else {
                    flag(outcome, &place, "metrics.success")?
                },
                place,
            });
        }
    }
    let seed = if found["seed"].is_null() { "not stated".into() } else { found["seed"].to_string() };
    let mut notes =
        vec![format!("{arm}: vla-eval, seed {seed}; episodes are paired by task and episode_id.")];
    if failures > 0 {
        notes.push(format!(
            "{arm}: {failures} episodes ended with an error and count as lost, as in vla-eval."
        ));
    }
    if found["partial"] == true {
        notes.push(format!("{arm}: the file states that the evaluation is partial."));
    }
    Ok(Episodes { episodes, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lerobot() -> Value {
        json!({
            "per_task": [
                { "task_group": "spatial", "task_id": 3, "metrics": { "successes": [true, false], "sum_rewards": [1.0, 0.0] } },
            ],
            "per_group": {}, "overall": {},
        })
    }

    #[test]
    fn results_of_lerobot_are_paired_by_place_or_by_seed() {
        let found = episodes(&lerobot(), Some("weak")).unwrap();
        let brief = |one: &Episode| (one.task.clone(), one.seed.clone().unwrap(), one.success);
        assert_eq!(
            found.episodes.iter().map(brief).collect::<Vec<_>>(),
            [("spatial_3".into(), "0".into(), true), ("spatial_3".into(), "1".into(), false)]
        );
        assert!(found.notes[0].contains("paired by their place"), "{:?}", found.notes);
        let older =
            json!({ "per_episode": [{ "episode_ix": 0, "seed": 1000, "success": 1.0 }], "aggregated": {} });
        assert_eq!(
            brief(&episodes(&older, Some("weak")).unwrap().episodes[0]),
            ("0".into(), "1000".into(), true)
        );
    }

    #[test]
    fn results_of_vla_eval_count_broken_episodes_as_lost() {
        let found = json!({
            "benchmark": "b", "mode": "sync", "seed": 7, "partial": true, "config": {},
            "tasks": [{ "task": "lift", "num_episodes": 2, "avg_steps": 3.0, "episodes": [
                { "episode_id": 0, "metrics": { "success": true }, "steps": 3 },
                { "episode_id": 1, "metrics": {}, "failure_reason": "timeout" },
            ] }],
        });
        let found = episodes(&found, Some("weak")).unwrap();
        assert_eq!(found.episodes.iter().map(|one| one.success).collect::<Vec<_>>(), [true, false]);
        for (note, said) in found.notes.iter().zip(["seed 7", "1 episodes ended with an error", "partial"]) {
            assert!(note.contains(said), "{said:?} is missing from: {note}");
        }
    }

    #[test]
    fn other_files_are_refused_with_their_keys() {
        for (found, arm, said) in [
            (lerobot(), None, "the file: arm: found no name; valid is the arm's name before the file"),
            (json!({ "overall": {} }), Some("weak"), "the file: keys: found overall; valid is per_task"),
            (json!({ "per_task": 3 }), Some("weak"), "the file: per_task: found 3; valid is a list"),
            (
                json!({ "per_task": [{ "task_group": "a", "task_id": 0, "metrics": { "successes": [0.5] } }] }),
                Some("weak"),
                "per_task[0].metrics.successes[0]: success: found 0.5",
            ),
            (
                json!({ "per_episode": [{ "success": true, "seed": null }] }),
                Some("weak"),
                "per_episode[0]: seed: found nothing",
            ),
            (
                json!({ "tasks": [{ "task": "lift", "episodes": [{ "episode_id": 1, "metrics": {} }] }] }),
                Some("weak"),
                "tasks[0].episodes[0]: metrics.success: found nothing",
            ),
        ] {
            let error = episodes(&found, arm).unwrap_err().to_string();
            assert!(error.contains(said), "{said:?} is missing from: {error}");
        }
    }
}

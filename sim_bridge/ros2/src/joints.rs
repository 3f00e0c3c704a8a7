//! Joint states in the order of the robot's file: joints are found by name, whatever their place in a message. Pure.

use std::time::Duration;

use crate::message::JointState;

/// Largest magnitude of a value that a plant reports.
const LARGEST: f64 = 1e6;

/// Joint states of one message, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Positions, `[joints]`, radians or metres.
    pub positions: Vec<f64>,
    /// Velocities, `[joints]`, radians or metres per second; empty where they are not read.
    pub velocities: Vec<f64>,
    /// When they were measured, on the process's clock.
    pub taken: Duration,
}

/// Takes the joints `names` out of a message, with velocities where they are asked for.
///
/// # Errors
/// A joint that is missing or there twice, a list of another length than the names, or a value that is not finite or beyond 1e6:
/// what was found and what is valid, by joint.
pub fn reading(
    state: &JointState,
    names: &[String],
    with_velocities: bool,
    taken: Duration,
) -> Result<Reading, String> {
    let count = state.names.len();
    let whole = |what: &str, values: &[f64]| match values.len() == count {
        true => Ok(()),
        false => Err(format!("found {} {what} of {count} joints; valid is one for each", values.len())),
    };
    whole("positions", &state.positions)?;
    if with_velocities {
        whole("velocities", &state.velocities)?;
    }
    let (mut positions, mut velocities) = (Vec::new(), Vec::new());
    for name in names {
        let mut places = state.names.iter().enumerate().filter(|(_, found)| *found == name);
        let place = match (places.next(), places.next()) {
            (Some((place, _)), None) => place,
            (None, _) => {
                let found = state.names.join(", ");
                return Err(format!("joint {name:?}: not among {found}"));
            }
            (Some(_), Some(_)) => return Err(format!("joint {name:?}: found twice; valid is once")),
        };
        let value = |what: &str, values: &[f64]| {
            let value = values[place];
            match value.is_finite() && value.abs() <= LARGEST {
                true => Ok(value),
                false => {
                    Err(format!("joint {name:?}: found {what} {value}; valid is a finite number within 1e6"))
                }
            }
        };
        positions.push(value("position", &state.positions)?);
        if with_velocities {
            velocities.push(value("velocity", &state.velocities)?);
        }
    }
    Ok(Reading { positions, velocities, taken })
}

/// Whether joints are at rest: their positions have stayed within a distance for a time.
#[derive(Clone, Debug)]
pub struct Rest {
    within: f64,
    lasting: Duration,
    /// Since when they have, and the least and largest position of each joint since then.
    since: Option<(Duration, Vec<[f64; 2]>)>,
    newest: Duration,
    /// Whether they have moved by more than the distance since the beginning.
    has_moved: bool,
}

impl Rest {
    /// Creates the state of joints of which nothing is known. Joints are at rest once each has stayed `within` a distance, radians or
    /// metres, for the time `lasting`.
    pub fn new(within: f64, lasting: Duration) -> Self {
        Self { within, lasting, since: None, newest: Duration::ZERO, has_moved: false }
    }

    /// Takes a reading.
    pub fn read(&mut self, reading: &Reading) {
        let begin = || reading.positions.iter().map(|position| [*position; 2]).collect::<Vec<_>>();
        let (since, ranges) = self.since.get_or_insert_with(|| (reading.taken, begin()));
        for ([low, high], position) in ranges.iter_mut().zip(&reading.positions) {
            (*low, *high) = (low.min(*position), high.max(*position));
        }
        if ranges.iter().any(|[low, high]| high - low > self.within) {
            (*since, *ranges) = (reading.taken, begin());
            self.has_moved = true;
        }
        self.newest = reading.taken;
    }

    /// Forgets what was read: the joints may have been told to move.
    pub fn begin(&mut self) {
        (self.since, self.has_moved) = (None, false);
    }

    /// Returns whether the joints have moved by more than the distance.
    pub fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Returns whether the joints are at rest.
    pub fn is_reached(&self) -> bool {
        self.since.as_ref().is_some_and(|(since, _)| self.newest.saturating_sub(*since) >= self.lasting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(names: &[&str], positions: &[f64], velocities: &[f64]) -> JointState {
        JointState {
            stamp_ns: 0,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            positions: positions.to_vec(),
            velocities: velocities.to_vec(),
        }
    }

    fn take(state: &JointState, with_velocities: bool) -> Result<Reading, String> {
        reading(state, &["a".into(), "b".into()], with_velocities, Duration::ZERO)
    }

    #[test]
    fn joints_are_found_by_name_and_others_are_passed_over() {
        let permuted = state(&["other", "b", "a"], &[9.0, 2.0, 1.0], &[9.0, 0.2, 0.1]);
        let found = take(&permuted, true).unwrap();
        assert_eq!((found.positions, found.velocities), (vec![1.0, 2.0], vec![0.1, 0.2]));
        assert_eq!(take(&permuted, false).unwrap().velocities, Vec::<f64>::new());
        assert_eq!(take(&state(&["a", "b"], &[1.0, 2.0], &[]), false).unwrap().positions, [1.0, 2.0]);
    }

    #[test]
    fn what_is_missing_or_no_number_is_said_by_joint() {
        let says = |state: &JointState, with, expected: &str| {
            let error = take(state, with).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        says(&state(&["a", "c"], &[1.0, 2.0], &[]), false, "joint \"b\": not among a, c");
        says(&state(&["a", "b", "a"], &[1.0; 3], &[]), false, "joint \"a\": found twice");
        says(&state(&["a", "b"], &[1.0], &[]), false, "found 1 positions of 2 joints");
        says(&state(&["a", "b"], &[1.0; 2], &[]), true, "found 0 velocities of 2 joints");
        says(&state(&["a", "b"], &[1.0, f64::NAN], &[]), false, "joint \"b\": found position NaN");
        says(&state(&["a", "b"], &[1.0, 2e6], &[]), false, "joint \"b\": found position 2000000");
        says(&state(&["a", "b"], &[1.0; 2], &[f64::INFINITY, 0.0]), true, "joint \"a\": found velocity inf");
        // A joint that is not read may be anything.
        take(&state(&["a", "b", "c"], &[1.0, 1.0, f64::NAN], &[]), false).unwrap();
    }

    #[test]
    fn joints_are_at_rest_once_they_have_stayed_for_the_time() {
        let mut rest = Rest::new(0.01, Duration::from_millis(200));
        let read = |rest: &mut Rest, ms: u64, position: f64| {
            rest.read(&Reading {
                positions: vec![0.0, position],
                velocities: vec![],
                taken: Duration::from_millis(ms),
            });
            rest.is_reached()
        };
        assert!(!read(&mut rest, 0, 0.0) && !read(&mut rest, 100, 0.005) && !rest.has_moved());
        assert!(!read(&mut rest, 200, 0.02) && rest.has_moved(), "it moves");
        assert!(!read(&mut rest, 300, 0.02) && read(&mut rest, 400, 0.025));
        rest.begin();
        assert!(!rest.is_reached() && !rest.has_moved() && !read(&mut rest, 500, 0.025));
        // A slow drift is no rest either: the whole range counts.
        for (index, ms) in (600..2000).step_by(100).enumerate() {
            let reached = read(&mut rest, ms, 0.03 + 0.008 * index as f64);
            assert!(!reached, "{ms}");
        }
    }
}

//! Whether a plant stands: since when it has been asked to, and what it says. Pure.

use std::time::Duration;

use crate::counted::Counted;

/// What a host knows of a plant that comes to rest.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Whether a command has moved the plant, which has not been seen to stand since.
    is_moving: bool,
    /// Whether an earlier process may have left the plant in motion.
    may_move: bool,
    /// How long the plant may take before it counts as one that does not come to rest.
    wait: Duration,
    /// When the plant first said that it does not stand, since it was last moved, and why it says so now.
    refused: Option<(Duration, String)>,
    /// Refusals to stand after that time.
    late: Counted,
}

impl Standing {
    /// Takes it that an earlier process may have left the plant in motion.
    pub fn suspect(&mut self) {
        self.may_move = true;
    }

    /// Sets how long the plant may take to come to rest.
    pub fn allow(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// Takes a command that moves the plant.
    pub fn moved(&mut self) {
        (self.is_moving, self.refused) = (true, None);
    }

    /// Takes a stop while nobody drives: a plant that an earlier process may have left in motion counts as moving.
    pub fn doubt(&mut self) {
        self.is_moving |= self.may_move;
    }

    /// Takes it that the plant stands.
    pub fn stands(&mut self) {
        (self.is_moving, self.may_move, self.refused) = (false, false, None);
    }

    /// Takes it that there is nothing that could be asked to stand.
    pub fn absent(&mut self) {
        (self.is_moving, self.refused) = (false, None);
    }

    /// Takes it that the plant was asked to stand, and why it says that it does not.
    pub fn refused(&mut self, now: Duration, reason: String) {
        let since = self.refused.as_ref().map_or(now, |(since, _)| *since);
        let elapsed = now.saturating_sub(since);
        if elapsed >= self.wait {
            let seconds = elapsed.as_secs_f64();
            self.late.add(format!("told to stop {seconds:.1} s ago, and not at rest: {reason}"));
        }
        self.refused = Some((since, reason));
    }

    /// Returns whether the plant is to be asked to stand.
    pub fn is_moving(&self) -> bool {
        self.is_moving
    }

    /// Returns why the plant says that it does not stand; empty where it has not said so.
    pub fn reason(&self) -> &str {
        self.refused.as_ref().map_or("", |(_, reason)| reason)
    }

    /// Returns the refusals to stand since the last call, as [`Counted::untold`] does.
    pub fn untold(&mut self, now: Duration) -> Option<(u64, &str)> {
        self.late.untold(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plant_that_comes_to_rest_in_its_time_is_no_warning() {
        let ms = Duration::from_millis;
        let mut standing = Standing::default();
        standing.allow(ms(500));
        for begin in [1000, 5000] {
            standing.moved();
            for elapsed in [0, 499] {
                standing.refused(ms(begin + elapsed), "it moves".into());
                assert_eq!(standing.untold(ms(begin + elapsed)), None);
                assert_eq!(standing.reason(), "it moves");
            }
            standing.stands();
            assert!(!standing.is_moving() && standing.reason().is_empty());
        }
        standing.moved();
        standing.refused(ms(7000), "it moves".into());
        standing.refused(ms(7500), "it moves".into());
        let told = standing.untold(ms(7500)).unwrap();
        assert_eq!(told, (1, "told to stop 0.5 s ago, and not at rest: it moves"));
    }

    #[test]
    fn a_plant_that_may_have_been_left_in_motion_moves_once_it_is_stopped() {
        let mut standing = Standing::default();
        standing.doubt();
        assert!(!standing.is_moving(), "nobody has moved it");
        standing.suspect();
        assert!(!standing.is_moving());
        standing.doubt();
        assert!(standing.is_moving());
        standing.absent();
        assert!(!standing.is_moving());
        standing.doubt();
        assert!(standing.is_moving(), "it was not there, and may be now");
        standing.stands();
        standing.doubt();
        assert!(!standing.is_moving(), "it was seen to stand");
    }
}

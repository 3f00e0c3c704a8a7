//! Pairing of frames and observations by the time at which they were taken. A policy that reads pictures reads frames and an
//! observation from the same time, however long each of them was on its way.

use std::collections::VecDeque;
use std::time::Duration;

/// Number of observations that are kept; at 20 observations a second, more than three seconds.
const OBSERVATIONS: usize = 64;
/// Number of frames that are kept of each camera; at 20 frames a second, as many seconds as another camera may be slower.
const FRAMES: usize = 32;

/// An observation with a frame of each camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired<O, F> {
    /// The observation.
    pub observation: O,
    /// One frame of each camera, in the order of the settings.
    pub frames: Vec<F>,
    /// Time at which the oldest part was taken, on the controller's clock.
    pub taken: Duration,
    /// Time at which the observation was taken.
    pub observed: Duration,
}

/// The newest observations and frames of one episode.
#[derive(Clone, Debug)]
pub struct Pairing<O, F> {
    observations: VecDeque<(Duration, O)>,
    cameras: Vec<(Duration, VecDeque<(Duration, F)>)>,
    /// Times of the newest set: of its observation, and of its oldest part.
    newest: Option<[Duration; 2]>,
}

impl<O: Clone, F: Clone> Pairing<O, F> {
    /// Makes an empty pairing for cameras with these largest times between a frame and its observation.
    pub fn new(skews: impl IntoIterator<Item = Duration>) -> Self {
        let cameras = skews.into_iter().map(|skew| (skew, VecDeque::with_capacity(FRAMES)));
        Self { observations: VecDeque::with_capacity(OBSERVATIONS), cameras: cameras.collect(), newest: None }
    }

    /// Forgets everything, for a new episode.
    pub fn clear(&mut self) {
        self.observations.clear();
        self.cameras.iter_mut().for_each(|(_, frames)| frames.clear());
        self.newest = None;
    }

    /// Adds an observation that was taken at `taken`, on the controller's clock.
    pub fn observe(&mut self, taken: Duration, observation: O) {
        keep(&mut self.observations, OBSERVATIONS, taken, observation);
    }

    /// Adds a frame of the camera with this index.
    pub fn see(&mut self, camera: usize, taken: Duration, frame: F) {
        if let Some((_, frames)) = self.cameras.get_mut(camera) {
            keep(frames, FRAMES, taken, frame);
        }
    }

    /// Returns the newest set, if it is newer than the set that was returned last: the observation nearest to the time up to
    /// which every camera has delivered, and each camera's frame nearest to that observation. `None` where a camera has no
    /// frame, or none near enough.
    pub fn complete(&mut self) -> Option<Paired<O, F>> {
        let up_to = self.cameras.iter().map(|(_, frames)| frames.back().map(|(taken, _)| *taken));
        let up_to = up_to.collect::<Option<Vec<_>>>()?.into_iter().min()?;
        let (observed, observation) = nearest(&self.observations, up_to)?;
        let (mut frames, mut taken) = (Vec::with_capacity(self.cameras.len()), observed);
        for (skew, seen) in &self.cameras {
            let (at, frame) = nearest(seen, observed)?;
            if at.abs_diff(observed) > *skew {
                return None;
            }
            taken = taken.min(at);
            frames.push(frame.clone());
        }
        let times = [observed, taken];
        if self.newest.is_some_and(|newest| times <= newest) {
            return None;
        }
        self.newest = Some(times);
        Some(Paired { observation: observation.clone(), frames, taken, observed })
    }
}

/// Appends to a queue in the order of time; what is not later than its end is left out.
fn keep<T>(queue: &mut VecDeque<(Duration, T)>, most: usize, taken: Duration, item: T) {
    if queue.back().is_some_and(|(last, _)| taken <= *last) {
        return;
    }
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back((taken, item));
}

/// Returns the item nearest to a time, the earlier of two that are equally near.
fn nearest<T>(queue: &VecDeque<(Duration, T)>, to: Duration) -> Option<(Duration, &T)> {
    queue.iter().min_by_key(|(taken, _)| taken.abs_diff(to)).map(|(taken, item)| (*taken, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn frames_that_come_late_are_paired_with_the_observation_of_their_own_time() {
        let mut pairing = Pairing::new([ms(10), ms(10)]);
        (1..=10).for_each(|step| pairing.observe(ms(50 * step), step));
        assert_eq!(pairing.complete(), None, "no frames yet");
        pairing.see(0, ms(200), "front 200");
        pairing.see(0, ms(400), "front 400");
        assert_eq!(pairing.complete(), None, "the other camera has none");
        pairing.see(1, ms(203), "wrist 203");
        let paired = pairing.complete().unwrap();
        assert_eq!(
            (paired.observation, paired.frames, paired.taken),
            (4, vec!["front 200", "wrist 203"], ms(200))
        );
        assert_eq!(pairing.complete(), None, "each set once");
        pairing.see(1, ms(403), "wrist 403");
        let paired = pairing.complete().unwrap();
        assert_eq!((paired.observation, paired.observed), (8, ms(400)));
    }

    #[test]
    fn what_is_too_far_apart_in_time_is_no_set() {
        let mut pairing = Pairing::new([ms(20)]);
        pairing.observe(ms(100), 1);
        pairing.see(0, ms(130), "late");
        assert_eq!(pairing.complete(), None);
        pairing.observe(ms(150), 2);
        assert_eq!(pairing.complete().map(|set| (set.observation, set.taken)), Some((2, ms(130))));
        pairing.clear();
        pairing.observe(ms(150), 3);
        assert_eq!(pairing.complete(), None, "nothing is left of the episode before");
    }

    #[test]
    fn sets_never_go_back_in_time_and_memory_is_bounded() {
        let mut pairing = Pairing::new([ms(1000)]);
        let mut last = Duration::ZERO;
        for step in 0..1000_u64 {
            // Every tenth frame repeats an old stamp.
            let taken = ms(if step % 10 == 9 { 10 * step - 80 } else { 10 * step + 1 });
            pairing.observe(taken, step);
            pairing.see(0, taken, step);
            if let Some(paired) = pairing.complete() {
                assert!(paired.observed > last);
                last = paired.observed;
            }
        }
        assert!(pairing.observations.len() <= OBSERVATIONS && pairing.cameras[0].1.len() <= FRAMES);
    }
}

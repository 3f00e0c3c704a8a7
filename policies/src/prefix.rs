//! Prefix of the next chunk: the rest of the chunk that the plant executes while the policy infers, for policies that continue it
//! (real-time chunking; Black, Galliker and Levine, *Real-Time Execution of Action Chunking Flow Policies*, 2025).

use std::collections::VecDeque;

use aegis_core::Executing;

/// Number of chunks that are kept. More inferences after the one in execution have been refused or late.
const KEPT: usize = 16;

/// The policy's chunks of an episode, as the graph gave them, and which of them is executed.
#[derive(Debug)]
pub(crate) struct Prefix {
    width: usize,
    /// Actions at the front of a chunk that belong to the past.
    skip: usize,
    /// Chunks, row-major `[horizon, width]`, newest first.
    chunks: VecDeque<Vec<f64>>,
    executing: Option<Executing>,
}

impl Prefix {
    /// Makes an empty memory of chunks with `width` values per action, of which the first `skip` actions belong to the past.
    pub fn new(width: usize, skip: usize) -> Self {
        Self { width, skip, chunks: VecDeque::with_capacity(KEPT), executing: None }
    }

    /// Forgets the chunks of the last episode.
    pub fn begin(&mut self) {
        self.chunks.clear();
        self.executing = None;
    }

    /// Sets which of the chunks is executed.
    pub fn set_executing(&mut self, executing: Option<Executing>) {
        self.executing = executing;
    }

    /// Keeps the chunk of an inference.
    pub fn keep(&mut self, chunk: Vec<f64>) {
        self.chunks.truncate(KEPT - 1);
        self.chunks.push_front(chunk);
    }

    /// Returns the actions of the executed chunk from the first action of the next chunk on, `[actions, width]`; empty where none of
    /// the policy's chunks is executed.
    pub fn rest(&self) -> &[f64] {
        let rest = self.executing.and_then(|executing| {
            let begin = (self.skip + executing.steps as usize) * self.width;
            self.chunks.get(executing.back)?.get(begin..)
        });
        rest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_executed_chunk_begins_at_the_next_chunks_first_action() {
        let mut prefix = Prefix::new(2, 1);
        let executing = |back, steps| Some(Executing { back, steps });
        assert!(prefix.rest().is_empty());
        prefix.keep((0..10).map(f64::from).collect());
        assert!(prefix.rest().is_empty(), "kept, but not executed");
        prefix.set_executing(executing(0, 2));
        assert_eq!(prefix.rest(), [6.0, 7.0, 8.0, 9.0]);
        prefix.keep(vec![0.0; 10]);
        prefix.set_executing(executing(1, 3));
        assert_eq!(prefix.rest(), [8.0, 9.0], "a chunk that was not taken came after the executed one");
        for (back, steps) in [(1, 4), (1, 9), (2, 0)] {
            prefix.set_executing(executing(back, steps));
            assert!(prefix.rest().is_empty(), "{back} {steps}");
        }
        prefix.set_executing(executing(0, 0));
        prefix.begin();
        assert!(prefix.rest().is_empty());
    }
}

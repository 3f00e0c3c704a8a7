//! Requests that a policy has answered in an episode, newest first: which of its inferences made the chunk in execution.

use std::collections::VecDeque;

use aegis_core::Executing;
use aegis_core::control::ChunkInExecution;

/// Number of requests that are kept. Of those after the chunk in execution, all were refused or came too late.
const KEPT: usize = 16;

/// Numbers of the requests that were answered with a chunk.
#[derive(Debug, Default)]
pub(crate) struct Answered(VecDeque<u64>);

impl Answered {
    /// Forgets the requests of the last episode.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes that a request was answered with a chunk.
    pub(crate) fn push(&mut self, request: u64) {
        self.0.truncate(KEPT - 1);
        self.0.push_front(request);
    }

    /// Returns how many inferences ago the chunk in execution was made; `None` for a chunk of an earlier episode or one that is no
    /// longer kept.
    pub(crate) fn find(&self, chunk: Option<ChunkInExecution>) -> Option<Executing> {
        let ChunkInExecution { request, steps } = chunk?;
        let back = self.0.iter().position(|answered| *answered == request)?;
        Some(Executing { back, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_found_by_its_request_for_as_long_as_it_is_kept() {
        let mut answered = Answered::default();
        let find = |answered: &Answered, request| {
            answered.find(Some(ChunkInExecution { request, steps: 3 })).map(|executing| executing.back)
        };
        (1..=3).for_each(|request| answered.push(request));
        assert_eq!([3, 2, 1, 4].map(|request| find(&answered, request)), [Some(0), Some(1), Some(2), None]);
        assert_eq!(answered.find(None), None);
        (4..=KEPT as u64 + 1).for_each(|request| answered.push(request));
        assert_eq!([1, 2].map(|request| find(&answered, request)), [None, Some(KEPT - 1)]);
        answered.clear();
        assert_eq!(find(&answered, 2), None);
    }
}

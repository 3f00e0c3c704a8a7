//! Chunk buffer: the action chunk in execution, scheduled on the episode's control steps, and the change to the next chunk.
//! Chunks are copied into buffers allocated at the start: nothing is allocated while a robot moves.

use serde::{Deserialize, Serialize};

use super::channel::Channel;

/// Treatment of control steps that a new chunk and the old chunk of the same policy both cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new chunk's actions are executed.
    Replace,
    /// Over this many control steps the weight moves from the old chunk's actions to the new chunk's.
    Blend(u32),
}

/// Chunk with the request that it answers, and the control step of its first action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScheduledChunk {
    width: usize,
    request: u64,
    anchor: u32,
    values: Vec<f32>,
}

impl ScheduledChunk {
    /// Returns an empty chunk with capacity for `[horizon, width]` values.
    pub(crate) fn with_room(horizon: usize, width: usize) -> Self {
        Self { width, request: 0, anchor: 0, values: Vec::with_capacity(horizon * width) }
    }

    /// Copies a chunk, row-major `[horizon, width]`, cut to the capacity.
    pub(crate) fn put(&mut self, values: &[f32], (request, anchor): (u64, u32)) {
        self.values.clear();
        self.values.extend_from_slice(&values[..values.len().min(self.values.capacity())]);
        (self.request, self.anchor) = (request, anchor);
    }

    /// Clamps every action to its channels' bounds.
    pub(crate) fn clamp(&mut self, channels: &[Channel]) {
        for action in self.values.chunks_exact_mut(self.width) {
            for (value, channel) in action.iter_mut().zip(channels) {
                *value = f64::from(*value).clamp(channel.low, channel.high) as f32;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the actions from a control step on, row-major; empty before the first and after the last action.
    pub(crate) fn from(&self, step: u32) -> &[f32] {
        let index = step.checked_sub(self.anchor).map(|index| index as usize * self.width);
        index.and_then(|index| self.values.get(index..)).unwrap_or_default()
    }

    pub(crate) fn anchor(&self) -> u32 {
        self.anchor
    }

    /// Returns the action for a control step; `None` before the first and after the last action.
    pub(crate) fn at(&self, step: u32) -> Option<&[f32]> {
        let index = step.checked_sub(self.anchor)? as usize;
        self.values.chunks_exact(self.width).nth(index)
    }
}

/// Which chunk of a policy is executed, as its next inference is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInExecution {
    /// Number of the request that the chunk answered.
    pub request: u64,
    /// Control steps from the chunk's first action to the present one.
    pub steps: u32,
}

/// Chunk in execution, and the chunk before for blending.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChunkBuffer {
    overlap: Overlap,
    now: ScheduledChunk,
    before: ScheduledChunk,
    since: u32,
    action: Vec<f32>,
}

impl ChunkBuffer {
    pub(crate) fn new(overlap: Overlap, horizon: usize, width: usize) -> Self {
        let room = || ScheduledChunk::with_room(horizon, width);
        Self { overlap, now: room(), before: room(), since: 0, action: vec![0.0; width] }
    }

    /// Continues with the chunk `next` from control step `step` on. Chunks of different drivers are not blended.
    pub(crate) fn take(&mut self, next: &ScheduledChunk, step: u32, same_driver: bool) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.put(next.values(), (next.request, next.anchor));
        if !same_driver {
            self.before.clear();
        }
        self.since = step;
    }

    pub(crate) fn clear(&mut self) {
        self.now.clear();
        self.before.clear();
    }

    /// Returns the request of the chunk that has an action for a control step, and the steps since the chunk's first action.
    pub(crate) fn executing(&self, step: u32) -> Option<ChunkInExecution> {
        self.now.at(step)?;
        Some(ChunkInExecution { request: self.now.request, steps: step.saturating_sub(self.now.anchor) })
    }

    /// Returns the action for a control step; `None` where the chunk has none.
    pub(crate) fn action(&mut self, step: u32) -> Option<&[f32]> {
        let new = self.now.at(step)?;
        self.action.copy_from_slice(new);
        if let (Overlap::Blend(steps), Some(old)) = (self.overlap, self.before.at(step)) {
            let done = (step - self.since + 1) as f32 / (steps + 1) as f32;
            if done < 1.0 {
                for (value, old) in self.action.iter_mut().zip(old) {
                    *value = old + (*value - old) * done;
                }
            }
        }
        Some(&self.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(values: &[f32], anchor: u32) -> ScheduledChunk {
        let mut placed = ScheduledChunk::with_room(8, 1);
        placed.put(values, (u64::from(anchor), anchor));
        placed
    }

    #[test]
    fn a_chunk_has_actions_for_its_own_steps_alone() {
        let placed = placed(&[1.0, 2.0], 5);
        assert_eq!(
            [4, 5, 6, 7].map(|step| placed.at(step).map(|a| a[0])),
            [None, Some(1.0), Some(2.0), None]
        );
    }

    #[test]
    fn the_chunk_in_execution_is_named_while_it_has_actions() {
        let mut track = ChunkBuffer::new(Overlap::Replace, 8, 1);
        assert_eq!(track.executing(0), None);
        track.take(&placed(&[0.0; 4], 2), 3, true);
        assert_eq!(track.executing(3), Some(ChunkInExecution { request: 2, steps: 1 }));
        assert_eq!([1, 6].map(|step| track.executing(step)), [None, None]);
    }

    #[test]
    fn blending_moves_from_old_to_new() {
        let run = |overlap, same| {
            let mut track = ChunkBuffer::new(overlap, 8, 1);
            track.take(&placed(&[0.0; 6], 0), 0, true);
            track.take(&placed(&[4.0; 6], 2), 3, same);
            [3, 4, 5, 6, 7, 8].map(|step| track.action(step).map(|action| action[0]))
        };
        let new = Some(4.0);
        assert_eq!(run(Overlap::Replace, true), [new, new, new, new, new, None]);
        assert_eq!(run(Overlap::Blend(3), true), [Some(1.0), Some(2.0), Some(3.0), new, new, None]);
        assert_eq!(run(Overlap::Blend(3), false), [new, new, new, new, new, None]);
    }
}

//! Records out of the control thread: whole control periods as bytes through a ring of fixed size.
//! A full ring drops the period and counts it; the control thread neither waits nor allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aegis_core::control::TickRecord;
use serde::Serialize;

/// Bytes of the largest period: two replies of 64 × 64 values, and the rest.
const LARGEST: usize = 64 * 1024;
/// Bytes that may wait: some seconds at 1 kHz.
const CAPACITY: usize = 4 * 1024 * 1024;
/// Before each period, its length as a little-endian `u32`.
const LENGTH: usize = 4;

/// The control thread's side.
pub struct LogWriter {
    ring: rtrb::Producer<u8>,
    scratch: Vec<u8>,
    dropped: Arc<AtomicU64>,
}

/// The other side.
pub struct LogReader {
    ring: rtrb::Consumer<u8>,
    dropped: Arc<AtomicU64>,
}

/// A ring of records.
pub fn log_channel() -> (LogWriter, LogReader) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = LogWriter { ring: producer, scratch: vec![0; LARGEST], dropped: Arc::clone(&dropped) };
    (writer, LogReader { ring: consumer, dropped })
}

impl LogWriter {
    /// Leaves a period for the other side.
    pub fn push(&mut self, period: &TickRecord<'_>) {
        if self.try_push(period).is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_push(&mut self, period: &TickRecord<'_>) -> Option<()> {
        let mut room = &mut self.scratch[LENGTH..];
        let begin = room.len();
        period.serialize(&mut rmp_serde::Serializer::new(&mut room)).ok()?;
        let length = begin - room.len();
        self.scratch[..LENGTH].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        let bytes = &self.scratch[..LENGTH + length];
        let mut chunk = self.ring.write_chunk(bytes.len()).ok()?;
        let (first, second) = chunk.as_mut_slices();
        let (head, tail) = bytes.split_at(first.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        chunk.commit_all();
        Some(())
    }
}

impl LogReader {
    /// Takes the next period's bytes into `out`, replacing what is there; false where none waits.
    pub fn pop(&mut self, out: &mut Vec<u8>) -> bool {
        // A writer commits length and bytes at once: where there is a length, its bytes are there too.
        let Some(length) = self.take::<LENGTH>() else { return false };
        let length = u32::from_le_bytes(length) as usize;
        out.clear();
        let Ok(chunk) = self.ring.read_chunk(length) else { return false };
        let (first, second) = chunk.as_slices();
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        chunk.commit_all();
        true
    }

    /// Periods that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether the control thread has gone; what waits can still be taken.
    pub fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let chunk = self.ring.read_chunk(N).ok()?;
        let mut bytes = [0; N];
        let (first, second) = chunk.as_slices();
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..].copy_from_slice(second);
        chunk.commit_all();
        Some(bytes)
    }
}

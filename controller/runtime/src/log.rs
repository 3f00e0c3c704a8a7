//! Records of the control thread: serialised control periods, passed through a ring of fixed size.
//! A period that does not fit into the ring is dropped and counted; the control thread neither waits nor allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aegis_core::control::TickRecord;
use serde::Serialize;

/// Bytes of the largest period: two replies of 64 × 64 values, and the remaining fields.
const LARGEST: usize = 64 * 1024;
/// Capacity of the ring in bytes: some seconds at 1 kHz.
const CAPACITY: usize = 4 * 1024 * 1024;
/// Bytes of the length before each period, a little-endian `u32`.
const LENGTH: usize = 4;

/// Writing side of the ring, for the control thread.
pub struct LogWriter {
    ring: rtrb::Producer<u8>,
    scratch: Vec<u8>,
    dropped: Arc<AtomicU64>,
}

/// Reading side of the ring.
pub struct LogReader {
    ring: rtrb::Consumer<u8>,
    dropped: Arc<AtomicU64>,
}

/// Returns both sides of a new ring of records.
pub fn log_channel() -> (LogWriter, LogReader) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = LogWriter { ring: producer, scratch: vec![0; LARGEST], dropped: Arc::clone(&dropped) };
    (writer, LogReader { ring: consumer, dropped })
}

impl LogWriter {
    /// Writes a period into the ring, or counts it as dropped where the ring has no room.
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
    /// Moves the next period's bytes into `out`, replacing its content; returns false where no period waits.
    pub fn pop(&mut self, out: &mut Vec<u8>) -> bool {
        // The writer commits length and bytes together: after a length its bytes are always complete.
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

    /// Returns the number of periods that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns whether the control thread has ended; waiting periods can still be taken.
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

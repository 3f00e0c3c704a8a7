//! Messages of one topic in order: those of one publisher, each once, none older than the one before. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::attachment::{Attachment, Gid};
use crate::stamps::StampClock;

/// Which time counts as that of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stamps {
    /// The stamp in its header, on the robot's clock.
    #[default]
    Header,
    /// Its arrival: for robots whose stamps are of a simulated time, or are none.
    Receipt,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It counts, and was made at this time on the process's clock.
    New(Duration),
    /// It is dropped, for this reason.
    Old(&'static str),
    /// Its publisher is another one than that of the messages so far.
    Stranger,
}

/// State of a topic that is read.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    stamps: Stamps,
    publisher: Option<Gid>,
    sequence: i64,
    /// Stamp of the newest message, which is zero where the messages have none.
    stamp_ns: Option<i64>,
    clock: StampClock,
}

impl Stream {
    /// Creates the state of a topic without messages.
    pub fn new(stamps: Stamps) -> Self {
        Self { stamps, ..Self::default() }
    }

    /// Takes a message with this attachment and header's stamp, which arrived at `at`.
    pub fn admit(&mut self, attachment: &Attachment, stamp_ns: i64, at: Duration) -> Admitted {
        let is_first = self.publisher.is_none();
        if *self.publisher.get_or_insert(attachment.gid) != attachment.gid {
            return Admitted::Stranger;
        }
        if !is_first && attachment.sequence <= self.sequence {
            return Admitted::Old("it is repeated, or later than a newer one");
        }
        self.sequence = attachment.sequence;
        if self.stamps == Stamps::Receipt {
            return Admitted::New(at);
        }
        let made = match (self.stamp_ns, stamp_ns) {
            (None | Some(0), 0) => at,
            (Some(0), _) => {
                return Admitted::Old("its header has a stamp, and those of the ones before have none");
            }
            (Some(_), 0) => {
                return Admitted::Old("its header has no stamp, and those of the ones before have one");
            }
            (Some(before), found) if found <= before => {
                return Admitted::Old("its header's stamp is not later than that of the one before");
            }
            (_, found) => self.clock.made(found, at),
        };
        self.stamp_ns = Some(stamp_ns);
        Admitted::New(made)
    }

    /// Forgets the stamps so far: the publisher's clock may have been set, and one stamp may have been wrong. The publisher, and
    /// which of its messages have come, are kept.
    pub fn forget_stamps(&mut self) {
        (self.stamp_ns, self.clock) = (None, StampClock::default());
    }

    /// Forgets the publisher and its clock: its messages come from another process now, or its clock was set.
    pub fn restart(&mut self) {
        *self = Self::new(self.stamps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(gid: u8, sequence: i64) -> Attachment {
        Attachment { sequence, sent_ns: 0, gid: [gid; 16] }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn of_each_message_the_first_counts_and_none_that_is_older() {
        let mut stream = Stream::new(Stamps::Header);
        assert_eq!(stream.admit(&from(1, 0), 100, ms(1)), Admitted::New(ms(1)));
        assert!(
            matches!(stream.admit(&from(1, 0), 200, ms(2)), Admitted::Old(reason) if reason.contains("repeated"))
        );
        assert!(
            matches!(stream.admit(&from(1, 3), 100, ms(2)), Admitted::Old(reason) if reason.contains("stamp"))
        );
        assert!(
            matches!(stream.admit(&from(1, 4), 50, ms(2)), Admitted::Old(reason) if reason.contains("stamp"))
        );
        assert!(matches!(stream.admit(&from(1, 2), 900, ms(2)), Admitted::Old(_)));
        assert_eq!(stream.admit(&from(2, 9), 300, ms(3)), Admitted::Stranger);
        assert!(matches!(stream.admit(&from(1, 5), 300, ms(3)), Admitted::New(_)));
        stream.restart();
        assert_eq!(stream.admit(&from(2, 0), 7, ms(4)), Admitted::New(ms(4)));
    }

    #[test]
    fn stamps_that_were_forgotten_refuse_nothing_and_a_message_still_counts_once() {
        let (mut stream, hour) = (Stream::new(Stamps::Header), 3_600_000_000_000);
        assert_eq!(stream.admit(&from(1, 0), 100, ms(1)), Admitted::New(ms(1)));
        assert_eq!(stream.admit(&from(1, 1), hour, ms(2)), Admitted::New(ms(2)));
        assert!(matches!(stream.admit(&from(1, 2), 200, ms(3)), Admitted::Old(_)));
        stream.forget_stamps();
        assert_eq!(stream.admit(&from(1, 3), 300, ms(4)), Admitted::New(ms(4)), "dated anew");
        assert!(
            matches!(stream.admit(&from(1, 3), 400, ms(5)), Admitted::Old(reason) if reason.contains("repeated"))
        );
        assert_eq!(stream.admit(&from(2, 4), 400, ms(5)), Admitted::Stranger);
    }

    #[test]
    fn messages_with_a_stamp_and_without_are_not_mixed() {
        let reason = |admitted| match admitted {
            Admitted::Old(reason) => reason,
            other => panic!("{other:?}"),
        };
        let mut stream = Stream::new(Stamps::Header);
        stream.admit(&from(1, 0), 100, ms(1));
        assert!(reason(stream.admit(&from(1, 1), 0, ms(2))).contains("has no stamp"));
        assert!(matches!(stream.admit(&from(1, 2), 200, ms(3)), Admitted::New(_)));
        let mut unstamped = Stream::new(Stamps::Header);
        unstamped.admit(&from(1, 0), 0, ms(1));
        assert!(reason(unstamped.admit(&from(1, 1), 100, ms(2))).contains("has a stamp"));
        assert_eq!(unstamped.admit(&from(1, 2), 0, ms(3)), Admitted::New(ms(3)));
    }

    #[test]
    fn without_stamps_the_arrival_counts() {
        let mut stream = Stream::new(Stamps::Receipt);
        assert_eq!(stream.admit(&from(1, 0), 900, ms(1)), Admitted::New(ms(1)));
        assert_eq!(stream.admit(&from(1, 1), 100, ms(2)), Admitted::New(ms(2)));
        let mut unstamped = Stream::new(Stamps::Header);
        assert_eq!(unstamped.admit(&from(1, 0), 0, ms(1)), Admitted::New(ms(1)));
        assert_eq!(unstamped.admit(&from(1, 1), 0, ms(2)), Admitted::New(ms(2)));
    }
}

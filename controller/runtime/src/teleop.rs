//! Ring of operators' commands, from Zenoh's threads to the control thread.

use std::borrow::Cow;

use aegis_core::control::{MAX_OPERATORS, TeleopCommand, TeleopInputs};

/// Capacity of the ring: a quarter of a second of an operator at a thousand commands a second.
const CAPACITY: usize = 256;

/// News of operators.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would be freed on the control thread")]
enum News {
    Command(TeleopCommand),
    /// A command of another claim of the plant.
    Foreign,
}

/// Sending side of the ring, for the thread that receives commands.
pub struct TeleopSender {
    ring: rtrb::Producer<News>,
}

impl TeleopSender {
    /// Sends a command. Returns false where the ring has no room.
    pub fn command(&mut self, command: TeleopCommand) -> bool {
        self.ring.push(News::Command(command)).is_ok()
    }

    /// Sends that a command of another claim arrived. Returns false where the ring has no room.
    pub fn foreign(&mut self) -> bool {
        self.ring.push(News::Foreign).is_ok()
    }
}

/// Receiving side of the ring, for the control thread.
pub struct TeleopReceiver {
    ring: rtrb::Consumer<News>,
    commands: Vec<TeleopCommand>,
}

impl TeleopReceiver {
    /// Takes all commands, joined into the newest of each operator and episode; `None` without news. Neither waits nor allocates.
    pub(crate) fn take(&mut self) -> Option<TeleopInputs<'_>> {
        let (mut is_news, mut foreign) = (false, 0_u32);
        self.commands.clear();
        while let Ok(news) = self.ring.pop() {
            is_news = true;
            if let News::Command(command) = news
                && self.join(command)
            {
                continue;
            }
            foreign = foreign.saturating_add(1);
        }
        is_news.then_some(TeleopInputs { commands: Cow::Borrowed(&self.commands[..]), foreign })
    }

    /// Joins a command with an earlier one of its operator and episode; returns false for one of these too many.
    fn join(&mut self, command: TeleopCommand) -> bool {
        let earlier = self.commands.iter().position(|earlier| earlier.is_beside(&command));
        match earlier {
            Some(index) => self.commands[index] = self.commands[index].joined(command),
            None if self.commands.len() < MAX_OPERATORS => self.commands.push(command),
            None => return false,
        }
        true
    }
}

/// Returns both sides of a new ring.
pub fn teleop_ring() -> (TeleopSender, TeleopReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    let commands = Vec::with_capacity(MAX_OPERATORS);
    (TeleopSender { ring: producer }, TeleopReceiver { ring: consumer, commands })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aegis_core::control::CommandValues;

    use super::*;

    #[test]
    fn the_newest_command_of_each_operator_is_taken_and_those_of_one_too_many_are_counted() {
        let command = |operator, sequence| TeleopCommand {
            operator,
            episode: 1,
            call: 1,
            sequence,
            arrived: 1,
            received: Duration::ZERO,
            stamp: Duration::ZERO,
            engaged: true,
            fault: None,
            values: CommandValues::of(&[0.5]).unwrap(),
        };
        let (mut sender, mut receiver) = teleop_ring();
        assert_eq!(receiver.take(), None);
        for (operator, sequence) in [(1, 1), (2, 1), (1, 3), (1, 2), (3, 1), (4, 1), (5, 1)] {
            assert!(sender.command(command(operator, sequence)));
        }
        assert!(sender.foreign());
        let news = receiver.take().unwrap();
        let seen: Vec<_> =
            news.commands.iter().map(|one| (one.operator, one.sequence, one.arrived)).collect();
        assert_eq!((seen, news.foreign), (vec![(1, 3, 3), (2, 1, 1), (3, 1, 1), (4, 1, 1)], 2));
        assert_eq!(receiver.take(), None);
        let taken = (0..2 * CAPACITY).filter(|_| sender.foreign()).count();
        assert_eq!((taken, receiver.take().unwrap().foreign as usize), (CAPACITY, CAPACITY));
    }
}

//! The attachment of every message by `rmw_zenoh`: sequence number, source timestamp, and identity of the publisher.
//! The format is that of `docs/design.md` of ros2/rmw_zenoh, which `rmw_zenoh_cpp` writes since 0.2.4.

/// Identity of a publisher.
pub type Gid = [u8; 16];

/// Number of bytes of an attachment.
const SIZE: usize = 33;

/// What is attached to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Number of the message, counted by its publisher.
    pub sequence: i64,
    /// Time at which it was sent, nanoseconds since 1970 on the publisher's clock.
    pub sent_ns: i64,
    /// Publisher.
    pub gid: Gid,
}

impl Attachment {
    /// Returns the bytes.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sent_ns.to_le_bytes());
        bytes[16] = self.gid.len() as u8;
        bytes[17..].copy_from_slice(&self.gid);
        bytes
    }

    /// Parses an attachment.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wrong = || {
            format!(
                "attachment: found {} bytes; valid is {SIZE}, with 16 for the publisher, as rmw_zenoh_cpp 0.2.4 and later write it",
                bytes.len()
            )
        };
        let bytes: &[u8; SIZE] = bytes.try_into().map_err(|_| wrong())?;
        if bytes[16] != 16 {
            return Err(wrong());
        }
        let (mut sequence, mut sent, mut gid) = ([0; 8], [0; 8], [0; 16]);
        sequence.copy_from_slice(&bytes[..8]);
        sent.copy_from_slice(&bytes[8..16]);
        gid.copy_from_slice(&bytes[17..]);
        Ok(Self { sequence: i64::from_le_bytes(sequence), sent_ns: i64::from_le_bytes(sent), gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_is_read_as_it_was_written_and_nothing_else_is_one() {
        let attachment = Attachment { sequence: 7, sent_ns: -1, gid: std::array::from_fn(|i| i as u8) };
        let bytes = attachment.encode();
        assert_eq!((bytes.len(), bytes[0], bytes[16], bytes[17], bytes[32]), (33, 7, 16, 0, 15));
        assert_eq!(Attachment::decode(&bytes), Ok(attachment));
        assert!(Attachment::decode(&bytes[..32]).unwrap_err().contains("found 32 bytes; valid is 33"));
        let mut other = bytes;
        other[16] = 15;
        assert!(Attachment::decode(&other).is_err() && Attachment::decode(&[]).is_err());
    }
}

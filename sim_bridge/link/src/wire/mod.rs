//! The wire format: an eight-byte header that every version shares, then a MessagePack map.
//! Pure. Decoding allocates no more than the message's own bounds allow, whatever its length fields claim.

mod bounded;
mod convert;
mod message;
mod place;
mod teleop;
mod watchdog;

use rmp_serde::decode::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use message::{
    Action, Announcement, CameraFrame, CameraSize, Channel, Claim, Claimed, Code, Describe, Described,
    Encoding, Feature, FramesRequest, Infer, Inferred, Mode, Moved, Observed, Operate, OperatorCommand,
    Phase, Picture, Pictures, Pulse, Refused, Release, Reset, Status, Step,
};
pub use teleop::{Call, CallState, Steered, SteeredKind, Teleop};
pub use watchdog::{Attach, Attached, Executed, StopRequest};

/// Version of the message schema. Any change of a message's fields raises it, except a field that is left out where it is
/// not used: a peer that does not know it refuses the message only where it is used.
pub const VERSION: u16 = 3;
/// First bytes of every message.
pub const MAGIC: [u8; 4] = *b"AEGS";
/// Length of the header, bytes: magic, version (little-endian `u16`), kind (`u8`), zero (`u8`).
pub const HEADER: usize = 8;
/// Maximum size of a message, bytes. Four pictures of 1024 × 1024 pixels fit.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Maximum size of a message to a plant, bytes. The longest message of the protocol to a plant has less than 1 KiB.
pub const MAX_TO_PLANT: usize = 4096;

/// Reason why bytes cannot be decoded as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message is larger than [`MAX_MESSAGE`].
    #[error("message of {found} bytes; the limit is {MAX_MESSAGE}")]
    TooLarge {
        /// Bytes.
        found: usize,
    },
    /// The bytes end before the header does.
    #[error("message of {found} bytes; a header alone has {HEADER}")]
    Truncated {
        /// Bytes.
        found: usize,
    },
    /// The bytes do not begin with [`MAGIC`].
    #[error("not an AEGIS message: it begins with {found:02x?}, expected {MAGIC:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The message has another schema version.
    #[error("schema version {found}; this side speaks version {VERSION}")]
    Version {
        /// The sender's version.
        found: u16,
    },
    /// This version has no message of this kind.
    #[error("unknown message kind {found}")]
    Kind {
        /// The header's byte.
        found: u8,
    },
    /// The reserved last byte of the header is not 0.
    #[error("header byte 7 is {found}; it must be 0")]
    Reserved {
        /// The header's byte.
        found: u8,
    },
    /// The map is malformed, lacks a field, has an unknown field, or has a value out of bounds.
    #[error("{kind}: {reason}")]
    Body {
        /// Name of the message type.
        kind: &'static str,
        /// What is wrong, with the field.
        reason: String,
    },
}

macro_rules! messages {
    ($($code:literal $name:ident $text:literal),+ $(,)?) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $(#[doc = $text] $name($name),)+
        }

        impl Message {
            /// Encodes the message as bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$name(body) => with_header($code, body),)+ }
            }

            /// Returns the name of the message type.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)+ }
            }

            /// Decodes one message and checks every bound.
            ///
            /// # Errors
            /// See [`WireError`].
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let (kind, body) = header(bytes)?;
                match kind {
                    $($code => read(stringify!($name), body).map(Self::$name),)+
                    found => Err(WireError::Kind { found }),
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })+
    };
}

messages! {
    1 Claim "The controller asks for the plant.",
    2 Reset "The controller starts an episode.",
    3 Step "The controller asks for one control step.",
    4 FramesRequest "The controller asks for pictures.",
    5 Release "The controller gives the plant back.",
    6 Pulse "The controller lives.",
    7 Action "A free-running controller's command.",
    8 Operate "Somebody wants something of the controller.",
    9 Infer "The controller asks a policy for a chunk.",
    10 Describe "A controller asks a policy what it reads and returns.",
    20 Attach "A watchdog asks what the plant offers it.",
    21 StopRequest "A watchdog asks the plant to stop.",
    30 Teleop "A person drives the plant by hand.",
    65 Claimed "The plant is the controller's.",
    66 Moved "The plant's state after a reset or a step.",
    67 Pictures "What the cameras see.",
    68 Refused "The plant did not do what was asked.",
    69 Status "The plant lives.",
    70 Inferred "A policy's chunk.",
    71 Described "What a policy reads and returns.",
    72 CameraFrame "A camera's picture.",
    84 Attached "What the plant offers a watchdog.",
    85 Executed "What the plant has executed in a control period.",
    94 Call "The controller calls a person, or says that it needs none.",
}

fn with_header(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2048);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([kind, 0]);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    // Writing numbers, strings and lists to memory cannot fail; if it did, the receiver would refuse the message.
    let _ = body.serialize(&mut serializer);
    bytes
}

fn header(bytes: &[u8]) -> Result<(u8, &[u8]), WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::TooLarge { found: bytes.len() });
    }
    let Some((&[m0, m1, m2, m3, v0, v1, kind, reserved], body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(WireError::Truncated { found: bytes.len() });
    };
    let found = [m0, m1, m2, m3];
    if found != MAGIC {
        return Err(WireError::Magic { found });
    }
    match (u16::from_le_bytes([v0, v1]), reserved) {
        (VERSION, 0) => Ok((kind, body)),
        (VERSION, found) => Err(WireError::Reserved { found }),
        (found, _) => Err(WireError::Version { found }),
    }
}

fn read<T: DeserializeOwned>(kind: &'static str, body: &[u8]) -> Result<T, WireError> {
    let failed = |reason: String| WireError::Body { kind, reason };
    // Not `from_read_ref`: its `get_ref` returns the whole slice regardless of how much has been read.
    let mut deserializer = rmp_serde::Deserializer::new(body);
    // No message nests deeper than a map of lists of maps of lists.
    deserializer.set_max_depth(16);
    let message = T::deserialize(&mut deserializer);
    let rest = deserializer.get_ref().len();
    let named = |error: &Error| place::named(body, body.len() - rest, &said(error));
    let message = message.map_err(|error| failed(named(&error)))?;
    if rest == 0 { Ok(message) } else { Err(failed(format!("{rest} bytes follow the message"))) }
}

/// Returns what is wrong with a value. For a value that should be a number, the library's error names only a marker byte,
/// so this function names the type that was found.
fn said(error: &Error) -> String {
    let Error::TypeMismatch(marker) = error else { return error.to_string() };
    let marker = format!("{marker:?}");
    let kinds = [("Str", "a text"), ("Array", "a list"), ("Map", "a map")];
    let found =
        kinds.into_iter().find(|(kind, _)| marker.contains(*kind)).map_or("bytes", |(_, found)| found);
    format!("found {found}, expected a number")
}

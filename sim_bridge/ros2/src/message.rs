//! Messages of ROS 2 as CDR bytes. Reading allocates in proportion to the bytes that are there, whatever a length field says.

use hiroz_cdr::{BigEndian, CdrReader, CdrWriter, LittleEndian};

/// Bytes before the contents: representation, then options. Alignment is counted from their end.
const HEADER: usize = 4;
/// Representation of plain CDR, little-endian.
const LITTLE: [u8; HEADER] = [0, 1, 0, 0];
/// Most bytes that a writer may add so that the size is a multiple of four.
const PADDING: usize = 3;
/// Names of the components of a twist, in the order of its message.
pub const TWIST: [&str; 6] = ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"];
/// Bytes of a request without fields: a structure has at least one member.
pub const EMPTY_REQUEST: [u8; 5] = [0, 1, 0, 0, 0];

/// Reason why bytes are no message of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}; valid is {valid}")]
pub struct MessageError {
    found: String,
    valid: &'static str,
}

/// Positions, velocities and efforts of joints, by name. A list other than the names may be empty.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JointState {
    /// Time at which they were measured, nanoseconds on the robot's clock; 0 where it does not say.
    pub stamp_ns: i64,
    /// Names of the joints.
    pub names: Vec<String>,
    /// Positions, radians or metres.
    pub positions: Vec<f64>,
    /// Velocities, radians or metres per second.
    pub velocities: Vec<f64>,
}

/// A compressed picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedImage<'a> {
    /// Time at which it was taken, nanoseconds on the robot's clock; 0 where it does not say.
    pub stamp_ns: i64,
    /// Format in words, as `jpeg` or `rgb8; jpeg compressed bgr8`.
    pub format: &'a str,
    /// The file.
    pub data: &'a [u8],
}

/// The answer of a `std_srvs/srv/Trigger` service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triggered {
    /// Whether it worked.
    pub success: bool,
    /// Reason, in words.
    pub message: String,
}

impl JointState {
    /// Reads a `sensor_msgs/msg/JointState`.
    ///
    /// # Errors
    /// Bytes that end early, have bytes left over, or are of another representation.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        read(bytes, |reader| {
            let (stamp_ns, _) = reader.header()?;
            let count = reader.count(HEADER)?;
            let names = (0..count).map(|_| reader.text().map(str::to_owned)).collect::<Option<_>>()?;
            let (positions, velocities) = (reader.numbers()?, reader.numbers()?);
            reader.numbers()?;
            Some(Self { stamp_ns, names, positions, velocities })
        })
    }
}

impl<'a> CompressedImage<'a> {
    /// Reads a `sensor_msgs/msg/CompressedImage`, whose bytes are not copied.
    ///
    /// # Errors
    /// As [`JointState::decode`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        read(bytes, |reader| {
            let (stamp_ns, _) = reader.header()?;
            Some(Self { stamp_ns, format: reader.text()?, data: reader.bytes()? })
        })
    }
}

impl Triggered {
    /// Reads the answer of a `std_srvs/srv/Trigger`.
    ///
    /// # Errors
    /// As [`JointState::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        read(bytes, |reader| Some(Self { success: reader.truth()?, message: reader.text()?.to_owned() }))
    }
}

/// Reads a `std_msgs/msg/Bool`.
///
/// # Errors
/// As [`JointState::decode`].
pub fn decode_bool(bytes: &[u8]) -> Result<bool, MessageError> {
    read(bytes, Reader::truth)
}

/// Returns a `trajectory_msgs/msg/JointTrajectory` of one point, which begins when it is received: positions of joints, to be
/// reached `reach_ns` later.
pub fn joint_trajectory(joints: &[String], positions: &[f64], reach_ns: u64) -> Vec<u8> {
    write(|writer| {
        stampless_header(writer);
        writer.write_sequence_length(joints.len());
        joints.iter().for_each(|joint| writer.write_string(joint));
        writer.write_sequence_length(1);
        numbers(writer, positions);
        // Velocities, accelerations and efforts: the controller interpolates positions.
        (0..3).for_each(|_| numbers(writer, &[]));
        writer.write_i32(i32::try_from(reach_ns / 1_000_000_000).unwrap_or(i32::MAX));
        writer.write_u32((reach_ns % 1_000_000_000) as u32);
    })
}

/// Returns a `std_msgs/msg/Float64MultiArray` without a layout.
pub fn float64_multi_array(values: &[f64]) -> Vec<u8> {
    write(|writer| {
        writer.write_sequence_length(0);
        writer.write_u32(0);
        numbers(writer, values);
    })
}

/// Returns a `geometry_msgs/msg/Twist`, or with a header a `geometry_msgs/msg/TwistStamped` of no time, which its receiver takes for now:
/// linear x, y, z, metres per second, then angular x, y, z, radians per second.
pub fn twist(values: &[f64; 6], with_header: bool) -> Vec<u8> {
    write(|writer| {
        if with_header {
            stampless_header(writer);
        }
        values.iter().for_each(|value| writer.write_f64(*value));
    })
}

type Writer<'a> = CdrWriter<'a, LittleEndian>;

fn write(contents: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = LITTLE.to_vec();
    // Alignment is counted from the end of what is there already.
    contents(&mut CdrWriter::new(&mut bytes));
    bytes
}

fn stampless_header(writer: &mut Writer<'_>) {
    writer.write_i32(0);
    writer.write_u32(0);
    writer.write_string("");
}

fn numbers(writer: &mut Writer<'_>, values: &[f64]) {
    writer.write_sequence_length(values.len());
    values.iter().for_each(|value| writer.write_f64(*value));
}

fn read<'a, T>(
    bytes: &'a [u8],
    contents: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Result<T, MessageError> {
    let error = |found: String, valid| MessageError { found, valid };
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Err(error(format!("{} bytes", bytes.len()), "a CDR message"));
    };
    let mut reader = match header[..2] {
        [0, 1] => Reader::Little(CdrReader::new(rest)),
        [0, 0] => Reader::Big(CdrReader::new(rest)),
        _ => return Err(error(format!("representation {:02x}{:02x}", header[0], header[1]), "plain CDR")),
    };
    let read = contents(&mut reader);
    let place = reader.position();
    let read = read.ok_or_else(|| {
        error(format!("no field of this type at byte {}", HEADER + place), "a whole message of its type")
    })?;
    if rest.len() - place > PADDING {
        return Err(error(format!("{} bytes left over", rest.len() - place), "a whole message of its type"));
    }
    Ok(read)
}

/// Reader of either byte order; every method returns `None` where the bytes end early or are no value of its kind.
enum Reader<'a> {
    Little(CdrReader<'a, LittleEndian>),
    Big(CdrReader<'a, BigEndian>),
}

/// Calls a method of the reader of either byte order.
macro_rules! either {
    ($reader:expr, $inner:ident => $call:expr) => {
        match $reader {
            Reader::Little($inner) => $call,
            Reader::Big($inner) => $call,
        }
    };
}

impl<'a> Reader<'a> {
    fn position(&self) -> usize {
        either!(self, inner => inner.position())
    }

    fn remaining(&self) -> usize {
        either!(self, inner => inner.remaining())
    }

    fn u32(&mut self) -> Option<u32> {
        either!(self, inner => inner.read_u32().ok())
    }

    fn truth(&mut self) -> Option<bool> {
        either!(self, inner => inner.read_bool().ok())
    }

    fn text(&mut self) -> Option<&'a str> {
        either!(self, inner => inner.read_str().ok())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        either!(self, inner => inner.read_byte_sequence().ok())
    }

    /// Reads the length of a list whose items have at least `least` bytes each; no list is longer than what is left has room for.
    fn count(&mut self, least: usize) -> Option<usize> {
        let count = self.u32()? as usize;
        (count <= self.remaining() / least).then_some(count)
    }

    fn numbers(&mut self) -> Option<Vec<f64>> {
        let count = self.count(size_of::<f64>())?;
        (0..count).map(|_| either!(self, inner => inner.read_f64().ok())).collect()
    }

    /// Reads a header: its stamp in nanoseconds, and its frame.
    fn header(&mut self) -> Option<(i64, &'a str)> {
        let seconds = either!(self, inner => inner.read_i32().ok())?;
        let nanoseconds = self.u32()?;
        Some((i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds), self.text()?))
    }
}

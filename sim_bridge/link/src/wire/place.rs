//! Location of a decoding error: finds the field of a message by walking the MessagePack up to where reading ended.
//! Pure. For any bytes, the walk reads each byte at most once, reserves no memory by a length field, and nests no deeper
//! than messages do.

/// Maximum nesting depth of the walk; no message nests deeper.
const DEEPEST: u32 = 16;
/// Maximum number of characters shown of a field's name.
const SHOWN: usize = 64;

/// Prefixes an error, which occurred after `read` bytes of a message's body, with the path of the field.
pub(super) fn named(body: &[u8], read: usize, error: &str) -> String {
    // A missing field is detected after the last entry of its map; the bytes that follow may be outside that map.
    let is_between = error.starts_with("missing field");
    let mut walk = Walk { body, read, is_between, position: 0, path: String::new() };
    let is_known = walk.value(0) != Some(false) && !walk.path.is_empty();
    if is_known { format!("{}: {error}", walk.path.trim_start_matches('.')) } else { error.into() }
}

/// Form of the value that a MessagePack marker begins.
enum Form {
    /// A scalar whose content has this many bytes.
    Plain(usize),
    List(usize),
    Map(usize),
}

struct Walk<'a> {
    body: &'a [u8],
    read: usize,
    is_between: bool,
    position: usize,
    path: String,
}

impl Walk<'_> {
    /// Walks over a value. Returns whether reading ended within it, with its location in `path`; returns `None` where the
    /// bytes end or are not valid MessagePack.
    fn value(&mut self, depth: u32) -> Option<bool> {
        match self.form()? {
            Form::Plain(length) => _ = self.take(length)?,
            Form::List(length) if depth < DEEPEST => {
                for index in 0..length {
                    if self.has_ended() || self.within(&format!("[{index}]"), depth)? {
                        return Some(true);
                    }
                }
            }
            Form::Map(length) if depth < DEEPEST => {
                for _ in 0..length {
                    if self.has_ended() {
                        return Some(true);
                    }
                    let Form::Plain(length) = self.form()? else { return None };
                    let name = String::from_utf8_lossy(self.take(length)?);
                    let name: String = name.escape_debug().take(SHOWN).collect();
                    if self.has_ended() || self.within(&format!(".{name}"), depth)? {
                        return Some(true);
                    }
                }
            }
            Form::List(_) | Form::Map(_) => return None,
        }
        Some(if self.is_between { self.position > self.read } else { self.has_ended() })
    }

    /// Walks over a value that is named `step` in the enclosing value.
    fn within(&mut self, step: &str, depth: u32) -> Option<bool> {
        let around = self.path.len();
        self.path.push_str(step);
        let is_here = self.value(depth + 1)?;
        if !is_here {
            self.path.truncate(around);
        }
        Some(is_here)
    }

    fn has_ended(&self) -> bool {
        self.position >= self.read
    }

    fn form(&mut self) -> Option<Form> {
        let marker = self.number(1)?;
        Some(match marker {
            0x80..=0x8f => Form::Map(marker & 0x0f),
            0x90..=0x9f => Form::List(marker & 0x0f),
            0xa0..=0xbf => Form::Plain(marker & 0x1f),
            0xc1 => return None,
            0xc4 | 0xd9 => Form::Plain(self.number(1)?),
            0xc5 | 0xda => Form::Plain(self.number(2)?),
            0xc6 | 0xdb => Form::Plain(self.number(4)?),
            // Extension types: one type byte precedes the content.
            0xc7..=0xc9 => Form::Plain(self.number(1 << (marker - 0xc7))?.saturating_add(1)),
            0xd4..=0xd8 => Form::Plain(1 + (1 << (marker - 0xd4))),
            0xca => Form::Plain(4),
            0xcb => Form::Plain(8),
            0xcc..=0xcf => Form::Plain(1 << (marker - 0xcc)),
            0xd0..=0xd3 => Form::Plain(1 << (marker - 0xd0)),
            0xdc => Form::List(self.number(2)?),
            0xdd => Form::List(self.number(4)?),
            0xde => Form::Map(self.number(2)?),
            0xdf => Form::Map(self.number(4)?),
            _ => Form::Plain(0),
        })
    }

    /// Reads a big-endian number of `bytes` bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.body.get(self.position..self.position.checked_add(length)?)?;
        self.position += length;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::wire::{Announcement, Claimed, Code, Message, Moved, Observed, Refused};

    /// Returns the decoding error for a message whose fields `edit` has changed, as another program might write it.
    fn said(message: &Message, kind: u8, edit: impl Fn(&mut Value)) -> String {
        let mut body: Value = match message {
            Message::Moved(moved) => serde_json::to_value(moved).unwrap(),
            Message::Claimed(claimed) => serde_json::to_value(claimed).unwrap(),
            Message::Refused(refused) => serde_json::to_value(refused).unwrap(),
            other => panic!("{}", other.name()),
        };
        edit(&mut body);
        let bytes = [b"AEGS\x03\x00", &[kind, 0][..], &rmp_serde::to_vec(&body).unwrap()].concat();
        Message::decode(&bytes).unwrap_err().to_string()
    }

    fn moved() -> Message {
        let observation =
            Observed { plant_time: 0.0, task: 0, instruction: String::new(), values: vec![0.5; 3] };
        let feature = aegis_core::feature::Feature::vector("joints", &["a", "b", "c"], "rad");
        let schema = aegis_core::Schema::new(vec![feature], Vec::new()).unwrap();
        let schema = Some(Announcement::from(&schema));
        let (session, episode, sequence, stamp_ns) = (1, 2, 3, 4);
        Moved { session, episode, sequence, stamp_ns, success: false, observation, schema, state: Vec::new() }
            .into()
    }

    #[test]
    fn the_field_at_fault_is_named_with_its_place() {
        let (width, tasks, ns) = (7, 1, 50_000_000);
        let claimed: Message = Claimed {
            instance: 1,
            session: 2,
            action_width: width,
            tasks,
            period_ns: ns,
            command_timeout_ns: ns,
            controller_timeout_ns: ns,
        }
        .into();
        assert_eq!(
            said(&claimed, 65, |body| body["period_ns"] = json!(5e7)),
            "Claimed: period_ns: invalid type: floating point `50000000.0`, expected u64"
        );
        let said_of = |edit: fn(&mut Value)| said(&moved(), 66, edit);
        let at_fault = said_of(|body| body["observation"]["values"][1] = json!("open"));
        assert_eq!(at_fault, "Moved: observation.values[1]: found a text, expected a number");
        let at_fault = said_of(|body| body["schema"]["features"][0]["shape"] = json!([3, -1]));
        assert!(at_fault.starts_with("Moved: schema.features[0].shape"), "{at_fault}");
        let at_fault = said_of(|body| body["observation"]["task"] = json!({ "number": 1 }));
        assert_eq!(at_fault, "Moved: observation.task: found a map, expected a number");
        let at_fault = said_of(|body| body["observation"]["quat"] = json!(1));
        assert!(at_fault.starts_with("Moved: observation: unknown field `quat`, expected"), "{at_fault}");
        let refused: Message = Refused { code: Code::Plant, reason: String::new() }.into();
        let at_fault = said(&refused, 68, |body| body["code"] = json!("tired"));
        assert!(at_fault.starts_with("Refused: code: ") && at_fault.contains("tired"), "{at_fault}");
    }

    #[test]
    fn a_field_that_is_missing_is_named_with_what_lacks_it_where_that_is_known() {
        let remove = |path: &'static str, name: &'static str| {
            said(&moved(), 66, |body| {
                body.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(name).unwrap();
            })
        };
        assert_eq!(remove("", "success"), "Moved: missing field `success`");
        assert!(remove("/observation", "values").contains("missing field `values`"));
        // The last field of its list and map here, so only what encloses all of them is known.
        assert_eq!(remove("/schema/features/0", "dtype"), "Moved: missing field `dtype`");
    }

    #[test]
    fn whatever_the_bytes_say_it_ends() {
        let deep = vec![0x91; 100_000];
        let wide = [0xdd, 0xff, 0xff, 0xff, 0xff, 1];
        let long = [0x81, 0xc6, 0xff, 0xff, 0xff, 0xff];
        for body in [&deep[..], &wide, &long, &[0xc1], &[0xc7], &[0x81, 0x90], &[]] {
            for read in [0, 1, body.len(), usize::MAX] {
                for error in ["missing field `a`", "other"] {
                    assert!(super::named(body, read, error).contains(error));
                }
            }
        }
    }
}

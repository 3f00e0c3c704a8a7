//! Tests of the wire format: every message survives encoding bit for bit, and invalid bytes are refused without harm,
//! also messages whose length fields claim more than they hold.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use aegis_link::wire::{
    Announcement, Channel, Message, Moved, Observed, Picture, Pictures, Reset, Step, VERSION, WireError,
};
use proptest::prelude::*;

fn moved(state: Vec<f64>, instruction: String) -> Message {
    let observation = Observed { plant_time: 0.05, task: 3, instruction, values: vec![0.1, -0.0, 2.5] };
    let arm = Channel {
        name: "arm".into(),
        semantics: "rad".into(),
        bounds: [f64::NEG_INFINITY, f64::INFINITY],
        still: None,
    };
    let seen = aegis_core::Observation::of(&[("arm", &[0.0; 3])]).unwrap();
    let schema = Some(Announcement { actions: vec![arm], ..Announcement::from(&*seen.schema) });
    let (session, episode, sequence, stamp_ns) = (u64::MAX, 1, 2, 3);
    Moved { session, episode, sequence, stamp_ns, success: true, observation, schema, state }.into()
}

proptest! {
    #[test]
    fn numbers_cross_bit_for_bit(bits in prop::collection::vec(any::<u64>(), 0..200), text in ".{0,200}") {
        let sent = moved(bits.iter().map(|bits| f64::from_bits(*bits)).collect(), text);
        let received = Message::decode(&sent.encode()).unwrap();
        let (Message::Moved(sent), Message::Moved(received)) = (sent, received) else { unreachable!() };
        let bits = |moved: &Moved| moved.state.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&sent), bits(&received));
        prop_assert_eq!(&sent.observation, &received.observation);
        prop_assert_eq!(&sent.schema, &received.schema);
    }

    #[test]
    fn actions_cross_bit_for_bit(bits in prop::collection::vec(any::<u32>(), 0..=64)) {
        let action = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        let sent: Message = Step { session: 1, episode: 2, sequence: 3, action }.into();
        let Ok(Message::Step(step)) = Message::decode(&sent.encode()) else { unreachable!() };
        prop_assert_eq!(step.action.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..96) {
        let _ = Message::decode(&bytes);
        let mut framed = b"AEGS\x03\x00\x00\x00".to_vec();
        framed[6] = kind;
        framed.extend(&bytes);
        let _ = Message::decode(&framed);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_another_message_within_bounds(at in 0usize..120, bit in 0u8..8) {
        let mut bytes = moved(vec![1.0; 4], "go".into()).encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(Message::Moved(moved)) = Message::decode(&bytes) {
            prop_assert!(moved.state.len() <= 65_536);
        }
    }
}

#[test]
fn the_layout_is_what_the_protocol_page_says() {
    let bytes = Message::from(Reset { session: 1, episode: 2, task: 3, initial_state: 4, disturbance: None })
        .encode();
    let expected = b"AEGS\x03\x00\x02\x00\x84\xa7session\x01\xa7episode\x02\xa4task\x03\xadinitial_state\x04";
    assert_eq!(bytes, expected);
}

#[test]
fn a_truncated_message_is_refused_wherever_it_ends() {
    let bytes = moved(vec![1.0, 2.0], "go".into()).encode();
    for end in 0..bytes.len() {
        assert!(Message::decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
    }
}

#[test]
fn versions_are_told_apart_before_anything_else_is_read() {
    let mut bytes = moved(Vec::new(), String::new()).encode();
    bytes[4..6].copy_from_slice(&7u16.to_le_bytes());
    bytes.truncate(8);
    let error = Message::decode(&bytes).unwrap_err();
    assert_eq!(error, WireError::Version { found: 7 });
    assert!(error.to_string().contains('7') && error.to_string().contains(&VERSION.to_string()));
}

#[test]
fn a_length_field_beyond_the_bound_is_refused() {
    let lists: [(&str, &[u8]); 3] = [
        ("a list of 2^32 - 1", &[0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("a list of 65 and no elements", &[0xdc, 0, 65]),
        ("a map of 2^32 - 1", &[0xdf, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (what, tail) in lists {
        let mut bytes =
            b"AEGS\x03\x00\x03\x00\x84\xa7session\x01\xa7episode\x02\xa8sequence\x03\xa6action".to_vec();
        bytes.extend(tail);
        assert!(matches!(Message::decode(&bytes), Err(WireError::Body { kind: "Step", .. })), "{what}");
    }
    // A list that actually holds 65 elements.
    let action = vec![0.0; 65];
    let long = Message::from(Step { session: 1, episode: 2, sequence: 3, action }).encode();
    let error = Message::decode(&long).unwrap_err().to_string();
    assert!(error.contains("65") && error.contains("at most 64"), "{error}");
}

#[test]
fn a_message_above_the_limit_is_refused_unread() {
    let picture =
        Picture { camera: "c".into(), width: 1, height: 1, rgb: vec![0; aegis_link::wire::MAX_MESSAGE] };
    let bytes =
        Message::from(Pictures { session: 1, episode: 1, sequence: 0, pictures: vec![picture] }).encode();
    assert!(matches!(Message::decode(&bytes), Err(WireError::TooLarge { .. })));
}

#[test]
fn unknown_and_missing_fields_are_named() {
    let head = b"AEGS\x03\x00\x05\x00";
    let unknown = [head.as_slice(), b"\x82\xa7session\x01\xa5speed\x02"].concat();
    assert!(Message::decode(&unknown).unwrap_err().to_string().contains("speed"));
    let missing = [head.as_slice(), b"\x80"].concat();
    assert!(Message::decode(&missing).unwrap_err().to_string().contains("session"));
}

//! Tests messages against bytes that `rosbags`, an implementation by others, wrote (`tests/fixtures/messages.py`), and against bytes
//! of no message at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use aegis_ros2::message::{
    CompressedImage, JointState, Triggered, decode_bool, float64_multi_array, joint_trajectory, twist,
};
use aegis_ros2::types::{Distribution, RosType};
use proptest::prelude::*;
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/messages.json")).unwrap()
}

fn bytes(case: &Value) -> Vec<u8> {
    let text = case["bytes"].as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn hashes_are_those_that_others_compute() {
    let fixture = fixture();
    for (distribution, named) in [(Distribution::Jazzy, "jazzy"), (Distribution::Kilted, "kilted")] {
        let hashes = fixture["hashes"][named].as_object().unwrap();
        assert_eq!(hashes.len(), RosType::ALL.len());
        for one in RosType::ALL {
            assert_eq!(one.hash(distribution), hashes[one.name()], "{}", one.name());
        }
    }
}

#[test]
fn messages_that_are_read_have_what_others_wrote() {
    let fixture = fixture();
    for case in fixture["joint_states"].as_array().unwrap() {
        let found = JointState::decode(&bytes(case)).unwrap();
        assert_eq!(found.stamp_ns, case["stamp_ns"].as_i64().unwrap());
        assert_eq!(found.names, texts(&case["names"]));
        assert_eq!(
            (found.positions, found.velocities),
            (numbers(&case["positions"]), numbers(&case["velocities"]))
        );
    }
    for case in fixture["images"].as_array().unwrap() {
        let message = bytes(case);
        let found = CompressedImage::decode(&message).unwrap();
        assert_eq!(
            (found.stamp_ns, found.format),
            (case["stamp_ns"].as_i64().unwrap(), case["format"].as_str().unwrap())
        );
        assert_eq!(found.data, (0..case["size"].as_u64().unwrap()).map(|i| i as u8).collect::<Vec<_>>());
    }
    for case in fixture["booleans"].as_array().unwrap() {
        assert_eq!(decode_bool(&bytes(case)), Ok(case["value"].as_bool().unwrap()));
    }
    for case in fixture["triggered"].as_array().unwrap() {
        let Triggered { success, message } = Triggered::decode(&bytes(case)).unwrap();
        assert_eq!(
            (success, &*message),
            (case["success"].as_bool().unwrap(), case["message"].as_str().unwrap())
        );
    }
}

#[test]
fn messages_that_are_written_have_the_bytes_that_others_write() {
    let fixture = fixture();
    for case in fixture["trajectories"].as_array().unwrap() {
        let (joints, positions) = (texts(&case["joints"]), numbers(&case["positions"]));
        let written = joint_trajectory(&joints, &positions, case["reach_ns"].as_u64().unwrap());
        assert_eq!(written, bytes(case), "{case}");
    }
    for case in fixture["arrays"].as_array().unwrap() {
        assert_eq!(float64_multi_array(&numbers(&case["values"])), bytes(case), "{case}");
    }
    for case in fixture["twists"].as_array().unwrap() {
        let values: [f64; 6] = numbers(&case["values"]).try_into().unwrap();
        assert_eq!(twist(&values, case["stamped"].as_bool().unwrap()), bytes(case), "{case}");
    }
    assert_eq!(aegis_ros2::message::EMPTY_REQUEST.to_vec(), bytes(&fixture["empty_request"]));
}

/// Reads bytes as every type; returns the bytes that were allocated.
fn read(bytes: &[u8]) -> u64 {
    allocation_counter::measure(|| {
        let _ = JointState::decode(bytes);
        let _ = CompressedImage::decode(bytes);
        let _ = Triggered::decode(bytes);
        let _ = decode_bool(bytes);
    })
    .bytes_total
}

#[test]
fn a_length_field_reserves_nothing_that_is_not_there() {
    let whole = bytes(&fixture()["joint_states"][0]);
    for place in (4..whole.len() - 4).step_by(4) {
        for length in [u32::MAX, 1 << 31, 100_000_000, 99_999_999] {
            let mut hostile = whole.clone();
            hostile[place..place + 4].copy_from_slice(&length.to_le_bytes());
            let allocated = read(&hostile);
            assert!(allocated < 64 * 1024, "{allocated} bytes for {length} at {place}");
        }
    }
}

#[test]
fn what_ends_early_or_has_more_is_refused() {
    let whole = bytes(&fixture()["joint_states"][0]);
    for end in 0..whole.len() {
        assert!(JointState::decode(&whole[..end]).is_err(), "{end}");
    }
    let error = JointState::decode(&[whole.clone(), vec![0; 4]].concat()).unwrap_err().to_string();
    assert!(error.contains("found 4 bytes left over"), "{error}");
    JointState::decode(&[whole.clone(), vec![0; 3]].concat()).expect("a writer may pad to four bytes");
    let error = JointState::decode(&[&[0, 7], &whole[2..]].concat()).unwrap_err().to_string();
    assert_eq!(error, "found representation 0007; valid is plain CDR");
}

proptest! {
    #[test]
    fn no_bytes_lead_to_a_panic_or_a_large_allocation(bytes in proptest::collection::vec(any::<u8>(), 0..512), little in any::<bool>()) {
        let mut message = vec![0, u8::from(little), 0, 0];
        message.extend(&bytes);
        prop_assert!(read(&message) < 64 * 1024);
        prop_assert!(read(&bytes) < 64 * 1024);
    }

    #[test]
    fn no_change_of_a_message_leads_to_a_panic_or_a_large_allocation(
        case in 0_usize..3, place in any::<prop::sample::Index>(), value in any::<u8>(), length in any::<prop::sample::Index>(),
    ) {
        let mut message = bytes(&fixture()["joint_states"][case]);
        let place = place.index(message.len());
        message[place] = value;
        prop_assert!(read(&message) < 64 * 1024);
        let end = length.index(message.len());
        prop_assert!(read(&message[..end]) < 64 * 1024);
    }
}

//! Fuzz target of the decoder: arbitrary bytes, and arbitrary bytes after a valid header of each kind, are decoded or
//! refused without a panic and without much memory. A decoded message that is encoded and decoded again stays the same.

#![no_main]
#![allow(dead_code, unused_imports, reason = "a module is compiled in whole")]

#[path = "../../src/wire/mod.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;
use wire::Message;

const KINDS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 65, 66, 67, 68, 69];

fuzz_target!(|data: &[u8]| {
    check(data);
    if let Some((choice, body)) = data.split_first() {
        let kind = KINDS[usize::from(*choice) % KINDS.len()];
        check(&[b"AEGS\x03\x00", [kind, 0].as_slice(), body].concat());
    }
});

fn check(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let written = message.encode();
        // Bytes are compared, because a message with a NaN does not equal itself.
        assert_eq!(Message::decode(&written).expect("reads its own").encode(), written);
    }
}

//! Records of robots that earlier versions wrote: the controller of today makes of their inputs what the one of then did.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

/// Two episodes of `controller/libero.toml` against `aegis sim serve`, with a hand-over, written by 0.1.0 at commit 4832caec753e.
#[test]
fn a_record_of_format_2_drives_as_it_did_to_the_bit() {
    let folder = common::folder("record-format-2");
    let fixture = common::repository().join("tests/fixtures/libero-format-2.aegis.gz");
    common::unpack(&fixture, &folder.join("run.aegis"));
    let said = common::succeeds(common::aegis().args(["replay", "--check"]).arg(&folder));
    assert!(said.contains("237 control periods, every decision and every command the same"), "{said}");
}

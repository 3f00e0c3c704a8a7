//! A control period allocates nothing once an episode has begun, so that no allocator pauses the control loop.
//! The test counts every allocation of its thread.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::support::{self, Rig};

#[test]
fn a_control_period_allocates_nothing() {
    let mut cell = Rig::started(support::parts());
    // One episode with a fire, a hold and a hand-back is recorded; then its inputs are replayed and allocations counted.
    for number in 0..120_u32 {
        cell.weak = if number % 40 < 15 { support::ALARM } else { support::CALM };
        cell.tick();
    }
    assert!(cell.controller.counters().fires > 0 && cell.controller.counters().weak_periods > 0);
    let mut again = Rig::new(support::parts());
    let begun = again.controller.tick(&cell.record[0]);
    assert!(begun.ask_weak.is_some());
    let counted = allocation_counter::measure(|| {
        for inputs in &cell.record[1..] {
            std::hint::black_box(again.controller.tick(inputs));
        }
    });
    assert_eq!(counted.count_total, 0);
}

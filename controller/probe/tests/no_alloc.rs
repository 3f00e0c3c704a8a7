//! Scoring allocates nothing once an episode has begun, so that no allocator pauses the control loop.
//! The test counts every allocation of its thread.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::HeadKind;
use aegis_probe::training::{FitOptions, Trajectory, fit};

#[test]
fn a_score_allocates_nothing() {
    let trajectories: Vec<Trajectory> = (0..4_u8)
        .map(|index| Trajectory { features: vec![vec![f64::from(index); 5]; 3], failed: index % 2 == 0 })
        .collect();
    for kind in HeadKind::ALL {
        let options = FitOptions { kind, penalty: 1.0, hidden: 8, seed: 1, epochs: 2 };
        let probe = fit(&trajectories.iter().collect::<Vec<_>>(), &options).unwrap();
        let opened = allocation_counter::measure(|| drop(std::hint::black_box(probe.memory())));
        assert!(opened.count_total > 0, "the counter counts");
        let mut memory = probe.memory();
        let scored = allocation_counter::measure(|| {
            for value in [0.5, f64::NAN, 2.0] {
                std::hint::black_box(probe.score(&mut memory, &[value; 5]).unwrap());
            }
            std::hint::black_box(probe.score(&mut memory, &[0.0; 4]).is_err());
        });
        assert_eq!(scored.count_total, 0, "{kind}");
    }
}

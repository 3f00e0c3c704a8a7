//! Simulated power of a family, checked against the exact power of one test.
//! Seeds are fixed, so the results are the same in every run.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_experiments::plan::power::{Family, Simulation};
use aegis_statistics::{Discordance, mcnemar_power};

const SIMULATION: Simulation = Simulation { studies: 20_000, seed: 7 };

fn family(contrasts: usize) -> Family {
    let effect = Discordance { treatment_only: 0.10, control_only: 0.05 };
    Family { effect, contrasts, alpha: 0.05, success: Family::even_success(effect) }
}

#[test]
fn a_family_of_one_has_the_exact_power() {
    for episodes in [100, 400] {
        let found = family(1).power(episodes, SIMULATION).unwrap();
        let exact = mcnemar_power(family(1).effect, 0.05, episodes).unwrap();
        assert!((found.all - exact).abs() < 4.0 * found.all_standard_error, "{found:?}, exact {exact}");
        assert_eq!(found.all, found.any);
        // The outcome of concordant pairs does not affect a single test.
        let rare = Family { success: 0.12, ..family(1) }.power(episodes, SIMULATION).unwrap();
        assert!((rare.all - exact).abs() < 4.0 * rare.all_standard_error, "{rare:?}, exact {exact}");
    }
}

#[test]
fn a_family_lies_between_its_bounds() {
    let (episodes, three) = (400, family(3));
    let found = three.power(episodes, SIMULATION).unwrap();
    let one = |alpha| mcnemar_power(three.effect, alpha, episodes).unwrap();
    // Rejecting all is at most as likely as one test at the full level, and at least the Bonferroni bound for all three.
    assert!(found.all < one(0.05) && found.all > 1.0 - 3.0 * (1.0 - one(0.05 / 3.0)), "{found:?}");
    // Holm rejects at least one hypothesis exactly where Bonferroni does.
    assert!(found.any > one(0.05 / 3.0) && found.any < 3.0 * one(0.05 / 3.0), "{found:?}");
}

#[test]
fn no_effect_is_found_at_most_at_the_level() {
    let effect = Discordance { treatment_only: 0.08, control_only: 0.08 };
    let null = Family { effect, ..family(3) }.power(500, SIMULATION).unwrap();
    assert!(null.any < 0.05 + 4.0 * (0.05_f64 * 0.95 / 20_000.0).sqrt(), "{null:?}");
}

#[test]
fn episodes_reach_the_power_and_one_less_does_not() {
    let few = Simulation { studies: 2_000, seed: 7 };
    let found = family(3).episodes(0.8, 100, 1_000_000, few).unwrap();
    assert!(found.all >= 0.8);
    assert!(family(3).power(found.episodes - 1, few).unwrap().all < 0.8);
    let error = family(3).episodes(0.8, 100, 200, few).unwrap_err().to_string();
    assert!(error.contains("limit: found 200"), "{error}");
}

#[test]
fn invalid_settings_are_refused() {
    for (family, simulation, word) in [
        (family(0), SIMULATION, "contrasts"),
        (Family { success: 0.05, ..family(3) }, SIMULATION, "success"),
        (Family { success: 0.96, ..family(3) }, SIMULATION, "success"),
        (Family { success: f64::NAN, ..family(3) }, SIMULATION, "success"),
        (Family { alpha: 0.0, ..family(3) }, SIMULATION, "alpha"),
        (family(3), Simulation { studies: 99, seed: 7 }, "studies"),
    ] {
        let error = family.power(10, simulation).unwrap_err().to_string();
        assert!(error.starts_with(word), "{error}");
    }
}

//! `aegis plan power`: reports how many episodes an effect needs, exactly for one contrast, by simulation for the family.
//! Parses arguments and prints; every number comes from the statistics and the simulation.

use aegis_experiments::plan::power::{Family, Simulation};
use aegis_statistics::{Discordance, SampleSize, mcnemar_sample_size};
use clap::Args;
use serde_json::json;

use crate::commands::stats::by_flag;
use crate::exit::{Exit, Failure, say};

/// Largest number of episodes that is tried.
const LIMIT: u64 = 1_000_000;

/// Arguments of `aegis plan power`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis plan power --effect 0.05 --discordance 0.15 --alpha 0.05 --power 0.8\n\n\
                        Effect and discordance are shares of the episodes that the contrasts are over: where those \
                        are the episodes that weak loses, divide the result by weak's failure rate. Episodes count \
                        as independent; replicates of one start give less power."
)]
pub struct PowerArguments {
    /// Share of episodes by which the better arm wins more
    #[arg(long, value_name = "SHARE")]
    effect: f64,
    /// Share of episodes that only one of the two arms wins
    #[arg(long, value_name = "SHARE")]
    discordance: f64,
    /// Level of the family, and of a contrast on its own
    #[arg(long, value_name = "SHARE")]
    alpha: f64,
    /// Power to reach
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    power: f64,
    /// Contrasts of the family, each with this effect and discordance
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    contrasts: u64,
    /// Share of episodes that the better arm wins; when left out, pairs without a difference are won and lost equally
    /// often
    #[arg(long, value_name = "SHARE")]
    success: Option<f64>,
    /// Simulated studies
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    studies: u64,
    /// Seed of the simulation
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print JSON: settings, alone, bonferroni and family
    #[arg(long)]
    json: bool,
}

/// Runs `aegis plan power`.
pub fn run(arguments: &PowerArguments) -> Result<(), Failure> {
    let PowerArguments { alpha, power, studies, seed, .. } = *arguments;
    let effect = discordance(arguments.effect, arguments.discordance)?;
    let success = arguments.success.unwrap_or_else(|| Family::even_success(effect));
    let contrasts = arguments.contrasts as usize;
    let shares = [effect.treatment_only, effect.control_only].map(|share| share.to_string());
    let flags =
        |error| by_flag(error, &[("treatment_only", &*shares[0]), ("control_only", &*shares[1])], power);
    let size = |alpha| mcnemar_sample_size(effect, alpha, power, LIMIT).map_err(flags);
    let alone = size(alpha)?;
    let bonferroni = size(alpha / contrasts as f64)?;
    let simulation = Simulation { studies, seed };
    let family = Family { effect, contrasts, alpha, success };
    // All contrasts together need at least as many episodes as one contrast.
    let found = family.episodes(power, alone.first, LIMIT, simulation).map_err(flags)?;
    if arguments.json {
        let outcome = json!({
            "effect": arguments.effect, "discordance": arguments.discordance, "power": power,
            "simulation": simulation, "settings": family,
            "alone": alone, "bonferroni": bonferroni, "family": found,
        });
        say!("{outcome}");
        return Ok(());
    }
    let row = |what: String, how: &str, episodes: u64, power: String| {
        say!("{what:<32}{how:<10}{episodes:>9}  {power}");
    };
    let exact = |what, size: SampleSize| row(what, "exact", size.stable, format!("{:.4}", size.stable_power));
    say!("{:<42}{:>9}  power", "", "episodes");
    exact(format!("one contrast at {alpha}"), alone);
    exact(format!("one contrast at {alpha}/{contrasts}"), bonferroni);
    let spread = format!("{:.4} ± {:.4}", found.all, found.all_standard_error);
    row(format!("all {contrasts} under Holm at {alpha}"), "simulated", found.episodes, spread);
    say!(
        "\nThe better arm wins {:.1} % of the episodes alone, the other {:.1} %. Simulated: {studies} studies in which \
         the better arm is the same in every contrast and wins {:.1} %; ± is one standard error.",
        100.0 * effect.treatment_only,
        100.0 * effect.control_only,
        100.0 * success,
    );
    Ok(())
}

/// Returns both discordant shares from their difference, `effect`, and their sum, `discordance`.
fn discordance(effect: f64, discordance: f64) -> Result<Discordance, Failure> {
    let refused = |name: &str, found: f64, valid: &str| {
        Err(crate::exit::failure(Exit::Input, format!("--{name}: found {found}; valid is {valid}")))
    };
    if !(discordance > 0.0 && discordance <= 1.0) {
        return refused("discordance", discordance, "above 0, at most 1");
    }
    if !(effect > 0.0 && effect <= discordance) {
        return refused("effect", effect, &format!("above 0, at most --discordance {discordance}"));
    }
    let treatment_only = (discordance + effect) / 2.0;
    Ok(Discordance { treatment_only, control_only: (discordance - treatment_only).max(0.0) })
}

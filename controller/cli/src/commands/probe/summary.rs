//! Prints a probe: what it reads, its thresholds, and which rollouts they come from.

use aegis_probe::benefit::{FittedBenefit, ForkData};
use aegis_probe::file::ProbeFile;

use crate::exit::say;

/// Prints a probe.
pub fn print(file: &ProbeFile) {
    let calibration = &file.calibration;
    say!(
        "  reads            {} of model {}",
        file.tensor,
        &file.model_sha256[..file.model_sha256.len().min(16)]
    );
    say!(
        "  head             {}, {} parameters over width {}",
        file.probe.kind(),
        file.probe.parameters(),
        file.probe.width()
    );
    say!("  penalty          {} of {:?}", file.penalty, file.settings.penalties);
    say!("  threshold        {:.4} (α = {})", calibration.threshold, file.settings.alpha);
    say!("  return threshold {:.4}", calibration.return_threshold);
    if calibration.disagreement.is_none() {
        say!(
            "  rules            conformal, functional_band, cost, trend; not disagreement: the rollouts have no strong policy's chunks"
        );
    }
    for (name, data) in [("discovery", &file.discovery), ("calibration", &file.calibrated_on)] {
        let from = data.origin.as_ref().map_or("starts not stated in the file".to_owned(), |origin| {
            format!("initial states {} of {}", origin.starts, origin.suite)
        });
        say!("  {name:<17}{} episodes, weak lost {}; {from}", data.episodes, data.lost);
    }
    if let Some(benefit) = &file.benefit {
        print_benefit(benefit);
    }
}

/// Prints a benefit head.
fn print_benefit(benefit: &FittedBenefit) {
    let [without, with] = benefit.penalties;
    let kind = benefit.head.without_hold.probe.kind();
    say!("  benefit head     {kind}, of a hold of {} control steps", benefit.hold_steps);
    say!("  its penalties    {without} without a hold, {with} with one");
    for (name, ForkData { episodes, forks, .. }) in
        [("its discovery", &benefit.discovery), ("its calibration", &benefit.calibrated_on)]
    {
        say!("  {name:<17}{forks} forks of {episodes} episodes");
    }
}

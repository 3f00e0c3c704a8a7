//! Figures of the probe's score: quartiles and AUROC over an episode, ROC curve, and reliability of its probabilities.

use aegis_statistics::{Reliability, RocPoint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{Figure, ReportError, ScoreMoment};
use super::{FIRST, SECOND, along, drawn, shares, text};

/// Heights in pixels of a figure of one share against another, wide and narrow.
const SHARES: [u32; 2] = [400, 350];

/// Draws median and quartiles of the score in lost and in won episodes, boundary by boundary.
pub fn score_fan(moments: &[ScoreMoment]) -> Result<Option<Figure>, ReportError> {
    type Fan = Vec<(f64, [f64; 3])>;
    let fan = |of: fn(&ScoreMoment) -> Option<[f64; 3]>| -> Fan {
        let seen = moments.iter().filter_map(|one| Some((f64::from(one.moment.step), of(one)?)));
        seen.filter(|(_, values)| values.iter().all(|value| value.is_finite())).collect()
    };
    let (lost, won) = (fan(|one| one.lost), fan(|one| one.won));
    let Some(last) = lost.iter().chain(&won).map(|(step, _)| *step).reduce(f64::max) else { return Ok(None) };
    let drawings = drawn([280; 2], |area| {
        let mut chart = along(area, last, "risk of failure", 0.0..1.1)?;
        for (fan, colour, name, width) in [(&lost, SECOND, "lost", 4), (&won, FIRST, "won", 2)] {
            let band = fan.iter().map(|(step, values)| (*step, values[2]));
            let band = band.chain(fan.iter().rev().map(|(step, values)| (*step, values[0])));
            chart.draw_series([Polygon::new(band.collect::<Vec<_>>(), colour.mix(0.25).filled())])?;
            let median: Vec<(f64, f64)> = fan.iter().map(|(step, values)| (*step, values[1])).collect();
            // The name is written above the highest point of the line, so that the line does not cross it.
            let named = median.iter().copied().max_by(|(_, a), (_, b)| a.total_cmp(b));
            chart.draw_series([PathElement::new(median, colour.stroke_width(width))])?;
            if let Some(at) = named {
                let side = if at.0 > 0.8 * last { HPos::Right } else { HPos::Left };
                let style = text().pos(Pos::new(side, VPos::Bottom));
                chart.draw_series([Text::new(name, (at.0, at.1 + 0.02), style)])?;
            }
        }
        Ok(())
    })?;
    let said = |fan: &Fan| {
        fan.get(fan.len() / 3)
            .map_or("none".into(), |(step, values)| format!("{:.2} at step {step}", values[1]))
    };
    let alt = format!(
        "The score's median and quartiles over control steps. Median of lost episodes: {}; of won ones: {}.",
        said(&lost),
        said(&won)
    );
    let caption = "The probe's score while the weak policy drives: medians as lines, from the lower to the upper quartile as \
                   bands; the thick line is of episodes lost in the end.";
    Ok(Some(Figure { alt, caption: caption.into(), drawings }))
}

/// Draws the AUROC of the score among the episodes that are still running, boundary by boundary.
pub fn auroc(moments: &[ScoreMoment]) -> Result<Option<Figure>, ReportError> {
    let ranked = moments.iter().filter_map(|one| Some((f64::from(one.moment.step), one.moment.auroc?)));
    let ranked: Vec<(f64, f64)> = ranked.collect();
    let (Some(first), Some(last)) = (ranked.first().copied(), ranked.last().copied()) else {
        return Ok(None);
    };
    let drawings = drawn([240; 2], |area| {
        let mut chart = along(area, last.0, "AUROC", 0.4..1.05)?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.5), (last.0, 0.5)], BLACK.stroke_width(1))])?;
        chart.draw_series([PathElement::new(ranked.clone(), FIRST.stroke_width(3))])?;
        chart.draw_series(ranked.iter().map(|at| Circle::new(*at, 4, FIRST.filled())))?;
        Ok(())
    })?;
    let alt = format!(
        "AUROC of the score among the episodes that still run: {:.2} at step {}, {:.2} at step {}.",
        first.1, first.0, last.1, last.0
    );
    let caption = "Probability that the score at one boundary ranks a lost episode above a won one, among the episodes that \
                   still run. The thin line, 0.5, is chance.";
    Ok(Some(Figure { alt, caption: caption.into(), drawings }))
}

/// Draws detections against false alarms for every threshold on the early window's score.
pub fn roc(points: &[RocPoint]) -> Result<Figure, ReportError> {
    let drawings = drawn(SHARES, |area| {
        let mut chart = shares(area, "won episodes that would alarm", "lost episodes that would alarm")?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (1.0, 1.0)], BLACK.stroke_width(1))])?;
        let curve = points.iter().map(|point| (point.false_alarms, point.detected));
        chart.draw_series([PathElement::new(curve.collect::<Vec<_>>(), FIRST.stroke_width(3))])?;
        Ok(())
    })?;
    // The largest share of detections among the points with at most this share of false alarms.
    let detected = |most: f64| {
        let within = points.iter().filter(|point| point.false_alarms <= most);
        100.0 * within.map(|point| point.detected).fold(0.0, f64::max)
    };
    let alt = format!(
        "ROC curve of the early window's score: {:.0} % of lost episodes alarm at no more than 5 % of won ones, {:.0} % \
         at 10 %, {:.0} % at 20 %.",
        detected(0.05),
        detected(0.1),
        detected(0.2)
    );
    let caption = "Every threshold on the early window's mean score: the share of lost episodes with an alarm against the share \
                   of won episodes with an alarm. The thin line is chance.";
    Ok(Figure { alt, caption: caption.into(), drawings })
}

/// Draws calibrated probabilities of failure against the share that failed, bin by bin, with exact intervals.
pub fn reliability(found: &Reliability) -> Result<Figure, ReportError> {
    let bins = || {
        found.bins.iter().filter_map(|bin| {
            let (predicted, observed) = (bin.predicted?, bin.observed?);
            Some((predicted, observed, bin.count))
        })
    };
    let drawings = drawn(SHARES, |area| {
        let mut chart = shares(area, "predicted probability of failure", "share that failed")?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (1.0, 1.0)], BLACK.stroke_width(1))])?;
        for (x, observed, count) in bins() {
            let interval = vec![(x, observed.exact.lower), (x, observed.exact.upper)];
            chart.draw_series([PathElement::new(interval, FIRST.stroke_width(3))])?;
            chart.draw_series([Circle::new((x, observed.estimate), 5, FIRST.filled())])?;
            // The count is written on the side of the plot's middle, so that none is cut off.
            let (side, shift) = if x < 0.5 { (HPos::Left, 0.015) } else { (HPos::Right, -0.015) };
            let style = text().pos(Pos::new(side, VPos::Center));
            chart.draw_series([Text::new(count.to_string(), (x + shift, observed.estimate), style)])?;
        }
        Ok(())
    })?;
    let said: Vec<String> = bins()
        .map(|(x, observed, count)| {
            format!("{:.0} % predicted, {:.0} % of {count} failed", 100.0 * x, 100.0 * observed.estimate)
        })
        .collect();
    let caption = "Calibrated probabilities of failure against the share of episodes that failed, with exact intervals. Numbers \
                   are episodes; on the thin line predicted and observed shares are equal.";
    let alt = format!("Reliability: {}.", said.join("; "));
    Ok(Figure { alt, caption: caption.into(), drawings })
}

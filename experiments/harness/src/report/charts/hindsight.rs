//! Figure of hindsight: recovered episodes against duty, for an oracle, for random moments and for each arm.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::hindsight::Hindsight;
use super::super::{Figure, ReportError};
use super::{FIRST, SECOND, drawn, plane, text};

/// Heights in pixels, wide and narrow.
const HEIGHTS: [u32; 2] = [400, 350];
/// Labels along the horizontal axis.
const TICKS: u32 = 5;

/// Draws the share of lost episodes that are recovered against the duty that is spent.
pub fn hindsight(found: &Hindsight) -> Result<Option<Figure>, ReportError> {
    let most = found.arms.iter().map(|arm| arm.strong_steps).max().unwrap_or(0);
    if most == 0 || found.lost == 0 {
        return Ok(None);
    }
    let duty = |steps: f64| 100.0 * steps / found.horizons as f64;
    let share = |recovered: f64| 100.0 * recovered / found.lost as f64;
    let end = duty(1.25 * most as f64);
    let mut oracle: Vec<(f64, f64)> = Vec::new();
    for point in &found.oracle {
        let at = duty(point.strong_steps as f64);
        if at > end {
            break;
        }
        oracle.push((at, share(point.recovered as f64)));
    }
    oracle.push((end, oracle.last().map_or(0.0, |last| last.1)));
    let whole = duty(found.random.strong_steps);
    let chance = |at: f64| share(found.random.recovered * (at / whole.max(f64::MIN_POSITIVE)).min(1.0));
    let mut random = vec![(0.0, 0.0)];
    random.extend((whole < end).then(|| (whole, chance(whole))));
    random.push((end, chance(end)));
    let drawings = drawn(HEIGHTS, |area| {
        let ticks = (0..=TICKS).map(|tick| end * f64::from(tick) / f64::from(TICKS)).collect();
        let mut chart = plane(area, -0.01 * end..1.02 * end, ticks, -2.0..104.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .y_labels(6)
            .x_desc("duty: strong steps, of all horizons")
            .y_desc("lost episodes recovered")
            .x_label_formatter(&|value| format!("{value:.1} %"))
            .y_label_formatter(&|value| format!("{value:.0} %"))
            .label_style(text())
            .draw()?;
        chart.draw_series([PathElement::new(oracle.clone(), FIRST.stroke_width(4))])?;
        chart.draw_series([PathElement::new(random.clone(), SECOND.stroke_width(2))])?;
        for (line, name) in [(&oracle, "oracle"), (&random, "random moments")] {
            if let Some(last) = line.last() {
                let style = text().pos(Pos::new(HPos::Right, VPos::Bottom));
                chart.draw_series([Text::new(name, (last.0, last.1 + 1.5), style)])?;
            }
        }
        for arm in &found.arms {
            let at = (duty(arm.strong_steps as f64), share(arm.recovered as f64));
            chart.draw_series([Circle::new(at, 5, BLACK.filled())])?;
            let style = text().pos(Pos::new(HPos::Left, VPos::Center));
            chart.draw_series([Text::new(arm.arm.to_string(), (at.0 + 0.015 * end, at.1), style)])?;
        }
        Ok(())
    })?;
    let said: Vec<String> = found
        .arms
        .iter()
        .map(|arm| {
            format!(
                "{} recovers {:.0} % at {:.1} % duty, where the oracle recovers {:.0} %",
                arm.arm,
                share(arm.recovered as f64),
                duty(arm.strong_steps as f64),
                share(arm.oracle as f64)
            )
        })
        .collect();
    let caption = "Lost episodes recovered against the strong steps spent. A point is an arm; the thick line bounds what any gate could do, the \
                   thin line is help at random moments.";
    Ok(Some(Figure { alt: format!("{}.", said.join("; ")), caption: caption.into(), drawings }))
}

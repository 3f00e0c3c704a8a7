//! When help began: hand-overs to the strong policy along the episode, arm by arm.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{ArmReport, Figure, ReportError};
use super::{FIRST, svg, text};

/// Hand-overs to the strong policy by control step, one row for each arm that has any.
pub fn began(arms: &[ArmReport], horizon: u32) -> Result<Option<Figure>, ReportError> {
    const ROW: u32 = 96;
    let rows: Vec<&ArmReport> = arms.iter().filter(|arm| !arm.help.began.is_empty()).collect();
    let most = rows.iter().flat_map(|arm| &arm.help.began).map(|[_, count]| *count).max();
    let Some(most) = most else { return Ok(None) };
    let horizon = f64::from(horizon.max(1));
    let total = |arm: &ArmReport| arm.help.began.iter().map(|[_, count]| count).sum::<u64>();
    let svg = svg(ROW * rows.len() as u32 + 44, |area| {
        for (index, arm) in rows.iter().enumerate() {
            let last = index + 1 == rows.len();
            let top = ROW * index as u32;
            let height = if last { ROW + 44 } else { ROW };
            let row = area.clone().shrink((0, top), (super::WIDTH, height));
            let mut chart = ChartBuilder::on(&row)
                .margin_left(8)
                .margin_right(20)
                .margin_top(26)
                .x_label_area_size(if last { 44 } else { 0 })
                .y_label_area_size(48)
                .build_cartesian_2d(-0.02 * horizon..horizon, 0.0..most as f64)?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(BLACK.mix(0.15))
                .y_labels(3)
                .y_label_formatter(&|value| format!("{value:.0}"))
                .x_label_formatter(&|value| format!("{value:.0}"))
                .label_style(text(14.0));
            if last {
                mesh.x_desc("control step");
            }
            mesh.draw()?;
            chart.draw_series(arm.help.began.iter().map(|[step, count]| {
                let (x, half) = (*step as f64, 0.008 * horizon);
                Rectangle::new([(x - half, 0.0), (x + half, *count as f64)], FIRST.filled())
            }))?;
            let words = format!(
                "{}: {} hand-overs in {} of {} episodes",
                arm.arm,
                total(arm),
                arm.help.helped,
                arm.success.n
            );
            let style = text(15.0).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(words, (12, top as i32 + 13), style))?;
        }
        Ok(())
    })?;
    let said: Vec<String> = rows
        .iter()
        .map(|arm| {
            let first = arm.help.began.first().map_or(0, |[step, _]| *step);
            let peak = arm.help.began.iter().max_by_key(|[step, count]| (*count, u64::MAX - step));
            format!(
                "{}: {} hand-overs, the first at step {first}, most at step {}",
                arm.arm,
                total(arm),
                peak.map_or(0, |[step, _]| *step)
            )
        })
        .collect();
    Ok(Some(Figure { alt: format!("When control went to the strong policy. {}.", said.join("; ")), svg }))
}

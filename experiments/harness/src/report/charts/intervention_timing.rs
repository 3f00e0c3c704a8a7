//! Figure of the hand-overs to the strong policy over the control steps of an episode, one row for each arm.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{ArmReport, Figure, ReportError};
use super::{FIRST, Ticked, drawn, fitted, room, text, whole_ticks};

/// Draws the hand-overs to the strong policy by control step, one row for each arm that has any.
pub fn began(arms: &[ArmReport], horizon: u32) -> Result<Option<Figure>, ReportError> {
    const ROW: u32 = 100;
    let rows: Vec<&ArmReport> = arms.iter().filter(|arm| !arm.help.began.is_empty()).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let horizon = f64::from(horizon.max(1));
    let total = |arm: &ArmReport| arm.help.began.iter().map(|[_, count]| count).sum::<u64>();
    let drawings = drawn([ROW * rows.len() as u32 + 46; 2], |area| {
        let steps = whole_ticks(0.0, horizon, room(area, 56));
        for (index, arm) in rows.iter().enumerate() {
            let last = index + 1 == rows.len();
            let top = ROW * index as u32;
            let height = if last { ROW + 46 } else { ROW };
            let row = area.clone().shrink((0, top), (area.dim_in_pixel().0, height));
            let most = arm.help.began.iter().map(|[_, count]| *count).max().unwrap_or(0).max(1) as f64;
            let mut chart = ChartBuilder::on(&row)
                .margin_left(8)
                .margin_right(24)
                .margin_top(30)
                .x_label_area_size(if last { 46 } else { 0 })
                .y_label_area_size(62)
                .build_cartesian_2d(
                    Ticked::new(-0.02 * horizon..horizon, steps.clone()),
                    Ticked::new(0.0..most, whole_ticks(0.0, most, 3)),
                )?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(BLACK.mix(0.15))
                .y_label_formatter(&|value| format!("{value:.0}"))
                .x_label_formatter(&|value| format!("{value:.0}"))
                .label_style(text());
            if last {
                mesh.x_desc("control step");
            }
            mesh.draw()?;
            chart.draw_series(arm.help.began.iter().map(|[step, count]| {
                let (x, half) = (*step as f64, 0.008 * horizon);
                Rectangle::new([(x - half, 0.0), (x + half, *count as f64)], FIRST.filled())
            }))?;
            let (helped, episodes) = (arm.help.helped, arm.success.n);
            let words = format!("{}: {} in {helped} of {episodes} episodes", arm.arm, total(arm));
            let style = text().pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(fitted(words, area), (12, top as i32 + 16), style))?;
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
    let alt = format!("Times of hand-overs to the strong policy. {}.", said.join("; "));
    let caption = "Hand-overs to the strong policy at each chunk boundary, arm by arm: how many there were, in how many \
                   episodes, and when. Each arm has a scale of its own.";
    Ok(Some(Figure { alt, caption: caption.into(), drawings }))
}

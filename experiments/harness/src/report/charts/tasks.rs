//! Figure of one arm's effect on each task: recovered episodes as bars upwards, broken episodes as bars downwards.

use aegis_statistics::{Proportion, TaskRow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{Figure, ReportError};
use super::{FIRST, SECOND, Ticked, drawn, room, text, whole_ticks};

/// Draws the episodes recovered and broken by `arm`, task by task. `None` where there are no such episodes in any task.
pub fn by_task(arm: &str, tasks: &[TaskRow]) -> Result<Option<Figure>, ReportError> {
    let count = |of: Option<Proportion>| of.map_or(0, |of| of.k) as f64;
    let rows: Vec<(usize, f64, f64)> =
        tasks.iter().map(|row| (row.task, count(row.recovered), count(row.broken))).collect();
    let high = rows.iter().map(|(_, recovered, _)| *recovered).fold(0.0_f64, f64::max);
    let low = rows.iter().map(|(_, _, broken)| *broken).fold(0.0_f64, f64::max);
    if high + low == 0.0 {
        return Ok(None);
    }
    // Space above and below the bars for their numbers.
    let margin = 0.15 * (high + low);
    let last = rows.len() as f64 - 1.0;
    let drawings = drawn([240; 2], |area| {
        let places = whole_ticks(0.0, last, room(area, 34));
        let counts = whole_ticks(-low, high, 6);
        let mut chart =
            ChartBuilder::on(area).margin(8).x_label_area_size(46).y_label_area_size(62).build_cartesian_2d(
                Ticked::new(-0.6..last + 0.6, places),
                Ticked::new(-low - margin..high + margin, counts),
            )?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_label_formatter(&|at| {
                rows.get(at.round() as usize).map_or(String::new(), |row| row.0.to_string())
            })
            .x_desc("task")
            .y_desc("episodes")
            .y_label_formatter(&|value| format!("{:.0}", value.abs()))
            .label_style(text())
            .draw()?;
        for (index, (_, recovered, broken)) in rows.iter().enumerate() {
            let x = index as f64;
            let bar =
                |height: f64, style: ShapeStyle| Rectangle::new([(x - 0.32, 0.0), (x + 0.32, height)], style);
            if *recovered > 0.0 {
                chart.draw_series([bar(*recovered, FIRST.filled())])?;
            }
            if *broken > 0.0 {
                chart.draw_series([bar(-broken, SECOND.stroke_width(2))])?;
            }
            for (value, at, side) in [(recovered, *recovered, VPos::Bottom), (broken, -broken, VPos::Top)] {
                if *value > 0.0 {
                    let style = text().pos(Pos::new(HPos::Center, side));
                    chart.draw_series([Text::new(format!("{value:.0}"), (x, at), style)])?;
                }
            }
        }
        chart.draw_series([PathElement::new(vec![(-0.6, 0.0), (last + 0.6, 0.0)], BLACK.stroke_width(1))])?;
        Ok(())
    })?;
    let said = rows.iter().map(|(task, recovered, broken)| format!("task {task}: {recovered} and {broken}"));
    let alt = format!("Episodes that {arm} recovered and broke. {}.", said.collect::<Vec<_>>().join("; "));
    let caption = format!(
        "Episodes of each task that weak lost and {arm} won (upwards, filled), and that weak won and {arm} lost \
         (downwards, outlined)."
    );
    Ok(Some(Figure { alt, caption, drawings }))
}

#[cfg(test)]
mod tests {
    use aegis_statistics::mcnemar;

    use super::*;

    /// Returns a task of five episodes, of which weak lost three.
    fn row(task: usize, recovered: u64, broken: u64) -> TaskRow {
        let proportion = |k, n| Proportion::new(k, n, 0.95).unwrap();
        TaskRow {
            task,
            weak: proportion(2, 5),
            arm: proportion(2 + recovered - broken, 5),
            recovered: Some(proportion(recovered, 3)),
            broken: Some(proportion(broken, 2)),
            net_effect: (recovered as f64 - broken as f64) / 5.0,
            mcnemar: mcnemar(recovered, broken),
        }
    }

    /// Returns the tick labels beside the left axis, from top to bottom.
    fn beside(svg: &str) -> Vec<&str> {
        let texts = svg.split("<text ").skip(1).filter(|text| text.contains("text-anchor=\"end\""));
        texts.filter_map(|text| text.split_once(">\n")?.1.split_once('\n')).map(|(words, _)| words).collect()
    }

    #[test]
    fn few_episodes_are_counted_in_whole_ones() {
        let figure = by_task("aegis", &[row(0, 3, 0), row(1, 1, 0)]).unwrap().unwrap();
        for svg in &figure.drawings {
            let mut beside = beside(svg);
            beside.sort_unstable();
            assert_eq!(beside, ["0", "1", "2", "3"], "{svg}");
        }
        assert!(figure.alt.contains("task 0: 3 and 0"), "{}", figure.alt);
        let figure = by_task("aegis", &[row(4, 2, 1)]).unwrap().unwrap();
        let mut beside = beside(&figure.drawings[0]);
        beside.sort_unstable();
        assert_eq!(beside, ["0", "1", "1", "2"], "one below the line, and the task's number below the axis");
        assert!(by_task("aa", &[row(0, 0, 0)]).unwrap().is_none());
    }
}

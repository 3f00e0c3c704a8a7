//! The report's figures as SVG: contrasts with their intervals, discordant pairs, and what each task gained and lost.
//! Drawn in black, which the page makes the colour of its text; what differs, differs in shape or filling too.

use aegis_statistics::{Estimate, TaskRow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{ContrastReport, Figure, ReportError, ScoreMoment};

/// Wide enough for a page, narrow enough to be read on a telephone.
const WIDTH: u32 = 560;
/// Blue of Okabe and Ito's palette.
const FIRST: RGBColor = RGBColor(0, 114, 178);
/// Their orange.
const SECOND: RGBColor = RGBColor(230, 159, 0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Every contrast's difference with its interval, beside no difference.
pub fn forest(contrasts: &[ContrastReport]) -> Result<Option<Figure>, ReportError> {
    let rows: Vec<(String, Estimate)> = contrasts
        .iter()
        .filter_map(|one| {
            Some((format!("{} − {}", one.claim.better, one.claim.than), one.figures.difference?))
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let points = |value: f64| 100.0 * value;
    let ends = rows.iter().flat_map(|(_, estimate)| [points(estimate.lower), points(estimate.upper)]);
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let room = 0.05 * (high - low).max(1.0);
    let count = rows.len() as f64;
    let svg = svg(70 + 48 * rows.len() as u32, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .build_cartesian_2d(low - room..high + room, 0.0..count)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_desc("difference, percentage points")
            .label_style(text(14.0))
            .draw()?;
        for (index, (name, estimate)) in rows.iter().enumerate() {
            let y = count - index as f64 - 0.68;
            let [at, lower, upper] = [estimate.estimate, estimate.lower, estimate.upper].map(points);
            // No difference, beside the interval alone: further up it would strike out the words.
            let none = PathElement::new(vec![(0.0, y - 0.2), (0.0, y + 0.2)], BLACK.stroke_width(2));
            chart.draw_series([none])?;
            let line = PathElement::new(vec![(lower, y), (upper, y)], FIRST.stroke_width(3));
            chart.draw_series([line])?;
            chart.draw_series([Circle::new((at, y), 6, FIRST.filled())])?;
            let label = format!("{name}: {at:+.1} [{lower:+.1}, {upper:+.1}]");
            let (_, pixel) = chart.backend_coord(&(0.0, y + 0.38));
            area.draw(&Text::new(label, (12, pixel), text(15.0).pos(Pos::new(HPos::Left, VPos::Center))))?;
        }
        Ok(())
    })?;
    let said = rows.iter().map(|(name, estimate)| format!("{name} {}", super::words::points(estimate)));
    let alt = format!("Differences with their intervals: {}.", said.collect::<Vec<_>>().join("; "));
    Ok(Some(Figure { alt, svg }))
}

/// Episodes that only one arm of a contrast won, as squares of that area.
pub fn discordant(contrasts: &[ContrastReport]) -> Result<Option<Figure>, ReportError> {
    let most = contrasts.iter().flat_map(|one| [one.figures.b, one.figures.c]).max().unwrap_or(0);
    if most == 0 {
        return Ok(None);
    }
    const ROW: i32 = 104;
    const SIDE: f64 = 64.0;
    let side = |count: u64| (SIDE * (count as f64 / most as f64).sqrt()).round() as i32;
    let svg = svg(ROW as u32 * contrasts.len() as u32, |area| {
        for (index, one) in contrasts.iter().enumerate() {
            let (top, base) = (index as i32 * ROW, index as i32 * ROW + ROW - 10);
            let left = Pos::new(HPos::Left, VPos::Center);
            let title = format!("{} against {}", one.claim.better, one.claim.than);
            area.draw(&Text::new(title, (12, top + 14), text(15.0).pos(left)))?;
            let sides = [
                (12, one.figures.b, &one.claim.better, FIRST.filled()),
                (286, one.figures.c, &one.claim.than, SECOND.stroke_width(3)),
            ];
            for (x, count, arm, style) in sides {
                let side = side(count);
                area.draw(&Rectangle::new([(x, base - side), (x + side, base)], style))?;
                let label = format!("{count} only {arm}");
                area.draw(&Text::new(label, (x + side + 10, base - 10), text(14.0).pos(left)))?;
            }
        }
        Ok(())
    })?;
    let said = contrasts.iter().map(|one| {
        let (figures, claim) = (&one.figures, &one.claim);
        format!(
            "{} episodes that only {} won and {} that only {} won",
            figures.b, claim.better, figures.c, claim.than
        )
    });
    let alt = format!("Squares of discordant pairs: {}.", said.collect::<Vec<_>>().join("; "));
    Ok(Some(Figure { alt, svg }))
}

/// Episodes recovered, upwards, and broken, downwards, task by task.
pub fn by_task(arm: &str, tasks: &[TaskRow]) -> Result<Option<Figure>, ReportError> {
    let count = |of: Option<aegis_statistics::Proportion>| of.map_or(0, |of| of.k) as f64;
    let rows: Vec<(usize, f64, f64)> =
        tasks.iter().map(|row| (row.task, count(row.recovered), count(row.broken))).collect();
    let high = rows.iter().map(|(_, recovered, _)| *recovered).fold(0.0_f64, f64::max);
    let low = rows.iter().map(|(_, _, broken)| *broken).fold(0.0_f64, f64::max);
    if high + low == 0.0 {
        return Ok(None);
    }
    let room = 0.12 * (high + low);
    let svg = svg(240, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.6..rows.len() as f64 - 0.4, -low - room..high + room)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_labels(rows.len())
            .x_label_formatter(&|at| {
                rows.get(at.round() as usize).map_or(String::new(), |row| row.0.to_string())
            })
            .x_desc("task")
            .y_desc("episodes")
            .y_label_formatter(&|value| format!("{:.0}", value.abs()))
            .label_style(text(14.0))
            .draw()?;
        for (index, (_, recovered, broken)) in rows.iter().enumerate() {
            let x = index as f64;
            let bar =
                |height: f64, style: ShapeStyle| Rectangle::new([(x - 0.32, 0.0), (x + 0.32, height)], style);
            chart.draw_series([bar(*recovered, FIRST.filled()), bar(-broken, SECOND.stroke_width(3))])?;
            for (value, at, side) in [(recovered, *recovered, VPos::Bottom), (broken, -broken, VPos::Top)] {
                if *value > 0.0 {
                    let style = text(13.0).pos(Pos::new(HPos::Center, side));
                    chart.draw_series([Text::new(format!("{value:.0}"), (x, at), style)])?;
                }
            }
        }
        chart.draw_series([PathElement::new(
            vec![(-0.6, 0.0), (rows.len() as f64 - 0.4, 0.0)],
            BLACK.stroke_width(1),
        )])?;
        Ok(())
    })?;
    let said = rows.iter().map(|(task, recovered, broken)| format!("task {task}: {recovered} and {broken}"));
    let alt = format!("Episodes that {arm} recovered and broke. {}.", said.collect::<Vec<_>>().join("; "));
    Ok(Some(Figure { alt, svg }))
}

/// Median and quartiles of the score in lost and in won episodes, boundary by boundary.
pub fn score_fan(moments: &[ScoreMoment]) -> Result<Option<Figure>, ReportError> {
    type Fan = Vec<(f64, [f64; 3])>;
    let fan = |of: fn(&ScoreMoment) -> Option<[f64; 3]>| -> Fan {
        let seen = moments.iter().filter_map(|one| Some((f64::from(one.moment.step), of(one)?)));
        seen.filter(|(_, values)| values.iter().all(|value| value.is_finite())).collect()
    };
    let (lost, won) = (fan(|one| one.lost), fan(|one| one.won));
    let Some(last) = lost.iter().chain(&won).map(|(step, _)| *step).reduce(f64::max) else { return Ok(None) };
    let svg = svg(280, |area| {
        let mut chart = along(area, last, "risk of failure", 0.0..1.1)?;
        for (fan, colour, name, width) in [(&lost, SECOND, "lost", 4), (&won, FIRST, "won", 2)] {
            let band = fan.iter().map(|(step, values)| (*step, values[2]));
            let band = band.chain(fan.iter().rev().map(|(step, values)| (*step, values[0])));
            chart.draw_series([Polygon::new(band.collect::<Vec<_>>(), colour.mix(0.25).filled())])?;
            let median: Vec<(f64, f64)> = fan.iter().map(|(step, values)| (*step, values[1])).collect();
            let named = median.get(median.len() / 3).copied();
            chart.draw_series([PathElement::new(median, colour.stroke_width(width))])?;
            if let Some(at) = named {
                let style = text(15.0).pos(Pos::new(HPos::Left, VPos::Bottom));
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
    Ok(Some(Figure { alt, svg }))
}

/// How well the score ranks the episodes that still run, boundary by boundary.
pub fn auroc(moments: &[ScoreMoment]) -> Result<Option<Figure>, ReportError> {
    let ranked = moments.iter().filter_map(|one| Some((f64::from(one.moment.step), one.moment.auroc?)));
    let ranked: Vec<(f64, f64)> = ranked.collect();
    let (Some(first), Some(last)) = (ranked.first().copied(), ranked.last().copied()) else {
        return Ok(None);
    };
    let svg = svg(240, |area| {
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
    Ok(Some(Figure { alt, svg }))
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Axes of something along an episode.
fn along<'a, 'b>(
    area: &'a Area<'b>,
    last: f64,
    what: &str,
    range: std::ops::Range<f64>,
) -> Result<Chart<'a, 'b>, DrawingAreaErrorKind<<SVGBackend<'b> as DrawingBackend>::ErrorType>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..last.max(1.0), range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .x_desc("control step")
        .y_desc(what)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style(text(14.0))
        .draw()?;
    Ok(chart)
}

fn text(size: f64) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

/// Draws one figure of this height.
fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn<'static>) -> Result<String, ReportError> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    let drawn = draw(&area).and_then(|()| area.present());
    drop(area);
    drawn.map_err(|error| ReportError::Figure(error.to_string()))?;
    Ok(text.replace("#000000", "currentColor"))
}

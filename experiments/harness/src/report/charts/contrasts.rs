//! Who won more: intervals beside no difference, discordant pairs as squares, and what each task gained and lost.
//! Where an interval has to lie within a tolerance, the tolerance is drawn under it.

use aegis_statistics::{BudgetMatch, Estimate, TaskRow, Tolerance};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{ArmReport, ContrastReport, Figure, ReportError};
use super::{Area, Drawn, FIRST, SECOND, svg, text};

/// One line of a forest plot.
struct Row {
    name: String,
    /// Value, lower and upper end.
    interval: [f64; 3],
}

impl Row {
    fn new(name: String, of: &Estimate, unit: &Unit) -> Self {
        Self { name, interval: [of.estimate, of.lower, of.upper].map(|value| unit.scale * value) }
    }

    fn said(&self, unit: &Unit) -> String {
        let ([at, lower, upper], digits) = (self.interval, unit.digits);
        format!("{}: {at:+.digits$} [{lower:+.digits$}, {upper:+.digits$}]", self.name)
    }
}

/// In what a forest plot counts.
struct Unit {
    /// Below the axis.
    name: &'static str,
    /// From the statistics' unit to this one.
    scale: f64,
    /// Digits after the point.
    digits: usize,
}

/// Every contrast's difference with its interval, beside no difference.
pub fn forest(contrasts: &[ContrastReport]) -> Result<Option<Figure>, ReportError> {
    let unit = Unit { name: "difference, percentage points", scale: 100.0, digits: 1 };
    let rows: Vec<Row> = contrasts
        .iter()
        .filter_map(|one| Some(Row::new(difference(one), one.figures.difference.as_ref()?, &unit)))
        .collect();
    forest_of(&rows, None, &unit, "Differences with their intervals")
}

/// Every arm's net effect on weak with its interval.
pub fn arms(arms: &[ArmReport]) -> Result<Option<Figure>, ReportError> {
    let name = "won more than weak, percentage points of all episodes";
    let unit = Unit { name, scale: 100.0, digits: 1 };
    let rows: Vec<Row> = arms
        .iter()
        .filter_map(|arm| {
            Some(Row::new(arm.arm.to_string(), arm.effects?.net_effect_clustered.as_ref()?, &unit))
        })
        .collect();
    forest_of(&rows, None, &unit, "Net effects")
}

/// Differences of what the arms of each contrast spent, of its duty and of its fires, each over the tolerance that it has
/// to lie in.
pub fn budgets(contrasts: &[ContrastReport], tolerance: Tolerance) -> Result<Vec<Figure>, ReportError> {
    type Part = fn(&BudgetMatch) -> Estimate;
    let duty: Part = |budget| budget.duty.difference;
    let fires: Part = |budget| budget.fires.difference;
    let mut figures = Vec::new();
    for (of, tolerance, unit) in [
        (
            duty,
            tolerance.duty,
            Unit { name: "difference of duty, percentage points", scale: 100.0, digits: 1 },
        ),
        (fires, tolerance.fires, Unit { name: "difference of fires per episode", scale: 1.0, digits: 2 }),
    ] {
        let row = |one: &ContrastReport| Some(Row::new(difference(one), &of(one.budget.as_ref()?), &unit));
        let rows: Vec<Row> = contrasts.iter().filter_map(row).collect();
        let tolerance = unit.scale * tolerance;
        let said = format!("Differences of budgets, tolerated up to {tolerance:.2} either way");
        figures.extend(forest_of(&rows, Some(tolerance), &unit, &said)?);
    }
    Ok(figures)
}

/// A contrast by its arms.
fn difference(one: &ContrastReport) -> String {
    format!("{} − {}", one.claim.better, one.claim.than)
}

fn forest_of(
    rows: &[Row],
    tolerance: Option<f64>,
    unit: &Unit,
    said: &str,
) -> Result<Option<Figure>, ReportError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let ends = rows.iter().flat_map(|row| [row.interval[1], row.interval[2]]);
    let ends = ends.chain(tolerance.iter().flat_map(|tolerance| [-tolerance, *tolerance]));
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let room = 0.05 * (high - low).max(1e-6);
    let count = rows.len() as f64;
    let svg = svg(70 + 48 * rows.len() as u32, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .build_cartesian_2d(low - room..high + room, 0.0..count)?;
        if let Some(tolerance) = tolerance {
            let band = Rectangle::new([(-tolerance, 0.0), (tolerance, count)], BLACK.mix(0.1).filled());
            chart.draw_series([band])?;
        }
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_desc(unit.name)
            .x_label_formatter(&|value| tick(*value))
            .label_style(text(14.0))
            .draw()?;
        for (index, row) in rows.iter().enumerate() {
            let y = count - index as f64 - 0.68;
            let [at, lower, upper] = row.interval;
            // No difference, beside the interval alone: further up it would strike out the words.
            let none = PathElement::new(vec![(0.0, y - 0.2), (0.0, y + 0.2)], BLACK.stroke_width(2));
            chart.draw_series([none])?;
            chart.draw_series([PathElement::new(vec![(lower, y), (upper, y)], FIRST.stroke_width(3))])?;
            chart.draw_series([Circle::new((at, y), 6, FIRST.filled())])?;
            let (_, pixel) = chart.backend_coord(&(0.0, y + 0.38));
            named(area, row.said(unit), pixel)?;
        }
        Ok(())
    })?;
    let all: Vec<String> = rows.iter().map(|row| row.said(unit)).collect();
    Ok(Some(Figure { alt: format!("{said} ({}): {}.", unit.name, all.join("; ")), svg }))
}

/// A value at an axis, without what rounding left of it.
fn tick(value: f64) -> String {
    let rounded = (1000.0 * value).round() / 1000.0;
    format!("{}", rounded + 0.0)
}

/// Writes a row's words at its left.
fn named(area: &Area<'_>, words: String, y: i32) -> Drawn<'static> {
    area.draw(&Text::new(words, (12, y), text(15.0).pos(Pos::new(HPos::Left, VPos::Center))))
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

//! Figures that compare arms: forest plots of differences with their intervals, and discordant pairs as bars.
//! Where an interval has to lie within a tolerance, the tolerance is drawn as a band behind it.

use aegis_statistics::{BudgetMatch, Estimate, Tolerance};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::tables::signed;
use super::super::{ArmReport, ContrastReport, Figure, ReportError};
use super::{Area, Drawn, FIRST, LETTER, SECOND, drawn, fitted, room, text};
use crate::episode::arm::ArmName;

/// One line of a forest plot.
struct Row {
    name: String,
    /// Estimate, lower end and upper end, in the plot's unit.
    interval: [f64; 3],
}

impl Row {
    fn new(name: String, of: &Estimate, unit: &Unit) -> Self {
        Self { name, interval: [of.estimate, of.lower, of.upper].map(|value| unit.scale * value) }
    }

    fn said(&self, unit: &Unit) -> String {
        let [at, lower, upper] = self.interval.map(|value| signed(value, unit.digits));
        format!("{}: {at} [{lower}, {upper}]", self.name)
    }
}

/// The unit of a forest plot.
struct Unit {
    /// Label of the horizontal axis.
    name: &'static str,
    /// Factor from the unit of the statistics to this unit.
    scale: f64,
    /// Digits after the point.
    digits: usize,
}

/// Draws the difference of every contrast with its interval, and a stroke at no difference.
pub fn forest(contrasts: &[ContrastReport]) -> Result<Option<Figure>, ReportError> {
    let unit = Unit { name: "difference, percentage points", scale: 100.0, digits: 1 };
    let rows: Vec<Row> = contrasts
        .iter()
        .filter_map(|one| Some(Row::new(difference(one), one.figures.difference.as_ref()?, &unit)))
        .collect();
    let caption = "Each registered claim: by how many percentage points the first arm wins more than the second, with its \
                   interval. The black stroke marks no difference.";
    forest_of(&rows, None, &unit, "Differences with their intervals", caption)
}

/// Draws the net effect of each of these arms against weak, with its interval.
pub fn arms<'a>(arms: impl IntoIterator<Item = &'a ArmReport>) -> Result<Option<Figure>, ReportError> {
    let name = "won more than weak, percentage points";
    let unit = Unit { name, scale: 100.0, digits: 1 };
    let rows: Vec<Row> = arms
        .into_iter()
        .filter_map(|arm| {
            Some(Row::new(arm.arm.to_string(), arm.effects?.net_effect_clustered.as_ref()?, &unit))
        })
        .collect();
    let caption = "Episodes that an arm wins more than weak, of all episodes: recovered less broken, with its interval. \
                   The black stroke marks no difference.";
    forest_of(&rows, None, &unit, "Net effects", caption)
}

/// Draws the differences of duty and of fires between the arms of each contrast, one figure each, over the tolerance that
/// the intervals have to lie in.
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
        let caption = format!(
            "Spending of the first arm minus that of the second: {}, with its interval. The grey band is the tolerance of \
             the plan, {tolerance:.2} either way; a match is shown where the whole interval lies in it.",
            unit.name
        );
        figures.extend(forest_of(&rows, Some(tolerance), &unit, &said, &caption)?);
    }
    Ok(figures)
}

/// Returns the name of a contrast, from its two arms.
fn difference(one: &ContrastReport) -> String {
    format!("{} − {}", one.claim.better, one.claim.than)
}

fn forest_of(
    rows: &[Row],
    tolerance: Option<f64>,
    unit: &Unit,
    said: &str,
    caption: &str,
) -> Result<Option<Figure>, ReportError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let ends = rows.iter().flat_map(|row| [row.interval[1], row.interval[2]]);
    let ends = ends.chain(tolerance.iter().flat_map(|tolerance| [-tolerance, *tolerance]));
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let margin = 0.05 * (high - low).max(1e-6);
    let count = rows.len() as f64;
    let drawings = drawn([66 + 48 * rows.len() as u32; 2], |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(46)
            .build_cartesian_2d(low - margin..high + margin, 0.0..count)?;
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
            .x_labels(room(area, 56).min(11))
            .x_label_formatter(&|value| tick(*value))
            .label_style(text())
            .draw()?;
        for (index, row) in rows.iter().enumerate() {
            let y = count - index as f64 - 0.68;
            let [at, lower, upper] = row.interval;
            // The stroke at no difference is only as high as the interval; a longer one would cross the text above.
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
    let alt = format!("{said} ({}): {}.", unit.name, all.join("; "));
    Ok(Some(Figure { alt, caption: caption.to_owned(), drawings }))
}

/// Formats a value at an axis, rounded to three digits after the point and without a negative zero.
fn tick(value: f64) -> String {
    let rounded = (1000.0 * value).round() / 1000.0;
    format!("{}", rounded + 0.0).replace('-', "−")
}

/// Writes a row's text at the left edge.
fn named(area: &Area<'_>, words: String, y: i32) -> Drawn<'static> {
    area.draw(&Text::new(fitted(words, area), (12, y), text().pos(Pos::new(HPos::Left, VPos::Center))))
}

/// Draws the numbers of episodes that only one arm of a contrast won, as two bars.
pub fn discordant(contrasts: &[ContrastReport]) -> Result<Option<Figure>, ReportError> {
    let most = contrasts.iter().flat_map(|one| [one.figures.b, one.figures.c]).max().unwrap_or(0);
    if most == 0 {
        return Ok(None);
    }
    const ROW: i32 = 78;
    const LEFT: i32 = 12;
    let sides = |one: &ContrastReport| -> [(u64, ArmName); 2] {
        [(one.figures.b, one.claim.better.clone()), (one.figures.c, one.claim.than.clone())]
    };
    let label = |count: u64, arm: ArmName| format!("{count} only {arm}").chars().take(38).collect::<String>();
    let drawings = drawn([(ROW * contrasts.len() as i32 + 8) as u32; 2], |area| {
        let left = Pos::new(HPos::Left, VPos::Center);
        // The longest bar leaves space for the longest label.
        let words = contrasts.iter().flat_map(sides).map(|(count, arm)| label(count, arm).chars().count());
        let beside = 10 + (LETTER * words.max().unwrap_or(0) as f64) as i32;
        let longest = (area.dim_in_pixel().0 as i32 - 2 * LEFT - beside).max(40);
        let length = |count: u64| (f64::from(longest) * count as f64 / most as f64).round() as i32;
        for (index, one) in contrasts.iter().enumerate() {
            let top = index as i32 * ROW;
            let title = format!("{} against {}", one.claim.better, one.claim.than);
            named(area, title, top + 16)?;
            let styles = [(top + 28, FIRST.filled()), (top + 52, SECOND.stroke_width(2))];
            for ((count, arm), (y, style)) in sides(one).into_iter().zip(styles) {
                let end = LEFT + length(count);
                area.draw(&Rectangle::new([(LEFT, y), (end, y + 18)], style))?;
                area.draw(&Text::new(label(count, arm), (end + 8, y + 9), text().pos(left)))?;
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
    let alt = format!("Bars of discordant pairs: {}.", said.collect::<Vec<_>>().join("; "));
    let caption = "Episodes that only one arm of a claim won, first arm filled, second arm outlined; episodes that both won or \
                   both lost are left out."
        .into();
    Ok(Some(Figure { alt, caption, drawings }))
}

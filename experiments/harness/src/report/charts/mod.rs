//! The report's figures as SVG: one file for each question that they answer, and here what all of them share.
//! Drawn in black, which the page makes the colour of its text; what differs, differs in shape or filling too.

mod contrasts;
mod help;
mod scores;

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::ReportError;

pub use contrasts::{arms, budgets, by_task, discordant, forest};
pub use help::began;
pub use scores::{auroc, reliability, roc, score_fan};

/// Wide enough for a page, narrow enough to be read on a telephone.
const WIDTH: u32 = 560;
/// Blue of Okabe and Ito's palette.
const FIRST: RGBColor = RGBColor(0, 114, 178);
/// Their orange.
const SECOND: RGBColor = RGBColor(230, 159, 0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

type Axes<'a, 'b> =
    Result<Chart<'a, 'b>, DrawingAreaErrorKind<<SVGBackend<'b> as DrawingBackend>::ErrorType>>;

/// A plane with room for labels below and at the left.
fn plane<'a, 'b>(area: &'a Area<'b>, x: Range<f64>, y: Range<f64>) -> Axes<'a, 'b> {
    ChartBuilder::on(area)
        .margin(8)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(54)
        .build_cartesian_2d(x, y)
}

/// Axes of something along an episode.
fn along<'a, 'b>(area: &'a Area<'b>, last: f64, what: &str, range: Range<f64>) -> Axes<'a, 'b> {
    let mut chart = plane(area, 0.0..last.max(1.0), range)?;
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

/// Axes of one share against another.
fn shares<'a, 'b>(area: &'a Area<'b>, x: &str, y: &str) -> Axes<'a, 'b> {
    let mut chart = plane(area, -0.02..1.02, -0.02..1.02)?;
    let percent = |value: &f64| format!("{:.0} %", 100.0 * value);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .x_labels(6)
        .y_labels(6)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
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

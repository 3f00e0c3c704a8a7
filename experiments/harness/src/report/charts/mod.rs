//! The report's figures as SVG: one module for each question that they answer; shared parts are here.
//! Black is replaced by the page's text colour. Elements that differ in colour also differ in shape or filling.

mod contrasts;
mod hindsight;
mod intervention_timing;
mod scores;
mod tasks;
mod ticks;

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::ReportError;
use ticks::{Ticked, whole_ticks};

pub use contrasts::{arms, budgets, discordant, forest};
pub use hindsight::hindsight;
pub use intervention_timing::began;
pub use scores::{auroc, reliability, roc, score_fan};
pub use tasks::by_task;

/// Widths in pixels of the two drawings of every figure: the page's text width, and the width of a telephone's screen.
const WIDTHS: [u32; 2] = [800, 358];
/// Font size of all text as passed to plotters; the SVG has this size divided by 1.24.
const TEXT: f64 = 16.0;
/// Width in pixels of a letter at that size, for a wide font, so that text fits in any font.
const LETTER: f64 = 0.58 * TEXT / 1.24;
/// Blue of Okabe and Ito's palette.
const FIRST: RGBColor = RGBColor(0, 114, 178);
/// Orange of Okabe and Ito's palette.
const SECOND: RGBColor = RGBColor(230, 159, 0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticked, RangedCoordf64>>;

type Axes<'a, 'b> =
    Result<Chart<'a, 'b>, DrawingAreaErrorKind<<SVGBackend<'b> as DrawingBackend>::ErrorType>>;

/// Creates a coordinate plane with space for labels below and on the left; `ticks` are those of the horizontal axis.
fn plane<'a, 'b>(area: &'a Area<'b>, x: Range<f64>, ticks: Vec<f64>, y: Range<f64>) -> Axes<'a, 'b> {
    ChartBuilder::on(area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(Ticked::new(x, ticks), y)
}

/// Draws the axes of a quantity over the control steps of an episode, up to step `last`.
fn along<'a, 'b>(area: &'a Area<'b>, last: f64, what: &str, range: Range<f64>) -> Axes<'a, 'b> {
    let last = last.max(1.0);
    let mut chart = plane(area, 0.0..last, whole_ticks(0.0, last, room(area, 56)), range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .x_desc("control step")
        .y_desc(what)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style(text())
        .draw()?;
    Ok(chart)
}

/// Draws the axes of one share against another, both in percent.
fn shares<'a, 'b>(area: &'a Area<'b>, x: &str, y: &str) -> Axes<'a, 'b> {
    let fifths = (0..=5).map(|fifth| f64::from(fifth) / 5.0).collect();
    let mut chart = plane(area, -0.02..1.02, fifths, -0.02..1.02)?;
    let percent = |value: &f64| format!("{:.0} %", 100.0 * value);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .y_labels(6)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
        .label_style(text())
        .draw()?;
    Ok(chart)
}

fn text() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&BLACK)
}

/// Returns how many labels of `width` pixels fit beside each other in an area, at least two.
fn room(area: &Area<'_>, width: u32) -> usize {
    (area.dim_in_pixel().0 / width).max(2) as usize
}

/// Shortens text that is wider than the area without its margins.
fn fitted(words: String, area: &Area<'_>) -> String {
    let most = (f64::from(area.dim_in_pixel().0.saturating_sub(20)) / LETTER) as usize;
    if words.chars().count() <= most {
        return words;
    }
    words.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Draws one figure at both widths; `heights` are in pixels, in the order of [`WIDTHS`].
fn drawn(heights: [u32; 2], draw: impl Fn(&Area<'_>) -> Drawn<'static>) -> Result<[String; 2], ReportError> {
    let one = |width, height| {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        let drawn = draw(&area).and_then(|()| area.present());
        drop(area);
        drawn.map_err(|error| ReportError::Figure(error.to_string()))?;
        Ok(text.replace("#000000", "currentColor"))
    };
    Ok([one(WIDTHS[0], heights[0])?, one(WIDTHS[1], heights[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_drawn_wide_and_narrow_and_long_words_are_cut() {
        let words = "a".repeat(60);
        let drawings = drawn([40, 50], |area| {
            let place = (12, 20);
            area.draw(&Text::new(fitted(words.clone(), area), place, text()))
        });
        let [wide, narrow] = drawings.unwrap();
        assert!(wide.starts_with("<svg width=\"800\" height=\"40\""), "{wide}");
        assert!(narrow.starts_with("<svg width=\"358\" height=\"50\""), "{narrow}");
        assert!(wide.contains(&words) && !wide.contains('…'));
        assert!(narrow.contains("a…") && !narrow.contains(&words));
        assert!(wide.contains("currentColor") && !wide.contains("#000000"));
    }
}

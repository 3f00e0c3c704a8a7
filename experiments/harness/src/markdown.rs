//! Parts of Markdown that several reports use.

/// Returns text that stays within a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('|', "\\|");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a p-value with three decimals, or in scientific notation below a thousandth.
pub(crate) fn probability(value: f64) -> String {
    if value < 1e-3 { format!("{value:.1e}") } else { format!("{value:.3}") }
}

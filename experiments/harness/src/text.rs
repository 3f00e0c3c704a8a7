//! Text that comes from files and arguments, and goes to a terminal or onto a page: what of it is no text to be shown.

/// Whether a terminal, a browser or a reader of Markdown obeys a symbol instead of showing it: control characters, ends of
/// lines and turns of the reading direction.
pub fn is_obeyed(symbol: char) -> bool {
    let turns = matches!(symbol, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    symbol.is_control() || turns || matches!(symbol, '\u{2028}' | '\u{2029}')
}

/// The text as the one line that it is to be.
pub fn on_one_line(text: &str) -> String {
    text.chars().map(|symbol| if is_obeyed(symbol) { ' ' } else { symbol }).collect()
}

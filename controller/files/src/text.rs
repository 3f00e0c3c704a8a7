//! Handling of characters that must not be shown in text from files and arguments on a terminal or a page.

/// Returns whether a terminal, a browser or a Markdown renderer interprets a character instead of showing it: control
/// characters, line ends and changes of the reading direction.
pub fn is_obeyed(symbol: char) -> bool {
    let turns = matches!(symbol, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    symbol.is_control() || turns || matches!(symbol, '\u{2028}' | '\u{2029}')
}

/// Returns the first `most` characters of a text, for a message. A longer text ends in `…` and its number of characters.
pub fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
    }
}

/// Returns the text as one line, with each such character replaced by a space.
pub fn on_one_line(text: &str) -> String {
    text.chars().map(|symbol| if is_obeyed(symbol) { ' ' } else { symbol }).collect()
}

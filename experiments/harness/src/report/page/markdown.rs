//! A page as Markdown: everything but the drawings, which are replaced by their captions and descriptions.

use std::fmt::Write;

use super::{Block, Figure, Link, Page, Table};
use aegis_files::text::on_one_line;

impl Page {
    /// Renders the page as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", words(&self.title));
        let mut figures = 0;
        for (index, section) in self.sections.iter().enumerate() {
            if self.lead > 0 && index == self.lead {
                text.push_str("\n## Contents\n\n");
                for (heading, anchor) in self.listed() {
                    let _ = writeln!(text, "- [{}](#{anchor})", words(heading));
                }
            }
            let _ = write!(text, "\n## {}\n", words(&section.heading));
            for block in &section.blocks {
                text.push('\n');
                write_block(&mut text, block, &mut figures);
            }
        }
        text
    }
}

/// Writes one block, including the line feed after its last line.
fn write_block(text: &mut String, block: &Block, figures: &mut u32) {
    let _ = match block {
        Block::Heading(heading) => writeln!(text, "### {}", words(heading)),
        Block::Sentence(sentence) => writeln!(text, "{}", paragraph(sentence)),
        Block::Verdict(outcome, why) => writeln!(text, "**Verdict: {}.** {}", outcome.word(), words(why)),
        Block::Links(links) => {
            let item =
                |Link { to, text, rest }: &Link| format!("- [{}]({to}): {}\n", words(text), words(rest));
            write!(text, "{}", links.iter().map(item).collect::<String>())
        }
        Block::Figure(Figure { alt, caption, .. }) => {
            *figures += 1;
            writeln!(text, "*Figure {figures}, drawn in report.html.* {} {}", words(caption), words(alt))
        }
        Block::Table(table) => write!(text, "{}", grid(table)),
    };
}

/// Escapes `text` for Markdown: one line, in which emphasis, links and HTML tags from the text are shown literally. Code
/// between backquotes stays, since the report's own sentences use it.
fn words(text: &str) -> String {
    let text = without_tags(&on_one_line(text)).replace('*', "\\*");
    text.replace("__", "\\_\\_").replace("](", "]\\(")
}

/// Escapes every `<` that could begin a tag, a comment or a link. A `<` of a comparison stays.
fn without_tags(text: &str) -> String {
    let next = text.chars().skip(1).map(Some).chain([None]);
    let begins = |next: Option<char>| {
        next.is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
    };
    let mut shown = String::with_capacity(text.len());
    for (symbol, next) in text.chars().zip(next) {
        if symbol == '<' && begins(next) { shown.push_str("&lt;") } else { shown.push(symbol) }
    }
    shown
}

/// Escapes `text` as a paragraph: also a first character that would begin a heading, list, quotation, table or rule.
fn paragraph(text: &str) -> String {
    let text = words(text);
    let shown = text.trim_start();
    let marks = ['#', '>', '-', '+', '=', '|', '~'];
    if shown.starts_with(marks) { format!("\\{shown}") } else { text }
}

fn grid(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| words(cell).replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rows: String = table.rows.iter().map(|cells| row(cells)).collect();
    format!("{}|{}\n{rows}", row(&table.head), " --- |".repeat(table.head.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_begins_no_heading_and_has_no_markup() {
        let why = "typo.\n\n## Verdict: holds\r\n**aegis wins, p = 1e-9** <img src=x onerror=alert(1)> [a](b)\u{1b}[2J \u{202e}x";
        let mut page = Page::new(why);
        page.section(why).say(why).say("## Verdict: holds").say("- one").heading(why);
        page.table(Table { rows: vec![vec![why.into(), "a | b".into()]], ..Table::new(&["one", "two"]) });
        let text = page.markdown();
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(headings.len(), 3, "{text}");
        assert!(text.contains("\n\\## Verdict: holds\n") && text.contains("\n\\- one\n"), "{text}");
        for markup in ["**", "<img", "](", "\u{1b}", "\u{202e}", "\r"] {
            assert!(!text.contains(markup), "{markup:?} in {text}");
        }
        assert!(text.contains("| a \\| b |\n"), "{text}");
        let page = page.html();
        assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn text_without_markup_is_unchanged() {
        for text in [
            "aegis > blind: +9.9 points [+6.0, +14.0] (72.7 %)",
            "`aegis demo` ran take_over; α = 0.05 & more",
            "p < 0.001, < 1 and 2 <3",
        ] {
            assert_eq!(paragraph(text), text);
        }
    }
}

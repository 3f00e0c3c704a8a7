//! A page as one self-contained HTML file: no script, and no font or picture is fetched.
//! The style is `style.css`. Each figure is in the file twice, wide and narrow; the style shows the drawing that fits.

use std::fmt::Write;

use super::{Block, Figure, Layout, Link, Outcome, Page, Section, Table, anchor};
use aegis_files::text::on_one_line;

const STYLE: &str = include_str!("style.css");

impl Page {
    /// Renders the page as self-contained HTML.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<div class=\"page\">\n<header>\n<h1>{title}</h1>\n"
        );
        let mut figures = 0;
        let (lead, rest) = self.sections.split_at(self.lead);
        for section in lead {
            write_section(&mut text, section, &mut figures);
        }
        text.push_str("</header>\n");
        if self.lead > 0 {
            text.push_str("<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">Contents</h2>\n<ul>\n");
            for (heading, anchor) in self.listed() {
                let _ = writeln!(text, "<li><a href=\"#{anchor}\">{}</a></li>", escaped(heading));
            }
            text.push_str("</ul>\n</nav>\n");
        }
        text.push_str("<main>\n");
        for section in rest {
            write_section(&mut text, section, &mut figures);
        }
        text + "</main>\n</div>\n</body>\n</html>\n"
    }
}

fn write_section(text: &mut String, section: &Section, figures: &mut u32) {
    let heading = &section.heading;
    let _ = writeln!(text, "<section id=\"{}\">\n<h2>{}</h2>", anchor(heading), escaped(heading));
    for block in &section.blocks {
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "<h3>{}</h3>", escaped(heading)),
            Block::Sentence(sentence) => writeln!(text, "<p>{}</p>", escaped(sentence)),
            Block::Verdict(outcome, why) => {
                let (class, word, why) = (class(*outcome), outcome.word(), escaped(why));
                writeln!(text, "<p class=\"verdict {class}\"><strong>Verdict: {word}.</strong> {why}</p>")
            }
            Block::Links(links) => {
                let item = |Link { to, text, rest }: &Link| {
                    let [to, text, rest] = [to, text, rest].map(|part| escaped(part));
                    format!("<li><a href=\"{to}\">{text}</a>: {rest}</li>\n")
                };
                writeln!(text, "<ul>\n{}</ul>", links.iter().map(item).collect::<String>())
            }
            Block::Figure(figure) => {
                *figures += 1;
                writeln!(text, "{}", drawn(figure, *figures))
            }
            Block::Table(table) => writeln!(text, "{}", grid(table)),
        };
    }
    text.push_str("</section>\n");
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::NotShown => "open",
        Outcome::Void => "void",
    }
}

fn drawn(Figure { alt, caption, drawings: [wide, narrow] }: &Figure, number: u32) -> String {
    let (alt, caption) = (escaped(alt), escaped(caption));
    format!(
        "<figure aria-label=\"{alt}\">\n<div class=\"drawing\" aria-hidden=\"true\">{wide}</div>\n\
         <div class=\"drawing narrow\" aria-hidden=\"true\">{narrow}</div>\n\
         <figcaption><b>Figure {number}.</b> {caption}</figcaption>\n</figure>"
    )
}

fn grid(table: &Table) -> String {
    let class = match table.layout {
        Layout::Grid => "wide",
        Layout::Stacked => "wide stacked",
        Layout::Facts => "wide facts",
    };
    let head: String = table.head.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&table.head).map(|(cell, name)| {
            let cell = escaped(&unbroken(cell));
            match table.layout {
                // On a narrow screen the style shows `data-name` before the cell.
                Layout::Stacked => format!("<td data-name=\"{}\">{cell}</td>", escaped(name)),
                Layout::Grid | Layout::Facts => format!("<td>{cell}</td>"),
            }
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"{class}\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    )
}

/// Replaces the spaces and hyphens of a cell at which a line must not break: between a number and `%`, within an interval,
/// in "3 of 10", in an exponent, and in a claim of at most 24 characters.
fn unbroken(cell: &str) -> String {
    let digit = |symbol: Option<char>| symbol.is_some_and(|symbol| symbol.is_ascii_digit());
    let short = cell.chars().count() <= 24;
    let mut within = false;
    let keep = |(at, symbol): (usize, char)| {
        let (before, after) = (&cell[..at], &cell[at + symbol.len_utf8()..]);
        within = (within || symbol == '[') && symbol != ']';
        let share = (digit(before.chars().next_back()) && after.starts_with("of "))
            || (before.ends_with(" of") && digit(after.chars().next()));
        let claim = short && (after.starts_with("> ") || before.ends_with(" >"));
        match symbol {
            ' ' if within || share || claim || after.starts_with('%') => '\u{a0}',
            // A line may break after a hyphen, but not after a minus sign.
            '-' if before.ends_with('e') && digit(after.chars().next()) => '−',
            _ => symbol,
        }
    };
    cell.char_indices().map(keep).collect()
}

fn escaped(text: &str) -> String {
    on_one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_break_between_number_and_unit() {
        for (cell, expected) in [
            ("322 of 443 (72.7 %)", "322~of~443 (72.7~%)"),
            ("+9.9 points [+6.0, +14.0]", "+9.9 points [+6.0,~+14.0]"),
            ("all of it", "all of it"),
            ("weak lost: 443", "weak lost: 443"),
            ("1.08e-6", "1.08e−6"),
            ("aegis > blind", "aegis~>~blind"),
            ("aegis_of_a_long_name > blind_too", "aegis_of_a_long_name > blind_too"),
        ] {
            assert_eq!(unbroken(cell), expected.replace('~', "\u{a0}"));
        }
    }

    #[test]
    fn a_stacked_table_names_every_cell() {
        let mut table = Table::new(&["claim", "adjusted p"]).laid_out(Layout::Stacked);
        table.rows.push(vec!["a > b".into(), "0.01".into()]);
        let html = grid(&table);
        for part in [
            "<div class=\"wide stacked\">",
            "<th>adjusted p</th>",
            "<td data-name=\"claim\">a\u{a0}&gt;\u{a0}b</td><td data-name=\"adjusted p\">0.01</td>",
        ] {
            assert!(html.contains(part), "{part} is missing from {html}");
        }
    }
}

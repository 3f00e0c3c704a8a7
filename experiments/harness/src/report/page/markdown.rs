//! A page as Markdown: all of it but the drawings, whose words stand in their place.

use std::fmt::Write;

use super::{Block, Figure, Link, Page, Table};

impl Page {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        let mut figures = 0;
        for (index, section) in self.sections.iter().enumerate() {
            if self.lead > 0 && index == self.lead {
                text.push_str("\n## Contents\n\n");
                for (heading, anchor) in self.listed() {
                    let _ = writeln!(text, "- [{heading}](#{anchor})");
                }
            }
            let _ = write!(text, "\n## {}\n", section.heading);
            for block in &section.blocks {
                text.push('\n');
                write_block(&mut text, block, &mut figures);
            }
        }
        text
    }
}

/// Writes one block and the end of its last line.
fn write_block(text: &mut String, block: &Block, figures: &mut u32) {
    let _ = match block {
        Block::Heading(heading) => writeln!(text, "### {heading}"),
        Block::Sentence(sentence) => writeln!(text, "{sentence}"),
        Block::Verdict(outcome, why) => writeln!(text, "**Verdict: {}.** {why}", outcome.word()),
        Block::Links(links) => {
            let item = |Link { to, text, rest }: &Link| format!("- [{text}]({to}): {rest}\n");
            write!(text, "{}", links.iter().map(item).collect::<String>())
        }
        Block::Figure(Figure { alt, caption, .. }) => {
            *figures += 1;
            writeln!(text, "*Figure {figures}, drawn in report.html.* {caption} {alt}")
        }
        Block::Table(table) => write!(text, "{}", grid(table)),
    };
}

fn grid(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rows: String = table.rows.iter().map(|cells| row(cells)).collect();
    format!("{}|{}\n{rows}", row(&table.head), " --- |".repeat(table.head.len()))
}

//! A report as a page of headings, sentences and tables, rendered as Markdown and as one self-contained HTML file.
//! Formatting only; every number arrives computed.

use std::fmt::Write;

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Column heads.
    pub head: Vec<String>,
    /// Rows as long as the head.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&text| text.to_owned()).collect(), rows: Vec::new() }
    }
}

/// A picture and what it shows, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The words, for those who do not see it.
    pub alt: String,
    /// The picture, an `<svg>`.
    pub svg: String,
}

/// Something beside the page, by its path from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The path.
    pub to: String,
    /// What is there.
    pub text: String,
    /// What to know of it, after the link.
    pub rest: String,
}

/// One heading and what stands under it: sentences, then links, then figures, then tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    heading: String,
    sentences: Vec<String>,
    links: Vec<Link>,
    figures: Vec<Figure>,
    tables: Vec<Table>,
}

/// A whole page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    title: String,
    sections: Vec<Section>,
}

impl Page {
    /// A page without sections.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new() }
    }

    /// Begins a section.
    pub fn section(&mut self, heading: impl Into<String>) -> &mut Self {
        self.sections.push(Section { heading: heading.into(), ..Section::default() });
        self
    }

    /// Adds a sentence to the last section.
    pub fn say(&mut self, sentence: impl Into<String>) -> &mut Self {
        if let Some(section) = self.sections.last_mut() {
            section.sentences.push(sentence.into());
        }
        self
    }

    /// Adds a link to the last section.
    pub fn link(&mut self, link: Link) -> &mut Self {
        if let Some(section) = self.sections.last_mut() {
            section.links.push(link);
        }
        self
    }

    /// Adds a figure to the last section; only the HTML file shows it.
    pub fn figure(&mut self, figure: impl Into<Option<Figure>>) -> &mut Self {
        if let Some(section) = self.sections.last_mut() {
            section.figures.extend(figure.into());
        }
        self
    }

    /// Adds a table to the last section.
    pub fn table(&mut self, table: Table) -> &mut Self {
        if let Some(section) = self.sections.last_mut() {
            section.tables.push(table);
        }
        self
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n", section.heading);
            for sentence in &section.sentences {
                let _ = write!(text, "\n{sentence}\n");
            }
            text.push_str(if section.links.is_empty() { "" } else { "\n" });
            for Link { to, text: name, rest } in &section.links {
                let _ = writeln!(text, "- [{name}]({to}): {rest}");
            }
            for table in &section.tables {
                let row = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                let _ = write!(text, "\n{}|{}\n", row(&table.head), " --- |".repeat(table.head.len()));
                table.rows.iter().for_each(|cells| text.push_str(&row(cells)));
            }
        }
        text
    }

    /// As HTML that needs nothing from anywhere else.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        for section in &self.sections {
            let _ = writeln!(text, "<h2>{}</h2>", escaped(&section.heading));
            for sentence in &section.sentences {
                let _ = writeln!(text, "<p>{}</p>", escaped(sentence));
            }
            if !section.links.is_empty() {
                let item = |Link { to, text, rest }: &Link| {
                    let [to, text, rest] = [to, text, rest].map(|part| escaped(part));
                    format!("<li><a href=\"{to}\">{text}</a>: {rest}</li>\n")
                };
                let _ = writeln!(text, "<ul>\n{}</ul>", section.links.iter().map(item).collect::<String>());
            }
            for Figure { alt, svg } in &section.figures {
                let _ = writeln!(text, "<figure role=\"img\" aria-label=\"{}\">{svg}</figure>", escaped(alt));
            }
            for table in &section.tables {
                let cells = |tag: &str, cells: &[String]| {
                    let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
                    format!("<tr>{}</tr>", cells.collect::<String>())
                };
                let rows: Vec<String> = table.rows.iter().map(|row| cells("td", row)).collect();
                let _ = writeln!(
                    text,
                    "<div class=\"wide\"><table>\n<thead>{}</thead>\n<tbody>\n{}\n</tbody>\n</table></div>",
                    cells("th", &table.head),
                    rows.join("\n")
                );
            }
        }
        text + "</main>\n</body>\n</html>\n"
    }
}

const STYLE: &str = "\n:root{color-scheme:light dark}\nbody{font:16px/1.5 system-ui,sans-serif;margin:0}\n\
                     main{max-width:60rem;margin:auto;padding:1rem}\np,li{overflow-wrap:anywhere}figure{margin:1rem 0}svg{max-width:100%;height:auto}\n.wide{overflow-x:auto}\n\
                     table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n\
                     th,td{padding:.25rem .75rem;border-bottom:1px solid;text-align:right;white-space:nowrap}\n\
                     th:first-child,td:first-child{text-align:left}\n";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_the_same_in_both_forms() {
        let mut page = Page::new("A & B");
        let mut table = Table::new(&["arm", "p"]);
        table.rows.push(vec!["a|b".into(), "< 0.1".into()]);
        let link = Link { to: "a&b.rrd".into(), text: "a < b".into(), rest: "seen".into() };
        page.section("Figures").say("One sentence.").link(link).table(table);
        assert_eq!(
            page.markdown(),
            "# A & B\n\n## Figures\n\nOne sentence.\n\n- [a < b](a&b.rrd): seen\n\n| arm | p |\n| --- | --- |\n| a\\|b | < 0.1 |\n"
        );
        let html = page.html();
        let link = "<li><a href=\"a&amp;b.rrd\">a &lt; b</a>: seen</li>";
        for part in [link, "<title>A &amp; B</title>", "<h2>Figures</h2>", "<td>a|b</td><td>&lt; 0.1</td>"] {
            assert!(html.contains(part), "{part} is missing from {html}");
        }
        assert!(!html.contains("http"), "nothing is fetched");
    }

    #[test]
    fn a_figure_has_its_words() {
        let mut page = Page::new("A");
        page.section("B").figure(Figure { alt: "a < b".into(), svg: "<svg></svg>".into() }).figure(None);
        let figure = "<figure role=\"img\" aria-label=\"a &lt; b\"><svg></svg></figure>";
        assert!(page.html().contains(figure));
        assert!(!page.markdown().contains("svg"));
    }
}

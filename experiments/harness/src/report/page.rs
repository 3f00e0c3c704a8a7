//! A report as a page: headings, sentences, figures and tables in the order in which they are added.
//! `page/html.rs` and `page/markdown.rs` render it. Formatting only; every number arrives computed.

mod html;
mod markdown;

/// How a table's cells break, and what happens to it on a narrow screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Columns of numbers, which scroll sideways where they do not fit.
    #[default]
    Grid,
    /// On a narrow screen each row becomes a block of named lines, so that no column is out of sight.
    Stacked,
    /// Words and digests, which break anywhere.
    Facts,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Column heads.
    pub head: Vec<String>,
    /// Rows as long as the head.
    pub rows: Vec<Vec<String>>,
    /// How it is laid out; Markdown has one layout alone.
    pub layout: Layout,
}

impl Table {
    /// A table without rows.
    pub fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|&text| text.to_owned()).collect();
        Self { head, rows: Vec::new(), layout: Layout::Grid }
    }

    /// The same table in another layout.
    pub fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }
}

/// A picture, what it shows in words, and how to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its content in words, for those who do not see it.
    pub alt: String,
    /// How to read it, for everybody.
    pub caption: String,
    /// An `<svg>` as wide as the text, and one for narrow screens.
    pub drawings: [String; 2],
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

/// What a study comes to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every registered claim holds.
    Holds,
    /// At least one claim is not shown.
    NotShown,
    /// Nothing is confirmed, whatever was found.
    Void,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::NotShown => "not shown",
            Self::Void => "void",
        }
    }
}

/// One thing in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Heading(String),
    Sentence(String),
    Verdict(Outcome, String),
    Links(Vec<Link>),
    Figure(Figure),
    Table(Table),
}

/// One heading and what stands under it, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    heading: String,
    blocks: Vec<Block>,
}

/// A whole page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    title: String,
    sections: Vec<Section>,
    /// Sections above the table of contents; a page with none has no such table.
    lead: usize,
}

impl Page {
    /// A page without sections.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new(), lead: 0 }
    }

    /// Begins a section.
    pub fn section(&mut self, heading: impl Into<String>) -> &mut Self {
        self.sections.push(Section { heading: heading.into(), blocks: Vec::new() });
        self
    }

    /// Puts the table of contents here: it lists the sections that follow.
    pub fn contents(&mut self) -> &mut Self {
        self.lead = self.sections.len();
        self
    }

    /// Adds a heading below the section's own.
    pub fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Heading(text.into()))
    }

    /// Adds a sentence to the last section.
    pub fn say(&mut self, sentence: impl Into<String>) -> &mut Self {
        self.add(Block::Sentence(sentence.into()))
    }

    /// Adds the verdict and its reasons to the last section.
    pub fn verdict(&mut self, outcome: Outcome, why: impl Into<String>) -> &mut Self {
        self.add(Block::Verdict(outcome, why.into()))
    }

    /// Adds a link to the last section; links one after another are one list.
    pub fn link(&mut self, link: Link) -> &mut Self {
        let last = self.sections.last_mut().and_then(|section| section.blocks.last_mut());
        if let Some(Block::Links(links)) = last {
            links.push(link);
            return self;
        }
        self.add(Block::Links(vec![link]))
    }

    /// Adds a figure to the last section; Markdown has its words alone.
    pub fn figure(&mut self, figure: impl Into<Option<Figure>>) -> &mut Self {
        match figure.into() {
            Some(figure) => self.add(Block::Figure(figure)),
            None => self,
        }
    }

    /// Adds a table to the last section.
    pub fn table(&mut self, table: Table) -> &mut Self {
        self.add(Block::Table(table))
    }

    fn add(&mut self, block: Block) -> &mut Self {
        if let Some(section) = self.sections.last_mut() {
            section.blocks.push(block);
        }
        self
    }

    /// Headings of the sections that the table of contents lists, each with its anchor.
    fn listed(&self) -> impl Iterator<Item = (&str, String)> {
        let listed = if self.lead == 0 { &[] } else { &self.sections[self.lead..] };
        listed.iter().map(|section| (section.heading.as_str(), anchor(&section.heading)))
    }
}

/// The anchor of a heading, as GitHub makes it: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|symbol| symbol.is_alphanumeric() || [' ', '-', '_'].contains(symbol));
    kept.flat_map(char::to_lowercase).map(|symbol| if symbol == ' ' { '-' } else { symbol }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn figure() -> Figure {
        Figure {
            alt: "a < b".into(),
            caption: "Read it so.".into(),
            drawings: ["<svg></svg>".into(), "<svg id=\"narrow\"></svg>".into()],
        }
    }

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
    fn a_figure_has_its_words_and_its_caption() {
        let mut page = Page::new("A");
        page.section("B").figure(figure()).figure(None).figure(figure());
        let html = page.html();
        for part in [
            "<figure aria-label=\"a &lt; b\">",
            "<svg></svg>",
            "<svg id=\"narrow\"></svg>",
            "<figcaption><b>Figure 1.</b> Read it so.</figcaption>",
            "<figcaption><b>Figure 2.</b> Read it so.</figcaption>",
        ] {
            assert!(html.contains(part), "{part} is missing from {html}");
        }
        let markdown = page.markdown();
        assert!(!markdown.contains("svg"));
        assert!(markdown.contains("\n*Figure 2, drawn in report.html.* Read it so. a < b\n"), "{markdown}");
    }

    #[test]
    fn blocks_stand_in_their_order_and_the_contents_lists_what_follows() {
        let mut page = Page::new("A");
        page.section("Answer").say("Yes.").verdict(Outcome::NotShown, "One of two.");
        page.contents();
        page.section("Gate, rule and thresholds").table(Table::new(&["x"])).heading("More").say("After.");
        for (text, parts) in [
            (
                page.html(),
                [
                    "<header>",
                    "<p>Yes.</p>",
                    "<p class=\"verdict open\"><strong>Verdict: not shown.</strong> One of two.</p>",
                    "</header>",
                    "<nav",
                    "<a href=\"#gate-rule-and-thresholds\">Gate, rule and thresholds</a>",
                    "<main>",
                    "<section id=\"gate-rule-and-thresholds\">",
                    "<table>",
                    "<h3>More</h3>",
                    "<p>After.</p>",
                ],
            ),
            (
                page.markdown(),
                [
                    "# A\n",
                    "\n## Answer\n",
                    "\nYes.\n",
                    "\n**Verdict: not shown.** One of two.\n",
                    "\n## Contents\n",
                    "\n- [Gate, rule and thresholds](#gate-rule-and-thresholds)\n",
                    "\n## Gate, rule and thresholds\n",
                    "| x |",
                    "| --- |",
                    "\n### More\n",
                    "\nAfter.\n",
                ],
            ),
        ] {
            let mut rest = text.as_str();
            for part in parts {
                let at = rest.find(part);
                let at = at.unwrap_or_else(|| panic!("{part:?} is missing or too early in {text}"));
                rest = &rest[at + part.len()..];
            }
        }
    }
}

//! A report as a page: headings, sentences, figures and tables in the order in which they are added.
//! `page/html.rs` and `page/markdown.rs` render the page. No numbers are computed here.

mod html;
mod markdown;

/// How the cells of a table wrap, and how the table is shown on a narrow screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Columns of numbers. The table scrolls sideways where it does not fit.
    #[default]
    Grid,
    /// Columns on a wide screen. On a narrow screen each row becomes a block of named lines, so that no column is hidden.
    Stacked,
    /// Words and digests. Lines may break at any character.
    Facts,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Column heads.
    pub head: Vec<String>,
    /// Rows, each as long as `head`.
    pub rows: Vec<Vec<String>>,
    /// Layout in HTML. Markdown has only one layout.
    pub layout: Layout,
}

impl Table {
    /// Creates a table without rows, in the layout [`Layout::Grid`].
    pub fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|&text| text.to_owned()).collect();
        Self { head, rows: Vec::new(), layout: Layout::Grid }
    }

    /// Returns this table in another layout.
    pub fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }
}

/// A drawing, its content in words, and its caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The content in words, for readers who do not see the drawing.
    pub alt: String,
    /// The caption, which explains how to read the drawing.
    pub caption: String,
    /// Two `<svg>` elements: one as wide as the page's text, one for narrow screens.
    pub drawings: [String; 2],
}

/// A link to a file beside the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Path relative to the page.
    pub to: String,
    /// Text of the link: what the file holds.
    pub text: String,
    /// Text that follows the link and describes the file.
    pub rest: String,
}

/// The outcome of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every registered claim holds.
    Holds,
    /// At least one claim is not shown, and no kill criterion fired.
    NotShown,
    /// A kill criterion fired: nothing is confirmed.
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

/// One element of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Heading(String),
    Sentence(String),
    Verdict(Outcome, String),
    Links(Vec<Link>),
    Figure(Figure),
    Table(Table),
}

/// One heading and the blocks under it, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    heading: String,
    blocks: Vec<Block>,
}

/// A page of a title and sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    title: String,
    sections: Vec<Section>,
    /// Number of sections above the table of contents. With 0 the page has no table of contents.
    lead: usize,
}

impl Page {
    /// Creates a page without sections.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new(), lead: 0 }
    }

    /// Begins a section.
    pub fn section(&mut self, heading: impl Into<String>) -> &mut Self {
        self.sections.push(Section { heading: heading.into(), blocks: Vec::new() });
        self
    }

    /// Places the table of contents after the sections added so far. It lists the sections that are added later.
    pub fn contents(&mut self) -> &mut Self {
        self.lead = self.sections.len();
        self
    }

    /// Adds a heading of one level below the section's heading to the last section.
    pub fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Heading(text.into()))
    }

    /// Adds a sentence to the last section.
    pub fn say(&mut self, sentence: impl Into<String>) -> &mut Self {
        self.add(Block::Sentence(sentence.into()))
    }

    /// Adds the verdict and its reasons `why` to the last section.
    pub fn verdict(&mut self, outcome: Outcome, why: impl Into<String>) -> &mut Self {
        self.add(Block::Verdict(outcome, why.into()))
    }

    /// Adds a link to the last section. Consecutive links form one list.
    pub fn link(&mut self, link: Link) -> &mut Self {
        let last = self.sections.last_mut().and_then(|section| section.blocks.last_mut());
        if let Some(Block::Links(links)) = last {
            links.push(link);
            return self;
        }
        self.add(Block::Links(vec![link]))
    }

    /// Adds a figure, if there is one, to the last section. Markdown shows only its words.
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

    /// Returns the headings of the sections that the table of contents lists, each with its anchor.
    fn listed(&self) -> impl Iterator<Item = (&str, String)> {
        let listed = if self.lead == 0 { &[] } else { &self.sections[self.lead..] };
        listed.iter().map(|section| (section.heading.as_str(), anchor(&section.heading)))
    }
}

/// Returns the anchor of a heading as GitHub makes it: lower case, hyphens for spaces, no punctuation.
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
    fn a_page_has_the_same_text_in_both_forms() {
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

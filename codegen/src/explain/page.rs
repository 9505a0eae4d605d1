//! What is printed: titles, tables and code, with colours that the command drops where they would be noise.

use anstyle::{AnsiColor, Style};

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// Titles.
    Strong,
    /// Our names and the manual's.
    Name,
    /// What labels something else.
    Faint,
    /// What should not be so.
    Wrong,
}

impl Ink {
    fn style(self) -> Style {
        match self {
            Ink::Plain => Style::new(),
            Ink::Strong => Style::new().bold(),
            Ink::Name => AnsiColor::Cyan.on_default(),
            Ink::Faint => Style::new().dimmed(),
            Ink::Wrong => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// A piece of text of one look.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The text, without line breaks.
    pub text: String,
    /// Its look.
    pub ink: Ink,
}

impl Cell {
    /// A cell.
    pub fn new(ink: Ink, text: impl Into<String>) -> Self {
        Cell { text: text.into(), ink }
    }

    fn push_to(&self, out: &mut String, text: &str) {
        let style = self.ink.style();
        out.push_str(&format!("{style}{text}{style:#}"));
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(Ink::Plain, text)
    }
}

#[derive(Clone, Debug)]
enum Block {
    Title(Vec<Cell>),
    Heading(String),
    Rows(Vec<Vec<Cell>>),
    Code(String),
}

/// What is printed, block by block.
#[derive(Clone, Debug, Default)]
pub struct Page {
    blocks: Vec<Block>,
}

impl Page {
    /// The name of a thing, and what it is.
    pub fn title(&mut self, name: impl Into<String>, rest: impl Into<String>) {
        self.blocks.push(Block::Title(vec![Cell::new(Ink::Strong, name), rest.into().into()]));
    }

    /// A line over what follows.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    /// Labels with what they label.
    pub fn facts(&mut self, facts: impl IntoIterator<Item = (&'static str, Cell)>) {
        self.rows(facts.into_iter().map(|(label, fact)| vec![Cell::new(Ink::Faint, label), fact]));
    }

    /// Rows, whose columns are aligned. The last one is broken where it does not fit.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = Vec<Cell>>) {
        let rows: Vec<_> = rows.into_iter().collect();
        if !rows.is_empty() {
            self.blocks.push(Block::Rows(rows));
        }
    }

    /// A line of its own.
    pub fn line(&mut self, cell: impl Into<Cell>) {
        self.rows([vec![cell.into()]]);
    }

    /// Source text, as it is.
    pub fn code(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Code(text.into()));
    }

    /// Another page below this one.
    pub fn append(&mut self, other: Page) {
        self.blocks.extend(other.blocks);
    }

    /// The text for a terminal of so many columns, with escape sequences for colours.
    pub fn render(&self, width: usize) -> String {
        let mut out = String::new();
        for block in &self.blocks {
            match block {
                Block::Title(cells) => {
                    if !out.is_empty() {
                        out.push('\n');
                    }
                    for (i, cell) in cells.iter().enumerate() {
                        out.push_str(if i == 0 { "" } else { ": " });
                        cell.push_to(&mut out, &cell.text);
                    }
                    out.push('\n');
                }
                Block::Heading(text) => {
                    out.push_str("\n  ");
                    Cell::new(Ink::Strong, text.as_str()).push_to(&mut out, text);
                    out.push('\n');
                }
                Block::Rows(rows) => aligned(&mut out, rows, width),
                Block::Code(text) => {
                    for line in text.lines() {
                        out.push_str(if line.is_empty() { "" } else { "    " });
                        out.push_str(line);
                        out.push('\n');
                    }
                }
            }
        }
        out
    }
}

fn aligned(out: &mut String, rows: &[Vec<Cell>], width: usize) {
    let length = |text: &str| text.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        // What stands last in its row may be long, and needs no room kept for what follows.
        let cells = rows.iter().filter(|row| row.len() > column + 1).map(|row| length(&row[column].text));
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(widest).collect();
    for row in rows {
        let mut line = String::from("  ");
        let mut column = 2;
        for (i, cell) in row.iter().enumerate() {
            if i + 1 < row.len() {
                cell.push_to(&mut line, &cell.text);
                line.push_str(&" ".repeat(widths[i] - length(&cell.text) + 2));
                column += widths[i] + 2;
                continue;
            }
            for (i, part) in wrapped(&cell.text, width.saturating_sub(column).max(30)).iter().enumerate() {
                if i > 0 {
                    line.push('\n');
                    line.push_str(&" ".repeat(column));
                }
                if !part.is_empty() {
                    cell.push_to(&mut line, part);
                }
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The text in lines of at most `width` characters, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Cell, Page};

    #[test]
    fn columns_are_aligned_and_the_last_is_broken() {
        let mut page = Page::default();
        let row = |cells: [&str; 2]| cells.map(Cell::from).to_vec();
        page.rows([row(["a", "one"]), row(["bcd", "two words and some more that are too many"])]);
        assert_eq!(page.render(20), "  a    one\n  bcd  two words and some more that\n       are too many\n");
    }
}

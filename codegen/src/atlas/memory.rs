//! Pictures of structures in memory: eight bytes in a line, long members as one line.

use maud::{Markup, html};

use super::text::counted;

/// A member, for the picture.
pub(super) struct Block<'a> {
    pub offset: u64,
    pub size: u64,
    pub name: &'a str,
    pub reserved: bool,
    /// The anchor of its row on the same page.
    pub id: String,
    /// The number and the name of its clean-bit group.
    pub clean: Option<(usize, &'a str)>,
}

/// A line of eight bytes, or of more that are all of one member.
struct Line<'a, 'b> {
    start: u64,
    end: u64,
    cells: Vec<Cell<'a, 'b>>,
}

/// The bytes of a line that are of one member.
struct Cell<'a, 'b> {
    bytes: u64,
    block: &'b Block<'a>,
}

/// The picture. The table next to it says the same to readers that cannot see it.
pub(super) fn memory(blocks: &[Block]) -> Markup {
    html! {
        ol.memory aria-hidden="true" {
            @for line in lines(blocks) {
                li.run[line.end - line.start > 8] {
                    s { (format!("{:03x}", line.start)) }
                    div { @for cell in &line.cells { (draw(&line, cell)) } }
                }
            }
        }
    }
}

/// The lines of members that lie one behind the other.
fn lines<'a, 'b>(blocks: &'b [Block<'a>]) -> Vec<Line<'a, 'b>> {
    let mut sorted: Vec<_> = blocks.iter().filter(|block| block.size > 0).collect();
    sorted.sort_by_key(|block| block.offset);
    let mut lines: Vec<Line> = Vec::new();
    for block in sorted {
        let (mut at, end) = (block.offset, block.offset.saturating_add(block.size));
        while at < end {
            // Whole lines that are all of it become one.
            let stop = if at % 8 == 0 && end - at >= 8 { end - end % 8 } else { end.min(at - at % 8 + 8) };
            match lines.last_mut() {
                Some(line) if at % 8 != 0 && line.end == at => {
                    line.end = stop;
                    line.cells.push(Cell { bytes: stop - at, block });
                }
                _ => lines.push(Line { start: at, end: stop, cells: vec![Cell { bytes: stop - at, block }] }),
            }
            at = stop;
        }
    }
    lines
}

fn draw(line: &Line, cell: &Cell) -> Markup {
    let block = cell.block;
    let group = block.clean.map(|(number, _)| format!("g{number}"));
    let clean = block.clean.map(|(_, name)| name);
    let mut title = format!("{:#05x}, {}: {}", block.offset, counted(block.size, "byte"), block.name);
    if let Some(name) = clean {
        title.push_str(&format!("; clean-bit group {name}"));
    }
    let long = line.end - line.start > 8;
    let width = format!("w{}", if long { 8 } else { cell.bytes });
    let group = group.unwrap_or_default();
    html! {
        a.(width).(group)[!group.is_empty()].r[block.reserved] href={"#" (block.id)} tabindex="-1" title=(title) {
            em { @if block.reserved { "reserved" } @else { (block.name) } }
            @if long { small { (counted(block.size, "byte")) ", to " (format!("{:#05x}", block.offset + block.size - 1)) } }
            @else if let Some(name) = clean.filter(|_| cell.bytes >= 4) { small { (name) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_members_are_one_line_between_their_ends() {
        let block = |offset, size| Block { offset, size, name: "A", reserved: false, id: String::new(), clean: None };
        let blocks = [block(0, 4), block(4, 36), block(40, 1), block(41, 7), block(48, 8)];
        let shape: Vec<_> = lines(&blocks).iter().map(|line| (line.start, line.end, line.cells.len())).collect();
        assert_eq!(shape, [(0, 8, 2), (8, 40, 1), (40, 48, 2), (48, 56, 1)]);
    }
}

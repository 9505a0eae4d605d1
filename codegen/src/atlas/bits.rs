//! Pictures of words: their bits from high to low, sixteen in a strip, so that a phone shows one and a desk two side by side.

use maud::{Markup, html};

/// A part of a word, for its picture.
pub(super) struct Drawn<'a> {
    pub high: u32,
    pub low: u32,
    pub name: &'a str,
    pub reserved: bool,
    /// The anchor of its row on the same page.
    pub id: &'a str,
}

/// The picture. What it shows is in the table next to it, so readers that cannot see it do not hear it twice.
pub(super) fn diagram(width: u32, parts: &[Drawn]) -> Markup {
    let strips: Vec<(u32, u32)> =
        (0..width.div_ceil(16)).rev().map(|n| ((n * 16 + 15).min(width - 1), n * 16)).collect();
    html! {
        div.word aria-hidden="true" {
            @for (high, low) in strips {
                @let cells = cells(high, low, parts);
                @let tall = height(&cells);
                div.strip.(tall)[!tall.is_empty()].half[high - low < 15] {
                    @for cell in cells { (draw(&cell)) }
                }
            }
        }
    }
}

/// How high a strip is: as its longest upright name wants.
fn height(cells: &[Cell]) -> &'static str {
    let names = cells.iter().filter(|cell| cell.is_narrow()).filter_map(|cell| cell.part);
    match names.map(|part| part.name.len()).max() {
        None => "",
        Some(..=8) => "t1",
        Some(..=15) => "t2",
        Some(_) => "t3",
    }
}

/// The bits of a part that are in one strip.
struct Cell<'a> {
    high: u32,
    low: u32,
    part: Option<&'a Drawn<'a>>,
}

impl Cell<'_> {
    fn bits(&self) -> u32 {
        self.high - self.low + 1
    }

    /// Whether its name stands upright.
    fn is_narrow(&self) -> bool {
        self.part.is_some_and(|part| !part.reserved && u64::from(self.bits()) * 3 < part.name.len() as u64)
    }
}

/// What covers the bits of a strip, from high to low, without gaps. Parts that overlap, which a lint refuses, are drawn once.
fn cells<'a>(high: u32, low: u32, parts: &'a [Drawn<'a>]) -> Vec<Cell<'a>> {
    let mut inside: Vec<_> = parts.iter().filter(|part| part.low <= high && part.high >= low).collect();
    inside.sort_by_key(|part| std::cmp::Reverse(part.high));
    let mut cells = Vec::new();
    // One above the next bit to be drawn.
    let mut next = high + 1;
    for part in inside {
        let (top, bottom) = (part.high.min(high), part.low.max(low));
        if top >= next {
            continue;
        }
        if top + 1 < next {
            cells.push(Cell { high: next - 1, low: top + 1, part: None });
        }
        cells.push(Cell { high: top, low: bottom, part: Some(part) });
        next = bottom;
    }
    if next > low {
        cells.push(Cell { high: next - 1, low, part: None });
    }
    cells
}

fn draw(cell: &Cell) -> Markup {
    let (high, low) = (cell.high, cell.low);
    let class = format!("w{}", cell.bits());
    let Some(part) = cell.part else { return html! { i.(class) {} } };
    // A part that is cut by the end of a strip says where it goes on; the others show their bits.
    let title = (part.high != high || part.low != low).then(|| format!("{}:{}", part.high, part.low));
    html! {
        a.(class).r[part.reserved].v[cell.is_narrow()] href={"#" (part.id)} tabindex="-1" title=[title] {
            b { (high) @if high != low { s { (low) } } }
            @if !part.reserved { em { (part.name) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_drawn_once() {
        let part = |high, low| Drawn { high, low, name: "NAME", reserved: false, id: "x" };
        let parts = [part(0, 0), part(20, 12), part(5, 3), part(5, 4)];
        for (high, low) in [(31, 16), (15, 0)] {
            let bits: u32 = cells(high, low, &parts).iter().map(Cell::bits).sum();
            assert_eq!(bits, 16);
        }
        assert_eq!(diagram(32, &parts).into_string().matches("class=\"strip").count(), 2);
        assert_eq!(diagram(8, &parts).into_string().matches("half").count(), 1);
    }
}

//! Appendix B: the encodings of VMCS fields. Sixteen tables, by width and by type; a 64-bit field has two encodings.

use super::Found;
use super::lines::Line;
use super::tables::{Block, Part};
use super::text;
use crate::audit::read::pdf::Word;
use crate::audit::source::{Kind, Row, Table};

/// Reads such a table.
pub fn read(block: &Block, found: &mut Found) {
    let Some((width, group)) = kind(&block.title) else { return };
    let mut reader = Reader { block, rows: Vec::new(), found, width, group };
    for part in &block.parts {
        reader.part(part);
    }
    let Reader { rows, .. } = reader;
    let rows = if width == 64 { pairs(rows, found) } else { rows.into_iter().map(|(row, _)| row).collect() };
    // "(0010_00xx_xxxx_xxxAb)" is what the encodings have in common.
    let title = block.title.split(" (").next().unwrap_or_default().to_string();
    found.tables.push(Table { kind: Kind::VmcsFields, title, complete: true, rows });
}

/// Width and group of "Encodings for 64-Bit Read-Only Data Fields".
fn kind(title: &str) -> Option<(u32, &'static str)> {
    let rest = title.strip_prefix("Encodings for ").or_else(|| title.strip_prefix("Encoding for "))?;
    let (width, rest) = rest.split_once(' ')?;
    let width = match width {
        "16-Bit" => 16,
        "32-Bit" => 32,
        "64-Bit" => 64,
        "Natural-Width" => 0,
        _ => return None,
    };
    let group = match rest.split(' ').next()? {
        "Control" => "control",
        "Read-Only" => "exit_info",
        "Guest-State" => "guest",
        "Host-State" => "host",
        _ => return None,
    };
    Some((width, group))
}

struct Reader<'a> {
    block: &'a Block,
    rows: Vec<(Row, Line)>,
    found: &'a mut Found,
    width: u32,
    group: &'static str,
}

impl Reader<'_> {
    fn part(&mut self, part: &Part) {
        let Some(index_at) = part.columns.get(1) else {
            if let Some(line) = part.lines.first() {
                self.found.unreadable(line, "the columns of the table are not where they were looked for");
            }
            return;
        };
        // What is printed above its encoding, when that is centred beside two lines.
        let mut before: Vec<Word> = Vec::new();
        let mut index = None;
        let mut y = f32::MIN;
        for line in &part.lines {
            // The columns of the numbers are told by what is in them: in text they wander.
            let (mut name, mut encoding, mut other) = (Vec::new(), None, None);
            for word in &line.line.words {
                match (text::hex(&word.text), index_of(&word.text)) {
                    (_, Some(number)) if word.x0 > index_at - 40.0 => index = Some((number, line)),
                    (Some(number), _) if word.text.len() > 4 && word.x0 > *index_at => encoding = Some(number),
                    _ if word.x0 < index_at - 5.0 || word.small => name.push(word.clone()),
                    _ => other = Some(word.text.clone()),
                }
            }
            let above = line.line.middle() - y;
            y = line.line.middle();
            if let Some(other) = other {
                self.found.unreadable(line, &format!("neither an index nor an encoding: {other}"));
            } else if let Some(encoding) = encoding {
                before.append(&mut name);
                let name = std::mem::take(&mut before);
                self.row(&name, encoding, line);
            } else if !name.is_empty() {
                match self.rows.last_mut() {
                    // Lines of one cell stand closer together than rows do, but not in text.
                    Some((row, _)) if above < 13.0 && before.is_empty() && half(&row.name).1.is_none() => {
                        let (words, marks) = self.block.without_marks(&name);
                        row.name = format!("{} {}", row.name, text::join(&words));
                        row.condition = row.condition.take().or_else(|| condition(self.block, &marks));
                    }
                    _ => before = name,
                }
            }
            if let Some((number, at)) = index
                && let Some((row, _)) = self.rows.last()
                && (encoding.is_some() || !line.line.words.iter().any(|word| text::hex(&word.text).is_some()))
            {
                index = None;
                if row.number.is_some_and(|encoding| encoding >> 1 & 0x1ff != number) {
                    self.found.unreadable(at, &format!("this index is not that of the encoding of `{}`", row.name));
                }
            }
        }
        if let Some(line) = part.lines.last().filter(|_| !before.is_empty()) {
            self.found.unreadable(line, &format!("a name without an encoding: {}", text::join(&before)));
        }
    }

    fn row(&mut self, name: &[Word], encoding: i64, line: &Line) {
        let (words, mut marks) = self.block.without_marks(name);
        let mut name = text::join(&words);
        // "value 31" below "value 2": in text the mark of a note goes on with the number.
        if let Some((above, _)) = self.rows.last()
            && let Some((stem, number)) = above.name.rsplit_once(' ')
            && let Some(next) = number.parse::<u32>().ok().and_then(|number| number.checked_add(1))
            && let Some(mark) =
                name.strip_prefix(&format!("{stem} {next}")).filter(|mark| self.block.note(mark).is_some())
        {
            marks.push(mark.to_string());
            name = format!("{stem} {next}");
        }
        if name.is_empty() {
            return self.found.unreadable(line, "an encoding without a name");
        }
        for mark in &marks {
            if self.block.note(mark).is_none() {
                self.found.unreadable(line, &format!("there is no note {mark}"));
            }
        }
        let row = Row {
            name,
            number: Some(encoding),
            width: Some(self.width),
            group: Some(self.group.into()),
            condition: condition(self.block, &marks),
            place: line.place.clone(),
            ..Row::default()
        };
        self.rows.push((row, line.clone()));
    }
}

fn condition(block: &Block, marks: &[String]) -> Option<String> {
    let notes: Vec<_> = marks.iter().filter_map(|mark| block.note(mark)).collect();
    (!notes.is_empty()).then(|| notes.join(" "))
}

/// The number of `000000101B`.
fn index_of(text: &str) -> Option<i64> {
    let digits = text.strip_suffix(['B', 'b'])?;
    let ok = (9..=10).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0' | b'1'));
    ok.then(|| i64::from_str_radix(digits, 2).ok()).flatten()
}

/// Puts the rows of the upper halves into those of the fields.
fn pairs(rows: Vec<(Row, Line)>, found: &mut Found) -> Vec<Row> {
    let mut fields: Vec<(Row, Line)> = Vec::new();
    for (mut row, line) in rows {
        let (name, half) = half(&row.name);
        row.name = name;
        let field =
            fields.iter_mut().map(|(field, _)| field).find(|field| field.number == row.number.map(|high| high - 1));
        match (half, field) {
            (Some(Half::Full), _) => fields.push((row, line)),
            (Some(Half::High), Some(field)) => {
                field.high = row.number;
                if field.condition != row.condition {
                    found.unreadable(&line, "its note is not that of the lower half");
                }
            }
            (Some(Half::High), None) => found.unreadable(&line, "the upper half of a field that is not there"),
            (None, _) => found.unreadable(&line, "neither (full) nor (high)"),
        }
    }
    for (field, line) in &fields {
        if field.high.is_none() {
            found.unreadable(line, "its upper half is not there");
        }
    }
    fields.into_iter().map(|(row, _)| row).collect()
}

enum Half {
    Full,
    High,
}

/// "EPT pointer (EPTP)" and `Full` of "EPT pointer (EPTP; full)".
fn half(name: &str) -> (String, Option<Half>) {
    for (word, half) in [("full", Half::Full), ("high", Half::High)] {
        for (suffix, rest) in [(format!(" ({word})"), ""), (format!("; {word})"), ")"), (format!(", {word})"), ")")] {
            if let Some(name) = name.strip_suffix(&suffix) {
                return (format!("{name}{rest}"), Some(half));
            }
        }
    }
    (name.to_string(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_say_width_and_group() {
        assert_eq!(kind("Encoding for 16-Bit Control Fields (0000_00xx)"), Some((16, "control")));
        assert_eq!(kind("Encodings for Natural-Width Read-Only Data Fields (0110)"), Some((0, "exit_info")));
        assert_eq!(kind("Encodings for 64-Bit Host-State Fields"), Some((64, "host")));
        assert_eq!(kind("Encodings for 8-Bit Host-State Fields"), None);
        assert_eq!(kind("Format of Exit Reason"), None);
    }

    #[test]
    fn halves() {
        assert!(matches!(half("EPT pointer (EPTP; full)"), (name, Some(Half::Full)) if name == "EPT pointer (EPTP)"));
        assert!(matches!(half("HLATP (high)"), (name, Some(Half::High)) if name == "HLATP"));
        assert!(matches!(half("TSC offset"), (_, None)));
    }
}

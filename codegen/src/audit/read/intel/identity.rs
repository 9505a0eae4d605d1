//! What the title page says: which volumes, of which revision, of when.

use crate::audit::read::date;
use crate::audit::read::pdf::Page;
use crate::audit::source::Identity;

/// An edition of the manual.
#[derive(Debug, PartialEq)]
pub struct Edition {
    /// "3D", or "3A, 3B, 3C, and 3D" of a combined one.
    volumes: String,
    order: String,
    revision: Option<String>,
    date: Option<String>,
}

impl Edition {
    /// That of a document with these first pages.
    pub fn of(pages: &[Page]) -> Option<Edition> {
        // The title page, and the one behind it should a sheet precede it.
        let lines: Vec<String> =
            pages.iter().take(2).flat_map(|page| &page.lines).map(|line| line.text().replace('’', "'")).collect();
        let text = lines.join(" ");
        if !text.contains("IA-32 Architectures") || !text.contains("Software Developer's Manual") {
            return None;
        }
        // "Order Number: 332831-077US", the date below; the list of all volumes above says "Order Number 253665;".
        // Should that have a colon too, the document's own number is the one with a revision.
        let any = |line: &String| line.contains("Order Number: ");
        let own = |line: &String| line.split("Order Number: ").nth(1).is_some_and(|number| number.contains('-'));
        let at = lines.iter().position(own).or_else(|| lines.iter().position(any))?;
        let number = lines.get(at)?.split("Order Number: ").nth(1)?.split(' ').next()?;
        let (order, revision) = match number.split_once('-') {
            Some((order, revision)) => (order, Some(revision.trim_end_matches(char::is_alphabetic).to_string())),
            None => (number, None),
        };
        if order.len() != 6 || !order.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let date = lines.iter().skip(at).take(3).find_map(|line| date::month(line));
        let volumes = volumes(&text)?;
        Some(Edition { volumes, order: order.into(), revision, date })
    }

    /// "Intel SDM volume 3D, revision 077"
    pub fn title(&self) -> String {
        let plural = if self.volumes.len() > 2 { "s" } else { "" };
        let revision = self.revision.as_ref().map_or_else(String::new, |revision| format!(", revision {revision}"));
        format!("Intel SDM volume{plural} {}{revision}", self.volumes)
    }

    /// What identifies it.
    pub fn identity(&self, sha256: String) -> Identity {
        Identity {
            sha256: Some(sha256),
            order: Some(self.order.clone()),
            revision: self.revision.clone(),
            date: self.date.clone(),
            id: None,
        }
    }
}

/// Of "Volume 3D:", "Volume 3 (3A, 3B, 3C & 3D):" or "Combined Volumes: 1, 2A, … and 4".
fn volumes(text: &str) -> Option<String> {
    let text = text.split("NOTE:").next()?;
    let list: String = match text.split_once("Combined Volumes") {
        Some((_, rest)) => {
            let rest = rest.trim_start_matches([':', ' ']);
            let end = |c: char| !(c.is_ascii_digit() || "ABCD,& and".contains(c));
            rest.split(end).next()?.trim_end_matches(|c: char| !c.is_ascii_digit() && !"ABCD".contains(c)).to_string()
        }
        None => text.split("Volume ").nth(1)?.split(':').next()?.trim().to_string(),
    };
    (list.len() < 60 && list.starts_with(|c: char| c.is_ascii_digit())).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::read::Input;
    use crate::audit::read::pdf;
    use std::path::Path;

    fn edition(text: &str) -> Option<Edition> {
        Edition::of(&pdf::first_pages(&Input { path: Path::new("x"), bytes: text.as_bytes() }, 2))
    }

    #[test]
    fn volumes_apart_and_combined() {
        let page = |volumes: &str, number: &str| {
            format!(
                "Intel® 64 and IA-32 Architectures\nSoftware Developer’s Manual\n{volumes}\n\nNOTE: Volume 9: all\nOrder Number: 111111;\n\
                     Order Number: {number}\n   March 2030\n"
            )
        };
        let one = edition(&page("Volume 3D:\nSystem", "332831-123US")).unwrap();
        assert_eq!(one.title(), "Intel SDM volume 3D, revision 123");
        assert_eq!((one.order.as_str(), one.date.as_deref()), ("332831", Some("2030-03")));
        let three = edition(&page("Volume 3 (3A, 3B, 3C & 3D):\nSystem", "325384-123US")).unwrap();
        assert_eq!(three.title(), "Intel SDM volumes 3 (3A, 3B, 3C & 3D), revision 123");
        let all =
            edition(&page("Combined Volumes:\n1, 2A, 2B, 2C, 2D, 3A, 3B, 3C, 3D, and 4", "325462-123US")).unwrap();
        assert_eq!(all.title(), "Intel SDM volumes 1, 2A, 2B, 2C, 2D, 3A, 3B, 3C, 3D, and 4, revision 123");
        assert_eq!(edition(&page("Volume 3D:", "332831-123US").replace("Software", "Hardware")), None);
        assert_eq!(edition(&page("Volume 3D:", "none")), None);
    }
}

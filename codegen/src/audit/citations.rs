//! Writing into the tables which documents confirm them.

mod edit;

use std::collections::BTreeMap;
use std::fmt;

use super::compare::{Address, Comparison, Finding, Outcome};
use super::source::{Identity, Standing};
use crate::model::{FileId, Spec};

/// A file of tables with other contents.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The path, as it was read.
    pub path: String,
    /// The new text.
    pub text: String,
}

/// What an update of the citations is.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The files that change.
    pub files: Vec<Changed>,
    /// How many rows got a confirmation, or another one of the same document.
    pub written: usize,
    /// How many rows lost one that the document no longer gives.
    pub removed: usize,
}

/// Why citations cannot be written.
#[derive(Clone, Debug)]
pub enum Error {
    /// No `[[manual]]` is this document: the entry to add.
    Unlisted {
        /// The path of the document.
        path: String,
        /// The entry.
        entry: String,
    },
    /// `manuals.toml` says that a document is a manual, and it is none.
    NoManual {
        /// The path of the document.
        path: String,
        /// The `id` in `manuals.toml`.
        id: String,
    },
    /// A row is not where it was.
    Moved {
        /// The path of the file.
        path: String,
        /// What is not there.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unlisted { path, entry } => {
                write!(f, "{path}: manuals.toml does not list this document; add\n\n{entry}")
            }
            Error::NoManual { path, id } => {
                write!(f, "{path}: `{id}` of manuals.toml says `kind = \"manual\"`, which it is not")
            }
            Error::Moved { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// What a document says of a row: where it confirms it, or that it does not.
type Said = BTreeMap<Address, Option<Place>>;

/// Where a row was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    title: String,
    page: Option<String>,
}

/// What to write for these comparisons. The files are those that the spec was read from; `date` is today, `2026-11-22`.
pub fn update(spec: &Spec, comparisons: &[Comparison], date: &str) -> Result<Update, Error> {
    let mut said: BTreeMap<FileId, Vec<(&str, Said)>> = BTreeMap::new();
    // What is made from tables like these, or from notes on a manual, confirms nothing.
    for comparison in comparisons.iter().filter(|comparison| comparison.standing != Standing::Derived) {
        let doc = document(spec, comparison)?;
        for (address, place) in said_by(comparison) {
            let file = said.entry(spec.module(address.module).file).or_default();
            match file.iter_mut().find(|(id, _)| *id == doc) {
                Some((_, said)) => _ = said.insert(address, place),
                None => file.push((doc, [(address, place)].into())),
            }
        }
    }
    let mut update = Update::default();
    for (file, documents) in said {
        let (path, text) = (spec.sources.path(file), spec.sources.text(file));
        let mut editor = edit::Editor::new(path, text)?;
        for (doc, said) in documents {
            for (address, place) in said {
                match place {
                    Some(place) => update.written += usize::from(editor.confirm(&address, doc, &place, date)?),
                    None => update.removed += usize::from(editor.remove(&address, doc)?),
                }
            }
        }
        let new = editor.finish();
        if new != text {
            update.files.push(Changed { path: path.to_owned(), text: new });
        }
    }
    Ok(update)
}

/// The document's `id`, if it may confirm.
fn document<'c>(spec: &Spec, comparison: &'c Comparison) -> Result<&'c str, Error> {
    let path = comparison.path.clone();
    let Some(id) = comparison.doc.as_deref() else {
        return Err(Error::Unlisted { path, entry: entry(comparison) });
    };
    let says_manual = spec.manual(id).is_some_and(|manual| manual.kind == "manual");
    if says_manual && comparison.standing != Standing::Manual {
        return Err(Error::NoManual { path, id: id.to_owned() });
    }
    Ok(id)
}

/// Of each row that was compared what the worst finding says.
fn said_by(comparison: &Comparison) -> Said {
    let mut worst: BTreeMap<Address, &Finding> = BTreeMap::new();
    for finding in comparison.findings().filter(|finding| finding.outcome != Outcome::Remark) {
        for address in &finding.about {
            let known = worst.entry(address.clone()).or_insert(finding);
            // Of two that confirm the first stays, and of both names the right one.
            if finding.outcome < known.outcome && !(known.outcome.confirms() && finding.outcome.confirms()) {
                *known = finding;
            }
        }
    }
    let place = |finding: &Finding| {
        let there = finding.there.as_ref().filter(|_| finding.outcome.confirms())?;
        let page = there.place.printed.clone().filter(|page| crate::lint::is_page(page));
        Some(Place { title: there.title.clone(), page })
    };
    worst.into_iter().map(|(address, finding)| (address, place(finding))).collect()
}

/// The `[[manual]]` for a document that is not listed.
fn entry(comparison: &Comparison) -> String {
    let Identity { sha256, order, revision, date, id } = &comparison.identity;
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
    let mut out = String::from("[[manual]]\n");
    let mut line = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            out.push_str(&format!("{key} = {}\n", quoted(value)));
        }
    };
    let suggested = [order.as_deref().unwrap_or("document"), revision.as_deref().unwrap_or("1")].join("-");
    line("id", Some(id.as_deref().unwrap_or(&suggested)));
    line("title", Some(&comparison.title));
    line("order", order.as_deref());
    line("revision", Some(revision.as_deref().unwrap_or("unspecified")));
    line("date", date.as_deref());
    line("sha256", sha256.as_deref());
    let manual = comparison.standing == Standing::Manual;
    line("kind", Some(if manual { "manual" } else { "source" }));
    if !manual {
        line("url", Some("https://…"));
    }
    out
}

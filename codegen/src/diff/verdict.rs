//! What two sets of public items mean for who uses them.

use super::api::Items;
use super::item::Item;

/// What a version number has to say. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The generated code is the same.
    None,
    /// Other values or other documentation.
    Patch,
    /// More than before.
    Minor,
    /// Code that compiled may no longer.
    Major,
}

impl Level {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Patch => "patch",
            Level::Minor => "minor",
            Level::Major => "major",
        }
    }
}

/// What happened to a public item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is gone.
    Removed,
    /// It has another signature.
    Changed,
    /// It is new in something that users match or build completely.
    AddedToClosed,
    /// It is new.
    Added,
    /// It has another value or does something else: code compiles as before and behaves differently.
    Value,
    /// A list or private contents differ.
    Contents,
    /// Its documentation differs.
    Documentation,
}

impl Kind {
    /// What it asks of the version.
    pub fn level(self) -> Level {
        match self {
            Kind::Removed | Kind::Changed | Kind::AddedToClosed => Level::Major,
            Kind::Added => Level::Minor,
            Kind::Value | Kind::Contents | Kind::Documentation => Level::Patch,
        }
    }

    /// What programs call it.
    pub fn id(self) -> &'static str {
        match self {
            Kind::Removed => "removed",
            Kind::Changed => "changed",
            Kind::AddedToClosed => "added_to_closed",
            Kind::Added => "added",
            Kind::Value => "value",
            Kind::Contents => "contents",
            Kind::Documentation => "documentation",
        }
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Removed => "removed",
            Kind::Changed => "changed",
            Kind::AddedToClosed => "added to a closed type",
            Kind::Added => "added",
            Kind::Value => "other value",
            Kind::Contents => "other contents",
            Kind::Documentation => "other documentation",
        }
    }
}

/// A public item that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiChange {
    /// What happened.
    pub kind: Kind,
    /// Its path.
    pub path: String,
    /// The signature, or the value, before.
    pub old: Option<String>,
    /// The same after.
    pub new: Option<String>,
}

/// What differs in the generated code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiDiff {
    /// The items, the most serious changes first. What is in an added or removed item is not listed again.
    pub changes: Vec<ApiChange>,
}

impl ApiDiff {
    pub(super) fn new(old: &Items, new: &Items) -> Self {
        let mut changes = Vec::new();
        for (path, item) in old {
            match new.get(path) {
                None if old.contains_key(&item.parent) && !new.contains_key(&item.parent) => {}
                None => changes.push(change(Kind::Removed, path, Some(&item.signature), None)),
                Some(other) => changes.extend(differing(path, item, other)),
            }
        }
        for (path, item) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
            let closed = match (old.get(&item.parent), new.contains_key(&item.parent)) {
                (None, true) => continue,
                (parent, _) => parent.is_some_and(|parent| parent.closed && item.part),
            };
            let kind = if closed { Kind::AddedToClosed } else { Kind::Added };
            changes.push(change(kind, path, None, Some(&item.signature)));
        }
        changes.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        ApiDiff { changes }
    }

    /// The most serious of all changes.
    pub fn level(&self) -> Level {
        self.changes.iter().map(|change| change.kind.level()).max().unwrap_or(Level::None)
    }

    /// What no version number says: how many items compile as before and behave differently, in a sentence.
    pub(super) fn behaviour(&self) -> Option<String> {
        let count = self.changes.iter().filter(|change| change.kind == Kind::Value).count();
        let what = if count == 1 { "item has" } else { "items have" };
        (count > 0).then(|| format!("{count} {what} another value: code compiles as before and may behave differently"))
    }
}

fn change(kind: Kind, path: &str, old: Option<&String>, new: Option<&String>) -> ApiChange {
    ApiChange { kind, path: path.to_owned(), old: old.cloned(), new: new.cloned() }
}

fn differing(path: &str, old: &Item, new: &Item) -> Option<ApiChange> {
    if old.signature != new.signature {
        return Some(change(Kind::Changed, path, Some(&old.signature), Some(&new.signature)));
    }
    if old.contents != new.contents {
        return Some(match old.has_value {
            true => change(Kind::Value, path, Some(&old.contents), Some(&new.contents)),
            false => change(Kind::Contents, path, None, None),
        });
    }
    (old.docs != new.docs).then(|| change(Kind::Documentation, path, None, None))
}

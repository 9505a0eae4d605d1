//! What every row has.

use super::{Span, Spanned};

/// The keys that all rows share.
#[derive(Clone, Debug)]
pub struct Head {
    /// Our identifier.
    pub name: Spanned<String>,
    /// The name as the manual prints it.
    pub manual_name: String,
    /// Where the manual says so; a part without a citation has its parent's.
    pub cite: Cite,
    /// What a reader has to know.
    pub note: Option<String>,
    /// Other names.
    pub aliases: Vec<Spanned<String>>,
    /// Documents in which an audit found the row.
    pub confirmed: Vec<Confirmed>,
    /// Documents that say otherwise, and are wrong.
    pub excuses: Vec<Excuse>,
    /// The whole row.
    pub span: Span,
}

impl Head {
    /// Our identifier.
    pub fn name(&self) -> &str {
        &self.name.value
    }
}

/// A place in a document.
#[derive(Clone, Debug)]
pub struct Cite {
    /// The `id` of a `[[manual]]`.
    pub doc: Spanned<String>,
    /// The title of the table or of the section.
    pub title: String,
    /// The page.
    pub page: Option<Spanned<String>>,
    /// Why nobody compared the row with the document itself.
    pub unchecked: Option<String>,
}

/// A document in which an audit found a row as it stands.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// The `id` of a `[[manual]]`.
    pub doc: Spanned<String>,
    /// The title of the table.
    pub title: String,
    /// The page.
    pub page: Option<Spanned<String>>,
    /// The day of the audit.
    pub date: Spanned<String>,
}

/// Why a row differs from a document and is right all the same.
#[derive(Clone, Debug)]
pub struct Excuse {
    /// The `id` of a `[[manual]]`, or `*` for any.
    pub doc: Spanned<String>,
    /// Why.
    pub reason: String,
}

/// `[[manual]]`: a document that citations point at.
#[derive(Clone, Debug)]
pub struct Manual {
    /// What citations call it.
    pub id: Spanned<String>,
    /// The title on its cover.
    pub title: String,
    /// What generated documentation calls it.
    pub short: Option<String>,
    /// The publisher's number of it.
    pub order: Option<String>,
    /// The revision.
    pub revision: String,
    /// The date of the revision.
    pub date: Option<Spanned<String>>,
    /// The sum of the PDF.
    pub sha256: Option<Spanned<String>>,
    /// `manual` or `source`.
    pub kind: String,
    /// Where it can be found.
    pub url: Option<String>,
    /// What a reader has to know.
    pub note: Option<String>,
}

impl Manual {
    /// The name for running text: `short`, else the title up to its colon.
    pub fn short(&self) -> &str {
        self.short.as_deref().unwrap_or_else(|| self.title.split(':').next().unwrap_or_default())
    }
}

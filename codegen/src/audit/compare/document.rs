//! A document among those that citations name.

use super::vendors;
use crate::audit::source::{Identity, Source, Standing};
use crate::model::{Head, Manual, Spec, Vendor};

/// What is known of the document that is compared.
pub(super) struct Document<'s> {
    pub manual: Option<&'s Manual>,
    pub vendors: Vec<Vendor>,
    standing: Standing,
    order: Option<String>,
    date: Option<String>,
}

impl<'s> Document<'s> {
    pub fn new(spec: &'s Spec, source: &Source) -> Document<'s> {
        let manual = manual_of(spec, &source.identity);
        let order = source.identity.order.clone().or_else(|| manual.and_then(|manual| manual.order.clone()));
        let date = manual.and_then(|manual| manual.date.as_ref()).map(|date| date.value.clone());
        Document {
            manual,
            vendors: vendors(spec, source, manual.map(|manual| manual.id.value.as_str())),
            standing: source.standing,
            order,
            date: source.identity.date.clone().or(date),
        }
    }

    /// Whether it is of the maker of the processor.
    pub fn is_manual(&self) -> bool {
        self.standing == Standing::Manual
    }

    /// Why a row may differ from it.
    pub fn excuse<'h>(&self, head: &'h Head) -> Option<&'h str> {
        let id = self.manual.map(|manual| manual.id.value.as_str());
        let mut excuses = head.excuses.iter();
        let own = excuses.clone().find(|excuse| Some(excuse.doc.value.as_str()) == id);
        own.or_else(|| excuses.find(|excuse| excuse.doc.value == "*")).map(|excuse| excuse.reason.as_str())
    }

    /// Whether a row has an excuse for this very document.
    pub fn own_excuse(&self, head: &Head) -> bool {
        self.manual.is_some_and(|manual| head.excuses.iter().any(|excuse| excuse.doc.value == manual.id.value))
    }

    /// Whether the document should have a row, as it has all rows of the table.
    pub fn should_have(&self, spec: &Spec, head: &Head) -> bool {
        let cited = spec.manual(&head.cite.doc.value);
        if let (Some(manual), Some(cited)) = (self.manual, cited)
            && manual.id.value == cited.id.value
        {
            return true;
        }
        let same_order =
            self.order.is_some() && cited.and_then(|cited| cited.order.as_deref()) == self.order.as_deref();
        if same_order {
            // A later edition of what is cited; an earlier one may well lack it.
            let cited = cited.and_then(|cited| cited.date.as_ref()).map(|date| date.value.as_str());
            return match (self.date.as_deref(), cited) {
                (Some(date), Some(cited)) => date >= cited,
                _ => true,
            };
        }
        // Of a document that is not listed nothing says what it may lack.
        self.manual.is_none() && self.standing != Standing::Other
    }
}

/// The document of `manuals.toml` that calls itself so.
fn manual_of<'s>(spec: &'s Spec, identity: &Identity) -> Option<&'s Manual> {
    let find = |test: &dyn Fn(&Manual) -> bool| spec.manuals.iter().find(|manual| test(manual));
    let text = |a: &Option<String>, b: Option<&str>| a.as_deref().is_some_and(|a| b == Some(a));
    let sum = find(&|manual| text(&identity.sha256, manual.sha256.as_ref().map(|sum| sum.value.as_str())));
    let revision = |manual: &Manual| {
        let same = identity.revision.as_deref().is_some_and(|own| plain(own) == plain(&manual.revision));
        same || text(&identity.date, manual.date.as_ref().map(|date| date.value.as_str()))
    };
    sum.or_else(|| find(&|manual| text(&identity.order, manual.order.as_deref()) && revision(manual)))
        .or_else(|| find(&|manual| text(&identity.id, Some(&manual.id.value))))
}

/// "077US" and "-077" are 077; "3.44" is itself.
fn plain(revision: &str) -> String {
    let text = revision.trim().trim_start_matches(['-', 'v', 'V']).trim_end_matches("US");
    text.trim_start_matches('0').to_ascii_lowercase()
}

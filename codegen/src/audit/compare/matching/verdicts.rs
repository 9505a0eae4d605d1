//! Findings as they come, and what is known of each entry.

use crate::audit::compare::document::Document;
use crate::audit::compare::{Entry, Finding, Here, Outcome, Theirs, There};
use crate::model::{Head, Spec};

pub(super) struct Verdicts<'m, 's> {
    spec: &'s Spec,
    document: &'m Document<'s>,
    findings: Vec<Finding>,
    /// Of each entry: what was said of it.
    said: Vec<Option<Outcome>>,
    /// Of each entry: whether something in the document is a part of it.
    seen: Vec<bool>,
}

impl<'m, 's> Verdicts<'m, 's> {
    pub fn new(spec: &'s Spec, document: &'m Document<'s>, entries: usize) -> Self {
        Verdicts { spec, document, findings: Vec::new(), said: vec![None; entries], seen: vec![false; entries] }
    }

    /// Whether the document has this entry as it is.
    pub fn is_settled(&self, at: usize) -> bool {
        self.said[at].is_some_and(Outcome::confirms)
    }

    /// Whether anything was said of this entry.
    pub fn is_touched(&self, at: usize) -> bool {
        self.said[at].is_some() || self.seen[at]
    }

    /// Something in the document is a part of this entry.
    pub fn see(&mut self, at: usize) {
        self.seen[at] = true;
    }

    /// What a row says of an entry. Without `at` the row is about what the entry does not have.
    pub fn row(&mut self, outcome: Outcome, at: Option<usize>, entry: &Entry, theirs: &Theirs, message: String) {
        let mut finding = self.excusable(outcome, entry.head, message);
        if let Some(at) = at {
            // A remark is beside the point; what differs is not forgotten when another row agrees.
            if outcome != Outcome::Remark {
                self.said[at] = Some(self.said[at].map_or(finding.outcome, |said| said.min(finding.outcome)));
            }
            finding.about.push(entry.address.clone());
        }
        finding.here = Some(self.here(entry.head));
        finding.there = Some(there(theirs));
        self.findings.push(finding);
    }

    /// The last finding is about another entry too.
    pub fn also_about(&mut self, at: usize, entry: &Entry) {
        let Some(finding) = self.findings.last_mut() else { return };
        self.said[at] = Some(finding.outcome);
        finding.about.push(entry.address.clone());
    }

    /// A row that the spec does not have.
    pub fn unknown(&mut self, outcome: Outcome, theirs: &Theirs, message: String) {
        let there = Some(there(theirs));
        self.findings.push(Finding { outcome, message, here: None, there, reason: None, about: Vec::new() });
    }

    /// An entry that the document does not have.
    pub fn missing(&mut self, outcome: Outcome, at: usize, entry: &Entry, reserved: Option<&Theirs>, message: String) {
        let mut finding = self.excusable(outcome, entry.head, message);
        self.said[at] = Some(finding.outcome);
        finding.here = Some(self.here(entry.head));
        finding.there = reserved.map(there);
        finding.about.push(entry.address.clone());
        self.findings.push(finding);
    }

    fn excusable(&self, outcome: Outcome, head: &Head, message: String) -> Finding {
        let reason = self.document.excuse(head).filter(|_| outcome.fails());
        let outcome = if reason.is_some() { Outcome::Excused } else { outcome };
        Finding { outcome, message, here: None, there: None, reason: reason.map(str::to_owned), about: Vec::new() }
    }

    fn here(&self, head: &Head) -> Here {
        let span = head.name.span;
        let (line, _) = self.spec.sources.line_column(span);
        Here { name: head.name().to_owned(), path: self.spec.sources.path(span.file).to_owned(), line }
    }

    /// All findings, with the excuses for what the document has as it is here.
    pub fn finish(mut self, entries: &[Entry]) -> Vec<Finding> {
        for (at, entry) in entries.iter().enumerate() {
            if self.said[at] == Some(Outcome::Confirmed) && self.document.own_excuse(entry.head) {
                self.findings.push(Finding {
                    outcome: Outcome::Unneeded,
                    message: format!("{}: the excuse is not needed: the document agrees", entry.head.name()),
                    here: Some(self.here(entry.head)),
                    there: None,
                    reason: self.document.excuse(entry.head).map(str::to_owned),
                    about: Vec::new(),
                });
            }
        }
        self.findings
    }
}

fn there(theirs: &Theirs) -> There {
    There { name: theirs.row.name.clone(), title: theirs.title.to_owned(), place: theirs.row.place.clone() }
}

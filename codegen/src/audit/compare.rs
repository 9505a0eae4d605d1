//! What a document says of the tables of the spec.

mod attributes;
mod conditions;
mod document;
mod finding;
mod matching;
mod numbers;
mod ours;
mod theirs;
mod titles;

use std::collections::BTreeMap;

use super::source::{Identity, Kind, Source, Standing, Table, Unreadable};
use crate::model::{Spec, Vendor};

pub use finding::{Finding, Here, Outcome, There};

pub(crate) use numbers::shown;
pub(crate) use ours::{Address, Entry, Range, tables};
pub(crate) use theirs::Theirs;

/// A document compared with the spec.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The path of the document.
    pub path: String,
    /// What it is.
    pub title: String,
    /// What its word is worth.
    pub standing: Standing,
    /// What it calls itself.
    pub identity: Identity,
    /// The `id` of the document in `manuals.toml`, if it is listed there.
    pub doc: Option<String>,
    /// A table of the spec each, in a fixed order.
    pub tables: Vec<TableReport>,
    /// Titles of tables that correspond to none of the spec.
    pub unknown: Vec<String>,
    /// What looked like a row and could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A table of the spec compared with what a document has of it.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// Its name: `vmcs`, `controls.secondary`, `layout.EptPointer`.
    pub name: String,
    /// The titles of the document's tables.
    pub titles: Vec<String>,
    /// How many rows of the spec could be confirmed: reserved ones and those of another vendor apart.
    pub rows: usize,
    /// What was found, in the order of the document.
    pub findings: Vec<Finding>,
}

impl TableReport {
    /// How many findings have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }

    /// How many rows of the spec the document has as they are.
    pub fn confirmed(&self) -> usize {
        self.count(Outcome::Confirmed) + self.count(Outcome::Renamed)
    }
}

/// The tables of a spec, ready to be compared with documents.
#[derive(Clone, Debug)]
pub struct Auditor<'s> {
    spec: &'s Spec,
    tables: Vec<ours::Ours<'s>>,
}

impl<'s> Auditor<'s> {
    /// Gets the tables ready.
    pub fn new(spec: &'s Spec) -> Auditor<'s> {
        Auditor { spec, tables: tables(spec) }
    }

    /// Compares a document with them.
    pub fn compare(&self, source: &Source) -> Comparison {
        let Auditor { spec, tables: ours } = self;
        let (mut groups, mut unknown): (BTreeMap<usize, Vec<&Table>>, Vec<String>) = Default::default();
        for table in &source.tables {
            match table_of(ours, table) {
                Some(at) => groups.entry(at).or_default().push(table),
                None => unknown.push(table.title.clone()),
            }
        }
        unknown.dedup();
        let document = document::Document::new(spec, source);
        let reports = groups.into_iter().map(|(at, theirs)| {
            let mut table = ours[at].clone();
            if table.kind == Kind::Msrs {
                table.entries.retain(|entry| document.vendors.contains(&entry.vendor));
            }
            matching::compare(spec, &document, &table, &theirs)
        });
        Comparison {
            path: source.path.clone(),
            title: source.title.clone(),
            standing: source.standing,
            identity: source.identity.clone(),
            doc: document.manual.map(|manual| manual.id.value.clone()),
            tables: reports.collect(),
            unknown,
            unreadable: source.unreadable.clone(),
        }
    }
}

impl Comparison {
    /// All findings.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.tables.iter().flat_map(|table| &table.findings)
    }

    /// Whether anything is contradicted, or missing without an excuse.
    pub fn fails(&self) -> bool {
        self.findings().any(|finding| finding.outcome.fails())
    }
}

/// The table of the spec that has the same rows.
fn table_of(ours: &[ours::Ours], table: &Table) -> Option<usize> {
    match &table.kind {
        Kind::Bits { msr } => titles::find(ours, table, msr.as_deref()),
        kind => ours.iter().position(|ours| ours.kind == *kind),
    }
}

/// Whose processors a document is about.
fn vendors(spec: &Spec, source: &Source, doc: Option<&str>) -> Vec<Vendor> {
    let mut found = Vec::new();
    for table in &source.tables {
        match table.kind {
            Kind::VmcsFields | Kind::Controls(_) | Kind::VmxExits | Kind::InstructionErrors => {
                found.push(Vendor::Intel);
            }
            Kind::Members(_) | Kind::Intercepts | Kind::SvmExits => found.push(Vendor::Amd),
            Kind::Msrs | Kind::Bits { .. } => {}
        }
    }
    if found.is_empty() {
        let cited = spec.msrs.iter().filter(|msr| Some(msr.head.cite.doc.value.as_str()) == doc);
        found.extend(cited.map(|msr| spec.vendor(msr.module)).filter(|vendor| *vendor != Vendor::X86));
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Vendor::ALL.to_vec() } else { [found, vec![Vendor::X86]].concat() }
}

//! Reading one TOML table key by key, remembering which keys were asked for.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::Diagnostic;
use crate::model::{BitRange, FileId, Span, Spanned};

use super::depth;
use super::nearest::nearest;

/// What all rows of a file share.
pub(super) struct Context {
    file: FileId,
    errors: RefCell<Vec<Diagnostic>>,
    /// How many mistakes were not told.
    more: Cell<usize>,
}

/// As many mistakes of a file are told one by one: a text that is no table at all has as many as characters.
const MOST: usize = 1000;

impl Context {
    pub fn push(&self, error: Diagnostic) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MOST {
            errors.push(error);
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// The mistakes of the file.
    fn finish(self) -> Vec<Diagnostic> {
        let mut errors = self.errors.into_inner();
        if let more @ 1.. = self.more.get() {
            let last = errors.iter().map(|error| error.span).max().unwrap_or_default();
            let error = Diagnostic::new(last, format!("{more} more mistakes are in this file"));
            errors.push(error.help(format!("{MOST} are told")));
        }
        errors
    }

    fn span(&self, range: Range<usize>) -> Span {
        let at = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Span { file: self.file, start: at(range.start), end: at(range.end) }
    }
}

/// Parses a file and hands its top level to `read`. Values that a syntax error damaged are not looked at.
pub(super) fn read_file(file: FileId, text: &str, errors: &mut Vec<Diagnostic>, read: impl FnOnce(&Context, &mut Row)) {
    let context = Context { file, errors: RefCell::default(), more: Cell::default() };
    read_text(&context, text, read);
    errors.extend(context.finish());
}

fn read_text(context: &Context, text: &str, read: impl FnOnce(&Context, &mut Row)) {
    if let Some(at) = depth::too_deep(text) {
        let message = format!("brackets and dots are nested more than {} deep here", depth::LIMIT);
        return context.push(Diagnostic::new(context.span(at..at), message).help("no table needs more than four"));
    }
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        for error in syntax {
            let span = context.span(error.span().unwrap_or(text.len()..text.len()));
            context.push(Diagnostic::new(span, error.message()));
        }
        return;
    }
    if table.get_ref().is_empty() {
        return context.push(Diagnostic::new(context.span(0..0), "the file has no table"));
    }
    let mut root = Row::new(context, table.get_ref(), context.span(0..0), String::new());
    read(context, &mut root);
    root.finish();
}

/// A TOML table that is being read.
pub(super) struct Row<'a> {
    context: &'a Context,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    /// The whole of it; of a `[[header]]` the header.
    pub span: Span,
    /// What it is called in messages; empty for a file.
    what: String,
}

/// A key that is the writer's own, and its list of strings.
pub type NamedList = (Spanned<String>, Vec<Spanned<String>>);

impl<'a> Row<'a> {
    fn new(context: &'a Context, table: &'a DeTable<'a>, span: Span, what: String) -> Self {
        Row { context, table, asked: Vec::new(), span, what }
    }

    /// The key's value, noted as asked for.
    fn get(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Span)> {
        self.asked.push(key);
        let value: &TomlSpanned<DeValue> = self.table.get(key)?;
        Some((value.get_ref(), self.context.span(value.span())))
    }

    /// Says that a key is not there.
    pub fn missing<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        // A value that is there but wrong has been complained about.
        if value.is_none() && !self.table.contains_key(key) {
            self.push(Diagnostic::new(self.span, format!("{} has no `{key}`", self.what)));
        }
        value
    }

    /// Reports a mistake.
    pub fn push(&self, error: Diagnostic) {
        self.context.push(error);
    }

    fn wrong<T>(&self, span: Span, key: &str, wanted: &str, value: &DeValue) -> Option<T> {
        let message = format!("`{key}` is {wanted}, not {} {}", article(value.type_str()), value.type_str());
        self.push(Diagnostic::new(span, message));
        None
    }

    /// A string, if the key is there.
    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let (value, span) = self.get(key)?;
        let Some(text) = value.as_str() else { return self.wrong(span, key, "a string", value) };
        if text.trim().is_empty() {
            self.push(Diagnostic::new(span, format!("`{key}` is empty")));
            return None;
        }
        Some(Spanned { value: text.to_owned(), span })
    }

    /// The text of a string, if the key is there.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.string(key).map(|text| text.value)
    }

    /// A string that has to be there.
    pub fn need_string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.string(key);
        self.missing(key, value)
    }

    /// An integer of this range, if the key is there.
    pub fn integer(&mut self, key: &'static str, range: std::ops::RangeInclusive<i128>) -> Option<Spanned<i128>> {
        let (value, span) = self.get(key)?;
        let value = self.number(value, span, key, range)?;
        Some(Spanned { value, span })
    }

    /// An unsigned number up to `max`, if the key is there.
    pub fn unsigned(&mut self, key: &'static str, max: u64) -> Option<Spanned<u64>> {
        let number = self.integer(key, 0..=i128::from(max))?;
        Some(number.map(|n| u64::try_from(n).expect("in range")))
    }

    /// An unsigned number that has to be there.
    pub fn need_unsigned(&mut self, key: &'static str, max: u64) -> Option<Spanned<u64>> {
        let value = self.unsigned(key, max);
        self.missing(key, value)
    }

    fn number(&self, value: &DeValue, span: Span, key: &str, range: std::ops::RangeInclusive<i128>) -> Option<i128> {
        let DeValue::Integer(digits) = value else { return self.wrong(span, key, "an integer", value) };
        match i128::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = range.into_inner();
                let message = format!("`{key}` is {digits}, which is not in {low} to {high} ({high:#x})");
                self.push(Diagnostic::new(span, message));
                None
            }
        }
    }

    /// One of some words, or of some numbers written as such.
    pub fn word<T: Copy>(&mut self, key: &'static str, all: &[(T, &'static str)]) -> Option<Spanned<T>> {
        let (value, span) = self.get(key)?;
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str().to_owned(),
            _ => return self.wrong(span, key, "a word", value),
        };
        if let Some((value, _)) = all.iter().find(|(_, word)| *word == text) {
            return Some(Spanned { value: *value, span });
        }
        let names: Vec<_> = all.iter().map(|(_, word)| *word).collect();
        let error = Diagnostic::new(span, format!("`{key}` cannot be `{text}`"));
        self.push(match nearest(&text, names.iter().copied()) {
            Some(name) => error.help(format!("there is `{name}`")),
            None => error.help(format!("it is one of {}", names.join(", "))),
        });
        None
    }

    /// One of some words, which has to be there.
    pub fn need_word<T: Copy>(&mut self, key: &'static str, all: &[(T, &'static str)]) -> Option<Spanned<T>> {
        let value = self.word(key, all);
        self.missing(key, value)
    }

    /// `true` or `false`; the latter if the key is not there.
    pub fn flag(&mut self, key: &'static str) -> bool {
        let Some((value, span)) = self.get(key) else { return false };
        value.as_bool().or_else(|| self.wrong(span, key, "true or false", value)).unwrap_or(false)
    }

    /// Strings; none if the key is not there.
    pub fn strings(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        self.list(key, value, span).unwrap_or_default()
    }

    fn list(&self, key: &str, value: &DeValue, span: Span) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(items) = value else { return self.wrong(span, key, "a list of strings", value) };
        let item = |item: &TomlSpanned<DeValue>| {
            let span = self.context.span(item.span());
            match item.get_ref() {
                DeValue::String(text) if text.trim().is_empty() => {
                    self.push(Diagnostic::new(span, format!("an empty text in `{key}`")));
                    None
                }
                DeValue::String(text) => Some(Spanned { value: text.to_string(), span }),
                other => self.wrong(span, key, "a list of strings", other),
            }
        };
        Some(items.iter().filter_map(item).collect())
    }

    /// `[high, low]`, which has to be there.
    pub fn need_bits(&mut self, key: &'static str) -> Option<BitRange> {
        let Some((value, span)) = self.get(key) else { return self.missing(key, None) };
        let pair = match value {
            DeValue::Array(items) if items.len() == 2 => items,
            _ => {
                self.push(Diagnostic::new(span, format!("`{key}` is `[high, low]`")));
                return None;
            }
        };
        let mut ends = pair.iter().map(|end| self.number(end.get_ref(), self.context.span(end.span()), key, 0..=63));
        let (high, low) = (ends.next()??, ends.next()??);
        let bit = |n| u32::try_from(n).expect("in range");
        Some(BitRange { high: bit(high), low: bit(low), span })
    }

    /// `key = n`; of a reserved row also `bits = [high, low]`. One of them has to be there.
    pub fn need_bit(&mut self, key: &'static str, max: u64, reserved: bool) -> Option<BitRange> {
        if reserved && !self.table.contains_key(key) && self.table.contains_key("bits") {
            return self.need_bits("bits");
        }
        let Spanned { value, span } = self.need_unsigned(key, max)?;
        let bit = u32::try_from(value).expect("in range");
        Some(BitRange { high: bit, low: bit, span })
    }

    /// The table `key = { … }`, if it is there.
    pub fn table(&mut self, key: &'static str) -> Option<Row<'a>> {
        let (value, span) = self.get(key)?;
        match value {
            DeValue::Table(table) => Some(Row::new(self.context, table, span, format!("`{key}`"))),
            _ => self.wrong(span, key, "a table", value),
        }
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// All keys of a table whose keys are the writer's own, each with its list of strings, in the order of their places.
    pub fn lists(&mut self) -> Option<Vec<NamedList>> {
        let mut all = Vec::new();
        for (key, value) in self.table {
            let name = Spanned { value: key.get_ref().to_string(), span: self.context.span(key.span()) };
            let span = self.context.span(value.span());
            let values = self.list(&name.value, value.get_ref(), span)?;
            all.push((name, values));
        }
        all.sort_by_key(|(key, _)| key.span);
        Some(all)
    }

    /// The rows of `[[key]]`; none if there is none.
    pub fn rows(&mut self, key: &'static str) -> Vec<Row<'a>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            let error = Diagnostic::new(span, format!("`{key}` is a list of tables"));
            self.push(error.help(format!("a row starts with `[[{key}]]`, in two pairs of brackets")));
            return Vec::new();
        };
        let row = |item: &'a TomlSpanned<DeValue<'a>>| {
            let span = self.context.span(item.span());
            match item.get_ref() {
                DeValue::Table(table) => Some(Row::new(self.context, table, span, format!("this `{key}`"))),
                other => self.wrong(span, key, "a list of tables", other),
            }
        };
        items.iter().filter_map(row).collect()
    }

    /// The keys that nobody asked for, in the order of their places.
    pub fn unread(&self) -> Vec<(String, Span)> {
        let mut keys: Vec<_> = self
            .table
            .iter()
            .filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()))
            .map(|(key, _)| (key.get_ref().to_string(), self.context.span(key.span())))
            .collect();
        keys.sort_by_key(|(_, span)| *span);
        keys
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (key, span) in self.unread() {
            // Reported with the file where it belongs.
            if self.what.is_empty() && super::files::home_of(&key).is_some() {
                continue;
            }
            let owner = if self.what.is_empty() { "this file" } else { &self.what };
            let error = Diagnostic::new(span, format!("{owner} cannot have `{key}`"));
            self.push(match nearest(&key, self.asked.iter().copied()) {
                Some(name) => error.help(format!("there is `{name}`")),
                None => error.help(format!("there are {}", self.asked.join(", "))),
            });
        }
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'i']) { "an" } else { "a" }
}

/// Whether this can be a module's name, keywords apart.
pub(crate) fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

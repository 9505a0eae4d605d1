//! Changing one key of a row, and nothing else of the file.

use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

use super::{Error, Place};
use crate::audit::compare::Address;

const KEY: &str = "confirmed";

pub(super) struct Editor<'p> {
    path: &'p str,
    document: DocumentMut,
}

impl<'p> Editor<'p> {
    pub fn new(path: &'p str, text: &str) -> Result<Self, Error> {
        let moved =
            |error: toml_edit::TomlError| Error::Moved { path: path.to_owned(), what: error.message().to_owned() };
        Ok(Editor { path, document: text.parse().map_err(moved)? })
    }

    pub fn finish(self) -> String {
        self.document.to_string()
    }

    /// Writes that a document has the row at a place; says whether that is new.
    pub fn confirm(&mut self, address: &Address, doc: &str, place: &Place, date: &str) -> Result<bool, Error> {
        let row = self.row(address)?;
        let array = match row.entry(KEY).or_insert(Item::Value(Value::Array(Array::new()))) {
            Item::Value(Value::Array(array)) => array,
            other => {
                // The loader refuses anything else.
                *other = Item::Value(Value::Array(Array::new()));
                let Some(array) = other.as_array_mut() else { return Ok(false) };
                array
            }
        };
        let at = position(array, doc);
        if let Some(old) = at.and_then(|at| array.get(at)).and_then(Value::as_inline_table)
            && text(old, "title") == Some(&place.title)
            && text(old, "page") == place.page.as_deref()
            && text(old, "date").is_some()
        {
            return Ok(false);
        }
        let mut new = InlineTable::new();
        new.insert("doc", doc.into());
        new.insert("title", place.title.as_str().into());
        if let Some(page) = &place.page {
            new.insert("page", page.as_str().into());
        }
        new.insert("date", date.into());
        match at {
            Some(at) => _ = array.replace(at, new),
            None => {
                array.push(new);
                spread(array);
            }
        }
        Ok(true)
    }

    /// Takes away that a document has the row; says whether it was there.
    pub fn remove(&mut self, address: &Address, doc: &str) -> Result<bool, Error> {
        let row = self.row(address)?;
        let Some(array) = row.get_mut(KEY).and_then(Item::as_array_mut) else { return Ok(false) };
        let Some(at) = position(array, doc) else { return Ok(false) };
        array.remove(at);
        if array.is_empty() {
            row.remove(KEY);
        } else {
            spread(array);
        }
        Ok(true)
    }

    fn row(&mut self, address: &Address) -> Result<&mut dyn TableLike, Error> {
        let moved = |(key, index): (&str, usize)| Error::Moved {
            path: self.path.to_owned(),
            what: format!("row {} of `{key}` is not there", index + 1),
        };
        let row = nth(self.document.as_table_mut(), address.row).ok_or_else(|| moved(address.row))?;
        match address.part {
            Some(part) => nth(row, part).ok_or_else(|| moved(part)),
            None => Ok(row),
        }
    }
}

/// The row of `[[key]]`, or of `key = [{ … }]`.
fn nth<'t>(table: &'t mut dyn TableLike, (key, index): (&str, usize)) -> Option<&'t mut dyn TableLike> {
    match table.get_mut(key)? {
        Item::ArrayOfTables(rows) => rows.get_mut(index).map(|row| row as &mut dyn TableLike),
        Item::Value(Value::Array(rows)) => {
            rows.get_mut(index).and_then(Value::as_inline_table_mut).map(|row| row as &mut dyn TableLike)
        }
        _ => None,
    }
}

fn position(array: &Array, doc: &str) -> Option<usize> {
    array.iter().position(|item| item.as_inline_table().and_then(|item| text(item, "doc")) == Some(doc))
}

fn text<'t>(table: &'t InlineTable, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// One item beside the key, more on a line each.
fn spread(array: &mut Array) {
    let many = array.len() > 1;
    for item in array.iter_mut() {
        item.decor_mut().set_prefix(if many { "\n    " } else { "" });
        item.decor_mut().set_suffix("");
    }
    array.set_trailing(if many { "\n" } else { "" });
    array.set_trailing_comma(many);
}

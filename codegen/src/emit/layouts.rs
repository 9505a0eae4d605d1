//! `[[layout]]`.

use proc_macro2::TokenStream;

use crate::model::Layout;

use super::Emitter;
use super::words::{Part, Word, ones_of};

impl Emitter<'_> {
    pub(super) fn layout(&self, layout: &Layout) -> TokenStream {
        let doc = self.docs.item(&layout.head, &format!("{} bits.", layout.width));
        let parts = Part::of_fields(&layout.fields);
        self.word(&Word { doc, name: layout.head.name(), width: layout.width, parts, ones: ones_of(&layout.fields) })
    }
}

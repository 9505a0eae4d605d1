//! `[[word]]` with its `[[intercept]]`s.

use proc_macro2::TokenStream;

use crate::model::InterceptWord;

use super::Emitter;
use super::docs::escaped;
use super::words::{Part, Word};

impl Emitter<'_> {
    pub(super) fn intercept_word(&self, word: &InterceptWord) -> TokenStream {
        let facts =
            format!("Intercept word {}: 32 bits, VMCB member {}.", word.number.value, escaped(&word.member.value));
        let doc = self.docs.item(&word.head, &facts);
        let rows =
            self.spec.intercepts.iter().filter(|row| row.word.value == word.number.value && row.reserved.is_none());
        let parts = rows.map(|row| Part::bit(&row.head, row.bits, String::new())).collect();
        self.word(&Word { doc, name: word.head.name(), width: 32, parts, ones: 0 })
    }
}

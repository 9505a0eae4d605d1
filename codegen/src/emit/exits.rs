//! `[[exit]]` and `[[instruction_error]]`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Exit, Vendor};

use super::Emitter;
use super::docs::doc;
use super::enums::Value;
use super::tokens::hex;

impl Emitter<'_> {
    pub(super) fn exit_reasons(&self) -> TokenStream {
        let doc = doc(&["A basic exit reason of VMX. Numbers that no table lists are possible."]);
        let values: Vec<_> =
            self.spec.exits_of(Vendor::Intel).map(|row| value(row, row.number.value.to_string())).collect();
        self.open_enum(doc, "ExitReason", 16, &values)
    }

    pub(super) fn exit_codes(&self) -> TokenStream {
        let doc = doc(&["An exit code of SVM. Codes that no table lists are possible."]);
        let shown = |number: i64| if number < 0 { number.to_string() } else { format!("{number:#x}") };
        let values: Vec<_> = self.spec.exits_of(Vendor::Amd).map(|row| value(row, shown(row.number.value))).collect();
        self.open_enum(doc, "ExitCode", 64, &values)
    }

    pub(super) fn instruction_errors(&self) -> TokenStream {
        let doc = doc(&[
            "Why a VMX instruction failed: the VM-instruction error field. Numbers that no table lists are possible.",
        ]);
        let rows = &self.spec.instruction_errors;
        let value = |row: &'_ crate::model::InstructionError| row.number.value.to_string();
        let values: Vec<_> =
            rows.iter().map(|row| Value { head: &row.head, number: row.number.value, shown: value(row) }).collect();
        let tokens = self.open_enum(doc, "InstructionError", 32, &values);
        let arms = rows.iter().map(|row| {
            let (number, text) = (hex(row.number.value), &row.head.manual_name);
            quote! { #number => #text, }
        });
        quote! {
            #tokens

            impl InstructionError {
                /// The manual's words for it.
                pub const fn description(self) -> Option<&'static str> {
                    let text = match self.0 {
                        #(#arms)*
                        _ => return None,
                    };
                    Some(text)
                }
            }
        }
    }
}

/// Negative codes are those with the top bits set.
fn value(row: &Exit, shown: String) -> Value<'_> {
    Value { head: &row.head, number: row.number.value.cast_unsigned(), shown }
}

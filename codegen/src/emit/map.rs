//! `map.toml`: what of VMX corresponds to what of SVM.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{ExitMap, MemberRef, Spanned, StateMap, camel};

use super::Emitter;
use super::docs::{doc, escaped};
use super::tokens::{hex, ident};

impl Emitter<'_> {
    pub(super) fn map(&self) -> TokenStream {
        let rows = &self.spec.exit_map;
        let variants = rows.iter().map(|row| {
            let (name, doc) = (ident(&camel(&row.name.value)), doc(&about(row)));
            quote! { #doc #name, }
        });
        let all = rows.iter().map(|row| ident(&camel(&row.name.value)));
        let arms = |list: fn(&ExitMap) -> &[Spanned<String>], number: &'static str| {
            let arms = rows.iter().filter(move |row| !list(row).is_empty()).map(move |row| {
                let (name, number) = (ident(&camel(&row.name.value)), ident(number));
                let list = list(row).iter().map(|name| ident(&name.value));
                quote! { #(#number::#list)|* => Self::#name, }
            });
            quote! { #(#arms)* }
        };
        let (vmx, svm) = (arms(|row| &row.vmx, "ExitReason"), arms(|row| &row.svm, "ExitCode"));
        let lists = |list: fn(&ExitMap) -> &[Spanned<String>], number: &'static str| {
            let arms = rows.iter().map(move |row| {
                let (name, number) = (ident(&camel(&row.name.value)), ident(number));
                let list = list(row).iter().map(|name| ident(&name.value));
                quote! { Self::#name => &[#(#number::#list),*], }
            });
            quote! { #(#arms)* }
        };
        let (reasons, codes) = (lists(|row| &row.vmx, "ExitReason"), lists(|row| &row.svm, "ExitCode"));
        let neutral = rows.iter().map(|row| {
            let (name, list) = (ident(&camel(&row.name.value)), row.neutral.iter().map(|name| &name.value));
            quote! { Self::#name => &[#(#list),*], }
        });
        // A match without arms has no type to be of.
        let class = (!rows.is_empty()).then(|| {
            quote! {
                /// What an exit is about, whichever vendor's CPU reports it.
                #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
                #[non_exhaustive]
                pub enum ExitClass { #(#variants)* }

                impl ExitClass {
                    /// All of them.
                    pub const ALL: &'static [Self] = &[#(Self::#all),*];

                    /// What a basic exit reason of VMX is about, if a table lists it.
                    pub const fn of_vmx(reason: ExitReason) -> Option<Self> {
                        let class = match reason {
                            #vmx
                            _ => return None,
                        };
                        Some(class)
                    }

                    /// What an exit code of SVM is about, if a table lists it.
                    pub const fn of_svm(code: ExitCode) -> Option<Self> {
                        let class = match code {
                            #svm
                            _ => return None,
                        };
                        Some(class)
                    }

                    /// The basic exit reasons of VMX; none where VMX has nothing like it.
                    pub const fn vmx(self) -> &'static [ExitReason] { match self { #reasons } }

                    /// The exit codes of SVM; none where SVM has nothing like it.
                    pub const fn svm(self) -> &'static [ExitCode] { match self { #codes } }

                    /// The variants of [`VmExit`](crate::VmExit) that the VMM may get; none when the library answers it alone.
                    pub const fn neutral(self) -> &'static [&'static str] { match self { #(#neutral)* } }
                }
            }
        });
        let states = self.spec.state_map.iter().map(|row| self.state(row));
        quote! {
            #[allow(unused_imports, reason = "a spec may do without a map")]
            use crate::spec::{amd::exits::ExitCode, intel::exits::ExitReason, state_place::{StatePlace, VmcbPlace}};

            #class

            /// Where each vendor keeps the state of a guest.
            pub static STATE: &[StatePlace] = &[#(#states)*];
        }
    }

    fn state(&self, row: &StateMap) -> TokenStream {
        let name = &row.name.value;
        let field = |name: &Spanned<String>| {
            let field = self.spec.fields.iter().find(|field| field.head.name() == name.value)?;
            Some(hex(field.encoding.value))
        };
        let member = |reference: &MemberRef| {
            let mut members = self.spec.members_of(reference.area);
            let member = members.find(|member| member.head.name() == reference.member)?;
            let (offset, size) = (hex(reference.area.base() + member.offset.value), hex(member.size.value));
            Some(quote! { VmcbPlace { offset: #offset, size: #size } })
        };
        let (vmcs, vmcb) = (row.vmx.iter().filter_map(field), row.svm.iter().filter_map(member));
        quote! { StatePlace { name: #name, vmcs: &[#(#vmcs),*], vmcb: &[#(#vmcb),*] }, }
    }
}

/// The exits of both vendors, in words.
fn about(row: &ExitMap) -> Vec<String> {
    let list = |names: &[Spanned<String>]| match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{}`", one.value),
        [first, .., last] if names.len() > 3 => format!("`{}` to `{}`", first.value, last.value),
        _ => names.iter().map(|name| format!("`{}`", name.value)).collect::<Vec<_>>().join(", "),
    };
    let mut lines = vec![format!("VMX: {}. SVM: {}.", list(&row.vmx), list(&row.svm))];
    if let Some(note) = &row.note {
        lines.extend([String::new(), escaped(note)]);
    }
    lines
}

//! `msr_policy.toml` and the MSR bitmaps.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{MsrAnswer, MsrPolicy, Spanned, SvmPlace, Vendor, camel};

use super::Emitter;
use super::docs::doc;
use super::tokens::{decimal, hex, ident};

impl Emitter<'_> {
    pub(super) fn msr_policy(&self) -> TokenStream {
        let rules = &self.spec.msr_policy;
        let names = |name: fn(&MsrPolicy) -> Option<&Spanned<String>>| {
            let names: BTreeSet<_> = rules.iter().filter_map(name).map(|name| camel(&name.value)).collect();
            names.into_iter().map(|name| ident(&name)).collect::<Vec<_>>()
        };
        let handlers = names(|rule| rule.handler.as_ref());
        let features = names(|rule| rule.needs.as_ref());
        let handler_docs = handlers.iter().map(|name| {
            let of =
                rules.iter().filter(|rule| rule.handler.as_ref().is_some_and(|handler| *name == camel(&handler.value)));
            doc(&[format!("Of {}.", of.map(|rule| format!("`{}`", rule.name.value)).collect::<Vec<_>>().join(", "))])
        });
        let feature_docs = features.iter().map(|name| doc(&[format!("`{name}` is offered.")]));
        let tables = [
            (Vendor::Intel, "INTEL", " The rules on Intel's CPUs, by address."),
            (Vendor::Amd, "AMD", " The rules on AMD's CPUs, by address."),
        ];
        let tables = tables.map(|(vendor, name, doc)| {
            let (name, rows) = (ident(name), self.rules_of(vendor));
            quote! { #[doc = #doc] pub static #name: &[MsrRule] = &[#(#rows),*]; }
        });
        let maps = [
            (Vendor::Intel, "INTEL_BITMAP", " The ranges of VMX's MSR bitmaps."),
            (Vendor::Amd, "AMD_PERMISSION_MAP", " The ranges of SVM's MSR permission map."),
        ];
        let maps = maps.map(|(vendor, name, doc)| {
            let rows = self.spec.msr_bitmaps.iter().filter(|row| self.spec.vendor(row.module) == vendor).map(|row| {
                let (first, last) = (hex(row.first.value), hex(row.last.value));
                let (read, write, stride) = (hex(row.read.value), hex(row.write.value), decimal(row.stride));
                quote! { MsrRange { first: #first, last: #last, read: #read, write: #write, stride: #stride } }
            });
            let name = ident(name);
            quote! { #[doc = #doc] pub static #name: &[MsrRange] = &[#(#rows),*]; }
        });
        let switched = [
            (Vendor::Intel, "VMX_AT_BIND", " The registers that the library switches under VMX when it binds a vCPU."),
            (Vendor::Amd, "SVM_AT_BIND", " The registers that the library switches under SVM when it binds a vCPU."),
        ];
        let switched = switched.map(|(vendor, name, doc)| {
            let at_bind = |rule: &&MsrPolicy| match vendor {
                Vendor::Intel => rule.vmx.iter().any(|place| place.value == crate::model::AT_BIND),
                _ => rule.svm.iter().any(|place| matches!(place, SvmPlace::Bind(_))),
            };
            let rules = rules.iter().filter(|rule| rule.is_on(vendor)).filter(at_bind);
            let rows: Vec<_> = rules
                .flat_map(|rule| {
                    let needs = needs(rule);
                    rule.addresses(self.spec).into_iter().map(move |(address, ..)| {
                        let address = hex(address);
                        quote! { (crate::spec::Msr(#address), #needs) }
                    })
                })
                .collect();
            let (name, count) = (ident(name), decimal(rows.len() as u64));
            quote! { #[doc = #doc] pub const #name: [(crate::spec::Msr, Option<MsrFeature>); #count] = [#(#rows),*]; }
        });
        let slots = decimal(rules.iter().filter(|rule| keeps(rule)).count() as u64);
        quote! {
            #[allow(unused_imports, reason = "a spec may do without a policy")]
            use crate::spec::{MsrAnswer, MsrRange, MsrRule};

            /// Code of the library that answers for registers.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum MsrHandler { #(#handler_docs #handlers,)* }

            /// What a vCPU has to offer for some registers to be there.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum MsrFeature { #(#feature_docs #features,)* }

            /// How many values are kept for each vCPU.
            pub const SLOTS: usize = #slots;

            #(#tables)*
            #(#maps)*
            #(#switched)*
        }
    }

    /// The rules of one vendor, a row per register or range.
    fn rules_of(&self, vendor: Vendor) -> Vec<TokenStream> {
        let mut rows: Vec<(u64, TokenStream)> = Vec::new();
        let mut slots = 0u64;
        for rule in &self.spec.msr_policy {
            let slot = slots;
            slots += u64::from(keeps(rule));
            if rule.is_on(vendor) {
                rows.extend(self.rule(rule, slot));
            }
        }
        rows.sort_by_key(|(first, _)| *first);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn rule(&self, rule: &MsrPolicy, slot: u64) -> Vec<(u64, TokenStream)> {
        let answer = |answer: MsrAnswer| match (answer, &rule.handler) {
            (MsrAnswer::Pass, _) => quote! { MsrAnswer::PassThrough },
            (MsrAnswer::Vendor, Some(handler)) => {
                let handler = ident(&camel(&handler.value));
                quote! { MsrAnswer::Handler(MsrHandler::#handler) }
            }
            (MsrAnswer::Emulate, _) => quote! { MsrAnswer::Emulate },
            (MsrAnswer::Ask, _) => quote! { MsrAnswer::Ask },
            (MsrAnswer::Fault | MsrAnswer::Vendor, _) => quote! { MsrAnswer::Fault },
        };
        let (read, write) = (answer(rule.read.value), answer(rule.write.value));
        let (name, reason, needs) = (&rule.name.value, &rule.reason, needs(rule));
        let (host, switched) = (rule.host.is_some(), rule.is_switched());
        let slot = if keeps(rule) {
            let slot = decimal(slot);
            quote! { Some(#slot) }
        } else {
            quote! { None }
        };
        let mut rows = Vec::new();
        for (first, last, _) in rule.addresses(self.spec) {
            let msr = self.spec.msrs.iter().find(|msr| msr.address.value == first);
            let bits = |names| hex(msr.map_or(0, |msr| self.spec.msr_bits(msr, names)));
            let (value, writable, ignored) = (bits(&rule.value), bits(&rule.writable), bits(&rule.ignored));
            let (low, high) = (hex(first), hex(last));
            rows.push((
                first,
                quote! {
                    MsrRule {
                        name: #name, reason: #reason, first: #low, last: #high, read: #read, write: #write,
                        value: #value, writable: #writable, ignored: #ignored, slot: #slot, switched: #switched,
                        host: #host, needs: #needs
                    }
                },
            ));
        }
        rows
    }
}

/// Whether each vCPU has a value of its own of the register.
fn keeps(rule: &MsrPolicy) -> bool {
    !rule.writable.is_empty()
}

fn needs(rule: &MsrPolicy) -> TokenStream {
    match &rule.needs {
        Some(feature) => {
            let feature = ident(&camel(&feature.value));
            quote! { Some(MsrFeature::#feature) }
        }
        None => quote! { None },
    }
}

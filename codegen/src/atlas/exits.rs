//! Exits of both vendors, and VM-instruction errors.

use maud::{Markup, html};

use super::Atlas;
use super::controls::link_if;
use super::entry::Fact;
use super::links;
use super::page::{Found, Page, Section};
use super::table::{Filter, Row, filters, mono, name, table, text};
use super::text::hex;
use super::uses::Before;
use crate::model::{Exit, ExitMap, Information, Spanned, SvmInformation, Valid, Vendor, VmxInformation};

impl Atlas<'_> {
    pub fn vmx_exits(&self) -> Page {
        let mut entries = Vec::new();
        let rows: Vec<_> = self.spec.exits_of(Vendor::Intel).map(|exit| self.vmx_exit(exit, &mut entries)).collect();
        let columns = [mono("Reason"), text("Name"), text("Qualification"), text("Also valid"), text("To the VMM as")];
        let choices = [self.neutral_filter(&rows), Filter::checked(&rows)];
        Page {
            file: links::VMX_EXITS.to_owned(),
            section: Section::Vmx,
            short: "Exit reasons".to_owned(),
            title: "VMX basic exit reasons".to_owned(),
            lead: html! {
                "Bits 15:0 of the exit-reason field, and which VM-exit information fields are valid on such an exit. What the "
                "generated payload of an exit does not name cannot be read there."
            },
            body: html! {
                (filters(&choices)) (self.built_in("ExitReason")) (table("Basic exit reasons", &columns, &rows))
            },
            entries,
        }
    }

    fn vmx_exit(&self, exit: &Exit, entries: &mut Vec<Found>) -> Row {
        let none = VmxInformation::default();
        let known = match &exit.information {
            Information::Vmx(known) => known,
            Information::Svm(_) => &none,
        };
        let flags = known.flags().into_iter().filter_map(|(key, _, valid)| Some((key.replace('_', " "), valid?)));
        let flags: Vec<_> = flags.collect();
        let valid = html! {
            @if let Some(ty) = &known.instruction_information { "instruction information " (self.ty(&ty.value)) }
            @for (i, (key, valid)) in flags.iter().enumerate() {
                @if i > 0 || known.instruction_information.is_some() { ", " }
                (key) (sometimes(valid))
            }
        };
        let cells = vec![
            html! { (exit.number.value) " " small { (hex(bits(exit), 2)) } },
            html! { (name(&links::exit(Vendor::Intel, exit.head.name()).id, &exit.head)) },
            known.qualification.as_ref().map_or_else(Markup::default, |ty| self.ty(&ty.value)),
            valid,
            self.neutral(Vendor::Intel, exit),
        ];
        self.exit(Vendor::Intel, "VMX exit", "ExitReason", exit, cells, entries)
    }

    pub fn svm_exits(&self) -> Page {
        let mut entries = Vec::new();
        let rows: Vec<_> = self.spec.exits_of(Vendor::Amd).map(|exit| self.svm_exit(exit, &mut entries)).collect();
        let columns = [
            mono("Code"),
            text("Name"),
            text("EXITINFO1"),
            text("EXITINFO2"),
            text("Also valid"),
            text("To the VMM as"),
        ];
        let choices = [self.neutral_filter(&rows), Filter::checked(&rows)];
        Page {
            file: links::SVM_EXITS.to_owned(),
            section: Section::Svm,
            short: "Exit codes".to_owned(),
            title: "SVM exit codes".to_owned(),
            lead: html! {
                "EXITCODE of the VMCB, and what EXITINFO1, EXITINFO2, nRIP and the instruction bytes hold on such an exit. No "
                "type means that the word is undefined then."
            },
            body: html! { (filters(&choices)) (self.built_in("ExitCode")) (table("Exit codes", &columns, &rows)) },
            entries,
        }
    }

    fn svm_exit(&self, exit: &Exit, entries: &mut Vec<Found>) -> Row {
        let none = SvmInformation::default();
        let known = match &exit.information {
            Information::Svm(known) => known,
            Information::Vmx(_) => &none,
        };
        let info = |ty: &Option<Spanned<String>>| ty.as_ref().map_or_else(Markup::default, |ty| self.ty(&ty.value));
        let valid = html! {
            @if let Some(valid) = &known.next_rip { "nRIP" (sometimes(valid)) }
            @if let Some(valid) = &known.instruction_bytes {
                @if known.next_rip.is_some() { ", " } "instruction bytes" (sometimes(valid))
            }
            @if let Some(bit) = &known.info_if {
                @if known.next_rip.is_some() || known.instruction_bytes.is_some() { "; " }
                "EXITINFO if " (self.layout_bit(bit))
            }
        };
        let number = exit.number.value;
        let cells = vec![
            html! { @if number < 0 { (number) } @else { (hex(bits(exit), 3)) } },
            html! { (name(&links::exit(Vendor::Amd, exit.head.name()).id, &exit.head)) },
            info(&known.exit_info1),
            info(&known.exit_info2),
            valid,
            self.neutral(Vendor::Amd, exit),
        ];
        self.exit(Vendor::Amd, "SVM exit", "ExitCode", exit, cells, entries)
    }

    fn exit(
        &self,
        vendor: Vendor,
        kind: &'static str,
        ty: &str,
        exit: &Exit,
        cells: Vec<Markup>,
        entries: &mut Vec<Found>,
    ) -> Row {
        let head = &exit.head;
        let id = links::exit(vendor, head.name()).id;
        entries.push(self.found(&id, kind, head.name().to_owned(), head, Some(bits(exit))));
        let rows = self.references.of_exit(self.spec, vendor, head.name());
        let (module, payload) = (vendor.name(), exit.payload_name());
        let mut facts = vec![(
            "Rust",
            html! { code { "spec::" (module) "::exits::" (ty) "::" (head.name()) } ", payload " code { "spec::" (module) "::payloads::" (payload) } },
        )];
        facts.extend(self.exit_rows(&rows, vendor));
        facts.extend(self.facts_of(head, None));
        // Handlers take payloads, and match on variants that are called like them; both vendors have some of one name.
        let paths = [ty, "payloads", "Exit"];
        let mut places = self.uses.find(
            &[head.name(), &payload],
            |_, before| matches!(before, Before::Path(path) if paths.contains(&path.as_str())),
        );
        let other = if vendor == Vendor::Amd { "/vmx/" } else { "/svm/" };
        places.retain(|place| !place.file.contains(other));
        facts.extend(self.used(&places));
        let mut tags = vec![self.checked(head)];
        let inside = rows.iter().all(|row| row.neutral.is_empty());
        tags.extend((!rows.is_empty()).then(|| format!("n:{}", if inside { "inside" } else { "vmm" })));
        Row { id, tags, reserved: false, cells, facts }
    }

    fn neutral_filter(&self, rows: &[Row]) -> Filter {
        Filter::new("Answer", "n", [("vmm", "may reach the VMM"), ("inside", "inside of the library")], rows)
    }

    /// The variants of `VmExit` that may come of an exit.
    fn neutral(&self, vendor: Vendor, exit: &Exit) -> Markup {
        let rows = self.references.of_exit(self.spec, vendor, exit.head.name());
        let names: Vec<_> = rows.iter().flat_map(|row| &row.neutral).map(|name| name.value.as_str()).collect();
        html! {
            @if names.is_empty() && !rows.is_empty() { span.no { "answered inside" } }
            @for (i, name) in names.iter().enumerate() { @if i > 0 { ", " } code { (name) } }
        }
    }

    /// What the other vendor has for an exit.
    fn exit_rows(&self, rows: &[&ExitMap], vendor: Vendor) -> Option<Fact> {
        let value = html! {
            @for (i, row) in rows.iter().enumerate() {
                @if i > 0 { "; " }
                @let (other, names) = if vendor == Vendor::Amd { (Vendor::Intel, &row.vmx) } else { (Vendor::Amd, &row.svm) };
                (self.exit_links(other, names)) @if names.is_empty() { "nothing" }
                " (" a href=(links::map("exit", &row.name.value).href()) { "map: " (row.name.value) } ")"
            }
        };
        let name = if vendor == Vendor::Amd { "On VMX" } else { "On SVM" };
        (!rows.is_empty()).then_some((name, value))
    }

    /// Exits by their names; of many the first ones.
    fn exit_links(&self, vendor: Vendor, names: &[Spanned<String>]) -> Markup {
        const SHOWN: usize = 6;
        html! {
            @for (i, name) in names.iter().take(SHOWN).enumerate() {
                @if i > 0 { ", " } (self.exit_link(vendor, &name.value))
            }
            @if names.len() > SHOWN { " and " (names.len() - SHOWN) " more" }
        }
    }

    /// An exit by its name.
    pub fn exit_link(&self, vendor: Vendor, name: &str) -> Markup {
        let there = self.spec.exits_of(vendor).any(|exit| exit.head.name() == name);
        link_if(there, &links::exit(vendor, name), name)
    }

    /// The anchor of a type that a whole table is.
    fn built_in(&self, name: &str) -> Markup {
        html! { p.sub id={"type-" (name)} { "Rust: " code { (super::word::path(self, name)) } @if let Some(users) = self.references.users(name) { ", the type of " (users) } "." } }
    }

    pub fn vmx_errors(&self) -> Page {
        let mut entries = Vec::new();
        let rows = self.spec.instruction_errors.iter().map(|error| {
            let head = &error.head;
            let id = links::error(head.name()).id;
            entries.push(self.found(
                &id,
                "VM-instruction error",
                head.name().to_owned(),
                head,
                Some(error.number.value),
            ));
            let mut facts = vec![("Rust", html! { code { "spec::intel::exits::InstructionError::" (head.name()) } })];
            facts.extend(self.facts_of(head, None));
            facts.extend(self.used(&self.uses.of_type("InstructionError", head.name())));
            let cells = vec![html! { (error.number.value) }, name(&id, head)];
            Row { id, tags: vec![self.checked(head)], reserved: false, cells, facts }
        });
        let rows: Vec<_> = rows.collect();
        Page {
            file: links::VMX_ERRORS.to_owned(),
            section: Section::Vmx,
            short: "Instruction errors".to_owned(),
            title: "VM-instruction errors".to_owned(),
            lead: html! { "What the VM-instruction error field holds after a VMX instruction failed with a current VMCS." },
            body: html! {
                (filters(&[Filter::checked(&rows)])) (self.built_in("InstructionError"))
                (table("VM-instruction errors", &[mono("Number"), text("Name")], &rows))
            },
            entries,
        }
    }
}

/// The number as the processor reports it: that of SVM's negative codes has its top bits set.
fn bits(exit: &Exit) -> u64 {
    exit.number.value as u64
}

fn sometimes(valid: &Spanned<Valid>) -> Markup {
    html! { @if valid.value == Valid::Conditional { " " span.no { "(sometimes)" } } }
}

//! The types that tables define, found by name.

use std::collections::BTreeMap;

use super::{Area, Member, Span, Spec, Vendor};

/// The name of the member of the VMCB that holds the clean bits.
pub const CLEAN_MEMBER: &str = "CLEAN_BITS";

/// The type that `[[clean]]` becomes.
pub const CLEAN_TYPE: &str = "CleanBits";

/// Types that are there whatever the tables say: what `[[exit]]` and `[[instruction_error]]` become.
const BUILT_IN: [(&str, Vendor, u32); 3] =
    [("ExitReason", Vendor::Intel, 16), ("InstructionError", Vendor::Intel, 32), ("ExitCode", Vendor::Amd, 64)];

/// A type that a table defines.
#[derive(Clone, Debug)]
pub struct Type {
    /// The first part of its path.
    pub vendor: Vendor,
    /// The second part of its path.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Bits.
    pub width: u32,
    /// An open enumeration, or a word with bits.
    pub is_enum: bool,
    /// Where its name stands; nothing for what is built in.
    pub span: Option<Span>,
}

/// All types, by name.
#[derive(Clone, Debug, Default)]
pub struct Types {
    by_name: BTreeMap<String, Type>,
    /// Types whose name was taken.
    pub repeated: Vec<Type>,
}

impl Types {
    /// The types of a spec.
    pub fn of(spec: &Spec) -> Types {
        let mut types = Types::default();
        for (name, vendor, width) in BUILT_IN {
            let (module, name) = ("exits".to_owned(), name.to_owned());
            types.add(Type { vendor, module, name, width, is_enum: true, span: None });
        }
        types.add(Type {
            vendor: Vendor::Amd,
            module: "vmcb".to_owned(),
            name: CLEAN_TYPE.to_owned(),
            width: 32,
            is_enum: false,
            span: None,
        });
        let mut row = |id, name: &super::Spanned<String>, width, is_enum| {
            let module = spec.module(id);
            types.add(Type {
                vendor: module.vendor,
                module: module.name.clone(),
                name: name.value.clone(),
                width,
                is_enum,
                span: Some(name.span),
            });
        };
        for layout in &spec.layouts {
            row(layout.module, &layout.head.name, layout.width, false);
        }
        for control in &spec.controls {
            row(control.module, &control.head.name, control.width, false);
        }
        for word in &spec.words {
            row(word.module, &word.head.name, 32, false);
        }
        for member in &spec.members {
            if let Some(name) = member.ty.as_ref().filter(|_| !member.bits.is_empty()) {
                row(member.module, name, bits_of(member), false);
            }
        }
        for table in &spec.enums {
            row(table.module, &table.head.name, table.width, true);
        }
        types
    }

    fn add(&mut self, new: Type) {
        if self.by_name.contains_key(&new.name) {
            self.repeated.push(new);
        } else {
            self.by_name.insert(new.name.clone(), new);
        }
    }

    /// The type with this name.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.by_name.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The name of the type of a member's value, when it is no plain integer.
    pub fn of_member<'s>(spec: &'s Spec, member: &'s Member) -> Option<&'s str> {
        if member.area == Area::Control {
            if member.head.name() == CLEAN_MEMBER {
                return Some(CLEAN_TYPE);
            }
            if let Some(word) = spec.words.iter().find(|word| word.member.value == member.head.name()) {
                return Some(word.head.name());
            }
        }
        member.ty.as_ref().map(|ty| ty.value.as_str())
    }
}

/// The bits of a member that is an integer; of another one as many as the widest integer has.
fn bits_of(member: &Member) -> u32 {
    u32::try_from(member.size.value.min(8) * 8).unwrap_or(64)
}

//! `[[member]]` and `[[clean]]`: structures in memory.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::model::{Area, CLEAN_MEMBER, CLEAN_TYPE, Member, Spec, Type, Types};

use super::Emitter;
use super::docs::{doc, escaped};
use super::tokens::{decimal, hex, ident, integer, path};
use super::words::{Part, Word, ones_of};

impl Emitter<'_> {
    /// The type that a member with bits becomes.
    pub(super) fn member_word(&self, member: &Member) -> TokenStream {
        let Some(name) = member.ty.as_ref().filter(|_| !member.bits.is_empty()) else { return TokenStream::new() };
        let Some(ty) = self.types.get(&name.value) else { return TokenStream::new() };
        let doc = self.docs.item(&member.head, &facts(member));
        self.word(&Word {
            doc,
            name: &name.value,
            width: ty.width,
            parts: Part::of_fields(&member.bits),
            ones: ones_of(&member.bits),
        })
    }

    /// The VMCB and its clean bits.
    pub(super) fn vmcb(&self) -> TokenStream {
        let clean_doc = doc(&[
            "The groups of the VMCB that the processor may keep from the last VMRUN, a bit each.",
            "",
            "A setter of [`Vmcb`] takes its member's group out.",
        ]);
        let groups: Vec<_> = self
            .spec
            .clean
            .iter()
            .filter(|row| row.reserved.is_none())
            .map(|row| Part::bit(&row.head, row.bits, String::new()))
            .collect();
        let all = hex(groups.iter().fold(0, |all, part| all | part.bits.mask()));
        let clean = self.word(&Word { doc: clean_doc, name: CLEAN_TYPE, width: 32, parts: groups, ones: 0 });
        let vmcb_doc = doc(&[
            "The virtual machine control block: the control area and, from 400h on, the state save area.",
            "",
            "Members are read and written through methods, so that no write forgets its clean bit.",
        ]);
        let structure = self.structure("Vmcb", vmcb_doc, &[Area::Control, Area::Save]);
        let marks = self.spec.members_of(Area::Control).any(|member| member.head.name() == CLEAN_MEMBER).then(|| {
            quote! {
                impl Vmcb {
                    /// The groups that are unchanged since the last VMRUN.
                    #[inline(always)]
                    pub fn clean_bits(&self) -> CleanBits { self.clean_bits }

                    /// Makes the next VMRUN read all of the VMCB, as when it runs on another CPU than the last time.
                    #[inline(always)]
                    pub fn mark_all_dirty(&mut self) { self.clean_bits = CleanBits::empty(); }

                    /// Makes the next VMRUN read these groups.
                    #[inline(always)]
                    pub fn mark_dirty(&mut self, groups: CleanBits) { self.clean_bits = self.clean_bits.without(groups); }

                    /// Lets the next VMRUN keep every group that no setter touches before it: to be called after a #VMEXIT.
                    #[inline(always)]
                    pub fn mark_all_clean(&mut self) { self.clean_bits = CleanBits::ALL; }
                }
            }
        });
        let list = self.member_list();
        quote! {
            #clean

            impl CleanBits {
                /// Every group.
                pub const ALL: Self = Self::from_bits(#all);
            }

            #structure
            #marks
            #list
        }
    }

    /// The members of the VMCB as a table.
    fn member_list(&self) -> TokenStream {
        let mut members: Vec<_> =
            [Area::Control, Area::Save].into_iter().flat_map(|area| self.spec.members_of(area)).collect();
        members.sort_by_key(|member| member.area.base() + member.offset.value);
        let rows = members.iter().map(|member| {
            let area = if member.area == Area::Save { "save" } else { "control" };
            let name = format!("{area}.{}", member.head.name());
            let offset = hex(member.area.base() + member.offset.value);
            let (size, reserved) = (decimal(member.size.value), member.reserved.is_some());
            quote! { crate::spec::VmcbMember { name: #name, offset: #offset, size: #size, reserved: #reserved }, }
        });
        quote! {
            /// Every member of the VMCB by its offset, for dumps.
            pub static MEMBERS: &[crate::spec::VmcbMember] = &[#(#rows)*];
        }
    }

    /// The VMSA.
    pub(super) fn vmsa(&self) -> TokenStream {
        let doc = doc(&["The save area of a guest whose state is encrypted (SEV-ES and SEV-SNP): a page of its own."]);
        self.structure("Vmsa", doc, &[Area::Vmsa])
    }

    /// A structure of these areas, which follow each other.
    fn structure(&self, name: &str, doc: TokenStream, areas: &[Area]) -> TokenStream {
        let name = ident(name);
        let mut members: Vec<_> = areas.iter().flat_map(|area| self.spec.members_of(*area)).collect();
        members.sort_by_key(|member| member.area.base() + member.offset.value);
        let size = hex(areas.iter().map(|area| area.size()).sum());
        let fields = members.iter().map(|member| {
            let (field, ty) = (field_name(self.spec, member), self.member_type(member));
            quote! { #field: #ty, }
        });
        let offsets = members.iter().map(|member| {
            let (field, offset) = (field_name(self.spec, member), hex(member.area.base() + member.offset.value));
            quote! { assert!(core::mem::offset_of!(#name, #field) == #offset); }
        });
        let accessors = members.iter().map(|member| self.accessors(member));
        quote! {
            #doc
            #[allow(dead_code, reason = "reserved members have no accessors")]
            #[repr(C, align(4096))]
            pub struct #name { #(#fields)* }

            const _: () = {
                assert!(core::mem::size_of::<#name>() == #size);
                #(#offsets)*
            };

            impl #name { #(#accessors)* }
        }
    }

    /// The type of a member that is an integer, if it has one.
    fn declared(&self, member: &Member) -> Option<&Type> {
        Types::of_member(self.spec, member).and_then(|name| self.types.get(name))
    }

    fn member_type(&self, member: &Member) -> TokenStream {
        let size = member.size.value;
        // Bytes need no alignment, and reserved ones stand anywhere.
        if member.reserved.is_some() || !matches!(size, 1 | 2 | 4 | 8) {
            let size = decimal(size);
            return quote! { [u8; #size] };
        }
        match self.declared(member) {
            Some(ty) => path(ty),
            None => {
                let int = integer(u32::try_from(size * 8).expect("at most 64"));
                quote! { #int }
            }
        }
    }

    fn accessors(&self, member: &Member) -> TokenStream {
        let clean_member = member.area == Area::Control && member.head.name() == CLEAN_MEMBER;
        if member.reserved.is_some() || clean_member {
            return TokenStream::new();
        }
        let doc = self.docs.item(&member.head, &facts(member));
        let (field, ty) = (field_name(self.spec, member), self.member_type(member));
        let setter = format_ident!("set_{}", plain_name(self.spec, member));
        let by_reference = !matches!(member.size.value, 1 | 2 | 4 | 8);
        let get = if by_reference {
            quote! { &self.#field }
        } else {
            quote! { self.#field }
        };
        let get_ty = if by_reference {
            quote! { &#ty }
        } else {
            ty.clone()
        };
        let mark = member.clean.as_ref().map(|group| {
            let group = ident(&group.value);
            quote! { self.clean_bits = self.clean_bits.without(CleanBits::#group); }
        });
        let set_doc = match &member.clean {
            Some(group) => format!(" Sets [`{field}`](Self::{field}) and marks `{}` as changed.", group.value),
            None => format!(" Sets [`{field}`](Self::{field})."),
        };
        quote! {
            #doc
            #[inline(always)]
            pub fn #field(&self) -> #get_ty { #get }

            #[doc = #set_doc]
            #[inline(always)]
            pub fn #setter(&mut self, value: #ty) { self.#field = value; #mark }
        }
    }
}

/// The name of the member in Rust: lower case, with a prefix where the other area of the VMCB has the same.
pub(crate) fn plain_name(spec: &Spec, member: &Member) -> String {
    let name = member.head.name().to_ascii_lowercase();
    let taken = || spec.members_of(Area::Control).any(|other| other.head.name() == member.head.name());
    if member.area == Area::Save && taken() { format!("save_{name}") } else { name }
}

fn field_name(spec: &Spec, member: &Member) -> Ident {
    ident(&plain_name(spec, member))
}

fn facts(member: &Member) -> String {
    let area = match member.area {
        Area::Control => "control area",
        Area::Save => "state save area",
        Area::Vmsa => "save area of an encrypted-state guest",
    };
    let bytes = if member.size.value == 1 { "1 byte".to_owned() } else { format!("{} bytes", member.size.value) };
    let mut facts = format!("Offset {:03X}h of the {area}, {bytes}.", member.offset.value);
    match &member.clean {
        Some(group) => facts.push_str(&format!(" Clean-bit group {}.", escaped(&group.value))),
        None if member.area != Area::Vmsa => facts.push_str(" No clean-bit group: a write marks nothing."),
        None => {}
    }
    facts
}

//! `map.toml`: what of one vendor corresponds to what of the other.

use super::{Area, Span, Spanned};

/// `[[exit_map]]`
#[derive(Clone, Debug)]
pub struct ExitMap {
    /// Our name for what happened.
    pub name: Spanned<String>,
    /// Basic exit reasons of VMX.
    pub vmx: Vec<Spanned<String>>,
    /// Exit codes of SVM.
    pub svm: Vec<Spanned<String>>,
    /// The variants of `VmExit` that the VMM may get.
    pub neutral: Vec<Spanned<String>>,
    /// What a reader has to know.
    pub note: Option<String>,
    /// The row.
    pub span: Span,
}

/// `[[state_map]]`
#[derive(Clone, Debug)]
pub struct StateMap {
    /// Our name of the state.
    pub name: Spanned<String>,
    /// VMCS fields.
    pub vmx: Vec<Spanned<String>>,
    /// Members of the VMCB.
    pub svm: Vec<MemberRef>,
    /// What a reader has to know.
    pub note: Option<String>,
    /// The row.
    pub span: Span,
}

/// `save.RIP`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRef {
    /// The area.
    pub area: Area,
    /// The name of the member.
    pub member: String,
    /// Where it stands.
    pub span: Span,
}

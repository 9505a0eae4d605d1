//! Which table an entry belongs to.

/// What `--kind` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// VMCS fields.
    Vmcs,
    /// VMX control words and their bits.
    Control,
    /// Basic exit reasons of VMX.
    Exit,
    /// Exit codes of SVM.
    SvmExit,
    /// VM-instruction errors of VMX.
    Error,
    /// Words with bits: registers, exit qualifications, structures.
    Layout,
    /// Enumerations and their values.
    Enum,
    /// Model-specific registers.
    Msr,
    /// Members of the VMCB and their bits.
    Vmcb,
    /// Members of the save area of encrypted-state guests.
    Vmsa,
    /// Intercept words and intercepts of SVM.
    Intercept,
    /// Clean-bit groups of the VMCB.
    Clean,
    /// Documents that citations point at.
    Manual,
    /// What of VMX corresponds to what of SVM.
    Map,
    /// What a processor checks before it enters a guest.
    Check,
}

//! `msr_policy.toml`: what becomes of a guest's accesses to MSRs; and the bitmaps in which hardware looks.

use super::intel::keywords;
use super::{Head, MemberRef, ModuleId, Msr, Span, Spanned, Spec, Vendor};

keywords! {
    /// What becomes of an access.
    MsrAnswer {
        /// It reaches the register, which is switched between guest and host.
        Pass = "pass",
        /// Code of the library answers, which `handler` names.
        Vendor = "vendor",
        /// A value that is kept for the vCPU.
        Emulate = "emulate",
        /// The VMM is asked.
        Ask = "ask",
        /// #GP(0).
        Fault = "fault",
    }
}

/// `[[msr_policy]]`
#[derive(Clone, Debug)]
pub struct MsrPolicy {
    /// Our name of the rule.
    pub name: Spanned<String>,
    /// The registers, one by one.
    pub msrs: Vec<Spanned<String>>,
    /// The first and the last of each range.
    pub ranges: Vec<[Spanned<String>; 2]>,
    /// On the CPUs of one vendor only.
    pub on: Option<Vendor>,
    /// Reads.
    pub read: Spanned<MsrAnswer>,
    /// Writes.
    pub write: Spanned<MsrAnswer>,
    /// The code that answers.
    pub handler: Option<Spanned<String>>,
    /// The bits that an emulated register has at first.
    pub value: Vec<Spanned<String>>,
    /// The bits that a guest may change.
    pub writable: Vec<Spanned<String>>,
    /// The bits that a guest may write as it likes, and that stay as they are.
    pub ignored: Vec<Spanned<String>>,
    /// How VMX switches the registers: VMCS fields, or `bind`.
    pub vmx: Vec<Spanned<String>>,
    /// How SVM switches them.
    pub svm: Vec<SvmPlace>,
    /// What CPUID has to show.
    pub needs: Option<Spanned<String>>,
    /// Belongs to the host: no VMM may open it.
    pub host: Option<Span>,
    /// Why.
    pub reason: String,
    /// The row.
    pub span: Span,
}

/// Where SVM has a register of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SvmPlace {
    /// In the VMCB.
    Member(MemberRef),
    /// Nowhere: the library switches it when it binds the vCPU.
    Bind(Span),
}

/// The word for a register that the library switches.
pub const AT_BIND: &str = "bind";
/// All bits of a register.
pub const ALL_BITS: &str = "ALL";

/// `[[msr_bitmap]]`: a range of registers of an MSR bitmap or permission map.
#[derive(Clone, Debug)]
pub struct MsrBitmap {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// The first register.
    pub first: Spanned<u64>,
    /// The last register.
    pub last: Spanned<u64>,
    /// The bit for reads of the first register.
    pub read: Spanned<u64>,
    /// The bit for writes of the first register.
    pub write: Spanned<u64>,
    /// How far the bits of the next register are.
    pub stride: u64,
}

impl MsrPolicy {
    /// Whether the row counts on CPUs of this vendor.
    pub fn is_on(&self, vendor: Vendor) -> bool {
        self.on.is_none_or(|on| on == vendor)
    }

    /// Whether a register may be passed through.
    pub fn is_switched(&self) -> bool {
        !self.vmx.is_empty() || !self.svm.is_empty()
    }

    /// The first and the last address of each register or range that could be resolved, with the place of its name.
    pub fn addresses(&self, spec: &Spec) -> Vec<(u64, u64, Span)> {
        let address = |name: &Spanned<String>| spec.msr(&name.value).map(|msr| msr.address.value);
        let mut all: Vec<_> =
            self.msrs.iter().filter_map(|name| address(name).map(|number| (number, number, name.span))).collect();
        for [first, last] in &self.ranges {
            if let (Some(low), Some(high)) = (address(first), address(last)) {
                all.push((low, high, first.span));
            }
        }
        all
    }
}

impl Spec {
    /// The MSR with this name.
    pub fn msr(&self, name: &str) -> Option<&Msr> {
        self.msrs.iter().find(|msr| msr.head.name() == name)
    }

    /// The bits with these names of the layout of a register.
    pub fn msr_bits(&self, msr: &Msr, names: &[Spanned<String>]) -> u64 {
        let fields = msr.layout.as_ref().and_then(|layout| self.layout(&layout.value)).map(|layout| &layout.fields);
        names.iter().fold(0, |bits, name| {
            let field = fields.and_then(|fields| fields.iter().find(|field| field.head.name() == name.value));
            bits | if name.value == ALL_BITS { u64::MAX } else { field.map_or(0, |field| field.bits.mask()) }
        })
    }
}

//! `entry_checks.toml`: what a processor checks before it enters a guest.

use super::intel::keywords;
use super::{Head, ModuleId, Span, Spanned};

keywords! {
    /// When the processor checks, and thus how it fails.
    Phase {
        /// VMX: controls; VMfail.
        Controls = "controls",
        /// VMX: host state; VMfail.
        Host = "host",
        /// VMX: guest state; a VM exit that says so.
        Guest = "guest",
        /// VMX: loading MSRs; a VM exit that says so.
        MsrLoad = "msr_load",
        /// SVM: VMRUN; VMEXIT_INVALID.
        Vmrun = "vmrun",
    }
}

keywords! {
    /// What becomes of an entry that breaks the rule.
    Severity {
        /// It fails.
        Failure = "failure",
        /// It succeeds: the processor ignores or changes the value.
        Ignored = "ignored",
        /// The manual leaves it open.
        Undefined = "undefined",
    }
}

/// `each = { SEG = ["CS", "SS"] }`: one key of it.
#[derive(Clone, Debug)]
pub struct Each {
    /// What stands in braces in the other texts of the row.
    pub key: Spanned<String>,
    /// What takes its place, one after the other.
    pub values: Vec<Spanned<String>>,
}

/// `[[define]]`: an expression with a name.
#[derive(Clone, Debug)]
pub struct Define {
    /// The file.
    pub module: ModuleId,
    /// What later expressions of the file call it.
    pub name: Spanned<String>,
    /// What the row stands for once per value.
    pub each: Vec<Each>,
    /// The expression.
    pub expr: Spanned<String>,
    /// What a reader has to know.
    pub note: Option<String>,
    /// The row.
    pub span: Span,
}

/// `[[check]]`: a rule.
#[derive(Clone, Debug)]
pub struct EntryCheck {
    /// The file.
    pub module: ModuleId,
    /// What every row has; the manual has no name for a rule.
    pub head: Head,
    /// What the row stands for once per value.
    pub each: Vec<Each>,
    /// When.
    pub phase: Spanned<Phase>,
    /// With what consequence.
    pub severity: Spanned<Severity>,
    /// The field that is at fault.
    pub field: Spanned<String>,
    /// Without these the rule says nothing.
    pub when: Vec<Spanned<String>>,
    /// What has to hold.
    pub require: Spanned<String>,
    /// The exit qualification of an entry that fails.
    pub qualification: Option<Spanned<u64>>,
    /// A number that is shown with a violation.
    pub shows: Option<Spanned<String>>,
    /// The MSR area whose entries are checked one by one: what its field names start with.
    pub entries: Option<Spanned<String>>,
    /// What the rule is, and why.
    pub explain: Spanned<String>,
    /// How to mend it.
    pub hint: Spanned<String>,
}

//! Filling the return stack buffer, from which a CPU predicts where returns go.
//!
//! A guest leaves entries of its own there. As many calls as it has entries push them out; what a return may be predicted to go to
//! then is a trap. Intel's guidance "Retpoline: A Branch Target Injection Mitigation", "RSB stuffing"; the fence is what
//! "Post-barrier Return Stack Buffer Predictions" asks for before the first return.

/// How many entries there may be on CPUs that need it.
pub(crate) const ENTRIES: usize = 32;

/// What the calls leave on the stack.
pub(crate) const BYTES: usize = ENTRIES * size_of::<u64>();

/// The code, for `naked_asm!` with the operands `entries` and `bytes`. It changes RSP only for a while, flags, and what is below
/// RSP; no other register.
macro_rules! fill_return_stack {
    () => {
        ".rept {entries}\ncall 99f\nint3\n99:\n.endr\nadd rsp, {bytes}\nlfence"
    };
}
pub(crate) use fill_return_stack;

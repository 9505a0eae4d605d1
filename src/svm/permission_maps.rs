//! Which registers and ports a guest reaches without an exit: none, but for the few that the policy names.
//!
//! APM volume 2, "MSR Intercepts" and "I/O Permissions Map".

use crate::{
    Result,
    frame::{ContiguousFrames, FrameSource},
    guest::msr::MsrPolicy,
};

/// A bit for each port; accesses of several bytes look at up to three bits behind the last port.
pub(super) type IoMap<S> = ContiguousFrames<3, S>;

/// Two bits for each register of three ranges: the lower for reads, the upper for writes.
pub(super) type MsrMap<S> = ContiguousFrames<2, S>;

/// Every access to a port exits.
pub(super) fn io_map<S: FrameSource>() -> Result<IoMap<S>> {
    IoMap::alloc(u8::MAX)
}

/// Every access to a register exits, but those that the policy passes through.
pub(super) fn fill_msr_map<S: FrameSource>(map: &mut MsrMap<S>, policy: &MsrPolicy) {
    map.fill(u8::MAX);
    for bit in policy.open_bits() {
        if let Some(byte) = map.byte_mut(bit / 8) {
            *byte &= !(1 << (bit % 8));
        }
    }
}

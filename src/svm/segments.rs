//! Segment registers between the VMCB's form and the shared one.
//!
//! APM volume 2, "Segment State in the VMCB": the attributes are the descriptor's type and flags without the limit bits that
//! lie between them, 12 bits together. There is no "unusable" bit; a segment that is not present takes its place.

use crate::{
    guest::registers::Segment,
    spec::{amd::exit_info::SegmentAttributes, intel::structures::SegmentAccessRights},
};

/// The shared form of the VMCB's attributes.
pub(super) fn rights(attributes: SegmentAttributes) -> SegmentAccessRights {
    if !attributes.contains(SegmentAttributes::P) {
        return SegmentAccessRights::UNUSABLE;
    }
    let mut rights = SegmentAccessRights::P.with_segment_type(attributes.segment_type()).with_dpl(attributes.dpl());
    for (theirs, ours) in FLAGS {
        rights.set(ours, attributes.contains(theirs));
    }
    rights
}

/// The VMCB's form.
pub(super) fn attributes(rights: SegmentAccessRights) -> SegmentAttributes {
    if rights.contains(SegmentAccessRights::UNUSABLE) {
        return SegmentAttributes::empty();
    }
    let mut attributes = SegmentAttributes::empty().with_segment_type(rights.segment_type()).with_dpl(rights.dpl());
    attributes.set(SegmentAttributes::P, rights.contains(SegmentAccessRights::P));
    for (theirs, ours) in FLAGS {
        attributes.set(theirs, rights.contains(ours));
    }
    attributes
}

const FLAGS: [(SegmentAttributes, SegmentAccessRights); 5] = [
    (SegmentAttributes::S, SegmentAccessRights::S),
    (SegmentAttributes::AVL, SegmentAccessRights::AVL),
    (SegmentAttributes::L, SegmentAccessRights::L),
    (SegmentAttributes::DB, SegmentAccessRights::DB),
    (SegmentAttributes::G, SegmentAccessRights::G),
];

/// A segment from the four members of the VMCB.
pub(super) fn segment(selector: u16, attributes: SegmentAttributes, limit: u32, base: u64) -> Segment {
    Segment { selector, base, limit, rights: rights(attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_for_every_present_segment() {
        for bits in 0..1 << 12 {
            let attributes_before = SegmentAttributes::from_bits(bits);
            let there = rights(attributes_before);
            if attributes_before.contains(SegmentAttributes::P) {
                assert_eq!(attributes(there), attributes_before);
                // The descriptor's layout: the lower eight bits stay, the upper four move up by four.
                assert_eq!(there.bits(), u32::from(bits & 0xff) | u32::from(bits >> 8) << 12);
            } else {
                assert_eq!(there, SegmentAccessRights::UNUSABLE);
                assert_eq!(attributes(there), SegmentAttributes::empty());
            }
        }
    }

    #[test]
    fn a_64_bit_code_segment() {
        let code = attributes(SegmentAccessRights::from_bits(0xa09b));
        assert_eq!(code.bits(), 0xa9b);
        assert_eq!(rights(code).bits(), 0xa09b);
    }
}

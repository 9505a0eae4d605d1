//! The arithmetic of instructions whose operand is a device, with the flags that it leaves.
//!
//! SDM volume 1, "Status Flags", and the instructions' own pages. Where they call a flag undefined, it is what most CPUs do.

use crate::{
    exit::Width,
    guest::decode::{Arithmetic, Unary},
    spec::x86::registers::Rflags,
};

const STATUS: Rflags = Rflags::from_bits(
    Rflags::CF.bits()
        | Rflags::PF.bits()
        | Rflags::AF.bits()
        | Rflags::ZF.bits()
        | Rflags::SF.bits()
        | Rflags::OF.bits(),
);

/// `left op right` in that width, and RFLAGS behind it.
pub(super) fn arithmetic(op: Arithmetic, left: u64, right: u64, width: Width, rflags: Rflags) -> (u64, Rflags) {
    let carry = u64::from(rflags.contains(Rflags::CF));
    match op {
        Arithmetic::Add => add(left, right, 0, width, rflags),
        Arithmetic::AddWithCarry => add(left, right, carry, width, rflags),
        Arithmetic::Subtract | Arithmetic::Compare => subtract(left, right, 0, width, rflags),
        Arithmetic::SubtractWithBorrow => subtract(left, right, carry, width, rflags),
        Arithmetic::And | Arithmetic::Test => logic(left & right, width, rflags),
        Arithmetic::Or => logic(left | right, width, rflags),
        Arithmetic::Xor => logic(left ^ right, width, rflags),
    }
}

/// An operation of one operand.
pub(super) fn unary(op: Unary, value: u64, width: Width, rflags: Rflags) -> (u64, Rflags) {
    // INC and DEC leave CF alone.
    let keep_carry = |(result, flags): (u64, Rflags)| {
        let mut flags = flags;
        flags.set(Rflags::CF, rflags.contains(Rflags::CF));
        (result, flags)
    };
    match op {
        Unary::Not => (!value & width.mask(), rflags),
        Unary::Negate => subtract(0, value, 0, width, rflags),
        Unary::Increment => keep_carry(add(value, 1, 0, width, rflags)),
        Unary::Decrement => keep_carry(subtract(value, 1, 0, width, rflags)),
    }
}

fn add(left: u64, right: u64, carry: u64, width: Width, rflags: Rflags) -> (u64, Rflags) {
    let (left, right) = (left & width.mask(), right & width.mask());
    let result = left.wrapping_add(right).wrapping_add(carry) & width.mask();
    // The carry out of each bit.
    let carries = left & right | (left | right) & !result;
    // Both operands have a sign that the result has not.
    let overflow = (left ^ result) & (right ^ result);
    (result, flags(result, carries, overflow, left ^ right ^ result, width, rflags))
}

fn subtract(left: u64, right: u64, borrow: u64, width: Width, rflags: Rflags) -> (u64, Rflags) {
    let (left, right) = (left & width.mask(), right & width.mask());
    let result = left.wrapping_sub(right).wrapping_sub(borrow) & width.mask();
    // The borrow into each bit's left neighbour.
    let borrows = !left & right | (!left | right) & result;
    let overflow = (left ^ right) & (left ^ result);
    (result, flags(result, borrows, overflow, left ^ right ^ result, width, rflags))
}

fn logic(result: u64, width: Width, rflags: Rflags) -> (u64, Rflags) {
    let result = result & width.mask();
    (result, flags(result, 0, 0, 0, width, rflags))
}

/// `carries`, `overflow` and `differences` have the information of CF and OF in the highest bit of the width, and that of AF
/// in bit 4.
fn flags(result: u64, carries: u64, overflow: u64, differences: u64, width: Width, rflags: Rflags) -> Rflags {
    let sign = |word: u64| word & (width.mask() ^ width.mask() >> 1) != 0;
    let mut flags = rflags.without(STATUS);
    flags.set(Rflags::CF, sign(carries));
    flags.set(Rflags::PF, (result as u8).count_ones().is_multiple_of(2));
    flags.set(Rflags::AF, differences & 0x10 != 0);
    flags.set(Rflags::ZF, result == 0);
    flags.set(Rflags::SF, sign(result));
    flags.set(Rflags::OF, sign(overflow));
    flags
}

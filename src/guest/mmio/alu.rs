//! The arithmetic of instructions whose operand is a device, with the flags that it leaves.
//!
//! SDM volume 1, "Status Flags", and the instructions' own pages. Where they call a flag undefined, it is what most CPUs do.

use crate::{
    exit::Width,
    guest::decode::{Arithmetic, DoubleShift, Shift, Unary},
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

/// A shift or rotation by `count` bits, which is below 64, and below 32 for operands that are smaller than 64 bits. By none,
/// nothing changes.
///
/// SDM volume 2B, "SAL/SAR/SHL/SHR—Shift" and "RCL/RCR/ROL/ROR—Rotate". OF is defined for one bit only; it is computed as for
/// one bit always.
pub(super) fn shift(op: Shift, value: u64, count: u32, width: Width, rflags: Rflags) -> (u64, Rflags) {
    let value = value & width.mask();
    if count == 0 {
        return (value, rflags);
    }
    let bits = 8 * width.bytes() as u32;
    let carry = u64::from(rflags.contains(Rflags::CF));
    // A bit more than the operand has, for the carry.
    let wide = u128::from(value);
    let top = |result: u64| result >> (bits - 1) & 1 != 0;
    let next = |result: u64| result >> (bits - 2) & 1 != 0;
    match op {
        Shift::Left => {
            let shifted = wide << count;
            let result = shifted as u64 & width.mask();
            shifted_flags(result, shifted >> bits & 1 != 0, |carry| top(result) != carry, width, rflags)
        }
        Shift::Right => {
            let result = (wide >> count) as u64;
            shifted_flags(result, wide >> (count - 1) & 1 != 0, |_| top(value), width, rflags)
        }
        Shift::ArithmeticRight => {
            let unused = 64 - bits;
            let signed = (value << unused) as i64 >> unused;
            let result = (signed >> count) as u64 & width.mask();
            shifted_flags(result, signed >> (count - 1) & 1 != 0, |_| false, width, rflags)
        }
        Shift::RotateLeft | Shift::RotateRight => {
            let by = count & (bits - 1);
            let left = if op == Shift::RotateLeft { by } else { bits.wrapping_sub(by) };
            let result = (wide.wrapping_shl(left) | wide.wrapping_shr(bits.wrapping_sub(left))) as u64 & width.mask();
            if op == Shift::RotateLeft {
                let carry = result & 1 != 0;
                (result, rotated_flags(carry, top(result) != carry, rflags))
            } else {
                (result, rotated_flags(top(result), top(result) != next(result), rflags))
            }
        }
        Shift::RotateCarryLeft | Shift::RotateCarryRight => {
            let all = bits + 1;
            let by = count % all;
            if by == 0 {
                return (value, rflags);
            }
            let left = if op == Shift::RotateCarryLeft { by } else { all.wrapping_sub(by) };
            let ring = u128::from(carry) << bits | wide;
            let turned = ring.wrapping_shl(left) | ring.wrapping_shr(all.wrapping_sub(left));
            let result = turned as u64 & width.mask();
            let carry = turned >> bits & 1 != 0;
            let overflow =
                if op == Shift::RotateCarryLeft { top(result) != carry } else { top(result) != next(result) };
            (result, rotated_flags(carry, overflow, rflags))
        }
    }
}

/// SHLD and SHRD by `count` bits, as for [`shift`]. SDM volume 2B, "SHLD—Double Precision Shift Left".
pub(super) fn double_shift(
    op: DoubleShift,
    value: u64,
    incoming: u64,
    count: u32,
    width: Width,
    rflags: Rflags,
) -> (u64, Rflags) {
    let value = value & width.mask();
    if count == 0 {
        return (value, rflags);
    }
    let bits = 8 * width.bytes() as u32;
    let (wide, incoming) = (u128::from(value), u128::from(incoming & width.mask()));
    let sign = |word: u64| word >> (bits - 1) & 1 != 0;
    let (result, carry) = match op {
        DoubleShift::Left => {
            let both = wide << bits | incoming;
            let shifted = both << count >> bits;
            (shifted as u64 & width.mask(), wide << count >> bits & 1 != 0)
        }
        DoubleShift::Right => {
            let both = incoming << bits | wide;
            ((both >> count) as u64 & width.mask(), both >> (count - 1) & 1 != 0)
        }
    };
    shifted_flags(result, carry, |_| sign(result) != sign(value), width, rflags)
}

fn shifted_flags(
    result: u64,
    carry: bool,
    overflow: impl FnOnce(bool) -> bool,
    width: Width,
    rflags: Rflags,
) -> (u64, Rflags) {
    let (result, mut flags) = logic(result, width, rflags);
    flags.set(Rflags::CF, carry);
    flags.set(Rflags::OF, overflow(carry));
    // Undefined; most CPUs leave it as it was.
    flags.set(Rflags::AF, rflags.contains(Rflags::AF));
    (result, flags)
}

fn rotated_flags(carry: bool, overflow: bool, rflags: Rflags) -> Rflags {
    let mut flags = rflags;
    flags.set(Rflags::CF, carry);
    flags.set(Rflags::OF, overflow);
    flags
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

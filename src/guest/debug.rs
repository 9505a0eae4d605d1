//! The guest's debug registers, which the library keeps: SDM volume 3, "Debug Registers".
//!
//! They read back as written. Breakpoints do not fire yet: DR0 to DR3 never reach the CPU.

use super::control::Fault;
use crate::spec::x86::registers::Dr6;

/// DR4 and DR5 are DR6 and DR7 under other names (CR4.DE, which would make them #UD, is the CPU's to check).
pub(crate) const fn canonical_number(number: u8) -> u8 {
    match number & 7 {
        4 => 6,
        5 => 7,
        number => number,
    }
}

/// MOV from DR.
pub(crate) fn read(registers: &[u64; 8], number: u8) -> u64 {
    registers[usize::from(number & 7)]
}

/// MOV to DR. Bits 63:32 of DR6 and DR7 must be 0; bits that always read as 1 do so afterwards.
pub(crate) fn write(registers: &mut [u64; 8], number: u8, value: u64) -> Result<(), Fault> {
    let number = usize::from(number & 7);
    let fixed = match number {
        6 | 7 if value >> 32 != 0 => return Err(Fault),
        6 | 7 => super::state::DEBUG_RESET[number],
        _ => 0,
    };
    registers[number] = value | fixed;
    Ok(())
}

/// A #DB happened for these reasons.
pub(crate) fn set_cause(registers: &mut [u64; 8], cause: Dr6) {
    let reasons = Dr6::B0.with(Dr6::B1).with(Dr6::B2).with(Dr6::B3).with(Dr6::BD).with(Dr6::BS);
    registers[6] |= (cause & reasons).bits();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::state::DEBUG_RESET;

    #[test]
    fn fixed_bits_and_aliases() {
        let mut registers = DEBUG_RESET;
        assert_eq!(write(&mut registers, 7, 1 << 32), Err(Fault));
        assert_eq!(write(&mut registers, canonical_number(5), 3), Ok(()));
        assert_eq!(read(&registers, 7), DEBUG_RESET[7] | 3);
        assert_eq!(write(&mut registers, 0, u64::MAX), Ok(()));
        assert_eq!(read(&registers, 0), u64::MAX);
        set_cause(&mut registers, Dr6::BS);
        assert_eq!(read(&registers, canonical_number(4)), DEBUG_RESET[6] | Dr6::BS.bits());
    }
}

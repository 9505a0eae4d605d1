//! Instructions that read and write control and debug registers, for CPUs whose intercepts do not name the operand.
//!
//! SDM volume 2, "MOV—Move to/from Control Registers", "MOV—Move to/from Debug Registers", "CLTS", "LMSW", "SMSW"; APM volume
//! 3, "System Instruction Reference".

use super::{MAX_LENGTH, MemoryOperand, modrm::ModRm, modrm::RegisterOrMemory, prefixes::Prefixes};
use crate::{
    exit::Width,
    guest::{registers::RegisterIndex, segmentation::CodeSize},
};

/// What such an instruction does. Which control or debug register it is, the intercept has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlAccess {
    /// MOV to the register.
    MovTo(RegisterIndex),
    /// MOV from the register.
    MovFrom(RegisterIndex),
    /// CLTS.
    Clts,
    /// LMSW.
    Lmsw(WordOperand),
    /// SMSW.
    Smsw(WordOperand),
}

/// The operand of LMSW and SMSW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOperand {
    /// A register; SMSW writes as much of it as the width says.
    Register(RegisterIndex, Width),
    /// 16 bits in memory.
    Memory(MemoryOperand),
}

impl ControlAccess {
    /// Reads the instruction at the start of `bytes`, and its length. `None` when it is none of these, or when bytes are
    /// missing: the caller may try again with more (up to 15).
    pub fn decode(bytes: &[u8], code: CodeSize) -> Option<(Self, u8)> {
        let prefixes = Prefixes::scan(bytes, code);
        let (access, length) = match bytes.get(prefixes.length.into()..)? {
            // Both operands are registers, whatever ModRM.mod says.
            [0x0f, opcode @ 0x20..=0x23, modrm, ..] => {
                let register = RegisterIndex::new(modrm & 7 | prefixes.rex_b());
                (if *opcode < 0x22 { Self::MovFrom(register) } else { Self::MovTo(register) }, 3)
            }
            [0x0f, 0x06, ..] => (Self::Clts, 2),
            [0x0f, 0x01, operand @ ..] => {
                let modrm = ModRm::parse(operand, prefixes, code)?;
                let operand = match modrm.rm {
                    RegisterOrMemory::Register(number) => {
                        WordOperand::Register(RegisterIndex::new(number), prefixes.operand_width(code))
                    }
                    RegisterOrMemory::Memory(memory) => WordOperand::Memory(memory),
                };
                let access = match modrm.reg {
                    4 => Self::Smsw(operand),
                    6 => Self::Lmsw(operand),
                    _ => return None,
                };
                (access, modrm.length.wrapping_add(2))
            }
            _ => return None,
        };
        let length = length.wrapping_add(prefixes.length.into());
        if length > MAX_LENGTH { None } else { Some((access, length as u8)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R8: RegisterIndex = RegisterIndex::new(8);

    #[test]
    fn moves_name_their_register() {
        let decode = |bytes: &[u8]| ControlAccess::decode(bytes, CodeSize::Bits64);
        assert_eq!(decode(&[0x0f, 0x22, 0xc0]), Some((ControlAccess::MovTo(RegisterIndex::RAX), 3)));
        assert_eq!(decode(&[0x0f, 0x22, 0xd9]), Some((ControlAccess::MovTo(RegisterIndex::RCX), 3)));
        assert_eq!(decode(&[0x41, 0x0f, 0x22, 0xe0]), Some((ControlAccess::MovTo(R8), 4)));
        assert_eq!(decode(&[0x44, 0x0f, 0x20, 0xc7]), Some((ControlAccess::MovFrom(RegisterIndex::RDI), 4)));
        // ModRM.mod does not count, and LOCK only chooses CR8.
        assert_eq!(decode(&[0xf0, 0x0f, 0x20, 0x04]), Some((ControlAccess::MovFrom(RegisterIndex::RSP), 4)));
        assert_eq!(decode(&[0x0f, 0x23, 0xf8]), Some((ControlAccess::MovTo(RegisterIndex::RAX), 3)));
        assert_eq!(decode(&[0x0f, 0x22]), None);
        assert_eq!(decode(&[0x0f, 0xa2, 0x00]), None);
    }

    #[test]
    fn machine_status_word() {
        let decode = ControlAccess::decode;
        assert_eq!(decode(&[0x0f, 0x06], CodeSize::Bits16), Some((ControlAccess::Clts, 2)));
        let ax = |width| WordOperand::Register(RegisterIndex::RAX, width);
        assert_eq!(decode(&[0x0f, 0x01, 0xf0], CodeSize::Bits16), Some((ControlAccess::Lmsw(ax(Width::Word)), 3)));
        assert_eq!(decode(&[0x0f, 0x01, 0xe0], CodeSize::Bits32), Some((ControlAccess::Smsw(ax(Width::Dword)), 3)));
        assert_eq!(
            decode(&[0x66, 0x0f, 0x01, 0xe0], CodeSize::Bits32),
            Some((ControlAccess::Smsw(ax(Width::Word)), 4))
        );
        assert_eq!(
            decode(&[0x48, 0x0f, 0x01, 0xe0], CodeSize::Bits64),
            Some((ControlAccess::Smsw(ax(Width::Qword)), 4))
        );
        let memory = decode(&[0x0f, 0x01, 0x36, 0x34, 0x12], CodeSize::Bits16);
        assert!(matches!(
            memory,
            Some((ControlAccess::Lmsw(WordOperand::Memory(MemoryOperand { displacement: 0x1234, .. })), 5))
        ));
        // LGDT is another matter.
        assert_eq!(decode(&[0x0f, 0x01, 0x16, 0x34, 0x12], CodeSize::Bits16), None);
    }
}

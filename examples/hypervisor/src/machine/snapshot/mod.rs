//! A guest's whole machine in a file: saved in one boot of the image, it goes on in another.
//!
//! All numbers are little-endian. The file is the 8 bytes of [`MAGIC`], the version of the format (16 bits), 0 (48 bits), and sections:
//! an id (16 bits, one of [`section`]), the version of the section (16 bits), the number of its bytes (32 bits), the bytes.
//!
//! | section | how often | what |
//! |---|---|---|
//! | machine | first | [`Description`] |
//! | vCPU | one for each, by number | what the guest was told by CPUID, and `x86_vcpu::State` in its own binary form: [`SavedCpu`] |
//! | devices | once | [`Devices`](super::board::Devices) |
//! | memory | as often as needed | the guest-physical address (64 bits), how many bytes there are (32 bits), the bytes, compressed: a block of LZ4. All other memory is zero |
//! | end | last | FNV-1a of everything before this section, 64 bits |
//!
//! A reader refuses every id and version that it does not know: what it would leave out, the guest would miss.

mod awaited;
pub mod codec;
mod format;
mod read;
mod write;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use x86_vcpu::CpuidPolicy;

pub use self::awaited::is_wanted;
use self::codec::{Saved, saved};
use self::format::{HEADER, MAGIC, VERSION, section};
pub use self::read::Snapshot;
pub use self::write::{Output, write};

/// The most memory in one section.
const PIECE: usize = 64 << 10;

/// What machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Bytes of memory.
    pub memory: u64,
    /// vCPUs.
    pub vcpus: u32,
    /// Whether the guest was shown the CPU that all machines have.
    pub common_cpu: bool,
    /// The rate of the time-stamp counter, in Hz, by which the machine's clocks run.
    pub hz: u64,
    /// How far it had come since the machine was switched on.
    pub passed: u64,
}

saved!(Description { memory, vcpus, common_cpu, hz, passed } if it => {
    // Faster counters than any, and so many years, would overflow in the clocks.
    (1_000_000..1 << 40).contains(&it.hz) && it.passed < 1 << 62 && it.vcpus > 0
});

/// A vCPU.
pub struct SavedCpu {
    /// What CPUID answers.
    pub cpuid: Vec<Leaf>,
    /// `x86_vcpu::State` in its binary form.
    pub state: Vec<u8>,
}

saved!(SavedCpu { cpuid, state });

/// A leaf of CPUID, a sub-leaf, and EAX, EBX, ECX, EDX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    leaf: u32,
    subleaf: u32,
    registers: [u32; 4],
}

saved!(Leaf { leaf, subleaf, registers });

/// All of a policy.
pub fn leaves(policy: &CpuidPolicy) -> Vec<Leaf> {
    /// The leaves that a policy can have, in each of its ranges, and sub-leaves.
    const RANGE: u32 = 64;
    let mut leaves = Vec::new();
    for first in [0, 0x4000_0000, 0x8000_0000] {
        for leaf in first..first + RANGE {
            let answers = (0..RANGE).map_while(|subleaf| Some((subleaf, policy.get(leaf, subleaf)?)));
            for (subleaf, found) in answers {
                // Leaves without sub-leaves answer the same to all.
                if subleaf > 0 && policy.get(leaf, u32::MAX).is_some() {
                    break;
                }
                leaves.push(Leaf { leaf, subleaf, registers: [found.eax, found.ebx, found.ecx, found.edx] });
            }
        }
    }
    leaves
}

/// Why a guest that was told `saved` cannot go on where it would be told `here`.
pub fn difference(saved: &[Leaf], here: &[Leaf]) -> Option<String> {
    let key = |row: &Leaf| (row.leaf, row.subleaf);
    let other = |row: &&Leaf| here.iter().find(|other| key(other) == key(row)).is_none_or(|other| other != *row);
    let more = here.iter().find(|row| !saved.iter().any(|known| key(known) == key(row)));
    let row = saved.iter().find(other).or(more)?;
    Some(format!(
        "CPUID {:#x}/{} says something else here than the guest was told: it can go on only on the model of CPU that it was saved on, unless it \
         was started with the common CPU",
        row.leaf, row.subleaf
    ))
}

/// FNV-1a.
#[derive(Clone, Copy)]
struct Checksum(u64);

impl Checksum {
    const START: Self = Self(0xCBF2_9CE4_8422_2325);

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
}

/// The bytes before a section's own.
fn head(id: u16, length: usize) -> Vec<u8> {
    let mut bytes = codec::bytes_of(&[id, VERSION]);
    (length as u32).put(&mut bytes);
    bytes
}

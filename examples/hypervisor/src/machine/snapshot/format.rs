//! What a snapshot's file begins with, and the ids of its sections. `xtask` compiles this very file for what it has to know of a snapshot
//! before it boots the image: nothing here depends on the rest of the image.

/// What a snapshot begins with.
pub const MAGIC: [u8; 8] = *b"x86vm\0\r\n";
/// The version of the format.
pub const VERSION: u16 = 1;
/// The bytes before the first section.
pub const HEADER: usize = 16;

/// The sections' ids.
pub mod section {
    pub const MACHINE: u16 = 1;
    pub const VCPU: u16 = 2;
    pub const DEVICES: u16 = 3;
    pub const MEMORY: u16 = 4;
    pub const END: u16 = 5;
}

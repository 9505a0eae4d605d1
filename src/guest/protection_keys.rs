//! The guest's PKRU, for accesses that the library does on the guest's behalf.
//!
//! It is one of the registers that the guest keeps while the host's code runs, so reading it costs something. That is done
//! when an access meets a user page of a guest with CR4.PKE set, and never else.

use crate::guest::xstate::SavedPkru;

/// Where the guest's PKRU is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Pkru {
    /// Nowhere: CR4.PKE is 0.
    #[default]
    Unused,
    /// Its value is known.
    Value(u32),
    /// In this CPU.
    InCpu(SavedPkru),
}

/// What PKRU says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRights {
    /// ADi: no data access.
    pub access_disable: bool,
    /// WDi: no write, but by a supervisor with CR0.WP 0.
    pub write_disable: bool,
}

impl Pkru {
    /// The rights that go with a key, of which there are 16: SDM volume 3, "Protection Keys for User-Mode Addresses" (bit 2i is
    /// ADi, bit 2i + 1 is WDi).
    pub fn of_key(self, key: u8) -> KeyRights {
        let value = match self {
            Self::Unused => 0,
            Self::Value(value) => value,
            Self::InCpu(saved) => saved.read(),
        };
        let rights = value.wrapping_shr(u32::from(key & 15) * 2);
        KeyRights { access_disable: rights & 1 != 0, write_disable: rights & 2 != 0 }
    }
}

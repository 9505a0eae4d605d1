//! VMX: a VMCS of the harness's own, entered by VMLAUNCH.

mod base;
mod capabilities;
mod cases;
mod host;
mod instructions;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use x86_vcpu::spec::FieldInfo;
use x86_vcpu::spec::intel::{exits::ExitReason, vmcs};

use super::doctor::{Opinion, Outcome};
use super::session::{Change, Harness};
use crate::memory;
use base::Base;
use capabilities::{Capabilities, State};
pub use cases::cases;
use host::Host;

/// What keeps a guest from running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// RFLAGS is 0, which no guest may have: controls and host state that are accepted show as refused guest state.
    Guest,
    /// The last entry of the area of MSRs to load is one that no CPU loads: a guest state that is accepted shows as that.
    Msr,
    /// The nested page tables map nothing: the guest is entered, and its first fetch makes it exit.
    Nothing,
}

/// Fields that are none: the first entry of the area of MSRs to load, with [`Stop::Msr`] behind it.
pub const ENTRY_INDEX: usize = 1000;
pub const ENTRY_RESERVED: usize = 1001;
pub const ENTRY_VALUE: usize = 1002;

/// The harness.
pub struct Vmx {
    pub capabilities: Capabilities,
    /// The fields that this CPU has and that VMWRITE changes.
    pub fields: Vec<FieldInfo>,
    pub bases: Vec<Base>,
    host: Host,
    region: u64,
    msr_area: u64,
    /// Where memory ends.
    end: u64,
}

impl Vmx {
    /// `free` is the first byte of memory that nobody uses, to its end.
    pub fn new(free: core::ops::Range<usize>) -> Result<Self, String> {
        let capabilities = Capabilities::read();
        let region = memory::allocate_frames(1).ok_or("no memory")? as u64;
        let host = Host::new(&free)?;
        // SAFETY: a frame of our own, zeroed, with the revision that this CPU wants.
        unsafe {
            (region as *mut u8).write_bytes(0, memory::FRAME_SIZE);
            (region as *mut u32).write(capabilities.revision());
            instructions::vmclear(region).map_err(|_| "VMCLEAR failed")?;
            instructions::vmptrld(region).map_err(|_| "VMPTRLD failed")?;
        }
        let mut fields: Vec<FieldInfo> = Vec::new();
        for field in vmcs::FIELDS {
            let is_there = instructions::vmread(field.encoding()).is_some();
            let should = field.exists(capabilities.allowed());
            if is_there != should {
                super::emit!("FIELD {} {} {}\n", field.name(), u8::from(should), u8::from(is_there));
            }
            if is_there && field.is_writable() {
                fields.push(*field);
            }
        }
        fields.sort_by_key(FieldInfo::encoding);
        let bases = base::all(&capabilities, &host, &fields);
        Ok(Self { capabilities, fields, bases, host, region, msr_area: base::ENTRY_AREA, end: free.end as u64 })
    }

    /// The index of a field, if this CPU has it.
    pub fn find(&self, encoding: u32) -> Option<usize> {
        find(&self.fields, encoding)
    }

    /// The value of a field in a valid state.
    pub fn valid(&self, base: usize, field: usize) -> u64 {
        self.bases[base].values[field]
    }
}

impl Harness for Vmx {
    type Stop = Stop;

    fn name(&self, field: usize) -> &'static str {
        match field {
            ENTRY_INDEX => "entry.index",
            ENTRY_RESERVED => "entry.reserved",
            ENTRY_VALUE => "entry.value",
            _ => self.fields[field].name(),
        }
    }

    fn base(&self, base: usize) -> &'static str {
        self.bases[base].name
    }

    fn prepare(&mut self, base: usize, stop: Stop, changes: &[Change]) {
        // SAFETY: the region is a VMCS region of ours.
        unsafe {
            let _ = instructions::vmclear(self.region);
            let _ = instructions::vmptrld(self.region);
        }
        for (field, value) in self.fields.iter().zip(&self.bases[base].values) {
            instructions::vmwrite(field.encoding(), *value);
        }
        let mut entry = [0; 3];
        let mut entries = 0;
        for (field, value) in changes {
            if let Some(part) = field.checked_sub(ENTRY_INDEX) {
                entry[part] = *value;
                entries = 1;
            }
        }
        let stopper = [base::FORBIDDEN_MSR, 0, 0];
        for (index, entry) in [entry, stopper].iter().skip(1 - entries).enumerate() {
            let [number, reserved, value] = *entry;
            let at = self.msr_area + 16 * index as u64;
            // SAFETY: the area lies in memory that is the harness's.
            unsafe {
                (at as *mut u64).write(number & 0xFFFF_FFFF | reserved << 32);
                (at as *mut u64).add(1).write(value);
            }
        }
        let count = if stop == Stop::Nothing { 0 } else { entries as u64 + 1 };
        instructions::vmwrite(vmcs::VM_ENTRY_MSR_LOAD_COUNT.encoding(), count);
        if stop == Stop::Guest {
            instructions::vmwrite(vmcs::GUEST_RFLAGS.encoding(), 0);
        }
        for (field, value) in changes.iter().filter(|(field, _)| *field < ENTRY_INDEX) {
            instructions::vmwrite(self.fields[*field].encoding(), *value);
        }
    }

    fn opinion(&self) -> Opinion {
        capabilities::opinion(&self.capabilities, &State { region: self.region, end: self.end })
    }

    fn enter(&mut self) -> Outcome {
        // SAFETY: the VMCS is current; what the CPU does with it is what this is about.
        match unsafe { self.host.enter() } {
            0 => {}
            1 => return Outcome::Failed(0),
            _ => {
                let error = instructions::vmread(vmcs::VM_INSTRUCTION_ERROR.encoding()).unwrap_or_default();
                return Outcome::Failed(error as u32);
            }
        }
        let reason = instructions::vmread(vmcs::EXIT_REASON.encoding()).unwrap_or_default() as u32;
        if reason & 1 << 31 == 0 {
            return Outcome::Entered;
        }
        let qualification = instructions::vmread(vmcs::EXIT_QUALIFICATION.encoding()).unwrap_or_default();
        Outcome::Refused { reason: u32::from(ExitReason(reason as u16).0), qualification }
    }
}

/// The index of a field in a list that is sorted by the encodings.
fn find(fields: &[FieldInfo], encoding: u32) -> Option<usize> {
    fields.binary_search_by_key(&encoding, FieldInfo::encoding).ok()
}

/// An error's text.
fn text(error: &str) -> String {
    error.to_string()
}

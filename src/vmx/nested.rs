//! The extended page table of a vCPU: which one it is, what the CPU remembers of it, and what it reports.
//!
//! SDM volume 3C, "VMX Support for Address Translation", "Caching Translation Information", "Page-Modification Logging".

use memory_addr::MemoryAddr;

use super::{
    capabilities::Capabilities, entry::BeforeEntry, instructions, loaded::Vmcs, payload::OnExit, vcpu::VmxVcpu,
};
use crate::{
    Error, Result,
    exit::{NestedFaultDetails, VmExit},
    frame::{FrameSource, PhysFrame},
    guest::state::Pending,
    handle::Forget,
    nested::{DirtyLog, NestedCapabilities, NestedFormat, NestedTable, PageSize, Permissions},
    spec::{
        intel::{
            controls::SecondaryControls,
            exit_qualifications::{EptViolationQualification, PmlFullQualification},
            msrs::EptVpidCap,
            payloads,
            structures::{EptMemoryType, EptPointer, InveptType, InvvpidType},
            vmcs::*,
        },
        x86::msrs::IA32_PAT_RESET,
    },
};

/// The entries of a page-modification log: 4 KiB of addresses.
const LOG_ENTRIES: u16 = 512;

/// What extended page tables may say on CPUs with these capabilities.
pub(crate) fn nested_capabilities(capabilities: &Capabilities) -> NestedCapabilities {
    let has = |bit| capabilities.ept_vpid.contains(bit);
    let largest_page = if !has(EptVpidCap::PAGE_2MB) {
        PageSize::Size4K
    } else if !has(EptVpidCap::PAGE_1GB) {
        PageSize::Size2M
    } else {
        PageSize::Size1G
    };
    let log = capabilities.allowed.secondary.contains(SecondaryControls::ENABLE_PML);
    NestedCapabilities {
        format: NestedFormat::Ept,
        largest_page,
        execute_only: has(EptVpidCap::EXECUTE_ONLY),
        execute_disable: true,
        accessed_dirty: has(EptVpidCap::ACCESSED_DIRTY),
        page_modification_log: log && has(EptVpidCap::ACCESSED_DIRTY),
        physical_bits: crate::cpu::physical_bits(),
        // EPT does not choose from the host's PAT.
        host_pat: IA32_PAT_RESET,
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Sets the root of the extended page table: the physical address of its level-4 table. The CPU sets no accessed and dirty
    /// flags in it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is not aligned to 4 KiB; [`Error::BadState`] while the CPU logs dirty pages.
    ///
    /// # Safety
    /// The root is that of a table in the format of this virtualization, whose frames and the memory that it maps can be
    /// reached through [`PhysFrameIf::phys_to_virt`](crate::PhysFrameIf::phys_to_virt) (devices, mapped uncacheable, need
    /// not be). They stay allocated until another root is set or the vCPU is dropped, or until
    /// [`forget_nested_translations`](Self::forget_nested_translations) after an entry was removed. What is mapped is the
    /// guest's to change.
    pub unsafe fn set_nested_root(&mut self, root: memory_addr::PhysAddr) -> Result {
        self.use_root(root, false)
    }

    /// Uses a nested page table, with accessed and dirty flags if the CPU has them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it has the other vendor's format; [`Error::BadState`] while the CPU logs dirty pages.
    ///
    /// # Safety
    /// As for [`set_nested_root`](Self::set_nested_root).
    pub unsafe fn set_nested_table(&mut self, table: &NestedTable<S>) -> Result {
        if table.format() != NestedFormat::Ept {
            return Err(Error::InvalidInput("the nested page table has AMD's format"));
        }
        let flags =
            table.capabilities().accessed_dirty && self.capabilities.ept_vpid.contains(EptVpidCap::ACCESSED_DIRTY);
        self.use_root(table.root(), flags)
    }

    fn use_root(&mut self, root: memory_addr::PhysAddr, flags: bool) -> Result {
        if !root.is_aligned_4k() {
            return Err(Error::InvalidInput("the root of the nested page table is not aligned to 4 KiB"));
        }
        if self.modification_log.is_some() && !flags {
            return Err(Error::BadState("the CPU logs dirty pages, which needs a table with dirty flags"));
        }
        let root = root.as_usize() as u64;
        self.guest.nested_root = Some(root);
        self.guest.nested_flags = flags;
        self.before_entry.insert(BeforeEntry::FORGET_NESTED);
        let eptp = self.ept_pointer(root);
        self.with_vmcs(|_, vmcs| {
            let witness = vmcs.has().ok_or(Error::Unsupported("extended page tables (EPT)"))?;
            vmcs.write_if(EPT_POINTER, eptp, witness);
            Ok(())
        })
    }

    /// SDM volume 3, "Extended-Page-Table Pointer (EPTP)".
    fn ept_pointer(&self, root: u64) -> EptPointer {
        let flags = if self.guest.nested_flags { EptPointer::ENABLE_ACCESSED_DIRTY } else { EptPointer::empty() };
        flags.with_memory_type(EptMemoryType::WB).with_page_walk_length_minus_1(3).with_address_page(root >> 12)
    }

    /// Tells that entries of the nested page table were removed or lost permissions: before the next entry the CPU forgets
    /// what it derived from them. Adding entries needs no call.
    pub fn forget_nested_translations(&mut self) {
        self.before_entry.insert(BeforeEntry::FORGET_NESTED);
    }

    /// Translations that an earlier stay, or an earlier owner of the VPID, left on this CPU, or that changes of the guest's
    /// control registers made stale.
    pub(super) fn forget_tagged(&self) -> Result {
        let Some(vpid) = &self.vpid else { return Ok(()) };
        let kind = if self.capabilities.ept_vpid.contains(EptVpidCap::INVVPID_SINGLE_CONTEXT) {
            InvvpidType::SINGLE_CONTEXT
        } else {
            InvvpidType::ALL_CONTEXT
        };
        // SAFETY: this CPU is in VMX operation; VPIDs are used only when one of these types is there.
        unsafe { instructions::invvpid(kind, vpid.number()) }
    }

    /// Forgets what the CPU derived from the nested page table. The result is the VM-instruction error of a failure, after which the
    /// guest must not be entered.
    pub(super) fn forget_nested_now(&mut self) -> Option<u32> {
        if let Some(root) = self.guest.nested_root {
            let kind = if self.capabilities.ept_vpid.contains(EptVpidCap::INVEPT_SINGLE_CONTEXT) {
                InveptType::SINGLE_CONTEXT
            } else {
                InveptType::ALL_CONTEXT
            };
            // SAFETY: this CPU is in VMX operation, and `Capabilities::check` found one of these types.
            match unsafe { instructions::invept(kind, self.ept_pointer(root).bits()) } {
                Ok(()) => {}
                Err(Error::Vmx(instruction)) => return Some(instruction.error),
                Err(_) => return Some(0),
            }
        }
        self.before_entry.remove(BeforeEntry::FORGET_NESTED);
        None
    }

    /// Takes in what other CPUs sent; true when somebody wants `run` to come back.
    #[cold]
    #[inline(never)]
    pub(super) fn read_mail(&mut self, vmcs: &Vmcs<'_>) -> bool {
        let said = self.guest.read_mail();
        self.follow_mail(vmcs, said)
    }

    /// Does what mail asked for that is no event, and says whether somebody wants `run` to come back.
    #[inline]
    pub(super) fn follow_mail(&mut self, vmcs: &Vmcs<'_>, (exit, forget): (bool, Option<Forget>)) -> bool {
        if let Some(request) = forget {
            self.tell_modifications(vmcs);
            // The guest is not entered before, whatever comes.
            self.before_entry.insert(BeforeEntry::FORGET_NESTED);
            self.guest.handle.forgotten(request);
        }
        exit
    }

    /// Marks what the guest writes in this log, or in none any more.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when this CPU cannot log in the way that the log is made for; [`Error::BadState`] when that needs
    /// [`set_nested_table`](Self::set_nested_table) before, and when the vCPU is bound to another CPU; [`Error::NoMemory`].
    pub fn set_dirty_log(&mut self, log: Option<&DirtyLog<S>>) -> Result {
        let cpu_logs = log.is_some_and(DirtyLog::uses_page_modification_log);
        let mut frame = None;
        if cpu_logs {
            if !self.capabilities.allowed.secondary.contains(SecondaryControls::ENABLE_PML) {
                return Err(Error::Unsupported("page-modification logging (PML)"));
            }
            if !self.guest.nested_flags {
                return Err(Error::BadState("the CPU logs only with a nested page table that has dirty flags"));
            }
            frame = Some(PhysFrame::alloc_zero()?);
        }
        self.with_vmcs(|vcpu, vmcs| {
            vcpu.tell_modifications(vmcs);
            if cpu_logs || vcpu.modification_log.is_some() {
                let missing = Error::Unsupported("page-modification logging (PML)");
                if let Some(frame) = &frame {
                    vmcs.write_if(PML_ADDRESS, frame.address(), vmcs.has().ok_or(missing)?);
                    vmcs.write_if(PML_INDEX, LOG_ENTRIES - 1, vmcs.has().ok_or(missing)?);
                }
                vcpu.controls.secondary.set(SecondaryControls::ENABLE_PML, cpu_logs);
                vmcs.write_if(SECONDARY_PROCESSOR_CONTROLS, vcpu.controls.secondary, vmcs.has().ok_or(missing)?);
            }
            vcpu.modification_log = frame;
            vcpu.guest.dirty_log = log.cloned();
            Ok(())
        })
    }

    /// Marks in the log what the CPU has logged: it fills its frame from the last entry to the first.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_modifications(&mut self, vmcs: &Vmcs<'_>) {
        let (Some(log), Some(frame), Some(witness)) = (&self.guest.dirty_log, &self.modification_log, vmcs.has())
        else {
            return;
        };
        // The index is that of the next entry, and FFFFH when there is none left.
        let first = vmcs.read_if(PML_INDEX, witness).wrapping_add(1);
        if first >= LOG_ENTRIES {
            return;
        }
        for index in first..LOG_ENTRIES {
            // SAFETY: the frame has that many entries. The CPU writes them only while the guest runs.
            let gpa = unsafe { frame.as_mut_ptr().cast::<u64>().add(index.into()).read_volatile() };
            log.mark_page(gpa);
        }
        vmcs.write_if(PML_INDEX, LOG_ENTRIES - 1, witness);
    }

    /// The log is full: an exit before the access that it had no entry for.
    #[cold]
    pub(super) fn modification_log_full(&mut self, exit: OnExit<'_, payloads::PmlFull>) -> Option<VmExit> {
        let vmcs = exit.source();
        self.recover_interrupted_event(exit);
        self.keep_nmis_blocked(vmcs, exit.qualification().contains(PmlFullQualification::NMI_UNBLOCKING));
        self.tell_modifications(vmcs);
        None
    }

    /// The CPU did not accept an entry.
    #[cold]
    pub(super) fn ept_misconfiguration(&mut self, exit: OnExit<'_, payloads::EptMisconfiguration>) -> Option<VmExit> {
        self.recover_interrupted_event(exit);
        let capabilities = nested_capabilities(self.capabilities);
        Some(self.guest.misconfiguration(exit.guest_physical_address(), &capabilities))
    }

    /// What the CPU said of the access of the last [`VmExit::NestedPageFault`] beside what the exit has.
    ///
    /// # Errors
    /// [`Error::BadState`] when the last exit was another, or this CPU is not the one that the vCPU is bound to.
    pub fn nested_fault_details(&mut self) -> Result<NestedFaultDetails> {
        let Pending::NestedFault(_) = self.guest.pending else {
            return Err(Error::BadState("the last exit was no nested page fault"));
        };
        let advanced = self.capabilities.ept_vpid.contains(EptVpidCap::ADVANCED_EXIT_INFORMATION);
        self.with_vmcs(|_, vmcs| {
            let qualification = EptViolationQualification::from_bits(vmcs.read(EXIT_QUALIFICATION));
            let of_access =
                EptViolationQualification::LINEAR_ADDRESS_VALID.with(EptViolationQualification::TRANSLATED_ACCESS);
            let told = |bit| (advanced && qualification.contains(of_access)).then(|| qualification.contains(bit));
            Ok(NestedFaultDetails {
                user: told(EptViolationQualification::USER_MODE_LINEAR_ADDRESS),
                guest_writable: told(EptViolationQualification::LINEAR_ADDRESS_WRITABLE),
                guest_executable: told(EptViolationQualification::LINEAR_ADDRESS_EXECUTE_DISABLED)
                    .map(|disabled| !disabled),
                permissions: Some(Permissions {
                    read: qualification.contains(EptViolationQualification::ENTRY_READABLE),
                    write: qualification.contains(EptViolationQualification::ENTRY_WRITABLE),
                    execute: qualification.contains(EptViolationQualification::ENTRY_EXECUTABLE),
                }),
            })
        })
    }
}

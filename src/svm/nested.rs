//! The nested page table of a vCPU: which one it is, what the CPU remembers of it, and what it reports.
//!
//! APM volume 2, "Nested Paging", "TLB Control".

use super::{exits::Outcome, payload::OnExit, vcpu::SvmVcpu};
use crate::{
    Error, Result,
    exit::NestedFaultDetails,
    frame::FrameSource,
    guest::state::Pending,
    handle::Forget,
    host::rdmsr,
    nested::{DirtyLog, NestedCapabilities, NestedFormat, NestedTable, PageSize},
    spec::{
        amd::{exit_info::NpfInfo, payloads},
        x86::{
            msrs::{IA32_EFER, IA32_PAT},
            registers::Efer,
        },
    },
};

/// What nested page tables may say on this CPU. It must have SVM.
pub(crate) fn nested_capabilities() -> NestedCapabilities {
    let features = raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers();
    let largest_page = match features {
        Some(features) if features.has_1gib_pages() => PageSize::Size1G,
        _ => PageSize::Size2M,
    };
    // SAFETY: every CPU with SVM has these registers.
    let (efer, host_pat) = unsafe { (Efer::from_bits(rdmsr(IA32_EFER)), rdmsr(IA32_PAT)) };
    NestedCapabilities {
        format: NestedFormat::Npt,
        largest_page,
        execute_only: false,
        execute_disable: efer.contains(Efer::NXE),
        accessed_dirty: true,
        page_modification_log: false,
        physical_bits: crate::cpu::physical_bits(),
        host_pat,
    }
}

impl<S: FrameSource> SvmVcpu<S> {
    /// Sets the root of the nested page table: the physical address of its level-4 table.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is not aligned to 4 KiB.
    ///
    /// # Safety
    /// The root is that of a table in the format of nested page tables, whose frames and the memory that it maps can be
    /// reached through [`PhysFrameIf::phys_to_virt`](crate::PhysFrameIf::phys_to_virt) (devices, mapped uncacheable, need
    /// not be). They stay allocated until another root is set or the vCPU is dropped, or until
    /// [`forget_nested_translations`](Self::forget_nested_translations) after an entry was removed. What is mapped is the
    /// guest's to change.
    pub unsafe fn set_nested_root(&mut self, root: memory_addr::PhysAddr) -> Result {
        if !memory_addr::MemoryAddr::is_aligned_4k(root) {
            return Err(Error::InvalidInput("the root of the nested page table is not aligned to 4 KiB"));
        }
        let root = root.as_usize() as u64;
        self.guest.nested_root = Some(root);
        // The CPU always sets them.
        self.guest.nested_flags = true;
        self.allow_run();
        self.vmcb.set_n_cr3(root);
        self.forget_later();
        Ok(())
    }

    /// Uses a nested page table.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it has the other vendor's format.
    ///
    /// # Safety
    /// As for [`set_nested_root`](Self::set_nested_root).
    pub unsafe fn set_nested_table(&mut self, table: &NestedTable<S>) -> Result {
        if table.format() != NestedFormat::Npt {
            return Err(Error::InvalidInput("the nested page table has Intel's format"));
        }
        // SAFETY: the caller's promise.
        unsafe { self.set_nested_root(table.root()) }
    }

    /// Tells that entries of the nested page table were removed or lost permissions: before the next entry the CPU forgets
    /// what it derived from them. Adding entries needs no call.
    pub fn forget_nested_translations(&mut self) {
        self.forget_later();
    }

    /// Takes in what other CPUs sent; true when somebody wants `run` to come back.
    #[cold]
    #[inline(never)]
    pub(super) fn read_mail(&mut self) -> bool {
        let said = self.guest.read_mail();
        self.follow_mail(said)
    }

    /// Does what mail asked for that is no event, and says whether somebody wants `run` to come back.
    #[inline]
    pub(super) fn follow_mail(&mut self, (exit, forget): (bool, Option<Forget>)) -> bool {
        if let Some(request) = forget {
            // The guest is not entered before, whatever comes.
            self.forget_later();
            self.guest.handle.forgotten(request);
        }
        exit
    }

    /// Marks what the guest writes in this log, or in none any more.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the log is one that the CPU writes, which SVM has not.
    pub fn set_dirty_log(&mut self, log: Option<&DirtyLog<S>>) -> Result {
        if log.is_some_and(DirtyLog::uses_page_modification_log) {
            return Err(Error::Unsupported("page-modification logging (PML)"));
        }
        self.guest.dirty_log = log.cloned();
        Ok(())
    }

    /// A nested page fault that may not be the VMM's: of a write that is to be logged, or of an entry that the CPU did not accept.
    #[cold]
    #[inline(never)]
    pub(super) fn own_nested_page_fault(&mut self, exit: OnExit<payloads::Npf>) -> Option<Outcome> {
        let (info, gpa) = (exit.exit_info1(), exit.exit_info2());
        if info.contains(NpfInfo::RSV) {
            let found = self.with_host_segments(|vcpu| vcpu.guest.misconfiguration(gpa, &nested_capabilities()));
            return Some(self.leave(found));
        }
        let logged = info.contains(NpfInfo::RW)
            && self.guest.dirty_log.is_some()
            && self.with_host_segments(|vcpu| vcpu.guest.log_write_at(NestedFormat::Npt, gpa));
        logged.then_some(Outcome::Again)
    }

    /// What the CPU said of the access of the last [`VmExit::NestedPageFault`](crate::VmExit::NestedPageFault) beside what the exit
    /// has.
    ///
    /// # Errors
    /// [`Error::BadState`] when the last exit was another.
    pub fn nested_fault_details(&mut self) -> Result<NestedFaultDetails> {
        let Pending::NestedFault(_) = self.guest.pending else {
            return Err(Error::BadState("the last exit was no nested page fault"));
        };
        // US is the access to the nested page table's, which is a user access whoever makes it: the CPU says nothing else.
        Ok(NestedFaultDetails::default())
    }
}

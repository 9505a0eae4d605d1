//! What nested page tables can say, and that the guest meets it: page sizes, permissions, flags, a log of what was written,
//! entries that no CPU accepts, and memory that is taken away while the guest runs on another CPU.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memory_addr::PhysAddr;
use x86_vcpu::nested::{DirtyLog, MemoryType, NestedTable, PageSize, Permissions};
use x86_vcpu::{Error, NestedFault, RegisterIndex, StartState, Vcpu, VcpuConfig, VmExit, nested_capabilities};

use super::{Outcome, Reason, check};
use crate::memory::{FRAME_SIZE, allocate_frames, free_frames};
use crate::vm::{GuestMemory, PAGE_MAP};
use crate::{apic, cpu, guests, interrupts, print, smp};

const PORT_YIELD: u16 = 0xF5;
const PAGE: u64 = FRAME_SIZE as u64;
const LARGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
/// Where the guest sees the memory of these scenarios; nothing else is there.
const WINDOW: u64 = 0x80_0000;

/// What the guest is to do next.
#[derive(Clone, Copy)]
enum Do {
    Read(u64),
    Write(u64, u64),
    Call(u64),
    /// A write to each of so many pages.
    WritePages(u64, u64),
}

/// What became of it.
#[derive(Debug)]
enum Seen {
    /// It is done; RAX.
    Done(u64),
    Fault(NestedFault),
    Wrong(x86_vcpu::nested::Misconfiguration),
}

/// Memory of the host, aligned to 2 MiB.
struct Block {
    first: usize,
    frames: usize,
    address: u64,
}

impl Block {
    fn new(size: u64) -> Result<Self, Reason> {
        let frames = ((size + LARGE) / PAGE) as usize;
        let first = allocate_frames(frames).ok_or(Error::NoMemory)?;
        let address = (first as u64).next_multiple_of(LARGE);
        // SAFETY: the block is ours.
        unsafe { (first as *mut u8).write_bytes(0, frames * FRAME_SIZE) };
        Ok(Self { first, frames, address })
    }

    fn at(&self, offset: u64) -> PhysAddr {
        PhysAddr::from((self.address + offset) as usize)
    }

    fn put(&self, offset: u64, value: u64) {
        // SAFETY: inside the block, which is ours; a running guest sees the old or the new value.
        unsafe { ((self.address + offset) as *mut u64).write_volatile(value) };
    }

    fn get(&self, offset: u64) -> u64 {
        // SAFETY: as in `put`.
        unsafe { ((self.address + offset) as *const u64).read_volatile() }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        free_frames(self.first, self.frames);
    }
}

/// A guest under our hand. The vCPU goes first, because it uses the memory.
struct Probe {
    vcpu: Vcpu,
    memory: GuestMemory,
}

impl Probe {
    fn new() -> Result<Self, Reason> {
        let mut memory = GuestMemory::new()?;
        let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
        // SAFETY: what the table maps is the guest's memory, or a block that outlives the probe.
        unsafe { vcpu.set_nested_table(memory.table()) }?;
        vcpu.start(StartState::Long { entry: guests::memory().entry, cr3: PAGE_MAP })?;
        vcpu.bind()?;
        let mut probe = Self { vcpu, memory };
        probe.go_on()?;
        Ok(probe)
    }

    fn table(&mut self) -> &mut NestedTable {
        self.memory.table()
    }

    fn start(&mut self, what: Do) {
        let (number, place, value) = match what {
            Do::Read(place) => (0, place, 0),
            Do::Write(place, value) => (1, place, value),
            Do::Call(place) => (2, place, 0),
            Do::WritePages(place, count) => (3, place, count),
        };
        self.vcpu.set_register(RegisterIndex::RCX, number);
        self.vcpu.set_register(RegisterIndex::RBX, place);
        self.vcpu.set_register(RegisterIndex::RDX, value);
    }

    fn act(&mut self, what: Do) -> Result<Seen, Reason> {
        self.start(what);
        self.go_on()
    }

    fn go_on(&mut self) -> Result<Seen, Reason> {
        loop {
            match self.vcpu.run()? {
                VmExit::IoWrite { port: PORT_YIELD, .. } => return Ok(Seen::Done(self.vcpu.registers().rax)),
                VmExit::NestedPageFault(fault) => return Ok(Seen::Fault(fault)),
                VmExit::NestedMisconfiguration(what) => return Ok(Seen::Wrong(what)),
                VmExit::ExternalInterrupt { vector: Some(vector) } => interrupts::external(vector),
                VmExit::ExternalInterrupt { vector: None } | VmExit::Interrupted => cpu::take_pending_interrupts(),
                other => return Err(Reason::Failed(format!("unexpected: {other:x?}"))),
            }
        }
    }

    fn reads(&mut self, place: u64, expected: u64) -> Outcome {
        match self.act(Do::Read(place))? {
            Seen::Done(value) if value == expected => Ok(()),
            other => Err(Reason::Failed(format!("reading {place:#x}: {other:x?} in place of {expected:#x}"))),
        }
    }

    fn does(&mut self, what: Do) -> Outcome {
        match self.act(what)? {
            Seen::Done(_) => Ok(()),
            other => Err(Reason::Failed(format!("{other:x?}"))),
        }
    }

    fn faults(&mut self, what: Do) -> Result<NestedFault, Reason> {
        match self.act(what)? {
            Seen::Fault(fault) => Ok(fault),
            other => Err(Reason::Failed(format!("no fault: {other:x?}"))),
        }
    }

    /// Lets the CPU forget, if the table says so.
    fn settle(&mut self) -> Outcome {
        check(self.table().is_stale(), || "something was taken away, and the table does not say so".into())?;
        self.vcpu.forget_nested_translations();
        // SAFETY: there is one vCPU, which forgets before it runs.
        unsafe { self.table().forgotten() };
        check(!self.table().is_stale(), || "the table does not know that nobody knows anything".into())
    }
}

fn say(text: core::fmt::Arguments) {
    print!("> {text}\n");
}

/// Pages of all sizes, permissions and flags.
pub fn nested_pages() -> Outcome {
    let capabilities = nested_capabilities()?;
    let block = Block::new(2 * LARGE)?;
    let mut probe = Probe::new()?;
    let all = Permissions::ALL;
    let write_back = MemoryType::WriteBack;

    // Sizes.
    probe.table().map(WINDOW, block.at(LARGE), PAGE, all, write_back)?;
    probe.does(Do::Write(WINDOW + 8, 0x1111))?;
    check(block.get(LARGE + 8) == 0x1111, || "4 KiB".into())?;
    probe.table().map(WINDOW + LARGE, block.at(0), LARGE, all, write_back)?;
    let size = |table: &mut NestedTable, gpa| table.translate(gpa).map(|found| found.size);
    check(size(probe.table(), WINDOW + LARGE) == Some(PageSize::Size2M), || "no page of 2 MiB".into())?;
    probe.does(Do::Write(WINDOW + LARGE + 0x12_3000, 0x2222))?;
    check(block.get(0x12_3000) == 0x2222, || "2 MiB".into())?;
    // All of the host's memory at 1 GiB, to be read.
    probe.table().map(GIB, PhysAddr::from(0), GIB, Permissions::READ_EXECUTE, write_back)?;
    let largest = size(probe.table(), GIB);
    check(largest == Some(capabilities.largest_page), || format!("{largest:?} is not the largest page"))?;
    probe.reads(GIB + block.address + 0x12_3000, 0x2222)?;
    say(format_args!("pages of all sizes: mapped, written and read"));

    // Permissions, which become less and more.
    probe.table().protect(WINDOW + LARGE + PAGE, PAGE, Permissions::READ)?;
    probe.settle()?;
    let fault = probe.faults(Do::Write(WINDOW + LARGE + PAGE, 1))?;
    check(fault.present && fault.access.write && !fault.table_walk, || format!("{fault:x?}"))?;
    let details = probe.vcpu.nested_fault_details()?;
    check(details.user != Some(true), || format!("{details:?}"))?;
    check(details.permissions.is_none_or(|found| found == Permissions::READ), || format!("{details:?}"))?;
    probe.table().protect(WINDOW + LARGE + PAGE, PAGE, all)?;
    check(matches!(probe.go_on()?, Seen::Done(_)), || "still a fault".into())?;
    check(block.get(PAGE) == 1, || "the write was lost".into())?;
    say(format_args!("a write to what may be read: refused, then done"));
    block.put(2 * PAGE, 0xC3);
    probe.table().protect(WINDOW + LARGE + 2 * PAGE, PAGE, Permissions::READ_WRITE)?;
    probe.settle()?;
    let fault = probe.faults(Do::Call(WINDOW + LARGE + 2 * PAGE))?;
    check(fault.present && fault.access.fetch, || format!("{fault:x?}"))?;
    probe.table().protect(WINDOW + LARGE + 2 * PAGE, PAGE, all)?;
    check(matches!(probe.go_on()?, Seen::Done(_)), || "still a fault".into())?;
    say(format_args!("code that may not be executed: refused, then executed"));
    let execute_only = probe.table().protect(WINDOW + LARGE + 2 * PAGE, PAGE, Permissions::EXECUTE);
    if capabilities.execute_only {
        execute_only?;
        probe.settle()?;
        probe.does(Do::Call(WINDOW + LARGE + 2 * PAGE))?;
        let fault = probe.faults(Do::Read(WINDOW + LARGE + 2 * PAGE))?;
        check(fault.present && fault.access.read, || format!("{fault:x?}"))?;
        probe.table().protect(WINDOW + LARGE + 2 * PAGE, PAGE, all)?;
        check(matches!(probe.go_on()?, Seen::Done(_)), || "still a fault".into())?;
    } else {
        check(matches!(execute_only, Err(Error::Unsupported(_))), || format!("{execute_only:?}"))?;
    }
    say(format_args!("an execute-only page: as this CPU has it"));

    // Other memory in the same place, small pages put together, nothing at all.
    block.put(LARGE + PAGE, 0x3333);
    probe.reads(WINDOW + LARGE + PAGE, 1)?;
    probe.table().remap(WINDOW + LARGE + PAGE, block.at(LARGE + PAGE), PAGE)?;
    probe.settle()?;
    probe.reads(WINDOW + LARGE + PAGE, 0x3333)?;
    probe.table().remap(WINDOW + LARGE + PAGE, block.at(PAGE), PAGE)?;
    let merged = probe.table().merge(WINDOW + LARGE, LARGE)?;
    check(merged == 1, || format!("{merged} tables became needless"))?;
    check(size(probe.table(), WINDOW + LARGE) == Some(PageSize::Size2M), || "not put together".into())?;
    probe.settle()?;
    probe.reads(WINDOW + LARGE + PAGE, 1)?;
    probe.table().unmap(WINDOW + LARGE, LARGE)?;
    probe.settle()?;
    let fault = probe.faults(Do::Read(WINDOW + LARGE + 0x12_3000))?;
    check(!fault.present && fault.access.read && fault.gpa == WINDOW + LARGE + 0x12_3000, || format!("{fault:x?}"))?;
    probe.table().map(WINDOW + LARGE, block.at(0), LARGE, all, MemoryType::Uncacheable)?;
    check(matches!(probe.go_on()?, Seen::Done(0x2222)), || "not mapped again".into())?;
    say(format_args!("memory moved, put together, taken away and given back uncacheable"));

    // Flags.
    if capabilities.accessed_dirty {
        probe.table().unmap(WINDOW, PAGE)?;
        probe.table().map(WINDOW, block.at(LARGE), PAGE, all, write_back)?;
        probe.settle()?;
        let flags = |probe: &mut Probe| probe.table().translate(WINDOW).map(|found| (found.accessed, found.dirty));
        check(flags(&mut probe) == Some((false, false)), || "a new page is in use".into())?;
        probe.does(Do::Read(WINDOW))?;
        check(flags(&mut probe) == Some((true, false)), || "after a read".into())?;
        probe.does(Do::Write(WINDOW, 1))?;
        check(flags(&mut probe) == Some((true, true)), || "after a write".into())?;
        probe.table().clear_dirty(WINDOW, PAGE)?;
        probe.table().clear_accessed(WINDOW, PAGE)?;
        probe.settle()?;
        probe.does(Do::Write(WINDOW, 2))?;
        check(flags(&mut probe) == Some((true, true)), || "after another write".into())?;
    }
    say(format_args!("accessed and dirty flags: as this CPU has them"));
    Ok(())
}

/// Which pages the guest wrote to: in the CPU's own way, and by write protection.
pub fn dirty_log() -> Outcome {
    let capabilities = nested_capabilities()?;
    let size = 2 * LARGE;
    log_in_one_way(&DirtyLog::new(&capabilities, WINDOW, size)?)?;
    log_in_one_way(&DirtyLog::by_write_protection(WINDOW, size)?)
}

fn log_in_one_way(log: &DirtyLog) -> Outcome {
    let block = Block::new(2 * LARGE)?;
    let mut probe = Probe::new()?;
    probe.table().map(WINDOW, block.at(0), 2 * LARGE, Permissions::ALL, MemoryType::WriteBack)?;
    probe.does(Do::Write(WINDOW + 9 * PAGE, 1))?;
    probe.vcpu.set_dirty_log(Some(log))?;
    probe.table().start_dirty_log(log)?;
    probe.settle()?;
    let collect = |probe: &mut Probe| -> Result<Vec<u64>, Reason> {
        let mut pages = Vec::new();
        probe.table().collect_dirty(|gpa| pages.push((gpa - WINDOW) / PAGE))?;
        Ok(pages)
    };
    for page in [3, 5, 5, 100, 700] {
        probe.does(Do::Write(WINDOW + page * PAGE + 16, page))?;
    }
    probe.reads(WINDOW + 7 * PAGE, 0)?;
    probe.reads(WINDOW + 100 * PAGE + 16, 100)?;
    say(format_args!("pages that the guest wrote: {:?}", collect(&mut probe)?));
    probe.settle()?;
    probe.does(Do::Write(WINDOW + 5 * PAGE, 1))?;
    log.mark(WINDOW + 6 * PAGE + 1, 1);
    say(format_args!("then, and one that the VMM wrote: {:?}", collect(&mut probe)?));
    probe.settle()?;
    // More than a log of the CPU holds, without an exit to us.
    probe.does(Do::WritePages(WINDOW, 1024))?;
    say(format_args!("of 1024 pages that the guest wrote: {}", collect(&mut probe)?.len()));
    probe.settle()?;
    say(format_args!("then: {:?}", collect(&mut probe)?));
    // A page that may not be written is not the log's affair.
    probe.table().protect(WINDOW + 8 * PAGE, PAGE, Permissions::READ_EXECUTE)?;
    probe.settle()?;
    let fault = probe.faults(Do::Write(WINDOW + 8 * PAGE, 1))?;
    check(fault.present && fault.access.write, || format!("{fault:x?}"))?;
    probe.table().protect(WINDOW + 8 * PAGE, PAGE, Permissions::ALL)?;
    check(matches!(probe.go_on()?, Seen::Done(_)), || "still a fault".into())?;
    say(format_args!("one that it was not permitted to write at first: {:?}", collect(&mut probe)?));
    probe.table().stop_dirty_log();
    probe.vcpu.set_dirty_log(None)?;
    probe.does(Do::WritePages(WINDOW, 1024))?;
    probe.table().merge(WINDOW, 2 * LARGE)?;
    probe.settle()?;
    let size = probe.table().translate(WINDOW).map(|found| found.size);
    check(size == Some(PageSize::Size2M), || "not as before".into())
}

/// Entries that no CPU accepts: the VMM is told which, and what is wrong with it.
pub fn nested_misconfiguration() -> Outcome {
    let block = Block::new(LARGE)?;
    let mut probe = Probe::new()?;
    probe.table().map(WINDOW, block.at(0), PAGE, Permissions::ALL, MemoryType::WriteBack)?;
    block.put(0, 0x4444);
    let entry = entry_of(probe.table(), WINDOW);
    // SAFETY: the entry is in a table that the probe keeps.
    let before = unsafe { entry.read_volatile() };
    // No CPU here has so many address bits.
    // SAFETY: as above.
    unsafe { entry.write_volatile(before | 1 << 51) };
    let Seen::Wrong(found) = probe.act(Do::Read(WINDOW))? else {
        return Err(Reason::Failed("the CPU accepts it".into()));
    };
    check(found.entry == before | 1 << 51 && found.gpa == WINDOW, || format!("{found:x?}"))?;
    say(format_args!("level {}: {}", found.level, found.problem));
    // SAFETY: as above.
    unsafe { entry.write_volatile(before) };
    probe.vcpu.forget_nested_translations();
    check(matches!(probe.go_on()?, Seen::Done(0x4444)), || "still wrong".into())?;
    say(format_args!("mended, the guest goes on"));
    Ok(())
}

/// Where the lowest entry for an address stands. The host sees physical memory one to one.
fn entry_of(table: &NestedTable, gpa: u64) -> *mut u64 {
    const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
    let mut base = table.root().as_usize() as u64;
    for shift in [39, 30, 21] {
        let entry = (base + (gpa >> shift & 0x1FF) * 8) as *const u64;
        // SAFETY: a table of the tree, and the entries on the way are not of pages.
        base = unsafe { entry.read_volatile() } & ADDRESS;
    }
    (base + (gpa >> 12 & 0x1FF) * 8) as *mut u64
}

/// Memory that is replaced while the guest reads it on another CPU, which is made to forget, and never comes back to its VMM for
/// that.
pub fn shootdown() -> Outcome {
    const OTHER: usize = 1;
    let block = Block::new(LARGE)?;
    let mut probe = Probe::new()?;
    probe.vcpu.unbind()?;
    probe.table().map(WINDOW, block.at(0), PAGE, Permissions::ALL, MemoryType::WriteBack)?;
    block.put(0, 1);
    block.put(PAGE, 1);
    let handle = probe.vcpu.handle();
    let Probe { vcpu, mut memory } = probe;
    let (running, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let (told, seen) = smp::both(
        OTHER,
        || -> Outcome {
            while !running.load(Ordering::Acquire) || handle.running_on().is_none() {
                apic::pause(10_000);
            }
            apic::pause(100_000);
            // Three times other memory with the same content; what it had before gets another one.
            for round in 1..4 {
                memory.table().remap(WINDOW, block.at(round * PAGE), PAGE)?;
                let request = handle.forget_nested_translations();
                while !handle.has_forgotten(request) {
                    if let Some(number) = handle.running_on() {
                        apic::send(number as u32, interrupts::KICK);
                    }
                    apic::pause(100_000);
                }
                // SAFETY: the one vCPU has forgotten.
                unsafe { memory.table().forgotten() };
                block.put((round - 1) * PAGE, 0xDEAD);
                block.put((round + 1) * PAGE, 1);
                apic::pause(100_000);
                rounds.store(round, Ordering::Release);
            }
            block.put(3 * PAGE, 0x5555);
            Ok(())
        },
        || -> Result<Seen, Reason> {
            // What the probe's loop needs is the vCPU alone, but the memory stays with the other CPU.
            let mut vcpu = vcpu;
            vcpu.bind()?;
            // To read until another value is there.
            vcpu.set_register(RegisterIndex::RCX, 4);
            vcpu.set_register(RegisterIndex::RBX, WINDOW);
            vcpu.set_register(RegisterIndex::RDX, 1);
            running.store(true, Ordering::Release);
            let seen = loop {
                match vcpu.run()? {
                    VmExit::IoWrite { port: PORT_YIELD, .. } => break Seen::Done(vcpu.registers().rax),
                    VmExit::ExternalInterrupt { vector: Some(vector) } => interrupts::external(vector),
                    VmExit::ExternalInterrupt { vector: None } => cpu::take_pending_interrupts(),
                    other => return Err(Reason::Failed(format!("unexpected: {other:x?}"))),
                }
            };
            vcpu.unbind()?;
            Ok(seen)
        },
    );
    told?;
    match seen? {
        Seen::Done(0x5555) => {}
        other => return Err(Reason::Failed(format!("the guest saw {other:x?} after {rounds:?} rounds"))),
    }
    say(format_args!(
        "the memory was replaced {} times, and the guest saw nothing of it",
        rounds.load(Ordering::Acquire)
    ));
    Ok(())
}

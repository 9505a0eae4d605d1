//! What an exit costs, in instructions of the host, the guest's loop included.
//!
//! In Bochs, and in QEMU with `-icount`, the time-stamp counter counts instructions. A guest executes the same instruction
//! again and again; it yields before, where the clock starts, and ends after. Two runs of different lengths are compared,
//! so that nothing but the round trips counts. All through the library's own interface, as a VMM uses it.
//!
//! One line for each kind of exit: `BENCH {"exit":"cpuid","instructions":123}`. In a build with `--cfg x86_vcpu_count` the
//! instructions that are expensive on silicon are counted instead; the counting itself would spoil the other number.

use memory_addr::PhysAddr;
use x86_vcpu::count::{self, Counts};
use x86_vcpu::nested::{MemoryType, NestedFormat, Permissions};
use x86_vcpu::{Error, PhysFrame, Result, StartState, Vcpu, VcpuConfig, VmExit, nested_format};

use crate::cpu::timestamp;
use crate::guests::{self, Guest, Mode};
use crate::println;
use crate::vm::{GuestMemory, PAGE_MAP};

const PORT_DONE: u16 = 0xF4;
const PORT_YIELD: u16 = 0xF5;
const DEVICE: u64 = 0xA_0000;
const PAGE_SIZE: u64 = 4096;

/// The length of the shorter run; the longer one is twice as long. A nested page table of the lowest level has as many
/// entries, so that each run needs a whole number of them.
const ITERATIONS: u64 = 512;

/// CPUID with the return stack buffer filled at each exit.
const FILLED: &str = "cpuid_filled";

/// What a run cost.
struct Cost {
    instructions: u64,
    counts: Counts,
}

/// Measures every kind of exit that this CPU can show, with so many exits kept.
pub fn run(trace: Option<usize>) -> Result {
    let hypercall = match nested_format()? {
        NestedFormat::Ept => guests::bench_vmcall(),
        NestedFormat::Npt => guests::bench_vmmcall(),
    };
    for (name, guest) in [
        ("cpuid", guests::bench_cpuid()),
        (FILLED, guests::bench_cpuid()),
        ("rdmsr", guests::bench_rdmsr()),
        ("out", guests::bench_out()),
        ("in", guests::bench_in()),
        ("hlt", guests::bench_hlt()),
        ("hypercall", hypercall),
        ("mmio_real", guests::bench_mmio_real()),
        ("mmio_long", guests::bench_mmio_long()),
        ("nested_fault", guests::bench_nested_fault()),
    ] {
        let measured = measure(name, guest, ITERATIONS, trace)
            .and_then(|short| Ok((short, measure(name, guest, 2 * ITERATIONS, trace)?)));
        match measured {
            Ok((short, long)) => report(name, &short, &long),
            // Real mode on a CPU that cannot run it.
            Err(Error::Unsupported(what)) => println!("no {name}: {what}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn report(name: &str, short: &Cost, long: &Cost) {
    let per_exit = |short: u64, long: u64| {
        let hundredths = (long - short) * 100 / ITERATIONS;
        Hundredths(hundredths)
    };
    if cfg!(x86_vcpu_count) {
        let (a, b) = (&short.counts, &long.counts);
        println!(
            "BENCH {{\"exit\":\"{name}\",\"vmread\":{},\"vmwrite\":{},\"rdmsr\":{},\"wrmsr\":{},\"xsetbv\":{},\"cpuid\":{}}}",
            per_exit(a.vmread, b.vmread),
            per_exit(a.vmwrite, b.vmwrite),
            per_exit(a.rdmsr, b.rdmsr),
            per_exit(a.wrmsr, b.wrmsr),
            per_exit(a.xsetbv, b.xsetbv),
            per_exit(a.cpuid, b.cpuid),
        );
    } else {
        println!("BENCH {{\"exit\":\"{name}\",\"instructions\":{}}}", per_exit(short.instructions, long.instructions));
    }
}

/// A number of hundredths, written without them when there are none.
struct Hundredths(u64);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}", self.0 / 100),
            rest => write!(f, "{}.{rest:02}", self.0 / 100),
        }
    }
}

/// One run of `iterations` round trips.
fn measure(name: &str, guest: Guest, iterations: u64, trace: Option<usize>) -> Result<Cost> {
    let mut memory = GuestMemory::new()?;
    let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
    // SAFETY: what the table maps is the guest's own memory; both live until the vCPU is gone, at the end of this function.
    unsafe { vcpu.set_nested_root(memory.root()) }?;
    vcpu.start(match guest.mode {
        Mode::Real => StartState::RealMode { entry: guest.entry },
        Mode::Protected => StartState::Protected { entry: guest.entry as u32 },
        Mode::Long => StartState::Long { entry: guest.entry, cr3: PAGE_MAP },
    })?;
    vcpu.registers_mut().rsi = iterations;
    // Some of these CPUs ask for it by default and some do not; one row shows what it costs.
    let mut policy = vcpu.speculation_policy();
    policy.fill_return_stack = name == FILLED;
    vcpu.set_speculation_policy(policy);
    set_trace(&mut vcpu, trace)?;
    // What is mapped wherever the guest touches something.
    let page: PhysFrame = PhysFrame::alloc_zero()?;

    vcpu.bind()?;
    run_until(&mut vcpu, &mut memory, page.start_paddr(), PORT_YIELD)?;
    count::take();
    let start = timestamp();
    run_until(&mut vcpu, &mut memory, page.start_paddr(), PORT_DONE)?;
    let instructions = timestamp() - start;
    let counts = count::take();
    vcpu.unbind()?;
    Ok(Cost { instructions, counts })
}

#[cfg(feature = "trace")]
fn set_trace(vcpu: &mut Vcpu, exits: Option<usize>) -> Result {
    exits.map_or(Ok(()), |exits| vcpu.set_trace(exits))
}

#[cfg(not(feature = "trace"))]
#[allow(clippy::unnecessary_wraps, reason = "the other build's signature")]
fn set_trace(_: &mut Vcpu, _: Option<usize>) -> Result {
    Ok(())
}

/// The VMM: answers everything, until the guest writes to `last`.
fn run_until(vcpu: &mut Vcpu, memory: &mut GuestMemory, page: PhysAddr, last: u16) -> Result {
    loop {
        match vcpu.run() {
            Ok(VmExit::IoWrite { port, .. }) if port == last => return Ok(()),
            Ok(VmExit::IoWrite { .. } | VmExit::Halt) => {}
            Ok(VmExit::IoRead { .. }) => vcpu.complete_read(0x5A)?,
            Ok(VmExit::Hypercall { .. }) => vcpu.set_return_value(0),
            Ok(VmExit::NestedPageFault(fault)) if fault.gpa & !(PAGE_SIZE - 1) == DEVICE => {
                if let VmExit::MmioRead { .. } = vcpu.decode_mmio()? {
                    vcpu.complete_read(0x5A)?;
                }
            }
            Ok(VmExit::NestedPageFault(fault)) => {
                let address = fault.gpa & !(PAGE_SIZE - 1);
                memory.table().map(address, page, PAGE_SIZE, Permissions::ALL, MemoryType::WriteBack)?;
            }
            Err(error) => return Err(error),
            Ok(other) => {
                println!("unexpected: {other:x?}");
                return Err(Error::BadState("an exit that the bench does not know"));
            }
        }
    }
}

//! The other CPUs: starting them, and giving them work.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{apic, cpu, end, gdt, interrupts};

/// How many CPUs the image can use.
pub const MAX_CPUS: usize = 4;

/// Where a CPU starts; below 1 MiB, and free (see [`memory`](crate::memory)).
const TRAMPOLINE: usize = 0x8000;
const STACK_SIZE: usize = 256 * 1024;

/// How many CPUs run, this one included.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

struct Stacks(UnsafeCell<[Stack; MAX_CPUS]>);

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

// SAFETY: nobody refers to the stacks but the CPUs that run on them, each on its own.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(UnsafeCell::new([const { Stack([0; STACK_SIZE]) }; MAX_CPUS]));

/// The number of this CPU: 0 for the one that booted.
#[percpu::def_percpu]
static NUMBER: usize = 0;

/// A function, and what it is called with.
type Work = (fn(*mut ()), *mut ());

/// What a CPU is asked to do.
struct Job {
    wanted: AtomicBool,
    work: UnsafeCell<Work>,
}

// SAFETY: `work` is written while `wanted` is false and read while it is true, and the flag's release and acquire order
// the two.
unsafe impl Sync for Job {}

static JOBS: [Job; MAX_CPUS] =
    [const { Job { wanted: AtomicBool::new(false), work: UnsafeCell::new((|_| (), ptr::null_mut())) } }; MAX_CPUS];

/// What every CPU needs before it does anything else: its own segments, stacks and variables, and the handlers.
///
/// # Safety
/// Called once per CPU, first of all, with a number that no other CPU uses.
pub unsafe fn init_cpu(number: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        gdt::init(number);
        percpu::init(number);
    }
    interrupts::load();
    cpu::enable_features();
    apic::init();
    // SAFETY: this CPU's own variable, on a CPU that does nothing else.
    unsafe { NUMBER.write_current_raw(number) };
}

/// The number of this CPU.
pub fn number() -> usize {
    // SAFETY: this CPU's own variable, written once.
    unsafe { NUMBER.read_current_raw() }
}

/// How many CPUs run.
pub fn count() -> usize {
    RUNNING.load(Ordering::Acquire)
}

/// Starts CPUs until `wanted` run. Their local APICs are taken to be numbered from 0.
pub fn start(wanted: usize) {
    unsafe extern "C" {
        static trampoline_start: u8;
        static trampoline_end: u8;
        static mut next_stack_end: usize;
    }
    assert!(wanted <= MAX_CPUS, "{MAX_CPUS} CPUs at most");
    for number in 1..wanted {
        // SAFETY: the trampoline's bytes are those between the symbols, and nobody uses its page; the stack is the new
        // CPU's own; CPUs start one at a time, so the variable is not in use.
        unsafe {
            let start = &raw const trampoline_start;
            let length = (&raw const trampoline_end) as usize - start as usize;
            ptr::copy_nonoverlapping(start, TRAMPOLINE as *mut u8, length);
            (&raw mut next_stack_end).write((*STACKS.0.get())[number].0.as_ptr_range().end as usize);
        }
        // SAFETY: the trampoline is there.
        unsafe { apic::start(number as u32, (TRAMPOLINE >> 12) as u8) };

        /// In emulators that count instructions, some milliseconds; otherwise some seconds.
        const PATIENCE: u64 = 10_000_000_000;
        let start = cpu::timestamp();
        while count() <= number {
            if cpu::timestamp() - start > PATIENCE {
                end::failure(format_args!("CPU {number} did not start"));
            }
            spin_loop();
        }
    }
}

/// Where a CPU arrives from the trampoline.
#[unsafe(no_mangle)]
extern "C" fn next_cpu() -> ! {
    let number = count();
    // SAFETY: CPUs start one at a time, so the number is new.
    unsafe { init_cpu(number) };
    RUNNING.store(number + 1, Ordering::Release);
    let job = &JOBS[number];
    loop {
        if job.wanted.load(Ordering::Acquire) {
            // SAFETY: `wanted` is true: the asking CPU has written it, and waits.
            let (function, argument) = unsafe { *job.work.get() };
            function(argument);
            job.wanted.store(false, Ordering::Release);
        }
        spin_loop();
    }
}

/// Lets CPU `number` run `there`, while this one runs `here`; comes back when both are done.
///
/// # Panics
/// When that CPU does not run, or is this one.
pub fn both<A, B: Send>(number: usize, here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
    struct Task<F, B> {
        function: Option<F>,
        result: Option<B>,
    }
    fn run<F: FnOnce() -> B, B>(task: *mut ()) {
        // SAFETY: `both` passes a task of these types, and does not touch it until this is over.
        let task = unsafe { &mut *task.cast::<Task<F, B>>() };
        task.result = task.function.take().map(|function| function());
    }
    fn runner<F: FnOnce() -> B, B>(_: &Task<F, B>) -> fn(*mut ()) {
        run::<F, B>
    }

    assert!(number < count() && number != self::number(), "CPU {number} cannot be asked");
    let mut task = Task { function: Some(there), result: None };
    let function = runner(&task);
    let job = &JOBS[number];
    assert!(!job.wanted.load(Ordering::Acquire), "CPU {number} is busy");
    // SAFETY: `wanted` is false, so that CPU does not read it. The task outlives the job: this waits below, and a panic
    // does not unwind.
    unsafe { *job.work.get() = (function, (&raw mut task).cast()) };
    job.wanted.store(true, Ordering::Release);

    let mine = here();
    while job.wanted.load(Ordering::Acquire) {
        spin_loop();
    }
    // SAFETY: only tells the compiler that memory has changed, through the pointer that was given away.
    unsafe { asm!("", options(nostack, preserves_flags)) };
    (mine, task.result.take().expect("the job has run"))
}

/// Lets CPU `number` run `there`, and waits for it.
pub fn on<B: Send>(number: usize, there: impl FnOnce() -> B + Send) -> B {
    both(number, || (), there).1
}

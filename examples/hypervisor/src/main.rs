//! A small bare-metal hypervisor on `x86_vcpu`. Start reading at `README.md`.

#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod boot;
mod command_line;
mod cpu;
mod end;
mod gdt;
mod guests;
mod heap;
mod interrupts;
mod memory;
mod memory_functions;
mod panic;
mod serial;
mod smp;

/// Where the first CPU arrives from `boot.S`.
#[unsafe(no_mangle)]
extern "C" fn first_cpu(magic: u32, information: u32) -> ! {
    serial::init();
    // SAFETY: straight from the loader.
    let line = unsafe { boot::command_line(magic, information) };
    let request = command_line::parse(line);
    // SAFETY: once, in this order, before any other CPU runs.
    unsafe {
        interrupts::init();
        smp::init_cpu(0);
        heap::init();
    }
    smp::start(request.cpus);
    println!("hello: {line:?}");
    println!("cpus {}", smp::count());
    let x: alloc::vec::Vec<u32> = (0..100).collect();
    println!("sum {}", x.iter().sum::<u32>());
    if smp::count() > 1 {
        let (a, b) = smp::both(1, smp::number, || (smp::number(), apic::id()));
        println!("{a} {b:?}");
    }
    apic::start_timer(100_000);
    for _ in 0..5 { cpu::wait_for_interrupt(); println!("tick {} at {}", interrupts::ticks(), cpu::timestamp()); }
    apic::stop_timer();
    let a = memory::allocate_frames(3); let b = memory::allocate_frames(1);
    println!("{a:x?} {b:x?} {:?}", memory::frame_counts());
    memory::free_frames(a.unwrap(), 3);
    println!("{:x?}", memory::allocate_frames(1));
    if line.contains("fault") { unsafe { core::arch::asm!("ud2") }; }
    if line.contains("panic") { panic!("asked to"); }
    end::success()
}

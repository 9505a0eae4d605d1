//! A small bare-metal hypervisor on `x86_vcpu`. Start reading at `README.md`.

#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod bench;
mod boot;
mod command_line;
mod cpu;
mod end;
mod gdt;
mod guests;
mod heap;
mod interrupts;
mod logger;
mod machine;
mod memory;
mod memory_functions;
mod mutate;
mod panic;
mod scenarios;
mod serial;
mod smp;
mod trace;
mod virtualization;
mod vm;

use alloc::string::{String, ToString};

use command_line::Action;

/// Where the first CPU arrives from `boot.S`.
#[unsafe(no_mangle)]
extern "C" fn first_cpu(magic: u32, information: u32) -> ! {
    serial::init();
    // SAFETY: straight from the loader.
    let handed_over = unsafe { boot::read(magic, information) };
    let request = command_line::parse(handed_over.command_line);
    memory::init(request.host_memory.unwrap_or(handed_over.memory_end), &handed_over.occupied);
    // SAFETY: once, in this order, before any other CPU runs.
    unsafe {
        interrupts::init();
        smp::init_cpu(0);
        heap::init();
    }
    logger::init();
    if let Action::Guest(settings) = &request.action {
        machine::run(settings, handed_over.module);
    }
    match act(request, handed_over.module) {
        Ok(()) => end::success(),
        Err(reason) => end::failure(format_args!("{reason}")),
    }
}

/// Does what the command line asks for.
fn act(request: command_line::Request, module: Option<&[u8]>) -> Result<(), String> {
    if let Action::List = request.action {
        scenarios::list();
        return Ok(());
    }
    let refusal = match virtualization::enable() {
        Ok(()) => None,
        // The library's log says why, in more words than the error.
        Err(_) => Some(logger::take_last()),
    };
    if refusal.is_none() {
        smp::start(request.cpus);
        for number in 1..smp::count() {
            smp::on(number, virtualization::enable).map_err(|error| error.to_string())?;
        }
    }
    match request.action {
        Action::Run(names) => scenarios::run(names, refusal.as_deref())?,
        Action::Bench => match refusal {
            Some(reason) => println!("no bench: {reason}"),
            None => bench::run(request.trace).map_err(|error| error.to_string())?,
        },
        Action::Mutate(settings) => match refusal {
            Some(reason) => println!("no mutations: {reason}"),
            None => mutate::run(&settings)?,
        },
        Action::Suspend | Action::Resume if refusal.is_some() => return Err(refusal.unwrap_or_default()),
        Action::Suspend => scenarios::handover::suspend()?,
        Action::Resume => scenarios::handover::resume(module)?,
        Action::List | Action::Guest(_) => {}
    }
    for number in 1..smp::count() {
        smp::on(number, virtualization::disable).map_err(|error| error.to_string())?;
    }
    Ok(())
}

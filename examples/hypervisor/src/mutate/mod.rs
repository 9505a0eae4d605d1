//! The proof of the entry doctor: state that is valid but for one field, or two, is entered, case by case, and what the CPU
//! says is compared with what `check()` says of the very same state. `docs/testing.md` has the whole of it; `cargo xtask mutate`
//! boots this, again and again where a case takes the machine down, and reads the lines.
//!
//! Two lines for each case: `@17 g 33.0` is its number, the kind of field and what the doctor expects; it is written before the
//! entry, so that the log says which case it was that did not come back. `= 33.0` is what the CPU did. Where the two differ the line
//! goes on with the case itself: the valid state that it starts from, the fields that differ, and the checks that the doctor found
//! broken.

mod doctor;
mod output;
mod random;
mod registers;
mod session;
mod svm;
mod vmx;

use alloc::string::String;
use core::ops::Range;

use output::emit;
use session::Session;

/// The memory that is the harnesses' alone: boots for this have 256 MiB, of which `host_memory=64` leaves the rest of the image 64.
const FREE: Range<usize> = 0x0400_0000..0x1000_0000;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where the random numbers start.
    pub seed: u64,
    /// Random values for each field.
    pub random: u32,
    /// Random pairs of fields of each kind, and random combinations of each subject.
    pub pairs: u32,
    /// The first case and the last one to enter.
    pub from: u32,
    pub to: u32,
    /// Only cases that change this field.
    pub field: Option<&'static str>,
    /// Describe this case, which did not come back.
    pub lost: u32,
    /// Every case in full.
    pub verbose: bool,
}

impl Settings {
    /// Everything, with this much at random.
    pub const DEFAULT: Self =
        Self { seed: 1, random: 2, pairs: 300, from: 1, to: u32::MAX, field: None, lost: 0, verbose: false };

    /// Takes one word of the command line.
    pub fn take(&mut self, key: &str, value: &'static str) {
        fn number<T: TryFrom<u64>>(value: &str, to: &mut T) {
            if let Some(value) = value.parse().ok().and_then(|value: u64| value.try_into().ok()) {
                *to = value;
            }
        }
        match key {
            "seed" => number(value, &mut self.seed),
            "random" => number(value, &mut self.random),
            "pairs" => number(value, &mut self.pairs),
            "from" => number(value, &mut self.from),
            "to" => number(value, &mut self.to),
            "lost" => number(value, &mut self.lost),
            "field" => self.field = Some(value),
            "verbose" => self.verbose = value == "1",
            _ => {}
        }
    }
}

/// Enters the cases.
pub fn run(settings: &Settings) -> Result<(), String> {
    // There nobody has frames: the command line says that memory ends before.
    let free = FREE;
    let count = if x86_vcpu::vmx::has_hardware_support() {
        let mut session = Session::new(vmx::Vmx::new(free)?, settings);
        vmx::cases(&mut session);
        session.count()
    } else {
        let mut session = Session::new(svm::Svm::new(free)?, settings);
        svm::cases(&mut session);
        session.count()
    };
    emit!("END {count}\n");
    Ok(())
}

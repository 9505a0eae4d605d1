//! A panic ends the run as a failure.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::stop;
use crate::end;
use crate::serial::Serial;

/// Set by the first panic: a panic while that one is being reported stops without a word.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        stop();
    }
    // Not through the lock: whoever holds it may be the one that panicked.
    let _ = fmt::write(&mut Serial, format_args!("\n{info}\n"));
    end::failure(format_args!("panic"))
}

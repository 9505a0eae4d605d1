//! The library's log, on ours. It says why something is not possible where an error code alone would not.

use alloc::string::{String, ToString};

use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use crate::println;

struct Logger;

static LAST: Mutex<String> = Mutex::new(String::new());

/// From here on, what the library says is printed.
pub fn init() {
    // Nobody else installs one.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}

/// The last warning or error; empty if there was none since this was asked the last time.
pub fn take_last() -> String {
    core::mem::take(&mut LAST.lock())
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        if record.level() <= Level::Warn {
            *LAST.lock() = record.args().to_string();
        }
        println!("[{}] {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

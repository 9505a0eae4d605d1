//! What is going on right now, on a terminal. Elsewhere only what is done is printed.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// One moving line for each thing that is under way.
#[derive(Clone, Default)]
pub struct Progress {
    all: MultiProgress,
    /// Lines go to standard error: standard output is somebody else's.
    aside: bool,
}

impl Progress {
    /// For commands whose standard output is a guest's.
    pub fn aside() -> Progress {
        Progress { aside: true, ..Progress::default() }
    }

    /// Something that takes a while starts.
    pub fn start(&self, what: &str) -> ProgressBar {
        let bar = self.all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        self.all.suspend(|| if self.aside { eprintln!("{line}") } else { println!("{line}") });
    }
}

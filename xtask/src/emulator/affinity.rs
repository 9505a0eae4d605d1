//! Which CPU of this machine an emulator runs on.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// While it lives, this thread, and each process that it starts, runs on one CPU.
pub struct OneCpu {
    before: CpuSet,
}

impl OneCpu {
    /// Takes the CPUs that there are in turn. `None`: nobody knows which these are, or the system does not allow it.
    pub fn next() -> Option<OneCpu> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);

        let before = sched_getaffinity(None).ok()?;
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| before.is_set(*cpu)).collect();
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).checked_rem(allowed.len())?;
        let mut one = CpuSet::new();
        one.set(*allowed.get(turn)?);
        sched_setaffinity(None, &one).ok()?;
        Some(OneCpu { before })
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        // A thread that stays where it is is slow, and nothing worse.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn allowed_of_a_child() -> String {
        let output = Command::new("grep").args(["Cpus_allowed_list", "/proc/self/status"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_process_started_meanwhile_has_one_cpu() {
        let before = allowed_of_a_child();
        let one = OneCpu::next().unwrap();
        let meanwhile = allowed_of_a_child();
        let list = meanwhile.split(':').nth(1).unwrap().trim();
        assert!(list.parse::<usize>().is_ok(), "{list} is one CPU");
        drop(one);
        assert_eq!(allowed_of_a_child(), before);
    }
}

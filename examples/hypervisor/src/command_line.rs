//! What to do: words of the command line, separated by spaces. Words that are not known are passed over: a loader may
//! put the image's path in front.

use core::ops::Range;

use crate::mutate;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// `cpus=N`: how many CPUs there are.
    pub cpus: usize,
    /// `trace=N`: how many of each vCPU's last exits the bench has kept; the library's default when it is not said.
    pub trace: Option<usize>,
    /// `host_memory=MIB`: where the memory ends that the image may use, whatever the loader says; in bytes.
    pub host_memory: Option<usize>,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// `scenario=NAME,NAME…`: these; `scenario=all`, or nothing: all.
    Run(&'static str),
    /// `list`, or `scenario=list`: print the names of the scenarios.
    List,
    /// `bench`, or `scenario=bench`: measure.
    Bench,
    /// `mutate`: enter broken states and compare with what the doctor says; see [`mutate`](crate::mutate).
    Mutate(mutate::Settings),
    /// `suspend`: stop guests in the middle, and print them.
    Suspend,
    /// `resume`: go on with those that the loader's module holds.
    Resume,
    /// `guest`: run what the loader's module holds as a guest; see [`machine`](crate::machine).
    Guest(Settings),
}

/// The words that describe a guest's machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `memory=MIB`: how much memory it has; in bytes.
    pub memory: usize,
    /// `vcpus=N`: how many vCPUs.
    pub vcpus: usize,
    /// `cpus=N`: how many CPUs the host has.
    pub cpus: usize,
    /// `tsc_khz=N`: the rate of the host's time-stamp counter; measured when it is not said.
    pub tsc_khz: Option<u64>,
    /// `timeout=SECONDS`: how long the guest may run, by its own clock.
    pub timeout: Option<u64>,
    /// `trace=N`, `trace=all`: what is kept and printed of the exits.
    pub trace: Trace,
    /// `save_when=HEX`: the guest is saved when it has written this text (bytes, in hexadecimal digits) on its console; see
    /// [`snapshot`](crate::machine::snapshot).
    pub save_when: Option<&'static str>,
    /// `save_room=MIB`: how much memory there is for that, from where `host_memory=` ends; in bytes.
    pub save_room: Range<usize>,
    /// `common_cpu`: the guest sees the features alone that all machines have; see [`common_cpu`](crate::machine::common_cpu).
    pub common_cpu: bool,
    /// `replace=N`: every N exits the vCPU is saved, dropped, and restored in a new one.
    pub replace: Option<u64>,
}

/// How many exits are kept of each vCPU, and what of them is printed on the log for `cargo xtask trace`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    /// So many; the library's default when it is not said.
    pub exits: Option<usize>,
    /// What is printed.
    #[cfg_attr(not(feature = "trace"), allow(dead_code, reason = "a build without a trace has nothing to print"))]
    pub print: Print,
}

/// What is printed of the exits that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Print {
    /// Nothing, unless the guest comes to a bad end.
    #[default]
    Nothing,
    /// At the end, those that are kept then.
    Last,
    /// All, while the guest runs.
    All,
}

/// What is kept when all are printed: more than there are between two exits that the VMM gets.
const STREAM: usize = 4096;

/// Reads a command line.
pub fn parse(line: &'static str) -> Request {
    const MIB: usize = 1 << 20;
    let mut action = Action::Run("all");
    let mut guest = false;
    let mut mutation = mutate::Settings::DEFAULT;
    let mut mutating = false;
    let mut host_memory = None;
    let mut room = 0;
    let mut settings = Settings {
        memory: 256 * MIB,
        vcpus: 1,
        cpus: 1,
        tsc_khz: None,
        timeout: None,
        trace: Trace::default(),
        save_when: None,
        save_room: 0..0,
        common_cpu: false,
        replace: None,
    };
    for word in line.split_ascii_whitespace() {
        match word.split_once('=') {
            None if word == "list" => action = Action::List,
            None if word == "bench" => action = Action::Bench,
            None if word == "all" => action = Action::Run("all"),
            None if word == "suspend" => action = Action::Suspend,
            None if word == "resume" => action = Action::Resume,
            None if word == "guest" => guest = true,
            None if word == "mutate" => mutating = true,
            None if word == "common_cpu" => settings.common_cpu = true,
            Some(("save_room", size)) => room = size.parse::<usize>().map_or(0, |size| size.saturating_mul(MIB)),
            Some(("save_when", text)) => settings.save_when = Some(text),
            Some(("scenario", "list")) => action = Action::List,
            Some(("scenario", "bench")) => action = Action::Bench,
            Some(("scenario", names)) => action = Action::Run(names),
            Some(("cpus", count)) => settings.cpus = count.parse().unwrap_or(1),
            Some(("vcpus", count)) => settings.vcpus = count.parse().unwrap_or(0),
            Some(("memory", size)) => {
                settings.memory = size.parse::<usize>().map_or(0, |size| size.saturating_mul(MIB))
            }
            Some(("host_memory", size)) => {
                host_memory = size.parse::<usize>().ok().map(|size| size.saturating_mul(MIB))
            }
            Some(("trace", "all")) => settings.trace = Trace { exits: Some(STREAM), print: Print::All },
            Some(("trace", "0")) => settings.trace = Trace { exits: Some(0), print: Print::Nothing },
            Some(("trace", exits)) => settings.trace = Trace { exits: exits.parse().ok(), print: Print::Last },
            Some(("tsc_khz", rate)) => settings.tsc_khz = rate.parse().ok(),
            Some(("timeout", seconds)) => settings.timeout = seconds.parse().ok(),
            Some(("replace", exits)) => settings.replace = exits.parse().ok(),
            Some((key, value)) => mutation.take(key, value),
            None => {}
        }
    }
    let (cpus, trace) = (settings.cpus, settings.trace.exits);
    if mutating {
        action = Action::Mutate(mutation);
    }
    if guest {
        let start = host_memory.unwrap_or(0);
        settings.save_room = start..start.saturating_add(room);
        action = Action::Guest(settings);
    }
    Request { action, cpus, trace, host_memory }
}

//! `cargo xtask run --guest` as people use it: wrong arguments and files, the exit status, pipes, and signals.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::guest::tiny;
use super::{Check, Context};
use crate::command;
use crate::machines::Emulator;
use crate::report::Outcome;
use crate::setup;

/// How long one command may take, building the image included.
const PATIENCE: Duration = Duration::from_secs(900);

pub fn checks() -> Vec<Check> {
    let refusals = |context: &Context| outcome(refusals(context));
    let runs = |context: &Context| outcome(runs(context));
    vec![
        Check::new("run: what cannot be booted is said in one sentence", true, refusals),
        Check::new("run: status, pipes and signals", true, runs),
    ]
}

fn outcome(done: Result<Option<String>>) -> Outcome {
    match done {
        Ok(None) => Outcome::Passed,
        Ok(Some(reason)) => Outcome::Skipped(reason),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// This program again.
fn xtask(arguments: &[&OsStr]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Nothing is started, the status is 2, and the one line on standard error has the reason.
fn refusals(context: &Context) -> Result<Option<String>> {
    let directory = context.repo.scratch("runs/refusals")?;
    let write = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let path = directory.join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let text = write("text", b"not a kernel\n")?;
    let empty = write("empty", b"")?;
    let kernel = write("kernel", &tiny::exit(0))?;
    let large = write("large", &vec![1; 8 << 20])?;
    let directory_itself = directory.clone();
    let absent = directory.join("absent");
    let cases: [(&[&dyn AsRef<OsStr>], &str); 15] = [
        (&[&"--guest", &absent], "cannot read"),
        (&[&"--guest", &directory_itself], "cannot read"),
        (&[&"--guest", &text], "neither a Linux bzImage nor a multiboot 1 image"),
        (&[&"--guest", &empty], "neither a Linux bzImage nor a multiboot 1 image"),
        (&[&"--guest", &kernel, &"--initrd", &text], "no initial RAM disk"),
        (&[&"--guest", &kernel, &"--module", &absent], "cannot read"),
        (&[&"--guest", &kernel, &"--module", &large, &"--memory", &"8"], "does not fit"),
        (&[&"--guest", &kernel, &"--memory", &"lots"], "64, 64M or 1G"),
        (&[&"--guest", &kernel, &"--memory", &"64G"], "2 MiB to 1536 MiB"),
        (&[&"--guest", &kernel, &"--cpus", &"0"], "1 to 8 CPUs"),
        (&[&"--guest", &kernel, &"--on", &"vmware"], "neither bochs[:MODEL] nor qemu[:MODEL]"),
        (&[&"--guest", &kernel, &"--on", &"bochs:pentium_9"], "no CPU model `pentium_9`"),
        (&[&"--guest", &kernel, &"--on", &"qemu:pentium_9"], "no CPU model `pentium_9`"),
        (&[&"--guest", &kernel, &"--scenario", &"real"], "Usage"),
        (&[], "Usage"),
    ];
    let emulators = setup::emulators(&context.progress);
    for (arguments, expected) in cases {
        let arguments: Vec<&OsStr> = arguments.iter().map(|argument| (*argument).as_ref()).collect();
        let needs = |name: &str| arguments.iter().any(|argument| argument.to_string_lossy().starts_with(name));
        let missing = |emulator: Emulator| needs(emulator.name()) && !emulators.has(emulator);
        if missing(Emulator::Bochs) || missing(Emulator::Qemu) {
            continue;
        }
        let ended = command::run(&mut xtask(&arguments)?, PATIENCE, &mut |_| {})?;
        let said = &ended.output;
        ensure!(ended.code == Some(2), "{arguments:?}: status {:?} instead of 2:\n{said}", ended.code);
        ensure!(said.contains(expected), "{arguments:?}: says nothing of `{expected}`:\n{said}");
        let usage = said.contains("For more information") || said.contains("Usage");
        ensure!(usage || said.trim_end().lines().count() == 1, "{arguments:?}: more than one line:\n{said}");
    }
    no_emulator(&kernel)?;
    Ok(None)
}

/// Where neither an emulator nor apt is to be had, that is said.
fn no_emulator(kernel: &Path) -> Result<()> {
    let mut command = xtask(&["--guest".as_ref(), kernel.as_ref()])?;
    let ended = command::run(command.env("PATH", "/nowhere"), PATIENCE, &mut |_| {})?;
    ensure!(ended.code == Some(2), "without emulators: status {:?}:\n{}", ended.code, ended.output);
    ensure!(ended.output.contains("no bochs"), "without emulators:\n{}", ended.output);
    Ok(())
}

/// The guest decides the status; its output alone is on standard output; a signal ends all of it.
fn runs(context: &Context) -> Result<Option<String>> {
    let emulators = setup::emulators(&context.progress);
    if !emulators.has(Emulator::Qemu) {
        return Ok(Some(emulators.reason(Emulator::Qemu)));
    }
    let kernel = context.repo.scratch("runs/pipes")?.join("kernel");
    fs::write(&kernel, tiny::echo())?;
    let arguments: [&OsStr; 6] =
        ["--guest".as_ref(), kernel.as_ref(), "--on".as_ref(), "qemu".as_ref(), "--timeout".as_ref(), "300".as_ref()];

    let mut child = start(&arguments)?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(b"through a pipe\nq")?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(85), "status {} instead of 85:\n{said}", output.status);
    ensure!(output.stdout == b"through a pipe\nq", "standard output is {:?}", String::from_utf8_lossy(&output.stdout));
    ensure!(said.contains("IOIO"), "no table of exits:\n{said}");

    ensure!(ended_by("-TERM", &arguments)? == Some(130), "SIGTERM does not give status 130");
    if setup::program("setpriv").is_some() {
        ensure!(ended_by("-KILL", &arguments)?.is_none(), "SIGKILL gives a status");
    }
    Ok(None)
}

/// Sends a signal while a guest runs, sees the emulator go, and gives the status.
fn ended_by(signal: &str, arguments: &[&OsStr]) -> Result<Option<i32>> {
    let mut child = start(arguments)?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(b"x")?;
    let mut echoed = [0];
    child.stdout.take().context("no standard output")?.read_exact(&mut echoed)?;
    let emulator = children(child.id());
    ensure!(!emulator.is_empty(), "there is no emulator while a guest runs");
    let pid = child.id().to_string();
    command::run(Command::new("kill").args([signal, &pid]), PATIENCE, &mut |_| {})?;
    let code = command::finish(&mut child, Instant::now() + Duration::from_secs(30))?;
    for pid in emulator {
        gone(pid)?;
    }
    Ok(code)
}

fn start(arguments: &[&OsStr]) -> Result<Child> {
    let mut command = xtask(arguments)?;
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Waits a little for the end of a process.
fn gone(pid: u32) -> Result<()> {
    for _ in 0..100 {
        // One that nobody waits for stays listed, as a zombie.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit_once(')').is_none_or(|(_, state)| state.trim_start().starts_with('Z')) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the emulator, process {pid}, is still there")
}

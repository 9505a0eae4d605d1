//! The second half of the demo: an unmodified Linux kernel, from its first instruction to the end of a script.

use std::time::Instant;

use anyhow::{Context, Result};

use super::place;
use crate::guest::debian::Debian;
use crate::guest::exits;
use crate::guest::linux::{Guest, Place};
use crate::guest::transcript::{Phase, Transcript};
use crate::image::Image;
use crate::machines::{Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup::Emulators;

/// How it went.
pub struct Shown {
    pub good: bool,
    /// A line for each boot that went well.
    pub boots: Vec<String>,
}

/// Boots Debian's kernel wherever machines.toml says.
pub fn show(
    repo: &Repo,
    machines: &Machines,
    image: &Image,
    emulators: &Emulators,
    progress: &Progress,
) -> Result<Shown> {
    let mut shown = Shown { good: true, boots: Vec::new() };
    let settings = &machines.linux;
    let guest = match Debian::fetch(repo, progress).and_then(|debian| Guest::new(debian, repo, settings)) {
        Ok(guest) => guest,
        Err(error) => {
            println!("\n== Linux left out: {error:#}");
            return Ok(shown);
        }
    };
    for cpus in settings.cpus.iter().copied() {
        for name in &settings.demo {
            let machine = machines.named(name).with_context(|| format!("no machine {name}"))?;
            let title = title(machine, &guest.debian.release, cpus);
            if !emulators.has(machine.emulator) {
                println!("\n== {title}: left out: {}", emulators.reason(machine.emulator));
                continue;
            }
            println!("\n== {title}");
            let directory = repo.scratch(&format!("runs/demo-{name}-linux-{cpus}"))?;
            let place = Place { machine, image, emulators, settings, cpus, replace: None, directory };
            match one(&guest, &place, progress)? {
                None => shown.boots.push(title),
                Some(problem) => {
                    println!("  {problem}");
                    shown.good = false;
                }
            }
        }
    }
    Ok(shown)
}

fn title(machine: &Machine, release: &str, cpus: u32) -> String {
    let plural = if cpus == 1 { "CPU" } else { "CPUs" };
    format!("Linux {release} with {cpus} {plural} on {} ({})", machine.vendor.title(), place(machine))
}

/// One boot: a moving line while it runs, then what the script printed and the table of exits. Gives what went wrong.
fn one(guest: &Guest, place: &Place, progress: &Progress) -> Result<Option<String>> {
    let started = Instant::now();
    let bar = progress.start(Phase::Silent.name());
    let mut seen = Phase::Silent;
    let booted = guest.boot(place, &mut |phase, line| {
        if phase != seen {
            seen = phase;
            bar.set_prefix(phase.name());
            progress.say(&format!("  {:>6.1} s  {}", started.elapsed().as_secs_f32(), phase.name()));
        }
        bar.set_message(line.to_owned());
    });
    bar.finish_and_clear();
    let (ended, transcript) = booted?;
    print_script(&transcript);
    println!("  {:>6.1} s  {}\n", ended.time.as_secs_f32(), ended.end);
    for line in exits::table(&ended.exits, ended.instructions).lines() {
        println!("  {line}");
    }
    let problem = guest.problem(&ended, &transcript, place.cpus);
    Ok(problem.map(|problem| {
        let last: Vec<&str> = transcript.lines.iter().rev().take(15).rev().map(String::as_str).collect();
        format!("{problem}\n  its last lines:\n{}\n  the image's:\n{}", last.join("\n"), ended.log.trim_end())
    }))
}

/// The feature flags of a CPU are one long line.
const WIDTH: usize = 120;

fn print_script(transcript: &Transcript) {
    for line in transcript.of_script() {
        let mut shown: String = line.chars().take(WIDTH).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        println!("            | {shown}");
    }
}

//! Guests from files on every machine: Linux, and small programs that end in every way there is.

mod ends;
pub mod tiny;

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;
use indicatif::ProgressBar;

use crate::guest::debian::Debian;
use crate::guest::linux::{self, Guest};
use crate::image::Image;
use crate::machines::{Machine, Machines};
use crate::progress::Progress;
use crate::repo::Repo;
use crate::report::Outcome;
use crate::setup::Emulators;

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Debian's kernel, with so many CPUs.
    Linux(u32),
    /// The same, while its vCPUs are saved and restored all the time.
    SavedLinux(u32),
    /// Programs of a few instructions.
    Ends,
}

/// What is booted on `machine`, with names.
pub fn wanted(machines: &Machines, machine: &Machine) -> Vec<(String, What)> {
    if !machines.linux.test.contains(&machine.name) {
        return Vec::new();
    }
    let cpus = machines.linux.cpus.iter();
    let linux = cpus.map(|cpus| (format!("linux-{cpus}"), What::Linux(*cpus)));
    let saved = machines.linux.saved.iter().map(|cpus| (format!("linux-{cpus}-saved"), What::SavedLinux(*cpus)));
    linux.chain(saved).chain([("guest-ends".to_owned(), What::Ends)]).collect()
}

/// Where a boot is done.
pub struct Place<'a> {
    pub repo: &'a Repo,
    pub progress: &'a Progress,
    pub machines: &'a Machines,
    pub machine: &'a Machine,
    pub image: &'a Image,
    pub emulators: &'a Emulators,
    pub directory: PathBuf,
}

/// The guests that several checks share.
#[derive(Default)]
pub struct Guests {
    /// Debian's, or why there is none.
    linux: OnceLock<Result<Guest, String>>,
}

/// How many vCPUs the image says it has replaced.
fn replaced(log: &str) -> usize {
    log.lines().filter(|line| line.ends_with(" times") && line.contains(": replaced ") && !line.contains(" 0 ")).count()
}

impl Guests {
    pub fn check(&self, what: &What, place: &Place, bar: &ProgressBar) -> Result<Outcome> {
        match what {
            What::Ends => ends::check(place),
            What::Linux(cpus) => self.linux(*cpus, None, place, bar),
            What::SavedLinux(cpus) => self.linux(*cpus, Some(place.machines.linux.replace), place, bar),
        }
    }

    fn linux(&self, cpus: u32, replace: Option<u32>, place: &Place, bar: &ProgressBar) -> Result<Outcome> {
        let settings = &place.machines.linux;
        let guest = self.linux.get_or_init(|| {
            let guest =
                Debian::fetch(place.repo, place.progress).and_then(|debian| Guest::new(debian, place.repo, settings));
            guest.map_err(|error| format!("no Linux: {error:#}"))
        });
        let guest = match guest {
            Ok(guest) => guest,
            Err(reason) => return Ok(Outcome::Skipped(reason.clone())),
        };
        let place = linux::Place {
            machine: place.machine,
            image: place.image,
            emulators: place.emulators,
            settings,
            cpus,
            replace,
            directory: place.directory.clone(),
        };
        let (ended, transcript) = guest.boot(&place, &mut |_, line| bar.set_message(line.to_owned()))?;
        let problem = guest.problem(&ended, &transcript, cpus).or_else(|| {
            let kept = replace.is_some() && replaced(&ended.log) != cpus as usize;
            kept.then(|| "a vCPU was never replaced".into())
        });
        Ok(match problem {
            None => Outcome::Passed,
            Some(problem) => {
                let last: Vec<&str> = transcript.lines.iter().rev().take(25).rev().map(String::as_str).collect();
                Outcome::Failed(format!(
                    "{problem}\nthe guest's last lines:\n{}\nthe image's:\n{}",
                    last.join("\n"),
                    ended.log
                ))
            }
        })
    }
}

//! The Linux guest of the demo, the tests and the bench: Debian's kernel with the small initial RAM disk.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};

use super::debian::Debian;
use super::end::End;
use super::initrd;
use super::memory::Mebibytes;
use super::package::{self, Files, Package};
use super::transcript::{Phase, Transcript};
use super::{GuestBoot, GuestEnded};
use crate::image::Image;
use crate::machines::{Linux, Machine};
use crate::repo::Repo;
use crate::setup::Emulators;

/// The guest's memory.
pub const MEMORY: Mebibytes = Mebibytes(256);

/// Debian's kernel as a package; the initial RAM disk is ours and the command line is `command_line` unless `files` has others.
pub fn package(debian: &Debian, repo: &Repo, files: &Files, command_line: &str, memory: Mebibytes) -> Result<Package> {
    let mut files = files.clone();
    files.kernel.clone_from(&debian.kernel);
    if files.initrd.is_none() {
        let path = repo.scratch("debian")?.join("initrd");
        // Whole at every moment: another run may read it.
        let new = path.with_extension(std::process::id().to_string());
        fs::write(&new, initrd::build(debian)?).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path)?;
        files.initrd = Some(path);
    }
    if files.command_line.is_empty() {
        files.command_line = command_line.into();
    }
    Package::read(&files, memory)
}

/// A part of a guest's way, in one boot of the image.
#[derive(Clone, Copy)]
pub struct Leg<'a> {
    /// The guest goes on from there; else it starts.
    pub snapshot: Option<&'a [u8]>,
    pub memory: Mebibytes,
    /// As for [`GuestBoot`].
    pub save_when: Option<&'a str>,
    /// As for [`GuestBoot`].
    pub common_cpu: bool,
}

impl Default for Leg<'_> {
    fn default() -> Self {
        Leg { snapshot: None, memory: MEMORY, save_when: None, common_cpu: false }
    }
}

/// What is booted again and again, on several machines.
pub struct Guest {
    pub debian: Debian,
    package: Package,
}

impl Guest {
    pub fn new(debian: Debian, repo: &Repo, settings: &Linux) -> Result<Guest> {
        let files = Files { kernel: PathBuf::new(), initrd: None, modules: Vec::new(), command_line: String::new() };
        let package = package(&debian, repo, &files, &settings.command_line, MEMORY)?;
        Ok(Guest { debian, package })
    }

    /// Boots it, and shows each line that it prints to `on_line`.
    pub fn boot(
        &self,
        place: &Place,
        on_line: &mut (dyn FnMut(Phase, &str) + Send),
    ) -> Result<(GuestEnded, Transcript)> {
        let mut transcript = Transcript::default();
        let ended = self.run(&Leg::default(), place, &mut transcript, on_line)?;
        Ok((ended, transcript))
    }

    /// Boots it, or goes on with it, until its end or until it is saved; `transcript` goes on, too.
    pub fn run(
        &self,
        leg: &Leg,
        place: &Place,
        transcript: &mut Transcript,
        on_line: &mut (dyn FnMut(Phase, &str) + Send),
    ) -> Result<GuestEnded> {
        let snapshot = leg.snapshot.map(package::of_snapshot).transpose()?;
        let boot = GuestBoot {
            machine: place.machine,
            image: place.image,
            archive: snapshot.as_ref().unwrap_or(&self.package.archive),
            memory: leg.memory,
            cpus: place.cpus,
            limit: Some(place.settings.limit()),
            replace: place.replace,
            save_when: leg.save_when,
            common_cpu: leg.common_cpu,
            directory: place.directory.clone(),
            real_time: false,
            trace: String::new(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        super::boot(&boot, place.emulators, |_| {}, |bytes| transcript.add(bytes, on_line), &mut |_| {})
    }

    /// What is missing in all that the guest has printed.
    pub fn incomplete(&self, transcript: &Transcript, cpus: u32) -> Option<String> {
        transcript.problem(&self.debian.release, cpus)
    }

    /// Why a run was no success; nothing when it was one.
    pub fn problem(&self, ended: &GuestEnded, transcript: &Transcript, cpus: u32) -> Option<String> {
        match &ended.end {
            End::PowerOff => transcript.problem(&self.debian.release, cpus),
            other => Some(format!("{other} ({})", transcript.problem(&self.debian.release, cpus).unwrap_or_default())),
        }
    }
}

/// Where it is booted.
pub struct Place<'a> {
    pub machine: &'a Machine,
    pub image: &'a Image,
    pub emulators: &'a Emulators,
    pub settings: &'a Linux,
    pub cpus: u32,
    /// As for [`GuestBoot`].
    pub replace: Option<u32>,
    pub directory: PathBuf,
}

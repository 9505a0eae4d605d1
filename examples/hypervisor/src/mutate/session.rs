//! Numbers the cases, enters those that are wanted, and writes the lines.

use super::Settings;
use super::doctor::{Opinion, Outcome};
use super::output::emit;
use super::random::Random;

/// A field that differs from the valid state, by its index, and the value that it gets.
pub type Change = (usize, u64);

/// What enters.
pub trait Harness {
    /// What keeps a guest from running.
    type Stop: Copy;

    /// The name of a field.
    fn name(&self, field: usize) -> &'static str;
    /// The name of a valid state.
    fn base(&self, base: usize) -> &'static str;
    /// Makes the state that is to be entered.
    fn prepare(&mut self, base: usize, stop: Self::Stop, changes: &[Change]);
    /// What the doctor says of it.
    fn opinion(&self) -> Opinion;
    /// Enters it.
    fn enter(&mut self) -> Outcome;
}

/// One run over all cases.
pub struct Session<H> {
    pub harness: H,
    pub random: Random,
    pub settings: Settings,
    number: u32,
}

impl<H: Harness> Session<H> {
    pub fn new(harness: H, settings: &Settings) -> Self {
        Self { harness, random: Random::new(settings.seed), settings: *settings, number: 0 }
    }

    /// How many cases there are.
    pub fn count(&self) -> u32 {
        self.number
    }

    /// One case.
    pub fn case(&mut self, kind: char, base: usize, stop: H::Stop, changes: &[Change]) {
        self.number += 1;
        let (number, settings) = (self.number, &self.settings);
        if number == settings.lost {
            self.harness.prepare(base, stop, changes);
            let opinion = self.harness.opinion();
            emit!("LOST {number} {kind} {}", opinion.outcome());
            self.describe(base, changes, &opinion);
        }
        let settings = &self.settings;
        let is_wanted = |(field, _): &Change| settings.field.is_none_or(|name| self.harness.name(*field) == name);
        if !(settings.from..=settings.to).contains(&number)
            || settings.field.is_some() && !changes.iter().any(is_wanted)
        {
            return;
        }
        self.harness.prepare(base, stop, changes);
        let opinion = self.harness.opinion();
        emit!("@{number} {kind} {}\n", opinion.outcome());
        let did = self.harness.enter();
        emit!("= {did}");
        if self.settings.verbose || !opinion.agrees(did) {
            self.describe(base, changes, &opinion);
        } else {
            emit!("\n");
        }
    }

    fn describe(&self, base: usize, changes: &[Change], opinion: &Opinion) {
        emit!(" {}", self.harness.base(base));
        for (field, value) in changes {
            emit!(" {}={value:#x}", self.harness.name(*field));
        }
        emit!(" ! {opinion}\n");
    }
}

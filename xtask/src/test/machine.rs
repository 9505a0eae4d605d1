//! The image's scenarios, each on every machine: one boot, one check.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Context, Wanted, guest, numbers};
use crate::emulator::{self, Boot, Ended, Status};
use crate::goals::Goals;
use crate::image::{self, Image, Variant};
use crate::log::{Log, Scenario, Verdict};
use crate::machines::{self, Emulator, Expected, Machine, Machines, Use};
use crate::mutate;
use crate::report::{Outcome, Report};
use crate::setup::{self, Emulators};
use crate::transcript;

/// What is to be booted.
pub struct Plan {
    machines: Machines,
    goals: Goals,
    transcripts: BTreeMap<String, String>,
    jobs: Vec<Job>,
}

/// One boot.
#[derive(Clone)]
struct Job {
    name: String,
    machine: Machine,
    what: What,
}

#[derive(Clone, PartialEq, Eq)]
enum What {
    /// One scenario alone.
    One(String),
    /// All scenarios in one boot, so that virtual machines follow each other on one CPU.
    All,
    /// The image's scenarios are those that have a transcript.
    List,
    /// The bench gives a row for every exit, in both builds.
    Bench,
    /// Broken states are entered, and the entry doctor is right about them.
    Mutate,
    /// A guest from files.
    Guest(guest::What),
}

impl Plan {
    pub fn new(repo: &crate::repo::Repo, wanted: &Wanted) -> Result<Plan> {
        let machines = Machines::load(repo)?;
        let transcripts = machines::transcripts(repo)?;
        let mut jobs = Vec::new();
        for machine in &machines.machine {
            let quick = machine.is_for(Use::Quick);
            let mut add = |what: What, word: &str, quick: bool| {
                let name = format!("machine: {}/{word}", machine.name);
                if wanted.takes(&name, quick) {
                    jobs.push(Job { name, machine: machine.clone(), what });
                }
            };
            if machine.is_for(Use::Test) {
                if quick {
                    add(What::List, "list", true);
                }
                for scenario in transcripts.keys() {
                    add(What::One(scenario.clone()), scenario, quick);
                }
                add(What::All, "all", quick);
            }
            if machine.is_for(Use::Bench) {
                add(What::Bench, "bench", false);
            }
            if machines.mutate.test.contains(&machine.name) {
                add(What::Mutate, "mutate", machines.mutate.quick.contains(&machine.name));
            }
            for (word, what) in guest::wanted(&machines, machine) {
                add(What::Guest(what), &word, quick);
            }
        }
        Ok(Plan { machines, goals: Goals::load(repo)?, transcripts, jobs })
    }

    pub fn names(&self) -> Vec<&str> {
        self.jobs.iter().map(|job| job.name.as_str()).collect()
    }

    /// Boots everything, as many emulators at a time as there are CPUs.
    pub fn run(&self, context: &Context, report: &mut Report) {
        if self.jobs.is_empty() {
            return;
        }
        let emulators = setup::emulators(&context.progress);
        let mut build = |variant, name: &str| {
            let begun = Instant::now();
            match image::build(context.repo, variant, &context.progress) {
                Ok(image) => {
                    report.add(name, Outcome::Passed, begun.elapsed());
                    Some(image)
                }
                Err(error) => {
                    report.add(name, Outcome::Failed(format!("{error:#}")), begun.elapsed());
                    None
                }
            }
        };
        let plain = build(Variant::Plain, "image: the plain build");
        if plain.is_none() {
            let skipped = Outcome::Counted { passed: 0, failed: 0, skipped: self.jobs.len(), detail: String::new() };
            report.add("machine: everything that boots the image", skipped, Duration::ZERO);
            return;
        }
        let counting = self.jobs.iter().any(|job| job.what == What::Bench);
        let counting = if counting { build(Variant::Counting, "image: the counting build") } else { None };
        let watched = self.jobs.iter().any(|job| match &job.what {
            What::Guest(_) => true,
            What::One(scenario) => self.machines.variant(scenario) == Variant::Watched,
            _ => false,
        });
        let watched =
            if watched { build(Variant::Watched, "image: the build with statistics and a trace") } else { None };
        let guests = guest::Guests::default();
        let bench = Bench { plan: self, context, emulators, plain, counting, watched, guests };
        let workers = thread::available_parallelism().map_or(1, usize::from).min(self.jobs.len());
        let next = AtomicUsize::new(0);
        let (sender, done) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..workers {
                let (sender, next, bench) = (sender.clone(), &next, &bench);
                scope.spawn(move || {
                    while let Some(job) = self.jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let begun = Instant::now();
                        let outcome = bench.check(job).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
                        let _ = sender.send((job, outcome, begun.elapsed()));
                    }
                });
            }
            drop(sender);
            for (job, outcome, time) in done {
                report.add(&job.name, outcome, time);
            }
        });
    }
}

/// Where checks run.
struct Bench<'a> {
    plan: &'a Plan,
    context: &'a Context<'a>,
    emulators: Emulators,
    plain: Option<Image>,
    counting: Option<Image>,
    watched: Option<Image>,
    guests: guest::Guests,
}

impl Bench<'_> {
    fn check(&self, job: &Job) -> Result<Outcome> {
        if !self.emulators.has(job.machine.emulator) {
            return Ok(Outcome::Skipped(self.emulators.reason(job.machine.emulator)));
        }
        let Some(plain) = &self.plain else { return Ok(Outcome::Skipped("the image does not build".into())) };
        let machines = &self.plan.machines;
        Ok(match &job.what {
            What::List => {
                let ended = self.boot(job, plain, "list", 1)?;
                whole(&ended).unwrap_or_else(|| {
                    let known: Vec<(String, u32)> =
                        self.plan.transcripts.keys().map(|name| (name.clone(), machines.cpus(name))).collect();
                    same_names(&Log::parse(&ended.log).names, &known)
                })
            }
            What::One(scenario) => {
                let image = match machines.variant(scenario) {
                    Variant::Watched => self.watched.as_ref(),
                    _ => Some(plain),
                };
                let Some(image) = image else { return Ok(Outcome::Skipped("the image does not build".into())) };
                let ended = self.boot(job, image, &format!("scenario={scenario}"), machines.cpus(scenario))?;
                let transcript = transcript::of_vendor(&self.plan.transcripts[scenario], job.machine.vendor);
                alone(&ended, scenario, &transcript, job.machine.expects(scenario))
            }
            What::All => {
                let cpus = self.cpus_for_all(job);
                let ended = self.boot(job, plain, "scenario=all", cpus)?;
                self.judge_all(job, &ended, cpus)
            }
            What::Mutate => {
                let bar = self.context.progress.start(&job.name);
                let place = mutate::Place {
                    emulators: &self.emulators,
                    image: plain,
                    machine: &job.machine,
                    directory: self.directory(job)?,
                };
                let outcome = mutate::check(self.context.repo, &place, &bar);
                bar.finish_and_clear();
                outcome?
            }
            What::Guest(what) => {
                let Some(image) = &self.watched else {
                    return Ok(Outcome::Skipped("the image does not build".into()));
                };
                let bar = self.context.progress.start(&job.name);
                let place = guest::Place {
                    repo: self.context.repo,
                    progress: &self.context.progress,
                    machines,
                    machine: &job.machine,
                    image,
                    emulators: &self.emulators,
                    directory: self.directory(job)?,
                };
                let outcome = self.guests.check(what, &place, &bar);
                bar.finish_and_clear();
                outcome?
            }
            What::Bench => {
                let Some(counting) = &self.counting else {
                    return Ok(Outcome::Skipped("the image does not build".into()));
                };
                let ended = self.boot(job, plain, "bench", 1)?;
                let counted = self.boot(job, counting, "bench", 1)?;
                whole(&ended).or_else(|| whole(&counted)).unwrap_or_else(|| {
                    numbers::judge(&job.machine, &self.plan.goals, &Log::parse(&ended.log), &Log::parse(&counted.log))
                })
            }
        })
    }

    fn boot(&self, job: &Job, image: &Image, command_line: &str, cpus: u32) -> Result<Ended> {
        let bar = self.context.progress.start(&job.name);
        let boot = Boot {
            machine: &job.machine,
            image,
            command_line,
            cpus,
            memory: emulator::MEMORY,
            limit: Some(self.plan.machines.limit().max(Duration::from_secs(1))),
            directory: self.directory(job)?,
            module: None,
            guest: None,
        };
        let ended = emulator::boot(&boot, &self.emulators, &mut |line| bar.set_message(line.to_owned()));
        bar.finish_and_clear();
        ended
    }

    fn directory(&self, job: &Job) -> Result<PathBuf> {
        let name = job.name.trim_start_matches("machine: ").replace('/', "-");
        self.context.repo.scratch(&format!("runs/{name}"))
    }

    /// How many CPUs the boot of all scenarios has. QEMU repeats itself to the bit with one only; there the scenarios that need
    /// more are skipped in this boot, and run in their own.
    fn cpus_for_all(&self, job: &Job) -> u32 {
        let most = || self.plan.transcripts.keys().map(|scenario| self.plan.machines.cpus(scenario)).max();
        match job.machine.emulator {
            Emulator::Qemu => 1,
            Emulator::Bochs => most().unwrap_or(1),
        }
    }

    /// Every scenario of one boot must have gone as it goes alone.
    fn judge_all(&self, job: &Job, ended: &Ended, cpus: u32) -> Outcome {
        let log = Log::parse(&ended.log);
        if let Some(outcome) = whole(ended) {
            return outcome;
        }
        let outcomes = self.plan.transcripts.iter().map(|(scenario, expected)| {
            let lacks =
                self.plan.machines.variant(scenario) == Variant::Watched || self.plan.machines.cpus(scenario) > cpus;
            let wanted = if lacks { job.machine.expects_without(scenario) } else { job.machine.expects(scenario) };
            let expected = transcript::of_vendor(expected, job.machine.vendor);
            judge(log.scenario(scenario), &expected, wanted, &ended.log)
        });
        outcomes.into_iter().find(|outcome| matches!(outcome, Outcome::Failed(_))).unwrap_or(Outcome::Passed)
    }
}

/// A run that did not come to its end at all.
fn stopped(ended: &Ended) -> Option<Outcome> {
    match &ended.status {
        Status::TimedOut => Some(failure(&format!("no end after {:.0} s", ended.time.as_secs_f32()), &ended.log)),
        // The image says so itself when it ends in failure; then its log knows more.
        Status::Stopped(why) if Log::parse(&ended.log).result.is_none() => Some(failure(why, &ended.log)),
        _ => None,
    }
}

/// A run that was not a success as a whole.
fn whole(ended: &Ended) -> Option<Outcome> {
    stopped(ended).or_else(|| match (&ended.status, Log::parse(&ended.log).result) {
        (Status::Finished, Some(Ok(()))) => None,
        (status, result) => {
            Some(failure(&format!("the run ended with {status:?}, {result:?}{}", failures(&ended.log)), &ended.log))
        }
    })
}

/// The scenarios that failed, with their reasons: they may stand far before the end of the log.
fn failures(log: &str) -> String {
    let log = Log::parse(log);
    let failed = log.scenarios.iter().filter(|scenario| matches!(scenario.verdict, Verdict::Failed(_)));
    failed.map(|scenario| format!("\n{}: {}", scenario.name, scenario.verdict)).collect()
}

/// A run of one scenario: as expected, and a success as a whole.
fn alone(ended: &Ended, scenario: &str, transcript: &str, expected: Expected) -> Outcome {
    if let Some(outcome) = stopped(ended) {
        return outcome;
    }
    match judge(Log::parse(&ended.log).scenario(scenario), transcript, expected, &ended.log) {
        failed @ Outcome::Failed(_) => failed,
        outcome => whole(ended).unwrap_or(outcome),
    }
}

/// One scenario, as its machine and its transcript want it.
fn judge(said: Option<&Scenario>, transcript: &str, expected: Expected, log: &str) -> Outcome {
    let Some(said) = said else { return failure("the image says nothing of this scenario", log) };
    match (&said.verdict, expected) {
        (Verdict::Ok, Expected::Ok) => match transcript::difference(transcript, &said.guest) {
            None => Outcome::Passed,
            Some(difference) => failure(&difference, log),
        },
        (Verdict::Refused(reason), Expected::Refused(text)) if reason.contains(text) => Outcome::Passed,
        (Verdict::Skipped(reason), Expected::Skipped) => Outcome::Skipped(reason.clone()),
        (verdict, Expected::Ok) => failure(&verdict.to_string(), log),
        (verdict, Expected::Refused(text)) => {
            failure(&format!("expected a refusal that names `{text}`, got: {verdict}"), log)
        }
        (verdict, Expected::Skipped) => failure(&format!("expected to be skipped, got: {verdict}"), log),
    }
}

/// The image's scenarios and the transcripts must be the same, with the same number of CPUs.
fn same_names(listed: &[(String, u32)], known: &[(String, u32)]) -> Outcome {
    let mut problems: Vec<String> = Vec::new();
    for (name, cpus) in listed.iter().filter(|scenario| !known.contains(scenario)) {
        problems.push(format!(
            "the image's {name}, which needs {cpus} CPUs, has no transcript or other CPUs in machines.toml"
        ));
    }
    for (name, cpus) in known.iter().filter(|scenario| !listed.contains(scenario)) {
        problems.push(format!("the transcript of {name} on {cpus} CPUs has no such scenario in the image"));
    }
    if problems.is_empty() { Outcome::Passed } else { Outcome::Failed(problems.join("\n")) }
}

/// The reason, and the end of the log.
fn failure(why: &str, log: &str) -> Outcome {
    let lines: Vec<&str> = log.lines().collect();
    Outcome::Failed(format!("{why}\nthe end of the log:\n{}", lines[lines.len().saturating_sub(25)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(verdict: Verdict, guest: &[&str]) -> Scenario {
        Scenario { name: "real".into(), verdict, guest: guest.iter().map(ToString::to_string).collect() }
    }

    fn ended(status: Status, log: &str) -> Ended {
        Ended { status, log: log.into(), time: Duration::ZERO }
    }

    #[test]
    fn a_scenario_needs_its_verdict_and_its_transcript() {
        let good = said(Verdict::Ok, &["a"]);
        assert_eq!(judge(Some(&good), "a\n", Expected::Ok, ""), Outcome::Passed);
        assert!(matches!(judge(Some(&good), "b\n", Expected::Ok, ""), Outcome::Failed(_)));
        assert!(matches!(judge(None, "a\n", Expected::Ok, ""), Outcome::Failed(_)));
        assert!(matches!(
            judge(Some(&said(Verdict::Failed("x".into()), &["a"])), "a\n", Expected::Ok, ""),
            Outcome::Failed(_)
        ));
        assert!(matches!(
            judge(Some(&said(Verdict::Skipped("x".into()), &[])), "", Expected::Ok, ""),
            Outcome::Failed(_)
        ));
    }

    #[test]
    fn a_refusal_must_be_expected_and_name_its_reason() {
        let refused = said(Verdict::Refused("this CPU has no unrestricted guest".into()), &[]);
        assert_eq!(judge(Some(&refused), "a\n", Expected::Refused("unrestricted guest"), ""), Outcome::Passed);
        assert!(matches!(judge(Some(&refused), "a\n", Expected::Refused("EPT"), ""), Outcome::Failed(_)));
        assert!(matches!(judge(Some(&refused), "a\n", Expected::Ok, ""), Outcome::Failed(_)));
        assert!(matches!(
            judge(Some(&said(Verdict::Ok, &["a"])), "a\n", Expected::Refused("EPT"), ""),
            Outcome::Failed(_)
        ));
    }

    #[test]
    fn a_run_is_whole_when_status_and_result_agree() {
        assert_eq!(whole(&ended(Status::Finished, "RESULT: ok\n")), None);
        assert!(whole(&ended(Status::Finished, "")).is_some());
        assert!(whole(&ended(Status::Finished, "RESULT: FAILED x\n")).is_some());
        assert!(whole(&ended(Status::Stopped("x".into()), "RESULT: ok\n")).is_some());
        assert!(whole(&ended(Status::TimedOut, "RESULT: ok\n")).is_some());
        let log = "SCENARIO real: ok\nSCENARIO smp: FAILED late\nRESULT: FAILED 1 of 2\n";
        let Some(Outcome::Failed(text)) = whole(&ended(Status::Stopped("code 35".into()), log)) else {
            panic!("a failure")
        };
        assert!(text.contains("\nsmp: FAILED late\n") && !text.contains("real: ok:"), "{text}");
    }

    #[test]
    fn one_scenario_alone_must_end_well_too() {
        let failed = ended(Status::Stopped("code 35".into()), "SCENARIO real: ok\nRESULT: FAILED frames are missing\n");
        assert!(matches!(alone(&failed, "real", "", Expected::Ok), Outcome::Failed(_)));
        let refused = ended(Status::Finished, "SCENARIO real: REFUSED no EPT\nRESULT: ok\n");
        assert_eq!(alone(&refused, "real", "a\n", Expected::Refused("EPT")), Outcome::Passed);
        let skipped = ended(Status::Finished, "SCENARIO real: SKIPPED why\nRESULT: ok\n");
        assert_eq!(alone(&skipped, "real", "a\n", Expected::Skipped), Outcome::Skipped("why".into()));
        let fine = ended(Status::Finished, "SCENARIO real: ok\nRESULT: ok\n");
        assert_eq!(alone(&fine, "real", "", Expected::Ok), Outcome::Passed);
    }

    #[test]
    fn names_must_agree() {
        let known = [("a".to_owned(), 1), ("b".to_owned(), 2)];
        assert_eq!(same_names(&known, &known), Outcome::Passed);
        assert!(matches!(same_names(&known[..1], &known), Outcome::Failed(_)));
        assert!(matches!(same_names(&known, &known[1..]), Outcome::Failed(_)));
        assert!(matches!(same_names(&[("a".to_owned(), 1), ("b".to_owned(), 1)], &known), Outcome::Failed(_)));
    }
}

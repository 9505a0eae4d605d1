//! The commands of this repository. `cargo xtask help` lists them.

mod bench;
mod command;
mod cpu_time;
mod demo;
mod emulator;
mod flat;
mod goals;
mod guest;
mod image;
mod log;
mod machines;
mod models;
mod mutate;
mod panic_free;
mod progress;
mod repo;
mod report;
mod rom;
mod run;
mod run_guest;
mod setup;
mod size;
mod test;
mod toolchain;
mod trace;
mod transcript;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The commands of this repository")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up what is missing and watch guests of all three modes, and Debian's Linux, run on Intel VMX and on AMD SVM
    Demo {
        /// Without Linux, which takes minutes
        #[arg(long)]
        quick: bool,
    },
    /// Run everything that CI runs
    Test {
        /// Only the part that runs in under five minutes
        #[arg(long)]
        quick: bool,
        /// Say what would run, and run nothing
        #[arg(long)]
        list: bool,
        /// Only checks whose name contains this
        filter: Option<String>,
    },
    /// Count what a round trip costs, on every model
    Bench {
        /// Write the rows to this file as well
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Only machines whose name contains this
        #[arg(long, value_name = "NAME")]
        on: Option<String>,
        /// In a build with these features of the library: what they cost
        #[arg(long, value_name = "FEATURES", value_delimiter = ',', conflicts_with_all = ["linux", "cost"])]
        with: Vec<bench::Feature>,
        /// In a build that can record exits: with nothing recorded (0), or with so many of the last ones
        #[arg(long, value_name = "N", conflicts_with_all = ["linux", "cost"])]
        trace: Option<usize>,
        /// Only what a boot of Linux costs, bare and as a guest
        #[arg(long)]
        linux: bool,
        /// Only what building costs: dependencies, generated code, rebuilds
        #[arg(long)]
        cost: bool,
        /// Write what building costs to this file
        #[arg(long, value_name = "FILE")]
        cost_json: Option<PathBuf>,
    },
    /// Enter broken states and compare what the CPU says with what the entry doctor says
    Mutate(mutate::Arguments),
    /// Show what `run --guest … --trace FILE` has saved of a guest's exits
    Trace(trace::Arguments),
    /// Boot a kernel from a file as a guest, or one scenario of the image
    #[command(after_help = guest::end::STATUSES)]
    Run(Box<run::Arguments>),
}

fn main() -> ExitCode {
    if let Some(code) = bench::cost::wrapper::run_if_asked() {
        return code;
    }
    let cli = Cli::parse();
    let repo = match repo::Repo::find() {
        Ok(repo) => repo,
        Err(error) => return failed(&error),
    };
    let done = match cli.command {
        Task::Demo { quick } => demo::demo(&repo, quick),
        Task::Test { quick, list, filter } => test::test(&repo, &test::Wanted { quick, list, filter }),
        Task::Bench { cost: true, cost_json, .. } => bench::cost::cost(&repo, cost_json.as_deref()).map(|()| true),
        Task::Bench { linux: true, .. } => bench::linux::bench(&repo).map(|()| true),
        Task::Bench { json, on, with, trace, cost_json, .. } => {
            let with = bench::Feature::all(&with, trace);
            let wanted = bench::Wanted { json: json.as_deref(), on: on.as_deref(), with, trace };
            let mut good = bench::bench(&repo, &wanted);
            // The rest is about no machine, and about the plain build.
            let plain = with == image::Features::default();
            if plain && on.is_none() {
                good = good.and_then(|good| bench::linux::bench(&repo).map(|()| good));
            }
            if plain && (on.is_none() || cost_json.is_some()) {
                good = good.and_then(|good| bench::cost::cost(&repo, cost_json.as_deref()).map(|()| good));
            }
            good
        }
        Task::Mutate(arguments) => mutate::main(&repo, &arguments),
        Task::Trace(arguments) => trace::main(&repo, &arguments).map(|()| true),
        Task::Run(arguments) => return run::main(&repo, *arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

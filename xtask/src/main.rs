//! The commands of this repository. `cargo xtask help` lists them.

mod bench;
mod command;
mod cpu_time;
mod demo;
mod emulator;
mod flat;
mod goals;
mod image;
mod log;
mod machines;
mod panic_free;
mod progress;
mod repo;
mod report;
mod rom;
mod run;
mod setup;
mod size;
mod test;
mod toolchain;
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
    /// Set up what is missing and watch guests of all three modes run on Intel VMX and on AMD SVM
    Demo,
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
        /// Only what building costs: dependencies, generated code, rebuilds
        #[arg(long)]
        cost: bool,
        /// Write what building costs to this file
        #[arg(long, value_name = "FILE")]
        cost_json: Option<PathBuf>,
    },
    /// Boot one scenario and show its raw log
    Run {
        /// Its name; or `all`, `list` (the names), `bench`, `bench-count` (the counting build's bench)
        #[arg(long, value_name = "NAME")]
        scenario: String,
        /// Where: bochs[:MODEL], qemu[:MODEL], or a name of tests/machine/machines.toml
        #[arg(long, value_name = "EMULATOR[:MODEL]", default_value = "bochs")]
        on: String,
        /// Host CPUs
        #[arg(long, default_value_t = 1)]
        cpus: u32,
        /// Seconds until the emulator is killed
        #[arg(long, default_value_t = 60)]
        limit: u64,
    },
}

fn main() -> ExitCode {
    if let Some(code) = bench::cost::wrapper::run_if_asked() {
        return code;
    }
    let cli = Cli::parse();
    let done = repo::Repo::find().and_then(|repo| match cli.command {
        Task::Demo => demo::demo(&repo),
        Task::Test { quick, list, filter } => test::test(&repo, &test::Wanted { quick, list, filter }),
        Task::Bench { cost: true, cost_json, .. } => bench::cost::cost(&repo, cost_json.as_deref()).map(|()| true),
        Task::Bench { json, on, cost_json, .. } => {
            let good = bench::bench(&repo, json.as_deref(), on.as_deref());
            good.and_then(|good| bench::cost::cost(&repo, cost_json.as_deref()).map(|()| good))
        }
        Task::Run { scenario, on, cpus, limit } => run::run(&repo, &run::Wanted { scenario, on, cpus, limit }),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

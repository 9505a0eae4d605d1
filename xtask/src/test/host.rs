//! What runs on the host: format, lints, tables, builds of every feature set, tests, documentation.

use std::process::Command;

use super::cargo::{explain, run, succeeds, succeeds_without_warnings, tests};
use super::{Check, Context};
use crate::image::{self, Variant};
use crate::report::Outcome;
use crate::toolchain;

/// The workspaces, each with its own lock file and settings, and what of them `cargo fmt` is told to look at: `--all`
/// follows path dependencies out of a workspace.
const WORKSPACES: [(&str, &str); 7] = [
    (".", "--all"),
    (image::DIRECTORY, "--package hypervisor --package rom --package percpu"),
    ("compat", "--all"),
    ("tests/outside/core", ""),
    ("tests/outside/custom", ""),
    ("tests/outside/default", ""),
    ("tests/outside/panic_free", ""),
];

/// The feature sets that must build without a warning. The flag says which are part of `--quick`.
const FEATURE_SETS: [(&str, bool); 12] = [
    ("", true),
    ("--no-default-features", false),
    ("--no-default-features --features vmx", false),
    ("--no-default-features --features amd", false),
    ("--no-default-features --features vmx,amd", false),
    ("--no-default-features --features amd,axvcpu", true),
    ("--features amd", false),
    ("--no-default-features --features vmx,statistics", false),
    ("--no-default-features --features amd,trace", false),
    ("--no-default-features --features amd,replay", false),
    ("--features axvisor", false),
    ("--all-features", false),
];

/// The packages and features whose tests run.
const TESTS: [(&str, bool); 6] = [
    ("xtask", true),
    ("x86_vcpu_codegen --features cli", true),
    ("x86_vcpu --features amd,serde,statistics,trace,replay", true),
    ("x86_vcpu", false),
    ("x86_vcpu --no-default-features --features vmx", false),
    ("x86_vcpu --no-default-features --features amd", false),
];

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (workspace, packages) in WORKSPACES {
        checks.push(Check::new(format!("format: {workspace}"), true, move |context| {
            format(context, workspace, packages)
        }));
    }
    checks.push(Check::new("tables: cargo spec check", true, |context| {
        let mut command = context.repo.cargo(".");
        command.args([
            "run",
            "--quiet",
            "--package",
            "x86_vcpu_codegen",
            "--features",
            "cli",
            "--bin",
            "x86-vcpu-spec",
            "--",
            "check",
        ]);
        succeeds(context, "cargo spec check", &mut command)
    }));
    for (features, quick) in FEATURE_SETS {
        let name = if features.is_empty() { "default" } else { features };
        checks.push(Check::new(format!("build: {name}"), quick, move |context| {
            let mut command = context.repo.cargo(".");
            command.args(["build", "--package", "x86_vcpu"]).args(features.split_whitespace());
            succeeds_without_warnings(context, "cargo build", &mut command)
        }));
    }
    for (features, quick) in
        [("", false), ("--no-default-features --features vmx,amd", false), ("--all-features", true)]
    {
        let name = if features.is_empty() { "default" } else { features };
        checks.push(Check::new(format!("clippy: {name}"), quick, move |context| {
            let mut command = context.repo.cargo(".");
            command.args(["clippy", "--workspace", "--all-targets"]).args(features.split_whitespace());
            clippy(context, &mut command)
        }));
    }
    checks.push(Check::new("clippy: the image", true, |context| {
        clippy(context, image::command(context.repo, "clippy", Variant::Plain).args(["--release", "--workspace"]))
    }));
    for (packages, quick) in TESTS {
        checks.push(Check::new(format!("tests: {packages}"), quick, move |context| {
            let mut command = context.repo.cargo(".");
            command.args(["test", "--no-fail-fast", "--package"]).args(packages.split_whitespace());
            tests(context, "cargo test", &mut command)
        }));
    }
    checks.push(Check::new("docs: without warnings", true, |context| {
        let mut command = context.repo.cargo(".");
        command.args(["doc", "--workspace", "--exclude", "xtask", "--all-features", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        succeeds_without_warnings(context, "cargo doc", &mut command)
    }));
    checks.push(Check::new("build: the library needs nothing of the command", true, library_alone));
    checks.push(oldest_compiler());
    checks
}

/// The library takes the generator without its default feature: a build loads and emits tables, and parses no arguments.
fn library_alone(context: &Context) -> Outcome {
    let mut command = context.repo.cargo(".");
    command.args(["tree", "--package", "x86_vcpu", "--all-features", "--edges", "normal,build", "--prefix", "none"]);
    match run(context, "cargo tree", &mut command) {
        Ok(ended) if !ended.success() => Outcome::Failed(explain(&command, &ended)),
        Ok(ended) => match ended.output.lines().find(|line| line.starts_with("clap v") || line.starts_with("csv v")) {
            Some(line) => Outcome::Failed(format!("a build of x86_vcpu builds {line}")),
            None => Outcome::Passed,
        },
        Err(error) => Outcome::Failed(error),
    }
}

/// The promise of `rust-version`: clippy's `incompatible_msrv` watches the library's own names; this one builds.
fn oldest_compiler() -> Check {
    let (major, minor) = toolchain::OLDEST;
    Check::new(format!("build: with Rust {major}.{minor}"), false, move |context| {
        let Some(toolchain) = toolchain::oldest_installed() else {
            return Outcome::Skipped(format!("no toolchain {major}.{minor} is installed"));
        };
        let mut command = Command::new("cargo");
        command.current_dir(&context.repo.root).arg(format!("+{toolchain}")).args([
            "build",
            "--package",
            "x86_vcpu",
            "--features",
            "amd",
        ]);
        command.env("CARGO_TARGET_DIR", context.repo.target.join("oldest")).env_remove("RUSTUP_TOOLCHAIN");
        succeeds_without_warnings(context, "cargo build", &mut command)
    })
}

fn format(context: &Context, workspace: &str, packages: &str) -> Outcome {
    if let Err(reason) = toolchain::component("rustfmt", &context.progress) {
        return Outcome::Skipped(reason);
    }
    let mut command = context.repo.cargo(workspace);
    succeeds(
        context,
        "cargo fmt",
        command.args(["fmt", "--check"]).args(packages.split_whitespace()).args(["--", "--color", "never"]),
    )
}

fn clippy(context: &Context, command: &mut Command) -> Outcome {
    if let Err(reason) = toolchain::component("clippy", &context.progress) {
        return Outcome::Skipped(reason);
    }
    succeeds_without_warnings(context, "cargo clippy", command.args(["--", "-D", "warnings"]))
}

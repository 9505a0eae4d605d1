//! The atlas in a real browser, from a disk: `atlas.html` opens its pages in frames and says what holds of them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::cargo::{explain, run};
use super::{Check, Context};
use crate::command;
use crate::report::Outcome;
use crate::setup;

/// Longer than the browser takes on two busy cores.
const LIMIT: Duration = Duration::from_secs(240);

pub fn checks() -> Vec<Check> {
    vec![Check::new("atlas: in a browser", false, |context| match setup::chromium(&context.progress) {
        Err(reason) => Outcome::Skipped(reason),
        Ok(browser) => {
            match runs(context, &browser).and_then(|runs| runs.then(|| judge(context, &browser)).transpose()) {
                Ok(Some(())) => Outcome::Passed,
                Ok(None) => Outcome::Skipped(format!("{} shows no page here", browser.display())),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            }
        }
    })]
}

/// Whether the browser shows anything: not every container lets it.
fn runs(context: &Context, browser: &Path) -> Result<bool> {
    let page = context.repo.scratch("atlas")?.join("hello.html");
    fs::write(&page, "<!doctype html><title>hello</title><p id=hello>hello")?;
    let mut command = headless(context, browser)?;
    command.args(["--dump-dom".to_owned(), address(&page)]);
    let ended = command::run(&mut command, LIMIT, &mut |_| {}).context("the browser")?;
    Ok(ended.output.contains("<p id=\"hello\">"))
}

/// The browser without a window.
fn headless(context: &Context, browser: &Path) -> Result<Command> {
    let mut command = Command::new(browser);
    // It reads nothing but our own files, and its sandbox asks for more than containers and root have; nor have containers much
    // shared memory. The page that judges looks into the others, which browsers refuse between files unless told so.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--allow-file-access-from-files", "--enable-logging=stderr"]);
    command.arg(format!("--user-data-dir={}", context.repo.scratch("atlas")?.join("profile").display()));
    Ok(command)
}

fn judge(context: &Context, browser: &Path) -> Result<()> {
    let scratch = context.repo.scratch("atlas")?;
    let site = scratch.join("site");
    let mut write = context.repo.cargo(".");
    write.args(["run", "--quiet", "--package", "x86_vcpu_codegen", "--features", "cli", "--bin", "x86-vcpu-spec"]);
    write.args(["--", "atlas", "--out"]).arg(&site);
    let ended = run(context, "cargo spec atlas", &mut write).map_err(anyhow::Error::msg)?;
    ensure!(ended.success(), explain(&write, &ended));

    let page = scratch.join("atlas.html");
    fs::write(&page, include_str!("atlas.html"))?;
    let address = format!("{}?{}#{}", address(&page), address(&site), pages(&site)?.join(","));
    let mut command = headless(context, browser)?;
    command.args(["--virtual-time-budget=120000", "--dump-dom"]).arg(address);
    let ended = command::run(&mut command, LIMIT, &mut |_| {}).context("the browser")?;
    let wrong = wrong(&ended.output);
    ensure!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.join("\n"),
        if ended.timed_out { "(stopped: the time limit)" } else { "" }
    );
    Ok(())
}

/// The names of the pages.
fn pages(site: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(site)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.ends_with(".html"));
    names.sort();
    Ok(names)
}

/// What does not hold, what the pages complain of, and whether the end was not reached.
fn wrong(output: &str) -> Vec<String> {
    // The first line of the result stands behind the tag that opens it.
    let lines = || output.lines().map(|line| line.rsplit_once("<pre id=\"result\">").map_or(line, |(_, rest)| rest));
    let mut wrong: Vec<_> =
        lines().filter(|line| line.starts_with("FAIL ") || line.contains("CONSOLE")).map(str::to_owned).collect();
    let held = lines().filter(|line| line.starts_with("ok ")).count();
    if held == 0 || !lines().any(|line| line == "done") {
        let end = output.lines().rev().take(20).collect::<Vec<_>>();
        wrong.push(format!("the page did not come to its end; the last lines, backwards:\n{}", end.join("\n")));
    }
    wrong
}

/// The address of a file.
fn address(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let text = path.to_string_lossy();
    let escaped =
        text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    format!("file://{}", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_told() {
        assert_eq!(wrong("<body><pre id=\"result\">ok a\nok b\ndone\n</pre>"), [""; 0]);
        assert_eq!(wrong("<pre id=\"result\">FAIL a\nok b\ndone\n"), ["FAIL a"]);
        assert_eq!(wrong("[1:ERROR:CONSOLE(3)] x\nok b\ndone\n").len(), 1);
        assert_eq!(wrong("ok a\n").len(), 1);
        assert_eq!(wrong("done\n").len(), 1);
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(address(Path::new("/a b/c#d")), "file:///a%20b/c%23d");
    }
}

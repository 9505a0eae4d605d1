//! Running programs: their lines as they come, and a time limit that is kept.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How a program ended.
pub struct Ended {
    /// Its exit code; none when it was killed.
    pub code: Option<i32>,
    /// The time limit was reached.
    pub timed_out: bool,
    /// What it wrote to both outputs, in the order of arrival.
    pub output: String,
}

impl Ended {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The end of the output, for a report.
    pub fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.output.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Runs `command`, shows each line to `on_line`, and kills it after `limit`.
pub fn run(command: &mut Command, limit: Duration, on_line: &mut dyn FnMut(&str)) -> Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);
    let deadline = Instant::now() + limit;
    let mut output = String::new();
    let timed_out = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                on_line(&line);
                output.push_str(&line);
                output.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    let code = finish(&mut child, if timed_out { Instant::now() } else { deadline })?;
    Ok(Ended { code, timed_out, output })
}

/// Runs `command` and gives its output, when it can be run and succeeds.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for `child` until `deadline`, then kills it. Bochs does not end on SIGTERM: `Child::kill` sends SIGKILL.
pub fn finish(child: &mut Child, deadline: Instant) -> Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn forward(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read != 0) {
            let text = String::from_utf8_lossy(&line);
            if lines.send(text.trim_end_matches(['\r', '\n']).into()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Ended {
        run(Command::new("sh").args(["-c", script]), limit, &mut |_| {}).expect("sh runs")
    }

    #[test]
    fn output_and_code_are_kept() {
        let ended = shell("echo one; echo two >&2; exit 3", Duration::from_secs(10));
        assert_eq!(ended.code, Some(3));
        assert!(ended.output.contains("one\n") && ended.output.contains("two\n"));
        assert!(!ended.timed_out);
    }

    #[test]
    fn a_limit_is_kept() {
        let started = Instant::now();
        let ended = shell("trap '' TERM; while :; do :; done", Duration::from_millis(100));
        assert!(ended.timed_out && ended.code.is_none());
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn the_tail_is_the_end() {
        let ended = Ended { code: None, timed_out: false, output: "a\nb\nc\n".into() };
        assert_eq!(ended.tail(2), "b\nc");
        assert_eq!(ended.tail(9), "a\nb\nc");
    }
}

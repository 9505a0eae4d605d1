//! Running poppler's programs: `pdfinfo` for the number of pages, `pdftotext` for the words.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::{Page, xhtml};
use crate::audit::read::{Input, Progress, ReadError};

const INSTALL: &str =
    "install poppler: `apt install poppler-utils`, `dnf install poppler-utils` or `brew install poppler`";
/// What one run reads: enough that starting the program costs nothing, few enough that who waits sees something move.
const AT_ONCE: u32 = 60;

/// All pages, several runs at a time.
pub fn pages(input: &Input, progress: Progress) -> Result<Vec<Page>, ReadError> {
    let all = count(input, "pdfinfo")?;
    let ranges: Vec<u32> = (1..=all).step_by(AT_ONCE as usize).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from).min(ranges.len()).max(1);
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let send = send.clone();
            let (next, done, ranges) = (&next, &done, &ranges);
            scope.spawn(move || {
                while let Some(&first) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let last = all.min(first.saturating_add(AT_ONCE - 1));
                    let pages = range(input, first, last);
                    if pages.is_err() {
                        next.store(ranges.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push((first, pages));
                    }
                    let _ = send.send(last - first + 1);
                }
            });
        }
        drop(send);
        let mut so_far = 0;
        for pages in receive {
            so_far += pages as usize;
            progress("pages", so_far, all as usize);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(first, _)| *first);
    let mut pages = Vec::with_capacity(all as usize);
    for (_, some) in done {
        pages.extend(some?);
    }
    Ok(pages)
}

/// Some of the pages; fewer when the document ends before.
pub fn range(input: &Input, first: u32, last: u32) -> Result<Vec<Page>, ReadError> {
    let numbers = [first.to_string(), last.to_string()];
    let [from, to] = [&numbers[0], &numbers[1]].map(String::as_str);
    let path = argument(input.path);
    let arguments = [Path::new("-bbox"), "-f".as_ref(), from.as_ref(), "-l".as_ref(), to.as_ref(), &path, "-".as_ref()];
    Ok(xhtml::pages(&run(input, "pdftotext", &arguments)?, first))
}

/// How many pages there are.
fn count(input: &Input, program: &str) -> Result<u32, ReadError> {
    let text = run(input, program, &[&argument(input.path)])?;
    let pages = text.lines().find_map(|line| line.strip_prefix("Pages:")).and_then(|pages| pages.trim().parse().ok());
    pages
        .filter(|&pages| pages > 0)
        .ok_or_else(|| input.error("has no pages", "the file is damaged: download it again"))
}

/// A path that no program takes for an option.
fn argument(path: &Path) -> PathBuf {
    if path.is_absolute() { path.into() } else { Path::new(".").join(path) }
}

fn run(input: &Input, program: &str, arguments: &[&Path]) -> Result<String, ReadError> {
    let result = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = match result {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("to read a PDF takes the program `{program}`, which is not here");
            return Err(input.error(&message, INSTALL));
        }
        Err(error) => return Err(input.error(&format!("cannot start `{program}`: {error}"), INSTALL)),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(failure(input, program, &said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the program means by what it says.
fn failure(input: &Input, program: &str, said: &str) -> ReadError {
    if said.contains("ncorrect password") || said.contains("ncrypt") {
        return input.error("asks for a password", "save a copy without one: `qpdf --decrypt --password=… IN OUT`");
    }
    if said.contains("Copying of text") {
        return input.error("does not allow that its text is copied", "save a copy that does: `qpdf --decrypt IN OUT`");
    }
    let Some(reason) = said.lines().last() else {
        return input.error(&format!("`{program}` fails and does not say why"), "try a newer poppler");
    };
    input.error(&format!("is a damaged PDF: {reason}"), "download it again; compare its size with that of the original")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_install() {
        let input = Input { path: Path::new("some.pdf"), bytes: b"%PDF-1.4" };
        let error = count(&input, "pdfinfo-that-nobody-has").unwrap_err();
        assert!(error.message.contains("pdfinfo-that-nobody-has"), "{error}");
        assert!(error.help.unwrap().contains("poppler-utils"));
    }

    #[test]
    fn no_path_is_an_option() {
        assert_eq!(argument(Path::new("-f")), Path::new("./-f"));
    }
}

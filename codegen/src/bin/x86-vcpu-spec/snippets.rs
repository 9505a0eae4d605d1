//! Mistakes with the lines that they are about.

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use x86_vcpu_codegen::model::{FileId, Sources, Span};
use x86_vcpu_codegen::{Diagnostic, Diagnostics};

use crate::output;

/// The lines of so many mistakes are shown: each is found by reading its file from the start.
const SHOWN: usize = 100;

/// No table is as long, nor is a line of one that is worth showing.
const LONGEST_FILE: usize = 256 << 10;
const LONGEST_LINE: usize = 1000;

/// All mistakes, in plain lines or each with its places shown; and how many there are.
pub fn render(errors: &Diagnostics, pretty: bool) -> String {
    let mut text = String::new();
    for (index, error) in errors.list.iter().enumerate() {
        let plain = error.plain(&errors.sources).to_string();
        if pretty && index < SHOWN && can_be_shown(error, &errors.sources) {
            // What reads a pipe looks for lines of this form; on a terminal it would be said twice.
            if !output::is_terminal() {
                text.push_str(plain.lines().next().unwrap_or_default());
                text.push('\n');
            }
            text.push_str(&shown(error, &errors.sources));
            text.push_str("\n\n");
        } else {
            text.push_str(&plain);
        }
    }
    let count = errors.list.len();
    text + &format!("{count} {}\n", if count == 1 { "mistake" } else { "mistakes" })
}

/// Whether the lines of a mistake are such as a reader wants to see.
fn can_be_shown(error: &Diagnostic, sources: &Sources) -> bool {
    let spans = error.related.iter().map(|(span, _)| *span).chain([error.span]);
    spans.into_iter().all(|span| {
        let text = sources.text(span.file);
        text.len() <= LONGEST_FILE && text.lines().all(|line| line.len() <= LONGEST_LINE)
    })
}

fn shown(error: &Diagnostic, sources: &Sources) -> String {
    let mut group =
        Level::ERROR.primary_title(error.message.as_str()).element(snippet(error, error.span.file, sources));
    let mut files: Vec<_> = error.related.iter().map(|(span, _)| span.file).filter(|f| *f != error.span.file).collect();
    files.dedup();
    for file in files {
        group = group.element(snippet(error, file, sources));
    }
    if let Some(help) = &error.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::styled().render(&[group])
}

/// The places of one file.
fn snippet<'a>(error: &'a Diagnostic, file: FileId, sources: &'a Sources) -> Snippet<'a, Annotation<'a>> {
    let text = sources.text(file);
    let mut snippet = Snippet::source(text).path(sources.path(file));
    if error.span.file == file {
        let here = AnnotationKind::Primary.span(range(error.span, text));
        let label = (!error.label.is_empty()).then_some(error.label.as_str());
        snippet = snippet.annotation(here.label(label));
    }
    for (span, label) in error.related.iter().filter(|(span, _)| span.file == file) {
        snippet = snippet.annotation(AnnotationKind::Context.span(range(*span, text)).label(label.as_str()));
    }
    snippet
}

/// The bytes of a place, within the text.
fn range(span: Span, text: &str) -> std::ops::Range<usize> {
    let (start, end) = (span.start as usize, span.end as usize);
    start.min(text.len())..end.min(text.len())
}

//! C headers of hypervisors, emulators and kernels: second opinions on numbers.
//!
//! What is read are macros, enumerations and the layout of structures; functions are passed over. `c_header_tables` knows
//! which names are which tables.

use std::path::{Path, PathBuf};

use super::c_expr::{Fault, Macro, Symbols, Tok, Token, lex};
use super::c_header_structs::{Struct, struct_at};
use super::c_header_tables::{WORDS, tables};
use super::{Input, Progress, ReadError, Reader};
use crate::audit::source::{Identity, Source, Standing};

/// What of C is read.
pub(super) const READER: Reader = Reader { what: "a C header with VMX, SVM or MSR constants", recognises, read };

/// What a header defines, in its order.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) macros: Vec<Macro>,
    pub(super) enums: Vec<Enum>,
    /// Those of included headers first.
    pub(super) structs: Vec<Struct>,
    /// What names mean; those of included headers too.
    pub(super) symbols: Symbols,
}

/// An enumeration.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: Option<String>,
    pub(super) constants: Vec<Enumerator>,
}

/// A constant of an enumeration.
#[derive(Debug)]
pub(super) struct Enumerator {
    pub(super) name: String,
    pub(super) line: u32,
    /// The value, or why nobody knows it.
    pub(super) value: Result<i128, String>,
}

fn recognises(input: &Input) -> bool {
    let Ok(text) = std::str::from_utf8(input.bytes) else {
        return false;
    };
    let directive = |line: &str| ["#define", "#ifndef", "# define"].iter().any(|word| line.starts_with(word));
    text.lines().any(|line| directive(line.trim_start())) && WORDS.iter().any(|word| text.contains(word))
}

fn read(input: &Input, _: Progress) -> Result<Source, ReadError> {
    let error =
        |message: String, help: &str| ReadError { path: input.path.to_owned(), message, help: Some(help.to_owned()) };
    let text = std::str::from_utf8(input.bytes).map_err(|_| error("not a text".to_owned(), "give a C header"))?;
    let fault = |fault: Fault| {
        error(
            format!("line {}: {}", fault.line, fault.message),
            "is the file whole? Only headers that compile can be read",
        )
    };
    let (symbols, structs) = included(input.path, text);
    let header = Header::parse(text, symbols, structs).map_err(fault)?;
    let (tables, unreadable) = tables(&header);
    if tables.is_empty() {
        let message = "a C header, but none of its constants belong to a table of VMX, SVM or MSRs".to_owned();
        return Err(error(message, "vmx.h, svm.h, vmcs.h, vmcb.h, msr-index.h and vmxfeatures.h have such"));
    }
    let (id, title) = origin(text);
    Ok(Source {
        path: input.path.display().to_string(),
        title: title.to_owned(),
        standing: Standing::Other,
        identity: Identity { id: id.map(str::to_owned), revision: revision(input.path), ..Identity::default() },
        tables,
        unreadable,
    })
}

/// Whose header it is: what it says, the `id` among documents, and a title.
const ORIGINS: [(&str, Option<&str>, &str); 11] = [
    ("_ASM_X86_MSR_INDEX_H", Some("linux"), "Linux, asm/msr-index.h"),
    ("_ASM_X86_VMXFEATURES_H", Some("linux"), "Linux, asm/vmxfeatures.h"),
    ("_UAPIVMX_H", Some("linux"), "Linux, uapi/asm/vmx.h"),
    ("_UAPI__SVM_H", Some("linux"), "Linux, uapi/asm/svm.h"),
    ("#include <uapi/asm/vmx.h>", Some("linux"), "Linux, asm/vmx.h"),
    ("#include <uapi/asm/svm.h>", Some("linux"), "Linux, asm/svm.h"),
    ("ASM_X86_HVM_", Some("xen"), "Xen, asm/hvm"),
    ("__ASM_MSR_INDEX_H", Some("xen"), "Xen, asm/msr-index.h"),
    ("_BX_VMX_CONTROLS_INTEL_H_", Some("bochs"), "Bochs, cpu/vmx_ctrls.h"),
    ("_BX_VMX_INTEL_H_", Some("bochs"), "Bochs, cpu/vmx.h"),
    ("_BX_SVM_AMD_H_", Some("bochs"), "Bochs, cpu/svm.h"),
];

fn origin(text: &str) -> (Option<&'static str>, &'static str) {
    let found = ORIGINS.iter().find(|(mark, _, _)| text.contains(mark));
    found.map_or((None, "C header"), |(_, id, title)| (*id, title))
}

/// The version, when the header lies in a directory that is called after its package: `linux-headers-6.12.117-common`.
fn revision(path: &Path) -> Option<String> {
    path.iter().rev().filter_map(|part| part.to_str()).find_map(|part| {
        let version = ["linux-headers-", "linux-", "xen-", "bochs-"].iter().find_map(|name| part.strip_prefix(name))?;
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
    })
}

/// What the headers define that this one includes, as far as they are near it: `vmx.h` has no numbers of controls without
/// `vmxfeatures.h`. What is wrong with them is no fault of this one.
fn included(path: &Path, text: &str) -> (Symbols, Vec<Struct>) {
    let mut all = Header::default();
    let names = text.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim();
        let close = if name.starts_with('<') { '>' } else { '"' };
        name[1..].split_once(close).map(|(name, _)| name)
    });
    for file in names.filter_map(|name| near(path, name)) {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        let symbols = std::mem::take(&mut all.symbols);
        // Symbols are lost with a header that does not parse: then the next ones have to do.
        if let Ok(header) = Header::parse(&text, symbols, std::mem::take(&mut all.structs)) {
            all = header;
        }
    }
    all.structs.iter_mut().for_each(|known| known.foreign = true);
    (all.symbols, all.structs)
}

/// An included header: in the same directory, or below one that this header is in, as `asm/` is.
fn near(path: &Path, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    let beside = path.parent()?.join(name.file_name()?);
    let candidates = path.ancestors().skip(1).take(3).map(|directory| directory.join(name)).chain([beside]);
    candidates.into_iter().find(|file| file.is_file() && file != path)
}

impl Header {
    /// A header whose includes define these names and structures.
    fn parse(text: &str, symbols: Symbols, structs: Vec<Struct>) -> Result<Self, Fault> {
        let mut header = Self { symbols, structs, ..Self::default() };
        let code = header.preprocess(&lex(text)?);
        let mut at = 0;
        let mut typedef = false;
        while let Some(token) = code.get(at) {
            match token.ident() {
                Some("enum") => at = header.enumeration(&code, at)?,
                Some("struct" | "union") => match struct_at(&code, at, typedef)? {
                    Some((found, end)) => {
                        header.structs.push(found);
                        at = end;
                    }
                    None => at += 1,
                },
                Some("const" | "constexpr") => at = header.constant(&code, at),
                _ => at += 1,
            }
            typedef = token.ident() == Some("typedef");
        }
        Ok(header)
    }

    /// Takes the directives out: macros are kept, and of alternatives the first.
    fn preprocess(&mut self, tokens: &[Token]) -> Vec<Token> {
        let mut code = Vec::new();
        // Of every `#if` that is open: whether its present branch counts, and whether one did.
        let mut conditions: Vec<(bool, bool)> = Vec::new();
        for line in tokens.split_inclusive(|token| token.tok == Tok::Newline) {
            let line = match line.split_last() {
                Some((last, rest)) if last.tok == Tok::Newline => rest,
                _ => line,
            };
            let [hash, directive, rest @ ..] = line else {
                if conditions.iter().all(|(counts, _)| *counts) {
                    code.extend_from_slice(line);
                }
                continue;
            };
            let counts = conditions.iter().all(|(counts, _)| *counts);
            if !hash.is("#") {
                if counts {
                    code.extend_from_slice(line);
                }
                continue;
            }
            match directive.ident() {
                Some("if") => {
                    // What is configured is unknown; what is switched off is known.
                    let off = self.symbols.evaluate(rest) == Ok(0);
                    conditions.push((!off, !off));
                }
                Some("ifdef") => {
                    let off = rest.first().and_then(Token::ident).is_some_and(|name| name.contains("ASSEMBL"));
                    conditions.push((!off, !off));
                }
                Some("ifndef") => conditions.push((true, true)),
                Some("elif" | "else") => {
                    if let Some((counts, did)) = conditions.last_mut() {
                        *counts = !*did;
                        *did = true;
                    }
                }
                Some("endif") => {
                    conditions.pop();
                }
                Some("define") if counts => {
                    if let Some(definition) = definition(directive.line, rest) {
                        self.symbols.define(definition.clone());
                        self.macros.push(definition);
                    }
                }
                _ => {}
            }
        }
        code
    }

    /// Keeps `const Bit32u NAME = 1;` like a macro, and gives the place after the equals sign or after the keyword.
    fn constant(&mut self, code: &[Token], start: usize) -> usize {
        let rest = &code[start + 1..];
        let words = rest.iter().take_while(|token| token.ident().is_some()).count();
        let assigned = rest.get(words).is_some_and(|token| token.is("="));
        let (Some(name), true) = (rest.get(words.wrapping_sub(1)).filter(|_| words > 1), assigned) else {
            return start + 1;
        };
        let body = &rest[words + 1..];
        let length = body.iter().position(|token| token.is(";")).unwrap_or(0);
        let name_text = name.ident().unwrap_or_default().to_owned();
        let definition = Macro { name: name_text, parameters: None, body: body[..length].to_vec(), line: name.line };
        self.symbols.define(definition.clone());
        self.macros.push(definition);
        start + 1 + words + 1
    }

    /// Keeps the enumeration whose keyword is at a place, and gives the place after it. `enum name x;` is none.
    fn enumeration(&mut self, code: &[Token], start: usize) -> Result<usize, Fault> {
        let mut at = start + 1;
        let name = code.get(at).and_then(Token::ident).filter(|name| *name != "class").map(str::to_owned);
        // Up to its bracket: a name, and in C++ a type.
        while code.get(at).is_some_and(|token| token.ident().is_some() || token.is(":")) {
            at += 1;
        }
        if !code.get(at).is_some_and(|token| token.is("{")) {
            return Ok(start + 1);
        }
        let (inside, end) = bracketed(code, at, "enumeration")?;
        let mut constants = Vec::new();
        let mut next: Result<i128, String> = Ok(0);
        for item in split(inside, ",") {
            let [first, rest @ ..] = item else {
                continue;
            };
            let Some(name) = first.ident() else {
                return Err(Fault {
                    line: first.line,
                    message: "an enumeration has something here that is no name".to_owned(),
                });
            };
            if let Some(assigned) = rest.iter().position(|token| token.is("=")) {
                next = self.symbols.evaluate(&rest[assigned + 1..]);
            }
            if let Ok(value) = next {
                self.symbols.constant(name, value);
            }
            constants.push(Enumerator { name: name.to_owned(), line: first.line, value: next.clone() });
            next = next.map(|value| value.saturating_add(1));
        }
        self.enums.push(Enum { name, constants });
        Ok(end)
    }
}

/// What stands between brackets of which the first is at a place, and the place after them.
pub(super) fn bracketed<'a>(code: &'a [Token], open: usize, what: &str) -> Result<(&'a [Token], usize), Fault> {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(open) {
        if ["{", "(", "["].iter().any(|bracket| token.is(bracket)) {
            depth += 1;
        } else if ["}", ")", "]"].iter().any(|bracket| token.is(bracket)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Ok((&code[open + 1..at], at + 1));
            }
        }
    }
    Err(Fault { line: code[open].line, message: format!("the {what} that starts here has no end") })
}

/// The parts between separators that are in no brackets.
pub(super) fn split<'a>(tokens: &'a [Token], separator: &str) -> Vec<&'a [Token]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        if ["{", "(", "["].iter().any(|bracket| token.is(bracket)) {
            depth += 1;
        } else if ["}", ")", "]"].iter().any(|bracket| token.is(bracket)) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is(separator) {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// What follows `#define`.
fn definition(line: u32, tokens: &[Token]) -> Option<Macro> {
    let (name, rest) = tokens.split_first()?;
    let name = name.ident()?.to_owned();
    // Only a bracket that touches the name makes parameters.
    let parameters = rest.first().filter(|token| token.is("(") && token.glued).and_then(|_| {
        let end = rest.iter().position(|token| token.is(")"))?;
        let names = rest[1..end].iter().filter_map(Token::ident).map(str::to_owned);
        Some((names.collect::<Vec<_>>(), end + 1))
    });
    let (parameters, body) = match parameters {
        Some((parameters, end)) => (Some(parameters), &rest[end..]),
        None => (None, rest),
    };
    Some(Macro { name, parameters, body: body.to_vec(), line })
}

//! Where the members of C structures are.

use std::cell::Cell;
use std::collections::HashMap;

use super::c_expr::{Fault, Symbols, Token, integer_size};
use super::c_header::{bracketed, split};

/// A structure or a union.
#[derive(Clone, Debug)]
pub(super) struct Struct {
    /// Its tag, and the name that a `typedef` gives it.
    pub(super) names: Vec<String>,
    /// Of a header that this one includes.
    pub(super) foreign: bool,
    union: bool,
    packed: bool,
    fields: Vec<Field>,
    line: u32,
}

#[derive(Clone, Debug)]
struct Field {
    /// None of padding bits, and of a structure whose members are those of the one around it.
    name: Option<String>,
    ty: Type,
    /// The expressions in its square brackets.
    counts: Vec<Vec<Token>>,
    /// The expression of how many bits it has.
    bits: Option<Vec<Token>>,
    line: u32,
}

#[derive(Clone, Debug)]
enum Type {
    Integer(u64),
    /// Of a structure.
    Named(String),
    Here(Box<Struct>),
}

/// A member that has no members, with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    /// With the names of the structures it is in: `es.selector`.
    pub(super) name: String,
    /// Bytes from the start; of bits those of the member of the outermost structure that they are in.
    pub(super) offset: u64,
    /// Bytes; of bits as above.
    pub(super) size: u64,
    /// `[high, low]`
    pub(super) bits: Option<[u32; 2]>,
    pub(super) line: u32,
}

/// The structure whose keyword is at a place, and the place after it. `struct name *x;` is none.
pub(super) fn struct_at(code: &[Token], start: usize, typedef: bool) -> Result<Option<(Struct, usize)>, Fault> {
    let mut packed = false;
    let mut names = Vec::new();
    let mut at = start + 1;
    let attributes = |at: &mut usize, packed: &mut bool| -> Result<(), Fault> {
        while let Some(word) = code.get(*at).and_then(Token::ident) {
            if !word.starts_with("__") {
                break;
            }
            *packed |= word.contains("packed");
            *at += 1;
            if code.get(*at).is_some_and(|token| token.is("(")) {
                let (inside, end) = bracketed(code, *at, "attribute")?;
                *packed |= inside.iter().filter_map(Token::ident).any(|word| word.contains("packed"));
                *at = end;
            }
        }
        Ok(())
    };
    attributes(&mut at, &mut packed)?;
    if let Some(name) = code.get(at).and_then(Token::ident) {
        names.push(name.to_owned());
        at += 1;
    }
    attributes(&mut at, &mut packed)?;
    if !code.get(at).is_some_and(|token| token.is("{")) {
        return Ok(None);
    }
    let what = code[start].ident().unwrap_or_default();
    let (inside, mut end) = bracketed(code, at, if what == "union" { "union" } else { "structure" })?;
    attributes(&mut end, &mut packed)?;
    if let Some(name) = code.get(end).and_then(Token::ident).filter(|_| typedef) {
        names.push(name.to_owned());
    }
    let mut fields = Vec::new();
    for part in split(inside, ";") {
        fields.extend(members(part)?);
    }
    Ok(Some((Struct { names, foreign: false, union: what == "union", packed, fields, line: code[start].line }, end)))
}

/// The members of one declaration.
fn members(tokens: &[Token]) -> Result<Vec<Field>, Fault> {
    let Some(first) = tokens.first() else {
        return Ok(Vec::new());
    };
    let (ty, rest) = match first.ident() {
        Some("struct" | "union") => match struct_at(tokens, 0, false)? {
            Some((inner, end)) => (Type::Here(Box::new(inner)), &tokens[end..]),
            None => (
                Type::Named(tokens.get(1).and_then(Token::ident).unwrap_or_default().to_owned()),
                &tokens[2.min(tokens.len())..],
            ),
        },
        _ => {
            // The last name before a bracket, a colon or a comma is the member's; those before it are its type.
            let words = tokens.iter().take_while(|token| token.ident().is_some()).count();
            let named = !tokens.get(words).is_some_and(|token| token.is(":") && words < 2);
            // Of pointers the stars stand between the two.
            let pointer = tokens.get(words).is_some_and(|token| token.is("*"));
            let types = if named && !pointer { words.saturating_sub(1) } else { words };
            let names: Vec<_> = tokens[..types].iter().filter_map(Token::ident).collect();
            (integer_type(&names), &tokens[types..])
        }
    };
    if rest.is_empty() {
        let field = Field { name: None, ty, counts: Vec::new(), bits: None, line: first.line };
        return Ok(vec![field]);
    }
    let fields = split(rest, ",").into_iter().filter_map(|declared| {
        let mut parts = declared.iter().peekable();
        let mut ty = ty.clone();
        while parts.next_if(|token| token.is("*")).is_some() {
            ty = Type::Integer(8);
        }
        let line = parts.peek()?.line;
        let name = parts.next_if(|token| token.ident().is_some()).and_then(Token::ident);
        let tail: Vec<Token> = parts.cloned().collect();
        let bits = tail.first().filter(|token| token.is(":")).map(|_| tail[1..].to_vec());
        let mut counts = Vec::new();
        let mut at = 0;
        while tail.get(at).is_some_and(|token| token.is("[")) {
            let (inside, end) = bracketed(&tail, at, "length").ok()?;
            counts.push(inside.to_vec());
            at = end;
        }
        // Padding bits, `_Alignas` and the like: bits count, the rest does not.
        (name.is_some() || bits.is_some()).then(|| Field { name: name.map(str::to_owned), ty, counts, bits, line })
    });
    Ok(fields.collect())
}

fn integer_type(names: &[&str]) -> Type {
    let words: Vec<_> =
        names.iter().copied().filter(|word| !matches!(*word, "const" | "volatile" | "unsigned" | "signed")).collect();
    match words[..] {
        [] if !names.is_empty() => Type::Integer(4),
        ["long"] | ["long", "int"] | ["long", "long"] | ["long", "long", "int"] => Type::Integer(8),
        [.., last] => integer_size(last).map_or_else(|| Type::Named(last.to_owned()), Type::Integer),
        [] => Type::Named(String::new()),
    }
}

/// Xen keeps it in a header of its emulator.
const SEGMENT: [(&str, u64); 4] = [("sel", 2), ("attr", 2), ("limit", 4), ("base", 8)];

/// Structures do not nest that deep, and have not that many members.
const DEEPEST: usize = 16;
const MOST: usize = 10_000;

/// What lays structures out.
pub(super) struct Layout<'a> {
    known: HashMap<&'a str, &'a Struct>,
    symbols: &'a Symbols,
    /// Structures that were measured: one that contains itself has no end.
    measured: Cell<usize>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(structs: &'a [Struct], symbols: &'a Symbols) -> Self {
        let known =
            structs.iter().flat_map(|found| found.names.iter().map(move |name| (name.as_str(), found))).collect();
        Self { known, symbols, measured: Cell::new(0) }
    }

    /// The members of a structure, or the line of what has no known place and why.
    pub(super) fn leaves(&self, of: &'a Struct) -> Result<Vec<Leaf>, Fault> {
        let mut members = Vec::new();
        self.place(of, 0, 0, &mut members)?;
        let mut leaves = Vec::new();
        for Placed { field, offset, size } in members {
            self.flatten(field, offset, size, &mut leaves)?;
            if leaves.len() > MOST {
                return Err(Fault { line: of.line, message: "it has too many members".to_owned() });
            }
        }
        Ok(leaves)
    }

    /// Its bytes and its alignment, and where its members are, in bits from `base`.
    fn place(&self, of: &'a Struct, base: u64, depth: usize, out: &mut Vec<Placed<'a>>) -> Result<(u64, u64), Fault> {
        self.measured.set(self.measured.get() + 1);
        if depth > DEEPEST || self.measured.get() > MOST {
            return Err(Fault { line: of.line, message: "structures are nested too deep".to_owned() });
        }
        let (mut at, mut end, mut most) = (0, 0, 8);
        for field in &of.fields {
            if of.union {
                at = 0;
            }
            let (size, align) = match self.measure(field, depth) {
                Ok(found) => found,
                // An alternative that nobody knows does not matter beside one that somebody does.
                Err(_) if of.union && of.fields.len() > 1 => continue,
                Err(fault) => return Err(fault),
            };
            let align = if of.packed { 8 } else { align };
            let bits = self.width(field)?;
            match bits {
                Some(0) => at = next(at, align),
                // Bits do not cross a unit of their type, unless packed.
                Some(bits) if !of.packed && at / align != (at + bits - 1) / align => at = next(at, align),
                Some(_) => {}
                None => at = next(at, align),
            }
            most = most.max(align);
            let size = bits.unwrap_or(size);
            out.push(Placed { field, offset: base + at, size });
            at += size;
            end = end.max(at);
        }
        Ok((next(end, most), most))
    }

    /// Bits and alignment of a member, as if it had no colon.
    fn measure(&self, field: &'a Field, depth: usize) -> Result<(u64, u64), Fault> {
        let fault = |message: String| Fault { line: field.line, message };
        let mut count = 1_u64;
        for length in &field.counts {
            let length = self.symbols.evaluate(length).map_err(|why| fault(format!("the length: {why}")))?;
            let length = u64::try_from(length).ok().filter(|length| *length <= 65536);
            count = length
                .and_then(|length| count.checked_mul(length))
                .filter(|count| *count <= 65536)
                .ok_or_else(|| fault("a length that no structure of hardware has".to_owned()))?;
        }
        let (size, align) = match &field.ty {
            Type::Integer(bytes) => (bytes * 8, bytes * 8),
            Type::Here(inner) => self.place(inner, 0, depth + 1, &mut Vec::new())?,
            Type::Named(name) => match self.known.get(name.as_str()) {
                Some(found) => self.place(found, 0, depth + 1, &mut Vec::new())?,
                None if name == "segment_register" => (128, 64),
                None => return Err(fault(format!("how large `{name}` is is not said here"))),
            },
        };
        Ok((size * count, align))
    }

    fn width(&self, field: &Field) -> Result<Option<u64>, Fault> {
        let Some(bits) = &field.bits else {
            return Ok(None);
        };
        let value =
            self.symbols.evaluate(bits).ok().and_then(|bits| u64::try_from(bits).ok()).filter(|bits| *bits <= 64);
        let message = || Fault { line: field.line, message: "how many bits it has is no number".to_owned() };
        value.map(Some).ok_or_else(message)
    }

    fn inner(&self, field: &'a Field) -> Option<&'a Struct> {
        match &field.ty {
            Type::Integer(_) => None,
            Type::Here(inner) => Some(inner),
            Type::Named(name) => self.known.get(name.as_str()).copied(),
        }
    }

    /// A member of the outermost structure with what is in it.
    fn flatten(&self, field: &'a Field, offset: u64, size: u64, out: &mut Vec<Leaf>) -> Result<(), Fault> {
        let word = Word { offset: offset / 8, bits: size };
        let mut leaves = Vec::new();
        self.descend(field, offset, size, "", 0, &mut leaves)?;
        for (name, at, bits, whole, line) in leaves {
            // A view of the whole member is the member.
            let name = if bits == size && whole { field.name.clone().unwrap_or(name) } else { name };
            // Parts of a word of which some are bits are all bits of that word.
            let part =
                !whole || (self.inner(field).is_some_and(|inner| inner.union) && word.bits <= 64 && bits < word.bits);
            if !part {
                out.push(Leaf { name, offset: at / 8, size: bits / 8, bits: None, line });
            } else if word.bits <= 64 {
                let low = (at - offset) as u32;
                let range = Some([low + bits as u32 - 1, low]);
                out.push(Leaf { name, offset: word.offset, size: word.bits / 8, bits: range, line });
            }
        }
        Ok(())
    }

    /// Every member in a member: its name, first bit, bits, whether it has bytes of its own, and line.
    fn descend(
        &self,
        field: &'a Field,
        offset: u64,
        size: u64,
        prefix: &str,
        depth: usize,
        out: &mut Vec<(String, u64, u64, bool, u32)>,
    ) -> Result<(), Fault> {
        let name = match (prefix, &field.name) {
            (prefix, None) => prefix.to_owned(),
            ("", Some(name)) => name.clone(),
            (prefix, Some(name)) => format!("{prefix}.{name}"),
        };
        if out.len() > MOST || size == 0 {
            return Ok(());
        }
        if let Some(bits) = &field.bits {
            if field.name.is_some() && !bits.is_empty() {
                out.push((name, offset, size, false, field.line));
            }
            return Ok(());
        }
        let (one, count) = self.element(field, size, depth)?;
        let index = |number: u64| if field.counts.is_empty() { name.clone() } else { format!("{name}[{number}]") };
        let Some(inner) = self.inner(field) else {
            if matches!(&field.ty, Type::Named(name) if name == "segment_register") {
                for number in 0..count {
                    let mut at = offset + number * one;
                    for (part, bytes) in SEGMENT {
                        out.push((format!("{}.{part}", index(number)), at, bytes * 8, true, field.line));
                        at += bytes * 8;
                    }
                }
            } else if one == 8 || is_reserved(&name) || count == 1 {
                out.push((name, offset, size, true, field.line));
            } else {
                out.extend((0..count).map(|number| (index(number), offset + number * one, one, true, field.line)));
            }
            return Ok(());
        };
        for number in 0..count {
            let mut members = Vec::new();
            self.place(inner, offset + number * one, depth + 1, &mut members)?;
            if inner.union && one > 64 {
                // Views of the same bytes: the last that has members with bytes of their own.
                let plain = members.iter().rposition(|placed| !self.has_bits(placed.field, depth));
                members = plain.map(|at| members.swap_remove(at)).into_iter().collect();
            }
            for placed in members {
                self.descend(placed.field, placed.offset, placed.size, &index(number), depth + 1, out)?;
            }
        }
        Ok(())
    }

    /// The bits of one element, and how many there are.
    fn element(&self, field: &'a Field, size: u64, depth: usize) -> Result<(u64, u64), Fault> {
        if field.counts.is_empty() {
            return Ok((size, 1));
        }
        let single = Field { counts: Vec::new(), ..field.clone() };
        let one = match &single.ty {
            Type::Integer(bytes) => bytes * 8,
            _ => match self.inner(field) {
                Some(inner) => self.place(inner, 0, depth + 1, &mut Vec::new())?.0,
                None => 128,
            },
        };
        Ok((one.max(8), size / one.max(8)))
    }

    fn has_bits(&self, field: &'a Field, depth: usize) -> bool {
        let inside =
            |inner: &'a Struct| depth < DEEPEST && inner.fields.iter().any(|field| self.has_bits(field, depth + 1));
        field.bits.is_some() || self.inner(field).is_some_and(inside)
    }
}

/// A member with its place, in bits.
struct Placed<'a> {
    field: &'a Field,
    offset: u64,
    size: u64,
}

/// A member of the outermost structure.
struct Word {
    offset: u64,
    bits: u64,
}

fn next(at: u64, align: u64) -> u64 {
    at.div_ceil(align.max(1)) * align.max(1)
}

/// Whether a name says that nothing is there.
pub(super) fn is_reserved(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).trim_start_matches('_').to_ascii_lowercase();
    let alone = |word: &str| last.split('[').next() == Some(word);
    let numbered =
        |word: &str| last.strip_prefix(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    ["reserved", "rsvd", "resvd", "padding"].iter().any(|word| last.starts_with(word))
        || numbered("res")
        || numbered("rsv")
        || numbered("pad")
        || alone("res")
}

//! Constants of Rust crates, `x86` above all: second opinions on numbers.
//!
//! What is read are `const`s of integers in modules, and `bitflags!`.

use std::collections::HashMap;
use std::path::Path;

use syn::parse::{Parse, ParseStream};
use syn::{BinOp, Expr, Item, Lit, UnOp};

use super::c_header_names;
use super::{Input, Progress, ReadError, Reader};
use crate::audit::source::{Identity, Kind, Place, Row, Source, Standing, Table};
use crate::model::ControlWord;

/// What of Rust is read.
pub(super) const READER: Reader = Reader { what: "Rust constants of VMCS fields, controls or MSRs", recognises, read };

fn recognises(input: &Input) -> bool {
    let Ok(text) = std::str::from_utf8(input.bytes) else {
        return false;
    };
    let words = ["pub const IA32_", "Controls: u32", "pub mod guest", "_SELECTOR: u32"];
    text.contains("pub const ") && words.iter().any(|word| text.contains(word)) && !text.contains("\n#define")
}

fn read(input: &Input, _: Progress) -> Result<Source, ReadError> {
    let text = std::str::from_utf8(input.bytes).map_err(|_| input.error("is no text", "give a file of Rust"))?;
    if nesting(text) > DEEPEST {
        return Err(input.error("is nested too deep", "give a file of constants"));
    }
    let file = syn::parse_file(text).map_err(|error| {
        input.error(
            &format!("does not parse as Rust: {error}"),
            "is the file whole? Only files that compile can be read",
        )
    })?;
    let mut constants = Constants { text, at: 0, line: 1, all: Vec::new(), values: HashMap::new() };
    constants.items(&file.items, "");
    let tables = tables(&constants.all);
    if tables.is_empty() {
        let message = "is Rust, but none of its constants are VMCS fields, VMX controls or MSRs";
        return Err(input.error(message, "the crate `x86` has such in src/vmx/vmcs.rs and src/msr.rs"));
    }
    let package = package(input.path);
    let title = match &package {
        Some((name, version)) => format!("crate {name} {version}"),
        None => "Rust constants".to_owned(),
    };
    let (id, revision) = package.unzip();
    let identity = Identity { id: id.map(|name| format!("crate-{name}")), revision, ..Identity::default() };
    let path = input.path.display().to_string();
    Ok(Source { path, title, standing: Standing::Other, identity, tables, unreadable: Vec::new() })
}

/// The package whose directory the file is in, as Cargo's registry calls it: `x86-0.52.0`.
fn package(path: &Path) -> Option<(String, String)> {
    path.iter().rev().filter_map(|part| part.to_str()).find_map(|part| {
        let (name, version) = part.rsplit_once('-')?;
        let numbers = version.split('.').count() == 3 && version.starts_with(|c: char| c.is_ascii_digit());
        numbers.then(|| (name.to_owned(), version.to_owned()))
    })
}

/// The parser descends as deep as brackets and chains of operators go.
const DEEPEST: usize = 200;

fn nesting(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    // `!!!!x` and `&&&&x` nest without brackets.
    let mut run = 0_usize;
    for byte in text.bytes() {
        run = if matches!(byte, b'!' | b'-' | b'&' | b'*') { run + 1 } else { 0 };
        // Rules of hyphens stand in comments.
        most = most.max(if run > 400 && !text.contains("//") { run } else { 0 });
    }
    most
}

/// A constant.
struct Constant {
    /// The modules and types it is in: `guest`, `control::PinbasedControls`.
    module: String,
    name: String,
    value: i128,
    /// Written in hexadecimal.
    hex: bool,
    /// Of `bitflags!`.
    flag: bool,
    line: u32,
}

struct Constants<'a> {
    text: &'a str,
    /// Where the last constant stands: they are found in their order, since the parser does not keep lines.
    at: usize,
    line: u32,
    all: Vec<Constant>,
    values: HashMap<String, i128>,
}

impl Constants<'_> {
    fn items(&mut self, items: &[Item], module: &str) {
        let below = |name: &dyn std::fmt::Display| match module {
            "" => name.to_string(),
            _ => format!("{module}::{name}"),
        };
        for item in items {
            match item {
                Item::Const(found) => self.constant(module, found.ident.to_string(), &found.expr, false),
                Item::Mod(found) => {
                    if let Some((_, inside)) = &found.content {
                        self.items(inside, &below(&found.ident));
                    }
                }
                Item::Macro(found) if found.mac.path.is_ident("bitflags") => {
                    // What is no `bitflags!` as this crate's version has them is none of ours.
                    if let Ok(types) = found.mac.parse_body::<Types>() {
                        for Flags { name, flags } in types.0 {
                            for (flag, value) in flags {
                                self.constant(&below(&name), flag, &value, true);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn constant(&mut self, module: &str, name: String, value: &Expr, flag: bool) {
        let line = self.find(&name);
        if let Some(number) = self.value(module, value, 0) {
            self.values.insert(format!("{module}::{name}"), number);
            let hex = matches!(value, Expr::Lit(found) if matches!(&found.lit, Lit::Int(int) if int.to_string().starts_with("0x")));
            self.all.push(Constant { module: module.to_owned(), name, value: number, hex, flag, line });
        }
    }

    /// The line of the next constant of a name.
    fn find(&mut self, name: &str) -> u32 {
        let wanted = format!("const {name}");
        let mut rest = self.at;
        while let Some(found) = self.text[rest..].find(&wanted) {
            let end = rest + found + wanted.len();
            if !self.text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                self.line += self.text[self.at..end].matches('\n').count() as u32;
                self.at = end;
                break;
            }
            rest = end;
        }
        self.line
    }

    fn value(&self, module: &str, expr: &Expr, depth: usize) -> Option<i128> {
        if depth > DEEPEST {
            return None;
        }
        let inner = |expr| self.value(module, expr, depth + 1);
        match expr {
            Expr::Lit(found) => match &found.lit {
                Lit::Int(int) => int.base10_parse().ok(),
                _ => None,
            },
            Expr::Paren(found) => inner(&found.expr),
            Expr::Group(found) => inner(&found.expr),
            Expr::Cast(found) => inner(&found.expr),
            Expr::Unary(found) => match found.op {
                UnOp::Neg(_) => inner(&found.expr)?.checked_neg(),
                _ => None,
            },
            Expr::Path(found) => {
                let name = found.path.segments.last()?.ident.to_string();
                self.values.get(&format!("{module}::{name}")).copied()
            }
            Expr::Binary(found) => {
                let (left, right) = (inner(&found.left)?, inner(&found.right)?);
                match found.op {
                    BinOp::Shl(_) => left.checked_mul(1_i128 << u32::try_from(right).ok().filter(|count| *count < 64)?),
                    BinOp::BitOr(_) => Some(left | right),
                    BinOp::BitAnd(_) => Some(left & right),
                    BinOp::Add(_) => left.checked_add(right),
                    BinOp::Sub(_) => left.checked_sub(right),
                    BinOp::Mul(_) => left.checked_mul(right),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The body of `bitflags!`.
struct Types(Vec<Flags>);

/// `pub struct Name: u32 { const FLAG = 1 << 0; }`
struct Flags {
    name: String,
    flags: Vec<(String, Expr)>,
}

impl Parse for Types {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut types = Vec::new();
        while !input.is_empty() {
            syn::Attribute::parse_outer(input)?;
            input.parse::<syn::Visibility>()?;
            input.parse::<syn::Token![struct]>()?;
            let name = input.parse::<syn::Ident>()?.to_string();
            input.parse::<syn::Token![:]>()?;
            input.parse::<syn::Type>()?;
            let body;
            syn::braced!(body in input);
            let mut flags = Vec::new();
            while !body.is_empty() {
                syn::Attribute::parse_outer(&body)?;
                body.parse::<syn::Token![const]>()?;
                let flag = body.parse::<syn::Ident>()?.to_string();
                body.parse::<syn::Token![=]>()?;
                flags.push((flag, body.parse()?));
                body.parse::<Option<syn::Token![;]>>()?;
            }
            types.push(Flags { name, flags });
        }
        Ok(Self(types))
    }
}

/// Words of controls by the names of their types, in lower case.
const WORDS: [(&str, ControlWord); 6] = [
    ("pin", ControlWord::Pin),
    ("primary", ControlWord::Primary),
    ("secondary", ControlWord::Secondary),
    ("tertiary", ControlWord::Tertiary),
    ("entry", ControlWord::Entry),
    ("exit", ControlWord::Exit),
];

fn tables(constants: &[Constant]) -> Vec<Table> {
    let place = |constant: &Constant| Place { line: Some(constant.line), ..Place::default() };
    let table = |kind, title: &str, rows| Table { kind, title: title.to_owned(), complete: false, rows };
    let mut tables = Vec::new();
    // VMCS fields: a module for each group.
    for (module, group) in [("control", "control"), ("ro", "exit_info"), ("guest", "guest"), ("host", "host")] {
        let fields = || constants.iter().filter(|constant| !constant.flag && last(&constant.module) == module);
        let rows: Vec<_> = fields()
            .filter(|constant| !constant.name.ends_with("_HIGH"))
            .map(|constant| {
                let upper = constant.name.strip_suffix("_FULL").map(|name| format!("{name}_HIGH"));
                let high = upper.and_then(|upper| fields().find(|other| other.name == upper));
                let row = Row {
                    name: constant.name.clone(),
                    number: i64::try_from(constant.value).ok(),
                    group: Some(group.to_owned()),
                    high: high.and_then(|high| i64::try_from(high.value).ok()),
                    place: place(constant),
                    ..Row::default()
                };
                c_header_names::name(&Kind::VmcsFields, row)
            })
            .collect();
        if !rows.is_empty() {
            tables.push(table(Kind::VmcsFields, module, rows));
        }
    }
    for (word, kind) in WORDS {
        let flags = constants.iter().filter(|constant| {
            let name = last(&constant.module).to_ascii_lowercase();
            constant.flag && name.starts_with(word) && name.ends_with("controls")
        });
        let rows: Vec<_> = flags
            .filter_map(|constant| {
                let mask = u64::try_from(constant.value).ok().filter(|mask| mask.count_ones() == 1)?;
                let bits = Some([mask.trailing_zeros(); 2]);
                Some(Row { name: constant.name.clone(), bits, place: place(constant), ..Row::default() })
            })
            .collect();
        if !rows.is_empty() {
            let title = constants.iter().find(|constant| constant.name == rows[0].name && constant.flag);
            tables.push(table(Kind::Controls(kind), title.map_or(word, |constant| last(&constant.module)), rows));
        }
    }
    // MSRs that are architectural, with the other names of their addresses. What has no such name depends on the model, and
    // another may have something else there.
    let msrs = || constants.iter().filter(|constant| constant.module.is_empty() && constant.hex);
    let mut others: HashMap<i128, Vec<String>> = HashMap::new();
    for constant in msrs().filter(|constant| !constant.name.starts_with("IA32_")) {
        others.entry(constant.value).or_default().push(constant.name.clone());
    }
    let architectural = msrs().filter(|constant| constant.name.starts_with("IA32_"));
    let rows: Vec<_> = architectural
        .map(|constant| {
            let row = Row {
                name: constant.name.clone(),
                aliases: others.get(&constant.value).cloned().unwrap_or_default(),
                number: i64::try_from(constant.value).ok(),
                place: place(constant),
                ..Row::default()
            };
            c_header_names::name(&Kind::Msrs, row)
        })
        .collect();
    if !rows.is_empty() {
        tables.push(table(Kind::Msrs, "msr", rows));
    }
    tables
}

fn last(module: &str) -> &str {
    module.rsplit("::").next().unwrap_or(module)
}

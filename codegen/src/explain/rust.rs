//! The generated Rust of one item, cut out of the file that it is in.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::emit::{GeneratedFiles, emit};
use crate::model::{CLEAN_TYPE, Spec, Types};

use super::entry::{Entry, structure};

/// The generated files, made when the first is asked for.
pub(super) struct Rust<'s> {
    spec: &'s Spec,
    files: OnceCell<GeneratedFiles>,
    /// The items of the files that were asked for.
    items: RefCell<BTreeMap<String, Rc<Vec<Item>>>>,
}

impl<'s> Rust<'s> {
    pub fn new(spec: &'s Spec) -> Self {
        Rust { spec, files: OnceCell::new(), items: RefCell::default() }
    }

    /// The items that `entry` becomes: the path of the file and the text, of an exit in two files.
    pub fn of(&self, entry: Entry) -> Vec<(String, String)> {
        let payload = match entry {
            Entry::VmxExit(exit) | Entry::SvmExit(exit) => {
                let vendor = self.spec.vendor(exit.module).name();
                self.ty(&format!("{vendor}/payloads.rs"), &exit.payload_name())
            }
            _ => None,
        };
        self.own(entry).into_iter().chain(payload).collect()
    }

    fn own(&self, entry: Entry) -> Option<(String, String)> {
        if let Entry::Check(vendor, rule) = entry {
            return self.constant(&format!("{}/entry_checks.rs", vendor.name()), &rule.name);
        }
        let module = self.spec.module(entry.module()?);
        let module = &format!("{}/{}.rs", module.vendor.name(), module.name);
        if entry.is_reserved() {
            return None;
        }
        let name = entry.name();
        let lower = name.to_ascii_lowercase();
        let part = |word: &str| {
            let names = [name.to_owned(), format!("{name}_MASK"), lower.clone(), format!("with_{lower}")];
            self.associated(module, word, &names)
        };
        match entry {
            Entry::Field(_) | Entry::Msr(_) => self.constant(module, name),
            Entry::Control(_) | Entry::Layout(_) | Entry::Enum(_) | Entry::Word(_) => self.ty(module, name),
            Entry::ControlBit(control, _) => part(control.head.name()),
            Entry::LayoutField(layout, _) => part(layout.head.name()),
            Entry::EnumValue(table, _) => part(table.head.name()),
            Entry::Intercept(word, _) => part(word.head.name()),
            Entry::MemberBit(member, _) => part(Types::of_member(self.spec, member)?),
            Entry::VmxExit(_) => part("ExitReason"),
            Entry::SvmExit(_) => part("ExitCode"),
            Entry::Error(_) => part("InstructionError"),
            Entry::Clean(_) => part(CLEAN_TYPE),
            Entry::Member(member) => {
                let name = crate::emit::member_name(self.spec, member);
                self.associated(module, structure(member), &[name.clone(), format!("set_{name}")])
            }
            Entry::Manual(_) | Entry::ExitMap(_) | Entry::StateMap(_) | Entry::Check(..) => None,
        }
    }

    fn items(&self, path: &str) -> Option<Rc<Vec<Item>>> {
        if let Some(known) = self.items.borrow().get(path) {
            return Some(known.clone());
        }
        let files = self.files.get_or_init(|| emit(self.spec));
        let file = files.files.iter().find(|file| file.path == path)?;
        let items = Rc::new(items(&file.text()));
        self.items.borrow_mut().insert(path.to_owned(), items.clone());
        Some(items)
    }

    fn constant(&self, path: &str, name: &str) -> Option<(String, String)> {
        let items = self.items(path)?;
        let item = items.iter().find(|item| item.defines(name))?;
        Some((path.to_owned(), item.text.clone()))
    }

    /// A type with all that is implemented for it.
    fn ty(&self, path: &str, name: &str) -> Option<(String, String)> {
        let items = self.items(path)?;
        let found: Vec<_> = items.iter().filter(|item| item.is_about(name)).map(|item| item.text.as_str()).collect();
        (!found.is_empty()).then(|| (path.to_owned(), found.join("\n")))
    }

    /// Constants and methods of a type, in the blocks that they stand in.
    fn associated(&self, path: &str, ty: &str, names: &[String]) -> Option<(String, String)> {
        let all = self.items(path)?;
        let mut out = String::new();
        for block in all.iter().filter(|item| item.head == format!("impl {ty} {{")) {
            let found: Vec<_> = items(&block.inside())
                .into_iter()
                .filter(|item| names.iter().any(|name| item.defines(name)))
                .map(|item| indented(&item.text))
                .collect();
            if !found.is_empty() {
                out.push_str(&format!("{}\n{}}}\n", block.head, found.join("\n")));
            }
        }
        (!out.is_empty()).then(|| (path.to_owned(), out))
    }
}

/// An item with its documentation and attributes.
struct Item {
    /// The first line after those.
    head: String,
    text: String,
}

impl Item {
    /// Whether it is the constant, the function or the type with this name.
    fn defines(&self, name: &str) -> bool {
        let declared = ["const ", "fn ", "struct ", "static "].iter().any(|keyword| {
            let Some((before, after)) = self.head.split_once(keyword) else { return false };
            let after = after.strip_prefix("fn ").unwrap_or(after);
            let after = after.strip_prefix("r#").unwrap_or(after);
            let rest = after.strip_prefix(name.strip_prefix("r#").unwrap_or(name));
            !before.contains('(') && rest.is_some_and(|rest| !rest.starts_with(is_word))
        });
        declared && self.head.starts_with("pub ")
    }

    /// Whether it defines this type or its layout, or implements something for either.
    fn is_about(&self, name: &str) -> bool {
        let layout = format!("{name}Layout");
        let head_and_next = |text: &str| {
            let mut lines = text.lines().skip_while(|line| is_attribute(line)).take(2);
            format!("{} {}", lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
        };
        let own = match self.head.as_str() {
            head if ["pub struct ", "pub enum "].iter().any(|keyword| head.starts_with(keyword)) => head.to_owned(),
            // `pub type Name = Word64<NameLayout>;`
            head if head.starts_with("pub type ") => head.split(" = ").next().unwrap_or(head).to_owned(),
            // `impl Trait for Name {`
            head if head.starts_with("impl ") => head.rsplit(" for ").next().unwrap_or(head).to_owned(),
            head if head.contains("! {") => head_and_next(&self.text),
            _ => return false,
        };
        own.split(|c| !is_word(c)).any(|word| word == name || word == layout)
    }

    /// What stands between the braces, with its indentation removed.
    fn inside(&self) -> String {
        let lines = self.text.lines().skip_while(|line| is_attribute(line)).skip(1);
        let lines: Vec<_> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        lines.split_last().map(|(_, lines)| lines.join("\n")).unwrap_or_default()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_attribute(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("#[")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

/// The items of a file or of a block, as the renderer writes them: an item starts in the first column.
fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut current, mut head) = (String::new(), None);
    let mut depth = 0;
    for line in text.lines() {
        let comment = line.starts_with("// ") || line.is_empty();
        if head.is_none() && current.is_empty() && comment {
            continue;
        }
        current.push_str(line);
        current.push('\n');
        if head.is_none() && is_attribute(line) {
            continue;
        }
        let head = &mut head;
        let first = head.get_or_insert_with(|| line.to_owned()).clone();
        depth += nesting(line);
        if depth <= 0 && (line.ends_with(';') || line.ends_with('}')) {
            items.push(Item { head: first, text: std::mem::take(&mut current) });
            *head = None;
            depth = 0;
        }
    }
    items
}

/// How many brackets of all kinds a line opens more than it closes, those in strings and comments apart.
fn nesting(line: &str) -> i32 {
    let mut depth = 0;
    let mut chars = line.trim_start().chars().peekable();
    if line.trim_start().starts_with("//") {
        return 0;
    }
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn items_are_told_apart() {
        let text = "// header\n\nuse a:: {\n    b\n};\n\n/// Doc } of A.\n#[x(\"{\")]\npub struct A(u32);\nimpl A {\n    \
                    /// One.\n    pub const ONE: Self = Self(0x1);\n\n    /// Two.\n    #[inline]\n    pub const fn two(self) -> &'static str {\n        \
                    \"}\"\n    }\n}\nword! {\n    A(u32) {\n        ONE 0x1,\n    } {}\n}\n";
        let items = items(text);
        let heads: Vec<_> = items.iter().map(|item| item.head.as_str()).collect();
        assert_eq!(heads, ["use a:: {", "pub struct A(u32);", "impl A {", "word! {"]);
        assert!(items[1..].iter().all(|item| item.is_about("A")));
        let inside = super::items(&items[2].inside());
        assert!(inside[0].defines("ONE") && !inside[0].defines("ON") && inside[1].defines("two"));
        assert!(inside[1].text.ends_with("    \"}\"\n}\n"), "{}", inside[1].text);
    }
}

//! What refers to what in an archive of object files: every function and every datum has a section of its own, and what
//! it refers to stands in its relocations.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use object::read::archive::ArchiveFile;
use object::{
    File, Object, ObjectSection, ObjectSymbol, Relocation, RelocationTarget, SectionIndex, SectionKind, SymbolKind,
};

/// A section: a function or a datum.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The name of the function or datum, readable.
    pub name: String,
    /// What it refers to, in the order of the code.
    pub refers_to: Vec<Target>,
    /// If it is what a panic says of its place: `FILE:LINE:COLUMN`.
    pub place: Option<String>,
}

/// What a relocation points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A section, by its index in [`Code::sections`].
    Section(usize),
    /// A symbol that the archive does not define.
    Undefined(String),
}

/// The functions and data of an archive.
#[derive(Debug, Default)]
pub struct Code {
    pub sections: Vec<Section>,
    /// The sections of symbols that other object files can see, under the names that the linker sees.
    pub symbols: HashMap<String, usize>,
}

impl Code {
    /// Reads a static library.
    pub fn read(archive: &[u8]) -> Result<Code> {
        let mut files = Vec::new();
        for member in ArchiveFile::parse(archive)?.members() {
            let member = member?;
            let name = String::from_utf8_lossy(member.name()).into_owned();
            let data = member.data(archive)?;
            // The compiler's own notes are in there too.
            if data.starts_with(&object::elf::ELFMAG) {
                let file = File::parse(data).with_context(|| format!("in {name}"))?;
                files.push((name, file));
            }
        }
        ensure!(!files.is_empty(), "the archive holds no object files");
        let mut code = Code::default();
        let starts: Vec<HashMap<SectionIndex, usize>> = files.iter().map(|(_, file)| code.add_sections(file)).collect();
        for ((name, file), start) in files.iter().zip(&starts) {
            code.add_references(file, start).with_context(|| format!("in {name}"))?;
        }
        for section in 0..code.sections.len() {
            code.resolve(section);
        }
        Ok(code)
    }

    /// Makes a section of each that has code or data, and says where it is.
    fn add_sections(&mut self, file: &File) -> HashMap<SectionIndex, usize> {
        let mut numbers = HashMap::new();
        for section in file.sections() {
            let kinds =
                [SectionKind::Text, SectionKind::Data, SectionKind::ReadOnlyData, SectionKind::UninitializedData];
            let other_data = matches!(section.kind(), SectionKind::ReadOnlyDataWithRel | SectionKind::ReadOnlyString);
            // What unwinding needs refers to every function, and calls none.
            let unwinding =
                section.name().is_ok_and(|name| name.starts_with(".eh_frame") || name.starts_with(".gcc_except"));
            if (kinds.contains(&section.kind()) || other_data) && !unwinding {
                numbers.insert(section.index(), self.sections.len());
                let name = section.name().unwrap_or_default().to_owned();
                self.sections.push(Section { name, ..Section::default() });
            }
        }
        for symbol in file.symbols() {
            let Some(&number) = symbol.section_index().and_then(|index| numbers.get(&index)) else { continue };
            let Ok(name) = symbol.name() else { continue };
            if symbol.kind() == SymbolKind::Section || name.is_empty() {
                continue;
            }
            if symbol.is_global() {
                self.symbols.entry(name.to_owned()).or_insert(number);
            }
            if self.sections[number].name.starts_with('.') {
                self.sections[number].name = readable(name);
            }
        }
        numbers
    }

    fn add_references(&mut self, file: &File, numbers: &HashMap<SectionIndex, usize>) -> Result<()> {
        for section in file.sections() {
            let Some(&number) = numbers.get(&section.index()) else { continue };
            let mut relocations: Vec<(u64, Relocation)> = section.relocations().collect();
            relocations.sort_by_key(|(offset, _)| *offset);
            if let [(0, name)] = &relocations[..] {
                self.sections[number].place = place(section.data()?, string(file, name));
            }
            for (offset, relocation) in relocations {
                let target = target(file, numbers, relocation.target());
                let target = target.with_context(|| format!("at {offset:#x} of {}", self.sections[number].name))?;
                self.sections[number].refers_to.extend(target);
            }
        }
        Ok(())
    }

    /// Undefined symbols of one file are another's.
    fn resolve(&mut self, section: usize) {
        for target in &mut self.sections[section].refers_to {
            if let Target::Undefined(name) = target {
                *target = match self.symbols.get(name) {
                    Some(number) => Target::Section(*number),
                    None => Target::Undefined(readable(name)),
                };
            }
        }
    }
}

/// What a relocation of code or data points at; nothing for those without a symbol.
fn target(file: &File, numbers: &HashMap<SectionIndex, usize>, target: RelocationTarget) -> Result<Option<Target>> {
    let section = |index: SectionIndex| numbers.get(&index).map(|number| Target::Section(*number));
    Ok(match target {
        RelocationTarget::Section(index) => section(index),
        RelocationTarget::Symbol(index) => {
            let symbol = file.symbol_by_index(index)?;
            match symbol.section_index() {
                Some(index) => section(index),
                None => Some(Target::Undefined(symbol.name()?.to_owned())),
            }
        }
        RelocationTarget::Absolute => None,
        other => anyhow::bail!("a relocation with an unknown target: {other:?}"),
    })
}

/// The data from where a relocation points to.
fn string<'d>(file: &File<'d>, relocation: &Relocation) -> Option<&'d [u8]> {
    let (index, address) = match relocation.target() {
        RelocationTarget::Section(index) => (index, 0),
        RelocationTarget::Symbol(index) => {
            let symbol = file.symbol_by_index(index).ok()?;
            (symbol.section_index()?, symbol.address())
        }
        _ => return None,
    };
    let start = usize::try_from(address.checked_add_signed(relocation.addend())?).ok()?;
    file.section_by_index(index).ok()?.data().ok()?.get(start..)
}

/// The value of a `core::panic::Location`: a pointer to the file's name, its length, the line and the column.
fn place(location: &[u8], name: Option<&[u8]>) -> Option<String> {
    let location: &[u8; 24] = location.try_into().ok()?;
    let number = |at: usize| location.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let length = usize::try_from(number(8)?).ok()?;
    let name = std::str::from_utf8(name?.get(..length)?).ok().filter(|name| name.ends_with(".rs"))?;
    Some(format!("{name}:{}:{}", number(16)?, number(20)?))
}

/// The name of a symbol without what the compiler adds to tell two apart.
fn readable(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn places_are_read() {
        let mut location = [0; 24];
        location[8] = 8;
        location[16] = 12;
        location[20] = 5;
        assert_eq!(place(&location, Some(b"src/a.rs\0")).as_deref(), Some("src/a.rs:12:5"));
        assert_eq!(place(&location, Some(b"src/a.c\0")), None);
        assert_eq!(place(&location[..16], Some(b"src/a.rs")), None);
        assert_eq!(place(&location, Some(b"rs")), None);
    }
}

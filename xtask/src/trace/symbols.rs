//! The names of the guest's functions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::{Object as _, ObjectSymbol as _, SymbolKind};

/// Where functions begin.
#[derive(Debug, Default)]
pub struct Symbols(BTreeMap<u64, String>);

/// A function that is longer is more likely none.
const LONGEST: u64 = 1 << 20;

impl Symbols {
    /// Of an ELF file or a System.map.
    pub fn read(path: &Path) -> Result<Symbols> {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let symbols = Symbols::parse(&data);
        ensure!(!symbols.0.is_empty(), "{} has no names of functions", path.display());
        Ok(symbols)
    }

    fn parse(data: &[u8]) -> Symbols {
        if let Ok(elf) = object::File::parse(data) {
            let functions =
                elf.symbols().filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label));
            return Symbols(
                functions.filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?.into()))).collect(),
            );
        }
        let text = String::from_utf8_lossy(data);
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            matches!(kind, "t" | "T" | "w" | "W").then(|| Some((address, words.next()?.to_owned())))?
        });
        Symbols(lines.collect())
    }

    /// The function with this address, or the address.
    pub fn name(&self, rip: u64) -> String {
        match self.0.range(..=rip).next_back() {
            Some((start, name)) if rip - start < LONGEST => name.clone(),
            _ => format!("{rip:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    #[test]
    fn a_system_map_has_functions() {
        let symbols = Symbols::parse(b"0000000000001000 T first\n0000000000001080 t second\n0000000000001090 D data\n");
        assert_eq!(symbols.name(0x107f), "first");
        assert_eq!(symbols.name(0x1095), "second");
        assert_eq!(symbols.name(0xfff), "0xfff");
        assert_eq!(symbols.name(0x20_0000), "0x200000");
    }
}

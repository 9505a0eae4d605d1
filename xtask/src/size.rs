//! How much code of the library is in an image.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// The library's functions in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: u64,
    pub functions: usize,
}

/// Adds up the symbols of `.text` that are the library's own.
pub fn library(elf: &Path) -> Result<Size> {
    let data = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let file = object::File::parse(&*data).with_context(|| format!("in {}", elf.display()))?;
    let text = file.section_by_name(".text").map(|section| section.index());
    let mut size = Size::default();
    let mut seen = Vec::new();
    for symbol in file.symbols() {
        let of_text = symbol.section_index() == text && symbol.kind() == SymbolKind::Text;
        if of_text && symbol.name().is_ok_and(is_library) && !seen.contains(&symbol.address()) {
            seen.push(symbol.address());
            size.bytes += symbol.size();
            size.functions += 1;
        }
    }
    Ok(size)
}

/// True for `x86_vcpu::…` and for the library's types in `<x86_vcpu::… as …>`.
fn is_library(mangled: &str) -> bool {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    name.trim_start_matches(['<', '&', '*']).trim_start_matches("mut ").starts_with("x86_vcpu::")
}

#[cfg(test)]
mod tests {
    use super::is_library;

    #[test]
    fn the_librarys_symbols_are_known() {
        assert!(is_library("_ZN8x86_vcpu3vmx3run17h0123456789abcdefE"));
        assert!(is_library("_ZN59_$LT$x86_vcpu..error..Error$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE"));
        assert!(!is_library("_ZN10hypervisor4main17h0123456789abcdefE"));
        assert!(!is_library("memcpy"));
    }
}

//! The search: from what a VMM calls along every reference, also those of addresses that are taken, until a panic.

use std::collections::{BTreeMap, VecDeque};

use super::code::{Code, Section, Target};

/// The names with which functions begin where a search starts.
const ROOT: &str = "root_";

/// A function that a guest can reach and that refers to a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The function.
    pub function: String,
    /// The function of the panic.
    pub panics: String,
    /// What leads there, from a root.
    pub path: Vec<String>,
    /// The places in the source that the function's panics name.
    pub places: Vec<String>,
}

/// What a search has seen.
#[derive(Debug, Default)]
pub struct Reached {
    pub found: Vec<Found>,
    /// The names of all functions and data that were reached.
    pub names: Vec<String>,
}

/// Searches from all functions whose names begin with `root_`.
pub fn search(code: &Code) -> Reached {
    let mut roots: Vec<_> =
        code.symbols.iter().filter(|(name, _)| name.starts_with(ROOT)).map(|(_, &root)| root).collect();
    roots.sort_unstable();
    let mut from: BTreeMap<usize, Option<usize>> = roots.iter().map(|&root| (root, None)).collect();
    let mut queue: VecDeque<usize> = roots.into();
    let mut reached = Reached::default();
    while let Some(number) = queue.pop_front() {
        let section = &code.sections[number];
        reached.names.push(section.name.clone());
        let mut panics: Vec<&str> = Vec::new();
        for target in &section.refers_to {
            let name = match target {
                Target::Section(target) => code.sections[*target].name.as_str(),
                Target::Undefined(name) => name.as_str(),
            };
            if is_panic(name) {
                panics.push(name);
            } else if let Target::Section(target) = *target
                && !from.contains_key(&target)
            {
                from.insert(target, Some(number));
                queue.push_back(target);
            }
        }
        panics.sort_unstable();
        panics.dedup();
        reached.found.extend(panics.into_iter().map(|panics| Found {
            function: section.name.clone(),
            panics: panics.to_owned(),
            path: path(code, &from, number),
            places: places(code, section),
        }));
    }
    reached.found.sort_by(|a, b| (&a.function, &a.panics).cmp(&(&b.function, &b.panics)));
    reached.found.dedup_by(|a, b| a.function == b.function && a.panics == b.panics);
    reached
}

/// Functions that do not come back, or that end the program: those of `core`, by what they begin with, and what a program
/// without `core`'s would end with.
fn is_panic(name: &str) -> bool {
    const BEGINNINGS: [&str; 4] =
        ["core::panicking::", "std::panicking::", "std::process::", "alloc::alloc::handle_alloc_error"];
    const OTHERS: [&str; 4] = ["rust_begin_unwind", "__rust_begin_unwind", "abort", "__rust_alloc_error_handler"];
    const ENDINGS: [&str; 4] = ["_failed", "_fail", "::handle_error", "::capacity_overflow"];
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || OTHERS.contains(&name)
        || ((name.starts_with("core::") || name.starts_with("alloc::"))
            && ENDINGS.iter().any(|end| name.ends_with(end)))
        || name.starts_with("core::cell::panic_")
}

fn path(code: &Code, from: &BTreeMap<usize, Option<usize>>, to: usize) -> Vec<String> {
    let mut path = vec![code.sections[to].name.clone()];
    let mut at = to;
    while let Some(Some(before)) = from.get(&at) {
        path.push(code.sections[*before].name.clone());
        at = *before;
    }
    path.reverse();
    path
}

fn places(code: &Code, section: &Section) -> Vec<String> {
    let mut places = Vec::new();
    for target in &section.refers_to {
        if let Target::Section(target) = target
            && let Some(place) = &code.sections[*target].place
            && !places.contains(place)
        {
            places.push(place.clone());
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, refers_to: &[usize]) -> Section {
        let refers_to = refers_to.iter().map(|&number| Target::Section(number)).collect();
        Section { name: name.into(), refers_to, place: None }
    }

    fn code() -> Code {
        let mut place = section(".Lanon.1", &[]);
        place.place = Some("src/a.rs:1:2".into());
        let sections = vec![
            section("root_run", &[1]),
            section("x86_vcpu::a", &[2, 4]),
            // A table of functions: whose address is taken may be called.
            section("vtable", &[3]),
            section("x86_vcpu::b", &[5, 6]),
            section("x86_vcpu::c", &[]),
            place,
            section("core::panicking::panic_bounds_check", &[7]),
            section("core::panicking::panic_fmt", &[]),
            section("x86_vcpu::unreached", &[6]),
        ];
        Code { sections, symbols: [("root_run".to_owned(), 0)].into() }
    }

    #[test]
    fn what_is_reached_through_a_table_is_found_with_its_path_and_place() {
        let reached = search(&code());
        let [found] = &reached.found[..] else { panic!("{reached:?}") };
        assert_eq!(
            (found.function.as_str(), found.panics.as_str()),
            ("x86_vcpu::b", "core::panicking::panic_bounds_check")
        );
        assert_eq!(found.path, ["root_run", "x86_vcpu::a", "vtable", "x86_vcpu::b"]);
        assert_eq!(found.places, ["src/a.rs:1:2"]);
        assert!(!reached.names.iter().any(|name| name == "x86_vcpu::unreached"));
    }

    #[test]
    fn panics_are_known() {
        for name in [
            "core::panicking::panic_const::panic_const_add_overflow",
            "core::slice::index::slice_end_index_len_fail",
            "core::option::unwrap_failed",
            "core::result::unwrap_failed",
            "core::option::expect_failed",
            "core::str::slice_error_fail",
            "core::cell::panic_already_borrowed",
            "alloc::raw_vec::handle_error",
        ] {
            assert!(is_panic(name), "{name}");
        }
        assert!(!is_panic("x86_vcpu::vmx::run::entry_failed"));
        assert!(!is_panic("core::fmt::write"));
    }
}

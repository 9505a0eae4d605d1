//! Names as different documents print them: what is the same name, and what may be another one of the same thing.

mod related;
mod words;

use words::words;

/// A text with more words that say something is no name.
const LONGEST: usize = 7;

/// A name, ready to be compared.
#[derive(Clone, Debug)]
pub struct Name {
    /// Letters and digits, in lower case.
    plain: String,
    /// The same without what headers put before it.
    bare: String,
    /// Its words, abbreviations undone, without those that say nothing.
    words: Vec<String>,
    /// The words as one.
    joined: String,
    /// The words as one, in alphabetical order.
    sorted: String,
}

/// How much two names have in common. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Nothing that counts, or words that exclude each other: "read" and "write".
    None,
    /// Enough to be names of one thing.
    Related,
    /// The same apart from punctuation, abbreviations, prefixes and order.
    Same,
}

impl Name {
    /// Makes a name of a text. A text of several names, such as `EPT pointer (EPTP)`, gives several.
    pub fn all(text: &str) -> Vec<Name> {
        let text = text.trim();
        let mut all = vec![Name::one(text)];
        // What stands in parentheses is another name, or an explanation.
        if let Some((before, rest)) = text.split_once('(')
            && let Some((inside, after)) = rest.split_once(')')
        {
            let without = format!("{before} {after}");
            if !without.trim().is_empty() {
                all.push(Name::one(&without));
            }
            // A single word only: "full" and explanations are no names.
            if inside.len() > 2 && inside.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                all.push(Name::one(inside));
            }
        }
        // "RIPV. Restart IP valid", "EN: Enable Intel MPX in supervisor mode"
        for separator in [": ", ". "] {
            all.extend(text.split_once(separator).map(|(name, _)| Name::one(name)));
        }
        for separator in ["; ", " / "] {
            all.extend(text.split(separator).skip(usize::from(!text.contains(separator))).map(Name::one));
        }
        all.retain(|name| !name.plain.is_empty());
        all
    }

    /// "ENABLE_MSRLIST" of "Enable MSR-list instructions"
    fn starts(&self, longer: &Name) -> bool {
        self.bare.len() >= 8
            && longer.bare.starts_with(&self.bare)
            && !self.bare.ends_with(|c: char| c.is_ascii_digit())
    }

    /// Whether this is a sentence rather than a name: what is printed where others have one.
    fn is_prose(&self) -> bool {
        self.words.len() > LONGEST || self.plain.starts_with("if")
    }

    fn one(text: &str) -> Name {
        let text = words::without_half(text);
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let words = words(text);
        let mut sorted = words.clone();
        sorted.sort();
        let bare: String = words::without_prefix(text).chars().filter(char::is_ascii_alphanumeric).collect();
        let (plain, bare) = (plain.to_ascii_lowercase(), bare.to_ascii_lowercase());
        Name { plain, bare, joined: words.concat(), sorted: sorted.join(" "), words }
    }

    fn same(&self, other: &Name) -> bool {
        self.plain == other.plain
            || !self.bare.is_empty() && self.bare == other.bare
            || !self.joined.is_empty() && (self.joined == other.joined || self.sorted == other.sorted)
    }
}

/// The names of one thing.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<Name>);

impl Names {
    /// All names of these texts.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Names {
        Names(texts.into_iter().flat_map(Name::all).collect())
    }

    /// The names of something by its title: of `PML4 Entry (PML4E)` the acronym is that of many.
    pub fn of_title(text: &str) -> Names {
        Names(vec![Name::one(text)])
    }

    /// More names.
    pub fn extend(&mut self, more: Names) {
        self.0.extend(more.0);
    }

    /// Whether what is printed is a sentence rather than a name.
    pub fn is_prose(&self) -> bool {
        self.0.first().is_some_and(Name::is_prose)
    }

    /// How alike the two names are that are most alike.
    pub fn likeness(&self, other: &Names) -> Likeness {
        if self.same(other) {
            return Likeness::Same;
        }
        let related =
            self.pairs(other).any(|(a, b)| a.starts(b) || b.starts(a) || related::related(&a.words, &b.words));
        if related { Likeness::Related } else { Likeness::None }
    }

    /// Whether one is the same.
    pub fn same(&self, other: &Names) -> bool {
        self.pairs(other).any(|(a, b)| a.same(b))
    }

    fn pairs<'n>(&'n self, other: &'n Names) -> impl Iterator<Item = (&'n Name, &'n Name)> {
        self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)))
    }
}

/// The name of something that stands for nothing: "Reserved, SBZ".
pub fn is_reserved(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.starts_with("reserved")
        || text.ends_with(" reserved")
        || text.starts_with("not currently defined")
        || matches!(text.trim(), "sbz" | "mbz" | "raz" | "unused" | "not used" | "not assigned" | "")
}

#[cfg(test)]
mod tests {
    use super::{Likeness, Names};

    fn likeness(a: &str, b: &str) -> Likeness {
        Names::of([a]).likeness(&Names::of([b]))
    }

    #[test]
    fn the_same_name_in_other_words() {
        for (a, b) in [
            ("Guest RIP", "GUEST_RIP"),
            ("EPT pointer (EPTP)", "EPT_POINTER"),
            ("EPT pointer (EPTP) (full)", "VMX_VMCS64_CTRL_EPTP_FULL"),
            ("VMEXIT_CR0_READ", "SVM_EXIT_READ_CR0"),
            ("Interrupt-window exiting", "CPU_BASED_INTR_WINDOW_EXITING"),
            ("Enable VPID", "SECONDARY_EXEC_ENABLE_VPID"),
            ("SNPActive", "SNP_ACTIVE"),
            ("RDMSR", "EXIT_REASON_MSR_READ"),
            ("VM-exit controls", "VM_EXIT_CONTROLS"),
            ("Guest physical address", "Guest-physical address"),
            ("IA32_FEATURE_CONTROL", "MSR_IA32_FEATURE_CONTROL"),
            ("Address of I/O bitmap A", "IO_BITMAP_A"),
            ("I/O instruction", "EXIT_REASON_IO_INSTRUCTION"),
        ] {
            assert_eq!(likeness(a, b), Likeness::Same, "{a} and {b}");
        }
    }

    #[test]
    fn another_name_of_the_same_thing() {
        for (a, b) in [
            ("Guest RIP", "Guset RIP"),
            ("Page-modification log address", "PML_ADDRESS"),
            ("WBINVD or WBNOINVD", "EXIT_REASON_WBINVD"),
            ("Triple fault", "EXIT_REASON_TRIPLE_FAULTS_ALL"),
            ("Enable MSR-list instructions", "VMX_VM_EXEC_CTRL3_ENABLE_MSRLIST"),
        ] {
            assert_ne!(likeness(a, b), Likeness::None, "{a} and {b}");
        }
    }

    #[test]
    fn names_of_other_things() {
        for (a, b) in [
            ("Guest RIP", "Guest RSP"),
            ("Guest CS selector", "Guest ES selector"),
            ("Guest CS base", "Guest CS limit"),
            ("Guest CR0", "Host CR0"),
            ("VMEXIT_CR0_READ", "VMEXIT_CR0_WRITE"),
            ("CR3-target value 0", "CR3-target value 1"),
            ("Load IA32_PAT", "Save IA32_PAT"),
            ("HLT", "CPUID"),
            ("RDMSR", "EXIT_REASON_MSR_WRITE"),
            ("IA32_LSTAR", "IA32_CSTAR"),
            ("IA32_SYSENTER_ESP", "IA32_SYSENTER_EIP"),
            ("Guest IA32_PAT", "Guest IA32_EFER"),
            ("Address of I/O bitmap A", "Address of I/O bitmap B"),
            ("CR0 guest/host mask", "CR4 guest/host mask"),
        ] {
            assert_eq!(likeness(a, b), Likeness::None, "{a} and {b}");
        }
    }
}

//! Whether two lists of words may name one thing.

/// Words of which names of different things have different ones.
const EXCLUSIVE: &[&[&str]] = &[
    &["guest", "host"],
    &["rd", "wr"],
    &["load", "save", "store", "clear"],
    &["entry", "exit"],
    &["in", "out", "ins", "outs"],
    &["low", "high", "full"],
    &["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr", "gdtr", "idtr", "gdt", "idt", "ldt"],
    &["rip", "rsp", "rflags", "rax", "eip", "esp", "ssp"],
    &["sel", "base", "limit", "attr"],
    &["cr0", "cr1", "cr2", "cr3", "cr4", "cr8", "dr0", "dr1", "dr2", "dr3", "dr6", "dr7"],
    &["pin", "primary", "secondary", "tertiary"],
    &["mask", "match", "shadow"],
    &["efer", "pat", "debugctl", "pkrs", "bndcfgs"],
    &["a", "b", "c", "d"],
    &["start", "end"],
    &["smi", "nmi", "intr", "init"],
    &["user", "supervisor"],
    &["rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed", "cpuid", "hlt", "pause", "mwait", "monitor"],
    &["invept", "invvpid", "invlpg", "invpcid", "invd", "wbinvd"],
    &["vmcall", "vmclear", "vmlaunch", "vmptrld", "vmptrst", "vmread", "vmresume", "vmwrite", "vmxoff", "vmxon"],
];

/// At least half of the words of the shorter list are in the other, and what is left does not exclude each other.
pub(super) fn related(a: &[String], b: &[String]) -> bool {
    if a.is_empty() || b.is_empty() {
        return false;
    }
    let (mut a, mut b): (Vec<&str>, Vec<&str>) =
        (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
    let shorter = a.len().min(b.len());
    let mut common = 0;
    for alike in [exactly as fn(&str, &str) -> bool, nearly] {
        a.retain(|word| match b.iter().position(|other| alike(word, other)) {
            Some(at) => {
                b.remove(at);
                common += 1;
                false
            }
            None => true,
        });
    }
    common += initials(&mut a, &mut b) + initials(&mut b, &mut a);
    let exclusive = a.iter().any(|x| b.iter().any(|y| exclude(x, y)));
    common > 0 && 2 * common >= shorter && !exclusive
}

fn exclude(a: &str, b: &str) -> bool {
    let number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let stem = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    (number(a) && number(b))
        || (stem(a) == stem(b) && a != b)
        || EXCLUSIVE.iter().any(|group| group.contains(&a) && group.contains(&b))
}

fn exactly(a: &str, b: &str) -> bool {
    a == b
}

/// An abbreviation, or a misspelling of a word that is long enough to have one.
fn nearly(a: &str, b: &str) -> bool {
    if exclude(a, b) {
        return false;
    }
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let most = match short.len() {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    };
    // Names of registers differ in their first letters: LSTAR, CSTAR.
    let misspelled = || most > 0 && a.chars().next() == b.chars().next() && crate::load::edits(a, b) <= most;
    (short.len() >= 3 && long.starts_with(short)) || misspelled()
}

/// "pml" for "page modification log": how many words that explains.
fn initials(short: &mut Vec<&str>, long: &mut Vec<&str>) -> usize {
    let mut found = 0;
    short.retain(|word| {
        let count = word.len();
        let run = (2..=long.len()).contains(&count).then(|| {
            (0..=long.len() - count).find(|start| {
                let run = &long[*start..start + count];
                run.iter().zip(word.chars()).all(|(word, initial)| word.starts_with(initial))
            })
        });
        match run.flatten() {
            Some(start) => {
                long.drain(start..start + count);
                found += 1;
                false
            }
            None => true,
        }
    });
    found
}

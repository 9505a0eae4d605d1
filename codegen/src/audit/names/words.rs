//! The words of a name.

/// What headers put before the names of a table. Longer ones before those that they start with.
const PREFIXES: &[&str] = &[
    "VMX_VMCS16_",
    "VMX_VMCS32_CTRL_",
    "VMX_VMCS32_RO_",
    "VMX_VMCS32_",
    "VMX_VMCS64_CTRL_",
    "VMX_VMCS64_RO_",
    "VMX_VMCS64_",
    "VMX_VMCS_CTRL_",
    "VMX_VMCS_RO_",
    "VMX_VMCS_",
    "VMCS_16BIT_",
    "VMCS_32BIT_",
    "VMCS_64BIT_",
    "VMCS_NATURAL_",
    "VMX_VM_EXEC_CTRL1_",
    "VMX_VM_EXEC_CTRL2_",
    "VMX_VM_EXEC_CTRL3_",
    "VMX_PIN_BASED_VMEXEC_CTRL_",
    "VMX_VMEXIT_CTRL1_",
    "VMX_VMEXIT_CTRL2_",
    "VMX_VMENTRY_CTRL1_",
    "VMX_PROC_CTLS_",
    "VMX_PROC_CTLS2_",
    "VMX_PIN_CTLS_",
    "VMX_EXIT_CTLS_",
    "VMX_ENTRY_CTLS_",
    "VMX_EXIT_REASON_",
    "VMX_EXIT_",
    "VMX_VMEXIT_",
    "VMX_FEATURE_",
    "VMX_MISC_",
    "VMX_BASIC_",
    "VMXERR_",
    "VMXERROR_",
    "VMERR_",
    "PRIMARY_PROCBASED_",
    "PRIMARY_EXEC_",
    "CPU_BASED_",
    "PIN_BASED_",
    "SECONDARY_EXEC_",
    "TERTIARY_EXEC_",
    "SECONDARY_VM_EXIT_",
    "VM_EXIT_",
    "VM_ENTRY_",
    "EXIT_REASON_",
    "SVM_VMEXIT_",
    "SVM_EXIT_",
    "SVM_INTERCEPT_",
    "VMCB_INTERCEPT_",
    "VMCB_",
    "VMSA_",
    "VMEXIT_",
    "INTERCEPT_",
    "HOST_MSR_",
    "MSR_AMD_",
    "MSR_AMD64_",
    "MSR_K7_",
    "MSR_K8_",
    "MSR_F15H_",
    "MSR_",
];

/// What is said at the start or at the end of names in running text, and says nothing in its table.
const FRAMES: &[&str] = &["intercept ", "intercepts ", "vmexit "];

/// Words that mean the same. The first of each line is what the others become.
const SYNONYMS: &[&[&str]] = &[
    &["addr", "address", "addresses", "adr", "adrs"],
    &["ctl", "ctrl", "ctls", "ctrls", "control", "controls", "cntl", "controlling"],
    &["intr", "interrupt", "interrupts", "interruption", "intrs"],
    &["excp", "exception", "exceptions", "excep"],
    &["info", "information"],
    &["instr", "instruction", "instructions", "insn", "inst"],
    &["len", "length"],
    &["err", "error", "errcode"],
    &["phys", "physical", "phy"],
    &["lin", "linear"],
    &["ptr", "pointer", "pointers"],
    &["id", "identifier", "identification"],
    &["cnt", "count", "number", "num", "nr", "counts"],
    &["sel", "selector", "selectors"],
    &["virt", "virtual", "virtualize", "virtualized", "virtualization", "virtualised"],
    &["desc", "descriptor", "descriptors", "dtr"],
    &["exec", "execute", "execution"],
    &["proc", "processor"],
    &["ext", "external", "extended"],
    &["wr", "write", "writes"],
    &["rd", "read", "reads"],
    &["mem", "memory"],
    &["attr", "attrib", "attribute", "attributes", "rights", "ar"],
    &["int", "interruptibility", "interuptibility"],
    &["misconfig", "misconfiguration"],
    &["ack", "acknowledge"],
    &["perf", "performance"],
    &["ept", "eptp"],
    &["msrs", "msr"],
    &["io", "ioio"],
    &["bitmap", "bitmaps", "map", "bmp"],
    &["exit", "exiting", "exits", "vmexit"],
    &["entry", "vmentry", "entries"],
    &["wnd", "window"],
    &["cfg", "config", "configuration"],
    &["dbg", "debug"],
    &["pg", "page", "paging"],
    &["fail", "failed", "failure"],
    &["inv", "invalid", "invd"],
    &["thr", "threshold"],
    &["vec", "vector", "vectors", "vectoring"],
    &["asst", "assist", "assists"],
    &["temp", "temperature"],
    &["tmr", "timer"],
    &["prot", "protection", "protected"],
    &["notif", "notification"],
    &["priv", "privilege", "privileged"],
    &["encl", "enclave"],
    &["max", "maximum"],
    &["min", "minimum"],
    &["encr", "encrypted", "encryption", "enc"],
    &["sts", "status"],
    &["glob", "global"],
    &["ovf", "overflow"],
    &["xlat", "translation"],
    &["rel", "release"],
    &["rsm", "resume"],
    &["swch", "switch", "switching"],
    &["trig", "trigger"],
    &["supp", "support", "supported"],
    &["sig", "signature"],
    &["cyc", "cycle", "cycles"],
];

/// Words that say nothing.
const EMPTY: &[&str] = &[
    "of",
    "the",
    "an",
    "for",
    "to",
    "in",
    "on",
    "and",
    "or",
    "by",
    "with",
    "from",
    "as",
    "field",
    "fields",
    "bit",
    "bits",
    "enable",
    "enabled",
    "enables",
    "en",
    "vm",
    "vmx",
    "svm",
    "due",
    "is",
    "ia32",
    "full",
    "instr",
    "addr",
    "use",
    "register",
    "registers",
    "reg",
    "intercept",
    "intercepts",
    "msrs",
    "value",
    "vmcs",
];

/// Without the mark of a half of a 64-bit field.
pub(super) fn without_half(text: &str) -> &str {
    let text = text.trim();
    for end in [" (full)", " (high)", "(full)", "(high)", "_FULL", "_HIGH", "_HI", "_full", "_high", " full", " high"] {
        if let Some(rest) = text.strip_suffix(end) {
            return rest.trim();
        }
    }
    text
}

/// The words, each in one spelling. What would leave nothing is kept.
pub(super) fn words(text: &str) -> Vec<String> {
    // The article; "I/O bitmap A" is not that.
    let all = split(without_prefix(text)).into_iter().filter(|word| word != "a");
    let all: Vec<String> = all.flat_map(|word| parted(canonical(&word))).collect();
    let telling: Vec<String> = all.iter().filter(|word| !EMPTY.contains(&word.as_str())).cloned().collect();
    if telling.is_empty() { all } else { telling }
}

/// Without what headers put before the names of a table.
pub(super) fn without_prefix(text: &str) -> &str {
    // Macros and constants have no spaces.
    if !text.contains(' ') {
        let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
        // Of VM_EXIT_CONTROLS nothing would remain.
        return rest.filter(|rest| canonical(rest) != "ctl").unwrap_or(text);
    }
    let lower = text.to_ascii_lowercase();
    for frame in FRAMES {
        // ASCII letters keep their place.
        if lower.starts_with(frame) && lower.len() == text.len() {
            return &text[frame.len()..];
        }
    }
    text
}

fn canonical(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    match SYNONYMS.iter().find(|line| line.contains(&word.as_str())) {
        Some(line) => line[0].to_owned(),
        None => word,
    }
}

/// Words that stand for several: RDMSR is "MSR read" to some.
fn parted(word: String) -> Vec<String> {
    match word.as_str() {
        "rdmsr" => vec!["rd".to_owned(), "msrs".to_owned()],
        "wrmsr" => vec!["wr".to_owned(), "msrs".to_owned()],
        "mce" => vec!["machine".to_owned(), "check".to_owned()],
        _ => vec![word],
    }
}

/// At punctuation, and where a capital letter starts a word: `SNPActive`, `TscAux`.
fn split(text: &str) -> Vec<String> {
    let text = text.replace("I/O", "IO").replace("i/o", "io").replace('\'', "");
    let chars: Vec<char> = text.chars().collect();
    let mut words = vec![String::new()];
    for (i, c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1);
        let starts = c.is_ascii_uppercase()
            && (before.is_some_and(|c| c.is_ascii_lowercase())
                || before.is_some_and(|c| c.is_ascii_uppercase())
                    && after.is_some_and(|c| c.is_ascii_lowercase())
                    // A plural: "MSRs", "NMIs".
                    && !(after == Some(&'s') && chars.get(i + 2).is_none_or(|c| !c.is_ascii_alphanumeric())));
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(*c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

//! A line of a log without what the log put before it.

/// A line, and who printed it as far as its prefix tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// What was printed.
    pub text: &'t str,
    /// The prefix is that of Xen's console.
    pub xen: bool,
}

/// Takes timestamps, log levels, names of hosts, processes and modules and marks of quotation off.
pub(super) fn stripped(line: &str) -> Line<'_> {
    let mut line = Line { text: without_syslog(line.trim()), xen: false };
    loop {
        let text = line.text.trim_start();
        let rest = text
            .strip_prefix('>')
            .or_else(|| bracketed(text, '<', '>', |c| c.is_ascii_digit()))
            .or_else(|| bracketed(text, '[', ']', |c| c.is_ascii_alphanumeric() || " .:-+/".contains(c)))
            .or_else(|| {
                let rest = text.strip_prefix("(XEN)")?;
                line.xen = true;
                Some(rest)
            })
            .or_else(|| module(text));
        match rest {
            Some(rest) => line.text = rest,
            None => return Line { text: text.trim_end(), ..line },
        }
    }
}

/// `[   12.345678]`, `[2019-11-02 14:09:46]`, `<3>`, and `[T1234]`: short, and with a digit in it.
fn bracketed(text: &str, open: char, close: char, allowed: fn(char) -> bool) -> Option<&str> {
    let (inside, rest) = text.strip_prefix(open)?.split_once(close)?;
    let dated = inside.len() <= 40 && inside.contains(|c: char| c.is_ascii_digit()) && inside.chars().all(allowed);
    dated.then_some(rest)
}

/// `kvm [1234]: `, `kvm_intel: `, `SVM: `
fn module(text: &str) -> Option<&str> {
    let (name, rest) = text.split_once(": ")?;
    let name = match name.split_once(" [") {
        Some((name, process)) => {
            process.strip_suffix(']').filter(|process| process.bytes().all(|byte| byte.is_ascii_digit()))?;
            name
        }
        None => name,
    };
    matches!(name, "kvm" | "kvm_intel" | "kvm_amd" | "SVM").then_some(rest)
}

/// `Nov 23 01:00:00 host kernel: ` and what journals write there.
fn without_syslog(text: &str) -> &str {
    match text.split_once(" kernel: ") {
        Some((before, rest)) if before.len() <= 80 && before.contains(':') && !before.contains('=') => rest,
        _ => text.strip_prefix("kernel: ").unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::stripped;

    #[test]
    fn prefixes_of_logs_are_taken_off() {
        for (line, text) in [
            ("[   42.123456] *** Guest State ***", "*** Guest State ***"),
            ("<3>[   42.1] kvm_intel: CR3 = 0x1", "CR3 = 0x1"),
            ("[  42.1][ T2211] kvm_amd: asid:               1", "asid:               1"),
            ("(XEN) [2026-11-23 01:00:00] CR3 = 0x1", "CR3 = 0x1"),
            ("(XEN) [2026-11-23 01:00:00.123]   CS: 0008 0a09b", "CS: 0008 0a09b"),
            ("Nov 23 01:00:00 host kernel: [    1.0] RSP = 0x1", "RSP = 0x1"),
            ("2026-11-23T01:00:00+0000 host kernel: kvm [77]: vmx: x", "vmx: x"),
            ("SVM: VMCB Control Area:", "VMCB Control Area:"),
            ("> > CR3 = 0x1", "CR3 = 0x1"),
            ("GUEST_CR0 = 0x80000011 (PE, ET, PG)", "GUEST_CR0 = 0x80000011 (PE, ET, PG)"),
            ("[ no date ] x", "[ no date ] x"),
        ] {
            assert_eq!(stripped(line).text, text, "{line}");
        }
        assert!(stripped("(XEN) a").xen && !stripped("a (XEN)").xen);
    }
}

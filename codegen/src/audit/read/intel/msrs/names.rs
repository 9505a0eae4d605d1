//! What MSRs and their bits are called.

use crate::audit::read::intel::text;

/// Whether it may be the end of a name.
pub fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The former names in "(TSC)" and "(BIOS_SIGN/BBL_CR_D3)".
pub fn alias(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let ok = |name: &&str| name.len() > 2 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    inner.split(['/', ',', ' ']).map(str::trim).filter(ok).map(str::to_string).collect()
}

/// "Lock bit" of "Lock bit (R/WO): (1 = locked)".
pub fn title(description: &str) -> String {
    // "1: Full width" is about the value.
    let is_value = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let description =
        description.split_once(": ").filter(|(value, _)| is_value(value)).map_or(description, |(_, name)| name);
    without_access(&text::first_sentence(description.split(": ").next().unwrap_or(description)))
}

/// Without "(R/W)".
pub fn without_access(text: &str) -> String {
    let mut text = text.to_string();
    if let Some(at) = text.rfind(" (")
        && text
            .get(at..)
            .is_some_and(|access| access.chars().all(|c| "( )/".contains(c) || "RWOLriteonlydSC0".contains(c)))
    {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_of_bits() {
        assert_eq!(title("Lock bit (R/WO): (1 = locked). When set"), "Lock bit");
        assert_eq!(title("APIC Base (R/W)"), "APIC Base");
        assert_eq!(title("1: EN: Enables it"), "EN");
        assert_eq!(without_access("SYSCALL Enable: IA32_EFER.SCE (R/W)"), "SYSCALL Enable: IA32_EFER.SCE");
        assert_eq!(title("Branch Barrier (IBPB). More"), "Branch Barrier (IBPB)");
    }

    #[test]
    fn former_names() {
        assert_eq!(alias("(BIOS_SIGN/BBL_CR_D3)"), ["BIOS_SIGN", "BBL_CR_D3"]);
        assert_eq!(alias("(MSR_PLATFORM_ID )"), ["MSR_PLATFORM_ID"]);
    }
}

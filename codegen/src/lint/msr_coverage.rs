//! Every register of the tables is in a rule of the MSR policy, on both vendors.

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

/// So many are named.
const LISTED: usize = 4;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let Some(first) = spec.msr_policy.first() else { return };
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let rules = spec.msr_policy.iter().filter(|rule| rule.is_on(vendor));
        let covered: Vec<_> = rules.flat_map(|rule| rule.addresses(spec)).collect();
        let inside = |address| covered.iter().any(|(first, last, _)| (*first..=*last).contains(&address));
        let missing: Vec<_> =
            spec.msrs.iter().filter(|msr| !inside(msr.address.value)).map(|msr| msr.head.name()).collect();
        let Some(listed) = missing.get(..missing.len().min(LISTED)).filter(|listed| !listed.is_empty()) else {
            continue;
        };
        let more = match missing.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message =
            format!("no rule says what becomes of these MSRs on {}: {}{more}", vendor.name(), listed.join(", "));
        out.push(Diagnostic::new(first.name.span, message).help("the host's are `host = true` with `fault`"));
    }
}

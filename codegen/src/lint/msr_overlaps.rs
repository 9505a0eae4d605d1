//! A register is in one rule of the MSR policy, and a range has no end before its start.

use crate::diagnostics::Diagnostic;
use crate::model::{Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for rule in &spec.msr_policy {
        for (_, _, span) in rule.addresses(spec).into_iter().filter(|(first, last, _)| first > last) {
            out.push(Diagnostic::new(span, format!("the range of {} ends before it starts", rule.name.value)));
        }
    }
    let mut found: Vec<Diagnostic> = Vec::new();
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let rules = spec.msr_policy.iter().filter(|rule| rule.is_on(vendor));
        let mut all: Vec<_> = rules
            .flat_map(|rule| rule.addresses(spec).into_iter().map(move |(first, last, span)| (first, last, span, rule)))
            .collect();
        all.sort_by_key(|(first, _, span, _)| (*first, *span));
        let mut before = all.first();
        for next in all.iter().skip(1) {
            let Some((_, end, other, first)) = before else { break };
            let (start, last, span, rule) = next;
            if start <= end {
                let message = format!("MSR {start:X}H is in the rules {} and {}", first.name.value, rule.name.value);
                let error = Diagnostic::new(*span, message).related(*other, format!("{} is here", first.name.value));
                if !found.contains(&error) {
                    found.push(error);
                }
            }
            if last > end {
                before = Some(next);
            }
        }
    }
    out.extend(found);
}

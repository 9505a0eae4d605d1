//! What passes through to a register is switched between guest and host, on both vendors that the rule is for.

use crate::diagnostics::Diagnostic;
use crate::model::{AT_BIND, Area, Group, MsrAnswer, MsrPolicy, Span, Spec, SvmPlace, Vendor};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for rule in &spec.msr_policy {
        places(spec, rule, out);
        let passes = [&rule.read, &rule.write].into_iter().find(|answer| answer.value == MsrAnswer::Pass);
        let Some(passes) = passes else { continue };
        let lists = [(Vendor::Intel, "vmx", rule.vmx.len()), (Vendor::Amd, "svm", rule.svm.len())];
        for (_, key, _) in lists.into_iter().filter(|(vendor, _, places)| rule.is_on(*vendor) && *places == 0) {
            let message = format!("{} passes through, and no `{key}` says how it is switched", rule.name.value);
            let help =
                format!("`{key}` lists where the guest's value is kept for each register, or is [\"{AT_BIND}\"]");
            out.push(Diagnostic::new(passes.span, message).help(help));
        }
    }
}

/// The fields and members are there, and one for each register.
fn places(spec: &Spec, rule: &MsrPolicy, out: &mut Vec<Diagnostic>) {
    let kept = |group: Group, name: &str| group == Group::Guest || name == "TSC_OFFSET";
    let fields = || spec.fields.iter().filter(|field| kept(field.group.value, field.head.name()));
    for place in rule.vmx.iter().filter(|place| place.value != AT_BIND) {
        if !fields().any(|field| field.head.name() == place.value) {
            out.push(unresolved(place, "VMCS field of the guest", fields().map(|field| field.head.name())));
        }
    }
    for place in &rule.svm {
        let SvmPlace::Member(place) = place else { continue };
        let member = spec.members_of(place.area).find(|member| member.head.name() == place.member);
        if member.is_none() || place.area == Area::Control && place.member != "TSC_OFFSET" {
            let message = format!("`{}.{}` keeps nothing of a guest", place.area.name(), place.member);
            out.push(Diagnostic::new(place.span, message));
        }
    }
    let bind: Vec<_> = rule.svm.iter().map(|place| matches!(place, SvmPlace::Bind(_))).collect();
    let vmx: Vec<_> = rule.vmx.iter().map(|place| place.value == AT_BIND).collect();
    let (registers, span) = (rule.msrs.len() + rule.ranges.len(), rule.span);
    for (key, places) in [("vmx", vmx), ("svm", bind)] {
        count(key, &places, registers, span, out);
    }
}

fn count(key: &str, bind: &[bool], registers: usize, span: Span, out: &mut Vec<Diagnostic>) {
    if bind.is_empty() || bind == [true] || bind.len() == registers && !bind.contains(&true) {
        return;
    }
    let message = format!("`{key}` has {} places for {registers} registers", bind.len());
    out.push(Diagnostic::new(span, message).help(format!("it lists one for each, or is [\"{AT_BIND}\"] for all")));
}

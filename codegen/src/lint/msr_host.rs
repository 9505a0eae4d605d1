//! What belongs to the host is refused, or answered by a value.

use crate::diagnostics::Diagnostic;
use crate::model::{MsrAnswer, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for rule in &spec.msr_policy {
        let Some(host) = rule.host else { continue };
        let closed = [MsrAnswer::Fault, MsrAnswer::Emulate];
        for answer in [&rule.read, &rule.write].into_iter().filter(|answer| !closed.contains(&answer.value)) {
            let message = format!("{} belongs to the host, and `{}` opens it", rule.name.value, answer.value.name());
            out.push(Diagnostic::new(answer.span, message).help("it is `fault` or `emulate`"));
        }
        if rule.is_switched() {
            let message = format!("{} belongs to the host, so that nothing switches it", rule.name.value);
            out.push(Diagnostic::new(host, message));
        }
    }
}

//! A rule has what its answers need and nothing else: a handler for `vendor`, bits for `emulate`.

use crate::diagnostics::Diagnostic;
use crate::model::{MsrAnswer, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for rule in &spec.msr_policy {
        let name = &rule.name.value;
        let answers = [&rule.read, &rule.write];
        let is = |answer| answers.into_iter().find(move |given| given.value == answer);
        match (is(MsrAnswer::Vendor), &rule.handler) {
            (Some(answer), None) => {
                out.push(Diagnostic::new(
                    answer.span,
                    format!("{name} is answered by a `handler` that it does not name"),
                ));
            }
            (None, Some(handler)) => {
                out.push(Diagnostic::new(handler.span, format!("{name} has a `handler` that answers nothing")));
            }
            _ => {}
        }
        if is(MsrAnswer::Emulate).is_none() {
            for bits in [&rule.value, &rule.writable, &rule.ignored].into_iter().filter_map(|bits| bits.first()) {
                out.push(Diagnostic::new(bits.span, format!("{name} has bits, and no answer is `emulate`")));
            }
        }
        if rule.read.value != MsrAnswer::Emulate && rule.write.value == MsrAnswer::Emulate && !rule.writable.is_empty()
        {
            let message = format!("{name} keeps what is written, and nobody can read it");
            out.push(Diagnostic::new(rule.write.span, message));
        }
        for bit in &rule.writable {
            if let Some(other) = rule.ignored.iter().find(|other| other.value == bit.value) {
                let error = Diagnostic::new(bit.span, format!("{name} keeps `{}` and ignores it", bit.value));
                out.push(error.related(other.span, "it is ignored here"));
            }
        }
    }
}

//! The ranges of an MSR bitmap have their own bits in it, and their own registers.

use crate::diagnostics::Diagnostic;
use crate::model::{MsrBitmap, Spec, Vendor};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for row in &spec.msr_bitmaps {
        if row.first.value > row.last.value {
            out.push(Diagnostic::new(row.last.span, format!("{} ends before it starts", row.head.name())));
        }
    }
    for vendor in [Vendor::Intel, Vendor::Amd] {
        let rows: Vec<_> = spec.msr_bitmaps.iter().filter(|row| spec.vendor(row.module) == vendor).collect();
        for (index, row) in rows.iter().enumerate() {
            for other in &rows[..index] {
                let error = |span, what| {
                    let message = format!("{} has {what} of {}", row.head.name(), other.head.name());
                    Diagnostic::new(span, message).related(other.head.name.span, "which is here")
                };
                if row.first.value <= other.last.value && other.first.value <= row.last.value {
                    out.push(error(row.first.span, "registers"));
                }
                for start in [&row.read, &row.write] {
                    let own = bits(row, start.value);
                    let theirs = [other.read.value, other.write.value].map(|start| bits(other, start));
                    if theirs.iter().any(|theirs| clash(&own, theirs)) {
                        out.push(error(start.span, "bits"));
                    }
                }
            }
        }
        for row in rows.iter().filter(|row| clash(&bits(row, row.read.value), &bits(row, row.write.value))) {
            out.push(Diagnostic::new(row.write.span, format!("{} has the same bits for both", row.head.name())));
        }
    }
}

/// The first and the last bit, and how far they are apart.
fn bits(row: &MsrBitmap, start: u64) -> (u64, u64, u64) {
    (start, start + row.last.value.saturating_sub(row.first.value) * row.stride, row.stride.max(1))
}

fn clash(a: &(u64, u64, u64), b: &(u64, u64, u64)) -> bool {
    let overlap = a.0 <= b.1 && b.0 <= a.1;
    overlap && (a.2 != b.2 || a.0 % a.2 == b.0 % b.2)
}

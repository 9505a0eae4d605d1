//! What control bits require and exclude is there, and each fact stands once.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{BitRef, Control, ControlBit, ControlWord, Span, Spec};

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for control in &spec.controls {
        if let Some(bit) = &control.activated_by
            && super::control_bit(spec, bit, out).is_some()
            && bit.word == control.id.value
        {
            let error = Diagnostic::new(bit.span, format!("`{bit}` is a bit of the word that it activates"));
            out.push(error.related(control.id.span, "the word is here"));
        }
        for bit in &control.bits {
            list(spec, control, bit, "requires", &bit.requires, out);
            list(spec, control, bit, "excludes", &bit.excludes, out);
        }
    }
    exclusions_told_twice(spec, out);
}

/// One of the two lists of a bit.
fn list(spec: &Spec, of: &Control, bit: &ControlBit, verb: &str, others: &[BitRef], out: &mut Vec<Diagnostic>) {
    let name = bit.head.name();
    for (index, other) in others.iter().enumerate() {
        if bit.reserved.is_some() {
            out.push(Diagnostic::new(other.span, format!("{name} is reserved and {verb} nothing")));
        }
        let Some(row) = super::control_bit(spec, other, out) else { continue };
        if let Some(first) = others[..index].iter().find(|first| key(first) == key(other)) {
            let error = Diagnostic::new(other.span, format!("{name} {verb} `{other}` twice"));
            out.push(error.related(first.span, "the first is here"));
        } else if key(other) == (of.id.value, name) {
            out.push(Diagnostic::new(other.span, format!("{name} {verb} itself")));
        } else if verb == "requires" && row.retired.is_some() && bit.retired.is_none() {
            let error = Diagnostic::new(other.span, format!("{name} requires `{other}`, which is retired"));
            out.push(error.related(row.head.name.span, "it is here").help("a bit that needs it is `retired` too"));
        }
    }
}

/// VM entry does not care which of two bits excludes the other; one row says it.
fn exclusions_told_twice(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let mut told: BTreeMap<_, Span> = BTreeMap::new();
    for control in &spec.controls {
        for bit in &control.bits {
            let one = (control.id.value, bit.head.name());
            for other in &bit.excludes {
                if let Some(first) = told.get(&(key(other), one)).filter(|_| key(other) != one) {
                    let message = format!("`{other}` excludes {} already", bit.head.name());
                    let error = Diagnostic::new(other.span, message).related(*first, "it does so here");
                    out.push(error.help("one of the two rows says it"));
                }
                told.insert((one, key(other)), other.span);
            }
        }
    }
}

/// What tells a bit from all others.
fn key(bit: &BitRef) -> (ControlWord, &str) {
    (bit.word, &bit.bit)
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when `USE_MSR_BITMAPS` has these keys.
    fn with(keys: &str) -> Vec<String> {
        after("intel/controls.toml", "bit = 28\n", &format!("bit = 28\n{keys}\n"))
    }

    #[test]
    fn bits_that_are_not_there() {
        assert_eq!(
            with("requires = [\"secondary.ENABLE_ETP\"]\nexcludes = [\"pin.NMI_EXITING\"]"),
            ["`SecondaryControls` has no bit `ENABLE_ETP`", "no `[[control]]` has the id `pin`"]
        );
    }

    #[test]
    fn a_bit_of_a_reserved_row() {
        let found = with("excludes = [\"secondary.RESERVED_31_2\"]");
        assert_eq!(found, ["`secondary.RESERVED_31_2` is reserved"]);
    }

    #[test]
    fn a_bit_and_itself() {
        assert_eq!(with("requires = [\"primary.USE_MSR_BITMAPS\"]"), ["USE_MSR_BITMAPS requires itself"]);
        assert_eq!(with("excludes = [\"primary.USE_MSR_BITMAPS\"]"), ["USE_MSR_BITMAPS excludes itself"]);
    }

    #[test]
    fn a_fact_that_stands_twice() {
        let found = with("requires = [\"secondary.ENABLE_EPT\", \"secondary.ENABLE_EPT\"]");
        assert_eq!(found, ["USE_MSR_BITMAPS requires `secondary.ENABLE_EPT` twice"]);
    }

    #[test]
    fn an_exclusion_in_both_rows() {
        let found = after(
            "intel/controls.toml",
            "bit = 28\n",
            "bit = 28\nexcludes = [\"primary.HLT_EXITING\"]\n[[control.bit]]\nname = \"HLT_EXITING\"\nmanual_name = \"HLT\"\n\
             bit = 7\nexcludes = [\"primary.USE_MSR_BITMAPS\"]\n",
        );
        assert!(found.contains(&"`primary.USE_MSR_BITMAPS` excludes HLT_EXITING already".to_owned()), "{found:?}");
    }

    #[test]
    fn a_word_that_activates_itself() {
        let found = after("intel/controls.toml", "\"primary.ACTIVATE_SECONDARY_CONTROLS\"", "\"secondary.ENABLE_EPT\"");
        assert_eq!(found, ["`secondary.ENABLE_EPT` is a bit of the word that it activates"]);
    }

    #[test]
    fn a_retired_bit_that_is_required() {
        let found = with(
            "requires = [\"primary.OLD\"]\n[[control.bit]]\nname = \"OLD\"\nmanual_name = \"OLD\"\nbit = 29\n\
             retired = \"gone\"",
        );
        assert!(found.contains(&"USE_MSR_BITMAPS requires `primary.OLD`, which is retired".to_owned()), "{found:?}");
    }
}

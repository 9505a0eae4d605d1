//! Every control bit can be 1: what it needs, and what that needs in turn, does not exclude each other.

use std::collections::BTreeMap;

use crate::diagnostics::Diagnostic;
use crate::model::{BitRef, ControlWord, Span, Spec};

/// What tells a bit from all others.
type Bit<'s> = (ControlWord, &'s str);

/// Bits that are needed: each with the one that needs it and the place that says so, the bit itself without.
type Needed<'s> = BTreeMap<Bit<'s>, Option<(Bit<'s>, Span)>>;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    let graph = Graph::of(spec);
    let found: BTreeMap<_, _> =
        graph.rows.iter().filter_map(|(bit, row)| Some((*bit, (row, graph.contradiction(*bit)?)))).collect();
    for (bit, (row, (one, other, needed))) in &found {
        // It is told of what needs it least indirectly.
        if row.needs.iter().any(|(step, _)| step != bit && found.contains_key(step)) {
            continue;
        }
        let message = if one == bit {
            format!("{} can never be 1: it excludes `{other}`, which it needs", bit.1)
        } else {
            format!("{} can never be 1: it needs `{}.{}` and `{other}`", bit.1, one.0.name(), one.1)
        };
        let mut error = Diagnostic::new(row.name, message);
        for end in [*one, key(other)] {
            for (span, text) in chain(needed, end) {
                if !error.related.iter().any(|(told, _)| *told == span) {
                    error = error.related(span, text);
                }
            }
        }
        out.push(error.related(other.span, format!("`{}.{}` excludes `{other}`", one.0.name(), one.1)));
    }
}

/// How a bit came to be needed, the first step first.
fn chain(needed: &Needed, end: Bit) -> Vec<(Span, String)> {
    let (mut steps, mut at) = (Vec::new(), end);
    while let Some(Some((from, span))) = needed.get(&at) {
        steps.push((*span, format!("`{}.{}` needs `{}.{}`", from.0.name(), from.1, at.0.name(), at.1)));
        at = *from;
    }
    steps.reverse();
    steps
}

struct Row<'s> {
    name: Span,
    /// What it requires, and the bit that activates its word.
    needs: Vec<(Bit<'s>, Span)>,
    excludes: &'s [BitRef],
}

struct Graph<'s> {
    rows: BTreeMap<Bit<'s>, Row<'s>>,
}

impl<'s> Graph<'s> {
    fn of(spec: &'s Spec) -> Self {
        let mut rows = BTreeMap::new();
        for control in &spec.controls {
            for bit in &control.bits {
                let needs = bit.requires.iter().chain(&control.activated_by);
                let needs = needs.map(|other| (key(other), other.span)).collect();
                let row = Row { name: bit.head.name.span, needs, excludes: &bit.excludes };
                rows.insert((control.id.value, bit.head.name()), row);
            }
        }
        Graph { rows }
    }

    /// Two bits that `bit` needs, of which the one excludes the other.
    fn contradiction(&self, bit: Bit<'s>) -> Option<(Bit<'s>, &'s BitRef, Needed<'s>)> {
        let mut needed: Needed = BTreeMap::from([(bit, None)]);
        let mut new = vec![bit];
        while let Some(at) = new.pop() {
            for (other, span) in self.rows.get(&at).into_iter().flat_map(|row| &row.needs) {
                needed.entry(*other).or_insert_with(|| {
                    new.push(*other);
                    Some((at, *span))
                });
            }
        }
        let (one, other) = needed.keys().find_map(|one| {
            // A bit that excludes itself is another lint's business.
            let excluded = |other: &&BitRef| key(other) != *one && needed.contains_key(&key(other));
            Some((*one, self.rows.get(one)?.excludes.iter().find(excluded)?))
        })?;
        Some((one, other, needed))
    }
}

fn key(bit: &BitRef) -> Bit<'_> {
    (bit.word, &bit.bit)
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    /// What is found when `ENABLE_EPT` and two more bits have these keys.
    fn with(ept: &str, a: &str, b: &str) -> Vec<String> {
        let row = |name: &str, bit, keys| {
            format!("[[control.bit]]\nname = \"{name}\"\nmanual_name = \"{name}\"\nbit = {bit}\n{keys}\n")
        };
        after(
            "intel/controls.toml",
            "bit = 1\n\n[[control.bit]]\nname = \"RESERVED_31_2\"\nmanual_name = \"Reserved\"\nbits = [31, 2]\n",
            &format!(
                "bit = 1\n{ept}\n{}{}[[control.bit]]\nname = \"RESERVED\"\nmanual_name = \"R\"\nbits = [31, 4]\n",
                row("A", 2, a),
                row("B", 3, b)
            ),
        )
    }

    #[test]
    fn what_can_be_satisfied() {
        assert_eq!(with("requires = [\"secondary.A\"]", "excludes = [\"secondary.B\"]", ""), [""; 0]);
    }

    #[test]
    fn a_bit_that_requires_what_it_excludes() {
        let found = with("requires = [\"secondary.A\"]\nexcludes = [\"secondary.A\"]", "", "");
        assert_eq!(found, ["ENABLE_EPT can never be 1: it excludes `secondary.A`, which it needs"]);
    }

    #[test]
    fn a_contradiction_of_three_bits() {
        let (ept, a) = ("requires = [\"secondary.A\"]\nexcludes = [\"secondary.B\"]", "requires = [\"secondary.B\"]");
        assert_eq!(with(ept, a, ""), ["ENABLE_EPT can never be 1: it excludes `secondary.B`, which it needs"]);
    }

    #[test]
    fn two_needs_that_exclude_each_other() {
        let found = with("requires = [\"secondary.A\", \"secondary.B\"]", "", "excludes = [\"secondary.A\"]");
        assert_eq!(found, ["ENABLE_EPT can never be 1: it needs `secondary.B` and `secondary.A`"]);
    }

    #[test]
    fn the_bit_without_which_the_word_is_0() {
        let found = with("excludes = [\"primary.ACTIVATE_SECONDARY_CONTROLS\"]", "", "");
        let message = "it excludes `primary.ACTIVATE_SECONDARY_CONTROLS`, which it needs";
        assert_eq!(found, [format!("ENABLE_EPT can never be 1: {message}")]);
    }

    #[test]
    fn bits_that_require_each_other() {
        let found = with("requires = [\"secondary.A\"]", "requires = [\"secondary.ENABLE_EPT\"]", "");
        assert_eq!(found, [""; 0]);
    }
}

//! Conditions of footnotes: "the 1-setting of the “enable VPID” VM-execution control".

use crate::audit::names::{Likeness, Names};
use crate::model::{BitRef, Condition, ControlWord, Spec, Term};

/// What a footnote says, in our words.
pub(super) enum Stated {
    /// These control bits, any of which will do.
    Bits(Vec<(ControlWord, String)>),
    /// A control of that name is not known.
    Unknown(String),
    /// Nothing that names a control.
    Nothing,
}

/// Reads a footnote.
pub(super) fn read(spec: &Spec, text: &str) -> Stated {
    let text = text.replace(['“', '”', '„', '«', '»'], "\"");
    let parts: Vec<&str> = text.split('"').collect();
    // A name that is not closed: the end of the footnote was lost.
    if parts.len().is_multiple_of(2) {
        return Stated::Unknown(parts.last().copied().unwrap_or_default().trim().to_owned());
    }
    let mut found = Vec::new();
    for (i, quoted) in parts.iter().enumerate().skip(1).step_by(2) {
        // The next kind of control that is named after it: of "either the “a” or the “b” VM-exit control" both are such.
        let Some(words) = parts[i + 1..].iter().step_by(2).find_map(|after| kind(after)) else { continue };
        let name = Names::of([*quoted]);
        let bits = words.iter().filter_map(|word| spec.control(*word)).flat_map(|control| {
            let same = control.bits.iter().filter(|bit| bit.reserved.is_none()).filter(|bit| {
                let aliases = bit.head.aliases.iter().map(|alias| alias.value.as_str());
                let own = [bit.head.manual_name.as_str(), bit.head.name()].into_iter().chain(aliases);
                Names::of(own).likeness(&name) == Likeness::Same
            });
            same.map(|bit| (control.id.value, bit.head.name().to_owned()))
        });
        let before = found.len();
        found.extend(bits);
        if found.len() == before {
            return Stated::Unknown((*quoted).to_owned());
        }
    }
    // "either the “a” VM-entry control or that of the": the end of the footnote was lost.
    if found.len() == 1 && text.contains("either") {
        return Stated::Unknown("the second of two".to_owned());
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Stated::Nothing } else { Stated::Bits(found) }
}

/// The words that a kind of controls may be in.
fn kind(text: &str) -> Option<&'static [ControlWord]> {
    let text = text.to_ascii_lowercase().replace(['-', ' ', '\n'], "");
    let all: [(&str, &'static [ControlWord]); 4] = [
        ("vmexecution", &[ControlWord::Pin, ControlWord::Primary, ControlWord::Secondary, ControlWord::Tertiary]),
        ("vmexit", &[ControlWord::Exit, ControlWord::Exit2]),
        ("vmentry", &[ControlWord::Entry]),
        ("vmfunction", &[ControlWord::Vmfunc]),
    ];
    let places = all.into_iter().filter_map(|(word, controls)| text.find(word).map(|at| (at, controls)));
    places.min_by_key(|(at, _)| *at).map(|(_, controls)| controls)
}

/// Whether a condition asks for exactly these bits.
pub(super) fn same(condition: Option<&Condition>, stated: &[(ControlWord, String)]) -> bool {
    let Some(condition) = condition else { return stated.is_empty() };
    let mut ours: Vec<_> = condition.any.iter().filter_map(bit).map(|bit| (bit.word, bit.bit.clone())).collect();
    ours.sort();
    ours == stated
}

fn bit(term: &Term) -> Option<&BitRef> {
    match term {
        Term::Control(bit) => Some(bit),
        Term::Cpuid(_) => None,
    }
}

/// Bits as conditions are written.
pub(super) fn written(bits: &[(ControlWord, String)]) -> String {
    let all: Vec<_> = bits.iter().map(|(word, bit)| format!("{}.{bit}", word.name())).collect();
    all.join(" | ")
}

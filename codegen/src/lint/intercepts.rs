//! Intercepts belong to a word, and words to a member of the control area.

use crate::diagnostics::Diagnostic;
use crate::model::{Area, Spec};

use super::unresolved;

pub(super) fn lint(spec: &Spec, out: &mut Vec<Diagnostic>) {
    for row in &spec.intercepts {
        if !spec.words.iter().any(|word| word.number.value == row.word.value) {
            out.push(Diagnostic::new(row.word.span, format!("there is no intercept word {}", row.word.value)));
        }
    }
    for word in &spec.words {
        let mut members = spec.members_of(Area::Control);
        match members.find(|member| member.head.name() == word.member.value) {
            None => {
                let names = spec.members_of(Area::Control).map(|member| member.head.name());
                out.push(unresolved(&word.member, "member of the control area", names));
            }
            Some(member) if member.size.value != 4 => {
                let message = format!("{} has {} bytes, not 4", word.member.value, member.size.value);
                out.push(Diagnostic::new(word.member.span, message).related(member.size.span, "its size is here"));
            }
            Some(member) if member.ty.is_some() || !member.bits.is_empty() => {
                let message = format!("{} has a type already", word.member.value);
                let error = Diagnostic::new(word.member.span, message);
                out.push(error.related(member.head.name.span, "it is here; the intercept word is its type"));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::after;

    #[test]
    fn an_intercept_of_no_word() {
        let found = after("amd/intercepts.toml", "word = 3\nbit = 0", "word = 2\nbit = 0");
        assert!(found.contains(&"there is no intercept word 2".to_owned()), "{found:?}");
    }

    #[test]
    fn a_word_of_no_member() {
        let found = after("amd/intercepts.toml", "member = \"INTERCEPT_MISC1\"", "member = \"INTERCEPT_MISC7\"");
        assert_eq!(found, ["there is no member of the control area `INTERCEPT_MISC7`"]);
    }

    #[test]
    fn a_word_of_a_member_of_another_size() {
        let found = after("amd/intercepts.toml", "member = \"INTERCEPT_MISC1\"", "member = \"EXITCODE\"");
        assert_eq!(found, ["EXITCODE has 8 bytes, not 4"]);
    }
}

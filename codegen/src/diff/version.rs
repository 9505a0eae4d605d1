//! Which version Cargo's rules ask for.

use super::Level;

/// The lowest version after `old` that may bring a change of this kind; none if `old` is no version of three numbers.
///
/// At 0.y the second number is the one that users rely on, at 0.0.z the third.
pub fn needed(old: &str, level: Level) -> Option<String> {
    let [major, minor, patch] = numbers(old)?;
    let version = match (level, major, minor) {
        (Level::None, ..) => return Some(old.to_owned()),
        (_, 0, 0) => [0, 0, patch + 1],
        (Level::Major, 0, _) => [0, minor + 1, 0],
        (Level::Minor | Level::Patch, 0, _) => [0, minor, patch + 1],
        (Level::Major, ..) => [major + 1, 0, 0],
        (Level::Minor, ..) => [major, minor + 1, 0],
        (Level::Patch, ..) => [major, minor, patch + 1],
    };
    Some(version.map(|number| number.to_string()).join("."))
}

/// Whether `new` may bring a change of this kind after `old`; none if either is no version.
pub fn sufficient(old: &str, new: &str, level: Level) -> Option<bool> {
    Some(numbers(new)? >= numbers(&needed(old, level)?)?)
}

/// The three numbers; what follows them says nothing about compatibility.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let version = version.split(['-', '+']).next()?;
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok().filter(|number| *number < u64::MAX));
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{needed, sufficient};
    use crate::diff::Level::{Major, Minor, None, Patch};

    #[test]
    fn the_first_number_that_is_not_zero_tells_what_breaks() {
        let all = |old| [Major, Minor, Patch, None].map(|level| needed(old, level).unwrap());
        assert_eq!(all("1.2.3"), ["2.0.0", "1.3.0", "1.2.4", "1.2.3"]);
        assert_eq!(all("0.1.0"), ["0.2.0", "0.1.1", "0.1.1", "0.1.0"]);
        assert_eq!(all("0.0.7"), ["0.0.8", "0.0.8", "0.0.8", "0.0.7"]);
        assert_eq!(needed("0.1.0-rc.1", Major).unwrap(), "0.2.0");
        assert_eq!(needed("0.1", Major), Option::None);
        assert_eq!(needed("workspace", Major), Option::None);
    }

    #[test]
    fn a_version_may_go_further_than_it_must() {
        assert_eq!(sufficient("0.1.0", "0.2.0", Minor), Some(true));
        assert_eq!(sufficient("0.1.0", "0.1.9", Major), Some(false));
        assert_eq!(sufficient("0.1.0", "0.1.0", None), Some(true));
        assert_eq!(sufficient("0.1.0", "?", None), Option::None);
    }
}

//! What a misspelled name was probably meant to be.

/// Twice as long as any name.
const LONGEST: usize = 128;

/// The name that was probably meant, when one is near enough.
pub(crate) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = wrong.chars().count();
    // Nobody means that, and comparing takes the product of both lengths.
    if length > LONGEST {
        return None;
    }
    let most = 1 + length / 3;
    let names = names.filter(|name| name.chars().count().abs_diff(length) <= most);
    let (distance, name) = names.map(|name| (edits(wrong, name), name)).min_by_key(|(distance, _)| *distance)?;
    (distance <= most).then_some(name)
}

/// How many insertions, deletions, replacements and swaps of neighbours make `b` of `a`.
pub(crate) fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["name", "manual_name", "encoding"];
        assert_eq!(nearest("encodign", names.into_iter()), Some("encoding"));
        assert_eq!(nearest("nmae", names.into_iter()), Some("name"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }

    #[test]
    fn names_that_nobody_means_take_no_time() {
        let (long, longer) = ("a".repeat(1_000_000), "a".repeat(1_000_001));
        assert_eq!(nearest(&long, [longer.as_str()].into_iter()), None);
        assert_eq!(nearest("name", [longer.as_str()].into_iter()), None);
    }
}

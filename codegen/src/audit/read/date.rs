//! The month on the cover of a document.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// "2022-04" of the first month with its year in a line, such as "April 2022".
pub(in crate::audit::read) fn month(line: &str) -> Option<String> {
    let words: Vec<_> = line.split([' ', '\t', '—', '–']).filter(|word| !word.is_empty()).collect();
    words.windows(2).find_map(|pair| {
        let [month, year] = pair else { return None };
        let month = MONTHS.iter().position(|name| name == month)? + 1;
        let year: u16 = year.get(..4)?.parse().ok().filter(|year| (1990..2100).contains(year))?;
        Some(format!("{year}-{month:02}"))
    })
}

#[cfg(test)]
mod tests {
    use super::month;

    #[test]
    fn months_with_their_years() {
        assert_eq!(month("   March 2030\n").as_deref(), Some("2030-03"));
        assert_eq!(month("Revision 3.44 — March 2026").as_deref(), Some("2026-03"));
        assert_eq!(month("—March 2026").as_deref(), Some("2026-03"));
        assert_eq!(month("Marches 2026, May be"), None);
    }
}

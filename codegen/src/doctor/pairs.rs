//! `key = value` and `key: value`, as many as stand on a line.

/// A key, and the numbers after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair<'t> {
    /// As printed.
    pub key: &'t str,
    /// What `PREFIX:` stood before this key and those before it: `CR0` in `CR0: actual=0x1, shadow=0x1`.
    pub prefix: &'t str,
    /// At least one.
    pub values: Vec<Number<'t>>,
    /// What stands in parentheses after the key or the value.
    pub remark: &'t str,
}

impl Pair<'_> {
    /// Lower case, single spaces: `cr0.actual`.
    pub fn path(&self) -> String {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
        if self.prefix.is_empty() { plain(self.key) } else { format!("{}.{}", plain(self.prefix), plain(self.key)) }
    }
}

/// A number as printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'t>(pub &'t str);

impl Number<'_> {
    /// Its value where a program printed it in hexadecimal, with `0x` or without.
    pub fn hexadecimal(self) -> Option<u64> {
        let digits = self.0.strip_prefix("0x").or_else(|| self.0.strip_prefix("0X")).unwrap_or(self.0);
        u64::from_str_radix(&digits.replace('_', ""), 16).ok()
    }

    /// Its value where a program printed it in decimal.
    pub fn decimal(self) -> Option<u64> {
        match self.0.strip_prefix("0x") {
            Some(_) => self.hexadecimal(),
            None => self.0.parse().ok(),
        }
    }

    /// Its value where people wrote it: by its prefix or suffix; with leading zeros or letters it is hexadecimal.
    pub fn plain(self) -> Option<u64> {
        let letters = self.0.contains(|c: char| !c.is_ascii_digit() && c != '-');
        let hexadecimal = letters || self.0.len() > 1 && self.0.starts_with('0');
        match crate::explain::number::parse(self.0) {
            Some(number) if !hexadecimal || self.0.contains(['x', 'X', 'h', 'H']) => {
                Some(crate::explain::number::bits(number))
            }
            _ => self.hexadecimal(),
        }
    }

    /// As many digits were printed.
    pub fn digits(self) -> usize {
        self.0.strip_prefix("0x").unwrap_or(self.0).len()
    }
}

/// All pairs of a line, in its order.
pub(super) fn pairs(line: &str) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut prefix) = (line, "");
    while let Some(at) = rest.find(['=', ':']) {
        let (key, after) = (&rest[..at], &rest[at + 1..]);
        let (values, left) = numbers(after);
        let key = key.trim_matches(|c: char| c.is_whitespace() || ",;?".contains(c));
        if values.is_empty() {
            // Of `a = b` nothing is known; `CR0: actual=…` goes on.
            if rest[at..].starts_with(':') && !key.is_empty() {
                prefix = key;
            }
            rest = after;
            continue;
        }
        let (key, inside) = without_parentheses(key);
        let (remark, left) = remark(left);
        found.push(Pair { key, prefix, values, remark: if remark.is_empty() { inside } else { remark } });
        rest = left;
    }
    found
}

/// Numbers with spaces between, `0010:ffffffff81000000` and `00|2f`, up to the next key.
fn numbers(text: &str) -> (Vec<Number<'_>>, &str) {
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start();
        let end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(start.len());
        let (token, after) = start.split_at(end);
        if !is_number(token) {
            return (all, rest);
        }
        let joined = after.strip_prefix([':', '|']).filter(|next| next.starts_with(|c: char| c.is_ascii_hexdigit()));
        // A word that happens to have the letters of a number: `a: 0c93`, `b = 0`.
        if joined.is_none() && after.trim_start().starts_with([':', '=']) {
            return (all, rest);
        }
        all.push(Number(token));
        rest = joined.unwrap_or(after);
        if joined.is_none() && !after.starts_with(char::is_whitespace) {
            return (all, rest);
        }
    }
}

fn is_number(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(digits);
    let digits = digits.strip_suffix(['h', 'H']).unwrap_or(digits);
    digits.starts_with(|c: char| c.is_ascii_hexdigit()) && digits.chars().all(|c| c.is_ascii_hexdigit() || c == '_')
}

/// `EFER(VMCS)` is `EFER`, which is from the `VMCS`.
fn without_parentheses(key: &str) -> (&str, &str) {
    match key.split_once('(') {
        Some((name, inside)) => (name.trim_end(), inside.trim_end_matches(')')),
        None => (key, ""),
    }
}

/// `(autoload)` behind a number.
fn remark(text: &str) -> (&str, &str) {
    let inside = text.trim_start().strip_prefix('(');
    inside.and_then(|inside| inside.split_once(')')).map_or(("", text), |(inside, rest)| (inside.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::{Number, pairs};

    fn read(line: &str) -> Vec<(String, Vec<&str>)> {
        pairs(line).into_iter().map(|pair| (pair.path(), pair.values.iter().map(|number| number.0).collect())).collect()
    }

    #[test]
    fn many_pairs_on_a_line() {
        for (line, wanted) in [
            (
                "CR0: actual=0x0000000080050033, shadow=0x60000010, gh_mask=fffffffffffffff7",
                &[
                    ("cr0.actual", &["0x0000000080050033"][..]),
                    ("cr0.shadow", &["0x60000010"]),
                    ("cr0.gh_mask", &["fffffffffffffff7"]),
                ][..],
            ),
            ("RSP = 0x10 (0x20)  RIP = 0x30 (0x40)", &[("rsp", &["0x10"]), ("rip", &["0x30"])]),
            ("Sysenter RSP=00 CS:RIP=0010:ff", &[("sysenter rsp", &["00"]), ("cs.rip", &["0010", "ff"])]),
            (
                "CS:   sel=0x0008, attr=0x0a09b, limit=0xffffffff, base=0x0",
                &[
                    ("cs.sel", &["0x0008"]),
                    ("cs.attr", &["0x0a09b"]),
                    ("cs.limit", &["0xffffffff"]),
                    ("cs.base", &["0x0"]),
                ],
            ),
            ("CS: 0008 0a09b ffffffff 0", &[("cs", &["0008", "0a09b", "ffffffff", "0"])]),
            (
                "ds:   s: 0010 a: 0c93 l: ffffffff b: 00",
                &[("ds.s", &["0010"]), ("ds.a", &["0c93"]), ("ds.l", &["ffffffff"]), ("ds.b", &["00"])],
            ),
            ("SVI|RVI = 00|2f TPR Threshold = 0x00", &[("svi|rvi", &["00", "2f"]), ("tpr threshold", &["0x00"])]),
            ("EFER(MSR LL) = 0xd01  PAT = 0x7", &[("efer", &["0xd01"]), ("pat", &["0x7"])]),
            ("cpl:            0                efer:  1000", &[("cpl", &["0"]), ("efer", &["1000"])]),
            ("pause filter threshold:128", &[("pause filter threshold", &["128"])]),
            ("intercepts:         bc4c8027 0000024f", &[("intercepts", &["bc4c8027", "0000024f"])]),
            ("CR3 target0=01 target1=02", &[("cr3 target0", &["01"]), ("target1", &["02"])]),
            ("save.CR0 = 0x11 (PE, ET)", &[("save.cr0", &["0x11"])]),
            ("cpuid.0x1.0x0 = 0x1 0x2 0x3 0x4", &[("cpuid.0x1.0x0", &["0x1", "0x2", "0x3", "0x4"])]),
            (
                "RIP = 0xffff82d0402ab000 (vmx_asm_vmexit_handler)  RSP = 0x1",
                &[("rip", &["0xffff82d0402ab000"]), ("rsp", &["0x1"])],
            ),
            ("*** Guest State ***", &[]),
            ("no number: at all = here", &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|(key, values)| ((*key).to_owned(), values.to_vec())).collect();
            assert_eq!(read(line), wanted, "{line}");
        }
    }

    #[test]
    fn numbers_of_people_are_read_by_what_they_look_like() {
        for (text, number) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("010", Some(16)),
            ("1fH", Some(31)),
            ("00000000c0000080", Some(0xc000_0080)),
            ("ff", Some(255)),
            ("-1", Some(u64::MAX)),
            ("0", Some(0)),
            ("fffffffffffffffff", None),
        ] {
            assert_eq!(Number(text).plain(), number, "{text}");
        }
    }
}

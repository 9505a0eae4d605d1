//! An amount of memory, as people write it: `64`, `64M`, `1G`.

use std::str::FromStr;

/// Whole mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mebibytes(pub u32);

/// The least that a guest gets: a kernel stands at 1 MiB.
const LEAST: u32 = 2;
/// The most: with the image and the guest's files it must stay below 2 GiB, which is what Bochs has at most.
const MOST: u32 = 1536;

impl Mebibytes {
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl FromStr for Mebibytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Mebibytes, String> {
        let (digits, factor) = match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1),
            None => text.strip_suffix(['G', 'g']).map_or((text, 1), |digits| (digits, 1024)),
        };
        let number: u32 = digits.parse().map_err(|_| "an amount of memory is written 64, 64M or 1G".to_owned())?;
        match number.checked_mul(factor) {
            Some(amount) if (LEAST..=MOST).contains(&amount) => Ok(Mebibytes(amount)),
            _ => Err(format!("a guest can have {LEAST} MiB to {MOST} MiB")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, amount) in [("64", 64), ("64M", 64), ("2m", 2), ("1G", 1024), ("1g", 1024), ("1536", 1536)] {
            assert_eq!(text.parse(), Ok(Mebibytes(amount)), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "M", "0", "1", "2G", "64K", "-5", "1.5G", "99999999999", "4194304G", "64 M"] {
            assert!(text.parse::<Mebibytes>().is_err(), "{text}");
        }
    }
}

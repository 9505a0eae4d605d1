//! The lines of the image, read.

use std::fmt;

/// A line of the image.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A case is entered.
    Begun(Case),
    /// What the CPU did, and the description where it is not what the doctor expects.
    Did { did: String, description: String },
    /// A case that did not come back, from the boot after it.
    Lost(Case),
    /// A field, whether the tables say that it exists on this CPU, and whether it does.
    Field(String),
    /// The number of cases.
    End(u32),
}

/// A case: the valid state with some fields changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    pub number: u32,
    /// `c` control fields, `h` host state, `g` guest state, `e` events, `s` segments, `m` modes, `l` MSRs to load, `r` valid.
    pub kind: char,
    /// What the doctor expects.
    pub expected: String,
    /// What the CPU did; `lost` when it did not come back.
    pub did: String,
    pub base: String,
    pub changes: Vec<(String, u64)>,
    pub broken: Vec<Broken>,
    /// Whether the image said more than that the two agree.
    is_described: bool,
}

/// A check that the doctor found broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Those of the lowest one count.
    pub order: u32,
    pub outcome: String,
    pub name: String,
    /// The manual leaves open what happens.
    pub open: bool,
}

/// Fields whose values take the machine down when they are used, which is at a later time than that of the check.
const USED_LATER: [&str; 2] = ["VM_EXIT_MSR_LOAD_ADDRESS", "VM_EXIT_MSR_LOAD_COUNT"];

impl Line {
    pub fn parse(line: &str) -> Option<Line> {
        if let Some(rest) = line.strip_prefix('@') {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let [number, kind, expected] = words.as_slice() else { return None };
            return Some(Line::Begun(Case::new(number.parse().ok()?, kind, expected)?));
        }
        if let Some(rest) = line.strip_prefix("= ") {
            let (did, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            return Some(Line::Did { did: did.to_owned(), description: rest.to_owned() });
        }
        if let Some(rest) = line.strip_prefix("LOST ") {
            let words: Vec<&str> = rest.splitn(4, ' ').collect();
            let [number, kind, expected, description] = words.as_slice() else { return None };
            let mut case = Case::new(number.parse().ok()?, kind, expected)?;
            case.end("lost", description)?;
            return Some(Line::Lost(case));
        }
        if let Some(rest) = line.strip_prefix("FIELD ") {
            return Some(Line::Field(rest.to_owned()));
        }
        line.strip_prefix("END ").and_then(|count| count.parse().ok()).map(Line::End)
    }
}

impl Case {
    fn new(number: u32, kind: &str, expected: &str) -> Option<Case> {
        Some(Case { number, kind: kind.chars().next()?, expected: expected.to_owned(), ..Case::default() })
    }

    /// What the CPU did, and the description, if there is one.
    pub fn end(&mut self, did: &str, description: &str) -> Option<()> {
        self.did = did.to_owned();
        self.is_described = !description.is_empty();
        let (head, broken) = description.split_once("! ").unwrap_or((description, ""));
        for word in head.split_whitespace().filter(|word| *word != "!") {
            match word.split_once("=0x") {
                Some((field, value)) => self.changes.push((field.into(), u64::from_str_radix(value, 16).ok()?)),
                None => self.base = word.into(),
            }
        }
        self.broken = broken.split(',').filter_map(Broken::parse).collect();
        Some(())
    }

    /// Whether the CPU did what the doctor expects.
    pub fn agrees(&self) -> bool {
        !self.is_described || self.agrees_without(&|_| false)
    }

    /// The same if some checks were not made.
    pub fn agrees_without(&self, is_left_out: &dyn Fn(&Broken) -> bool) -> bool {
        let broken: Vec<&Broken> = self.broken.iter().filter(|broken| !is_left_out(broken)).collect();
        if broken.iter().any(|broken| broken.open && broken.outcome == self.did) {
            return true;
        }
        let order = broken.iter().filter(|broken| !broken.open).map(|broken| broken.order).min();
        let mut first = broken.iter().filter(|broken| !broken.open && Some(broken.order) == order).peekable();
        match self.did.as_str() {
            "ok" => first.peek().is_none(),
            // Accepted, used, and that was the end.
            "lost" => self.may_be_lost() && first.all(|broken| broken.order > 0),
            did => first.any(|broken| broken.outcome == did),
        }
    }

    /// Whether it may take the machine down when it is accepted.
    fn may_be_lost(&self) -> bool {
        self.kind == 'h' || self.changes.iter().any(|(field, _)| USED_LATER.contains(&field.as_str()))
    }
}

impl Broken {
    fn parse(word: &str) -> Option<Broken> {
        let word = word.trim();
        let open = word.starts_with('~');
        let (order, rest) = word.trim_start_matches('~').split_once(':')?;
        let (outcome, name) = rest.split_once(':')?;
        Some(Broken { order: order.parse().ok()?, outcome: outcome.into(), name: name.into(), open })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "case {:5} {} doctor {:7} CPU {:7} {}", self.number, self.kind, self.expected, self.did, self.base)?;
        for (field, value) in &self.changes {
            write!(f, " {field}={value:#x}")?;
        }
        let names: Vec<&str> = self.broken.iter().map(|broken| broken.name.as_str()).collect();
        if names.is_empty() { Ok(()) } else { write!(f, " [{}]", names.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(lines: &str) -> Case {
        let mut lines = lines.lines().filter_map(Line::parse);
        match (lines.next(), lines.next()) {
            (Some(Line::Begun(mut case)), Some(Line::Did { did, description })) => {
                case.end(&did, &description).expect("a description");
                case
            }
            (Some(Line::Lost(case)), None) => case,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(Line::parse("END 99"), Some(Line::End(99)));
        assert_eq!(Line::parse("FIELD PML_ADDRESS 1 0"), Some(Line::Field("PML_ADDRESS 1 0".into())));
        assert_eq!(Line::parse("(0) Magic breakpoint"), None);
        assert!(case("@17 g 33.0\n= 33.0").agrees());
        let case = case("@18 g 33.0\n= 34.1 long GUEST_CR0=0x21 GUEST_RIP=0x1 ! 1:33.0:A,2:34.1:STOP");
        assert_eq!(case.changes, [("GUEST_CR0".to_owned(), 0x21), ("GUEST_RIP".to_owned(), 1)]);
        assert_eq!((case.base.as_str(), case.broken.len()), ("long", 2));
        assert!(!case.agrees());
        assert!(case.agrees_without(&|broken| broken.name == "A"));
    }

    #[test]
    fn host_state_that_is_accepted_may_take_the_machine_down() {
        assert!(case("LOST 5 h 33.0 long HOST_CR3=0x8000000000 ! 1:33.0:GUEST_RFLAGS").agrees());
        assert!(!case("LOST 5 h 8 long HOST_CR3=0x8000000000 ! 0:8:HOST_CR3,1:33.0:GUEST_RFLAGS").agrees());
        assert!(!case("LOST 5 g 33.0 long GUEST_CR3=0x8000000000 ! 1:33.0:GUEST_RFLAGS").agrees());
    }

    #[test]
    fn what_the_manual_leaves_open_agrees_both_ways() {
        assert!(case("@5 c ok\n= ok long A=0x1 ! ~0:7:X").agrees());
        assert!(case("@5 c ok\n= 7 long A=0x1 ! ~0:7:X").agrees());
        assert!(!case("@5 c ok\n= 8 long A=0x1 ! ~0:7:X").agrees());
    }
}

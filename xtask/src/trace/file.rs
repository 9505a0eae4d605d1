//! The file: a line that says what it is, then a line for each exit. docs/trace.md describes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use self::answer::Answer;

/// The library's own list of what becomes of exits, so that there is no second one to go stale.
#[path = "../../../src/exit/answer.rs"]
mod answer;

/// Whose exits they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Vmx,
    Svm,
}

/// A trace, the exits of each vCPU in the order in which they happened.
#[derive(Debug)]
pub struct Trace {
    pub vendor: Vendor,
    pub vcpus: usize,
    /// The time-stamp counter's rate.
    pub hz: u64,
    pub exits: Vec<Exit>,
}

/// An exit, as the library's `TraceEntry` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    pub vcpu: usize,
    pub number: u64,
    pub entered: u64,
    pub exited: u64,
    pub code: u64,
    pub rip: u64,
    pub info: [u64; 2],
    pub eax: u64,
    pub ecx: u64,
    pub answer: Answer,
    /// The type and the vector of an event.
    pub injected: Option<(u64, u64)>,
    pub value: Option<u64>,
    /// From the exit to the next entry, without what printing the trace took; of a last one nobody knows.
    pub host: Option<u64>,
}

impl Exit {
    pub fn guest(&self) -> u64 {
        self.exited.saturating_sub(self.entered)
    }

    /// `inside`, or what the VMM got.
    pub fn answer(&self) -> &'static str {
        self.answer.name()
    }

    pub fn is_inside(&self) -> bool {
        self.answer == Answer::Inside
    }
}

impl Trace {
    pub fn parse(text: &str) -> Result<Trace> {
        let mut lines = text.lines();
        let mut trace = header(lines.next().unwrap_or_default())?;
        let mut pauses = BTreeMap::new();
        for (index, line) in lines.enumerate() {
            let numbers =
                || numbers(line.get(2..).unwrap_or_default()).with_context(|| format!("in line {}", index + 2));
            if line.starts_with("T ") {
                trace.exits.push(exit(&numbers()?).with_context(|| format!("in line {}", index + 2))?);
            } else if line.starts_with("P ") {
                let [vcpu, number, took] = numbers()?[..] else { bail!("line {} is cut off", index + 2) };
                pauses.insert((vcpu as usize, number), took);
            } else {
                bail!("line {} is neither an exit nor a pause: `{line}`", index + 2);
            }
        }
        trace.exits.sort_by_key(|exit| (exit.vcpu, exit.number));
        for index in 1..trace.exits.len() {
            let (before, after) = trace.exits.split_at_mut(index);
            let (Some(exit), Some(next)) = (before.last_mut(), after.first()) else { continue };
            if exit.vcpu == next.vcpu && exit.number + 1 == next.number {
                let pause = pauses.get(&(exit.vcpu, exit.number)).copied().unwrap_or(0);
                exit.host = Some(next.entered.saturating_sub(exit.exited).saturating_sub(pause));
            }
        }
        Ok(trace)
    }
}

/// `x86_vcpu trace 1 vmx vcpus=1 hz=1000000000`.
fn header(line: &str) -> Result<Trace> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["x86_vcpu", "trace", version, vendor, rest @ ..] = &words[..] else { bail!("this is no trace") };
    ensure!(*version == "1", "this trace has format {version}; format 1 is known here");
    let vendor = match *vendor {
        "vmx" => Vendor::Vmx,
        "svm" => Vendor::Svm,
        other => bail!("a vendor `{other}` is not known"),
    };
    let value = |key: &str| {
        let mut pairs = rest.iter().filter_map(|word| word.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then(|| value.parse::<u64>())).transpose()
    };
    let vcpus = value("vcpus")?.unwrap_or(1) as usize;
    Ok(Trace { vendor, vcpus, hz: value("hz")?.filter(|hz| *hz > 0).unwrap_or(1_000_000_000), exits: Vec::new() })
}

fn numbers(words: &str) -> Result<Vec<u64>> {
    words.split_whitespace().map(|word| u64::from_str_radix(word, 16).with_context(|| format!("`{word}`"))).collect()
}

fn exit(numbers: &[u64]) -> Result<Exit> {
    let [vcpu, number, entered, exited, code, rip, info1, info2, eax, ecx, answer, injected, has_value, value] =
        *numbers
    else {
        bail!("an exit has 14 numbers, and here are {}", numbers.len());
    };
    Ok(Exit {
        vcpu: vcpu as usize,
        number,
        entered,
        exited,
        code,
        rip,
        info: [info1, info2],
        eax,
        ecx,
        answer: u8::try_from(answer).map_or(Answer::Other, Answer::numbered),
        injected: (injected & 0x1000 != 0).then_some((injected >> 8 & 0xf, injected & 0xff)),
        value: (has_value != 0).then_some(value),
        host: None,
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two vCPUs; the second one's exits have a gap.
    pub const TRACE: &str = "x86_vcpu trace 1 vmx vcpus=2 hz=2000000000\n\
        T 0 0 3e8 44c a fff0 0 0 1 2 0 0 0 0\n\
        T 0 1 47e 4e2 1e fff2 800003f8 0 41 0 2 1030 1 41\n\
        P 0 1 64\n\
        T 1 5 3e8 3e9 c 100 0 0 0 0 b 0 0 0\n\
        T 1 7 fa0 fa1 30 200 82 fee00300 0 0 5 0 1 ff\n\
        T 0 2 834 835 c fff4 0 0 0 0 b 0 0 0\n";

    #[test]
    fn exits_know_what_the_host_spent_on_them() {
        let trace = Trace::parse(TRACE).expect("a trace");
        assert_eq!((trace.vendor, trace.vcpus, trace.hz), (Vendor::Vmx, 2, 2_000_000_000));
        let hosts: Vec<_> = trace.exits.iter().map(|exit| (exit.vcpu, exit.number, exit.guest(), exit.host)).collect();
        // Without what printing took; and where something is missing it is not known.
        let pause = 0x64;
        let expected =
            [(0, 0, 100, Some(50)), (0, 1, 100, Some(850 - pause)), (0, 2, 1, None), (1, 5, 1, None), (1, 7, 1, None)];
        assert_eq!(hosts, expected);
        assert_eq!(trace.exits[1].injected, Some((0, 0x30)));
        assert_eq!(
            trace.exits.iter().map(Exit::answer).collect::<Vec<_>>(),
            ["inside", "IoWrite", "Halt", "Halt", "MmioRead"]
        );
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Trace::parse("").is_err() && Trace::parse("x86_vcpu trace 2 vmx\n").is_err());
        assert!(Trace::parse("x86_vcpu trace 1 arm\n").is_err());
        assert!(Trace::parse("x86_vcpu trace 1 svm\nT 0 0 0\n").is_err());
        assert!(Trace::parse("x86_vcpu trace 1 svm\nT 0 x 0\n").is_err());
        assert!(Trace::parse("x86_vcpu trace 1 svm\nhello\n").is_err());
        assert!(Trace::parse("x86_vcpu trace 1 svm\n").is_ok_and(|trace| trace.exits.is_empty()));
    }
}

//! From the text of a log to dumps.

use crate::model::{Spec, Vendor};

use super::dump::{Dump, Log, Note, Source, Value};
use super::fields::Fields;
use super::line::{Line, stripped};
use super::names::{Aim, Dictionary};
use super::pairs::{Number, Pair, pairs};
use super::spellings::{self, Section};

/// The first words of a dump of ours, before the version.
const OWN: &str = "x86_vcpu dump ";
/// The version that can be read.
const OWN_VERSION: &str = "1";
/// A dump that is longer ends after so many lines in which nothing of it stands.
const FAR: usize = 40;

/// QEMU's list of registers has at most so many lines.
const REGISTERS: usize = 28;

/// Reads all dumps of a log. `vendor` is that of lines whose names do not tell.
pub fn read(spec: &Spec, text: &str, vendor: Option<Vendor>) -> Log {
    let fields = Fields::of(spec);
    let (log, failures) = (Log::default(), Vec::new());
    let mut reader = Reader { spec, fields: &fields, log, now: Now::Outside, failures, registers: 0 };
    let mut kept = Vec::new();
    let last = if text.ends_with('\n') { usize::MAX } else { text.lines().count() };
    for (index, line) in text.lines().enumerate() {
        let line = (index + 1, stripped(line));
        if line.0 == last && reader.ends_within(line.0, line.1) {
            continue;
        }
        if !reader.line(line.0, line.1) {
            kept.push(line);
        }
    }
    let Reader { mut log, failures, .. } = reader;
    if log.dumps.iter().all(|dump| dump.source == Source::Plain) {
        log.dumps.clear();
        let plain = plain(spec, &fields, &kept, vendor);
        if plain.values.is_empty() && plain.msrs.is_empty() {
            log.unknown = plain.unknown;
        } else {
            log.dumps.push(plain);
        }
    } else {
        log.outside = kept.iter().filter(|(_, line)| !line.text.is_empty()).count();
    }
    for dump in &mut log.dumps {
        let (first, last) = dump.lines;
        // What comes after the last value is of something else.
        let all = matches!(dump.source, Source::Own | Source::Plain);
        let of_it = dump.unknown.iter().filter(|note| note.line <= last || all).count();
        log.outside += dump.unknown.split_off(of_it).len();
        let distance = |line: usize| if line < first { first - line } else { line.saturating_sub(last) };
        dump.failure = failures.iter().copied().min_by_key(|(line, _)| distance(*line));
        dump.vendor = dump.vendor.or(vendor);
        dump.missing = spellings::always(dump.source, dump.vendor)
            .iter()
            .copied()
            .filter(|name| dump.value(name).is_none())
            .collect();
    }
    log
}

/// Where the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    Outside,
    /// In the last dump of the log; `quiet` lines ago something of it was there.
    Dump {
        section: Option<Section>,
        quiet: usize,
    },
}

struct Reader<'s> {
    spec: &'s Spec,
    fields: &'s Fields<'s>,
    log: Log,
    now: Now,
    /// What the log says of entries that failed.
    failures: Vec<(usize, u64)>,
    /// How many more lines may be of QEMU's list of registers.
    registers: usize,
}

impl Reader<'_> {
    /// Whether the line says anything of a dump.
    fn line(&mut self, number: usize, line: Line) -> bool {
        let text = line.text;
        if let Some(failure) = failure(text) {
            self.failures.push((number, failure));
            return true;
        }
        self.qemu(number, text) || self.begins(number, line) || self.goes_on(number, line)
    }

    /// A list of registers as QEMU prints it when an entry fails.
    fn qemu(&mut self, number: usize, text: &str) -> bool {
        if text.starts_with("EAX=") && text.contains(" EBX=") || text.starts_with("RAX=") && text.contains(" RBX=") {
            self.log.registers.get_or_insert(number);
            self.registers = REGISTERS;
        }
        self.registers = self.registers.saturating_sub(1);
        self.registers > 0 && spellings::is_of_qemu(text)
    }

    /// Whether the file ends within a line of a dump. Of what stands there nobody knows how much is missing.
    fn ends_within(&mut self, number: usize, line: Line) -> bool {
        let Now::Dump { .. } = self.now else { return false };
        let Some(dump) = self.log.dumps.last_mut().filter(|_| !pairs(line.text).is_empty()) else { return false };
        dump.problem(number, format!("the file ends within this line, which is not read: {}", line.text));
        true
    }

    fn start(&mut self, source: Source, vendor: Option<Vendor>, number: usize, section: Option<Section>) -> bool {
        // A line before the first heading may have told already which vCPU it is.
        let expected = self.log.dumps.last().is_some_and(|dump| {
            dump.values.is_empty() && dump.source == source && dump.vendor == vendor && number - dump.lines.1 < 8
        });
        if !expected {
            self.log.dumps.push(Dump::new(source, vendor, number));
        }
        self.now = Now::Dump { section, quiet: 0 };
        true
    }

    /// Headings.
    fn begins(&mut self, number: usize, line: Line) -> bool {
        let text = line.text;
        let printer = if line.xen { Source::Xen } else { Source::Kvm };
        let (intel, amd) = (Some(Vendor::Intel), Some(Vendor::Amd));
        if let Some(rest) = text.strip_prefix(OWN) {
            let mut words = rest.split_whitespace();
            let version = words.next().unwrap_or_default();
            let vendor = match words.next() {
                Some("vmx") => intel,
                Some("svm") => amd,
                _ => None,
            };
            self.start(Source::Own, vendor, number, None);
            if version != OWN_VERSION
                && let Some(dump) = self.log.dumps.last_mut()
            {
                dump.problem(number, format!("version {version} of our dumps; this reads version {OWN_VERSION}"));
            }
            return true;
        }
        match text {
            "*** Guest State ***" => self.start(printer, intel, number, Some(Section::Guest)),
            "*** Host State ***" => self.section(printer, intel, number, Section::Host),
            "*** Control State ***" => self.section(printer, intel, number, Section::Control),
            "VMCB Control Area:" => self.start(printer, amd, number, Some(Section::Vmcb)),
            "VMCB State Save Area:" => self.section(printer, amd, number, Section::Vmcb),
            _ if text.contains("last attempted VM-entry on CPU") || text.contains("last attempted VMRUN on CPU") => {
                let vendor = if text.contains("VMRUN") { amd } else { intel };
                self.start(Source::Kvm, vendor, number, None);
                self.about(text);
                true
            }
            _ if text.starts_with("Dumping guest's current state at") => {
                self.start(Source::Xen, amd, number, Some(Section::Vmcb));
                self.about(text);
                true
            }
            _ if line.xen && text.starts_with("cr_intercepts =") && self.section_now() != Some(Section::Vmcb) => {
                self.start(Source::Xen, amd, number, Some(Section::Vmcb));
                self.goes_on(number, line)
            }
            _ => false,
        }
    }

    /// A heading inside of a dump. Without one that begins, the start of the log is missing.
    fn section(&mut self, source: Source, vendor: Option<Vendor>, number: usize, section: Section) -> bool {
        match &mut self.now {
            Now::Dump { section: now, quiet } if self.log.dumps.last().is_some_and(|dump| dump.vendor == vendor) => {
                (*now, *quiet) = (Some(section), 0);
                true
            }
            _ => self.start(source, vendor, number, Some(section)),
        }
    }

    fn section_now(&self) -> Option<Section> {
        match self.now {
            Now::Dump { section, .. } => section,
            Now::Outside => None,
        }
    }

    fn about(&mut self, text: &str) {
        if let Some(dump) = self.log.dumps.last_mut() {
            dump.about.push(text.to_owned());
        }
    }

    /// A line of the dump that the reader is in.
    fn goes_on(&mut self, number: usize, line: Line) -> bool {
        let found = pairs(line.text);
        let Now::Dump { section, quiet } = self.now else {
            return self.capability(number, &found);
        };
        let Some(dump) = self.log.dumps.last_mut() else { return false };
        let took = match (dump.source, section) {
            (Source::Own, _) => own(self.spec, self.fields, dump, number, line.text, &found),
            (_, Some(section)) => printed(self.fields, dump, section, number, line.text, &found),
            (_, None) => Took::Nothing,
        };
        match took {
            Took::All => {
                dump.lines.1 = number;
                // Lines between those of the dump that are not of it.
                self.now = Now::Dump { section, quiet: 0 };
                return true;
            }
            Took::Noise => return true,
            Took::Nothing => {}
        }
        if capability_of(self.spec, &mut dump.capabilities, &found).is_some_and(|taken| taken.is_ok()) {
            dump.lines.1 = number;
            return true;
        }
        if quiet >= FAR {
            self.now = Now::Outside;
            return false;
        }
        self.now = Now::Dump { section, quiet: quiet + 1 };
        if line.text.is_empty() || line.text.starts_with('#') {
            return true;
        }
        dump.unknown.push(Note { line: number, text: line.text.to_owned() });
        true
    }

    fn capability(&mut self, _number: usize, found: &[Pair]) -> bool {
        capability_of(self.spec, &mut self.log.capabilities, found).is_some_and(|taken| taken.is_ok())
    }
}

fn capability_of(spec: &Spec, capabilities: &mut super::Capabilities, found: &[Pair]) -> Option<Result<(), String>> {
    let [pair] = found else { return None };
    capabilities.take(spec, pair)
}

/// What became of a line.
enum Took {
    /// Values of the dump.
    All,
    /// It is of the dump, and says nothing.
    Noise,
    /// It is something else, or nobody knows.
    Nothing,
}

/// `NAME = 0x… (BITS)`
fn own(spec: &Spec, fields: &Fields, dump: &mut Dump, number: usize, text: &str, found: &[Pair]) -> Took {
    let [pair] = found else { return Took::Nothing };
    if let Some(taken) = dump.capabilities.take(spec, pair) {
        if let Err(why) = taken {
            dump.problem(number, why);
        }
        return Took::All;
    }
    if msr_of_area(dump, number, pair) {
        return Took::All;
    }
    let name = text.split('=').next().unwrap_or_default().trim();
    let Some(place) = fields.get(name) else { return Took::Nothing };
    let [value] = pair.values[..] else { return Took::Nothing };
    dump.vendor = dump.vendor.or(Some(place.vendor));
    let Some(value) = value.plain() else {
        dump.problem(number, format!("{} is no number of 64 bits", pair.values[0].0));
        return Took::All;
    };
    store(fields, dump, number, &Aim { field: name.to_owned(), low: 0, bits: 0 }, value, "");
    Took::All
}

/// `VM_ENTRY_MSR_LOAD[0] = 0x808 0x0`: the lower eight bytes of an entry of the MSR area, and the upper ones.
fn msr_of_area(dump: &mut Dump, line: usize, pair: &Pair) -> bool {
    let place = pair.key.trim().strip_prefix("VM_ENTRY_MSR_LOAD[").and_then(|rest| rest.strip_suffix(']'));
    let (Some(place), [register, value]) = (place, &pair.values[..]) else { return false };
    dump.msr(line, place, register.plain(), value.plain())
}

/// A line as Linux and Xen print it.
fn printed(fields: &Fields, dump: &mut Dump, section: Section, number: usize, text: &str, found: &[Pair]) -> Took {
    let xen = dump.source == Source::Xen;
    if let Some(event) = text.strip_prefix("event_inj ").or_else(|| text.strip_prefix("eventinj ")) {
        let value = event.split([',', ' ']).next().and_then(|number| Number(number).hexadecimal());
        let aim = Aim { field: "control.EVENTINJ".to_owned(), low: 0, bits: 0 };
        return value.map_or(Took::Nothing, |value| {
            store(fields, dump, number, &aim, value, "");
            Took::All
        });
    }
    if is_noise(text) {
        if text.starts_with("MSR ") {
            dump.in_area = text.starts_with("MSR guest autoload");
        }
        return Took::Noise;
    }
    // `   0: msr=0x00000808 value=0x0000000000000000`
    if let ([register, value], true) = (found, dump.in_area)
        && (register.key.trim(), value.key.trim()) == ("msr", "value")
    {
        let value_of = |pair: &Pair| pair.values.first().and_then(|number| number.hexadecimal());
        let (place, register, value) = (register.prefix, value_of(register), value_of(value));
        return if dump.msr(number, place, register, value) { Took::All } else { Took::Nothing };
    }
    let mut took = Took::Nothing;
    let mut unknown = Vec::new();
    for pair in found {
        let path = pair.path();
        // `VMExit: intr_info=… ` goes on with `reason=…` on the next line, and a prefix that is left over means nothing.
        let bare = pair.key.trim().to_ascii_lowercase();
        let goals = spellings::goals(section, xen, &path, pair.values.len());
        let goals = goals.or_else(|| spellings::goals(section, xen, &bare, pair.values.len()));
        let Some(goals) = goals else {
            if spellings::is_other(&path) {
                took = Took::All;
            } else {
                unknown.push(pair.key);
            }
            continue;
        };
        took = Took::All;
        // A number of 64 bits for two words.
        let halves = pair.values.len() == 1 && path == "intercepts" && pair.values[0].digits() > 8;
        let numbers: Vec<Option<u64>> = if halves {
            let both = pair.values[0].hexadecimal();
            vec![both.map(|both| both & 0xffff_ffff), both.map(|both| both >> 32)]
        } else {
            let printed = pair.values.iter().zip(&goals);
            printed.map(|(number, goal)| if goal.decimal { number.decimal() } else { number.hexadecimal() }).collect()
        };
        let goals = if halves { spellings::goals(section, xen, &path, 2).unwrap_or(goals) } else { goals };
        for (goal, value) in goals.iter().zip(numbers) {
            if goal.field == spellings::NOTHING {
                continue;
            }
            match value {
                Some(value) => {
                    let value = exit_code(goal.field, pair.values[0], value);
                    store(fields, dump, number, &Aim::from(*goal), value, pair.remark);
                }
                None => dump.problem(number, format!("{} of {} is no number of 64 bits", pair.values[0].0, pair.key)),
            }
        }
    }
    if matches!(took, Took::All) {
        let notes = unknown.into_iter().map(|key| Note { line: number, text: format!("`{key}`, in: {text}") });
        dump.unknown.extend(notes);
    }
    took
}

/// Linux prints the lower half of the exit code: of VMEXIT_INVALID 32 ones.
fn exit_code(field: &str, printed: Number, value: u64) -> u64 {
    match u32::try_from(value) {
        Ok(low) if field == "control.EXITCODE" && printed.digits() <= 8 => i64::from(low.cast_signed()).cast_unsigned(),
        _ => value,
    }
}

/// What stands in dumps without saying anything of a field.
fn is_noise(text: &str) -> bool {
    text.is_empty()
        || text.starts_with("***")
        || text.starts_with(">>> Domain")
        || text.starts_with("VCPU ")
        || text.starts_with("MSR guest auto")
        || text.starts_with("MSR host auto")
        || text.starts_with("Size of VMCB")
        || text.starts_with("sev_features ")
        || text.split_whitespace().eq(["sel", "attr", "limit", "base"])
}

/// Bit 31 of an exit reason.
const FAILED: u64 = 1 << 31;

/// "VM entry failed: exit reason 33" of ours, "hardware error 0x80000021" of QEMU, "vmentry failure (reason 0x80000021)" of Xen.
fn failure(text: &str) -> Option<u64> {
    if let Some((_, ours)) = text.split_once("VM entry failed: ") {
        let number = |words: &str| ours.strip_prefix(words)?.split_whitespace().next()?.parse::<u64>().ok();
        let invalid = || ours.starts_with("VMEXIT_INVALID").then_some(u64::MAX);
        return number("VM-instruction error ").or_else(|| Some(number("exit reason ")? | FAILED)).or_else(invalid);
    }
    let after = ["hardware error ", "vmentry failure (reason ", "hardware_entry_failure_reason = "];
    let rest = after.iter().find_map(|words| Some(text.split_once(words)?.1))?;
    let number = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    Number(number).plain()
}

fn store(fields: &Fields, dump: &mut Dump, line: usize, aim: &Aim, value: u64, remark: &str) {
    let Some(place) = fields.get(&aim.field) else { return };
    let whole = place.mask();
    let bits = if aim.bits == 0 { whole } else { (u64::MAX >> (64 - aim.bits.min(64))) << aim.low };
    let placed = value.checked_shl(aim.low).unwrap_or(0);
    if placed >> aim.low != value || placed & !bits != 0 {
        let width = bits.count_ones();
        return dump.problem(line, format!("{value:#x} does not fit into the {width} bits of {}", aim.field));
    }
    let remark = (!remark.is_empty()).then(|| remark.to_owned());
    let Some(old) = dump.values.get_mut(&aim.field) else {
        dump.values.insert(aim.field.clone(), Value { value: placed, known: bits, line, remark });
        return;
    };
    let both = old.known & bits;
    if old.value & both != placed & both {
        let (first, now) = (old.line, old.value & both);
        let text =
            format!("{} is {:#x} here and {now:#x} in line {first}: the first one counts", aim.field, placed & both,);
        return dump.problem(line, text);
    }
    old.value |= placed;
    old.known |= bits;
}

/// A file without headings: every line that has names and numbers.
fn plain(spec: &Spec, fields: &Fields, lines: &[(usize, Line)], vendor: Option<Vendor>) -> Dump {
    let dictionary = Dictionary::of(spec);
    let mut dump = Dump::new(Source::Plain, None, lines.first().map_or(1, |(number, _)| *number));
    let (mut meant, mut areas) = (Vec::new(), None);
    for (number, line) in lines {
        let text = line.text;
        if text.is_empty() || text.starts_with(['#', ';']) || text.starts_with("//") {
            continue;
        }
        let found = pairs(text);
        let mut known = false;
        for pair in &found {
            if msr_of_area(&mut dump, *number, pair) {
                (known, areas) = (true, areas.or(Some(*number)));
                continue;
            }
            match dump.capabilities.take(spec, pair) {
                Some(Ok(())) => known = true,
                Some(Err(why)) => {
                    dump.problem(*number, why);
                    known = true;
                }
                None => {
                    let path = pair.path();
                    let meaning = dictionary.meaning(&path, pair.values.len());
                    if meaning.vmx.is_empty() && meaning.svm.is_empty() {
                        continue;
                    }
                    known = true;
                    meant.push((*number, pair.clone(), meaning));
                }
            }
        }
        if !known {
            dump.unknown.push(Note { line: *number, text: text.to_owned() });
        }
    }
    let only_vmx = meant.iter().filter(|(.., meaning)| meaning.svm.is_empty()).count() + dump.msrs.len();
    let only_svm = meant.iter().filter(|(.., meaning)| meaning.vmx.is_empty()).count();
    dump.vendor = vendor.or(match only_vmx.cmp(&only_svm) {
        std::cmp::Ordering::Less => Some(Vendor::Amd),
        std::cmp::Ordering::Greater => Some(Vendor::Intel),
        std::cmp::Ordering::Equal => None,
    });
    if let Some(first) = meant.first().map(|(first, ..)| *first).or(areas) {
        dump.lines = (first, first);
    }
    for (number, pair, meaning) in &meant {
        dump.lines.1 = *number;
        let (aims, others) = match dump.vendor {
            Some(Vendor::Amd) => (&meaning.svm, &meaning.vmx),
            _ => (&meaning.vmx, &meaning.svm),
        };
        if let (true, Some(other)) = (aims.is_empty(), others.first()) {
            let text = format!("{} is of the other vendor, unlike most names here", other.field);
            dump.problem(*number, text);
            continue;
        }
        if pair.values.len() > aims.len() {
            dump.problem(*number, format!("{} numbers for {}", pair.values.len(), pair.key));
        }
        for (aim, value) in aims.iter().zip(&pair.values) {
            if aim.field.is_empty() {
                continue;
            }
            match value.plain() {
                Some(value) => store(fields, &mut dump, *number, aim, value, ""),
                None => dump.problem(*number, format!("{} is no number of 64 bits", value.0)),
            }
        }
    }
    dump
}

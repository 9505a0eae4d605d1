//! The build with a trace.

use super::{
    TraceEntry, Vocabulary,
    ring::{INJECTED, Marks, Record, Ring},
};
use crate::{
    Result, VcpuConfig,
    exit::{Answer, VmExit},
    frame::FrameSource,
    guest::events::Event,
    host,
    observer::Exited,
    spec::intel::structures::InterruptionType,
};

/// The trace of a vCPU.
pub(crate) struct Trace<S: FrameSource> {
    /// None while nothing is recorded.
    ring: Option<Ring<S>>,
    /// The time-stamp counter before the last entry.
    entered: u64,
}

impl<S: FrameSource> Trace<S> {
    pub(crate) fn new(config: &VcpuConfig) -> Result<Self> {
        let mut trace = Self { ring: None, entered: 0 };
        trace.set_length(config.trace_exits)?;
        Ok(trace)
    }

    /// Keeps so many exits from here on, or none.
    ///
    /// # Errors
    /// Those of [`Ring::new`]; then all is as before.
    pub(crate) fn set_length(&mut self, length: usize) -> Result {
        self.ring = if length == 0 { None } else { Some(Ring::new(length)?) };
        Ok(())
    }

    /// Whether exits are kept.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Right before an entry, at `now` if somebody has looked at the clock already.
    #[inline(always)]
    pub(crate) fn enter_guest(&mut self, now: Option<u64>) {
        look_at_clock(&mut self.entered, now);
    }

    /// Right after an exit.
    #[inline(always)]
    pub(crate) fn exited(&mut self, exit: &impl Exited, now: Option<u64>) {
        if let Some(ring) = &mut self.ring {
            record(ring, self.entered, exit, now);
        }
    }

    /// What the CPU says of the last exit.
    #[inline(always)]
    pub(crate) fn information(&mut self, information: [u64; 2]) {
        if let Some(ring) = &mut self.ring {
            ring.newest().info = information;
        }
    }

    /// The VMM gets the last exit, as this.
    #[inline(always)]
    pub(crate) fn left_to_vmm(&mut self, exit: &VmExit) {
        if let Some(ring) = &mut self.ring {
            note_answer(ring.newest(), exit);
        }
    }

    /// The next entry injects this.
    #[inline(always)]
    pub(crate) fn injected(&mut self, event: &Event) {
        if let Some(ring) = &mut self.ring {
            let marks = &mut ring.newest().marks;
            (marks.event_type, marks.event_vector) = (event.kind.0 | INJECTED, event.vector);
        }
    }

    /// The guest's instruction has read or written this.
    #[inline(always)]
    pub(crate) fn completed(&mut self, value: u64) {
        if let Some(ring) = &mut self.ring {
            note_value(ring.newest(), value);
        }
    }

    /// How many exits were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.ring.as_ref().map_or(0, Ring::count)
    }

    /// Those that are kept, from the one with number `from` on, the oldest first.
    pub(crate) fn entries(
        &self,
        from: u64,
        vocabulary: &'static Vocabulary,
    ) -> impl DoubleEndedIterator<Item = TraceEntry> {
        let ring = self.ring.as_ref();
        let oldest = ring.map_or(0, Ring::oldest);
        (from.max(oldest)..self.count()).filter_map(move |number| {
            let next = ring?.get(number.wrapping_add(1)).map(|next| next.entered);
            Some(entry(number, ring?.get(number)?, next, vocabulary))
        })
    }
}

/// What the clock says, if nobody has looked already.
#[inline(always)]
fn look_at_clock(to: &mut u64, known: Option<u64>) {
    match known {
        Some(now) => *to = now,
        None => host::store_timestamp(to),
    }
}

#[inline(always)]
fn record<S: FrameSource>(ring: &mut Ring<S>, entered: u64, exit: &impl Exited, now: Option<u64>) {
    let (eax, ecx) = exit.registers();
    let record = ring.next();
    // Field by field: those that are not named here are written when there is something for them.
    record.entered = entered;
    look_at_clock(&mut record.exited, now);
    record.rip = exit.rip();
    record.code = exit.word();
    record.marks = Marks::default();
    record.eax = eax;
    record.ecx = ecx;
}

#[inline(always)]
fn note_answer(record: &mut Record, exit: &VmExit) {
    record.marks.answer = exit.answer() as u8;
    match *exit {
        VmExit::IoWrite { data, .. } => note_value(record, data.into()),
        VmExit::MsrWrite { value, .. } => note_value(record, value),
        VmExit::MmioWrite { data, .. } => note_value(record, data),
        _ => {}
    }
}

#[inline(always)]
fn note_value(record: &mut Record, value: u64) {
    record.value = value;
    record.marks.has_value = true;
}

fn entry(number: u64, record: &Record, next: Option<u64>, vocabulary: &'static Vocabulary) -> TraceEntry {
    let Marks { answer, has_value, event_type, event_vector } = record.marks;
    let code = (vocabulary.code)(record.code);
    let [has_info1, has_info2] = (vocabulary.has_information)(code);
    TraceEntry {
        number,
        code,
        rip: record.rip,
        info1: if has_info1 { record.info[0] } else { 0 },
        info2: if has_info2 { record.info[1] } else { 0 },
        eax: record.eax,
        ecx: record.ecx,
        entered: record.entered,
        exited: record.exited,
        host: next.map(|next| next.saturating_sub(record.exited)),
        answer: Answer::numbered(answer),
        value: has_value.then_some(record.value),
        injected: (event_type & INJECTED != 0).then_some((InterruptionType(event_type & !INJECTED), event_vector)),
        vocabulary,
    }
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use super::*;
    use crate::{Error, exit::Width, nested::mock::MockFrames};

    /// An exit with this code at this RIP.
    struct At(u32, u64);

    impl Exited for At {
        fn code(&self) -> u64 {
            self.0.into()
        }
        fn word(&self) -> u32 {
            self.0
        }
        fn rip(&self) -> u64 {
            self.1
        }
        fn registers(&self) -> (u32, u32) {
            (10, 20)
        }
    }

    static WORDS: Vocabulary = Vocabulary {
        code: u64::from,
        name: |code| (code == 7).then_some("SEVEN"),
        has_information: |code| [true, code == 7],
        details: |entry, f| write!(f, ", {:#x} {:#x}", entry.info1, entry.info2),
    };

    fn trace(length: usize) -> Trace<MockFrames> {
        let mut trace = Trace { ring: None, entered: 0 };
        trace.set_length(length).expect("frames");
        trace
    }

    fn pass(trace: &mut Trace<MockFrames>, code: u32, rip: u64, entered: u64, exited: u64) {
        trace.enter_guest(Some(entered));
        trace.exited(&At(code, rip), Some(exited));
        trace.information([rip + 1, rip + 2]);
    }

    fn rips(trace: &Trace<MockFrames>, from: u64) -> Vec<(u64, u64)> {
        trace.entries(from, &WORDS).map(|entry| (entry.number, entry.rip)).collect()
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_to_be() {
        let mut trace = trace(0);
        pass(&mut trace, 7, 0x100, 1, 2);
        trace.injected(&Event::general_protection());
        trace.completed(1);
        trace.left_to_vmm(&VmExit::Halt);
        assert_eq!((trace.count(), rips(&trace, 0)), (0, Vec::new()));
        assert_eq!(MockFrames::live(), 0);
    }

    #[test]
    fn one_is_kept_when_one_is_to_be() {
        let mut trace = trace(1);
        for rip in 1..=3 {
            pass(&mut trace, 7, rip, 0, 0);
            assert_eq!(rips(&trace, 0), [(rip - 1, rip)]);
        }
    }

    #[test]
    fn each_exit_has_its_own_words() {
        let mut trace = trace(4);
        // What happens before the first exit belongs to none.
        trace.injected(&Event::general_protection());
        pass(&mut trace, 7, 0x100, 1000, 1030);
        pass(&mut trace, 9, 0x200, 1100, 1105);
        trace.left_to_vmm(&VmExit::IoRead { port: 0x60, width: Width::Byte });
        trace.completed(0x5a);
        pass(&mut trace, 7, 0x300, 2000, 2001);
        trace.injected(&Event::software_interrupt(0x80, 2));
        pass(&mut trace, 7, 0x400, 2002, 2003);
        trace.left_to_vmm(&VmExit::MmioWrite { gpa: 0, width: Width::Byte, data: 0xff });
        let lines: Vec<_> = trace.entries(0, &WORDS).map(|entry| format!("{entry}")).collect();
        assert_eq!(
            lines,
            [
                "#0 SEVEN at 0x100, 0x101 0x102; guest 30, host 70; inside",
                "#1 exit 0x9 at 0x200, 0x201 0x0; guest 5, host 895; IoRead, value 0x5a",
                "#2 SEVEN at 0x300, 0x301 0x302; guest 1, host 1; inside; injects SOFTWARE_INTERRUPT 0x80",
                "#3 SEVEN at 0x400, 0x401 0x402; guest 1; MmioWrite, value 0xff",
            ]
        );
        let entry = trace.entries(1, &WORDS).next().expect("there are more");
        assert_eq!((entry.eax, entry.ecx, entry.host, entry.guest()), (10, 20, Some(895), 5));
        // An entry that has no exit yet says nothing of the last one.
        trace.enter_guest(Some(5000));
        assert_eq!(trace.entries(3, &WORDS).next_back().and_then(|entry| entry.host), None);
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let mut trace = trace(3);
        for rip in 0..5 {
            pass(&mut trace, 7, rip, 0, 0);
        }
        assert_eq!(rips(&trace, 0), [(2, 2), (3, 3), (4, 4)]);
        assert_eq!(rips(&trace, 4), [(4, 4)]);
        assert_eq!(rips(&trace, 5), []);
        assert_eq!(rips(&trace, u64::MAX), []);
    }

    #[test]
    fn memory_comes_from_the_source_and_goes_back() {
        let mut trace = trace(64);
        assert_eq!(MockFrames::live(), 1);
        pass(&mut trace, 7, 1, 0, 0);
        for left in 0..4 {
            MockFrames::limit(left);
            assert_eq!(trace.set_length(65 + 64), Err(Error::NoMemory), "of 4 frames {left} are there");
            MockFrames::limit(usize::MAX);
            assert_eq!((MockFrames::live(), rips(&trace, 0)), (1, [(0, 1)].into()), "what was kept stays");
        }
        trace.set_length(65 + 64).expect("frames");
        assert_eq!((MockFrames::live(), trace.count()), (4, 0));
        assert!(matches!(trace.set_length(16385), Err(Error::InvalidInput(_))));
        trace.set_length(0).expect("it takes none");
        assert_eq!(MockFrames::live(), 0);
    }
}

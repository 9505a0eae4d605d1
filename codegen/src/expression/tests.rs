//! What expressions mean, and that any text is read without harm.

use std::collections::HashMap;

use super::lookup::Lookup;
use super::parse::parse;
use super::resolve::Resolver;
use super::*;
use crate::model::{Cite, FileId, Phase, Severity, Span, Spanned, Spec, Vendor};
use crate::testing::base;

/// Values by name.
#[derive(Default)]
struct Values(HashMap<&'static str, u64>);

impl State for Values {
    fn field(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    fn msr(&self, address: u32) -> Option<u64> {
        self.0.get(if address == 0x480 { "basic" } else { "msr" }).copied()
    }

    fn cpuid(&self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        None
    }
}

/// What a text says as a rule on a state, or the first word of what is wrong with it.
fn judged(spec: &Spec, text: &str, state: &dyn State) -> Result<Verdict, String> {
    let (lookup, none, later) = (Lookup::new(spec, Vendor::Intel), HashMap::new(), HashMap::new());
    let resolver = Resolver { lookup: &lookup, known: &none, later: &later, entries: true, used: Default::default() };
    let problem = |problem: Problem| {
        assert!(text.get(problem.range.clone()).is_some(), "{problem:?} in {text}");
        problem.message
    };
    let require = parse(text).and_then(|node| resolver.condition(&node)).map_err(problem)?.expr;
    let span = Span { file: FileId(0), start: 0, end: 0 };
    let field = Place { name: "GUEST_RIP".to_owned(), number: 0, bytes: 8 };
    let doc = Spanned { value: String::new(), span };
    let rule = Rule {
        name: String::new(),
        row: None,
        span,
        phase: Phase::Guest,
        severity: Severity::Failure,
        qualification: 0,
        cite: Cite { doc, title: String::new(), page: None, unchecked: None },
        note: None,
        field,
        when: Vec::new(),
        require,
        shows: None,
        entries: None,
        inputs: Vec::new(),
        when_text: Vec::new(),
        require_text: String::new(),
        shows_text: None,
        explain: String::new(),
        hint: String::new(),
    };
    let verdicts = judge_some(spec.rules(Vendor::Intel), std::slice::from_ref(&rule), state);
    Ok(verdicts.into_iter().next().unwrap().verdict)
}

/// Whether a text holds where RIP is 0x1234, RSP all ones, the EPT pointer 0x5e, and nothing else is known.
fn holds(text: &str) -> Option<bool> {
    let spec = Spec::load(base()).unwrap();
    let state = Values(HashMap::from([
        ("GUEST_RIP", 0x1234),
        ("GUEST_RSP", u64::MAX),
        ("EPT_POINTER", 0x5e),
        ("PRIMARY_CONTROLS", 0x8000_0000),
        ("SECONDARY_CONTROLS", 2),
        ("msr", 0x8000_0002_0000_0000),
        ("basic", 0),
    ]));
    match judged(&spec, text, &state).unwrap_or_else(|error| panic!("{text}: {error}")) {
        Verdict::Kept => Some(true),
        Verdict::Broken { .. } => Some(false),
        Verdict::Unknown(_) => None,
        Verdict::Silent => panic!("{text} has no condition"),
    }
}

#[test]
fn operators_bind_as_they_are_listed() {
    for text in [
        "GUEST_RIP & 0xff == 0x34",
        "GUEST_RIP | 1 == 0x1235",
        "GUEST_RIP ^ 0x1200 == 0x34",
        "GUEST_RIP | 0xf & GUEST_RIP ^ 0x4 == 0x1234",
        "GUEST_RIP << 4 + 4 == 0x123400",
        "GUEST_RIP >> 4 + 4 == 0x12",
        "GUEST_RIP >> 64 == 0",
        "GUEST_RIP - 0x34 - 0x200 == 0x1000",
        "GUEST_RSP + 2 == 1",
        "~GUEST_RSP == 0",
        "~GUEST_RIP & 0xf == 0xb",
        "GUEST_RIP != 0x1234 && GUEST_RSP == 1 || GUEST_RIP == 0x1234",
        "GUEST_RIP == 1 => GUEST_RIP == 2 => GUEST_RIP == 3",
        "(GUEST_RIP == 0x1234 => GUEST_RIP == 2) => GUEST_RIP == 3",
        "!(GUEST_RIP == 1) && EPT_POINTER.ACCESSED_AND_DIRTY",
    ] {
        assert_eq!(holds(text), Some(true), "{text}");
    }
}

#[test]
fn comparisons_and_lists() {
    for (text, expected) in [
        ("GUEST_RIP < 0x1235", true),
        ("GUEST_RIP <= 0x1233", false),
        ("GUEST_RIP > 0x1234", false),
        ("GUEST_RIP >= 0x1234", true),
        ("0x1234 == GUEST_RIP", true),
        ("GUEST_RIP in (1, 0x1230..=0x1240, 7)", true),
        ("GUEST_RIP not in (1, 0x1230..=0x1240, 7,)", false),
        ("EPT_POINTER.ACCESSED_AND_DIRTY", true),
        ("EPT_POINTER.ACCESSED_AND_DIRTY == 0", false),
        ("1 == EPT_POINTER.ACCESSED_AND_DIRTY", true),
        ("EPT_POINTER.ACCESSED_AND_DIRTY != 1", false),
        ("EPT_POINTER.ACCESSED_AND_DIRTY == secondary.ENABLE_EPT", true),
        ("EPT_POINTER.WALK_LENGTH == 3", true),
        ("EPT_POINTER.MEMORY_TYPE != MemoryType::UNCACHEABLE", true),
        ("GUEST_RIP == Msr::IA32_VMX_BASIC", false),
    ] {
        assert_eq!(holds(text), Some(expected), "{text}");
    }
}

#[test]
fn functions() {
    for (text, expected) in [
        ("bits(GUEST_RIP, 7, 4) == 3", true),
        ("bits(GUEST_RIP, 63, 0) == 0x1234", true),
        ("canonical(GUEST_RIP, 48)", true),
        ("canonical(GUEST_RIP, 13)", false),
        ("canonical(GUEST_RSP, 1)", true),
        ("canonical(GUEST_RSP - 1, GUEST_RIP - 0x1233)", false),
        ("aligned(GUEST_RIP, 2)", true),
        ("aligned(GUEST_RIP, 3)", false),
        ("reserved_clear(EPT_POINTER)", true),
        ("allowed(primary)", true),
        ("allowed(secondary)", true),
        ("supported(secondary.ENABLE_EPT)", true),
        ("supported(primary.USE_MSR_BITMAPS)", false),
        ("exists(EPT_POINTER)", true),
    ] {
        assert_eq!(holds(text), Some(expected), "{text}");
    }
}

#[test]
fn what_is_not_known_decides_nothing() {
    for (text, expected) in [
        ("GUEST_CS_SELECTOR == 0", None),
        ("GUEST_CS_SELECTOR == 0 || GUEST_RIP == 0x1234", None),
        ("GUEST_RIP == 0x1234 || GUEST_CS_SELECTOR == 0", Some(true)),
        ("GUEST_RIP == 0 && GUEST_CS_SELECTOR == 0", Some(false)),
        ("GUEST_RIP == 0 => GUEST_CS_SELECTOR == 0", Some(true)),
        ("memory32(GUEST_RIP) == 0", None),
        ("entry.index == 0", None),
        ("current_vmcs == 0", None),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn words_without_their_activating_bit_are_0() {
    let spec = Spec::load(base()).unwrap();
    let state = Values(HashMap::from([("PRIMARY_CONTROLS", 0), ("SECONDARY_CONTROLS", 2)]));
    let judged = |text| judged(&spec, text, &state).unwrap();
    assert_eq!(judged("!secondary.ENABLE_EPT"), Verdict::Kept);
    assert_eq!(judged("secondary == 0"), Verdict::Kept);
    assert_eq!(judged("SECONDARY_CONTROLS.ENABLE_EPT"), Verdict::Kept);
    assert_eq!(judged("allowed(secondary)"), Verdict::Kept, "no MSR is asked");
}

/// Random sequences of tokens and of characters: nothing panics or hangs, places are inside of the text, and what is
/// accepted can be judged on a state with everything and on one with nothing.
#[test]
fn any_text_is_read_without_harm() {
    const TOKENS: &[&str] = &[
        "GUEST_RIP",
        "EPT_POINTER",
        "EPT_POINTER.WALK_LENGTH",
        "EPT_POINTER.ACCESSED_AND_DIRTY",
        "GUEST_CS_SELECTOR",
        "secondary",
        "secondary.ENABLE_EPT",
        "primary",
        "msr.IA32_VMX_BASIC",
        "Msr::IA32_VMX_BASIC",
        "entry.index",
        "entry.value",
        "current_vmcs",
        "MemoryType::UNCACHEABLE",
        "cpuid",
        "save.RIP",
        "0",
        "1",
        "3",
        "63",
        "64",
        "0xffff",
        "0xffff_ffff_ffff_ffff",
        "true",
        "false",
        "(",
        ")",
        "(",
        ")",
        ",",
        ".",
        "..=",
        "::",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "=>",
        "|",
        "^",
        "&",
        "+",
        "-",
        "<<",
        ">>",
        "!",
        "~",
        "in",
        "not",
        "in (",
        "not in (",
        "bits(",
        "canonical(",
        "aligned(",
        "reserved_clear(",
        "allowed(",
        "supported(",
        "exists(",
        "memory64(",
        "physical(",
        "é",
        "{",
        "\"",
        "'",
        "0x",
    ];
    let spec = Spec::load(base()).unwrap();
    let full = Values(
        [("GUEST_RIP", 7), ("EPT_POINTER", 0x5e), ("GUEST_CS_SELECTOR", 8), ("PRIMARY_CONTROLS", u64::MAX)]
            .into_iter()
            .chain([("SECONDARY_CONTROLS", 2), ("msr", 1), ("basic", u64::MAX)])
            .collect(),
    );
    let mut seed = 7_u64;
    let mut next = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let mut accepted = 0;
    for round in 0..20_000 {
        // Values and operators in turn, now and then something else.
        let mut text = String::new();
        for place in 0..1 + next(9) {
            let range = match (next(8), place % 2) {
                (0, _) => 0..TOKENS.len(),
                (_, 0) => 0..25,
                _ => 33..48,
            };
            text.push_str(TOKENS[range.start + next(range.len())]);
            text.push(' ');
        }
        if round % 16 == 0 {
            let at = text.char_indices().nth(next(text.chars().count())).map_or(0, |(at, _)| at);
            text.truncate(at);
        }
        if judged(&spec, &text, &full).is_ok() {
            accepted += 1;
            judged(&spec, &text, &Values::default()).unwrap();
        }
    }
    assert!(accepted > 200, "{accepted} texts were accepted: too few to say anything");
}

#[test]
fn long_and_deep_texts_are_refused_at_once() {
    let spec = Spec::load(base()).unwrap();
    for part in
        ["(", "!", "~", "bits(", "GUEST_RIP in (", "1 + (", "GUEST_RIP == 1 => ", "a.", "1 ", "not ", "exists(", "..="]
    {
        let text = part.repeat(100_000);
        assert!(judged(&spec, &text, &Values::default()).is_err(), "{part}");
    }
    // As deep as is allowed.
    let deep = format!("{}GUEST_RIP == 1{}", "!(".repeat(20), ")".repeat(20));
    assert!(judged(&spec, &deep, &Values::default()).is_ok());
}

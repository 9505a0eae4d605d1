//! Trace Event JSON, which Perfetto and other viewers read: a track for each vCPU, on which the guest and the host take turns.

use serde_json::{Value, json};

use super::file::{Exit, Trace, Vendor};
use super::symbols::Symbols;
use super::words::Words;

/// One guest is one process.
const PROCESS: u32 = 1;

/// The JSON object format: complete events (`X`) for the guest and for the host, instant events (`i`) for what is injected, and
/// the names of the tracks (`M`).
pub fn of(trace: &Trace, words: &Words, symbols: &Symbols) -> Value {
    let begin = trace.exits.iter().map(|exit| exit.entered).min().unwrap_or(0);
    let micros = |counts: u64| counts as f64 * 1e6 / trace.hz as f64;
    let mut events = vec![name("process_name", 0, "guest")];
    events.extend((0..trace.vcpus).map(|vcpu| name("thread_name", vcpu, &format!("vCPU {vcpu}"))));
    for exit in &trace.exits {
        let at = |counts: u64| micros(counts.saturating_sub(begin));
        let slice = |name: &str, category: &str, start: u64, length: u64, args: Value| {
            json!({
                "name": name, "cat": category, "ph": "X", "ts": at(start), "dur": micros(length),
                "pid": PROCESS, "tid": exit.vcpu, "args": args,
            })
        };
        events.push(slice("guest", "guest", exit.entered, exit.guest(), json!({})));
        let category = if exit.is_inside() { "inside" } else { "vmm" };
        let args = arguments(exit, words, symbols);
        events.push(slice(&words.name(exit), category, exit.exited, exit.host.unwrap_or(0), args));
        if let Some(event) = exit.injected {
            events.push(json!({
                "name": words.event(event), "cat": "event", "ph": "i", "s": "t",
                "ts": at(exit.exited.saturating_add(exit.host.unwrap_or(0))), "pid": PROCESS, "tid": exit.vcpu,
            }));
        }
    }
    let vendor = if trace.vendor == Vendor::Vmx { "Intel VMX" } else { "AMD SVM" };
    json!({ "traceEvents": events, "displayTimeUnit": "ns", "otherData": { "virtualization": vendor } })
}

fn name(what: &str, vcpu: usize, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": PROCESS, "tid": vcpu, "args": { "name": name } })
}

fn arguments(exit: &Exit, words: &Words, symbols: &Symbols) -> Value {
    let mut args = json!({
        "number": exit.number,
        "rip": format!("{:#x}", exit.rip),
        "function": symbols.name(exit.rip),
        "information": words.details(exit),
        "answer": exit.answer(),
        "instructions": exit.host,
    });
    if let (Some(value), Some(args)) = (exit.value, args.as_object_mut()) {
        args.insert("value".into(), json!(format!("{value:#x}")));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::TRACE;
    use super::*;
    use crate::repo::Repo;

    fn events() -> Vec<Value> {
        let trace = Trace::parse(TRACE).expect("a trace");
        let words = Words::load(&Repo::find().expect("a repository"), trace.vendor).expect("tables");
        let text = serde_json::to_string(&of(&trace, &words, &Symbols::default())).expect("JSON");
        let object: Value = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(object["displayTimeUnit"], "ns");
        object["traceEvents"].as_array().expect("an array").clone()
    }

    #[test]
    fn every_event_has_what_the_format_asks_for() {
        for event in events() {
            let phase = event["ph"].as_str().expect("a phase");
            assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
            match phase {
                "M" => assert!(event["args"]["name"].is_string(), "{event}"),
                "X" => assert!(event["ts"].is_f64() && event["dur"].is_f64() && event["args"].is_object(), "{event}"),
                "i" => assert!(event["ts"].is_f64() && event["s"] == "t", "{event}"),
                other => panic!("phase {other}"),
            }
        }
    }

    #[test]
    fn guest_and_host_take_turns() {
        let events = events();
        let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).cloned().collect::<Vec<_>>();
        assert_eq!((of("M").len(), of("X").len(), of("i").len()), (3, 10, 1));
        let slices = of("X");
        // 2 GHz: a count is half a nanosecond.
        let first: Vec<_> = slices[..4].iter().map(|slice| (&slice["name"], &slice["ts"], &slice["dur"])).collect();
        let (guest, cpuid, out) = (json!("guest"), json!("CPUID"), json!("IO_INSTRUCTION"));
        let times = [0.0, 0.05, 0.075, 0.125, 0.025, 0.375].map(|time| json!(time));
        assert_eq!(
            first,
            [
                (&guest, &times[0], &times[1]),
                (&cpuid, &times[1], &times[4]),
                (&guest, &times[2], &times[1]),
                (&out, &times[3], &times[5])
            ]
        );
        assert_eq!(slices[3]["args"]["value"], "0x41");
        assert_eq!((&slices[1]["cat"], &slices[3]["cat"]), (&json!("inside"), &json!("vmm")));
        assert_eq!(of("i")[0]["name"], "EXTERNAL_INTERRUPT 0x30");
    }
}

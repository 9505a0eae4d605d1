//! The rows that `--json` writes: the plain build's instructions and the counting build's counts, joined.

use serde_json::{Map, Value, json};

use super::{COUNTS, EXITS};
use crate::log::Log;
use crate::machines::Machine;

/// The rows of one machine, in the order of `EXITS`. What was not measured is null.
pub fn rows(machine: &Machine, plain: &Log, counting: &Log) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for exit in EXITS {
        let Some(measured) = find(plain, exit) else { continue };
        let mut row = Map::new();
        row.insert("emulator".into(), json!(machine.emulator.name()));
        row.insert("model".into(), json!(machine.model));
        row.insert("vendor".into(), json!(machine.vendor.name()));
        row.insert("exit".into(), json!(exit));
        row.insert("instructions".into(), measured.get("instructions").cloned().unwrap_or(Value::Null));
        let counted = find(counting, exit);
        for count in COUNTS {
            let value = counted.and_then(|counted| counted.get(count)).cloned();
            row.insert(count.into(), value.unwrap_or(Value::Null));
        }
        rows.push(row);
    }
    rows
}

fn find<'a>(log: &'a Log, exit: &str) -> Option<&'a Map<String, Value>> {
    log.bench.iter().find(|row| row.get("exit").and_then(Value::as_str) == Some(exit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Emulator;

    #[test]
    fn both_builds_are_joined() {
        let plain = Log::parse(
            "BENCH {\"exit\":\"out\",\"instructions\":200}\nBENCH {\"exit\":\"cpuid\",\"instructions\":120}\n",
        );
        let counting = Log::parse("BENCH {\"exit\":\"cpuid\",\"vmread\":3,\"vmwrite\":1,\"instructions\":150}\n");
        let rows = rows(&Machine::unlisted(Emulator::Bochs, "m"), &plain, &counting);
        let text = serde_json::to_string(&rows).expect("rows are JSON");
        assert_eq!(
            text,
            "[{\"emulator\":\"bochs\",\"model\":\"m\",\"vendor\":\"vmx\",\"exit\":\"cpuid\",\"instructions\":120,\"vmread\":3,\
             \"vmwrite\":1,\"rdmsr\":null,\"wrmsr\":null,\"xsetbv\":null,\"cpuid\":null},{\"emulator\":\"bochs\",\"model\":\"m\",\
             \"vendor\":\"vmx\",\"exit\":\"out\",\"instructions\":200,\"vmread\":null,\"vmwrite\":null,\"rdmsr\":null,\
             \"wrmsr\":null,\"xsetbv\":null,\"cpuid\":null}]"
        );
    }
}

//! Folded stacks, as flame graphs are drawn from: `vCPU 0;IO_INSTRUCTION;IoWrite;function COUNT`, the host's instructions as count.

use std::collections::BTreeMap;

use super::file::Trace;
use super::symbols::Symbols;
use super::words::Words;

pub fn of(trace: &Trace, words: &Words, symbols: &Symbols) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for exit in &trace.exits {
        let Some(host) = exit.host else { continue };
        // A semicolon separates frames, wherever it comes from.
        let at = symbols.name(exit.rip).replace(';', ":");
        let stack = format!("vCPU {};{};{};{at}", exit.vcpu, words.name(exit), exit.answer());
        *stacks.entry(stack).or_default() += host;
    }
    stacks.into_iter().fold(String::new(), |text, (stack, count)| text + &format!("{stack} {count}\n"))
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::TRACE;
    use super::*;
    use crate::repo::Repo;

    #[test]
    fn stacks_have_what_the_host_spent() {
        let trace = Trace::parse(TRACE).expect("a trace");
        let words = Words::load(&Repo::find().expect("a repository"), trace.vendor).expect("tables");
        let text = of(&trace, &words, &Symbols::default());
        assert_eq!(text, "vCPU 0;CPUID;inside;0xfff0 50\nvCPU 0;IO_INSTRUCTION;IoWrite;0xfff2 750\n");
    }
}

//! `decode`, from outside.
#![cfg(feature = "cli")]

mod common;

use common::random::Random;
use common::{Scratch, copy, manifest, transcript};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::explain::{Explainer, SvmExit, VmxExit};

#[test]
fn values_are_decoded() {
    let scratch = Scratch::of_base();
    copy(&manifest("tests/cli/input"), scratch.path());
    transcript::check("decode.txt", scratch.path());
}

#[test]
fn values_are_decoded_by_the_librarys_tables() {
    let spec = manifest("../spec");
    if spec.exists() {
        transcript::check_some("decode_spec.txt", &spec);
    }
}

#[test]
fn no_value_makes_it_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for dir in [manifest("tests/base"), manifest("../spec")].into_iter().filter(|dir| dir.exists()) {
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        let explainer = Explainer::new(&spec);
        for (name, width) in explainer.types() {
            let fits = u64::MAX >> (64 - width);
            for value in [0, fits, u64::MAX].into_iter().chain((0..20).map(|_| random.next())) {
                let page = explainer.word(&name, value.into()).map(|page| page.render(80));
                // An enumeration may not have the value; a word has a meaning for each that fits.
                assert!(
                    page.is_ok_and(|text| !text.is_empty()) || !explainer.is_word(&name) || value > fits,
                    "{name} {value:#x}"
                );
                let page = explainer.word(&name, (value & fits).into());
                assert!(page.is_ok() || !explainer.is_word(&name), "{name} {value:#x}");
            }
        }
        for _ in 0..300 {
            let values = [0; 5].map(|_| i128::from(random.next() >> (random.next() % 64)));
            let [reason, qualification, instruction_info, interruption_info, idt_vectoring] = values.map(Some);
            let reason = reason.map_or(0, |reason| reason & 0x8000_007f);
            let _ = explainer.vmx_exit(&VmxExit {
                reason,
                qualification,
                instruction_info,
                interruption_info,
                idt_vectoring,
            });
            let code = if values[0] % 2 == 0 { values[0] % 0xa3 } else { -(values[0] % 6) };
            let (info1, info2) = (qualification, instruction_info);
            let _ = explainer.svm_exit(&SvmExit { code, info1, info2, interruption_info });
            let _ = explainer.vmcs(values[1] & 0xffff);
            let _ = explainer.error(values[2]);
            let _ = explainer.vmcb(&(values[3] & 0x1fff).to_string(), Some(values[4]));
            let _ = explainer.intercept(&(values[3] & 7).to_string(), values[4]);
            let _ = explainer.msr(&(0x480 + (values[3] & 0x1f)).to_string(), values[4]);
        }
        for word in ["pin", "primary", "secondary", "tertiary", "exit", "exit2", "entry", "vmfunc"] {
            for _ in 0..100 {
                let _ = explainer.control(word, (random.next() >> (random.next() % 64)).into());
            }
        }
    }
}

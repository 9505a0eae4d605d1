//! `[[control]]`.

use proc_macro2::TokenStream;

use crate::model::{Control, ControlBit};

use super::Emitter;
use super::words::{Part, Word};

impl Emitter<'_> {
    pub(super) fn control(&self, control: &Control) -> TokenStream {
        let mut facts = format!("{} bits, in VMCS field {}", control.width, control.field.value);
        facts.push_str(&format!("; allowed settings: {}", control.capability.value));
        if let Some(msr) = &control.true_capability {
            facts.push_str(&format!(" or {}", msr.value));
        }
        let doc = self.docs.item(&control.head, &super::docs::escaped(&format!("{facts}.")));
        let bits = control.bits.iter().filter(|bit| bit.reserved.is_none());
        let parts = bits.map(|bit| Part::bit(&bit.head, bit.bits, facts_of(bit))).collect();
        self.word(&Word { doc, name: control.head.name(), width: control.width, parts, ones: 0 })
    }
}

fn facts_of(bit: &ControlBit) -> String {
    let mut facts = Vec::new();
    if bit.default1 {
        facts.push("In the default1 class.".to_owned());
    }
    if let Some(retired) = &bit.retired {
        facts.push(format!("Retired: {}", super::docs::escaped(retired)));
    }
    facts.join(" ")
}

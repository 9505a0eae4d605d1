//! `[[exit]]` of either vendor.

use crate::model::{Exit, Information, ModuleId, Spanned, SvmInformation, Valid, VmxInformation};

use super::refs::layout_bit;
use super::row::Row;
use super::types::head;

pub(super) fn vmx_exit(row: &mut Row, module: ModuleId) -> Option<Exit> {
    exit(row, module, |row| {
        let mut valid = |key| row.word(key, Valid::ALL);
        let guest_linear_address = valid("guest_linear_address");
        let guest_physical_address = valid("guest_physical_address");
        let instruction_length = valid("instruction_length");
        let interruption_information = valid("interruption_information");
        let (idt_vectoring, io_state) = (valid("idt_vectoring"), valid("io_state"));
        Information::Vmx(VmxInformation {
            qualification: row.string("qualification"),
            guest_linear_address,
            guest_physical_address,
            instruction_length,
            instruction_information: row.string("instruction_information"),
            interruption_information,
            idt_vectoring,
            io_state,
        })
    })
}

pub(super) fn svm_exit(row: &mut Row, module: ModuleId) -> Option<Exit> {
    exit(row, module, |row| {
        let info_if = row.string("info_if");
        Information::Svm(SvmInformation {
            exit_info1: row.string("exit_info1"),
            exit_info2: row.string("exit_info2"),
            info_if: info_if.and_then(|text| layout_bit(row, &text.value, text.span)),
            next_rip: row.word("next_rip", Valid::ALL),
            instruction_bytes: row.word("instruction_bytes", Valid::ALL),
        })
    })
}

fn exit(row: &mut Row, module: ModuleId, information: impl FnOnce(&mut Row) -> Information) -> Option<Exit> {
    let head = head(row, None);
    let number = row.integer("number", i64::MIN.into()..=i64::MAX.into());
    let number: Option<Spanned<i128>> = row.missing("number", number);
    let (payload, information) = (row.string("payload"), information(row));
    let number = number?.map(|n| i64::try_from(n).expect("in range"));
    Some(Exit { module, head: head?, number, payload, information })
}

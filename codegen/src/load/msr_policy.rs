//! Rows of `msr_policy.toml`, and of the bitmaps.

use crate::model::{AT_BIND, ModuleId, MsrAnswer, MsrBitmap, MsrPolicy, Spanned, SvmPlace, Vendor};

use super::refs::member;
use super::row::Row;
use super::types::head;

pub(super) fn policy(row: &mut Row) -> Option<MsrPolicy> {
    let name = row.need_string("name");
    let (mut msrs, mut ranges) = (Vec::new(), Vec::new());
    for text in row.strings("msrs") {
        match text.value.split_once("..") {
            Some((first, last)) => {
                ranges.push([first, last].map(|name| Spanned { value: name.to_owned(), span: text.span }))
            }
            None => msrs.push(text),
        }
    }
    let on = row.word("on", &[(Vendor::Intel, "intel"), (Vendor::Amd, "amd")]);
    let (read, write) = (row.need_word("read", MsrAnswer::ALL), row.need_word("write", MsrAnswer::ALL));
    let handler = row.string("handler");
    let (value, writable, ignored) = (row.strings("value"), row.strings("writable"), row.strings("ignored"));
    let (vmx, svm) = (row.strings("vmx"), row.strings("svm"));
    let place = |text: &Spanned<String>| match text.value.as_str() {
        AT_BIND => Some(SvmPlace::Bind(text.span)),
        name => member(row, name, text.span).map(SvmPlace::Member),
    };
    let svm = svm.iter().filter_map(place).collect();
    let (needs, host) = (row.string("needs"), row.flag("host").then_some(row.span));
    let reason = row.need_string("reason");
    Some(MsrPolicy {
        name: name?,
        msrs,
        ranges,
        on: on.map(|on| on.value),
        read: read?,
        write: write?,
        handler,
        value,
        writable,
        ignored,
        vmx,
        svm,
        needs,
        host,
        reason: reason?.value,
        span: row.span,
    })
}

pub(super) fn bitmap(row: &mut Row, module: ModuleId) -> Option<MsrBitmap> {
    let head = head(row, None);
    let (first, last) = (row.need_unsigned("first", u32::MAX.into()), row.need_unsigned("last", u32::MAX.into()));
    // A map of two frames is the largest.
    let (read, write) = (row.need_unsigned("read", 0xffff), row.need_unsigned("write", 0xffff));
    let stride = row.need_unsigned("stride", 2);
    Some(MsrBitmap {
        module,
        head: head?,
        first: first?,
        last: last?,
        read: read?,
        write: write?,
        stride: stride?.value,
    })
}

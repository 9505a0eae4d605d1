//! `doctor`

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use x86_vcpu_codegen::doctor::{self, Capabilities, Log, Options};
use x86_vcpu_codegen::model::Vendor;
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

use crate::{output, snippets};

/// Exit status when a rule is broken.
const BROKEN: u8 = 1;

/// Exit status when there is nothing to judge, or the tables have mistakes.
const UNREADABLE: u8 = 2;

const AFTER_HELP: &str = "\
Reads a log or another text, finds the dumps of a VMCS or VMCB in it, and says which rules of VM entry each breaks: the field,
its value with its bits in words, the rule, why it is there, where the manual says so, and how to mend it. It knows

  dumps of x86_vcpu                 `println!(\"{}\", vcpu.dump())`
  Linux: dump_vmcs(), dump_vmcb()   as they stand in dmesg, with kvm_intel.dump_invalid_vmcs=1 or kvm_amd.dump_invalid_vmcb=1
  Xen: vmcs_dump_vcpu(), svm_vmcb_dump()
  lines `NAME = value`, `name: value`, with our names, the manuals' or those of Linux, Xen and Rust crates

A rule that needs what the dump does not have is not judged. --capabilities FILE says what the CPU can, in lines
`msr.IA32_VMX_BASIC = 0x…` and `cpuid.1.0 = EAX EBX ECX EDX`; dumps of x86_vcpu have them already.

Exit status: 0 when no rule is broken; 1 when one is; 2 when there is no dump, or something cannot be read.

Examples:
  dmesg | x86-vcpu-spec doctor -
  x86-vcpu-spec doctor xen.log --nth 2 --verbose
  x86-vcpu-spec doctor values.txt --vendor vmx --format json";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The file; `-` for the standard input.
    dump: PathBuf,
    /// Judge one of several dumps: the first is 1.
    #[arg(long, value_name = "N")]
    nth: Option<usize>,
    /// Whose structure it is, where its names do not tell.
    #[arg(long, value_enum)]
    vendor: Option<Structure>,
    /// What the CPU can.
    #[arg(long, value_name = "FILE")]
    capabilities: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// List every value, and the rules that could not be judged.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Structure {
    /// A VMCS.
    Vmx,
    /// A VMCB.
    Svm,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Reads, judges and prints.
pub fn run(arguments: &Arguments, dir: &Path, pretty: bool) -> ExitCode {
    match judge(arguments, dir, pretty) {
        Ok(broken) => ExitCode::from(if broken { BROKEN } else { 0 }),
        Err(text) => {
            anstream::eprint!("{text}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn judge(arguments: &Arguments, dir: &Path, pretty: bool) -> Result<bool, String> {
    let spec = Spec::load(dir).and_then(|spec| {
        let list = lint(&spec);
        if list.is_empty() { Ok(spec) } else { Err(Diagnostics::new(spec.sources, list)) }
    });
    let spec = spec.map_err(|errors| snippets::render(&errors, pretty))?;
    let capabilities = match &arguments.capabilities {
        None => Capabilities::default(),
        Some(path) => {
            let (capabilities, _) = Capabilities::read(&spec, &text(path)?);
            if capabilities.is_empty() {
                let wanted = "lines `msr.NAME = 0x…` or `cpuid.LEAF.SUBLEAF = EAX EBX ECX EDX`";
                return Err(format!("error: {} has no {wanted}\n", path.display()));
            }
            capabilities
        }
    };
    let vendor = arguments.vendor.map(|structure| match structure {
        Structure::Vmx => Vendor::Intel,
        Structure::Svm => Vendor::Amd,
    });
    let text = text(&arguments.dump)?;
    let log = doctor::read(&spec, &text, vendor);
    let file = if is_stdin(&arguments.dump) { "the input".to_owned() } else { arguments.dump.display().to_string() };
    match (log.dumps.len(), arguments.nth) {
        (0, _) => return Err(nothing(&file, &text, &log)),
        (count, Some(nth)) if nth == 0 || nth > count => {
            return Err(format!("error: {file} has {count} dumps: --nth takes 1 to {count}\n"));
        }
        _ => {}
    }
    let (index, chosen) = (arguments.nth.map(|nth| nth - 1), log.dumps.iter().enumerate());
    let mut chosen = chosen.filter(|(at, _)| index.is_none_or(|index| index == *at));
    if let Some((at, _)) = chosen.find(|(_, dump)| dump.vendor.is_none()) {
        let number = at + 1;
        return Err(format!("error: the names of dump {number} are those of both vendors: say --vendor vmx or svm\n"));
    }
    let options = Options { file: &file, nth: arguments.nth, capabilities: &capabilities, verbose: arguments.verbose };
    let (printed, broken) = match arguments.format {
        Format::Text => {
            let (page, broken) = doctor::report(&spec, &log, &options);
            (output::page(&page), broken)
        }
        Format::Json => {
            let (text, broken) = doctor::json(&spec, &log, &options);
            (output::print(&text), broken)
        }
    };
    printed.map_err(|error| format!("error: {error}\n"))?;
    Ok(broken)
}

/// Why a file has nothing to judge.
fn nothing(file: &str, text: &str, log: &Log) -> String {
    if let Some(line) = log.registers {
        return format!(
            "error: {file} has a list of registers as QEMU prints it (line {line}), and no dump of a VMCS or VMCB\n\
             \n  The list has neither controls nor host state, and its CR0, CR4 and EFER are what the guest sees.\n  \
             Load kvm_intel with dump_invalid_vmcs=1, or kvm_amd with dump_invalid_vmcb=1: the kernel's log has the dump.\n"
        );
    }
    let what = if text.trim().is_empty() {
        "is empty"
    } else if text.contains(['\0', char::REPLACEMENT_CHARACTER]) {
        "is no text, as far as it can be read"
    } else {
        "has no dump of a VMCS or VMCB, and no value of one"
    };
    format!("error: {file} {what}\n\n  `doctor --help` says which dumps are known, and how to get them.\n")
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A text; of bytes that are none the rest is read all the same.
fn text(path: &Path) -> Result<String, String> {
    let bytes = if is_stdin(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| format!("error: cannot read {}: {error}\n", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

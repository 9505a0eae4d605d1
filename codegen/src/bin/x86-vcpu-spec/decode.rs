//! `decode`

use clap::{Args, Subcommand};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::explain::{Explainer, SvmExit, VmxExit, number};

use crate::failure::Failure;
use crate::output;

/// In `--help`.
pub const EXAMPLES: &str = "\
Examples:
  x86-vcpu-spec decode vmcs 0x681e
  x86-vcpu-spec decode exit 0x80000021
  x86-vcpu-spec decode exit 48 --qualification 0x181
  x86-vcpu-spec decode control secondary 0x1000aa
  x86-vcpu-spec decode msr IA32_VMX_PROCBASED_CTLS2 0x7fffff00000000
  x86-vcpu-spec decode svm-exit 0x400 --info1 0x100000004 --info2 0xfee00000
  x86-vcpu-spec decode intercept 3 0x10040001
  x86-vcpu-spec decode vmcb save+178h
  x86-vcpu-spec decode error 7
  x86-vcpu-spec decode Cr0 0x80000011
  x86-vcpu-spec decode word \"VM-entry interruption-information field\" 0x80000b0e

Values are written 0x1f, 1FH, 0b1_1111 or 31. Bits that are not as the tables want them are pointed out. Exits with 1 if the
tables do not have what was asked for.";

const USAGE: &str = "\
x86-vcpu-spec decode [OPTIONS] <WHAT> ...
       x86-vcpu-spec decode [OPTIONS] <NAME> <VALUE>";

/// A number in any of the forms that people use.
#[derive(Clone, Copy)]
struct Value(i128);

impl std::str::FromStr for Value {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        number::parse(text).map(Value).ok_or("a number of 64 bits is written 0x1f, 1FH, 0b1_1111 or 31")
    }
}

#[derive(Args)]
#[command(after_help = EXAMPLES, subcommand_value_name = "WHAT", subcommand_help_heading = "What")]
#[command(subcommand_negates_reqs = true, override_usage = USAGE)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// As with `word`: a word with bits or an enumeration.
    #[arg(required = true)]
    name: Option<String>,
    /// Its value.
    #[arg(required = true, allow_hyphen_values = true)]
    value: Option<Value>,
}

#[derive(Subcommand)]
enum What {
    /// The encoding of a VMCS field.
    Vmcs {
        /// What VMREAD takes.
        encoding: Value,
    },
    /// The exit reason of a VM exit, and what else VMREAD gives of it.
    Exit(Exit),
    /// A word of VMX controls.
    Control {
        /// pin, primary, secondary, tertiary, exit, exit2, entry or vmfunc.
        word: String,
        /// What it holds.
        #[arg(allow_hyphen_values = true)]
        value: Value,
    },
    /// The value of a model-specific register.
    Msr {
        /// Its address or its name.
        msr: String,
        /// What it holds.
        #[arg(allow_hyphen_values = true)]
        value: Value,
    },
    /// The exit code of a #VMEXIT, and what else the VMCB holds of it.
    SvmExit(Svm),
    /// An intercept word of the VMCB.
    Intercept {
        /// Its number, 0 to 5, or its name.
        word: String,
        /// What it holds.
        #[arg(allow_hyphen_values = true)]
        value: Value,
    },
    /// A place in the VMCB, with what it holds.
    Vmcb {
        /// From the start of the VMCB; `save+178h` from the start of the save area; or a name.
        offset: String,
        /// What it holds.
        #[arg(allow_hyphen_values = true)]
        value: Option<Value>,
    },
    /// A VM-instruction error.
    Error {
        /// What the VMCS field holds.
        number: Value,
    },
    /// Any word with bits or enumeration, by its name or that of a register, field or member.
    Word {
        /// Its name.
        name: String,
        /// What it holds.
        #[arg(allow_hyphen_values = true)]
        value: Value,
    },
}

#[derive(Args)]
struct Exit {
    /// The exit reason, with its flags or without; or the name of the exit.
    reason: String,
    /// The exit qualification.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    qualification: Option<Value>,
    /// The VM-exit instruction information.
    #[arg(long, value_name = "VALUE")]
    instruction_info: Option<Value>,
    /// The VM-exit interruption information.
    #[arg(long, value_name = "VALUE")]
    interruption_info: Option<Value>,
    /// The IDT-vectoring information.
    #[arg(long, value_name = "VALUE")]
    idt_vectoring: Option<Value>,
}

#[derive(Args)]
struct Svm {
    /// EXITCODE: a number, negative for those with the top bits set; or the name of the exit.
    #[arg(allow_hyphen_values = true)]
    code: String,
    /// EXITINFO1.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    info1: Option<Value>,
    /// EXITINFO2.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    info2: Option<Value>,
    /// EXITINTINFO.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    int_info: Option<Value>,
}

/// Prints what a value means.
pub fn run(spec: &Spec, arguments: Arguments) -> Result<(), Failure> {
    let explainer = Explainer::new(spec);
    let number = |value: Option<Value>| value.map(|Value(number)| number);
    let what = match arguments {
        Arguments { what: Some(what), .. } => what,
        Arguments { name: Some(name), value: Some(value), .. } => What::Word { name, value },
        _ => return Err(Failure::Usage("`decode NAME VALUE` takes a name and a value".to_owned())),
    };
    let page = match what {
        What::Vmcs { encoding } => explainer.vmcs(encoding.0),
        What::Exit(exit) => explainer.vmx_exit(&VmxExit {
            reason: explainer.vmx_exit_number(&exit.reason)?,
            qualification: number(exit.qualification),
            instruction_info: number(exit.instruction_info),
            interruption_info: number(exit.interruption_info),
            idt_vectoring: number(exit.idt_vectoring),
        }),
        What::Control { word, value } => explainer.control(&word, value.0),
        What::Msr { msr, value } => explainer.msr(&msr, value.0),
        What::SvmExit(exit) => explainer.svm_exit(&SvmExit {
            code: explainer.svm_exit_number(&exit.code)?,
            info1: number(exit.info1),
            info2: number(exit.info2),
            interruption_info: number(exit.int_info),
        }),
        What::Intercept { word, value } => explainer.intercept(&word, value.0),
        What::Vmcb { offset, value } => explainer.vmcb(&offset, number(value)),
        What::Error { number } => explainer.error(number.0),
        What::Word { name, value } => explainer.word(&name, value.0),
    }?;
    Ok(output::page(&page)?)
}

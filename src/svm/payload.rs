//! What a #VMEXIT reports: APM volume 2, "#VMEXIT", "SVM Intercept Codes".

use crate::spec::{
    FieldValue,
    amd::{exits::ExitCode, vmcb::Vmcb},
    payload::{HasExitInfo1, HasExitInfo2, InfoAlways, InfoIf, Payload, Reported, SvmKind},
};

/// What the control area says of the last exit. A copy, so that answering the exit may change the VMCB.
#[derive(Clone, Copy, Debug)]
pub struct ExitInformation {
    code: ExitCode,
    info1: u64,
    info2: u64,
}

impl ExitInformation {
    /// Of the last exit.
    #[inline(always)]
    pub fn of(vmcb: &Vmcb) -> Self {
        ExitInformation { code: vmcb.exitcode(), info1: vmcb.exitinfo1(), info2: vmcb.exitinfo2() }
    }
}

/// An exit of kind `K`, as the handlers get it.
pub(super) type OnExit<K> = Payload<ExitInformation, K>;

impl<K: SvmKind> Payload<ExitInformation, K> {
    /// How far its code is from the first one of this kind: the number of the control register or of the debug register, or the
    /// vector of an [`Exception`](crate::spec::amd::payloads::Exception).
    #[inline(always)]
    pub fn index(&self) -> u8 {
        let first = K::NUMBERS.first().map_or(0, |first| first.0);
        self.source().code.0.wrapping_sub(first) as u8
    }

    /// EXITINFO1.
    #[inline(always)]
    pub fn exit_info1(&self) -> K::Value
    where
        K: HasExitInfo1 + InfoAlways,
    {
        K::Value::from_raw(self.source().info1)
    }

    /// EXITINFO2.
    #[inline(always)]
    pub fn exit_info2(&self) -> K::Value
    where
        K: HasExitInfo2 + InfoAlways,
    {
        K::Value::from_raw(self.source().info2)
    }

    /// EXITINFO1, which this CPU fills in.
    #[inline(always)]
    pub fn exit_info1_if(&self, _: Reported<K::Condition>) -> K::Value
    where
        K: HasExitInfo1 + InfoIf,
    {
        K::Value::from_raw(self.source().info1)
    }

    /// EXITINFO2, which this CPU fills in.
    #[inline(always)]
    pub fn exit_info2_if(&self, _: Reported<K::Condition>) -> K::Value
    where
        K: HasExitInfo2 + InfoIf,
    {
        K::Value::from_raw(self.source().info2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::amd::{
        exit_info::CrAccessInfo,
        msrs::Cpuid8000000aEdx,
        payloads::{CrWrite, Exit, Ioio},
    };

    fn on(code: ExitCode, info1: u64, info2: u64) -> Exit<ExitInformation> {
        Exit::decode(code, ExitInformation { code, info1, info2 })
    }

    #[test]
    fn exits_of_a_family_tell_which() {
        let Exit::CrWrite(exit) = on(ExitCode::CR8_WRITE, 1 << 63 | 3, 0) else { panic!("another kind") };
        let exit: OnExit<CrWrite> = exit;
        assert_eq!(exit.index(), 8);
        let proof = Reported::by(Cpuid8000000aEdx::DECODE_ASSISTS).expect("the bit is set");
        let info = exit.exit_info1_if(proof);
        assert!(info.contains(CrAccessInfo::MOV_CR) && info.gpr() == 3);
        let Exit::Exception(machine_check) = on(ExitCode::EXCP18, 0, 0) else { panic!("another kind") };
        assert_eq!(machine_check.index(), 18);
        assert!(Reported::<<CrWrite as InfoIf>::Condition>::by(Cpuid8000000aEdx::empty()).is_none());
    }

    #[test]
    fn an_exit_that_no_table_lists_is_unknown() {
        let Exit::Ioio(exit) = on(ExitCode::IOIO, 0x3f8 << 16, 0x1002) else { panic!("another kind") };
        let exit: OnExit<Ioio> = exit;
        assert_eq!((exit.exit_info1().port(), exit.exit_info2()), (0x3f8, 0x1002));
        assert!(matches!(on(ExitCode(0x3ff), 0, 0), Exit::Unknown(_)));
    }
}

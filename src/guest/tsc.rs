//! The guest's time-stamp counter: the host's, times a ratio, plus an offset.
//!
//! The CPU computes this itself for RDTSC, RDTSCP and RDMSR of IA32_TSC; what is here decides the two numbers. A guest's write of
//! IA32_TSC moves the offset, and IA32_TSC_ADJUST by as much; a write of IA32_TSC_ADJUST moves both the other way round. SDM
//! volume 3, "Time-Stamp Counter Adjustment"; volume 3C, "Time-Stamp Counter Offsetting and Scaling"; APM volume 2, "TSC Ratio
//! MSR".

use super::snapshot::TimeState;
use crate::{Error, Result};

/// How a vendor writes a ratio: fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RatioFormat {
    /// How many bits stand behind the point.
    pub fraction: u32,
    /// How many bits there are.
    pub bits: u32,
}

impl RatioFormat {
    /// 1.
    pub(crate) const fn one(self) -> u64 {
        1u64.wrapping_shl(self.fraction)
    }

    /// The ratio of two frequencies, rounded to the nearest.
    fn ratio(self, guest: u64, host: u64) -> Option<u64> {
        let exact = u128::from(guest).wrapping_shl(self.fraction).checked_add(u128::from(host / 2))?;
        let ratio = u64::try_from(exact.checked_div(host.into())?).ok()?;
        (ratio != 0 && ratio.checked_shr(self.bits).unwrap_or(0) == 0).then_some(ratio)
    }
}

/// How a state has it: as VMX.
const SAVED: RatioFormat = RatioFormat { fraction: 48, bits: 64 };

/// A guest's time-stamp counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tsc {
    format: RatioFormat,
    ratio: u64,
    offset: u64,
    adjust: u64,
    /// The host's counter when the vCPU last left a CPU.
    left_at: u64,
}

impl Tsc {
    /// The host's own.
    pub(crate) const fn new(format: RatioFormat) -> Self {
        Self { format, ratio: format.one(), offset: 0, adjust: 0, left_at: 0 }
    }

    /// What the CPU adds.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What the VMM wants the CPU to add. The guest's writes so far keep their effect on IA32_TSC_ADJUST alone.
    pub(crate) const fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// What the CPU multiplies with, if that is not 1.
    pub(crate) fn ratio(&self) -> Option<u64> {
        (self.ratio != self.format.one()).then_some(self.ratio)
    }

    /// The guest's counter when the host's is at `host`.
    pub(crate) const fn at(&self, host: u64) -> u64 {
        self.scaled(host).wrapping_add(self.offset)
    }

    const fn scaled(&self, host: u64) -> u64 {
        (host as u128 * self.ratio as u128).wrapping_shr(self.format.fraction) as u64
    }

    /// How long it takes in the host's counts until the guest's counter has counted so often, rounded up.
    pub(crate) fn host_duration(&self, guest: u64) -> u64 {
        let ratio = u128::from(self.ratio);
        let exact = u128::from(guest).wrapping_shl(self.format.fraction);
        let rounded = exact.saturating_add(ratio).saturating_sub(1).checked_div(ratio);
        rounded.and_then(|duration| u64::try_from(duration).ok()).unwrap_or(u64::MAX)
    }

    /// The ratio, the offset and IA32_TSC_ADJUST, for a recording.
    #[cfg(feature = "replay")]
    pub(crate) const fn numbers(&self) -> [u64; 3] {
        [self.ratio, self.offset, self.adjust]
    }

    /// The offset and IA32_TSC_ADJUST as they were recorded.
    #[cfg(feature = "replay")]
    pub(crate) const fn set_numbers(&mut self, offset: u64, adjust: u64) {
        (self.offset, self.adjust) = (offset, adjust);
    }

    /// IA32_TSC_ADJUST.
    pub(crate) const fn adjust(&self) -> u64 {
        self.adjust
    }

    /// The guest's write of IA32_TSC.
    pub(crate) const fn write(&mut self, value: u64, host: u64) {
        let by = value.wrapping_sub(self.at(host));
        self.write_adjust(self.adjust.wrapping_add(by));
    }

    /// The guest's write of IA32_TSC_ADJUST.
    pub(crate) const fn write_adjust(&mut self, value: u64) {
        self.offset = self.offset.wrapping_add(value.wrapping_sub(self.adjust));
        self.adjust = value;
    }

    /// Makes the guest's counter run at `guest` while the host's runs at `host`, both in the same unit. It goes on from where it
    /// is.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the format has no such ratio, [`Error::Unsupported`] when it is not 1 and the CPU has no
    /// `scaling`.
    pub(crate) fn set_frequency(&mut self, guest: u64, host: u64, now: u64, scaling: Result) -> Result {
        let ratio = self.format.ratio(guest, host);
        let ratio =
            ratio.ok_or(Error::InvalidInput("the frequency of the time-stamp counter is out of the ratio's range"))?;
        if ratio != self.format.one() {
            scaling?;
        }
        let value = self.at(now);
        self.ratio = ratio;
        self.offset = value.wrapping_sub(self.scaled(now));
        Ok(())
    }

    /// For a [`State`](crate::State), when the host's counter is at `host`.
    pub(crate) fn save(&self, host: u64) -> TimeState {
        let ratio = self.ratio.wrapping_shl(SAVED.fraction.wrapping_sub(self.format.fraction));
        TimeState { tsc: self.at(host), tsc_adjust: self.adjust, tsc_ratio: ratio }
    }

    /// The ratio of a saved one in this vendor's format, rounded to the nearest.
    fn saved_ratio(&self, saved: &TimeState) -> Option<u64> {
        self.format.ratio(saved.tsc_ratio, SAVED.one())
    }

    /// Whether the counter can go on so.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the format has no such ratio, [`Error::Unsupported`] when it is not 1 and the CPU has no
    /// `scaling`.
    pub(crate) fn check(&self, saved: &TimeState, scaling: bool) -> Result {
        match self.saved_ratio(saved) {
            None => Err(Error::InvalidInput("the saved ratio of the time-stamp counter is out of range")),
            Some(ratio) if ratio != self.format.one() && !scaling => {
                Err(Error::Unsupported("TSC scaling, which the saved vCPU has used"))
            }
            Some(_) => Ok(()),
        }
    }

    /// Goes on from where a saved one was, when the host's counter is at `host`.
    pub(crate) fn restore(&mut self, saved: &TimeState, host: u64) {
        self.ratio = self.saved_ratio(saved).unwrap_or(self.format.one());
        self.offset = saved.tsc.wrapping_sub(self.scaled(host));
        self.adjust = saved.tsc_adjust;
        self.left_at = host;
    }

    /// The vCPU leaves a CPU, whose counter is at `host`.
    pub(crate) const fn leave(&mut self, host: u64) {
        self.left_at = host;
    }

    /// The vCPU comes to a CPU whose counter is at `host`. Where that is behind the one that it left, the guest's goes on where
    /// it was: it never goes backwards. Says whether the offset has changed.
    pub(crate) const fn arrive(&mut self, host: u64) -> bool {
        let behind = host < self.left_at;
        if behind {
            self.offset = self.at(self.left_at).wrapping_sub(self.scaled(host));
            self.left_at = host;
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: RatioFormat = RatioFormat { fraction: 48, bits: 64 };
    const SHORT: RatioFormat = RatioFormat { fraction: 32, bits: 40 };

    #[test]
    fn a_write_of_the_counter_moves_the_adjustment() {
        let mut tsc = Tsc::new(FORMAT);
        tsc.write(5_000, 1_000);
        assert_eq!((tsc.at(1_000), tsc.at(1_500), tsc.adjust()), (5_000, 5_500, 4_000));
        tsc.write(0, 2_000);
        assert_eq!((tsc.at(2_000), tsc.adjust()), (0, 0u64.wrapping_sub(2_000)));
    }

    #[test]
    fn a_write_of_the_adjustment_moves_the_counter() {
        let mut tsc = Tsc::new(FORMAT);
        tsc.set_offset(100);
        tsc.write_adjust(7);
        assert_eq!((tsc.at(1_000), tsc.adjust()), (1_107, 7));
        tsc.write_adjust(3);
        assert_eq!((tsc.at(1_000), tsc.adjust()), (1_103, 3));
        tsc.write_adjust(0);
        assert_eq!(tsc.at(1_000), 1_100);
    }

    #[test]
    fn another_frequency_goes_on_from_where_the_counter_is() {
        for format in [FORMAT, SHORT] {
            let mut tsc = Tsc::new(format);
            tsc.set_offset(50);
            tsc.set_frequency(3, 2, 1_000, Ok(())).unwrap();
            assert_eq!((tsc.at(1_000), tsc.at(1_200)), (1_050, 1_350));
            assert_eq!(tsc.ratio(), Some(format.one() + format.one() / 2));
            assert_eq!((tsc.host_duration(300), tsc.host_duration(301), tsc.host_duration(0)), (200, 201, 0));
            tsc.write(0, 1_200);
            assert_eq!((tsc.at(1_200), tsc.at(1_300)), (0, 150));
            tsc.set_frequency(7, 7, 1_300, Err(Error::Unsupported("not asked for"))).unwrap();
            assert_eq!((tsc.ratio(), tsc.at(1_300), tsc.at(1_301)), (None, 150, 151));
        }
    }

    #[test]
    fn ratios_out_of_range_are_refused() {
        let refused =
            |format: RatioFormat, guest, host| Tsc::new(format).set_frequency(guest, host, 0, Ok(())).is_err();
        assert!(refused(FORMAT, 1, 0) && refused(FORMAT, 0, 1) && refused(FORMAT, 1 << 16, 1));
        assert!(refused(SHORT, 256, 1) && !refused(SHORT, 255, 1) && refused(SHORT, u64::MAX, u64::MAX / 300));
        assert!(refused(FORMAT, u64::MAX, 1) && refused(FORMAT, 1, u64::MAX));
        let error = Tsc::new(SHORT).set_frequency(2, 1, 0, Err(Error::Unsupported("scaling")));
        assert_eq!(error, Err(Error::Unsupported("scaling")));
    }

    #[test]
    fn the_counter_never_goes_backwards() {
        let mut tsc = Tsc::new(FORMAT);
        tsc.set_frequency(2, 1, 0, Ok(())).unwrap();
        tsc.leave(10_000);
        assert!(!tsc.arrive(10_001));
        assert_eq!(tsc.at(10_001), 20_002);
        tsc.leave(20_000);
        assert!(tsc.arrive(500));
        assert_eq!((tsc.at(500), tsc.at(600)), (40_000, 40_200));
    }
}

//! Turning virtualization on and off on a CPU, whichever kind it has.

#[cfg(feature = "amd")]
use crate::svm::SvmPerCpu;
#[cfg(feature = "vmx")]
use crate::vmx::VmxPerCpu;
use crate::{
    Error, FrameSource, HostFrames, Result,
    nested::{NestedCapabilities, NestedFormat},
};

/// Whether this CPU has a kind of virtualization that this build supports.
pub fn has_hardware_support() -> bool {
    let mut supported = false;
    #[cfg(feature = "vmx")]
    {
        supported |= crate::vmx::has_hardware_support();
    }
    #[cfg(feature = "amd")]
    {
        supported |= crate::svm::has_hardware_support();
    }
    supported
}

/// The format of nested page table that this CPU's virtualization takes.
///
/// # Errors
/// [`Error::Unsupported`] when it has none that this build supports.
pub fn nested_format() -> Result<NestedFormat> {
    #[cfg(feature = "vmx")]
    if crate::vmx::has_hardware_support() {
        return Ok(NestedFormat::Ept);
    }
    #[cfg(feature = "amd")]
    if crate::svm::has_hardware_support() {
        return Ok(NestedFormat::Npt);
    }
    Err(NO_SUPPORT)
}

/// What nested page tables may say on this machine: more than their format does.
///
/// # Errors
/// [`Error::Unsupported`] when there is no virtualization that this build supports; [`Error::BadState`] on Intel before the first
/// CPU is enabled.
pub fn nested_capabilities() -> Result<NestedCapabilities> {
    #[cfg(feature = "vmx")]
    if crate::vmx::has_hardware_support() {
        return Ok(crate::vmx::nested_capabilities(crate::vmx::Capabilities::get()?));
    }
    #[cfg(feature = "amd")]
    if crate::svm::has_hardware_support() {
        return Ok(crate::svm::nested_capabilities());
    }
    Err(NO_SUPPORT)
}

const NO_SUPPORT: Error = Error::Unsupported("hardware virtualization of the kinds that this build has");

/// The state of one CPU's virtualization.
///
/// The value belongs to the CPU on which [`enable`](Self::enable) is called; [`disable`](Self::disable) has to be called
/// there too.
#[derive(Debug)]
pub struct PerCpu<S: FrameSource = HostFrames> {
    number: usize,
    kind: Option<Kind<S>>,
}

#[derive(Debug)]
enum Kind<S: FrameSource> {
    #[cfg(feature = "vmx")]
    Vmx(VmxPerCpu<S>),
    #[cfg(feature = "amd")]
    Svm(SvmPerCpu<S>),
}

impl<S: FrameSource> PerCpu<S> {
    /// The state of a CPU that is not enabled. `number` is the embedder's number of it, which
    /// [`VcpuHandle::running_on`](crate::VcpuHandle::running_on) gives back.
    pub const fn new(number: usize) -> Self {
        Self { number, kind: None }
    }

    /// Whether [`enable`](Self::enable) succeeded.
    pub fn is_enabled(&self) -> bool {
        match &self.kind {
            None => false,
            #[cfg(feature = "vmx")]
            Some(Kind::Vmx(cpu)) => cpu.is_enabled(),
            #[cfg(feature = "amd")]
            Some(Kind::Svm(cpu)) => cpu.is_enabled(),
        }
    }

    /// Turns virtualization on for this CPU.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what the CPU lacks or the firmware has locked off; [`Error::BadState`] when it is on
    /// already; [`Error::NoMemory`].
    pub fn enable(&mut self) -> Result {
        if self.is_enabled() {
            return Err(Error::BadState("virtualization is already enabled on this CPU"));
        }
        #[cfg(feature = "vmx")]
        if crate::vmx::has_hardware_support() {
            let mut cpu = VmxPerCpu::new(self.number);
            cpu.enable()?;
            self.kind = Some(Kind::Vmx(cpu));
            return Ok(());
        }
        #[cfg(feature = "amd")]
        if crate::svm::has_hardware_support() {
            let mut cpu = SvmPerCpu::new(self.number);
            cpu.enable()?;
            self.kind = Some(Kind::Svm(cpu));
            return Ok(());
        }
        Err(NO_SUPPORT)
    }

    /// Turns virtualization off for this CPU. No vCPU may be bound to it.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not on, when this is another CPU, or when a vCPU is still bound.
    pub fn disable(&mut self) -> Result {
        match &mut self.kind {
            None => return Err(Error::BadState("virtualization is not enabled on this CPU")),
            #[cfg(feature = "vmx")]
            Some(Kind::Vmx(cpu)) => cpu.disable()?,
            #[cfg(feature = "amd")]
            Some(Kind::Svm(cpu)) => cpu.disable()?,
        }
        self.kind = None;
        Ok(())
    }

    /// The format of nested page table that this CPU's virtualization takes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it has none that this build supports.
    pub fn nested_format(&self) -> Result<NestedFormat> {
        nested_format()
    }
}

//! The last exits of a vCPU, one by one: why, where, what they cost, and what became of them.
//!
//! Built in only with the feature `trace`; otherwise every function of the run loop's here is empty and vanishes.

#[cfg(feature = "trace")]
mod entry;
#[cfg(not(feature = "trace"))]
mod nothing;
#[cfg(feature = "trace")]
mod recording;
#[cfg(feature = "trace")]
mod ring;

#[cfg(feature = "trace")]
pub use entry::TraceEntry;
#[cfg(feature = "trace")]
pub(crate) use entry::Vocabulary;
#[cfg(not(feature = "trace"))]
pub(crate) use nothing::Trace;
#[cfg(feature = "trace")]
pub(crate) use recording::Trace;
#[cfg(feature = "trace")]
pub(crate) use ring::ONE_FRAME;

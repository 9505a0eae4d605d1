//! What a guest's exits come to: how many there were for each reason, and what the host executed for them.
//!
//! Built in only with the feature `statistics`; otherwise every function of the run loop's here is empty and vanishes.

#[cfg(feature = "statistics")]
mod counting;
#[cfg(not(feature = "statistics"))]
mod nothing;

#[cfg(feature = "statistics")]
pub use counting::ExitStatistics;
#[cfg(feature = "statistics")]
pub(crate) use counting::{NameOf, Statistics};
#[cfg(not(feature = "statistics"))]
pub(crate) use nothing::Statistics;

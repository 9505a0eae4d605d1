//! Comparing the tables with what others print: manuals, headers, other tables.
//!
//! A reader in [`read`] turns a document into a [`source::Source`]: its tables, as it has them. What is compared knows
//! nothing of where a row came from but its [`source::Place`].

pub mod between;
pub mod citations;
pub mod compare;
pub(crate) mod names;
mod open;
pub mod read;
pub mod report;
pub mod source;
pub mod status;

pub use between::Between;
pub use compare::{Auditor, Comparison};
pub use open::open;
pub use report::{Format, Report};
pub use status::Status;

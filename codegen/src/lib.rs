//! From the hardware tables in `spec/` to Rust.
//!
//! [`Spec::load`] reads a directory of TOML files into a typed [`model`] in which every value knows where it stands,
//! [`lint()`] says what is wrong with it, [`emit()`] turns it into Rust. [`build()`] does all three, for build scripts.
//! The schema is the README of the `spec/` directory.

#[cfg(feature = "cli")]
pub mod atlas;
#[cfg(feature = "cli")]
pub mod audit;
pub mod diagnostics;
#[cfg(feature = "cli")]
pub mod diff;
#[cfg(feature = "cli")]
pub mod doctor;
pub mod emit;
#[cfg(feature = "cli")]
pub mod explain;
#[cfg(feature = "cli")]
pub mod export;
pub mod expression;
pub mod lint;
pub mod load;
pub mod model;

mod build;

pub use build::build;
pub use diagnostics::{Diagnostic, Diagnostics};
pub use emit::{GeneratedFiles, emit};
pub use lint::lint;
pub use model::Spec;

#[cfg(test)]
mod testing;

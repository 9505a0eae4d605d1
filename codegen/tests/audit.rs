//! What an audit finds, on the base and on the real tables.
#![cfg(feature = "cli")]

#[path = "audit/export.rs"]
mod export;
#[path = "audit/planted.rs"]
mod planted;

mod common;

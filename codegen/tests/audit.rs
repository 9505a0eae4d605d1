//! What an audit finds, on the base and on the real tables.
#![cfg(feature = "cli")]

#[path = "audit/between.rs"]
mod between;
#[path = "audit/citations.rs"]
mod citations;
#[path = "audit/cli.rs"]
mod cli;
#[path = "audit/excuses.rs"]
mod excuses;
#[path = "audit/export.rs"]
mod export;
#[path = "audit/planted.rs"]
mod planted;

mod common;

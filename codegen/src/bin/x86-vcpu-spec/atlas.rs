//! `atlas`

use std::io;
use std::path::{Path, PathBuf};

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::atlas::{Uses, site};

use crate::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where to write the site: a new or empty directory, or one with an older atlas.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The code whose uses of the tables are shown; by default `src` next to the tables, when that is there.
    #[arg(long, value_name = "DIR")]
    src: Option<PathBuf>,
}

/// Writes the site, and says where it starts.
pub fn run(spec: &Spec, arguments: &Arguments, dir: &Path) -> io::Result<()> {
    let beside = || dir.canonicalize().ok()?.parent().map(|dir| dir.join("src")).filter(|dir| dir.is_dir());
    let uses = match arguments.src.clone().or_else(beside) {
        Some(src) => Uses::scan(&src)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot read {}: {error}", src.display())))?,
        None => Uses::default(),
    };
    let site = site(spec, &uses);
    site.write(&arguments.out)?;
    let start = arguments.out.join("index.html");
    output::print(&format!("{} pages, {} KiB: {}\n", site.pages(), site.size() / 1024, start.display()))
}

//! Files that are no tables: refused with a message, whatever they are, and what else is wrong is told in the same run.

mod common;

use std::time::{Duration, Instant};
use std::{fs, thread};

use common::Scratch;
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

/// What is said of the base with other bytes in one file.
fn said(file: &str, bytes: impl AsRef<[u8]>) -> String {
    let scratch = Scratch::of_base();
    fs::write(scratch.path().join(file), bytes).unwrap();
    said_of(&scratch)
}

fn said_of(scratch: &Scratch) -> String {
    let path = scratch.path().to_owned();
    // A fourth of what threads have: nothing may need a deep stack. Nothing may take long either.
    let start = Instant::now();
    let load = move || match Spec::load(path) {
        Err(errors) => errors.to_string(),
        Ok(spec) => {
            let list = lint(&spec);
            Diagnostics::new(spec.sources, list).to_string()
        }
    };
    let said = thread::Builder::new().stack_size(512 << 10).spawn(load).unwrap().join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    said.replace(&*scratch.path().to_string_lossy(), "spec")
}

/// What is said of the base with this text behind that of `amd/exits.toml`.
fn appended(text: &str) -> String {
    let exits = fs::read_to_string(common::manifest("tests/base/amd/exits.toml")).unwrap();
    said("amd/exits.toml", format!("{exits}\n{text}"))
}

#[test]
fn deep_nesting_of_every_kind() {
    const MANY: usize = 10_000;
    let deep = [
        format!("a = {}{}\n", "[".repeat(MANY), "]".repeat(MANY)),
        format!("a = {}\n", "[".repeat(MANY)),
        format!("a = {}1{}\n", "{ a = ".repeat(MANY), " }".repeat(MANY)),
        format!("a{} = 1\n", ".a".repeat(MANY)),
        format!("[a{}]\nb = 1\n", ".a".repeat(MANY)),
        format!("[[a{}]]\nb = 1\n", " . \"a\"".repeat(MANY)),
        // Below the limits of the parser, which count brackets and dots apart.
        format!("a = {}1{}\n", format!("{{ a{} = ", ".a".repeat(70)).repeat(70), " }".repeat(70)),
    ];
    for text in &deep {
        let said = appended(text);
        assert!(said.contains("spec/amd/exits.toml:7:"), "{said}");
        assert!(said.contains("error: brackets and dots are nested more than 64 deep here"), "{said}");
    }
    // What the limit lets through needs no stack worth mentioning.
    for text in [format!("a{} = 1\n", ".a".repeat(60)), format!("a = {}{}\n", "[".repeat(60), "]".repeat(60))] {
        assert!(appended(&text).contains("this `exit` cannot have `a`"));
    }
}

#[test]
fn a_file_of_100_megabytes_is_not_read() {
    let scratch = Scratch::of_base();
    // It has no blocks on the disk.
    fs::File::create(scratch.path().join("amd/exits.toml")).unwrap().set_len(100 << 20).unwrap();
    let said = said_of(&scratch);
    let message =
        "spec/amd/exits.toml:1:1: error: the file is too long: 104857600 bytes, and tables have at most 1048576";
    assert!(said.starts_with(message), "{said}");
}

#[test]
fn more_rows_than_anybody_writes() {
    // Each row lacks what all rows have.
    let said = said("amd/exits.toml", format!("exit = [{}]\n", "{},".repeat(340_000)));
    assert!(
        said.contains("this `exit` has no `name`") && said.contains("more mistakes are in this file"),
        "{}",
        said.len()
    );
    assert!(said.lines().count() < 2000);
}

#[test]
fn more_rows_than_fit() {
    let said = said("amd/exits.toml", "[[exit]]\n".repeat(1_000_000));
    assert!(said.contains("the file is too long: 9000000 bytes"), "{said}");
}

#[test]
fn many_rows_that_are_all_wrong() {
    let row = |n| format!("[[exit]]\nname=\"A\"\nmanual_name=\"A\"\nnumber={n}\ncite={{doc=\"x{n}\",title=\"A\"}}\n");
    let said = said("amd/exits.toml", (0..10_000).map(row).collect::<String>());
    assert!(said.contains("there are two exits `A`") && said.contains("there is no manual `x9999`"));
}

#[test]
fn one_mistake_per_byte() {
    for text in ["=", "\"", "]", "=\n", "[\n", "é", "\0"] {
        let said = said("amd/exits.toml", text.repeat(500_000));
        assert!(said.lines().count() < 3000, "{text:?}: {} lines", said.lines().count());
        assert!(said.starts_with("spec/amd/exits.toml:"), "{text:?}: {}", said.lines().next().unwrap());
    }
}

#[test]
fn names_as_long_as_the_file() {
    let name = "A".repeat(500_000);
    let exit = |name: &str| {
        format!(
            "[[exit]]\nname = \"{name}\"\nmanual_name = \"A\"\nnumber = 1\ncite = {{ doc = \"apm2\", title = \"A\" }}\n"
        )
    };
    assert_eq!(said("amd/exits.toml", exit(&name)), "");
    assert!(said("amd/exits.toml", format!("{}{name} = 1\n", exit("A"))).contains(" cannot have `AAA"));
}

#[test]
fn ends_of_lines_of_other_systems() {
    let scratch = Scratch::of_base();
    for (path, bytes) in common::files(scratch.path()) {
        let text = String::from_utf8(bytes).unwrap();
        fs::write(path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    }
    assert_eq!(said_of(&scratch), "");
    let file = scratch.path().join("intel/vmcs.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("0x681e", "0x681f")).unwrap();
    assert!(said_of(&scratch).starts_with("spec/intel/vmcs.toml:72:12: error: encoding 0x681f"));
}

#[test]
fn bytes_that_are_no_text() {
    let said = said("amd/exits.toml", b"[[exit]]\nname = \"A\0B\"\n");
    assert!(said.starts_with("spec/amd/exits.toml:2:10: error: "), "{said}");
    assert!(!said.contains('\0'));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    #[test]
    fn links_that_lead_nowhere_or_in_circles() {
        let scratch = Scratch::of_base();
        let dir = scratch.path();
        for name in ["amd/vmcb.toml", "intel/msrs.toml", "manuals.toml"] {
            fs::remove_file(dir.join(name)).unwrap();
        }
        symlink("vmcb.toml", dir.join("amd/vmcb.toml")).unwrap();
        symlink("nothing", dir.join("intel/msrs.toml")).unwrap();
        fs::remove_dir_all(dir.join("x86")).unwrap();
        symlink("x86", dir.join("x86")).unwrap();
        symlink(dir, dir.join("manuals.toml")).unwrap();
        let said = said_of(&scratch);
        for start in [
            "spec/amd/vmcb.toml:1:1: error: cannot read: ",
            "spec/intel/msrs.toml:1:1: error: cannot read: ",
            "spec/x86:1:1: error: cannot read the directory: ",
            "spec/manuals.toml:1:1: error: cannot read: not a file",
        ] {
            assert!(said.contains(start), "{start}: {said}");
        }
    }

    #[test]
    fn a_link_to_a_file_is_that_file() {
        let scratch = Scratch::of_base();
        let file = scratch.path().join("amd/vmcb.toml");
        fs::rename(&file, scratch.path().join("other")).unwrap();
        symlink("../other", &file).unwrap();
        assert_eq!(said_of(&scratch), "");
    }

    #[test]
    fn pipes_and_devices() {
        let scratch = Scratch::of_base();
        let (pipe, zero) = (scratch.path().join("amd/pipe.toml"), scratch.path().join("amd/zero.toml"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("/dev/zero", zero).unwrap();
        let said = said_of(&scratch);
        for name in ["pipe", "zero"] {
            assert!(said.contains(&format!("spec/amd/{name}.toml:1:1: error: cannot read: not a file")), "{said}");
        }
    }

    #[test]
    fn files_and_directories_that_may_not_be_read() {
        let scratch = Scratch::of_base();
        let (file, dir) = (scratch.path().join("amd/vmcb.toml"), scratch.path().join("intel"));
        let forbid = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        forbid(&file, 0);
        forbid(&dir, 0);
        // The superuser may read everything.
        if fs::read(&file).is_err() {
            let said = said_of(&scratch);
            assert!(said.contains("spec/amd/vmcb.toml:1:1: error: cannot read: "), "{said}");
            assert!(said.contains("spec/intel:1:1: error: cannot read the directory: "), "{said}");
        }
        forbid(&dir, 0o755);
    }

    #[test]
    fn names_of_files_that_are_no_text() {
        let scratch = Scratch::of_base();
        let name = std::ffi::OsStr::from_bytes(b"amd/\xff.toml");
        fs::write(scratch.path().join(name), "").unwrap();
        assert!(said_of(&scratch).contains("error: the name of this file is not UTF-8"));
    }
}

#[test]
fn files_that_vanish_while_they_are_read() {
    let scratch = Scratch::of_base();
    let file = scratch.path().join("amd/exits.toml");
    let text = fs::read(&file).unwrap();
    thread::scope(|scope| {
        let loads = scope.spawn(|| {
            for _ in 0..50 {
                let said = said_of(&scratch);
                assert!(
                    said.is_empty() || said.contains("spec/amd/exits.toml") || said.contains("amd/exits.toml"),
                    "{said}"
                );
            }
        });
        while !loads.is_finished() {
            let _ = fs::remove_file(&file);
            fs::write(&file, &text).unwrap();
        }
        loads.join().unwrap();
    });
}

#[test]
fn mistakes_of_every_file_are_told_in_one_run() {
    let scratch = Scratch::of_base();
    let write = |file: &str, text: &str| fs::write(scratch.path().join(file), text).unwrap();
    write("amd/exits.toml", "exit = 1");
    write("intel/msrs.toml", "= 1");
    write("x86/more.toml", "");
    write("x86/MORE.TOML", "");
    write("x86/fn.toml", "a = 1");
    write("manual.toml", "");
    let said = said_of(&scratch);
    for file in ["amd/exits.toml", "intel/msrs.toml", "x86/more.toml", "x86/MORE.TOML", "x86/fn.toml", "manual.toml"] {
        assert!(
            said.contains(&format!("spec/{file}:1:1: error: ")) || said.contains(&format!("spec/{file}:1:8: error: ")),
            "{file}: {said}"
        );
    }
}

/// The command shows lines of the first mistakes only, and of files that somebody can read.
#[cfg(feature = "cli")]
#[test]
fn mistakes_without_number_are_shown_in_time() {
    let scratch = Scratch::of_base();
    for text in ["=".repeat(500_000), "[[exit]]\n".repeat(20_000)] {
        fs::write(scratch.path().join("amd/exits.toml"), text).unwrap();
        let start = Instant::now();
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_x86-vcpu-spec"));
        let output = check.args(["check", "--pretty", "--spec"]).arg(scratch.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.len() < 1 << 20, "{} bytes", output.stdout.len());
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }
}

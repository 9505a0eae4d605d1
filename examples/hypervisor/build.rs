//! Passes the linker what a freestanding image needs, and refuses flags with which the image would misbehave.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");

    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    require_flags();
    for argument in
        ["-nostartfiles", "-nodefaultlibs", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,max-page-size=0x1000"]
    {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-T{folder}/link.ld");
}

/// Stops the build when a flag is missing without which interrupts would corrupt the stack, or which the image's link
/// address needs. They are lost when RUSTFLAGS is set, because it replaces the flags of `.cargo/config.toml`.
fn require_flags() {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    for wanted in ["no-redzone=yes", "relocation-model=static"] {
        assert!(
            flags.contains(wanted),
            "the image must be built with `-C {wanted}`: build it in examples/hypervisor, where .cargo/config.toml \
             says so, and with RUSTFLAGS unset or containing the same flags"
        );
    }
}

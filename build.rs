//! Turns the tables in `spec/` into `OUT_DIR/spec`, which `src/spec/mod.rs` includes.

fn main() {
    x86_vcpu_codegen::build("spec");
}

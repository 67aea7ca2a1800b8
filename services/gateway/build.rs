//! The console is built into the program: a new `console/dist` means a new program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=console/dist");
}

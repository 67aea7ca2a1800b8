//! Compiles `schemas/proto` with protox, so that no protoc is needed.

use prost::Message;

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/proto");
    let services = ["identity", "registry", "scheduler", "billing"];
    let files: Vec<_> = services.iter().map(|s| root.join(format!("{s}/v1/{s}.proto"))).collect();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root]).expect("the .proto files compile");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("gantry.bin"), descriptors.encode_to_vec()).expect("OUT_DIR is writable");
    tonic_prost_build::configure().compile_fds(descriptors).expect("code is generated");
}

//! Compiles `schemas/proto` with protox, so that no protoc is needed.

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/proto");
    let services = ["identity", "registry", "scheduler", "billing"];
    println!("cargo:rerun-if-changed={}", root.display());
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Services speak these with each other, or answer them by hand. The others are REST in another coat: the host answers them by their
    // descriptors.
    let by_hand = root.join("scheduler/v1/sessions.proto");
    let internal: Vec<_> = services.iter().map(|s| root.join(format!("{s}/v1/{s}.proto"))).chain([by_hand]).collect();
    let descriptors = protox::compile(&internal, [&root]).expect("the .proto files compile");
    tonic_prost_build::configure().compile_fds(descriptors).expect("code is generated");
    let public = ["catalog", "cicd", "monitoring"];
    let all: Vec<_> = services.iter().chain(&public).flat_map(|s| protos(&root.join(s).join("v1"))).collect();
    let mut compiler = protox::Compiler::new([&root]).expect("the folder is there");
    compiler.include_imports(true).open_files(all).expect("the .proto files compile");
    // Unlike the typed form, this one keeps the options by which an RPC names its REST call.
    std::fs::write(out.join("gantry.bin"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");
}

fn protos(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "proto")).collect();
    found.sort();
    found
}

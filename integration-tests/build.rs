//! Compiles the benchmark's `proto/ledger.proto` with protox, so that no protoc is needed.

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile([root.join("ledger.proto")], [&root]).expect("the .proto file compiles");
    tonic_prost_build::configure().compile_fds(descriptors).expect("code is generated");
}

//! Compiles the CRI subset with protox, so that no protoc is needed.

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/proto");
    let file = root.join("cri/v1/cri.proto");
    println!("cargo:rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&root]).expect("cri.proto compiles");
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors).expect("code is generated");
}

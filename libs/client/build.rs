//! Clients of the public RPCs, from the same files that everybody else generates theirs from.

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["billing", "catalog", "cicd", "identity", "monitoring", "registry", "scheduler"]
        .iter()
        .flat_map(|service| std::fs::read_dir(root.join(service).join("v1")).expect("the folder is there"));
    let files = files.map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "proto")).collect();
    files.sort();
    let descriptors = protox::compile(&files, [&root]).expect("the .proto files compile");
    tonic_prost_build::configure().build_server(false).include_file("all.rs").compile_fds(descriptors).expect("code is generated");
}

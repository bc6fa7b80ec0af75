//! The committed code is what the `.proto` files generate. `SISO_GENERATE=1 cargo test -p siso-proto
//! --test generated` writes it anew.

use std::path::Path;

const FILES: [&str; 5] =
    ["v1/types.proto", "v1/agent.proto", "v1/control.proto", "v1/log.proto", "v1/replica.proto"];

#[test]
fn committed_code_is_what_the_proto_files_generate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .btree_map(".")
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let fresh = std::fs::read_to_string(out.path().join("siso.v1.rs")).unwrap();
    let committed = root.join("src/gen/siso.v1.rs");
    if std::env::var_os("SISO_GENERATE").is_some() {
        std::fs::write(&committed, &fresh).unwrap();
    }
    let held = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(held == fresh, "src/gen is stale: run with SISO_GENERATE=1");
}

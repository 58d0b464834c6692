//! The checked-in generated code is what `protos/` generates.

use std::path::{Path, PathBuf};

fn generate(out: &Path) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("protos");
    let files = ["hookmill/auth/v1/auth.proto", "hookmill/job/v1/job.proto"];
    let descriptors = protox::compile(files, [&root]).expect("the protos compile");
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".hookmill.job.v1")
        .compile_fds(descriptors)
        .expect("code is generated");
}

/// Run with `UPDATE_PROTO=1` after changing a `.proto` file.
#[test]
fn generated_code_does_not_drift() {
    let checked_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    if option_env!("UPDATE_PROTO").is_some() {
        std::fs::create_dir_all(&checked_in).expect("folder");
        generate(&checked_in);
    }
    let fresh = tempfile::tempdir().expect("a folder");
    generate(fresh.path());
    for name in ["hookmill.auth.v1.rs", "hookmill.job.v1.rs"] {
        let want = std::fs::read_to_string(fresh.path().join(name)).expect("generated");
        let have = std::fs::read_to_string(checked_in.join(name)).expect("checked in");
        assert!(want == have, "{name} drifted: UPDATE_PROTO=1 cargo test -p proto");
    }
}

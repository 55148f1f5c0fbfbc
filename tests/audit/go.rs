//! The witness in Go.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Go program, built once. It needs Debian's golang-go and golang-golang-x-mod-dev.
pub(crate) fn witness() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.join(format!("witness-{}", std::process::id()));
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/witness.go"))
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", target.join("go"))
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!("go: {error}; this test needs: apt-get install -y --no-install-recommends golang-go golang-golang-x-mod-dev")
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let place = target.join("witness");
        fs::rename(program, &place).unwrap();
        place
    })
}

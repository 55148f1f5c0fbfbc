//! ykman's own view of the virtual token.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::{Ran, World, run};

/// An `openpgp` command of ykman, which must not find the `pkill` that it uses on every scdaemon of the machine.
pub fn ykman(world: &World, arguments: &[&str]) -> Ran {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("ykman/bin/ykman");
    let program = std::env::var_os("YKMAN").map_or(program, PathBuf::from);
    assert!(program.exists(), "no {}; run: sh packaging/test-ykman.sh", program.display());
    let bin = world.home.join("ykman-bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("pkill"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(bin.join("pkill"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.command(program);
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    command.env("LC_ALL", "C.UTF-8").args(["--reader", "CCID 00 00", "openpgp"]).args(arguments);
    run(&mut command)
}

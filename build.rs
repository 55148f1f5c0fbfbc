//! Links the unwinder into the program where that can be done: one shared library less to load and
//! relocate is a tenth of a millisecond of every start, a tenth of what starting costs at all.
//!
//! Only for the program, never for those who link the library, and only when building for the
//! machine that builds: another target's compiler may keep its archives elsewhere.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    if !native || !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let Ok(output) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else { return };
    let Ok(archive) = String::from_utf8(output.stdout) else { return };
    let archive = archive.trim();
    // A compiler that has no such file says its bare name.
    if Path::new(archive).is_absolute() && Path::new(archive).is_file() {
        // Whole, because the standard library's own `-lgcc_s` comes first and would answer every symbol.
        for argument in ["-Wl,--push-state,--whole-archive", archive, "-Wl,--pop-state"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

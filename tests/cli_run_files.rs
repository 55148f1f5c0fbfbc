//! `run`: what was approved is what runs, whatever becomes of the files meanwhile.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use support::{PIN, Running, World, gated, ran, run, run_with};

/// As another program computes it.
fn digest(path: &Path) -> String {
    let sum = run(Command::new("sha256sum").arg(path)).succeeded();
    format!("sha256:{}", sum.out.split(' ').next().unwrap())
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_files_copy_is_stated_and_handed_over_at_its_place_and_as_a_variable() {
    let world = World::new("--touch=now");
    let big = "a line of some length that is repeated until the file is large\n".repeat(100_000);
    world.write("app.tar", &big);
    let script = "sha256sum <\"$1\"; sha256sum <\"$TOUCHGATE_FILE_IMAGE\"; cat \"$2\"; echo \"$3\"; echo \"$TOUCHGATE_FILE_OLD\"";
    world.write("small", "small\n");
    let options = ["--with", "image=@app.tar", "--with", "small=@small"];
    let command = ["sh", "-c", script, "sh", "{image}", "{small}", "{}"];
    let ran = run_with(gated(&world, &options, &command).env("TOUCHGATE_FILE_OLD", "stray"), PIN).succeeded();
    let stated = digest(&world.home.work().join("app.tar"));
    let sum = stated.trim_start_matches("sha256:");
    assert_eq!(ran.out, format!("{sum}  -\n{sum}  -\nsmall\n{{}}\n\n"));
    assert!(ran.err.contains(&format!("│ param.image: {stated}\n")), "{ran:#?}");
    // The approvers see where in the command line it stands, not a number that means nothing to them.
    assert!(ran.err.contains(" sh '{image}' '{small}' '{}'\n"), "{ran:#?}");
}

#[test]
fn a_script_or_a_program_may_itself_be_such_a_file() {
    let world = World::new("--touch=now");
    executable(&world.home.work().join("deploy.sh"), "#!/bin/sh\necho deployed \"$@\"\n");
    fs::copy("/bin/echo", world.home.work().join("tool")).unwrap();
    let options = ["--with", "script=@deploy.sh", "--with", "tool=@tool"];
    assert_eq!(ran(&world, &options, &["{script}", "eu"]).succeeded().out, "deployed eu\n");
    assert_eq!(ran(&world, &options, &["{tool}", "eu"]).succeeded().out, "eu\n");
}

/// The touch is awaited; then the file is another. Each of these through the whole program once; a thousand times
/// each where the copy is made (`cli::sealed`).
#[test]
fn what_becomes_of_a_file_after_it_was_asked_for_changes_nothing() {
    let world = World::new("--touch=ask");
    let (file, evil) = (world.home.work().join("app"), world.home.work().join("evil"));
    let approved = "#!/bin/sh\necho approved\n";
    let swaps: [(&str, &dyn Fn()); 5] = [
        ("symbolic link", &|| {
            fs::remove_file(&file).unwrap();
            symlink(&evil, &file).unwrap();
        }),
        ("rename", &|| fs::rename(&evil, &file).unwrap()),
        ("truncate", &|| fs::File::options().write(true).open(&file).unwrap().set_len(12).unwrap()),
        ("edit in place", &|| {
            let open = fs::File::options().write(true).open(&file).unwrap();
            std::os::unix::fs::FileExt::write_at(&open, b"echo  ev", 10).unwrap();
        }),
        ("remove", &|| fs::remove_file(&file).unwrap()),
    ];
    for (what, swap) in swaps {
        let _ = fs::remove_file(&file);
        executable(&file, approved);
        executable(&evil, "#!/bin/sh\necho evil\n");
        for command in [&["{app}"][..], &["sh", "{app}"]] {
            let _ = fs::remove_file(&file);
            executable(&file, approved);
            executable(&evil, "#!/bin/sh\necho evil\n");
            let running = Running::start(&mut gated(&world, &["--with", "app=@app"], command), Some(PIN));
            world.tell("await-touch 120s");
            swap();
            world.tell("press");
            assert_eq!(running.finish().succeeded().out, "approved\n", "{what}, {command:?}");
        }
    }
}

#[test]
fn a_program_that_was_swapped_meanwhile_does_not_run() {
    let world = World::new("--touch=ask");
    let at = |name: &str| world.home.work().join(name);
    let swaps: [(&str, &dyn Fn()); 3] = [
        ("rename", &|| fs::rename(at("evil"), at("program")).unwrap()),
        ("edit in place", &|| fs::write(at("program"), "#!/bin/sh\ntouch ran\n").unwrap()),
        ("remove", &|| fs::remove_file(at("program")).unwrap()),
    ];
    let kinds: [(&str, &dyn Fn()); 2] = [
        ("script", &|| executable(&at("program"), "#!/bin/sh\necho approved\n")),
        ("binary", &|| {
            let _ = fs::remove_file(at("program"));
            fs::copy("/bin/true", at("program")).map(drop).unwrap();
        }),
    ];
    for (kind, make) in kinds {
        for (what, swap) in swaps {
            make();
            executable(&at("evil"), "#!/bin/sh\ntouch ran\n");
            let running = Running::start(&mut gated(&world, &["--json"], &["./program"]), Some(PIN));
            world.tell("await-touch 120s");
            swap();
            world.tell("press");
            let failed = running.finish().exits(121);
            assert_eq!(failed.json()["code"], "program-changed", "{kind}, {what}: {failed:#?}");
            assert!(!world.exists("ran"), "{kind}, {what}");
        }
        make();
        let running = Running::start(&mut gated(&world, &[], &["./program"]), Some(PIN));
        world.tell("await-touch 120s");
        world.tell("press");
        running.finish().succeeded();
    }
}

/// A name that is looked for in PATH is looked for once.
#[test]
fn a_program_that_comes_first_in_path_meanwhile_does_not_run() {
    let world = World::new("--touch=ask");
    fs::create_dir(world.home.work().join("first")).unwrap();
    let path = format!("{}:{}", world.home.work().join("first").display(), std::env::var("PATH").unwrap());
    let mut command = gated(&world, &[], &["true"]);
    let running = Running::start(command.env("PATH", path), Some(PIN));
    world.tell("await-touch 120s");
    executable(&world.home.work().join("first/true"), "#!/bin/sh\ntouch ran\n");
    world.tell("press");
    running.finish().succeeded();
    assert!(!world.exists("ran"));
}

#[test]
fn what_is_no_file_or_ambiguous_is_said_before_anybody_is_asked() {
    let world = World::new("--touch=never");
    let before = world.tell("trace count");
    world.write("app", "x");
    run(world.command("mkfifo").arg("pipe")).succeeded();
    let image = format!("image=sha256:{}", "0f".repeat(32));
    for (options, command, code, exit) in [
        (&["--with", "image=@missing"][..], &["true"][..], "no-file", 121),
        (&["--with", "image=@pipe"], &["true"], "no-file", 121),
        (&["--with", "image=@."], &["true"], "no-file", 121),
        (&["--with", "image=@app", "--with", "image=@app"], &["true"], "usage", 122),
        (&["--with", "image=@app", "--with", "image=1"], &["true"], "usage", 122),
        (&["--with", "a-b=@app", "--with", "a_b=@app"], &["true"], "usage", 122),
        (&["--with", "commit=@app"], &["true"], "usage", 122),
        (&["--with", "Image=@app"], &["true"], "usage", 122),
        // The same words would be approved for a file and for a digest that nobody compared with anything.
        (&["--with", &image], &["cat", "{image}"], "usage", 122),
        (&["--with", "image=@app"], &["cat", "{command}"], "usage", 122),
    ] {
        let options = [&["--json"], options].concat();
        let failed = ran(&world, &options, command).exits(exit);
        assert_eq!(failed.json()["code"], code, "{options:?}: {failed:#?}");
    }
    assert_eq!(world.tell("trace count"), before);
}

/// A request that is only asked states files alike.
#[test]
fn request_states_a_files_digest() {
    let world = World::new("--touch=never");
    world.write("app", "x");
    let arguments = ["request", "deploy", "payments/prod", "--with", "image=@app", "--out", "asked"];
    run(&mut world.touchgate(arguments)).succeeded();
    let stated = format!("param.image: {}\n", digest(&world.home.work().join("app")));
    assert!(world.read("asked").contains(&stated));
}

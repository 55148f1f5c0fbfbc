//! `run`: what it states of the command and its tree, and how it then becomes that command.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use touchgate::statement::Statement;
use touchgate::store::Store as _;
use touchgate::unix_time::UnixTime;

use support::{PIN, RUN, Ran, Running, World, gated, need, ran, run, run_with, signal};

/// A parameter of the statement that was shown.
fn stated(ran: &Ran, name: &str) -> Option<String> {
    let text: String =
        ran.err.lines().filter_map(|line| line.strip_prefix("│ ")).map(|line| format!("{line}\n")).collect();
    let statement = Statement::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    let parameters = &statement.challenge.request.parameters;
    parameters.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.as_str().to_owned())
}

// The command's own.

#[test]
fn the_exit_code_is_the_commands_own() {
    let world = World::new("--touch=now");
    world.write("no-program", "");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        // Ours and the command's may be the same number: hence --status-fd.
        (&["sh", "-c", "exit 123"], 123),
        (&["sh", "-c", "kill -s TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -s KILL $$"], 128 + 9),
    ] {
        let ran = ran(&world, &[], command).exits(code);
        assert!(ran.err.contains("approved: "), "{command:?}: {ran:#?}");
    }
    // That its interpreter is missing shows only when it is started.
    world.write("no-interpreter", "#!/nonexistent/interpreter\n");
    fs::set_permissions(world.home.work().join("no-interpreter"), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = ran(&world, &[], &["./no-interpreter"]).exits(121);
    assert!(ran.err.contains("approved: ") && ran.err.contains("could not be started"), "{ran:#?}");
}

/// What can be seen beforehand costs no touch.
#[test]
fn a_command_that_cannot_be_started_is_not_asked_for() {
    let world = World::new("--touch=now");
    world.write("no-program", "");
    for command in [&["/nonexistent/command"][..], &["./no-program"], &["no-such-program"], &["."]] {
        let ran = ran(&world, &[], command).exits(121);
        assert!(
            ran.err.contains("no such program") && !ran.err.contains("approved: "),
            "{command:?}: {ran:#?}"
        );
    }
}

#[test]
fn a_signal_reaches_the_command_and_its_answer_counts() {
    let world = World::new("--touch=now");
    for name in ["TERM", "INT", "HUP", "USR1"] {
        let script = format!("trap 'echo told; exit 3' {name}; echo up >&2; while :; do sleep 0.05; done");
        let running = Running::start(&mut gated(&world, &[], &["sh", "-c", &script]), Some(PIN));
        running.wait_for_stderr("up\n");
        signal(name, running.id());
        assert_eq!(running.finish().exits(3).out, "told\n", "{name}");
    }
    // One that it does not catch ends it, and says so.
    let running =
        Running::start(&mut gated(&world, &[], &["sh", "-c", "echo up >&2; exec sleep 1000"]), Some(PIN));
    running.wait_for_stderr("up\n");
    signal("TERM", running.id());
    running.finish().exits(128 + 15);
}

#[test]
fn no_signal_is_blocked_or_ignored_for_the_command() {
    let world = World::new("--touch=now");
    let show = ["sh", "-c", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"];
    // Signals 32 and 33 are the C library's own.
    let sets = |ran: Ran| -> Vec<u64> {
        let hex =
            ran.out.lines().map(|line| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap());
        hex.map(|set| set & !0x1_8000_0000).collect()
    };
    let alone = run(world.command(show[0]).args(&show[1..])).succeeded();
    let gated = ran(&world, &[], &show).succeeded();
    assert_eq!(sets(gated), sets(alone));
}

/// As `nohup` has it, and a shell's `&`.
#[test]
fn what_is_ignored_stays_ignored_for_the_command() {
    let world = World::new("--touch=now");
    for (signal, bit) in [("HUP", 0x1), ("INT", 0x2), ("TERM", 0x4000)] {
        let mut shell = world.command("sh");
        shell.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "sh", support::PROGRAM]);
        shell.args(["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "0", "--"]);
        shell.args(["grep", "^SigIgn", "/proc/self/status"]);
        let ran = run_with(&mut shell, PIN).succeeded();
        let set = u64::from_str_radix(ran.out.trim().split_once('\t').unwrap().1, 16).unwrap();
        assert_eq!(set & bit, bit, "{signal}: {ran:?}");
    }
}

#[test]
fn standard_streams_are_the_commands() {
    let world = World::new("--touch=now");
    world.write("input", "line 1\nline 2\n");
    // The PIN at descriptor 3, so that standard input is the command's.
    let mut shell = world.command("sh");
    shell.args([
        "-c",
        &format!("printf '{PIN}\\n' | {{ exec 3<&0 <input; exec \"$@\"; }}"),
        "sh",
        support::PROGRAM,
    ]);
    shell.args(["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "3", "--"]);
    shell.args(["sh", "-c", "cat; echo to stderr >&2"]);
    let ran = run(&mut shell).succeeded();
    assert_eq!(ran.out, "line 1\nline 2\n");
    assert!(ran.err.ends_with("to stderr\n"), "{ran:#?}");
}

/// Another secret may follow, as in the files of a password manager.
#[test]
fn what_follows_the_pin_is_nobodys() {
    let world = World::new("--touch=now");
    let rest = "user: alice\nrecovery: 99887766\n".repeat(2000);
    let ran = run_with(&mut gated(&world, &[], &["cat"]), &format!("{PIN}\n{rest}")).succeeded();
    assert_eq!(ran.out, "");
    // Whoever writes on and on is not waited for.
    let mut shell = world.command("sh");
    let endless = format!("yes {PIN} | {{ exec 3<&0 </dev/null; exec \"$@\"; }}");
    shell.args(["-c", &endless, "sh", support::PROGRAM, "run", "deploy", "payments/prod", "--no-input"]);
    shell.args(["--json", "--pin-fd", "3", "--", "touch", "ran"]);
    assert_eq!(run(&mut shell).exits(122).json()["code"], "no-pin");
    assert!(!world.exists("ran"));
}

#[test]
fn the_command_gets_its_arguments_environment_and_place_as_they_were_given() {
    let world = World::new("--touch=now");
    let script = "pwd; echo \"$GIVEN\"; printf '<%s>' \"$0\" \"$@\"";
    let arguments = ["sh", "-c", script, "zero", "", "two words", "'quoted'", "tab\there", "--option", "ü"];
    let ran = run_with(gated(&world, &[], &arguments).env("GIVEN", "by the caller"), PIN).succeeded();
    let expected = "by the caller\n<zero><><two words><'quoted'><tab\there><--option><ü>";
    assert_eq!(ran.out, format!("{}\n{expected}", world.home.work().display()));
    // As it is signed: what is not printable ASCII is escaped.
    let quoted = r#"zero '' 'two words' ''"'"'quoted'"'"'' 'tab\u{9}here' --option '\u{fc}'"#;
    assert!(ran.err.contains("│ param.command: sh -c 'pwd; echo"), "{ran:#?}");
    assert!(ran.err.contains(&format!("{quoted}\n")), "{ran:#?}");
}

#[test]
fn only_the_verdict_comes_before_the_command_and_it_is_whole() {
    let world = World::new("--touch=now");
    let status = |options: &[&str], command: &str, pin: &str| {
        let mut shell = world.command("sh");
        // A pipe at descriptor 4 for the status; what is read from it goes to a file.
        let script = "{ \"$@\" 4>&1 >out 2>err; echo $? >code; } | cat >status";
        shell.args(["-c", script, "sh", support::PROGRAM]).args(RUN).args(["--status-fd", "4"]);
        shell.args(options).args(["--", "sh", "-c", command]);
        run_with(&mut shell, pin).succeeded();
        let object: serde_json::Value = serde_json::from_str(&world.read("status")).unwrap();
        assert_eq!(world.read("status").lines().count(), 1);
        (world.read("code").trim().parse::<i32>().unwrap(), object)
    };
    let (code, object) = status(&[], "echo the command ran; exit 125", PIN);
    assert_eq!((code, &object["verdict"]), (125, &"approved".into()));
    assert_eq!(world.read("out"), "the command ran\n");
    assert!(object["statement"].as_str().unwrap().starts_with("touchgate v1 challenge\n"), "{object}");
    assert_eq!(object["approved_by"].as_array().unwrap().len(), 1);

    // The same number from us, and the difference.
    let (code, object) = status(&[], "echo the command ran", "654321");
    assert_eq!((code, &object["verdict"], &object["code"]), (125, &"failed".into(), &"wrong-pin".into()));
    assert_eq!(world.read("out"), "");

    let (code, object) = status(&[], "exec /nonexistent/command", PIN);
    assert_eq!((code, &object["verdict"]), (127, &"approved".into()));
}

#[test]
fn a_verdict_that_cannot_be_delivered_stops_the_command() {
    let world = World::new("--touch=now");
    let failed = ran(&world, &["--status-fd", "9"], &["touch", "ran"]).exits(121);
    assert!(failed.err.contains("error: the verdict cannot be written"), "{failed:#?}");
    assert!(!failed.err.contains("approved: "), "{failed:#?}");
    assert!(!world.exists("ran"));
}

/// Neither is waited for: a pipe that nobody reads any more, and at the end one that is full.
#[test]
fn a_verdict_that_nobody_takes_holds_nothing_up() {
    let world = World::new("--touch=now");
    let shell = |script: &str| {
        let mut shell = world.command("bash");
        shell.args(["-c", script, "sh", support::PROGRAM]).args(RUN);
        shell.args(["--json", "--status-fd", "4", "--", "touch", "ran"]);
        shell
    };
    run(Command::new("mkfifo").arg(world.home.work().join("fifo"))).succeeded();
    let unread = run_with(&mut shell("exec 5<>fifo 4>fifo 5>&-; exec \"$@\""), PIN).exits(121);
    assert_eq!(unread.json()["code"], "status-fd", "{unread:#?}");
    assert!(!unread.err.contains("approved: "), "{unread:#?}");

    // Opened to read and write it is its own reader. Full, it is waited for until somebody interrupts.
    let full = "exec 4<>fifo; dd if=/dev/zero of=/dev/fd/4 oflag=nonblock bs=4096 2>/dev/null; exec \"$@\"";
    let running = Running::start(&mut shell(full), Some(PIN));
    running.wait_for_stderr("approved: ");
    signal("INT", running.id());
    let ended = running.finish().exits(130);
    assert_eq!(ended.json()["code"], "cancelled", "{ended:#?}");
    assert!(!world.exists("ran"));
}

#[test]
fn wrong_command_lines_are_told_apart_from_the_commands() {
    let world = World::new("--touch=now");
    for arguments in [
        &["run"][..],
        &["run", "deploy", "payments/prod"],
        &["run", "deploy", "payments/prod", "--"],
        &["run", "Deploy", "payments/prod", "--", "touch", "ran"],
        &["run", "deploy", "payments/../prod", "--", "touch", "ran"],
        &["run", "deploy", "payments/prod", "--with", "image", "--", "touch", "ran"],
        &["run", "deploy", "payments/prod", "--with", "command=true", "--", "touch", "ran"],
        &["run", "deploy", "payments/prod", "--with", "commit=git:00", "--", "touch", "ran"],
        &["run", "deploy", "payments/prod", "--no-such-option", "--", "touch", "ran"],
        &["--json", "run", "deploy", "payments/prod", "--no-such-option", "--", "touch", "ran"],
        &["--no-input", "run", "deploy", "payments/prod", "--", "touch", "ran"],
    ] {
        let ran = run(&mut world.touchgate(arguments));
        assert_eq!(ran.code, 122, "{arguments:?}: {ran:#?}");
        assert!(!world.exists("ran"), "{arguments:?}");
    }
}

#[test]
fn a_dry_run_shows_what_would_be_asked_and_asks_nobody() {
    let world = World::new("--touch=never");
    let before = world.tell("trace count");
    let arguments = ["run", "deploy", "payments/prod", "--dry-run", "--reason", "why"];
    let shown = run(world.touchgate(arguments).args(["--", "touch", "ran"])).succeeded();
    assert!(
        shown.out.contains("param.command: touch ran\n") && shown.out.contains("reason: why\n"),
        "{shown:#?}"
    );
    let json = run(world.touchgate(arguments).args(["--json", "--", "touch", "ran"])).succeeded().json();
    assert_eq!((&json["verdict"], &json["code"]), (&"pending".into(), &"dry-run".into()));
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"));
}

#[test]
fn a_dry_run_only_looks_at_the_store() {
    let world = World::new("--touch=now");
    ran(&world, &[], &["true"]).succeeded();
    fs::remove_file(world.home.join(".local/state/touchgate/keys/log.pk8")).unwrap();
    ran(&world, &["--dry-run"], &["true"]).succeeded();
}

/// The checkpoint beside the store cannot be kept any more when the decision has fallen.
#[test]
fn what_fails_after_the_decision_leaves_no_grant() {
    let world = World::new("--touch=ask");
    let running = Running::start(&mut gated(&world, &["--json"], &["touch", "ran"]), Some(PIN));
    world.tell("await-touch 120s");
    let kept = world.home.join(".local/state/touchgate/checkpoint");
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    world.tell("press");
    let failed = running.finish().exits(121).json();
    fs::remove_dir(&kept).unwrap();
    let list = run(&mut world.touchgate(["grant", "list", "--json"])).succeeded().json();
    assert_eq!(list["grants"], serde_json::json!([]));
    let revoked = run(&mut world.touchgate(["audit", "list", "--json", "--type", "revoked"])).succeeded();
    assert_eq!(revoked.json()["because"], failed["code"]);
    assert!(!world.exists("ran"));
}

#[test]
fn an_interruption_after_the_touch_still_stops_the_command() {
    let world = World::new("--touch=ask");
    let running = Running::start(&mut gated(&world, &[], &["touch", "ran"]), Some(PIN));
    world.tell("await-touch 120s");
    // The signal is there before the card's answer is.
    signal("STOP", running.id());
    world.tell("press");
    signal("INT", running.id());
    signal("CONT", running.id());
    running.finish().exits(130);
    assert!(!world.exists("ran"));
    let store = world.store();
    assert_eq!(store.open_requests().unwrap(), []);
    assert!(store.live_grants(UnixTime::now()).unwrap().is_empty());
}

// What is stated of the command.

#[test]
fn a_long_command_line_is_stated_by_its_digest_and_shown_apart() {
    let world = World::new("--touch=now");
    let long = "x".repeat(600);
    let ran = ran(&world, &[], &["echo", &long]).succeeded();
    assert_eq!(ran.out, format!("{long}\n"));
    // SHA-256 over the arguments, each ended by a NUL, as anybody can compute it.
    let sum = run_with(
        Command::new("sh").args(["-c", "tr -d '\\n' | tr '#' '\\0' | sha256sum"]),
        &format!("echo#{long}#"),
    );
    let digest = sum.out.split(' ').next().unwrap();
    assert_eq!(stated(&ran, "command"), Some(format!("sha256:{digest}")));
    assert!(ran.err.contains(&format!("  {long}\n")), "{ran:#?}");
}

#[test]
fn different_commands_never_look_alike() {
    let world = World::new("--touch=now");
    let looks = |command: &[&str]| stated(&ran(&world, &[], command).succeeded(), "command").unwrap();
    let mut seen: Vec<String> = [
        &["echo", "a b"][..],
        &["echo", "a", "b"],
        &["echo", "'a b'"],
        &["echo", "a\\ b"],
        &["echo", "", "a b"],
        &["echo", "a\nb"],
        &["echo", "a\\nb"],
        &["echo", "a\u{202e}b"],
    ]
    .map(looks)
    .to_vec();
    assert_eq!(seen[..2], ["echo 'a b'", "echo a b"]);
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "{seen:?}");
}

// What is stated of the tree.

fn git(world: &World, arguments: &[&str]) -> String {
    need(&["git"]);
    let identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    run(world.command("git").args(identity).args(arguments)).succeeded().out
}

/// A tree with one commit that holds a script which runs.
fn tree(world: &World) -> String {
    git(world, &["init", "-q"]);
    world.write("deploy.sh", "#!/bin/sh\necho deployed\n");
    fs::set_permissions(world.home.work().join("deploy.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    commit(world)
}

fn commit(world: &World) -> String {
    git(world, &["add", "-A"]);
    git(world, &["commit", "-q", "-m", "a commit"]);
    format!("git:{}", git(world, &["rev-parse", "HEAD"]).trim())
}

#[test]
fn a_clean_trees_commit_is_stated_and_a_dirty_ones_is_not() {
    let world = World::new("--touch=now");
    let deploy = || ran(&world, &[], &["./deploy.sh"]).succeeded();
    let first = tree(&world);
    let clean = deploy();
    assert_eq!((stated(&clean, "commit"), clean.out.as_str()), (Some(first.clone()), "deployed\n"));
    assert!(!clean.err.contains("note: "), "{clean:#?}");

    // From below it is the same commit.
    fs::create_dir(world.home.work().join("below")).unwrap();
    world.write("below/file", "");
    let second = commit(&world);
    let mut below = gated(&world, &[], &["../deploy.sh"]);
    let below = run_with(below.current_dir(world.home.work().join("below")), PIN).succeeded();
    assert_eq!(stated(&below, "commit"), Some(second.clone()));

    // A file that git does not know, one that was changed, one that is gone, one that is executable now.
    world.write("new", "");
    assert_eq!(stated(&deploy(), "commit"), None);
    fs::remove_file(world.home.work().join("new")).unwrap();
    world.write("below/file", "changed");
    let dirty = deploy();
    assert_eq!(stated(&dirty, "commit"), None);
    assert!(dirty.err.starts_with("note: no commit is stated: "), "{dirty:#?}");
    git(&world, &["add", "-A"]);
    assert_eq!(stated(&deploy(), "commit"), None, "staged is not committed");
    git(&world, &["reset", "-q", "--hard"]);
    fs::remove_file(world.home.work().join("below/file")).unwrap();
    assert_eq!(stated(&deploy(), "commit"), None);
    git(&world, &["reset", "-q", "--hard"]);
    fs::set_permissions(world.home.work().join("below/file"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(stated(&deploy(), "commit"), None);
    git(&world, &["reset", "-q", "--hard"]);
    assert_eq!(stated(&deploy(), "commit"), Some(second));
}

/// An ignored file is anything: a command that names one, itself or for an interpreter, runs no commit.
#[test]
fn no_commit_is_stated_for_a_command_that_names_an_ignored_file() {
    let world = World::new("--touch=now");
    world.write(".gitignore", "*.log\n");
    let commit = tree(&world);
    world.write("payload.log", "#!/bin/sh\n");
    fs::set_permissions(world.home.work().join("payload.log"), fs::Permissions::from_mode(0o755)).unwrap();
    let of = |command: &[&str]| stated(&ran(&world, &[], command).succeeded(), "commit");
    assert_eq!(of(&["./payload.log"]), None);
    assert_eq!(of(&["sh", "payload.log"]), None);
    assert_eq!(of(&["sh", "deploy.sh"]), Some(commit));
}

#[test]
fn what_git_was_told_to_overlook_is_not_overlooked() {
    let world = World::new("--touch=now");
    let deploy = || ran(&world, &[], &["./deploy.sh"]).succeeded();
    tree(&world);
    for hide in ["--assume-unchanged", "--skip-worktree"] {
        git(&world, &["update-index", hide, "deploy.sh"]);
        world.write("deploy.sh", "#!/bin/sh\necho something else\n");
        assert_eq!(git(&world, &["status", "--porcelain"]), "", "git itself is deceived");
        assert_eq!(stated(&deploy(), "commit"), None, "{hide}");
        git(&world, &["update-index", &hide.replace("--", "--no-"), "deploy.sh"]);
        git(&world, &["checkout", "-q", "deploy.sh"]);
    }
    // Programs that a hostile tree's configuration names are not run.
    let trap = world.home.work().join("trap");
    let script = format!("touch {}; cat", world.home.join("trapped").display());
    for (key, value) in [
        ("core.fsmonitor", script.as_str()),
        ("core.hooksPath", "."),
        ("filter.evil.clean", &script),
        ("filter.evil.smudge", &script),
        ("core.pager", &script),
        ("core.sshCommand", &script),
    ] {
        git(&world, &["config", key, value]);
    }
    fs::write(world.home.work().join(".git/info/attributes"), "* filter=evil\n").unwrap();
    assert!(!trap.exists());
    let _ = fs::remove_file(world.home.join("trapped"));
    deploy();
    assert!(!world.home.join("trapped").exists());
}

/// A tree of which a part is missing, to be fetched by a program of its own choice.
#[test]
fn what_is_missing_is_not_fetched() {
    let world = World::new("--touch=now");
    fs::create_dir(world.home.work().join("below")).unwrap();
    world.write("below/file", "");
    tree(&world);
    let trapped = world.home.join("trapped");
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "."),
        ("remote.origin.uploadpack", &format!("touch {}; git-upload-pack", trapped.display())),
    ] {
        git(&world, &["config", key, value]);
    }
    let missing = git(&world, &["rev-parse", "HEAD:below"]);
    let (folder, name) = missing.trim().split_at(2);
    fs::remove_file(world.home.work().join(".git/objects").join(folder).join(name)).unwrap();
    let ran = ran(&world, &[], &["./deploy.sh"]).succeeded();
    assert!(!trapped.exists() && stated(&ran, "commit").is_none(), "{ran:#?}");
    // It is a trap.
    run(world.command("git").args(["ls-tree", "-r", "HEAD"]));
    assert!(trapped.exists());
}

#[test]
fn another_tree_cannot_be_shown_by_the_environment() {
    let world = World::new("--touch=now");
    let other = World::bare("");
    let of_other = tree(&other);
    let mut command = gated(&world, &[], &["true"]);
    command.env("GIT_DIR", other.home.work().join(".git")).env("GIT_WORK_TREE", other.home.work());
    let ran = run_with(&mut command, PIN).succeeded();
    assert_ne!(stated(&ran, "commit"), Some(of_other));
}

/// While the touch is awaited the tree changes: what was approved is not what would run.
#[test]
fn a_tree_that_changes_meanwhile_stops_the_command() {
    let world = World::new("--touch=ask");
    tree(&world);
    let change = |how: &dyn Fn(&Path)| {
        let running = Running::start(&mut gated(&world, &[], &["./deploy.sh"]), Some(PIN));
        world.tell("await-touch 120s");
        how(&world.home.work());
        world.tell("press");
        running.finish()
    };
    let edited = change(&|work| {
        let script = work.join("deploy.sh");
        fs::write(script, "#!/bin/sh\necho something else\n").unwrap();
    })
    .exits(121);
    assert!(edited.err.contains("error: the git tree changed") && edited.out.is_empty(), "{edited:#?}");
    git(&world, &["checkout", "-q", "deploy.sh"]);
    let committed = change(&|_| {
        world.write("more", "");
        commit(&world);
    })
    .exits(121);
    assert!(
        committed.err.contains("error: the git tree changed") && committed.out.is_empty(),
        "{committed:#?}"
    );
    assert_eq!(change(&|_| {}).succeeded().out, "deployed\n");
}

#[test]
fn a_rule_may_ask_for_parameters_that_cannot_change() {
    let world = World::new("--touch=now");
    let trust = world.home.config().join("trust");
    let policy = fs::read_to_string(trust.join("policy.toml")).unwrap();
    let pinned = policy.replacen("answer_within", "pinned = [\"commit\", \"image\"]\nanswer_within", 1);
    fs::write(trust.join("policy.toml"), pinned).unwrap();
    fs::remove_file(world.home.config().join("pin")).unwrap();
    let image = format!("image=sha256:{}", "0f".repeat(32));
    let unpinned = ["--unpinned", "--json", "--with"];
    let refused = ran(&world, &[&unpinned[..], &[&image]].concat(), &["touch", "ran"]).exits(123);
    assert_eq!(refused.json()["code"], "not-pinned");
    tree(&world);
    let refused = ran(&world, &[&unpinned[..], &["image=latest"]].concat(), &["touch", "ran"]).exits(123);
    assert_eq!(refused.json()["code"], "not-pinned");
    assert!(!world.exists("ran"));
    let approved = ran(&world, &[&unpinned[..], &[&image]].concat(), &["touch", "ran"]).succeeded();
    assert!(stated(&approved, "commit").is_some() && stated(&approved, "image").is_some());
    assert!(world.exists("ran"));
}

#[test]
fn a_closed_standard_error_stops_nothing_and_hides_nothing() {
    let world = World::new("--touch=now");
    let mut shell = world.command("sh");
    shell
        .args(["-c", "\"$@\" 2>&-; echo $? >code", "sh", support::PROGRAM])
        .args(RUN)
        .args(["--", "echo", "ran"]);
    let ran = run_with(shell.stderr(Stdio::null()), PIN).succeeded();
    assert_eq!((world.read("code").as_str(), ran.out.as_str()), ("0\n", "ran\n"));
}

// The store's past.

/// Only the checkpoint beside it shows that the store is not the one it was: nobody is asked for anything.
#[test]
fn a_store_that_was_restored_from_an_older_copy_is_refused() {
    let world = World::new("--touch=now");
    ran(&world, &[], &["true"]).exits(0);
    let state = world.home.join(".local/state/touchgate");
    let kept = fs::read_to_string(state.join("checkpoint")).unwrap();
    // Trust, asked, answered, decided, used.
    assert_eq!(kept.lines().nth(1), Some("5"), "{kept}");
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
    let again = ran(&world, &[], &["touch", "started"]).exits(123);
    assert!(again.err.contains("an older state was restored"), "{again:#?}");
    assert!(!again.err.contains("│ ") && !world.exists("started"), "{again:#?}");
}

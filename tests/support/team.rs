//! Two people with a virtual token each at one machine, and a third who asks.

use std::fs;
use std::process::Command;

use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;
use touchgate::trust::{Trust, versions};

use crate::support::{PIN, Ran, SERIAL, World, card_arguments, run, run_with};

/// The number of bob's token; alice has the first.
pub(crate) const BOBS: &str = "87654321";

/// A rule that needs both, answered within this time. `options` are those of both cards.
pub(crate) fn team(options: &str, answer_within: &str) -> World {
    team_with(options, options, answer_within)
}

/// The same with options for each card.
pub(crate) fn team_with(alices: &str, bobs: &str, answer_within: &str) -> World {
    let world = World::with(alices, |home, builder| {
        builder.second_card(card_arguments(BOBS, bobs, Some(&home.join("bob.asc"))))
    });
    // The keys of a verifier, and the lines that list them.
    let mut init =
        world.touchgate(["init", "--no-input", "--touch", "keep", "--card", SERIAL, "--certificate"]);
    run(init.arg(world.home.certificate())).succeeded();
    let trust = world.home.config().join("trust");
    let made = fs::read_to_string(trust.join("policy.toml")).unwrap();
    let listed = |name: &str| made.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let (audience, log_key) = (listed("audience"), listed("log_key"));
    let grant_key = made.split_once("[[grant_key]]").unwrap().1.split("\n[").next().unwrap();
    fs::remove_dir_all(&trust).unwrap();
    for folder in ["people", "tokens"] {
        fs::create_dir_all(trust.join(folder)).unwrap();
    }
    for (name, serial) in [("alice", SERIAL), ("bob", BOBS)] {
        let certificate = world.home.join(&format!("{name}.asc"));
        let key = Cert::from_file(&certificate).unwrap().fingerprint().to_hex();
        let person = format!(
            "groups = [\"release\"]\nidentities = []\n[[token]]\nserial = \"{serial}\"\nkey = \"{key}\"\ntouch = \"declared\"\n"
        );
        fs::write(trust.join(format!("people/{name}.toml")), person).unwrap();
        fs::copy(certificate, trust.join(format!("tokens/{serial}.asc"))).unwrap();
    }
    let user = run(Command::new("id").arg("-un")).out.trim().to_owned();
    let host = run(Command::new("uname").arg("-n")).out.trim().to_ascii_lowercase();
    let sam = format!("groups = []\nidentities = [\"os:{user}@{host}\"]\n");
    fs::write(trust.join("people/sam.toml"), sam).unwrap();
    let policy = format!(
        "{audience}\n{log_key}\nversion = 1\nvalid_until = \"2099-01-01T00:00:00Z\"\n\n\
         [[grant_key]]{grant_key}\n\
         [[rule]]\naction = \"deploy\"\nneed = [{{ from = \"release\", count = 2 }}]\ntier = \"declared\"\n\
         answer_within = \"{answer_within}\"\n\n\
         [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{{ from = \"release\", count = 2 }}]\ntier = \"declared\"\n"
    );
    fs::write(trust.join("policy.toml"), policy).unwrap();
    let version = Trust::load(&trust).unwrap().version;
    fs::write(world.home.config().join("pin"), versions::write_pin(&version)).unwrap();
    world
}

/// A command of the person whose token this is.
pub(crate) fn as_holder(world: &World, serial: &str, arguments: &[&str]) -> Ran {
    let mut command = world.touchgate(arguments);
    run_with(command.args(["--no-input", "--pin-fd", "0", "--card", serial]), PIN)
}

//! Libraries that nobody here wrote read our tokens, and reject those that were tampered with: PyJWT, golang-jwt,
//! and jsonwebtoken. What the first makes, we read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use touchgate::grant::{Algorithm, GrantSigner};

use crate::world::{AUDIENCE, World, part, request};

const INSTALL: &str = "sh packaging/test-packages.sh python3-jwt python3-cryptography golang-go golang-github-golang-jwt-jwt-dev";

fn pem(kind: &str, base64: &str) -> String {
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// A token of each kind with its public key, and what becomes of it that must not pass.
fn each(check: impl Fn(&World, &GrantSigner, &str, &[String], &Path)) {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    for (signer, secret) in [(&world.es, &world.es_secret), (&world.ed, &world.ed_secret)] {
        let grant = world.grant(request("deploy", "payroll"), signer);
        let public = directory.path().join("public.pem");
        fs::write(&public, pem("PUBLIC KEY", &signer.key().to_base64())).unwrap();
        let other = GrantSigner::generate(signer.key().algorithm()).unwrap();
        let other = GrantSigner::from_pkcs8("x", &other).unwrap();
        fs::write(directory.path().join("other.pem"), pem("PUBLIC KEY", &other.key().to_base64())).unwrap();
        let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
        fs::write(directory.path().join("secret.pem"), pem("PRIVATE KEY", &secret)).unwrap();
        let [head, body, signature] = grant.token().split('.').collect::<Vec<_>>()[..] else { panic!() };
        let flip = |text: &str| {
            let middle = text.len() / 2;
            let with = if text[middle..].starts_with('A') { "B" } else { "A" };
            format!("{}{with}{}", &text[..middle], &text[middle + 1..])
        };
        let tampered = [
            format!("{head}.{}.{signature}", flip(body)),
            format!("{head}.{body}.{}", flip(signature)),
            format!("{head}.{body}."),
        ];
        check(&world, signer, grant.token(), &tampered, directory.path());
    }
}

fn run(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run: {INSTALL}"));
    let said = String::from_utf8_lossy(&output.stderr);
    // Exit code 3 is the library's no; anything else is the harness's own.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{command:?}: {said}; run: {INSTALL}");
    output
}

/// Has a program verify each token, and compares what it read with what we wrote.
fn verified_by(verify: impl Fn(&Path, &str) -> Command) {
    each(|_, _, token, tampered, directory| {
        let output = run(verify(&directory.join("public.pem"), token));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        let header: Value = serde_json::from_slice(&part(token, 0)).unwrap();
        let claims: Value = serde_json::from_slice(&part(token, 1)).unwrap();
        assert_eq!(read, serde_json::json!({ "header": header, "claims": claims }));
        for token in tampered {
            assert_eq!(run(verify(&directory.join("public.pem"), token)).status.code(), Some(3), "{token}");
        }
        assert_eq!(run(verify(&directory.join("other.pem"), token)).status.code(), Some(3), "another key");
    });
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grant")
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-I").arg(folder().join("pyjwt.py")).args(arguments);
    command
}

#[test]
fn pyjwt_reads_our_tokens() {
    verified_by(|public, token| python(&["verify", public.to_str().unwrap(), AUDIENCE, token]));
}

#[test]
fn we_read_what_pyjwt_signs() {
    each(|world, signer, token, _, directory| {
        let secret = directory.join("secret.pem");
        let claims = String::from_utf8(part(token, 1)).unwrap();
        let key = signer.key();
        let sign = python(&["sign", secret.to_str().unwrap(), key.algorithm().name(), key.kid(), &claims]);
        let output = run(sign);
        let theirs = String::from_utf8(output.stdout).unwrap();
        let read = world.gate(theirs.trim_end()).unwrap();
        assert_eq!(read.claims(), world.gate(token).unwrap().claims());
    });
}

#[test]
fn golang_jwt_reads_our_tokens() {
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("verify");
    let mut build = Command::new("go");
    build.current_dir(folder()).args(["build", "-o"]).arg(&program).arg("golang_jwt.go");
    // Debian's packages lie there; nothing is fetched.
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    build.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"));
    assert_eq!(run(build).status.code(), Some(0));
    verified_by(|public, token| {
        let mut command = Command::new(&program);
        command.arg(public).args([AUDIENCE, token]);
        command
    });
}

#[test]
fn jsonwebtoken_reads_our_tokens() {
    use base64::Engine as _;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    each(|_, signer, token, tampered, _| {
        let spki = base64::engine::general_purpose::STANDARD.decode(signer.key().to_base64()).unwrap();
        let (algorithm, key) = match signer.key().algorithm() {
            Algorithm::EdDsa => (jsonwebtoken::Algorithm::EdDSA, DecodingKey::from_ed_der(&spki[12..])),
            Algorithm::Es256 => (jsonwebtoken::Algorithm::ES256, DecodingKey::from_ec_der(&spki[26..])),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[format!("https://{AUDIENCE}")]);
        validation.validate_exp = false;
        let read = decode::<Value>(token, &key, &validation).unwrap();
        assert_eq!(read.claims, serde_json::from_slice::<Value>(&part(token, 1)).unwrap());
        for token in tampered {
            assert!(decode::<Value>(token, &key, &validation).is_err(), "{token}");
        }
    });
}

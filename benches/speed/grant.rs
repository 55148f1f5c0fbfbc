//! Grants: a gate's check of a token beside the bare signature check, and making one.

use std::hint::black_box;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, decode};

use touchgate::audit::tree::leaf_hash;
use touchgate::audit::{LogSigner, Receipt};
use touchgate::digest::Sha256Digest;
use touchgate::grant::{Algorithm, GrantKeys, GrantSigner, SealedGrant, check};
use touchgate::trust::quorum::{self, Circumstances};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{self, OpenRequests, Verified};

use crate::scene::{Scene, Shape};
use crate::stats::{median, micros_each, ratio};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort, keys};

/// How many times the raw check a gate's check may take.
const CHECK: Target = Target::Most(1.2);
/// And making a token, once the log's receipt is there.
const MINT: Target = Target::Most(0.6);

/// A grant that is still sealed, and what opens it.
fn sealed(scene: &mut Scene, log: &LogSigner) -> Anyhow<(SealedGrant, Receipt)> {
    let challenge = scene.challenge()?;
    let mut requests = OpenRequests::default();
    requests.open(challenge.clone());
    let response = scene.approve(challenge.clone())?;
    let now = UnixTime::now();
    let Verified::Approved(approval) = verify::response(&response, &scene.trust, &mut requests, now)? else {
        return Err("an approval was taken for a refusal".into());
    };
    let met = quorum::decide(&scene.trust, &challenge, vec![approval], Circumstances::default(), now)?;
    let sealed = SealedGrant::new(met, Sha256Digest::of(b"evidence"), now);
    let line = sealed.entry().to_line()?;
    let checkpoint = log.sign(1, leaf_hash(line.as_bytes()));
    let receipt = Receipt::under(&checkpoint, line.as_bytes(), 0, &[])?;
    Ok((sealed, receipt))
}

/// Each algorithm's raw check, a gate's check, another library's, and making a token.
pub(crate) fn run(effort: Effort) -> Anyhow<()> {
    let (log, _) = LogSigner::generate("approve.example.com")?;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let mut scene = Scene::new(keys::Algorithm::Ed25519, Shape::Subkey)?;
        let signer = GrantSigner::from_pkcs8("1", &GrantSigner::generate(algorithm)?)?;
        let keys = GrantKeys::new(vec![signer.key().clone()])?;
        let spki = STANDARD.decode(signer.key().to_base64())?;
        // What comes before the key itself, RFC 8410 and RFC 5480.
        let (raw, prefix): (&'static dyn VerificationAlgorithm, _) = match algorithm {
            Algorithm::EdDsa => (&ED25519, 12),
            Algorithm::Es256 => (&ECDSA_P256_SHA256_FIXED, 26),
        };
        let public = spki.get(prefix..).unwrap_or_default();
        let raw = ParsedPublicKey::new(raw, public)?;
        let (peer, name) = match algorithm {
            Algorithm::EdDsa => (DecodingKey::from_ed_der(public), jsonwebtoken::Algorithm::EdDSA),
            Algorithm::Es256 => (DecodingKey::from_ec_der(public), jsonwebtoken::Algorithm::ES256),
        };
        let mut validation = Validation::new(name);
        validation.set_audience(&["approve.example.com"]);
        let mut times: [Vec<f64>; 4] = Default::default();
        let mut length = 0;
        // The first batch warms caches and does not count.
        for batch in 0..=effort.batches {
            let ready = (0..effort.batch).map(|_| sealed(&mut scene, &log)).collect::<Anyhow<Vec<_>>>()?;
            let count = ready.len();
            let (ready, receipts): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
            let (mint, grants) = micros_each(count, || {
                ready
                    .into_iter()
                    .zip(&receipts)
                    .map(|(sealed, receipt)| sealed.open(receipt, &signer))
                    .collect::<Result<Vec<_>, _>>()
            });
            let grants = grants?;
            let mut parts = Vec::with_capacity(count);
            for grant in &grants {
                let (signed, signature) = grant.token().rsplit_once('.').ok_or("no token")?;
                parts.push((signed, URL_SAFE_NO_PAD.decode(signature)?));
            }
            let (bare, done) = micros_each(count, || {
                parts.iter().try_for_each(|(signed, signature)| {
                    raw.verify_sig(black_box(signed.as_bytes()), signature)
                })
            });
            done?;
            let now = UnixTime::now();
            let (ours, done) = micros_each(count, || {
                grants.iter().try_for_each(|grant| {
                    let gate = &scene.trust.audience;
                    check(black_box(grant.token()), &keys, gate, now, None).map(drop)
                })
            });
            done?;
            let (theirs, done) = micros_each(count, || {
                grants.iter().try_for_each(|grant| {
                    decode::<serde_json::Value>(black_box(grant.token()), &peer, &validation).map(drop)
                })
            });
            done?;
            length = grants.first().map_or(0, |grant| grant.token().len());
            if batch > 0 {
                times.iter_mut().zip([bare, ours, theirs, mint]).for_each(|(all, time)| all.push(time));
            }
        }
        let [bare, ours, theirs, mint] = &times;
        let mut rows = vec![["", "us", "x raw", "target", ""].map(str::to_owned).to_vec()];
        for (name, times, target) in [
            ("raw check: aws-lc, key parsed, the same bytes", bare, Target::Reported),
            ("grant::check", ours, CHECK),
            ("jsonwebtoken, into a map", theirs, Target::Reported),
            ("SealedGrant::open, claims compared with the log's entry", mint, MINT),
        ] {
            let found = ratio(times, bare);
            let [target, verdict] = target.judge(found);
            let time = format!("{:.1}", median(times));
            rows.push(row([&name, &time, &format!("{found:.2}"), &target, &verdict]));
        }
        let count = effort.batches * effort.batch;
        print(&format!("Grants by {algorithm}, {count} tokens of {length} bytes"), &rows);
    }
    Ok(())
}

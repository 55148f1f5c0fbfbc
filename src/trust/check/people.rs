//! People who can do less than it seems: no token, a certificate at its end, evidence that is too weak for their groups.

use std::collections::BTreeSet;

use super::reach::Able;
use super::{Findings, NEAR};
use crate::trust::meant::meant;
use crate::trust::place::{Place, Source};
use crate::trust::policy::Rule;
use crate::trust::roster::{Person, Token};
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Lifetime, Tier, tier};

pub(crate) fn check(
    trust: &Trust,
    files: &Files,
    now: UnixTime,
    able: &[Able<'_>],
    findings: &mut Findings<'_>,
) {
    let named: BTreeSet<&str> =
        trust.rules().iter().flat_map(|rule| &rule.need).flat_map(|need| need.from.groups()).collect();
    for Able { person, best } in able {
        let path = format!("people/{}.toml", person.name);
        let source = Source::new(files, &path);
        let whole = Some(Place { path: path.clone(), line: 1, column: 1 });
        let place =
            |key: &str, value: &str| source.as_ref().and_then(|source| source.value(key, value, false));
        if person.tokens.is_empty() {
            findings.warning("no-token", whole.clone(), format!("{} holds no token", person.name));
        }
        if person.identities.is_empty() {
            let message = format!(
                "{} has no identity: they ask for nothing, and under a name that is nobody's they would not be known as the one who asks",
                person.name
            );
            findings.warning("no-identity", whole.clone(), message);
        }
        for group in person.groups.iter().filter(|group| !named.contains(group.as_str())) {
            let guess = meant(group, named.iter().copied());
            let guess = guess.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
            let message = format!("no rule names the group {group:?}{guess}");
            findings.warning("unused-group", place("groups", group), message);
        }
        for token in &person.tokens {
            certificate(trust, person, token, now, place("token", &token.serial), findings);
        }
        if let Ok(best) = best {
            weak(trust, person, *best, whole, &place, findings);
        }
    }
}

/// Of each token whether its certificate lasts.
fn certificate(
    trust: &Trust,
    person: &Person,
    token: &Token,
    now: UnixTime,
    place: Option<Place>,
    findings: &mut Findings<'_>,
) {
    let whose = format!("the certificate of {}'s token {}", person.name, token.serial);
    match token.key.lifetime(now) {
        Lifetime::Unlimited => {}
        Lifetime::Unusable { code } => {
            findings.error("certificate-unusable", place, format!("{whose} is of no use ({code})"));
        }
        Lifetime::Until(end) if end <= now => {
            findings.error("certificate-expired", place, format!("{whose} ended at {end}"));
        }
        Lifetime::Until(end) if end <= now.plus(NEAR) => {
            findings.warning("certificate-expires", place, format!("{whose} ends at {end}"));
        }
        Lifetime::Until(end) if end < trust.valid_until => {
            let message = format!("{whose} ends at {end}, before this trust does at {}", trust.valid_until);
            findings.warning("certificate-expires", place, message);
        }
        Lifetime::Until(_) => {}
    }
}

/// The strictest rule that names a group of theirs, if their evidence is too weak for it.
fn weak(
    trust: &Trust,
    person: &Person,
    best: Tier,
    whole: Option<Place>,
    place: &dyn Fn(&str, &str) -> Option<Place>,
    findings: &mut Findings<'_>,
) {
    let names_theirs = |rule: &&Rule| {
        let mut groups = rule.need.iter().flat_map(|need| need.from.groups());
        groups.any(|group| person.groups.iter().any(|own| own == group))
    };
    let rules = trust.rules().iter().filter(names_theirs).filter(|rule| rule.tier > best);
    let Some(rule) = rules.rev().max_by_key(|rule| rule.tier) else { return };
    let strongest = person.tokens.iter().find(|token| tier(token).0 == best);
    let (place, why) = match strongest {
        None => (whole, String::new()),
        Some(token) => {
            let why = tier(token).1.map(|reason| format!(": {reason}")).unwrap_or_default();
            (place("token", &token.serial), why)
        }
    };
    let message = format!("{}'s evidence is {best}, and {rule} wants {}{why}", person.name, rule.tier);
    findings.warning("weak-token", place, message);
}

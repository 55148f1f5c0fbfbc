use super::*;

fn load(rules: &str) -> Result<Policy, PolicyError> {
    let update = "[[rule]]\naction = \"touchgate.trust.update\"\nneed = [{ from = \"@requester\" }]\n";
    let text =
        format!("audience = \"a\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n{update}{rules}");
    Policy::new(toml::from_str(&text).unwrap())
}

fn rule(action: &str, resource: &str) -> String {
    format!(
        "[[rule]]\naction = \"{action}\"\nresource = \"{resource}\"\nneed = [{{ from = \"{action}-{resource}\" }}]\n"
    )
}

fn request(action: &str, resource: &str) -> Request {
    Request::plain(action, resource, "os:a@b")
}

#[test]
fn the_most_specific_rule_wins_in_any_order() {
    let mut rules = [
        rule("**", "**"),
        rule("deploy", "**"),
        rule("deploy", "payments/*"),
        rule("deploy", "payments/prod"),
    ];
    for _ in 0..4 {
        rules.rotate_left(1);
        let policy = load(&rules.concat()).unwrap();
        let found = |a, r| policy.rule(&request(a, r)).map(|rule| rule.to_string());
        assert_eq!(found("deploy", "payments/prod").as_deref(), Some("deploy on payments/prod"));
        assert_eq!(found("deploy", "payments/test").as_deref(), Some("deploy on payments/*"));
        assert_eq!(found("deploy", "x").as_deref(), Some("deploy on **"));
        assert_eq!(found("migrate", "x").as_deref(), Some("** on **"));
        assert_eq!(found("touchgate.trust.update", "x").as_deref(), Some("touchgate.trust.update on **"));
        assert_eq!(found("touchgate.trust.revoke", "x"), None);
    }
}

#[test]
fn the_index_finds_what_a_look_at_every_rule_finds() {
    let (actions, resources) =
        (["a", "b", "*", "**", "a/b", "a/*", "a/**"], ["x", "*", "**", "x/y", "x/*", "*/y", "x/**"]);
    let asked = [
        ("a", "x"),
        ("a/b", "x/y"),
        ("b", "z/y"),
        ("c/d", "x"),
        ("touchgate.trust.update", "x"),
        ("touchgate.a", "x"),
    ];
    let mut state = 0x2545_F491_u32;
    let mut pick = |bound: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % bound
    };
    let (mut loaded, mut found) = (0, 0);
    for _ in 0..4000 {
        let mut rules = String::new();
        for _ in 0..pick(6) {
            rules += &rule(actions[pick(actions.len())], resources[pick(resources.len())]);
            if pick(3) == 0 {
                rules += "mode = \"break-glass\"\n";
            }
        }
        let Ok(policy) = load(&rules) else { continue };
        loaded += 1;
        for (action, resource) in asked {
            for mode in [Mode::Ordinary, Mode::BreakGlass] {
                let request = Request { mode, ..request(action, resource) };
                let covering = policy.rules.iter().filter(|rule| rule.covers(&request));
                let most = covering.reduce(|best, rule| if rule.within(best) { rule } else { best });
                let rule = policy.rule(&request);
                assert_eq!(rule.map(ToString::to_string), most.map(ToString::to_string), "{rules}");
                found += usize::from(rule.is_some());
            }
        }
    }
    assert!(loaded > 1000 && found > 3000, "{loaded} {found}");
}

#[test]
fn a_debt_takes_two_to_settle() {
    let countersign = |need: &str| {
        load(&format!("[[rule]]\naction = \"{COUNTERSIGN_ACTION}\"\nresource = \"x\"\nneed = [{need}]\n"))
    };
    for few in ["{ from = \"a\" }", "{ from = \"a\" }, { from = \"@requester\" }"] {
        assert!(matches!(countersign(few), Err(PolicyError::FewCountersigners { found: 1, .. })), "{few}");
    }
    assert!(countersign("{ from = \"a\" }, { from = \"b\" }").is_ok());
    assert!(countersign("{ from = \"a\", count = 2 }").is_ok());
}

#[test]
fn who_settles_a_debt_where_no_rule_says_so() {
    let glass = "mode = \"break-glass\"\ntier = \"declared\"\n";
    let policy = load(&(rule("deploy", "**") + &rule("deploy", "x") + glass)).unwrap();
    let settles = |action: &str, resource: &str| {
        let rule =
            policy.countersign_rule(&request(COUNTERSIGN_ACTION, resource), &action.parse().unwrap())?;
        Some((rule.needs(), rule.tier))
    };
    // Of either rule, at the stricter tier; of one where there is but one.
    assert_eq!(settles("deploy", "x"), Some(("2 of deploy-** or deploy-x".into(), Tier::Attested)));
    assert_eq!(settles("deploy", "y"), Some(("2 of deploy-**".into(), Tier::Attested)));
    assert_eq!(settles("migrate", "x"), None);
}

#[test]
fn ties_do_not_load() {
    for (a, b) in [
        (("deploy", "payments/*"), ("deploy", "*/prod")),
        (("deploy", "**"), ("*", "payments/prod")),
        (("a", "b"), ("a", "b")),
    ] {
        let error = load(&(rule(a.0, a.1) + &rule(b.0, b.1))).unwrap_err();
        assert!(matches!(error, PolicyError::Ambiguous { .. }), "{a:?} {b:?}");
    }
    assert!(load(&(rule("a", "b/*") + &rule("a", "c/**"))).is_ok());
}

#[test]
fn no_update_rule_no_trust() {
    let text = "audience = \"a\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n".to_owned()
        + &rule("**", "**");
    assert_eq!(Policy::new(toml::from_str(&text).unwrap()).unwrap_err(), PolicyError::NoUpdateRule);
}

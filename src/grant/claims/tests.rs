//! Claims are read in one spelling, and in no other.

use super::*;

fn claims() -> Claims {
    let seconds = |seconds: u64| UnixTime::from_seconds(1_795_147_620 + seconds).unwrap();
    let image = Sha256Digest::of(b"test").to_string();
    Claims {
        acr: Tier::Attested,
        amr: vec!["hwk".into(), "user".into()],
        aud: "approve.example.com".parse().unwrap(),
        auth_time: seconds(0),
        authorization_details: [AuthorizationDetail {
            action: "deploy".parse().unwrap(),
            parameters: [("command", "./deploy.sh --region \u{e9}\\"), ("image", image.as_str())]
                .map(|(name, value)| (name.parse().unwrap(), Text::new(value).unwrap()))
                .into(),
            resource: "payments".parse().unwrap(),
            kind: Kind::Touchgate,
        }],
        cnf: Some(Confirmation { jkt: Sha256Digest::of(b"key") }),
        evidence: Sha256Digest::of(b"evidence"),
        exp: seconds(1140),
        iat: seconds(240),
        iss: Issuer("approve.example.com".parse().unwrap()),
        jti: "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap(),
        nbf: seconds(240),
        step_up: StepUp {
            mode: Mode::BreakGlass,
            narrow: true,
            narrowed_from: None,
            request: Sha256Digest::of(b"challenge"),
            trust: format!("7 {}", Sha256Digest::of(b"trust")).parse().unwrap(),
            uses: 2,
            via: Some("github:repo/acme".parse().unwrap()),
        },
        sub: "github:alice".parse().unwrap(),
    }
}

#[test]
fn what_is_written_is_read_and_sorted() {
    let mut plain = claims();
    (plain.cnf, plain.step_up.via) = (None, None);
    (plain.step_up.mode, plain.step_up.narrow) = (Mode::Ordinary, false);
    let mut narrowed = claims();
    narrowed.authorization_details[0].resource = "payments/prod".parse().unwrap();
    narrowed.step_up.narrowed_from = Some("payments".parse().unwrap());
    for claims in [claims(), plain, narrowed] {
        let json = claims.to_json();
        assert_eq!(Claims::parse(json.as_bytes()).as_ref(), Ok(&claims));
        assert_eq!(serde_json::Value::Object(claims.to_map()).to_string(), json);
        assert_eq!(Claims::from_map(&claims.to_map()).as_ref(), Ok(&claims));
    }
}

#[test]
fn whatever_else_stands_there_is_no_grant() {
    let json = claims().to_json();
    let changed = [
        ("{\"acr\"", "{\"x\":1,\"acr\""),
        ("{\"acr\"", "{\"sub\":\"os:a@b\",\"acr\""),
        ("\"parameters\":{", "\"parameters\":{\"image\":\"x\","),
        ("\"parameters\":{", "\"parameters\":{\"Image\":\"x\","),
        ("\"uses\":2", "\"uses\":0"),
        ("\"uses\":2", "\"uses\":2,\"uses\":3"),
        ("\"uses\":2", "\"uses\":-1"),
        ("\"uses\":2", "\"uses\":2.0"),
        ("\"uses\":2", "\"uses\":\"2\""),
        ("\"mode\":\"break-glass\"", "\"mode\":\"ordinary\""),
        ("\"mode\":\"break-glass\"", "\"mode\":null"),
        ("\"touchgate\"}]", "\"touchgate\"},{}]"),
        ("\"touchgate\"}]", "\"touchgate\"}"),
        ("\"type\":\"touchgate\"", "\"type\":\"payment\""),
        ("touch-attested", "touch-imagined"),
        ("https://", "http://"),
        ("https://approve.example.com", "https://approve.example.com/"),
        ("\"aud\":\"approve.example.com\"", "\"aud\":[\"approve.example.com\"]"),
        ("\"exp\":1795148760", "\"exp\":1795147860"),
        ("\"exp\":1795148760", "\"exp\":1795148760.5"),
        ("\"exp\":1795148760", "\"exp\":1e99"),
        ("\"exp\":1795148760", "\"exp\":99999999999999"),
        ("\"nbf\":1795147860", "\"nbf\":1795147859"),
        ("\"auth_time\":1795147620", "\"auth_time\":1795147861"),
        ("\"narrow\":true", "\"narrow\":true,\"narrowed_from\":\"pay\""),
        ("\"narrow\":true", "\"narrow\":true,\"narrowed_from\":\"payments\""),
        ("\"cnf\":{", "\"cnf\":{\"jwk\":{},"),
        ("\"jti\":\"01KA", "\"jti\":\"01ka"),
        ("}", "}}"),
        ("\"sub\":\"github:alice\"", "\"sub\":\"alice\""),
    ];
    for (from, to) in changed {
        assert!(json.contains(from), "{from}");
        let changed = json.replacen(from, to, 1);
        assert!(Claims::parse(changed.as_bytes()).is_err(), "{changed}");
    }
    for at in 0..json.len() {
        assert!(Claims::parse(&json.as_bytes()[..at]).is_err(), "{at}");
    }
}

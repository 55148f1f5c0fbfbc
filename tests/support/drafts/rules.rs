//! Who may decide what.

use crate::draft::{Draft, draft};

/// Who may decide what.
pub(crate) fn people_and_rules() -> Vec<Draft> {
    let section = "Person and rule";
    let to = |draft: Draft, resource: &'static str| draft.line("resource: payments/prod", resource);
    let from = |draft: Draft, requester: &'static str| draft.line("requester: github:alice", requester);
    let login = |draft: Draft| draft.line("action: deploy", "action: login\n");
    let countersign = |draft: Draft| {
        draft
            .line("action: deploy", "action: touchgate.countersign\n")
            .line("param.command: ./deploy.sh --region eu", "param.action: deploy\n")
            .line(
                "param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e",
                "param.request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C8\n",
            )
    };
    vec![
        draft("no-rule-action", "No rule for the action.", section, "no-rule")
            .line("action: deploy", "action: unlock\n"),
        to(
            draft("no-rule-resource", "`payments/*` is one segment.", section, "no-rule"),
            "resource: payments/prod/eu\n",
        ),
        draft(
            "no-rule-update-literal",
            "Only a rule that spells out `touchgate.` actions covers them.",
            section,
            "no-rule",
        )
        .line("action: deploy", "action: touchgate.trust.revoke\n"),
        to(
            draft("no-rule-break-glass", "An ordinary rule does not serve an emergency.", section, "no-rule"),
            "resource: staging/web\n",
        )
        .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft(
            "break-glass",
            "The emergency rule has a quorum of its own: security.",
            section,
            "approved bob declared",
        )
        .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft("break-glass-other-group", "Release engineers may not.", section, "not-allowed")
            .by("carol")
            .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft("no-reason", "An emergency rule is for those who say why.", section, "no-reason")
            .line("reason: Release 2.4.1", "mode: break-glass\n"),
        countersign(draft(
            "countersign",
            "A debt is settled by those who could have approved, by either rule: release or security.",
            section,
            "approved carol declared",
        ))
        .by("carol"),
        countersign(draft("countersign-other-group", "By nobody else.", section, "not-allowed")).by("quinn"),
        countersign(draft("no-debt", "A countersignature that names no request.", section, "no-debt"))
            .line("param.request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C8", ""),
        countersign(draft(
            "no-debt-reserved",
            "No break-glass rule covers what belongs to Touchgate, so there is nothing to settle.",
            section,
            "no-debt",
        ))
        .line("param.action: deploy", "param.action: touchgate.trust.update\n"),
        countersign(draft("no-rule-countersign", "No rule covers what was done.", section, "no-rule"))
            .line("param.action: deploy", "param.action: unlock\n"),
        draft("not-pinned-missing", "The rule pins `commit`, the request has none.", section, "not-pinned")
            .line("param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e", ""),
        draft("not-pinned-branch", "A branch moves.", section, "not-pinned")
            .line("param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e", "param.commit: main\n"),
        draft("not-pinned-short", "A short commit id is not one commit for ever.", section, "not-pinned")
            .line(
                "param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e",
                "param.commit: git:4f2c9d0\n",
            ),
        from(
            draft("unknown-requester", "Nobody's record names the requester.", section, "unknown-requester"),
            "requester: github:zoe\n",
        ),
        from(
            draft(
                "unknown-requester-issuer",
                "The same subject under another issuer is somebody else.",
                section,
                "unknown-requester",
            ),
            "requester: gitlab:alice\n",
        ),
        from(
            to(
                draft(
                    "unattended",
                    "A rule that lets unknown requesters ask.",
                    section,
                    "approved bob declared",
                ),
                "resource: night/build\n",
            ),
            "requester: github:zoe\n",
        ),
        draft("lifetime", "Open for a second longer than the rule allows.", section, "lifetime")
            .line("expires: 2026-11-20T04:22:00Z", "expires: 2026-11-20T04:22:01Z\n"),
        to(
            draft("tier-declared", "The rule demands the default, attested.", section, "tier"),
            "resource: vault/keys\n",
        ),
        draft("tier-signed", "Nobody declares that this key needs a touch.", section, "tier").by("pam"),
        to(
            draft("tier-signed-enough", "A rule that a signature satisfies.", section, "approved pam signed")
                .by("pam"),
            "resource: staging/web\n",
        ),
        draft("not-allowed-group", "In no group that the rule names.", section, "not-allowed").by("quinn"),
        draft("not-allowed-self", "The requester approves their own request.", section, "not-allowed")
            .by("alice"),
        from(
            draft(
                "not-allowed-self-other-name",
                "The same under another name of theirs.",
                section,
                "not-allowed",
            )
            .by("alice"),
            "requester: os:alice@build1\n",
        ),
        from(
            draft("not-allowed-self-refusal", "Nor may they refuse it.", section, "not-allowed").by("alice"),
            "requester: os:alice@build1\n",
        )
        .line("touchgate v1 approve", "touchgate v1 refuse\n"),
        from(
            draft(
                "requester-without-token",
                "Somebody who holds no token may ask.",
                section,
                "approved alice declared",
            )
            .by("alice"),
            "requester: github:sam\n",
        ),
        login(
            draft("step-up", "Only the requester fills `@requester`.", section, "approved alice declared")
                .by("alice"),
        ),
        login(draft("not-allowed-step-up", "Nobody else does.", section, "not-allowed")),
    ]
}

//! What was checked and what could not be, in words.

use crate::evidence::Checked;
use crate::verify::Unchecked;

pub(super) fn unchecked(unchecked: Unchecked) -> &'static str {
    match unchecked {
        Unchecked::CertificateTime => {
            "whether the certificate was valid when it was really signed (certificate-time)"
        }
        Unchecked::Counter => {
            "whether a counter is genuine, on the word of a root that trust does not name (counter)"
        }
        Unchecked::Debts => {
            "whether it had to wait for a debt of break-glass, which only the whole log shows (debts)"
        }
        Unchecked::DecisionTime => "whether it was decided when the verifier says so (decision-time)",
        Unchecked::Freshness => "whether it was answered in time (freshness)",
        Unchecked::Issued => "whether a verifier asked this (issued; pass --request)",
        Unchecked::Later => "whether keys or people were struck off afterwards (later)",
        Unchecked::Log => "whether it stands in the log (log)",
        Unchecked::OtherAnswers => {
            "whether an answer was left out, which only the whole log shows (other-answers)"
        }
        Unchecked::SingleUse => "whether it was used before (single-use)",
        Unchecked::SplitView => "whether the log shows everybody the same (split-view)",
        Unchecked::Superseded => "whether newer trust was in force already (superseded)",
    }
}

pub(super) fn checked(checked: Checked) -> &'static str {
    match checked {
        Checked::Counters => "each counter is the signing key's (counters)",
        Checked::Files => "the files of trust stand in the pinned version (files)",
        Checked::Grant => "the grant says what was approved, as the rule gives it (grant)",
        Checked::Log => "the decision stands in the log, and says the same there (log)",
        Checked::Order => "it stands there before the next version of trust (order)",
        Checked::Quorum => "the answers are enough for the decision (quorum)",
        Checked::Signatures => "each signature is an enrolled key's, valid when it was made (signatures)",
        Checked::Statements => "each statement is what was asked, but for the decision (statements)",
        Checked::Touch => "each signer's evidence of a touch is what the rule demands (touch)",
        Checked::Update => "the update leads from the pinned version to the next (update)",
        Checked::Witnesses => "witnesses saw it in the log while it could be decided (witnesses)",
    }
}

//! The first policy.toml: for one person, or for a team that begins with one.

use std::time::Duration;

use super::keys::Keys;
use crate::challenge::Audience;
use crate::unix_time::UnixTime;
use crate::verify::Tier;

/// How long trust is good for before somebody must look at it again.
const ONE_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// One person and their token.
    One,
    /// Several, the first of whom is here.
    Team,
}

/// The file.
pub(super) fn policy(whom: For, audience: &Audience, keys: &Keys, tier: Tier, now: UnixTime) -> String {
    let place = match whom {
        For::One => "on this machine. To change it: change a copy, then `touchgate trust sign` there",
        For::Team => "here. After a change: `touchgate trust check`, then `touchgate trust sign`",
    };
    let head = format!(
        "# Who may approve what {place}.\n\
         audience    = \"{audience}\"\n\
         version     = 1\n\
         valid_until = \"{}\"\n\n\
         # What the log and grants are signed with here.\n{}",
        now.plus(ONE_YEAR),
        keys.toml(),
    );
    let rules = match whom {
        For::One => one(tier),
        For::Team => team(tier),
    };
    format!("{head}\n{rules}")
}

fn one(tier: Tier) -> String {
    format!(
        "# Everything: the person who asks touches their own token.\n\
         [[rule]]\n\
         action   = \"**\"\n\
         resource = \"**\"\n\
         need     = [{{ from = \"@requester\" }}]\n\
         tier     = \"{tier}\"\n\
         answer_within = \"15m\"\n\n\
         # Changing these rules.\n\
         [[rule]]\n\
         action = \"touchgate.trust.update\"\n\
         need   = [{{ from = \"@requester\" }}]\n\
         tier   = \"{tier}\"\n\
         answer_within = \"1d\"\n"
    )
}

fn team(tier: Tier) -> String {
    format!(
        "# Two people: the one who asks, and another one of this group.\n\
         [[rule]]\n\
         action   = \"deploy\"\n\
         resource = \"**\"\n\
         need     = [{{ from = \"@requester\" }}, {{ from = \"release\" }}]\n\
         tier     = \"{tier}\"               # attested asks for more: `touchgate trust show` says what each token has\n\
         answer_within = \"1h\"\n\
         grant    = {{ lasts = \"15m\", uses = 1 }}\n\
         # pinned = [\"commit\"]            # what must be named by its digest, as run does in a clean tree of git's\n\n\
         # Changing these rules. With three admins or more, let two of them sign: count = 2.\n\
         [[rule]]\n\
         action = \"touchgate.trust.update\"\n\
         need   = [{{ from = \"admins\", count = 1 }}]\n\
         tier   = \"{tier}\"\n\
         answer_within = \"7d\"\n\n\
         # Taking a lost token out at once.\n\
         [[rule]]\n\
         action = \"touchgate.trust.revoke\"\n\
         need   = [{{ from = \"admins\" }}]\n\
         tier   = \"{tier}\"\n\
         answer_within = \"1h\"\n"
    )
}

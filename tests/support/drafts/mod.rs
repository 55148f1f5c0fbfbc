//! The cases of `fixtures/signature`, by what they are about.

mod certificates;
mod context;
mod good;
mod packets;
mod rules;
mod subpackets;

use crate::draft::Draft;

/// Every case.
pub(crate) fn all() -> Vec<Draft> {
    let drafts = [
        good::responses(),
        context::statements(),
        context::files(),
        rules::people_and_rules(),
        subpackets::areas(),
        packets::packets(),
        packets::armors(),
        certificates::keys(),
    ];
    drafts.into_iter().flatten().collect()
}

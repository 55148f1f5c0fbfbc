//! Writes `fixtures/signature` and `fixtures/trust`: every draft, from keys that never change.

use std::fs;

use touchgate::trust::{Files, versions};

use crate::case::fixtures;
use crate::drafts;
use crate::people::{self, Tree};

/// Every file below `fixtures/` that the keys and this program determine.
pub(crate) fn all() -> Tree {
    let mut tree = people::trust_directory();
    let below = |(path, bytes): (&String, &Vec<u8>)| {
        (path.strip_prefix("trust/team/").unwrap().to_owned(), bytes.clone())
    };
    let digest = versions::digest(&tree.iter().map(below).collect::<Files>());
    let statement = format!(
        "touchgate v1 approve\n\
         audience: approve.example.com\n\
         request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9\n\
         action: deploy\n\
         resource: payments/prod\n\
         param.command: ./deploy.sh --region eu\n\
         param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e\n\
         requester: github:alice\n\
         reason: Release 2.4.1\n\
         trust: 7 {digest}\n\
         nonce: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
         issued: 2026-11-20T04:07:00Z\n\
         expires: 2026-11-20T04:22:00Z\n"
    );
    for draft in drafts::all() {
        draft.write(&statement, &mut tree);
    }
    tree
}

/// Replaces everything that was generated before.
pub(crate) fn write_all() {
    people::make_missing_keys();
    let tree = all();
    let _ = fs::remove_dir_all(fixtures("trust/team"));
    for entry in fs::read_dir(fixtures("signature")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "case") {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in tree {
        let path = fixtures(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

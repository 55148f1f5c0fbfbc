#!/bin/sh
# Builds oct, pinned, into target/oct for the tests: some two minutes of two cores; does nothing where it is there.
set -eu

version=0.11.13
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
if "$target/oct/bin/oct" --version 2>/dev/null | grep -qF "$version"; then
    exit 0
fi
echo "building oct $version in $target/oct"
# Quick to build rather than quick to run, but for the KDF's millions of rounds; in a folder of its own, which is not
# needed afterwards.
CARGO_TARGET_DIR="$target/oct/build" CARGO_PROFILE_DEV_DEBUG=0 \
    "${CARGO:-cargo}" install --quiet --locked --debug --root "$target/oct" "openpgp-card-tools@$version" \
    --config profile.dev.package.openpgp-card.opt-level=3 --config profile.dev.package.sha2.opt-level=3
rm -rf "$target/oct/build"

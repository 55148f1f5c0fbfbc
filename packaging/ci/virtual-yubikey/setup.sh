#!/bin/sh
# Puts the virtual YubiKey's program and the card stack that it needs on a Debian or Ubuntu machine of a pipeline.
# It needs cargo, with Rust 1.88 or later, and root or sudo.
#
#   setup.sh [ROOT]        the program becomes ROOT/bin/virtual-openpgp-card [~/.local]
set -eu

root="${1:-$HOME/.local}"
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v cargo >/dev/null 2>&1; then
    echo "no cargo in PATH; install Rust first: https://rustup.rs" >&2
    exit 1
fi
sh "$here/../../test-packages.sh" gcc libc6-dev pcscd vsmartcard-vpcd

# Without root the card stack hides in a user name space, which Ubuntu forbids since 24.04.
switch=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if [ -e "$switch" ] && [ "$(cat "$switch")" != 0 ] && [ "$(id -u)" -ne 0 ]; then
    echo "allowing user name spaces to everybody until the next boot: $switch"
    sudo sysctl -q -w kernel.apparmor_restrict_unprivileged_userns=0
fi

# Soon there rather than a little faster.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --path "$here/../../../fixtures/virtual-card" --root "$root"
"$root/bin/virtual-openpgp-card" --version
# The program starts its command when pcscd's clients can see the card. Where it may not set up the stack, this step
# fails and says why, rather than somebody's tests.
"$root/bin/virtual-openpgp-card" -- true

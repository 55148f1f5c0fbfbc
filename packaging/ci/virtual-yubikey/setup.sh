#!/bin/sh
# Puts the virtual YubiKey's program and the card stack that it needs on a Debian or Ubuntu machine of a pipeline.
#
#   setup.sh [ROOT]        the program becomes ROOT/bin/virtual-openpgp-card [~/.local]
set -eu

root="${1:-$HOME/.local}"
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/../../test-packages.sh" gcc libc6-dev pcscd vsmartcard-vpcd

# Without root the card stack hides in a user name space, which Ubuntu forbids since 24.04.
switch=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if [ -e "$switch" ] && [ "$(cat "$switch")" != 0 ] && [ "$(id -u)" -ne 0 ]; then
    sudo sysctl -q -w kernel.apparmor_restrict_unprivileged_userns=0
fi

cargo install --quiet --locked --path "$here/../../../fixtures/virtual-card" --root "$root"
"$root/bin/virtual-openpgp-card" --version
# The stack stands, and a client sees the card, or the step fails here and says why.
"$root/bin/virtual-openpgp-card" --key ed25519 -- sh -c 'test -S "$PCSCLITE_CSOCK_NAME"'

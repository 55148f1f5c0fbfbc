#!/bin/sh
# Puts ykman, pinned with all it needs, into target/ykman for the tests; does nothing where it is there already.
set -eu

version=5.9.2
cd "$(dirname "$0")/.."
place="${CARGO_TARGET_DIR:-target}/ykman"
if "$place/bin/ykman" --version 2>/dev/null | grep -qF "$version"; then
    exit 0
fi
echo "installing ykman $version in $place"
rm -rf "$place"
python3 -m venv "$place"
"$place/bin/pip" install --quiet --disable-pip-version-check --require-virtualenv \
    --constraint packaging/ykman-constraints.txt "yubikey-manager==$version"

# `make demo` needs a Rust toolchain and a C compiler, nothing else.
# `make test` installs what it needs on Debian and Ubuntu; elsewhere it names what is missing.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Where udev looks for rules: below /usr/local and /usr by itself; from elsewhere, copy the file to /etc/udev/rules.d.
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d

# What the tests talk to, by Debian package.
PACKAGES = gcc g++ libc6-dev make pkg-config git libpcsclite-dev pcscd vsmartcard-vpcd scdaemon gnupg gpg-agent gpgv sqv \
	bash man-db opensc pcsc-tools openssh-client openssl pinentry-tty python3-venv util-linux procps libssl-dev nettle-dev libclang-dev \
	libdbus-1-dev dbus-daemon dbus-bin dunst xvfb \
	golang-go golang-golang-x-mod-dev jq xxd python3-jwt python3-cryptography golang-github-golang-jwt-jwt-dev \
	python3-jsonschema
# The feature sets that are checked; the crypto backends exclude each other, so there is no `--all-features`.
LIBRARY_ONLY = --no-default-features --features crypto-rust
NO_PCSC = --no-default-features --features cli,virtual-card,crypto-rust
DESKTOP = --features desktop-notification
OPENSSL = --no-default-features --features cli,pcsc,crypto-openssl
NETTLE = --no-default-features --features cli,pcsc,crypto-nettle

# The commands with a manual page of their own.
COMMANDS = demo init run approve refuse request verify enrol doctor card card-attest card-provision card-touch \
	card-pin-change card-pin-unblock card-pin-set-retries card-reset trust trust-add trust-check trust-diff \
	trust-show grant grant-check grant-list grant-narrow grant-revoke trust-pin trust-revoke trust-sign trust-explain \
	audit audit-counters audit-export audit-list audit-prove audit-show audit-verify

# How long each fuzz target tries new inputs, after its whole corpus.
FUZZ_SECONDS ?= 15

# What the tests said, for the tables of docs/virtual-card.md.
RESULTS = $${CARGO_TARGET_DIR:-target}/test-results.txt
TABLE = $(CARGO) run --quiet -p virtual-openpgp-card --example table --

.PHONY: all demo test unit table lint fuzz bench install packages clients

all:
	$(CARGO) build --release

demo:
	@test -e target/debug/touchgate || echo "building first: two to four minutes on two cores, nothing but cargo and a C compiler is needed"
	@$(CARGO) build --quiet $(NO_PCSC)
	@./target/debug/touchgate demo

test: packages clients lint unit fuzz
	@$(TABLE) check $(RESULTS)

# Under bash for `pipefail`: the tests' exit status, not tee's.
unit:
	@mkdir -p $$(dirname $(RESULTS))
	@bash -o pipefail -c 'CARGO_TERM_COLOR=never $(CARGO) test --workspace 2>&1 | tee $(RESULTS)'
	$(CARGO) test $(DESKTOP) --test cli_notice

# Writes the tables from the last `make unit`.
table:
	@$(TABLE) write $(RESULTS)

lint: packages
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --release --target-dir fuzz/target/instrumented --quiet -- -D warnings
	$(CARGO) clippy --quiet $(LIBRARY_ONLY) -- -D warnings
	$(CARGO) clippy --quiet $(NO_PCSC) -- -D warnings
	$(CARGO) clippy --quiet $(DESKTOP) --all-targets -- -D warnings
	$(CARGO) clippy --quiet $(OPENSSL) -- -D warnings
	$(CARGO) clippy --quiet $(NETTLE) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# `make fuzz FUZZ_SECONDS=600` for more; `sh fuzz/run.sh merge` keeps what it found.
fuzz: packages
	@CARGO="$(CARGO)" FUZZ_SECONDS=$(FUZZ_SECONDS) sh fuzz/run.sh

bench:
	$(CARGO) bench --workspace

install: all
	install -D -m 0755 target/release/touchgate $(DESTDIR)$(PREFIX)/bin/touchgate
	target/release/touchgate man | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/man/man1/touchgate.1
	for command in $(COMMANDS); do target/release/touchgate man $$(echo $$command | sed 's/^card-/card /; s/ pin-/ pin /; s/^audit-/audit /; s/^grant-/grant /; s/^trust-/trust /') | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/man/man1/touchgate-$$command.1; done
	target/release/touchgate completions bash | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/touchgate
	target/release/touchgate completions zsh | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_touchgate
	target/release/touchgate completions fish | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/touchgate.fish
	install -D -m 0644 udev/70-touchgate.rules $(DESTDIR)$(UDEVDIR)/70-touchgate.rules

# The clients that come from registries of their own, pinned, below target/.
clients:
	@sh packaging/test-ykman.sh
	@sh packaging/test-oct.sh

packages:
	@sh packaging/test-packages.sh $(PACKAGES)

# make demo | test | bench | proof | man | install DESTDIR= | lint | clean
# demo and test do all their set-up on a fresh Debian 12 machine: tests/fixture/deps.sh says what is missing, or
# installs it as root.

CARGO  ?= cargo
PROGRAM = transactional-update
HELPER = create-dirs-from-rpmdb
BUILT  ?= target/release
DESTDIR ?=
prefix  ?= /usr
sysconfdir ?= /etc
sbindir  = $(prefix)/sbin
bindir   = $(prefix)/bin
libexecdir = $(prefix)/libexec
mandir   = $(prefix)/share/man
unitdir  = $(prefix)/lib/systemd/system
generators = $(prefix)/lib/systemd/system-generators
tmpfiles = $(prefix)/lib/tmpfiles.d
dracutmodule = $(prefix)/lib/dracut/modules.d/50transactional-update
motd     = $(prefix)/lib/motd.d
snapperplugins = $(prefix)/lib/snapper/plugins

.PHONY: demo test bench proof man install install-system lint build deps root clean

build: deps
	$(CARGO) build --release --locked

deps:
	@tests/fixture/deps.sh

# the same for what mounts file systems: says so before an hour of building
root:
	@tests/fixture/deps.sh --for-root

demo: root build
	@tests/fixture/demo.sh target/release/$(PROGRAM)

# a missing privilege or tool is a failure, never a test that is passed over
test: root
	@tests/run.sh

# by hand, before a release or when its area changed: appends to docs/proofs.tsv
proof:
	@tests/fixture/deps.sh --for-proof
	$(MAKE) build
	@tests/proof/etc-in-initrd.sh target/release
	@CARGO="$(CARGO)" tests/proof/etc-as-subvolume.sh
	@CARGO="$(CARGO)" tests/proof/systemd-versions.sh
	@CARGO="$(CARGO)" tests/proof/sysupdate-peer.sh
	@CARGO="$(CARGO)" tests/proof/kill-sweep.sh
	@CARGO="$(CARGO)" tests/proof/soak.sh
	@CARGO="$(CARGO)" tests/proof/power-cut.sh
	@CARGO="$(CARGO)" tests/proof/fuzz.sh

bench: root build
	@$(CARGO) build --release --locked --example rpmdb
	@benches/side-by-side.sh target/release/$(PROGRAM)
	@benches/boot-helper.sh target/release/create-dirs-from-rpmdb target/release/examples/rpmdb
	@benches/generator.sh target/release/$(PROGRAM)-generator
	@benches/sysupdate.sh target/release/sysupdate
	@benches/sysupdate-payloads.sh target/release/sysupdate

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

man: deps
	$(CARGO) run --locked --quiet --example man -- target/man

install: build man install-system
	install -D -m 644 -t $(DESTDIR)$(mandir)/man8 target/man/*.8
	install -D -m 644 -t $(DESTDIR)$(mandir)/man5 target/man/*.5
	for p in $(PROGRAM) tukit sysupdate $(HELPER); do \
	  install -D -m 644 target/man/$$p.bash $(DESTDIR)$(prefix)/share/bash-completion/completions/$$p && \
	  install -D -m 644 target/man/_$$p $(DESTDIR)$(prefix)/share/zsh/site-functions/_$$p && \
	  install -D -m 644 target/man/$$p.fish $(DESTDIR)$(prefix)/share/fish/vendor_completions.d/$$p.fish || exit 1; done

# what a system runs, without the documents: tests put it into their machines, with the programs that BUILT names
install-system:
	install -D -m 755 -t $(DESTDIR)$(sbindir) $(BUILT)/$(PROGRAM) $(BUILT)/tukit $(BUILT)/$(HELPER)
	ln -sf $(HELPER) $(DESTDIR)$(sbindir)/create_dirs_from_rpmdb
	install -D -m 755 -t $(DESTDIR)$(bindir) $(BUILT)/sysupdate
	install -D -m 755 -t $(DESTDIR)$(libexecdir) $(BUILT)/$(PROGRAM)-sync-etc-state
	install -D -m 755 -t $(DESTDIR)$(dracutmodule) dracut/*.sh
	install -D -m 644 -t $(DESTDIR)$(dracutmodule) dracut/*.service
	install -D -m 644 -t $(DESTDIR)$(unitdir) units/*.service units/*.timer
	mkdir -p $(DESTDIR)$(unitdir)/sysinit.target.wants
	ln -sf ../$(HELPER).service $(DESTDIR)$(unitdir)/sysinit.target.wants
	mkdir -p $(DESTDIR)$(unitdir)/system-update.target.wants
	ln -sf ../$(PROGRAM)-offline.service $(DESTDIR)$(unitdir)/system-update.target.wants
	install -D -m 755 -t $(DESTDIR)$(generators) $(BUILT)/$(PROGRAM)-generator
	mkdir -p $(DESTDIR)$(motd)
	ln -sf /var/lib/transactional-update/offline/motd $(DESTDIR)$(motd)/$(PROGRAM)-offline
	install -D -m 755 -t $(DESTDIR)$(snapperplugins) snapper/50-etc
	install -D -m 644 -t $(DESTDIR)$(tmpfiles) tmpfiles.d/*.conf
	install -D -m 644 logrotate/$(PROGRAM) $(DESTDIR)$(sysconfdir)/logrotate.d/$(PROGRAM)

clean:
	$(CARGO) clean

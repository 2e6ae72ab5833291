//! What `offline prepare` leaves: a plan that is whole, of exactly what the package manager does later, without a network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use transactional_update::offline::solution::{argv, differences};
use transactional_update::offline::{Plan, Strategy, same_base, verify};
use transactional_update::package::cached::Extent;
use transactional_update::package::{Event, Summary, xml};
use transactional_update::sys::beneath;

use crate::fx::{Machine, Ran, Variant};

const STATE: &str = "/var/lib/transactional-update/offline";
const PLAN: &str = "cat /var/lib/transactional-update/offline/plan.json";
const NO_PLAN: &str = "cd /var/lib/transactional-update/offline && [ -z \"$(ls -A | grep -v json)\" ] && [ ! -e plan.json ]";
const PACKAGES: &str = "rpm -qa --qf '%{NAME} %{EVR} %{ARCH}\\n' | sort";

/// A machine that has what the repository "before" offers, and sees "after".
fn between(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.use_repository("before", &["gpgcheck=0"]);
    machine
        .tu("-q -n pkg install fx-etc fx-old fx-plug fx-down")
        .succeeds();
    machine.use_repository("after", &["gpgcheck=0"]);
    // as on openSUSE: refreshed at each call that is not told otherwise
    machine.prepare("sed -i s/autorefresh=0/autorefresh=1/ /etc/zypp/repos.d/after.repo");
    machine
}

fn prepare(machine: &Machine, what: &str) -> Plan {
    machine.tu(&format!("-q offline prepare {what}")).succeeds();
    plan(machine)
}

fn plan(machine: &Machine) -> Plan {
    let ran = machine.boot(PLAN).succeeds();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

/// What the package manager says when it is called like this, with its repositories away.
fn solution(machine: &Machine, plan: &Plan, extent: Extent, more: &str) -> (Option<Summary>, Ran) {
    let argv = argv(plan, Path::new(STATE), extent);
    let ran = machine
        .boot(&format!(
            "umount /run/repos; {argv} > /run/out; rc=$?; {more}; cat /run/out; exit $rc"
        ))
        .succeeds();
    let mut summary = None;
    for event in xml::Reader::new(ran.stdout.as_bytes()) {
        if let Event::Summary(found) = event.unwrap() {
            summary = Some(found);
        }
    }
    (summary, ran)
}

/// The directory of the state on this host, as it is in the machine.
fn copy(machine: &mut Machine, name: &str) -> PathBuf {
    let dir = machine.dir().join(name);
    std::fs::create_dir(&dir).unwrap();
    let inside = format!("/run/{name}");
    machine.bind(&dir, &inside);
    machine
        .boot(&format!("cp -a {STATE}/. {inside}/"))
        .succeeds();
    dir
}

fn stale(plan: &Plan, directory: &Path) -> Vec<String> {
    let directory = beneath::open_root(directory).unwrap();
    verify(plan, directory).map_or_else(|stale| stale.reasons().to_vec(), |()| Vec::new())
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn upgrade_is_the_plan(variant: Variant, strategy: Strategy) {
    let machine = between(variant);
    let before = machine.boot(PACKAGES).succeeds().stdout;
    let plan = prepare(&machine, "dup");
    assert_eq!(plan.strategy, strategy);
    assert_eq!(plan.base.generation.is_some(), !variant.is_read_write());
    let froms: Vec<_> = plan.install.iter().map(|p| p.from.as_deref()).collect();
    assert_eq!(froms, [Some("1:2.0-1"), Some("1.0-1"), None, None]);
    let (summary, ran) = solution(&machine, &plan, Extent::Solution, "true");
    assert_eq!(
        differences(summary.as_ref(), &plan),
        Vec::<String>::new(),
        "{ran}"
    );
    // and so it does; where the root is read-only, in a snapshot that sees the directory
    let call = argv(&plan, Path::new(STATE), Extent::All);
    let away = "umount /run/repos;";
    machine.prepare(&format!("echo 'BINDDIRS[0]={STATE}' > /etc/tukit.conf"));
    let ran = if variant.is_read_write() {
        machine.boot(&format!("{away} {call}")).succeeds()
    } else {
        machine
            .boot(&format!("{away} transactional-update run {call}"))
            .succeeds()
    };
    let after = machine.boot(PACKAGES).succeeds().stdout;
    let mut expected = lines(&before);
    for package in &plan.remove {
        let line = format!("{} {} {}", package.name, package.evr, package.arch);
        assert!(expected.remove(&line), "{line} was not there");
    }
    for package in &plan.install {
        if let Some(from) = &package.from {
            let line = format!("{} {from} {}", package.name, package.arch);
            assert!(expected.remove(&line), "{line} was not there");
        }
        expected.insert(format!("{} {} {}", package.name, package.evr, package.arch));
    }
    assert_eq!(lines(&after), expected, "{ran}");
    assert_ne!(before, after);
}

#[test]
fn an_upgrade_that_removes_replaces_and_downgrades_is_the_plan_on_a_read_write_system() {
    upgrade_is_the_plan(Variant::RwSqlite, Strategy::InPlace);
}

#[test]
fn an_upgrade_that_removes_replaces_and_downgrades_is_the_plan_on_a_read_only_system() {
    upgrade_is_the_plan(Variant::RoNdb, Strategy::NewSnapshot);
}

#[test]
fn what_was_prepared_fits_until_something_of_it_is_missing_or_another() {
    let mut machine = between(Variant::RwSqlite);
    let plan = prepare(&machine, "dup");
    let dir = copy(&mut machine, "copy");
    assert_eq!(stale(&plan, &dir), Vec::<String>::new());
    // also after the package manager has worked with it
    let (_, _) = solution(
        &machine,
        &plan,
        Extent::Solution,
        &format!("cp -a {STATE}/. /run/copy/"),
    );
    assert!(dir.join("metadata/solv/@System").exists());
    assert_eq!(stale(&plan, &dir), Vec::<String>::new());
    let spoiled = |file: &str, spoil: &dyn Fn(&Path)| {
        let path = dir.join(file);
        let bytes = std::fs::read(&path).unwrap();
        spoil(&path);
        let found = stale(&plan, &dir);
        std::fs::write(path, bytes).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    let file = format!("packages/{}", plan.install[1].file);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    assert_eq!(spoiled(&file, &flip), format!("{file} has another content"));
    assert_eq!(spoiled(&file, &remove), format!("{file} is missing"));
    let solv = "metadata/solv/after/solv";
    assert_eq!(spoiled(solv, &flip), format!("{solv} has another content"));
    assert_eq!(stale(&plan, &dir), Vec::<String>::new());
}

#[test]
fn a_system_that_was_changed_is_not_the_one_of_the_plan_and_one_that_was_looked_at_is() {
    let machine = between(Variant::RwSqlite);
    let first = prepare(&machine, "dup");
    machine
        .boot(
            "rpm -qa; rpm -V fx-etc; zypper --no-refresh search fx; snapper --no-dbus create -d x",
        )
        .succeeds();
    let again = prepare(&machine, "dup");
    assert_eq!(first.base, again.base);
    assert_ne!(first.id, again.id);
    machine.boot("rpm -e fx-plug").succeeds();
    let (summary, _) = solution(&machine, &again, Extent::Solution, "true");
    assert_eq!(
        differences(summary.as_ref(), &again),
        ["fx-plug-1.0-1.noarch would not be removed"]
    );
    let changed = prepare(&machine, "dup");
    let stale = same_base(&again, &changed.base).unwrap_err();
    assert_eq!(
        stale.reasons(),
        ["packages were installed or removed meanwhile"]
    );
}

#[test]
fn a_read_only_system_is_another_when_its_snapshot_was_changed_and_not_when_one_was_made_of_it() {
    let machine = Machine::of(Variant::RoSqlite);
    let first = prepare(&machine, "install fx-etc");
    machine
        .boot("snapper --no-dbus create -d x; transactional-update -q -d run true")
        .succeeds();
    let again = prepare(&machine, "install fx-etc");
    assert_eq!(same_base(&first, &again.base), Ok(()));
    machine
        .tu("offline prepare --strategy in-place install fx-etc")
        .exits(1)
        .says("the root is read-only");
    machine.prepare("touch /usr/new");
    let changed = prepare(&machine, "install fx-etc");
    let stale = same_base(&again, &changed.base).unwrap_err();
    assert_eq!(stale.reasons(), ["the running snapshot was changed"]);
}

#[test]
fn the_running_system_stays_as_it_is_but_for_the_state_and_the_log() {
    // what zypper notes for itself at any call, a dry run too, is not the system; what it notes of it is the same
    let listing = "find / -xdev -path /run -prune -o -printf '%p %y %m %U:%G %s %T@ %C@ %l\\n'; find /var /etc -xdev \
         \\( -path /var/lib/transactional-update -o -path /var/log -o -path /var/lib/zypp -o -path /var/tmp \\) -prune -o -printf '%p %y %m %U:%G %s %C@ %l\\n'";
    for variant in [Variant::RoSqlite, Variant::RwNdb] {
        let machine = between(variant);
        machine
            .boot(&format!(
                "mkdir -p /var/lib/transactional-update; zypper --no-refresh -n update --dry-run -y
                 notes() {{ ls /var/lib/zypp; grep -v '^#' /var/lib/zypp/AutoInstalled; }}; notes > /run/notes; {PACKAGES} > /run/packages; ({listing}) | sort > /run/before
                 transactional-update offline prepare dup || exit 90
                 ({listing}) | sort > /run/after; diff /run/before /run/after || exit 91; {PACKAGES} | diff /run/packages - || exit 92; notes | diff /run/notes - || exit 95
                 find /var/tmp /tmp -mindepth 1 | grep . && exit 93; exit 0"
            ))
            .succeeds();
    }
}

#[test]
fn what_is_not_signed_or_not_whole_makes_no_plan_and_is_named() {
    let machine = Machine::new();
    machine.prepare("rpm --import - < /run/repos/keys/fx.asc");
    let cases: [(&str, &[&str], &str, &[&str]); 8] = [
        (
            "v1",
            &[],
            "fx-lib",
            &["repository 'v1' could not be verified"],
        ),
        (
            "v1",
            &["repo_gpgcheck=0", "pkg_gpgcheck=1"],
            "fx-lib",
            &["fx-lib"],
        ),
        (
            "badrepomd",
            &[],
            "fx-signed",
            &["repository 'badrepomd' could not be verified"],
        ),
        (
            "wrongkey",
            &[],
            "fx-signed",
            &[
                "is signed with a key that is not trusted: other test key",
                "rpm --import",
            ],
        ),
        (
            "tampered",
            &[],
            "fx-signed",
            &["fx-signed-1.0-1.noarch.rpm: Payload", "BAD"],
        ),
        (
            "tampered",
            &["gpgcheck=0"],
            "fx-signed",
            &["fx-signed-1.0-1.noarch.rpm: Payload", "BAD"],
        ),
        ("badsum", &["gpgcheck=0"], "fx-etc", &["fx-etc-1.0-1"]),
        ("none-such", &["gpgcheck=0"], "fx-etc", &["none-such"]),
    ];
    for (repository, lines, package, words) in cases {
        machine.use_repository("small", &["gpgcheck=0"]);
        prepare(&machine, "install fx-caps");
        machine.use_repository(repository, lines);
        let mut ran = machine
            .tu(&format!("offline prepare install {package}"))
            .exits(1);
        for word in words {
            ran = ran.says(word);
        }
        machine.boot(NO_PLAN).succeeds();
    }
    machine.use_repository("signed", &[]);
    assert_eq!(prepare(&machine, "install fx-signed").install.len(), 1);
    // what zypper accepts without a signature is accepted
    machine.use_repository("wrongkey", &["gpgcheck=0"]);
    assert_eq!(prepare(&machine, "install fx-signed").install.len(), 1);
}

#[test]
fn nothing_to_do_makes_no_plan_and_what_cannot_be_prepared_keeps_the_last_one() {
    let machine = between(Variant::RwSqlite);
    prepare(&machine, "dup");
    for (words, why) in [
        (
            "offline prepare install ./x.rpm",
            "'./x.rpm' is a package file",
        ),
        (
            "offline prepare install --allow-unsigned-rpm fx-more",
            "the option '--allow-unsigned-rpm' is not possible",
        ),
        ("-i offline prepare dup", "asks nothing"),
        ("--root /.snapshots offline prepare dup", "/.snapshots"),
        ("offline prepare nonsense", "nonsense"),
    ] {
        let ran = machine.tu(words);
        assert_ne!(ran.code, 0, "{ran}");
        ran.says(why);
        plan(&machine);
    }
    machine
        .tu("offline prepare install fx-base")
        .succeeds()
        .says("Nothing to do");
    machine.boot(NO_PLAN).succeeds();
    let removal = prepare(&machine, "remove fx-plug");
    assert!(removal.install.is_empty());
    assert_eq!(removal.remove[0].name, "fx-plug");
    let other = prepare(
        &machine,
        "--strategy new-snapshot install --no-recommends fx-more",
    );
    assert_eq!(other.strategy, Strategy::NewSnapshot);
    machine
        .boot(
            "mkdir /var/lib/rpm-copy; cp -a /usr/lib/sysimage/rpm/. /var/lib/rpm-copy/; mount --bind /var/lib/rpm-copy /usr/lib/sysimage/rpm
             transactional-update offline prepare dup",
        )
        .exits(1)
        .says("is not in the subvolume of the root");
    // what boots next is another system than the one that it would be for
    machine
        .boot(
            "transactional-update -q run touch /usr/new; transactional-update offline prepare dup",
        )
        .exits(1)
        .says("boots next");
}

#[test]
fn a_file_that_others_changed_while_it_was_prepared_or_a_signal_makes_no_plan() {
    let machine = between(Variant::RwSqlite);
    let call = "transactional-update offline prepare dup";
    machine
        .boot(&format!(
            "TU_FAILPOINTS=offline-downloaded=touch:/run/at,offline-downloaded=wait:/run/go {call} & pid=$!
             until [ -e /run/at ]; do sleep 0.1; done; rpm -e fx-plug; touch /run/go; wait $pid"
        ))
        .exits(1)
        .says("the system was changed while the update was prepared");
    machine.boot(NO_PLAN).succeeds();
    machine
        .boot(&format!(
            "TU_FAILPOINTS=offline-downloaded=signal:TERM {call}"
        ))
        .exits(1)
        .says("interrupted by SIGTERM");
    machine.boot(NO_PLAN).succeeds();
    // the package manager itself is asked to end
    machine
        .boot(&format!(
            "mv /usr/bin/zypper /usr/bin/zypper.real
             printf '#!/bin/sh\\ntrap \"touch /run/asked; exit 1\" TERM\\ntouch /run/at\\nwhile :; do sleep 0.1; done\\n' > /usr/bin/zypper
             chmod 755 /usr/bin/zypper; {call} & pid=$!; until [ -e /run/at ]; do sleep 0.1; done; kill $pid; wait $pid; rc=$?
             mv /usr/bin/zypper.real /usr/bin/zypper; ls /run/asked || exit 9; exit $rc"
        ))
        .exits(1)
        .says("interrupted by SIGTERM");
    machine.boot(NO_PLAN).succeeds();
}

#[test]
fn a_preparation_that_is_killed_leaves_no_plan_or_a_whole_one_and_the_next_begins_anew() {
    let mut machine = between(Variant::RwSqlite);
    let log = "TU_FAILPOINTS=*=log:/run/points transactional-update -q offline prepare dup; sort -u /run/points";
    let points = machine.boot(log).succeeds().stdout;
    let points: Vec<&str> = points.lines().collect();
    for known in [
        "offline-plan-removed",
        "offline-caches-removed",
        "offline-downloaded",
        "offline-plan-begins",
        "replace-written",
        "replace-renamed",
    ] {
        assert!(points.contains(&known), "{known}: {points:?}");
    }
    let mut ends = BTreeSet::new();
    for (number, point) in points.iter().enumerate() {
        let call =
            format!("TU_FAILPOINTS={point}=kill transactional-update -q offline prepare dup");
        machine.boot(&call).exits(137);
        let there = machine.boot(&format!("[ ! -e {STATE}/plan.json ]")).code;
        ends.insert(there);
        if there != 0 {
            let dir = copy(&mut machine, &format!("copy{number}"));
            assert_eq!(
                stale(&plan(&machine), &dir),
                Vec::<String>::new(),
                "{point}"
            );
        }
        prepare(&machine, "dup");
        machine
            .boot(&format!("find {STATE} -name '.*.tu-new' | grep ."))
            .exits(1);
    }
    assert_eq!(ends.len(), 2, "both ends are seen");
}

#[test]
fn a_zypper_that_finds_no_room_on_a_read_only_root_when_all_is_downloaded_is_no_obstacle() {
    let machine = between(Variant::NestedSqlite);
    // as one that works in single transactions: it tries the transaction out, and to rpm a read-only root is full
    let full = |after: &str| {
        machine.prepare(&format!(
            r#"[ -e /usr/bin/zypper.real ] || mv /usr/bin/zypper /usr/bin/zypper.real
            cat > /usr/bin/zypper <<'EOF'
#!/bin/bash
case "$*" in *--download-only*) ;; *) exec zypper.real "$@";; esac
zypper.real "$@" > /run/said || exit
{after}
sed 's|^</stream>|<message type="error">installing package fx-etc-2.0-1.noarch needs 20KB more space on the / filesystem</message>\n&|' /run/said
exit 8
EOF
chmod 755 /usr/bin/zypper"#
        ));
    };
    full("");
    let plan = prepare(&machine, "dup");
    assert_eq!(plan.install.len(), 4);
    // what is not there is still missed, and the reason told
    full(&format!("find {STATE}/packages -name '*.rpm' -delete"));
    let ran = machine.tu("offline prepare dup").exits(1);
    ran.says("needs 20KB more space on the / filesystem");
    machine.boot(NO_PLAN).succeeds();
}

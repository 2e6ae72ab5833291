//! The merge of /etc as a program, on directories of this host.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::fx::{Ran, command, fixture, require_root};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_transactional-update-sync-etc-state");

/// Three directories: `new` (current), `old` (parent) and `base` (reference), beside each other.
struct Three(tempfile::TempDir);

impl Three {
    /// Runs a bash script in an empty directory, and copies it to the three, then `old` and `new` in theirs.
    fn new(base: &str, old: &str, new: &str) -> Three {
        Three::within(&std::env::temp_dir(), base, old, new)
    }

    fn within(dir: &Path, base: &str, old: &str, new: &str) -> Three {
        require_root();
        let three = Three(tempfile::tempdir_in(dir).unwrap());
        fs::create_dir(three.at("base")).unwrap();
        let copy = format!("set -e; cd base; {base}\ncd ..; cp -a base old; cp -a base new");
        three.bash(&copy).succeeds();
        three.bash(&format!("set -e; cd old; {old}")).succeeds();
        three.bash(&format!("set -e; cd new; {new}")).succeeds();
        three
    }

    /// The same once more, with the same times.
    fn again(&self) -> Three {
        let three = Three(tempfile::tempdir_in(self.0.path().parent().unwrap()).unwrap());
        let copied = command("cp")
            .arg("-a")
            .arg(self.at("."))
            .arg(three.0.path())
            .status();
        assert!(copied.unwrap().success());
        three
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bash(&self, script: &str) -> Ran {
        let mut command = command("bash");
        command.args(["-c", script]).current_dir(self.0.path());
        command.envs([("P", PROGRAM), ("ACL", ACL), ("LC_ALL", "C.UTF-8")]);
        Ran::new(script, command.output().unwrap())
    }

    fn merge(&self, options: &str) -> Ran {
        self.bash(&format!("exec $P {options} old new base"))
    }

    /// Everything about `new`, but when something in a directory changed.
    fn result(&self) -> Vec<String> {
        manifest(&self.at("new"))
    }

    #[track_caller]
    fn holds(&self, script: &str) {
        self.bash(&format!("set -e; cd new; {script}")).succeeds();
    }
}

pub(crate) fn manifest(dir: &Path) -> Vec<String> {
    let mut oracle = command("python3");
    oracle.arg(fixture("oracle.py")).arg(dir).arg("--list");
    let ran = Ran::new("oracle.py", oracle.output().unwrap()).succeeds();
    let lines = ran.stdout.lines().map(|line| {
        let mut cells: Vec<&str> = line.split('\t').collect();
        if cells.get(1).is_some_and(|mode| mode.starts_with("0o4")) {
            cells[6] = "-";
        }
        cells.join("\t")
    });
    lines.collect()
}

#[test]
fn the_program_starts_where_only_the_c_library_is() {
    // not every linker drops what only unused code needs, so that counts which is shipped: tests/run.sh builds it
    let built = Path::new(PROGRAM).parent().unwrap();
    let shipped = built
        .with_file_name("release")
        .join(Path::new(PROGRAM).file_name().unwrap());
    let out = command("readelf").arg("-d").arg(shipped).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let needed = text.lines().filter(|l| l.contains("(NEEDED)"));
    let needed: Vec<&str> = needed
        .filter_map(|l| l.split(['[', ']']).nth(1))
        .filter(|name| !name.starts_with("ld-linux"))
        .collect();
    assert!(needed.contains(&"libc.so.6"), "{text}");
    let allowed = ["libc.so.6", "libgcc_s.so.1", "libm.so.6"];
    assert!(needed.iter().all(|n| allowed.contains(n)), "{needed:?}");
}

#[test]
fn the_known_call_merges_and_removes_the_syncpoint() {
    let three = Three::new(
        "echo 1 > kept; echo 1 > edited; echo 1 > gone; mkdir etc.syncpoint; echo 41 > transactional-update.comparewith",
        "echo admin > edited; rm gone; echo admin > added; mkdir -p etc.syncpoint; touch etc.syncpoint/x",
        "echo update > kept; rm transactional-update.comparewith",
    );
    let ran = three.merge("").succeeds();
    assert_eq!(ran.stdout, "", "{ran}");
    three.holds("cat kept edited added > ../out; [ ! -e gone ]; [ ! -e etc.syncpoint/x ]; [ ! -e transactional-update.comparewith ]");
    three
        .bash("diff out - <<< $'update\\nadmin\\nadmin'; [ ! -e base ]")
        .succeeds();
}

#[test]
fn the_syncpoint_is_kept_when_that_is_asked_for_and_a_second_call_changes_nothing() {
    let three = Three::new("echo 1 > f", "echo 2 > f", "echo 3 > f");
    three.merge("--keep-syncpoint").succeeds().says("f.rpmsave");
    let once = three.result();
    three.merge("--keep-syncpoint").succeeds().says("f.rpmsave");
    assert_eq!(three.result(), once);
    assert!(three.at("base/f").exists());
}

#[test]
fn what_chattr_made_immutable_is_merged_and_stays_immutable() {
    let three = Three::new(
        "mkdir d; for f in edited gone d/edited only; do echo 1 > $f; done",
        "echo 2 > edited; rm gone; echo 2 > d/edited; echo 2 > d/added; ln d/added d/second; echo 2 > only",
        "true",
    );
    three
        .bash("chattr +i new/edited new/gone new/d/edited new/d; chattr +a new/only")
        .succeeds();
    let ran = three.merge("");
    let flags = three.bash("lsattr -d new/edited new/d/edited new/d new/only");
    // before anything can fail: nobody could remove the directory
    three.bash("chattr -R -ia new").succeeds();
    ran.succeeds();
    let locked: Vec<bool> = flags
        .stdout
        .lines()
        .map(|l| l.split(' ').next().is_some_and(|f| f.contains(['i', 'a'])))
        .collect();
    assert_eq!(locked, [true; 4], "{flags}");
    three.holds("cat edited d/edited d/added d/second only > ../out; [ ! -e gone ]");
    three.bash("diff out - <<< $'2\\n2\\n2\\n2\\n2'").succeeds();
}

#[test]
fn a_dry_run_prints_each_action_and_each_conflict_and_does_nothing() {
    let three = Three::new(
        "echo 1 > both; echo 1 > gone; mkdir d; touch -d @1 touched",
        "echo 2 > both; rm gone; chmod 700 d; mkdir n; ln -s x n/link; touch -d @2 touched",
        "echo 3 > both",
    );
    let before = three.result();
    for option in ["--dry-run", "-n"] {
        let ran = three.merge(option).succeeds().says("Warning: \"both\"");
        assert_eq!(
            ran.stdout,
            "keep \"both\" as \"both.rpmsave\"\nset mode of \"d\"\nremove \"gone\"\ntake \"n\"\ntake \"n/link\"\nset the time of \"touched\"\n",
            "{ran}"
        );
    }
    assert_eq!(three.result(), before);
    assert!(three.at("base/both").exists());
}

#[test]
fn a_call_that_is_not_understood_or_names_nothing_fails_and_changes_nothing() {
    let three = Three::new("echo 1 > f", "echo 2 > f", "true");
    let before = three.result();
    for words in [
        "old new",
        "old new base more",
        "--unknown old new base",
        "old new nothing",
        "nothing new base",
        "old/f new base",
    ] {
        three.bash(&format!("exec $P {words}")).exits(1);
    }
    assert_eq!(three.result(), before);
    three.bash("exec $P --help").succeeds().says("PARENT");
}

#[test]
fn an_etc_that_is_empty_is_not_taken_for_one_whose_files_were_all_removed() {
    let three = Three::new("echo 1 > f; echo 1 > g", "rm f g", "echo 2 > g");
    let before = three.result();
    for option in ["-n", ""] {
        three.merge(option).exits(1).says("old is empty");
        assert_eq!(three.result(), before);
        assert!(three.at("base/f").exists());
    }
    // what a snapshot has in the place of a syncpoint that is a subvolume, and what is left of one that was merged
    let three = Three::new(
        "true",
        "mkdir -p .snapshots/1/snapshot/etc; echo 2 > .snapshots/1/snapshot/etc/f",
        "mkdir -p etc/etc.syncpoint; echo 1 > etc/f",
    );
    three.bash("$P --sysroot new").succeeds();
    three.holds("[ $(cat etc/f) = 1 ]; [ ! -e etc/etc.syncpoint ]");
    // but one that only lacks its note is something else
    let three = Three::new(
        "true",
        "true",
        "mkdir -p etc/etc.syncpoint; touch etc/etc.syncpoint/f",
    );
    three
        .bash("$P --sysroot new")
        .exits(1)
        .says("transactional-update.comparewith");
    three.holds("[ -e etc/etc.syncpoint/f ]");
}

#[test]
fn names_that_a_shell_or_a_terminal_would_not_take_are_merged() {
    let names = [
        &b"with\nnewline"[..],
        b"\xff\xfe not UTF-8",
        b"-rf",
        b" ",
        b"$(touch x)",
        b"\\ * ? [",
        b"\x1b[31m",
    ];
    let three = Three::new("mkdir d", "true", "true");
    for name in names {
        let name = std::ffi::OsString::from_vec(name.to_vec());
        fs::write(three.at("old/d").join(&name), "admin").unwrap();
    }
    let long = "x".repeat(255);
    for (dir, text) in [("base", "1"), ("old", "2"), ("new", "3")] {
        fs::write(three.at(dir).join(&long), text).unwrap();
    }
    let ran = three.merge("").succeeds();
    assert!(!ran.stderr.contains('\x1b'), "{ran}");
    assert_eq!(manifest(&three.at("new/d")), manifest(&three.at("old/d")));
    let saved = format!("{}.rpmsave", "x".repeat(247));
    assert_eq!(fs::read(three.at("new").join(saved)).unwrap(), b"2");
}

/// An ACL in the kernel's form: the owner, user 7, the group, the mask and the others.
pub(crate) const ACL: &str =
    "0x0200000001000600ffffffff020006000700000004000400ffffffff10000600ffffffff20000400ffffffff";

#[test]
fn modes_owners_attributes_and_acls_are_those_of_the_side_that_changed_them() {
    let three = Three::new(
        "touch mode owner nul acl cap both; mkdir d-mode d-owner d-acl d-drop d-default d-both; setfattr -n user.gone -v x both
         setfattr -n system.posix_acl_access -v $ACL d-drop",
        "chmod 4711 mode; chown 1:2 owner; setfattr -n user.nul -v 0x610062 nul; setfattr -n system.posix_acl_access -v $ACL acl
         setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 cap; setfattr -x user.gone both
         chmod 2770 d-mode; chown 3:4 d-owner; setfattr -n system.posix_acl_access -v $ACL d-acl; chmod 1777 d-acl
         setfattr -x system.posix_acl_access d-drop; chmod 750 d-drop; setfattr -n system.posix_acl_default -v $ACL d-default
         chmod 700 d-both; chmod 700 .",
        "chown 9 d-both; touch d-acl/new; setfattr -n user.here -v y d-mode",
    );
    three.merge("").succeeds();
    three.holds("touch -r ../old both mode owner nul acl cap"); // times were taken over, others were not changed
    let attributes = |dir: &str| {
        let script = format!("cd {dir}; for f in mode owner nul acl cap both d-mode d-owner d-acl d-drop d-default .; do
            stat -c '%n %a %u %g' $f; getfattr -hd -m - -e hex $f | grep = | grep -v user.here || :; done");
        three.bash(&script).succeeds().stdout
    };
    assert_eq!(attributes("new"), attributes("old"));
    three.holds(
        "[ $(stat -c %u:%a d-both) = 9:700 ]; getfattr -n user.here d-mode; [ -e d-acl/new ]",
    );
}

#[test]
fn links_types_devices_and_hard_links_are_taken_over() {
    let three = Three::new(
        "ln -s a link; echo 1 > to-dir; echo 1 > to-link; mkdir to-file; echo 1 > to-file/in; mkdir d; ln -s d to-real-dir
         echo 1 > one; ln one two; echo 1 > apart; ln apart together",
        "ln -sfn /nowhere link; rm to-dir; mkdir to-dir; echo 2 > to-dir/in; ln -sf /etc/passwd to-link; rm -r to-file; echo 2 > to-file
         rm to-real-dir; mkdir to-real-dir; echo 2 > to-real-dir/in; mkfifo -m 620 fifo; mknod -m 640 null c 1 3; ln -s x dangling
         echo 2 > one; echo 1 > names1; ln names1 names2; mkdir s; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s/socket\")'",
        "echo 3 > apart.new; mv apart.new apart",
    );
    three.merge("").succeeds();
    three.holds(
        "[ $(readlink link) = /nowhere ]; [ $(cat to-dir/in) = 2 ]; [ $(readlink to-link) = /etc/passwd ]; [ $(cat to-file) = 2 ]
         [ ! -L to-real-dir ]; [ $(cat to-real-dir/in) = 2 ]; [ $(stat -c %F:%a fifo) = fifo:620 ]; [ $(stat -c %t:%T:%a null) = 1:3:640 ]
         [ -L dangling ]; [ $(cat one two | xargs) = '2 2' ] 2>/dev/null || [ \"$(cat one two | xargs)\" = '2 2' ]
         [ $(stat -c %i one) = $(stat -c %i two) ]; [ $(stat -c %i names1) = $(stat -c %i names2) ]
         [ $(cat apart) = 3 ]; [ $(cat together) = 1 ]; [ -d s ]; [ ! -e s/socket ]; [ ! -e d/in ]",
    );
    three
        .bash("[ \"$(cat /etc/passwd | head -c 4)\" = root ]")
        .succeeds();
}

#[test]
fn what_both_sides_changed_or_removed_is_kept_beside_it_and_told() {
    let three = Three::new(
        "for f in both same removed-here removed-there name; do echo 1 > $f; done; mkdir gone; echo 1 > gone/edited; echo 1 > gone/kept
         mkdir here; echo 1 > here/a; echo 1 > here/b; mkdir dir-file; echo 1 > dir-file/x",
        "echo admin > both; echo same > same; rm removed-here; echo admin > removed-there; echo admin > name; echo old > name.rpmsave
         echo admin > gone/edited; echo admin > gone/added; rm -r here; echo admin > dir-file/x",
        "echo update > both; echo same > same; echo update > removed-here; rm removed-there; echo update > name; rm -r gone
         echo update > here/b; echo update > here/new; echo theirs > both.rpmsave; rm -r dir-file; echo update > dir-file",
    );
    let ran = three.merge("").succeeds();
    let conflicts = [
        "\"both\" was changed on both sides: the new version stays, yours is \"both.1.rpmsave\"",
        "\"dir-file\" was changed on both sides: the new version stays, yours is \"dir-file.rpmsave\"",
        "\"gone/edited\" was changed on both sides: the new version stays, yours is \"gone/edited.rpmsave\"",
        "\"here/b\", which you had removed, was changed by the update: it is there again",
        "\"name\" was changed on both sides: the new version stays, yours is \"name.1.rpmsave\"",
        "\"removed-here\", which you had removed, was changed by the update: it is there again",
        "\"removed-there\" was changed on both sides: the new version stays, yours is \"removed-there.rpmsave\"",
    ];
    let told: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(told, conflicts.map(|c| format!("Warning: {c}")), "{ran}");
    three.holds(
        "for f in both removed-here name here/b here/new dir-file; do [ $(cat $f) = update ]; done
         for f in both.1 removed-there name.1 gone/edited; do [ $(cat $f.rpmsave) = admin ]; done
         [ $(cat dir-file.rpmsave/x) = admin ]; [ $(cat gone/added) = admin ]; [ $(cat name.rpmsave) = old ]; [ $(cat both.rpmsave) = theirs ]
         [ ! -e gone/kept ]; [ ! -e gone/edited ]; [ ! -e here/a ]; [ ! -e removed-there ]; [ ! -e same.rpmsave ]",
    );
}

#[test]
fn a_change_of_the_same_size_in_the_same_second_is_merged() {
    let three = Three::new(
        "echo 1 > f; touch -d @1000 f",
        "echo 2 > f; touch -d @1000 f",
        "true",
    );
    three.merge("").succeeds();
    three.holds("[ $(cat f) = 2 ]");
}

#[test]
fn what_is_mounted_in_it_is_left_alone() {
    let three = Three::new(
        "mkdir m d; echo 1 > m/f; echo 1 > file",
        "rm -r m/f; mkdir n; echo 2 > file",
        "true",
    );
    let script = "unshare -m --propagation private sh -ec '
        mount -t tmpfs t new/m; echo theirs > new/m/f; mount -t tmpfs t old/n; touch old/n/x; mount --bind old/d new/d
        $P old new base; cat new/m/f; ls -A new/n 2>&1 || :'";
    let ran = three.bash(script).succeeds();
    assert!(ran.stdout.starts_with("theirs\n"), "{ran}");
    ran.says("Warning: \"m\" is not merged")
        .says("Warning: \"n\"");
    three.holds("[ $(cat m/f) = 1 ]; [ $(cat file) = 2 ]; [ ! -e n/x ]");
}

/// Where files are made fast, if that keeps attributes (since Linux 6.6).
fn in_memory() -> PathBuf {
    let probe = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    let set = command("setfattr")
        .args(["-n", "user.x", "-v", "y"])
        .arg(probe.path())
        .output()
        .unwrap();
    match set.status.success() {
        true => PathBuf::from("/dev/shm"),
        false => std::env::temp_dir(),
    }
}

/// Scripts for `base`, `old` and `new` that make a merge with each kind of action.
pub(crate) const EVERYTHING: [&str; 3] = [
    "for f in edited both gone there time; do echo 1 > $f; touch -d @5 $f; done; mkdir d; echo 1 > d/a; mkdir dd; echo 1 > dd/a; ln -s a link
         mkdir away; echo 1 > away/a; echo 1 > away/b; echo 1 > leaf; setfattr -n system.posix_acl_access -v $ACL d",
    "echo admin > edited; echo admin > both; rm gone; echo admin > there; touch -d @9 time; rm -r dd; echo leaf > dd; ln -sfn b link
         rm leaf; mkdir -m 2750 leaf; echo admin > leaf/in; echo admin > leaf/in2; echo admin > away/a; rm d/a; chown 1:2 d
         setfattr -x system.posix_acl_access d; chmod 1730 d; setfattr -n user.x -v y d; mkdir -p new/deep; echo n > new/deep/f; ln new/deep/f new/f2
         mkdir tree; echo 1 > tree/1; mkdir tree/2; echo 3 > tree/2/3",
    "echo update > both; rm there; rm -r away; echo file > tree",
];

fn everything() -> Three {
    let [base, old, new] = EVERYTHING;
    Three::within(&in_memory(), base, old, new)
}

#[test]
fn interrupted_at_every_step_a_second_run_gives_the_same_tree() {
    let untouched = everything();
    let whole = untouched.again();
    whole.merge("").succeeds();
    assert!(!whole.at("base").exists());
    let wanted = whole.result();
    let points = [
        ("etc-step", 20),
        ("etc-written", 8),
        ("etc-made", 12),
        ("etc-exchanged", 2),
        ("etc-applied", 1),
        ("etc-marked", 1),
        ("etc-forgetting", 10),
    ];
    for (point, at_least) in points {
        for time in 1.. {
            let three = untouched.again();
            let ran = three.bash(&format!(
                "TU_FAILPOINTS={point}@{time}=kill exec $P old new base"
            ));
            if ran.code == 0 {
                assert!(
                    time > at_least,
                    "{point} was passed {} times only",
                    time - 1
                );
                break;
            }
            ran.exits(137);
            // a cut while the syncpoint goes: everything is done, the next run only removes the rest
            three.merge("").succeeds();
            assert_eq!(three.result(), wanted, "{point}@{time}");
            assert!(!three.at("base").exists(), "{point}@{time}");
        }
    }
}

#[test]
fn an_error_at_any_step_is_told_and_a_second_run_gives_the_same_tree() {
    let untouched = everything();
    let whole = untouched.again();
    whole.merge("").succeeds();
    for point in [
        "etc-step@3",
        "etc-written@2",
        "etc-made@4",
        "etc-exchanged",
        "etc-applied",
        "etc-marked",
        "etc-forgetting@2",
    ] {
        let three = untouched.again();
        three
            .bash(&format!("TU_FAILPOINTS={point}=error exec $P old new base"))
            .exits(1)
            .says("failpoint etc-");
        three.merge("").succeeds();
        assert_eq!(three.result(), whole.result(), "{point}");
    }
}

#[test]
fn a_hundred_thousand_files_are_merged_with_few_descriptors_and_little_memory() {
    let three = Three::within(
        Path::new("/dev/shm"),
        "python3 -c 'import os
for d in range(100):
    os.mkdir(f\"{d}\")
    for f in range(1000): open(f\"{d}/{f}\", \"w\").write(f\"{d} {f}\")'",
        "for d in {0..99}; do echo admin > $d/500; rm $d/501; done; echo admin > 7/new",
        "for d in {0..99}; do echo update > $d/502; done",
    );
    three
        .bash("ulimit -n 24; ulimit -v 200000; exec $P old new base")
        .succeeds();
    three.holds("[ $(cat */500 7/new | sort | uniq -c | xargs | tr ' ' -) = 101-admin ]; [ $(cat */502 | uniq) = update ]; [ ! -e 3/501 ]; [ $(find . -type f | wc -l) = 99901 ]");
    assert!(!three.at("base").exists());
}

#[test]
fn a_deep_tree_is_merged_with_few_descriptors() {
    let three = Three::within(
        Path::new("/dev/shm"),
        "d=$(printf 'd/%.0s' {1..1900}); mkdir -p $d; echo 1 > $d/f",
        "echo admin > $(printf 'd/%.0s' {1..1900})/f; d=s/$(printf 'd/%.0s' {1..1900}); mkdir -p $d; echo admin > $d/f",
        "echo update > s",
    );
    three.bash("ulimit -n 24; exec $P old new base").succeeds();
    for above in ["", "s.rpmsave/"] {
        three.holds(&format!(
            "[ $(cat {above}$(printf 'd/%.0s' {{1..1900}})/f) = admin ]"
        ));
    }
}

#[test]
fn a_directory_that_is_too_deep_for_any_path_stops_nothing() {
    let deep = "import os
for n in range(40): os.mkdir(\"x\" * 200); os.chdir(\"x\" * 200)";
    let three = Three::new(
        "echo 1 > f",
        &format!("echo 2 > f; mkdir n; cd n; python3 -c '{deep}'"),
        // the copies are made: cp could not make them of this
        &format!("cd ../base; mkdir s; cd s; python3 -c '{deep}'"),
    );
    let ran = three.merge("").succeeds().says("is not merged");
    assert!(!three.at("base").exists(), "{ran}");
    three.holds("[ $(cat f) = 2 ]; [ -d n/$(printf 'x%.0s' {1..200}) ]");
    // what is left cannot be removed by a path
    three.bash("rm -rf old new").succeeds();
}

#[test]
fn a_copy_whose_path_would_be_too_long_stops_nothing_and_is_told() {
    let deep = "import os
for top in (\"base\", \"old\", \"new\"):
    os.chdir(f\"../{top}\"); here = os.open(\".\", os.O_RDONLY)
    for n in range(20): os.mkdir(\"x\" * 200); os.chdir(\"x\" * 200)
    open(\"y\" * 70, \"w\").write(top); os.fchdir(here)";
    let three = Three::new("echo 1 > f", "echo 2 > f", &format!("python3 -c '{deep}'"));
    three.merge("").succeeds().says("is not merged");
    three.holds("[ $(cat f) = 2 ]; for n in {1..20}; do cd $(printf 'x%.0s' {1..200}); done; [ $(cat y*) = new ]");
}

#[test]
fn a_full_disk_is_told_and_the_syncpoint_stays() {
    let three = Three::new(
        "echo 1 > f",
        "head -c 3M /dev/urandom > big; echo 2 > f",
        "true",
    );
    let script = "unshare -m --propagation private sh -ec '
        mkdir small; mount -t tmpfs -o size=1M t small; cp -a new small/new
        if $P old small/new base; then exit 9; fi; ls -A small/new; cat base/f
        mount -o remount,size=20M small; $P old small/new base; cmp old/big small/new/big; cat small/new/f; ls -A small/new'";
    let ran = three.bash(script).succeeds().says("No space left");
    assert_eq!(ran.stdout, ".etc-merge.tu-new\nf\n1\n2\nbig\nf\n", "{ran}");
}

#[test]
fn each_file_is_on_disk_before_it_gets_its_name_and_everything_before_the_syncpoint_goes() {
    let three = everything();
    let calls = "openat,fsync,syncfs,renameat,renameat2,unlinkat";
    three
        .bash(&format!("strace -o calls -e trace={calls} $P old new base"))
        .succeeds();
    let log = fs::read_to_string(three.at("calls")).unwrap();
    let (mut unsynced, mut placed, mut is_synced, mut is_marked) = (false, 0, false, false);
    for line in log.lines() {
        if line.contains("O_CREAT") && line.contains("\"new\"") {
            unsynced = true;
        } else if line.starts_with("fsync(") {
            unsynced = false;
        } else if line.starts_with("rename") {
            assert!(!unsynced, "not on disk at {line}\n{log}");
            assert!(!is_marked, "{log}");
            (placed, is_synced) = (placed + 1, false);
        } else if line.starts_with("syncfs(") {
            is_synced = true;
        } else if line.contains("O_CREAT") && line.contains(".merged.tu-new") {
            assert!(is_synced, "not on disk at {line}\n{log}");
            (is_marked, is_synced) = (true, false);
        } else if line.starts_with("unlinkat(") && is_marked {
            assert!(is_synced, "the mark is not on disk at {line}\n{log}");
        }
    }
    assert!(placed > 10 && is_marked, "{log}");
}

#[test]
fn comparing_leaves_no_trace_in_what_is_compared() {
    let three = Three::new(
        "echo 1 > f; echo 1 > g",
        "touch -a -d @5 f; echo 2 > g",
        "true",
    );
    let times = "stat -c '%n %X %Y %Z' old/f old/g new/f base/f base/g";
    three.bash("touch -a -d @7 new/f base/f base/g").succeeds();
    let before = three.bash(times).stdout;
    three.merge("--keep-syncpoint").succeeds();
    assert_eq!(three.bash(times).stdout, before);
}

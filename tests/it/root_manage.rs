//! Going back, dropping an update, status, list, and working on a mounted system.

use serde_json::{Value, json};

use crate::fx::{Machine, Ran, Variant};

/// Shell functions that make snapshots of other programs: `snapshot N [USERDATA...]`, `info N [USERDATA...]`,
/// a USERDATA being `KEY=VALUE`; and `state`, which prints all that rollback and discard may change. The snapshots
/// have an /etc also where that is a subvolume, as those of snapper have with our plugin.
const FOREIGN: &str = r#"
info() {
  local n=$1 pair; shift
  { echo "<?xml version=\"1.0\"?><snapshot><type>single</type><num>$n</num><date>2026-01-02 03:04:05</date>"
    echo "<description>foreign $n</description><cleanup>number</cleanup>"
    for pair; do echo "<userdata><key>${pair%%=*}</key><value>${pair#*=}</value></userdata>"; done
    echo "</snapshot>"; } > /.snapshots/$n/info.xml; }
snapshot() {
  local of=/.snapshots/1/snapshot new=/.snapshots/$1/snapshot
  mkdir /.snapshots/$1; btrfs -q subvolume snapshot $of $new
  if [ "$(stat -c %i $of/etc)" = 256 ]; then rmdir $new/etc; btrfs -q subvolume snapshot $of/etc $new/etc; fi
  btrfs property set -ts $new ro true; info "$@"; }
state() { { btrfs subvolume get-default /; btrfs subvolume list -u /; } | sed "s/ gen [0-9]*//"; ls -A /.snapshots; tail -n +1 /.snapshots/*/info.xml; }
next() { btrfs subvolume set-default "$(btrfs inspect-internal rootid /.snapshots/$1/snapshot)" /.snapshots; }
"#;

/// What cannot be gone back to: #20 is of a running transaction of another program, #21 is not understood, #22
/// has no subvolume, #23 no info.xml, #24 describes another snapshot.
const STRANGE: &str = "
snapshot 20 transactional-update-in-progress=yes
snapshot 21; echo '<snapshot><num>21</num><description>cut o' > /.snapshots/21/info.xml
mkdir /.snapshots/22; info 22
snapshot 23; rm /.snapshots/23/info.xml
snapshot 24; sed -i 's/<num>24/<num>1/' /.snapshots/24/info.xml
";

fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!("{FOREIGN}{script}"))
}

fn parse(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

/// Makes and boots snapshot after snapshot: #2 has /usr/2, #3 has /usr/2 and /usr/3, and so on. The last one runs.
fn booted_chain(machine: &Machine, last: u32) {
    for number in 2..=last {
        machine
            .tu(&format!("-q run touch /usr/{number}"))
            .succeeds();
    }
    machine.tu("boot-complete").succeeds();
}

/// The same, with a boot of each.
fn each_booted(machine: &Machine, last: u32) {
    for number in 2..=last {
        machine.boot(&format!("transactional-update boot-complete && transactional-update -q run touch /usr/{number}")).succeeds();
    }
    machine.tu("boot-complete").succeeds();
}

// --- rollback -------------------------------------------------------------------------------------------------

fn rollback_alone(variant: Variant) {
    let machine = Machine::of(variant);
    let script = "transactional-update -q run touch /usr/new; transactional-update rollback; transactional-update rollback";
    let ran = machine
        .boot(script)
        .succeeds()
        .says("Snapshot 1 is the next system.\n");
    ran.says("Snapshot 1 is already the next one.\n")
        .does_not_say("rollback last");
    machine.holds(&[1, 2], 1);
    machine.boot("test ! -e /usr/new").succeeds();
}

#[test]
fn rollback_alone_drops_a_pending_update_on_a_read_only_system() {
    rollback_alone(Variant::usual());
}

#[test]
fn rollback_alone_drops_a_pending_update_on_a_read_write_system_and_copies_nothing() {
    rollback_alone(Variant::RwSqlite);
}

#[test]
fn rollback_alone_says_that_nothing_is_pending_and_where_rollback_last_would_go() {
    let machine = Machine::new();
    each_booted(&machine, 3);
    let ran = machine
        .boot(&format!(
            "{FOREIGN} state; transactional-update rollback >&2; state"
        ))
        .succeeds();
    let state: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(state[..state.len() / 2], state[state.len() / 2..], "{ran}");
    ran.says("Snapshot 3 is already the next one; `rollback last` goes to #2.\n");
}

#[test]
fn rollback_to_a_number_boots_that_snapshot_itself_and_protects_it_from_cleanup() {
    let machine = Machine::new();
    each_booted(&machine, 3);
    let ran = boot(
        &machine,
        "cat /.snapshots/2/info.xml; transactional-update rollback 2 >&2; cat /.snapshots/2/info.xml",
    );
    let ran = ran.succeeds().says("Snapshot 2 is the next system.\n");
    let (before, after) = ran.stdout.split_at(ran.stdout.rfind("<?xml").unwrap());
    assert_eq!(
        after,
        before.replace("  <cleanup>number</cleanup>\n", ""),
        "only the cleanup algorithm goes"
    );
    assert!(before.contains("<cleanup>number"), "{ran}");
    machine.holds(&[1, 2, 3], 2);
    let look = "findmnt -n -o FSROOT,OPTIONS /; ls /usr; btrfs property get -ts / ro";
    let ran = machine
        .boot(look)
        .succeeds()
        .says("/@/.snapshots/2/snapshot")
        .says(" ro,")
        .says("ro=true");
    let names: Vec<&str> = ran.stdout.lines().collect();
    assert!(names.contains(&"2") && !names.contains(&"3"), "{ran}");
}

#[test]
fn rollback_to_a_number_on_a_read_write_system_boots_a_writable_copy_and_keeps_the_running_one() {
    let machine = Machine::of(Variant::RwSqlite);
    each_booted(&machine, 3);
    let ran = boot(&machine, "touch /usr/live; transactional-update rollback 2").succeeds();
    ran.says("Snapshot 5, a read-write copy of #2, is the next system; the running one was saved as #4.\n");
    machine.holds(&[1, 2, 3, 4, 5], 5);
    let look = "findmnt -n -o FSROOT,OPTIONS /; for n in 2 3 4 5; do echo $n: $(cd /.snapshots/$n/snapshot/usr; echo 2* 3* live*) \
        $(btrfs property get -ts /.snapshots/$n/snapshot ro); done; touch /usr/writable";
    let ran = machine
        .boot(look)
        .succeeds()
        .says("/@/.snapshots/5/snapshot")
        .says(" rw,");
    ran.says("2: 2 3* live* ro=false")
        .says("3: 2 3 live ro=false")
        .says("4: 2 3 live ro=true")
        .says("5: 2 3* live* ro=false");
    let list = parse(&machine.tu("list --json").succeeds());
    let of = |n: usize| list["snapshots"][n - 1].clone();
    assert_eq!(
        (&of(4)["base"], &of(4)["cleanup"], &of(4)["description"]),
        (
            &json!(3),
            &json!("number"),
            &json!("Backup of #3 before rollback to #2")
        )
    );
    assert_eq!(
        (&of(5)["base"], &of(5)["cleanup"], &of(5)["description"]),
        (&json!(2), &json!(""), &json!("Copy of #2"))
    );
    assert_eq!(
        of(2)["cleanup"],
        "number",
        "the snapshot that was copied stays what it was"
    );
    for n in [4, 5] {
        assert_eq!(
            of(n)["userdata"]
                .as_object()
                .unwrap()
                .keys()
                .collect::<Vec<_>>(),
            ["tu-base"],
            "{list}"
        );
    }
}

#[test]
fn rollback_to_the_next_system_says_so_and_makes_no_copy() {
    let machine = Machine::of(Variant::RwSqlite);
    machine
        .boot("transactional-update -q run true; transactional-update rollback 2")
        .succeeds()
        .says("Snapshot 2 is already the next one");
    machine.holds(&[1, 2], 2);
}

#[test]
fn rollback_last_goes_to_the_newest_older_snapshot_that_ran() {
    let machine = Machine::new();
    each_booted(&machine, 3);
    // one that is newer than #2, older than the running one and never ran
    machine
        .boot("transactional-update -q run true; transactional-update -q --no-continue run true")
        .succeeds();
    machine.holds(&[1, 2, 3, 4, 5], 5);
    machine.tu("boot-complete").succeeds();
    machine
        .tu("rollback last")
        .succeeds()
        .says("Snapshot 3 is the next system.\n");
    machine.holds(&[1, 2, 3, 4, 5], 3);
    machine
        .tu("rollback last")
        .succeeds()
        .says("Snapshot 2 is the next system.\n");
    machine
        .tu("rollback last")
        .succeeds()
        .says("Snapshot 1 is the next system.\n");
    machine.holds(&[1, 2, 3, 4, 5], 1);
    machine
        .boot("findmnt -n -o FSROOT /")
        .succeeds()
        .says("/@/.snapshots/1/snapshot");
}

#[test]
fn rollback_last_on_a_read_write_system_copies_the_last_one_that_ran() {
    let machine = Machine::of(Variant::RwSqlite);
    each_booted(&machine, 2);
    machine
        .tu("rollback last")
        .succeeds()
        .says("Snapshot 4, a read-write copy of #1");
    machine.holds(&[1, 2, 3, 4], 4);
    machine.boot("test ! -e /usr/2 && touch /usr/x").succeeds();
}

#[test]
fn rollback_last_says_when_no_older_snapshot_is_known_to_have_run() {
    for prepare in ["", "snapshot 5; next 5"] {
        let machine = Machine::new();
        boot(&machine, prepare).exits(0);
        let ran = boot(
            &machine,
            "state; transactional-update rollback last >&2; rc=$?; state; exit $rc",
        )
        .exits(1);
        let state: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(state[..state.len() / 2], state[state.len() / 2..], "{ran}");
        ran.says("no snapshot is known to have run before #")
            .says("`rollback N` takes one");
    }
}

fn strange_targets(variant: Variant) {
    let machine = Machine::of(variant);
    boot(&machine, STRANGE).succeeds();
    let rollback = "for n in 99 20 21 22 23 24 0 -1 x 4294967296; do transactional-update rollback $n >&2; echo \"$n: $?\" >&2; done";
    let ran = boot(&machine, &format!("state; {rollback}; state")).succeeds();
    let state: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        state[..state.len() / 2],
        state[state.len() / 2..],
        "something changed\n{ran}"
    );
    let ran = ran.says("there is no snapshot 99; `list` shows those there are\n99: 1\n");
    let ran = ran.says(
        "snapshot 20 belongs to a transaction that has not ended; it cannot be booted\n20: 1\n",
    );
    let ran = ran
        .says("the info.xml of snapshot 21 is not understood (")
        .says("21: 1\n");
    let ran = ran.says("snapshot 22 has no subvolume; it cannot be booted\n22: 1\n");
    let ran = ran.says("snapshot 23 has no info.xml; whether it is whole is not known\n23: 1\n");
    let ran = ran
        .says("of snapshot 24 is not understood (it says it describes snapshot 1)")
        .says("24: 1\n");
    let ran = ran
        .says("\"0\" is no snapshot number; use `rollback N` or `rollback last`\n0: 1\n")
        .says("-1: 1\n");
    ran.says("\"x\" is no snapshot number")
        .says("x: 1\n")
        .says("4294967296: 1\n")
        .does_not_say("is the next system");
}

#[test]
fn rollback_to_what_cannot_be_booted_is_refused_on_a_read_only_system() {
    strange_targets(Variant::usual());
}

#[test]
fn rollback_to_what_cannot_be_booted_is_refused_on_a_read_write_system() {
    strange_targets(Variant::RwSqlite);
}

#[test]
fn rollback_to_a_snapshot_without_what_the_boot_loader_needs_is_refused() {
    for variant in [Variant::usual(), Variant::RwSqlite] {
        let machine = Machine::of(variant);
        let no_kernel = "d=/.snapshots/5/snapshot; snapshot 5; btrfs property set -ts $d ro false; echo menuentry > $d/boot/grub2/grub.cfg";
        boot(&machine, no_kernel).succeeds();
        let ran = boot(
            &machine,
            "state; transactional-update rollback 5 >&2; rc=$?; state; exit $rc",
        )
        .exits(1);
        let state: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(
            state[..state.len() / 2],
            state[state.len() / 2..],
            "something changed\n{ran}"
        );
        ran.says("snapshot 5 is not made the next one")
            .says("boot/vmlinuz cannot be read");
        machine.holds(&[1, 5], 1);
    }
}

// --- discard --------------------------------------------------------------------------------------------------

#[test]
fn discard_deletes_the_pending_update_and_boots_the_running_system_next() {
    let machine = Machine::new();
    let ran = machine.boot("transactional-update -q run touch /usr/new; transactional-update discard; transactional-update status");
    ran.succeeds()
        .says("Deleted #2; snapshot 1 is the next system.\n")
        .says("Next boot: #1\n")
        .does_not_say("Pending");
    machine.holds(&[1], 1);
    machine.boot("test ! -e /usr/new").succeeds();
}

#[test]
fn discard_deletes_a_whole_chain_of_pending_updates() {
    for words in ["discard", "discard 4"] {
        let machine = Machine::new();
        let make = "for n in 2 3 4; do transactional-update -q run touch /usr/$n; done";
        let ran = machine
            .boot(&format!("{make}; transactional-update {words}"))
            .succeeds();
        ran.says("Deleted #4, #3, #2; snapshot 1 is the next system.\n");
        machine.holds(&[1], 1);
    }
}

#[test]
fn discard_says_when_no_update_is_pending() {
    let machine = Machine::new();
    each_booted(&machine, 2);
    machine
        .tu("discard")
        .succeeds()
        .says("No update is pending.\n");
    machine.holds(&[1, 2], 2);
}

#[test]
fn discard_of_a_snapshot_that_is_not_pending_is_refused() {
    let machine = Machine::new();
    each_booted(&machine, 3);
    boot(&machine, STRANGE).succeeds();
    let discard = "transactional-update -q run true; state; for n in 99 1 2 3 20 21 22 23; do transactional-update discard $n >&2; echo \"$n: $?\" >&2; done";
    let ran = boot(&machine, &format!("{discard}; state")).succeeds();
    let state: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        state[..state.len() / 2],
        state[state.len() / 2..],
        "something changed\n{ran}"
    );
    let mut ran = ran.says("there is no snapshot 99; `list` shows those there are\n99: 1\n");
    for n in [1, 2, 3, 20, 21, 22, 23] {
        ran = ran.says(&format!("snapshot {n} is neither the pending update nor one kept after a failure; it is not deleted\n{n}: 1\n"));
    }
    machine.tu("discard 0").exits(1);
}

#[test]
fn discard_of_a_kept_snapshot_deletes_that_one_only() {
    let machine = Machine::new();
    let script = "transactional-update -k run false; transactional-update -q run true; transactional-update discard 2";
    machine
        .boot(script)
        .succeeds()
        .says("snapshot 2 was kept")
        .says("Deleted #2; snapshot 3 is the next system.\n");
    machine.holds(&[1, 3], 3);
}

#[test]
fn a_kept_snapshot_whose_deletion_is_cut_off_is_removed_by_the_next_command() {
    for point in ["deleted-subvolume", "deleted-etc"] {
        let machine = Machine::of(Variant::NestedSqlite);
        let script = format!(
            "transactional-update -k run false; TU_FAILPOINTS={point}=kill transactional-update discard 2; transactional-update boot-complete"
        );
        machine.boot(&script).succeeds().says("Removed snapshot 2");
        machine.holds(&[1], 1);
    }
}

#[test]
fn discard_does_not_touch_a_pending_snapshot_of_another_program() {
    let machine = Machine::new();
    let ran = boot(
        &machine,
        "snapshot 5; next 5; state; transactional-update discard >&2; rc=$?; state; exit $rc",
    )
    .exits(1);
    let state: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        state[..state.len() / 2],
        state[state.len() / 2..],
        "something changed\n{ran}"
    );
    ran.says("the pending snapshot 5 was not made from the running system by transactional-update")
        .says("`rollback` makes #1 the next one");
    machine.holds(&[1, 5], 5);
}

#[test]
fn nothing_is_continued_after_a_rollback_or_a_discard() {
    for undo in ["rollback", "rollback 1", "discard"] {
        let machine = Machine::new();
        let script = format!(
            "transactional-update -q run touch /usr/dropped; transactional-update {undo}; transactional-update run touch /usr/new"
        );
        machine
            .boot(&script)
            .succeeds()
            .says("Base: #1 (the running system)\n")
            .does_not_say("pending");
        machine
            .boot("test -e /usr/new && test ! -e /usr/dropped")
            .succeeds();
    }
}

#[test]
fn nothing_is_continued_after_a_rollback_to_an_older_snapshot() {
    for variant in [Variant::usual(), Variant::RwSqlite] {
        let machine = Machine::of(variant);
        each_booted(&machine, 3);
        let ran = machine
            .boot("transactional-update -q rollback 2; transactional-update run touch /usr/new")
            .succeeds();
        let left_out = if variant.is_read_write() { 5 } else { 2 };
        ran.says(&format!(
            "Base: #3 (the running system; the pending #{left_out} will not be part of it"
        ));
        machine
            .boot("test -e /usr/new && test -e /usr/3")
            .succeeds();
    }
}

#[test]
fn an_update_that_was_booted_and_gone_back_from_is_never_continued() {
    let machine = Machine::new();
    booted_chain(&machine, 2);
    machine.tu("rollback 1").succeeds();
    let script = format!("{FOREIGN} next 2; transactional-update run touch /usr/new");
    machine
        .boot(&script)
        .succeeds()
        .says("Base: #1 (the running system; the pending #2 will not be part of it");
    machine
        .boot("test -e /usr/new && test ! -e /usr/2")
        .succeeds();
}

// --- status, list, boot-complete ------------------------------------------------------------------------------

#[test]
fn list_and_status_show_every_flag_as_text_and_as_json() {
    let machine = Machine::new();
    let prepare = "transactional-update -q -k run false; transactional-update -q run true; transactional-update -q run true
        snapshot 30 important=yes 'a=&lt;b&gt; &amp; \"c\"'; transactional-update list --json";
    let ran = boot(
        &machine,
        &format!(
            "{STRANGE}{prepare}; transactional-update list >&2; transactional-update status >&2"
        ),
    )
    .succeeds();
    let list = parse(&ran);
    assert_eq!(list["schema"], 1);
    let snapshots = list["snapshots"].as_array().unwrap();
    let entry = |n: u64| {
        snapshots
            .iter()
            .find(|s| s["number"] == n)
            .unwrap_or_else(|| panic!("no #{n}\n{ran}"))
    };
    let numbers: Vec<u64> = snapshots
        .iter()
        .map(|s| s["number"].as_u64().unwrap())
        .collect();
    // #25 was kept, #26 and #27 are pending: numbers follow the highest there is
    assert_eq!(numbers, [1, 20, 21, 22, 23, 24, 25, 26, 27, 30]);
    for (n, flags) in [
        (1, json!(["booted", "current"])),
        (20, json!(["in-progress"])),
        (21, json!(["broken"])),
        (22, json!(["broken"])),
        (23, json!(["broken"])),
        (24, json!(["broken"])),
        (25, json!(["kept"])),
        (26, json!([])),
        (27, json!(["default", "pending"])),
        (30, json!(["important"])),
    ] {
        assert_eq!(entry(n)["flags"], flags, "#{n}\n{ran}");
    }
    assert_eq!(
        (&entry(27)["base"], &entry(27)["read_only"]),
        (&json!(26), &json!(true))
    );
    assert_eq!(
        (&entry(22)["read_only"], &entry(22)["problem"]),
        (&Value::Null, &json!("the subvolume is missing"))
    );
    assert_eq!(entry(23)["problem"], "info.xml is missing");
    assert_eq!(
        entry(30)["userdata"],
        json!({"important": "yes", "a": "<b> & \"c\""}).clone()
    );
    assert!(entry(1).get("problem").is_none(), "{ran}");
    let row = |n: &str| {
        ran.stderr
            .lines()
            .find(|l| l.trim_start().starts_with(&format!("{n} ")))
            .unwrap_or_else(|| panic!("no #{n}\n{ran}"))
    };
    assert!(
        row("27").contains("default,pending") && row("27").ends_with("Snapshot Update of #26"),
        "{ran}"
    );
    assert!(
        row("30").contains("important")
            && row("30").contains("2026-01-02 03:04:05")
            && row("30").ends_with("foreign 30"),
        "{ran}"
    );
    let ran = ran
        .says("Running: #1\nNext boot: #27\nPending: #27 since 20")
        .says("Made from: #27 <- #26 <- #1\n");
    ran.says("Reboot to switch to it; `rollback` keeps #1 instead.\n")
        .says("In progress: #20\n")
        .says("Kept after a failure: #25\n");
}

#[test]
fn list_shows_the_booted_snapshot_as_the_default_one_when_nothing_is_pending() {
    let machine = Machine::new();
    let ran = machine.tu("list --json").succeeds();
    assert_eq!(
        parse(&ran)["snapshots"][0]["flags"],
        json!(["booted", "current", "default"]),
        "{ran}"
    );
    let status = parse(&machine.tu("status --json").succeeds());
    let nothing = json!([]);
    assert_eq!(
        (
            &status["pending"],
            &status["reboot_needed"],
            &status["attention"]
        ),
        (&Value::Null, &json!(false), &nothing)
    );
    let ran = machine.tu("status").succeeds();
    assert_eq!(ran.stdout, "Running: #1\nNext boot: #1\n", "{ran}");
}

#[test]
fn status_as_json_tells_what_runs_and_what_boots_next() {
    let machine = Machine::new();
    let make = "transactional-update -q -k run false; transactional-update -q run true; snapshot 9 transactional-update-in-progress=yes";
    let ran = boot(
        &machine,
        &format!("{make}; transactional-update status --json"),
    )
    .succeeds();
    let mut status = parse(&ran);
    let since = status["pending"]["since"].take();
    assert_eq!(
        since.as_str().map(str::len),
        Some("2026-01-02 03:04:05".len()),
        "{ran}"
    );
    let expected = json!({
        "schema": 1, "booted": 1, "current": 1, "default": 3, "next": 3, "reboot_needed": true,
        "pending": {"snapshot": 3, "since": null, "lineage": [3, 1]},
        "in_progress": [9], "open": [], "kept": [2], "etc": {"lost": [], "conflicts": []}, "attention": [],
    });
    assert_eq!(status, expected);
}

#[test]
fn status_succeeds_with_broken_snapshots_of_other_programs_and_names_them() {
    let machine = Machine::new();
    boot(&machine, STRANGE).succeeds();
    let ran = machine
        .tu("status")
        .succeeds()
        .says("Running: #1\nNext boot: #1\nIn progress: #20\n");
    let ran = ran
        .says("Attention: the info.xml of snapshot 21 is not understood")
        .says("Attention: snapshot 22 has no subvolume");
    ran.says("Attention: snapshot 23 has no info.xml")
        .says("Attention: the info.xml of snapshot 24 is not understood");
    let status = parse(&machine.tu("status --json").succeeds());
    assert_eq!(status["attention"].as_array().unwrap().len(), 4, "{status}");
}

#[test]
fn status_names_a_default_subvolume_that_is_no_snapshot() {
    let machine = Machine::new();
    let script = "btrfs subvolume set-default 5 /.snapshots; transactional-update status; transactional-update status --json >&2";
    let ran = machine
        .boot(script)
        .succeeds()
        .says("Running: #1\nNext boot: no snapshot\n");
    ran.says(
        "Attention: the default subvolume is no snapshot; `rollback N` makes one the next system",
    )
    .says("\"next\": null");
}

#[test]
fn status_and_list_work_while_a_transaction_runs_and_name_it() {
    let machine = Machine::new();
    let script = "transactional-update -q run sh -c 'until [ -e /root/go ]; do sleep .05; done' & until [ -e /.snapshots/2/snapshot/usr ]; do sleep .05; done
         transactional-update status; transactional-update list; touch /root/go; wait $!";
    let ran = machine
        .boot(script)
        .succeeds()
        .says("Next boot: #1\nIn progress: #2\n");
    ran.says("in-progress").does_not_say("Attention");
    machine.holds(&[1, 2], 2);
}

#[test]
fn boot_complete_marks_the_booted_snapshot_once_and_nothing_else() {
    let machine = Machine::new();
    let ran = boot(
        &machine,
        "snapshot 5; cat /.snapshots/*/info.xml >&2; transactional-update boot-complete; sleep 1.1; transactional-update list --json",
    );
    let first = parse(&ran.succeeds());
    assert!(
        first["snapshots"][0]["userdata"]["tu-booted"].is_string(),
        "{first}"
    );
    assert_eq!(first["snapshots"][1]["userdata"], json!({}), "{first}");
    let second = parse(
        &machine
            .boot("transactional-update boot-complete; transactional-update list --json")
            .succeeds(),
    );
    assert_eq!(first, second, "the first boot is what counts");
}

// --- a system that is mounted somewhere -------------------------------------------------------------------------

#[test]
fn a_mounted_system_is_changed_from_outside_and_boots_with_the_change() {
    let machine = Machine::new();
    let script = r#"
        tu() { "$TU" --root "$FX_ROOT" "$@"; }
        before=$(stat -c %y:%i:%s /run/reboot-needed /var/log/transactional-update.log /var/lib/transactional-update 2>&1)
        tu status && tu -n pkg install fx-lib && tu run sh -c 'touch /usr/ran; rpm -q fx-lib' && tu status && tu list || exit
        [ "$before" = "$(stat -c %y:%i:%s /run/reboot-needed /var/log/transactional-update.log /var/lib/transactional-update 2>&1)" ] || exit 91
        [ ! -e "$FX_ROOT/run/reboot-needed" ] || exit 92
        [ ! -e "$FX_ROOT/usr/ran" ] || exit 93
        cat "$FX_ROOT/var/lib/transactional-update/history.jsonl" "$FX_ROOT/var/log/transactional-update.log" >&2"#;
    let ran = machine
        .outside(script)
        .succeeds()
        .says("Mounted: #1\nNext boot: #1\n")
        .says("Install 1/1: fx-lib-1.0-1.noarch");
    let ran = ran
        .says("Snapshot 2 is the next system. It boots next")
        .says("fx-lib-1.0-1.noarch\n")
        .says("Base: #2 (pending");
    let ran = ran
        .says("Mounted: #1\nNext boot: #3\nPending: #3")
        .does_not_say("booted");
    let ran = ran
        .says("\"result\":\"published\",\"snapshot\":2,\"base\":1")
        .says("\"result\":\"published\",\"snapshot\":3,\"base\":2");
    ran.says("INFO called as: transactional-update --root");
    machine.holds(&[1, 2, 3], 3);
    machine.boot("rpm -q fx-lib && test -e /usr/ran").succeeds();
}

#[test]
fn a_mounted_system_is_rolled_back_and_its_update_discarded_from_outside() {
    let machine = Machine::new();
    let tu = "tu() { \"$TU\" --root \"$FX_ROOT\" \"$@\"; }; export FX_ROOT;";
    let script = "tu -q run true; tu -q run true; tu discard && tu list --json >&2; tu -q run true; tu rollback; tu rollback";
    let ran = machine
        .outside(&format!("{tu}{script}"))
        .succeeds()
        .says("Deleted #3, #2; snapshot 1 is the next system.\n");
    ran.says("Snapshot 1 is the next system.\n")
        .says("Snapshot 1 is already the next one.\n");
    machine.holds(&[1, 2], 1);
    machine
        .outside(&format!("{tu} tu rollback 2"))
        .succeeds()
        .says("Snapshot 2 is the next system.\n");
    machine.holds(&[1, 2], 2);
    machine
        .outside(&format!("{tu} tu rollback last"))
        .exits(1)
        .says("no snapshot is known to have run before");
}

#[test]
fn a_failed_command_leaves_a_mounted_system_as_it_was() {
    let machine = Machine::new();
    let script = "\"$TU\" --root \"$FX_ROOT\" -n pkg install fx-badpost; echo \"install: $?\"; \"$TU\" --root \"$FX_ROOT\" run false; echo \"run: $?\"";
    machine
        .outside(script)
        .succeeds()
        .says("install: 1\n")
        .says("run: 1\n")
        .says("fx-badpost");
    machine.holds(&[1], 1);
}

#[test]
fn a_mounted_system_without_its_snapshots_directory_is_refused_with_what_to_mount() {
    let machine = Machine::new();
    let script = "umount \"$FX_ROOT/.snapshots\"; for c in status list 'run true' rollback discard; do \"$TU\" --root \"$FX_ROOT\" $c; echo \"$c: $?\"; done";
    let mut ran = machine
        .outside(script)
        .succeeds()
        .says("/root/.snapshots is not a btrfs subvolume")
        .says("mounted there");
    for command in ["status", "list", "run true", "rollback", "discard"] {
        ran = ran.says(&format!("{command}: 1\n"));
    }
    machine.holds(&[1], 1);
    machine
        .outside("\"$TU\" --root /nonexistent status")
        .exits(1)
        .says("--root /nonexistent")
        .says("No such file");
    machine
        .outside("\"$TU\" --root /proc status")
        .exits(1)
        .says("/proc is not on btrfs");
}

#[test]
fn a_root_that_is_slash_is_the_running_system() {
    let machine = Machine::new();
    machine
        .tu("--root / status")
        .succeeds()
        .says("Running: #1\n");
}

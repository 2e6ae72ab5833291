//! Living with snapper: each sees the other's snapshots and deletes what it may.

use serde_json::{Value, json};

use crate::fx::{Machine, Ran};

/// `snapper`, as it works without its daemon.
const SNAPPER: &str = "s() { snapper --no-dbus -c root \"$@\"; }; ";

/// A machine with our plugin of snapper, as a system has it: without, snapper can neither delete a snapshot that has
/// an /etc of its own nor make one that boots.
fn with_plugin() -> Machine {
    let machine = Machine::new();
    machine.install();
    machine
}

fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!("{SNAPPER}{script}"))
}

fn parse(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

/// The entry of snapshot `number` in the JSON of `list` or of snapper.
fn entry(list: &Value, number: u32) -> Value {
    let list = list
        .get("snapshots")
        .or_else(|| list.get("root"))
        .and_then(Value::as_array);
    let found = list
        .and_then(|l| l.iter().find(|s| s["number"] == number))
        .cloned();
    found.unwrap_or_else(|| panic!("no #{number} in {list:?}"))
}

#[test]
fn snapper_lists_our_snapshots_with_description_cleanup_and_userdata() {
    let machine = Machine::new();
    boot(
        &machine,
        "transactional-update boot-complete && transactional-update -q run touch /usr/new",
    )
    .succeeds();
    let ran = boot(
        &machine,
        "transactional-update -q -k run false; s --jsonout list",
    )
    .succeeds();
    let list = parse(&ran);
    let (first, second, kept) = (entry(&list, 1), entry(&list, 2), entry(&list, 3));
    assert_eq!(
        (&second["description"], &second["cleanup"], &second["type"]),
        (
            &json!("Snapshot Update of #1"),
            &json!("number"),
            &json!("single")
        )
    );
    assert_eq!(
        (&second["default"], &second["active"], &second["pre-number"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert!(
        second["userdata"]["tu-base"]
            .as_str()
            .unwrap()
            .starts_with("1:"),
        "{list}"
    );
    assert!(
        first["userdata"]["tu-booted"]
            .as_str()
            .unwrap()
            .starts_with("20"),
        "{list}"
    );
    assert_eq!(kept["userdata"]["tu-kept"], "yes", "{list}");
    assert_eq!(second["date"].as_str().map(str::len), Some(19), "{list}");
}

#[test]
fn snapper_sees_a_running_transaction_as_one_that_is_in_progress() {
    let machine = Machine::new();
    let script = "transactional-update -q run sh -c 'until [ -e /root/go ]; do sleep .05; done' & until [ -e /.snapshots/2/snapshot/usr ]; do sleep .05; done
         s --jsonout list; touch /root/go; wait $!; s --jsonout list >&2";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(
        entry(&parse(&ran), 2)["userdata"]["transactional-update-in-progress"],
        "yes",
        "{ran}"
    );
    let after: Value = serde_json::from_str(&ran.stderr[ran.stderr.find('{').unwrap()..]).unwrap();
    assert_eq!(
        entry(&after, 2)["userdata"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["tu-base"],
        "{ran}"
    );
}

#[test]
fn snapshots_of_snapper_are_listed_with_everything_it_wrote() {
    let machine = Machine::new();
    let create = "s create --description 'by <hand> & \"more\"' --userdata 'a=b,important=yes' -c number
        pre=$(s create --type pre --print-number --description before); s create --type post --pre-number $pre --description after -c timeline
        s --jsonout list >&2; transactional-update list --json";
    let ran = boot(&machine, create).succeeds();
    let ours = parse(&ran);
    let theirs: Value = serde_json::from_str(&ran.stderr).unwrap();
    for number in [2, 3, 4] {
        let (ours, theirs) = (entry(&ours, number), entry(&theirs, number));
        for field in ["description", "cleanup", "date"] {
            assert_eq!(ours[field], theirs[field], "{field} of #{number}\n{ran}");
        }
        let userdata = if theirs["userdata"].is_null() {
            json!({})
        } else {
            theirs["userdata"].clone()
        };
        assert_eq!(ours["userdata"], userdata, "#{number}\n{ran}");
        assert_eq!(
            (&ours["read_only"], &ours["base"]),
            (&json!(true), &Value::Null),
            "#{number}\n{ran}"
        );
    }
    assert_eq!(
        entry(&ours, 2)["userdata"],
        json!({"a": "b", "important": "yes"})
    );
    assert_eq!(
        (&entry(&ours, 2)["flags"], &entry(&ours, 3)["flags"]),
        (&json!(["important"]), &json!([]))
    );
    let text = machine
        .tu("list")
        .succeeds()
        .says("by <hand> & \"more\"")
        .says("before")
        .says("after");
    text.says("timeline").says("important");
}

#[test]
fn snapper_deletes_our_snapshots_and_nothing_is_left_of_them() {
    let machine = with_plugin();
    boot(&machine, "transactional-update -q run touch /usr/2").succeeds();
    boot(&machine, "transactional-update -q run touch /usr/3; transactional-update rollback; s delete 3 && s delete 1").succeeds();
    machine.holds(&[2], 2);
    let left = "ls -A /.snapshots; btrfs subvolume list / | grep 'snapshots/[^2]'; transactional-update status";
    let ran = machine.boot(left).succeeds();
    assert_eq!(ran.stdout, "2\nRunning: #2\nNext boot: #2\n", "{ran}");
    // what was deleted underneath us is no base and does no harm
    machine
        .tu("run touch /usr/4")
        .succeeds()
        .says("Base: #2 (the running system)");
}

#[test]
fn snapper_refuses_to_delete_what_boots_next() {
    let machine = Machine::new();
    boot(&machine, "transactional-update -q run true; s delete 2").says("next to be mounted");
    machine.holds(&[1, 2], 2);
}

#[test]
fn snappers_cleanup_takes_ours_by_number_and_leaves_the_running_and_the_next_one() {
    let machine = with_plugin();
    machine.prepare("sed -i -E 's/^(NUMBER_LIMIT(_IMPORTANT)?)=.*/\\1=\"0\"/; s/^NUMBER_MIN_AGE=.*/NUMBER_MIN_AGE=\"0\"/' /etc/snapper/configs/root");
    boot(
        &machine,
        "for n in 1 2 3; do transactional-update -q --no-continue run true; done; s cleanup number",
    )
    .succeeds();
    machine.holds(&[1, 4], 4);
}

#[test]
fn snappers_cleanup_leaves_what_is_open_or_kept_until_it_is_forgotten() {
    let machine = with_plugin();
    machine.prepare("sed -i -E 's/^(NUMBER_LIMIT(_IMPORTANT)?)=.*/\\1=\"0\"/; s/^NUMBER_MIN_AGE=.*/NUMBER_MIN_AGE=\"0\"/' /etc/snapper/configs/root");
    boot(
        &machine,
        "tukit -q open; transactional-update -q -k run false; transactional-update -q run true
         s cleanup number; transactional-update -q cleanup-snapshots; s cleanup number; ls -d /.snapshots/2/snapshot/usr",
    )
    .succeeds();
    machine.holds(&[1, 2, 3, 4], 4);
    boot(
        &machine,
        "forgotten() { sed -i \"s|<value>$(cat /proc/sys/kernel/random/boot_id)|<value>earlier|\" /.snapshots/2/info.xml; }
         forgotten; transactional-update -q cleanup-snapshots; tukit -q call 2 true; s cleanup number
         ls -d /.snapshots/2/snapshot/usr || exit; forgotten; transactional-update -q cleanup-snapshots; s cleanup number",
    )
    .succeeds();
    // #1 no longer runs
    machine.holds(&[3, 4], 4);
}

#[test]
fn a_number_is_given_twice_only_where_snapper_may() {
    for (unique, next) in [("no", 2), ("yes", 3)] {
        let machine = Machine::new();
        machine.prepare(&format!(
            "echo 'UNIQUE_NUMBERS=\"{unique}\"' >> /etc/snapper/configs/root"
        ));
        let script = "transactional-update -q run true; transactional-update discard && transactional-update list >&2 &&
            transactional-update status && transactional-update run true";
        let ran = boot(&machine, script)
            .succeeds()
            .says("Running: #1\nNext boot: #1\n")
            .does_not_say("Attention");
        ran.does_not_say("missing")
            .says(&format!("Snapshot {next} is the next system"));
        boot(&machine, "s list >&2; transactional-update status")
            .succeeds()
            .does_not_say("Attention");
    }
}

#[test]
fn the_mark_of_a_boot_keeps_everything_that_snapper_wrote() {
    let machine = with_plugin();
    let create = "pre=$(s create --type pre --print-number --description 'a & <b>'); s create --type post --pre-number $pre --description after -c timeline --userdata k=v
        sed -i 's|</snapshot>|  <uid>1000</uid>\\n  <later from=\"another version\"><x/></later>\\n</snapshot>|' /.snapshots/3/info.xml
        btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/3/snapshot) /.snapshots
        s --jsonout list; stat -c '%a %u:%g' /.snapshots/3/info.xml >&2";
    let before = boot(&machine, create).succeeds();
    let after = boot(&machine, "transactional-update boot-complete; s --jsonout list; stat -c '%a %u:%g' /.snapshots/3/info.xml >&2").succeeds();
    assert_eq!(before.stderr, after.stderr, "mode and owner\n{after}");
    let (mut was, mut is) = (entry(&parse(&before), 3), entry(&parse(&after), 3));
    for list in [&mut was, &mut is] {
        list["active"] = Value::Null; // it runs now
    }
    assert!(
        is["userdata"]
            .as_object_mut()
            .unwrap()
            .remove("tu-booted")
            .is_some(),
        "{after}"
    );
    assert_eq!(is, was);
    assert_eq!(
        (&is["type"], &is["pre-number"], &is["user"]),
        (&json!("post"), &json!(2), &json!("user"))
    );
    let xml = machine.boot("cat /.snapshots/3/info.xml").succeeds();
    xml.says("<uid>1000</uid>")
        .says("<pre_num>2</pre_num>")
        .says("<x/>");
}

#[test]
fn a_snapshot_of_snapper_is_a_base_for_a_transaction() {
    let machine = Machine::of(crate::fx::Variant::RwSqlite);
    let script = "touch /usr/then; s create -c number; rm /usr/then; touch /usr/now; transactional-update -c 2 run touch /usr/new";
    boot(&machine, script)
        .succeeds()
        .says("Base: #2 (as asked)")
        .says("Snapshot 3 is the next system");
    machine
        .boot("test -e /usr/then && test -e /usr/new && test ! -e /usr/now")
        .succeeds();
    let list = parse(&machine.tu("list --json").succeeds());
    assert_eq!(
        (&entry(&list, 3)["base"], &entry(&list, 3)["read_only"]),
        (&json!(2), &json!(true)),
        "{list}"
    );
}

#[test]
fn our_snapshots_are_members_of_the_quota_group_that_snapper_uses() {
    let machine = Machine::new();
    machine.prepare("sed -i 's|^QGROUP=.*|QGROUP=\"1/0\"|' /etc/snapper/configs/root; btrfs quota enable /.snapshots; btrfs qgroup create 1/0 /.snapshots");
    let script = "for n in 2 3; do transactional-update -q run true; btrfs inspect-internal rootid /.snapshots/$n/snapshot; done
        btrfs qgroup show -p --raw /.snapshots >&2";
    let ran = boot(&machine, script).succeeds();
    let ids: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(ids.len(), 2, "{ran}");
    for id in ids {
        let row = ran
            .stderr
            .lines()
            .find(|l| l.split_whitespace().next() == Some(&format!("0/{id}")))
            .unwrap();
        assert!(
            row.split_whitespace().any(|word| word == "1/0"),
            "{id} is in no group\n{ran}"
        );
    }
}

#[test]
fn a_quota_group_that_does_not_exist_does_not_stop_a_transaction() {
    let machine = Machine::new();
    machine.prepare("sed -i 's|^QGROUP=.*|QGROUP=\"1/0\"|' /etc/snapper/configs/root");
    machine.tu("run true").succeeds();
    machine.boot("btrfs quota enable /.snapshots").succeeds();
    machine
        .tu("run true")
        .succeeds()
        .says("QGROUP in /etc/snapper/configs/root names does not exist; snapshot 3 is in none");
    machine.holds(&[1, 2, 3], 3);
}

// --- a thousand snapshots -------------------------------------------------------------------------------------

/// Makes snapshots FROM to TO, each with its own /etc where that is a subvolume. Many at a time share a commit, and
/// without barriers none waits for this host's disk.
const MANY: &str = r#"
mount -o remount,nobarrier /.snapshots
for ((n = FROM; n <= TO; n++)); do
  mkdir /.snapshots/$n
  echo "<?xml version=\"1.0\"?><snapshot><type>single</type><num>$n</num><date>2026-01-02 03:04:05</date><description>number $n</description><cleanup>number</cleanup></snapshot>" > /.snapshots/$n/info.xml
done
many() { seq FROM TO | xargs -P 50 -I{} btrfs -q subvolume snapshot "$@"; }
if [ "$(stat -c %i /etc)" = 256 ]; then
  many /.snapshots/1/snapshot /.snapshots/{}/snapshot
  seq -f /.snapshots/%.0f/snapshot/etc FROM TO | xargs rmdir
  many -r /etc /.snapshots/{}/snapshot/etc
else many -r /.snapshots/1/snapshot /.snapshots/{}/snapshot; fi
"#;

/// System calls of a command from outside, one a line, and what it printed.
fn traced(machine: &Machine, command: &str) -> (Vec<String>, String) {
    let file = machine.dir().join(format!("{command}.strace"));
    let script = format!(
        "strace -f -qq -o '{}' \"$TU\" --root \"$FX_ROOT\" {command}",
        file.display()
    );
    let ran = machine.outside(&script).succeeds();
    let calls = std::fs::read_to_string(file).unwrap();
    let calls = calls
        .lines()
        .filter_map(|l| Some(l.split_once(' ')?.1.trim().to_owned()));
    (calls.collect(), ran.stdout)
}

#[test]
fn status_and_list_ask_the_kernel_once_and_start_no_process_for_a_thousand_snapshots() {
    let machine = Machine::new();
    let make = |from: u32, to: u32| {
        machine
            .boot(
                &MANY
                    .replace("FROM", &from.to_string())
                    .replace("TO", &to.to_string()),
            )
            .succeeds()
    };
    let mut counts = Vec::new();
    for (from, to) in [(2, 500), (501, 1000)] {
        make(from, to);
        for command in ["list", "status"] {
            let (calls, output) = traced(&machine, command);
            let of = |names: &[&str]| {
                calls
                    .iter()
                    .filter(|c| names.iter().any(|n| c.starts_with(&format!("{n}("))))
                    .count()
            };
            let searches = calls
                .iter()
                .filter(|c| c.starts_with("ioctl(") && c.contains("TREE_SEARCH"))
                .count();
            assert_eq!(searches, 1, "{command} with {to} snapshots");
            assert!(
                calls.iter().any(|c| c.contains("BTRFS_IOC_TREE_SEARCH_V2")),
                "{command} with {to} snapshots"
            );
            assert!(
                of(&["ioctl"]) < 10,
                "{command} with {to} snapshots: {} ioctls",
                of(&["ioctl"])
            );
            assert_eq!(of(&["execve"]), 1, "{command} with {to} snapshots");
            assert_eq!(
                of(&["clone", "clone3", "fork", "vfork"]),
                0,
                "{command} with {to} snapshots"
            );
            if command == "list" {
                assert_eq!(
                    output.lines().count(),
                    to as usize + 1,
                    "{command} with {to} snapshots"
                );
            } else {
                assert_eq!(output, "Mounted: #1\nNext boot: #1\n");
            }
            counts.push(calls.len());
        }
    }
    // the second half costs what the first did, apart from start and end
    for (half, whole) in [(counts[0], counts[2]), (counts[1], counts[3])] {
        assert!(
            whole < 2 * half + 50,
            "not linear: {half} system calls for 500 snapshots, {whole} for 1000"
        );
        assert!(whole < 1000 * 8, "{whole} system calls for 1000 snapshots");
    }
}

#[test]
fn a_transaction_works_among_a_thousand_snapshots() {
    let machine = Machine::new();
    machine
        .boot(&MANY.replace("FROM", "2").replace("TO", "1000"))
        .succeeds();
    machine
        .tu("run touch /usr/new")
        .succeeds()
        .says("Snapshot 1001 is the next system");
    machine
        .boot("test -e /usr/new; transactional-update rollback last")
        .succeeds()
        .says("Snapshot 1 is the next system");
}

#[test]
fn an_empty_transaction_waits_for_the_disk_nine_times() {
    let machine = Machine::new();
    machine.tu("run true").succeeds(); // the history is not new
    let (calls, _) = traced(&machine, "run true");
    let of = |names: &[&str]| {
        let is_one = |c: &&String| names.iter().any(|n| c.contains(n));
        calls.iter().filter(is_one).count()
    };
    // info.xml and its directory, before and after; the history; that the switch was told
    assert_eq!(of(&["fsync(", "fdatasync("]), 6);
    // the snapshot, what is in it, the switch
    let commits = ["BTRFS_IOC_SNAP_CREATE_V2", "syncfs(", "BTRFS_IOC_WAIT_SYNC"];
    assert_eq!(of(&commits), 3);
}

//! Real boots with triggers: where transactional-update-generator leads them beside systemd's own generator and without it, and
//! which of them are none of our business.

use crate::fx::{Machine, REBOOT, Ran, Variant};

const OURS: &str = "/var/lib/transactional-update/offline";
const UNIT: &str = "transactional-update-offline.service";
const GENERATORS: &str = "/usr/lib/systemd/system-generators";
const THEIRS: &str = "/usr/lib/systemd/system-generators/systemd-system-update-generator";
const CLEANUP: &str = "/usr/lib/systemd/system/system-update-cleanup.service";

/// In the place of the program: with `offline run` it tells so, removes our trigger and asks for a reboot.
const STAND_IN: &str = r#"#!/bin/bash
[ "$1" = offline ] || exec /usr/libexec/the-program "$@"
echo "called with $*, $(systemctl show -P Id default.target)" >> /run/tu-test/out
for t in /system-update /etc/system-update; do
  [ "$(readlink $t)" != /var/lib/transactional-update/offline ] || rm $t
done
systemctl --no-block reboot
"#;
/// What it tells in an update boot.
const CALLED: &str = "called with offline run, system-update.target\n";

/// What an update boot tells before the clean-up looks for triggers: the default target, and what became of our unit.
const PROBE: &str = r#"[Service]
ExecStartPre=-/bin/sh -c 'echo clean-up: $$(systemctl show -P Id default.target) $$(systemctl show -P LoadState transactional-update-offline.service) $$(systemctl show -P ActiveState transactional-update-offline.service) >> /run/tu-test/out'
"#;

/// Tells what generators made for updates; the machine masks units of its own in the same way. Debian's 252 calls /usr/lib /lib.
const EARLY: &str = "find /run/systemd/generator.early -mindepth 1 -printf '%P -> %l\\n' | sed 's|-> /lib/|-> /usr/lib/|' | grep -e default.target -e update | sort";

/// A machine with all of us in it, an update armed but for its trigger, and the stand-in.
fn machine(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.install();
    machine.prepare(&format!(
        "mv /usr/sbin/transactional-update /usr/libexec/the-program
        cat > /usr/sbin/transactional-update <<'EOF'\n{STAND_IN}EOF
        chmod 755 /usr/sbin/transactional-update
        mkdir -p {OURS}; touch {OURS}/.transactional-update-armed
        d=/etc/systemd/system/system-update-cleanup.service.d; mkdir -p $d
        cat > $d/probe.conf <<'EOF'\n{PROBE}EOF\n"
    ));
    machine
}

/// One boot of what is the default, which ends in the update boot: what its units told.
#[track_caller]
fn update_boot(machine: &Machine) -> Ran {
    let ran = machine.power_on_default("", "echo a normal boot");
    ran.exits(REBOOT).does_not_say("a normal boot")
}

/// One boot of what is the default, which is the normal one: what the script told.
#[track_caller]
fn normal_boot(machine: &Machine, script: &str) -> Ran {
    normal_boot_with(machine, "", script)
}

/// The same with these words of the kernel command line.
#[track_caller]
fn normal_boot_with(machine: &Machine, words: &str, script: &str) -> Ran {
    let ran = machine.power_on_default(words, script).exits(0);
    ran.does_not_say("called with").does_not_say("clean-up:")
}

#[track_caller]
fn told(ran: &Ran, wanted: &str) {
    assert_eq!(ran.stdout, wanted, "{ran}");
}

#[test]
fn another_tool_s_trigger_keeps_our_unit_out_and_the_second_boot_is_normal() {
    let machine = machine(Variant::RwSqlite);
    // it leads to a marker of ours, too
    let arm = "mkdir -p /var/lib/other; touch /var/lib/other/.transactional-update-armed; ln -s /var/lib/other /system-update";
    machine.prepare(arm);
    told(
        &update_boot(&machine),
        "clean-up: system-update.target masked inactive\n",
    );
    let look = format!("ls -A / {OURS} | grep update; {EARLY}");
    let markers = format!("{OURS}:\n.transactional-update-armed\n");
    told(&normal_boot(&machine, &look), &markers);
    // without the generator it would be let in
    machine.prepare(&format!(
        "{arm}; rm {GENERATORS}/transactional-update-generator"
    ));
    told(&update_boot(&machine), CALLED);
}

#[test]
fn of_two_tools_that_are_armed_each_has_an_update_boot_of_its_own() {
    let machine = machine(Variant::RwSqlite);
    let other = "[Unit]
DefaultDependencies=no
Requires=sysinit.target
After=sysinit.target system-update-pre.target
Before=system-update.target
ConditionPathIsSymbolicLink=/system-update
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm /system-update; sleep 3; echo the other one is done >> /run/tu-test/out; systemctl --no-block reboot'
";
    machine.prepare(&format!(
        "ln -s /var/lib/other /system-update; ln -s {OURS} /etc/system-update
        cat > /etc/systemd/system/other.service <<'EOF'\n{other}EOF
        d=/etc/systemd/system/system-update.target.wants; mkdir $d; ln -s ../other.service $d"
    ));
    told(&update_boot(&machine), "the other one is done\n");
    told(&update_boot(&machine), CALLED);
    told(&normal_boot(&machine, "echo up"), "up\n");
}

#[test]
fn a_target_on_the_command_line_leaves_the_trigger_for_another_boot() {
    let machine = machine(Variant::NestedSqlite);
    machine.prepare(&format!("rm {THEIRS}; ln -s {OURS} /etc/system-update"));
    let look = format!("{EARLY}; readlink /etc/system-update");
    let said = format!("{OURS}\n");
    told(&machine.power_on(&look).exits(0), &said);
    told(&normal_boot_with(&machine, "3", &look), &said);
    // and that one comes
    told(&update_boot(&machine), CALLED);
    told(&normal_boot(&machine, "echo up"), "up\n");
}

#[test]
fn a_trigger_in_etc_works_with_a_systemd_that_knows_nothing_of_it() {
    let machine = machine(Variant::NestedSqlite);
    // as before 254: nobody diverts for it, and nobody removes it
    machine.prepare(&format!(
        "rm {THEIRS}; ln -s {OURS} /etc/system-update
        sed -i \"s| 'r /etc/system-update'||; s| /etc/system-update||; /=|.etc.system-update/d\" {CLEANUP}; ! grep etc/system-update {CLEANUP}"
    ));
    told(&update_boot(&machine), CALLED);
    told(&normal_boot(&machine, "echo up"), "up\n");
    // without the marker our unit does nothing, and the clean-up ends the boot
    machine.prepare(&format!(
        "ln -s {OURS} /etc/system-update; rm {OURS}/.transactional-update-armed"
    ));
    told(
        &update_boot(&machine),
        "clean-up: system-update.target loaded inactive\n",
    );
    told(
        &normal_boot(&machine, "[ -L /etc/system-update ] || echo removed"),
        "removed\n",
    );
}

#[test]
fn a_system_without_systemd_s_generator_boots_into_the_update() {
    let machine = machine(Variant::RwNdb);
    machine.prepare(&format!("rm {THEIRS}; ln -s {OURS} /system-update"));
    told(&update_boot(&machine), CALLED);
    told(&normal_boot(&machine, "echo up"), "up\n");
}

#[test]
fn an_administrator_who_masks_systemd_s_generator_has_normal_boots() {
    let machine = machine(Variant::RwSqlite);
    machine.prepare(&format!(
        "d=/etc/systemd/system-generators; mkdir -p $d; ln -s /dev/null $d/systemd-system-update-generator
        ln -s {OURS} /system-update"
    ));
    let look = format!("readlink /system-update; {EARLY}");
    told(&normal_boot(&machine, &look), &format!("{OURS}\n"));
}

#[test]
fn a_directory_as_trigger_is_left_alone() {
    let machine = machine(Variant::RwSqlite);
    // a boot with it is one of systemd, which ends nowhere
    let script = format!(
        "look() {{ systemctl daemon-reload; {EARLY}; }}
        mkdir /system-update; touch /system-update/.transactional-update-armed; look
        mount --bind /dev/null {THEIRS}; look; umount {THEIRS}; ls -A /system-update"
    );
    let mask = format!("{UNIT} -> /dev/null");
    told(
        &normal_boot(&machine, &script),
        &format!(
            "default.target -> /usr/lib/systemd/system/system-update.target\n{mask}\n{mask}\n.transactional-update-armed\n"
        ),
    );
}

#[test]
fn beside_systemd_s_generator_there_is_one_default_target_in_whatever_order_they_run() {
    let machine = machine(Variant::RwSqlite);
    let script = format!(
        r#"
        conflicts() {{ journal -o cat | grep -c -e 'File exists' -e 'generator.\? failed'; }}
        reload() {{ # reload TIMES: what there is then, counted
          for i in $(seq $1); do systemctl daemon-reload; echo $({EARLY}); done |
            grep . | uniq -c | sed 's/^ *//'; }}
        each() {{ # each TIMES: with our trigger in the one place, in both, in the other one, in none
          ln -s {OURS} /system-update; reload $1; ln -s {OURS} /etc/system-update; reload $1
          rm /system-update; reload $1; rm /etc/system-update; reload $1; }}
        systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'
        echo as they are; each 20; conflicts
        own=/run/systemd/system-generators; mkdir -p $own
        late() {{ # late NAME: this one works when the other one is done
          rm -f $own/*; printf '#!/bin/sh\n# %s\nsleep 0.3\nexec %s/%s "$@"\n' "$(grep -ao /etc/system-update {GENERATORS}/$1 | head -n 1)" {GENERATORS} $1 > $own/$1; chmod 755 $own/$1; }}
        echo ours late; late transactional-update-generator; each 2; conflicts
        echo theirs late; late systemd-system-update-generator; each 2; conflicts
        rm $own/*; printf '#!/bin/sh\nln -s /usr/lib/systemd/system/system-update.target $2/default.target\n' > $own/careless; chmod 755 $own/careless
        ln -s {OURS} /system-update; systemctl daemon-reload; [ $(conflicts) = 0 ] || echo a careless one is seen
        "#
    );
    let ran = normal_boot(&machine, &script);
    let (version, rest) = ran.stdout.split_once('\n').unwrap();
    let link = "default.target -> /usr/lib/systemd/system/system-update.target";
    // before 254 ours leads there from /etc, and has the trigger removed, too
    let etc = match version.parse::<u32>().unwrap() {
        ..254 => format!(
            "{link} system-update-cleanup.service.d -> system-update-cleanup.service.d/50-transactional-update.conf ->"
        ),
        _ => link.to_owned(),
    };
    let each = |times: u32| format!("{times} {link}\n{times} {link}\n{times} {etc}\n0\n");
    let (many, few) = (each(20), each(2));
    assert_eq!(
        rest,
        format!("as they are\n{many}ours late\n{few}theirs late\n{few}a careless one is seen\n"),
        "{ran}"
    );
}

#[test]
fn whatever_happens_before_the_trigger_is_removed_the_second_boot_is_normal() {
    let machine = machine(Variant::RwSqlite);
    let program = "/usr/sbin/transactional-update";
    let unit = "/etc/systemd/system/transactional-update-offline.service.d";
    for (at, begin) in [
        ("/system-update", "kill -KILL $$"),
        ("/etc/system-update", "exit 3"),
        ("/system-update", "exit 0"),
        ("/etc/system-update", ""),
    ] {
        // after the first line, which says what runs it
        let body = format!(
            "#!/bin/bash\n[ \"$1\" = offline ] || exit 0\necho called >> /run/tu-test/out\n{begin}\n"
        );
        machine.prepare(&if begin.is_empty() {
            format!("rm {program}; ln -s {OURS} {at}")
        } else {
            format!("cat > {program} <<'EOF'\n{body}EOF\nchmod 755 {program}; ln -s {OURS} {at}")
        });
        let ran = machine
            .power_on_default("", "echo a normal boot")
            .exits(REBOOT);
        // who leaves it there and succeeds leaves the boot to the clean-up
        let said = match begin {
            "" => "",
            "exit 0" => "called\nclean-up: system-update.target loaded inactive\n",
            _ => "called\n",
        };
        told(&ran, said);
        let look = format!("[ -L {at} ] || echo removed");
        told(&normal_boot(&machine, &look), "removed\n");
    }
    // only our link goes
    let program_again =
        format!("printf '#!/bin/sh\\n[ \"$1\" != offline ]\\n' > {program}; chmod 755 {program}");
    let arm = format!("ln -s {OURS} /system-update; ln -s {OURS}/ /etc/system-update");
    machine.prepare(&format!(
        "{program_again}; {arm}; mkdir /etc/sub; ln -s {OURS} /etc/sub/system-update"
    ));
    update_boot(&machine);
    machine
        .boot("readlink /etc/system-update /etc/sub/system-update; ls /system-update")
        .exits(2)
        .says(&format!("{OURS}/\n{OURS}\n"));
    // without that line of the unit the machine would boot into the update for ever
    machine.prepare(&format!(
        "rm /etc/system-update; ln -s {OURS} /system-update; mkdir -p {unit}; printf '[Service]\\nExecStopPost=\\n' > {unit}/none.conf"
    ));
    update_boot(&machine);
    update_boot(&machine);
}

#[test]
fn it_is_installed_with_its_unit_linked_to_every_update_boot_and_systemd_finds_nothing_wrong() {
    let machine = Machine::new();
    machine.install();
    let tree = machine.dir().join("installed/usr/lib/systemd");
    let link = tree.join("system/system-update.target.wants").join(UNIT);
    let text = std::fs::read_link(link).unwrap();
    assert_eq!(
        text.to_str(),
        Some("../transactional-update-offline.service")
    );
    machine
        .boot(&format!(
            "{GENERATORS}/transactional-update-generator; systemd-analyze verify --man=no {UNIT}"
        ))
        .succeeds()
        .says("usage: transactional-update-generator")
        .does_not_say("offline.service:");
}

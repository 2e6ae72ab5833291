//! A clock that was set back or forward by years: nothing is decided from it.
//!
//! The clock of the programs is another one (libfaketime), that of the kernel stays: what the kernel notes, as the times
//! of files, lies years from what the program takes for now, as after a jump.

use crate::fx::{Machine, Ran};

/// The programs whose clock is another one load this, also inside of a snapshot.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A machine with the library, and the clocks that its programs may be given: `at -10y WORDS…` runs a program then, `tu`
/// is the program now. `dates` prints when each snapshot was made, by itself.
struct Clock(Machine);

impl Clock {
    fn new() -> Clock {
        let mut machine = Machine::new();
        assert!(
            std::path::Path::new(LIBRARY).exists(),
            "apt-get install libfaketime"
        );
        machine.bind(LIBRARY, "/run/faketime.so");
        machine.prepare(&format!("install -D /run/faketime.so {LIBRARY}"));
        Clock(machine)
    }

    fn boot(&self, script: &str) -> Ran {
        let script = format!(
            "set -e; at() {{ local t=$1; shift; LD_PRELOAD={LIBRARY} NO_FAKE_STAT=1 FAKETIME=$t \"$@\"; }}
             tu() {{ transactional-update -q \"$@\"; }}
             dates() {{ for n in $(ls /.snapshots | sort -n); do sed -n 's|.*<date>\\(....\\).*|\\1|p' /.snapshots/$n/info.xml; done | xargs; }}
             default() {{ btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\\1|'; }}
             marks() {{ for n in $(ls /.snapshots | sort -n); do echo $n:$(sed -n 's|.*<cleanup>\\(.*\\)</cleanup>.*|\\1|p' /.snapshots/$n/info.xml); done | xargs; }}
             {script}"
        );
        self.0.boot(&script)
    }
}

const JUMPS: [&str; 2] = ["-10y", "+10y"];

#[test]
fn a_transaction_builds_upon_the_pending_one_and_is_the_next_system_whatever_the_clock_says() {
    for jump in JUMPS {
        let clock = Clock::new();
        let now = clock.boot("date +%Y").stdout;
        let ran = clock
            .boot(&format!(
                "tu boot-complete; tu run touch /usr/1; at {jump} transactional-update run touch /usr/2; tu run touch /usr/3
                 at {jump} transactional-update -n pkg install fx-etc
                 [ $(default) = 5 ]; dates; at {jump} transactional-update status; at {jump} transactional-update list; transactional-update status"
            ))
            .succeeds()
            .says("Base: #2 (pending;")
            .says("Base: #4 (pending;")
            .says("Made from: #5 <- #4 <- #3 <- #2 <- #1");
        // the clock is another one, or this shows nothing
        let years: Vec<&str> = ran.stdout.lines().next().unwrap().split(' ').collect();
        assert!(years[2] != now.trim() && years[1] == now.trim(), "{ran}");
        clock
            .0
            .boot("ls /usr/1 /usr/2 /usr/3 && fx-etc && rpm -V fx-etc")
            .succeeds();
        clock.0.holds(&[1, 2, 3, 4, 5], 5);
    }
}

#[test]
fn going_back_and_dropping_an_update_go_by_what_ran_and_by_numbers_whatever_the_clock_says() {
    for jump in JUMPS {
        let clock = Clock::new();
        let boots = [
            "tu boot-complete; tu run touch /usr/2".to_owned(),
            format!(
                "at {jump} transactional-update -q boot-complete; at {jump} transactional-update -q run touch /usr/3"
            ),
            "tu boot-complete; tu run touch /usr/4".to_owned(),
        ];
        for boot in boots {
            clock.boot(&boot).succeeds();
        }
        clock
            .boot(&format!(
                "tu boot-complete; at {jump} transactional-update -q run touch /usr/5; [ $(default) = 5 ]
                 tu discard; [ $(default) = 4 ] && [ ! -e /.snapshots/5 ]
                 tu run touch /usr/5; at {jump} transactional-update -q discard; [ $(default) = 4 ] && [ ! -e /.snapshots/5 ]
                 at {jump} transactional-update -q rollback last; [ $(default) = 3 ]
                 at {jump} transactional-update -q rollback; [ $(default) = 4 ]; tu rollback last; [ $(default) = 3 ]"
            ))
            .succeeds();
        clock.0.holds(&[1, 2, 3, 4], 3);
    }
}

#[test]
fn a_clean_up_marks_the_same_whatever_the_clock_says() {
    let marked = |jump: &str| {
        let clock = Clock::new();
        let at = |words: &str| format!("at {jump} transactional-update -q {words}");
        for words in ["run touch /usr/2", "run touch /usr/3"] {
            let script = format!("{}; tu {words}", at("boot-complete"));
            clock.boot(&script).succeeds();
        }
        let script = format!(
            "tu boot-complete; {}; tu --no-continue run touch /usr/5; sed -i /cleanup/d /.snapshots/*/info.xml; {}; marks",
            at("--no-continue run touch /usr/4"),
            at("cleanup")
        );
        clock.boot(&script).succeeds().stdout
    };
    let now = marked("+0");
    assert_eq!(now, "1:number 2:number 3: 4:number 5:\n");
    for jump in JUMPS {
        assert_eq!(marked(jump), now, "{jump}");
    }
}

#[test]
fn what_was_cut_off_is_removed_and_what_is_alive_stays_whatever_the_clock_says() {
    for jump in JUMPS {
        let clock = Clock::new();
        clock
            .boot(&format!(
                "TU_FAILPOINTS=mounted=kill transactional-update run true || :
                 at {jump} transactional-update status | grep 'snapshot 2 was left behind'
                 at {jump} transactional-update recover; [ ! -e /.snapshots/2 ]
                 TU_FAILPOINTS=mounted=kill at {jump} transactional-update run true || :
                 tu recover; [ ! -e /.snapshots/2 ]"
            ))
            .succeeds();
        // somebody waits in a transaction that began by another clock
        clock
            .boot(&format!(
                "tukit -q open; tukit -q call 2 touch /usr/2; at {jump} transactional-update -q cleanup; at {jump} transactional-update -q recover
                 at {jump} transactional-update -q run touch /usr/3; [ $(default) = 3 ]
                 at {jump} transactional-update status | grep 'Open transactions: #2'
                 TU_FAILPOINTS=mounted=touch:/run/reached,mounted=wait:/run/go transactional-update -q run true & p=$!
                 until [ -e /run/reached ]; do sleep .02; done
                 ! at {jump} transactional-update recover 2>/run/said; touch /run/go; wait $p
                 at {jump} tukit -q close 2; [ $(default) = 2 ]"
            ))
            .succeeds();
        clock.0.boot("ls /usr/2").succeeds();
    }
}

#[test]
fn a_transaction_of_another_program_that_began_before_the_clock_was_set_is_not_forgotten() {
    // as on a machine without a clock of its own, until the network tells the time
    let clock = Clock::new();
    let script = "s() { snapper --no-dbus -c root \"$@\"; }
        s create --from 1 --read-write --userdata transactional-update-in-progress=yes
        at +10y transactional-update cleanup; at -10y transactional-update cleanup; marks
        sed -i 's|<date>.*</date>|<date>2020-01-01 00:00:00</date>|' /.snapshots/2/info.xml
        at -10y transactional-update cleanup; marks; at +10y transactional-update cleanup; marks";
    let ran = clock.boot(script).succeeds();
    assert_eq!(
        ran.stdout, "1:number 2:\n1:number 2:\n1:number 2:number\n",
        "{ran}"
    );
}

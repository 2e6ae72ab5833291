//! A soak: random commands on one machine, many of them cut off by death of the process or of the machine, with
//! reboots in between. After each, what boots next is the old system or the whole new one, what is half is named
//! by `status` and removed by the next command, and what is removed leaves no space taken.
//!
//! `SOAK_SEED` repeats the choices of a run, `SOAK_ROUNDS` says how many rounds there are, `SOAK_LOG`
//! names a directory where each run leaves what was typed and what came of it (tests/proof/soak.sh).

mod model;
mod random;
mod session;
mod step;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fx::{Machine, Variant, failpoints, fixture};
use model::{Content, Facts, Snapshot};
use random::Random;
use session::{Answer, Session};
use step::{Contents, Step};

/// Rounds between two times at which an administrator cleans up.
const TIDY: u32 = 20;
/// How many of each kind snapper keeps.
const KEEP: usize = 3;

/// How a command ends.
#[derive(Debug, Clone)]
enum Death {
    None,
    /// The process is killed after so long.
    Process(Duration),
    /// All processes of the machine are killed, and its disk is taken from it.
    Machine(Duration),
    /// It dies at this failpoint, or is told to stop there.
    At(String, &'static str),
}

struct Soak<'m> {
    seed: u64,
    variant: Variant,
    machine: &'m Machine,
    random: Random,
    contents: Contents,
    facts: Facts,
    round: u32,
    /// Every failpoint that there is.
    points: Vec<String>,
    /// What snapper left of a clean-up in which the machine died: not ours to mend.
    cut_by_snapper: BTreeSet<u32>,
    /// How long an undisturbed command took last: one with packages, and another one.
    took: [Duration; 2],
    first: Used,
    log: String,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    died: u32,
    old: u32,
    new: u32,
    boots: u32,
}

impl<'m> Soak<'m> {
    fn new(variant: Variant, machine: &'m Machine, seed: u64) -> Soak<'m> {
        let first = machine.boot(USED).succeeds();
        Soak {
            seed,
            variant,
            machine,
            random: Random(seed),
            contents: Contents::from([(1, vec![Content::default()])]),
            facts: Facts::default(),
            round: 0,
            points: failpoints(),
            cut_by_snapper: BTreeSet::new(),
            took: [Duration::from_millis(400); 2],
            first: Used::parse(&first.stdout),
            log: String::new(),
            tally: Tally::default(),
        }
    }

    fn rounds(&mut self, rounds: u32) -> Result<(), String> {
        let mut running = None;
        let last = self.round + rounds;
        for round in self.round + 1..=last {
            self.round = round;
            let mut session = match running.take() {
                Some(session) => session,
                None => self.boot()?,
            };
            let step = Step::pick(&mut self.random, &self.facts, &self.contents);
            let death = self.death(&step);
            let code = self.take(&mut session, &step, death);
            let before = std::mem::take(&mut self.facts);
            let is_up = !matches!(code, Ended::Dead);
            let code = match code {
                Ended::With(code) => Some(code),
                Ended::Killed | Ended::Dead => None,
            };
            if is_up {
                self.facts = self.look(&mut session, "")?;
            } else {
                session = Session::boot(self.machine);
                self.facts = self.look(&mut session, " content")?;
            }
            step.judge(round, code, (&before, &self.facts), &mut self.contents)?;
            if !is_up {
                self.check_boot()?;
            }
            if code.is_none() && step == Step::Snapper {
                let cut = self.facts.that(|s| !s.is_whole());
                self.cut_by_snapper.extend(cut);
            }
            self.tally.died += u32::from(code.is_none());
            match self.facts.default == before.default {
                true => self.tally.old += 1,
                false => self.tally.new += 1,
            }
            if round % TIDY == 0 || round == last {
                session.end();
                let mut session = self.boot()?;
                self.tidy(&mut session)?;
            } else if self.random.below(3) > 0 {
                running = Some(session);
            }
        }
        Ok(())
    }

    /// A boot, as units make it: mostly to the end.
    fn boot(&mut self) -> Result<Session<'m>, String> {
        let mut session = Session::boot(self.machine);
        self.tally.boots += 1;
        self.facts = self.look(&mut session, " content")?;
        self.facts.sound()?;
        self.check_boot()?;
        if self.random.below(6) > 0 {
            self.plain(&mut session, &Step::BootComplete)?;
        }
        Ok(session)
    }

    /// A command that nothing disturbs.
    fn plain(&mut self, session: &mut Session<'_>, step: &Step) -> Result<(), String> {
        let Ended::With(code) = self.take(session, step, Death::None) else {
            return Err(format!("{step:?} ends with the machine"));
        };
        let before = std::mem::take(&mut self.facts);
        self.facts = self.look(session, "")?;
        let both = (&before, &self.facts);
        step.judge(self.round, Some(code), both, &mut self.contents)
    }

    fn check_boot(&mut self) -> Result<(), String> {
        let allowed = self.contents.get(&self.facts.current);
        self.facts.boots_as(allowed.map_or(&[], Vec::as_slice))?;
        let now = vec![self.facts.content.clone()];
        self.contents.insert(self.facts.current, now);
        Ok(())
    }

    fn look(&mut self, session: &mut Session<'_>, what: &str) -> Result<Facts, String> {
        match session.ask(&format!("python3 /run/soak.py{what}")) {
            Answer::Ended(0, text) => Ok(Facts::parse(&text)),
            other => Err(format!("soak.py fails: {other:?}")),
        }
    }

    fn death(&mut self, step: &Step) -> Death {
        let range =
            u64::try_from(self.took[usize::from(step.has_packages())].as_millis()).unwrap() * 6 / 5
                + 1;
        let delay = Duration::from_millis(self.random.below(range));
        match self.random.below(100) {
            0..45 => Death::None,
            45..70 => Death::Machine(delay),
            // snapper is not ours to mend
            _ if !step.mends() => Death::None,
            70..85 => Death::Process(delay),
            _ => {
                let action = self
                    .random
                    .one_of(&["kill", "kill", "kill", "signal:TERM", "error"]);
                Death::At(self.random.one_of(&self.points), action)
            }
        }
    }

    fn take(&mut self, session: &mut Session<'_>, step: &Step, death: Death) -> Ended {
        let words = step.words(self.round);
        let begun = Instant::now();
        let answer = match &death {
            Death::None => session.ask(&words),
            Death::Machine(delay) => session.ask_and_die(&words, *delay),
            Death::Process(delay) => session.ask(&format!(
                "{words} & p=$!; sleep {}; kill -KILL $p; wait $p",
                delay.as_secs_f64()
            )),
            Death::At(point, action) => {
                session.ask(&format!("TU_FAILPOINTS={point}={action} {words}"))
            }
        };
        if matches!(&death, Death::None) {
            self.took[usize::from(step.has_packages())] = begun.elapsed();
        }
        let (round, running) = (self.round, self.facts.current);
        writeln!(
            self.log,
            "{round} (#{running}): {words}; {death:?}\n  {answer:?}"
        )
        .unwrap();
        match (answer, death) {
            (Answer::Dead, _) => Ended::Dead,
            (Answer::Ended(137, _), _) | (Answer::Ended(..), Death::At(..)) => Ended::Killed,
            (Answer::Ended(code, _), _) => Ended::With(code),
        }
    }

    /// What an administrator does now and then; nothing is left then that nobody wants.
    fn tidy(&mut self, session: &mut Session<'_>) -> Result<(), String> {
        self.plain(session, &Step::Recover)?;
        for id in self.facts.that(Snapshot::is_kept) {
            self.plain(session, &Step::DropKept(id))?;
        }
        for id in self.facts.that(Snapshot::is_open) {
            self.plain(session, &Step::Abort(id))?;
        }
        self.plain(session, &Step::Cleanup)?;
        self.plain(session, &Step::Snapper)?;
        self.tidied()?;
        let Answer::Ended(0, text) = session.ask(USED) else {
            return Err("how much is used is not known".into());
        };
        let now = Used::parse(&text);
        writeln!(self.log, "used {now:?}, at first {:?}", self.first).unwrap();
        match now.is_bounded(self.first) {
            true => Ok(()),
            false => Err(format!("space leaks: {now:?}, at first {:?}", self.first)),
        }
    }

    /// After a clean-up there is what snapper was told to keep, what runs and boots next, and nothing half.
    fn tidied(&self) -> Result<(), String> {
        let facts = &self.facts;
        facts.mended()?;
        let whole = facts.that(Snapshot::is_whole);
        let half = facts.that(|s| !s.is_whole());
        if let Some(id) = half.iter().find(|id| !self.cut_by_snapper.contains(id)) {
            return Err(format!(
                "snapshot {id} is not whole: {:?}",
                facts.snapshots[id]
            ));
        }
        let in_use = facts.lineage().map_or(2, |chain| chain.len() + 2);
        match whole.len() <= 2 * KEEP + in_use {
            true => Ok(()),
            false => Err(format!("snapshots pile up: {whole:?}")),
        }
    }

    /// Goes on for so many rounds; what went wrong is told with all that came before.
    fn run(mut self, rounds: u32) {
        let (seed, begun) = (self.seed, Instant::now());
        let done = self.rounds(rounds);
        let Tally {
            died,
            old,
            new,
            boots,
        } = self.tally;
        let seconds = begun.elapsed().as_secs();
        let summary = format!(
            "soak: seed {seed}, {} rounds, {died} cut off, old {old}, new {new}, {boots} boots, {seconds} s",
            self.round
        );
        // past the test harness: whoever looks on sees the seed
        let line = format!("{summary}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        if let Ok(dir) = std::env::var("SOAK_LOG") {
            let path = Path::new(&dir).join(format!("{seed}-{:?}.log", self.variant));
            fs::write(path, format!("{}{summary}\n", self.log)).unwrap();
        }
        if let Err(why) = done {
            panic!(
                "{}\n{summary}\nSOAK_SEED={seed}: {why}\n{:#?}",
                self.log, self.facts
            );
        }
    }
}

/// How a command ended.
enum Ended {
    With(i32),
    /// The process was cut off.
    Killed,
    /// The machine was.
    Dead,
}

/// Prints what is used of the disk, and how much of that the snapshots hold together, in bytes.
const USED: &str = r#"btrfs filesystem sync /.snapshots; btrfs subvolume sync -s 1 /.snapshots >/dev/null; sync -f /.snapshots; btrfs filesystem usage -b /.snapshots 2>/dev/null | sed -n 's/^\s*Used:\s*\([0-9]*\)$/used \1/p' | head -n 1; btrfs filesystem du -s --raw /.snapshots | awk 'NR > 1 {print "held", $2 + $3}'"#;

/// What is used of a disk, and what the snapshots hold of that.
#[derive(Debug, Clone, Copy)]
struct Used {
    all: u64,
    held: u64,
}

impl Used {
    fn parse(text: &str) -> Used {
        let number = |word| {
            let line = text.lines().find_map(|l: &str| l.strip_prefix(word));
            let line = line.unwrap_or_else(|| panic!("no {word}in {text}"));
            line.trim().parse().unwrap()
        };
        Used {
            all: number("used "),
            held: number("held "),
        }
    }

    /// Whether no more is used than at `first`, give or take a fifth, but for what the snapshots hold more.
    fn is_bounded(self, first: Used) -> bool {
        self.all < first.all / 5 * 6 + self.held.saturating_sub(first.held)
    }
}

fn machine(variant: Variant) -> Machine {
    let mut machine = Machine::of(variant);
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.bind(fixture("soak.py"), "/run/soak.py");
    let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/snapper/50-etc");
    machine.bind(plugin, "/run/50-etc");
    machine.prepare(&format!(
        "install -D /run/50-etc /usr/lib/snapper/plugins/50-etc
         ln -s /run/tu/transactional-update /usr/sbin/transactional-update
         sed -i -E 's/^(NUMBER_LIMIT(_IMPORTANT)?)=.*/\\1=\"{KEEP}\"/; s/^NUMBER_MIN_AGE=.*/NUMBER_MIN_AGE=\"0\"/; s/^(SPACE|FREE)_LIMIT=.*/\\1_LIMIT=\"0\"/' /etc/snapper/configs/root"
    ));
    machine
}

fn seed() -> u64 {
    match std::env::var("SOAK_SEED") {
        Ok(seed) => seed.parse().expect("SOAK_SEED is a number"),
        Err(_) => {
            let mut bytes = [0; 4];
            let mut random = fs::File::open("/dev/urandom").unwrap();
            random.read_exact(&mut bytes).unwrap();
            u32::from_le_bytes(bytes).into()
        }
    }
}

fn soak(variant: Variant) {
    let rounds = std::env::var("SOAK_ROUNDS").map(|n| n.parse().expect("SOAK_ROUNDS is a number"));
    Soak::new(variant, &machine(variant), seed()).run(rounds.unwrap_or(30));
}

#[test]
fn random_commands_and_deaths_leave_the_old_system_or_the_whole_new_one() {
    soak(Variant::RoSqlite);
}

#[test]
fn random_commands_and_deaths_leave_the_old_system_or_the_whole_new_one_with_its_nested_etc() {
    soak(Variant::NestedSqlite);
}

/// Makes snapshot 90 of what boots next, with `change` in it, what boots next.
fn becomes_the_default(change: &str) -> String {
    format!(
        "s=/.snapshots/90; mkdir $s; btrfs -q subvolume snapshot / $s/snapshot
         n=$(btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\\1|')
         sed 's|<num>.*</num>|<num>90</num>|' /.snapshots/$n/info.xml > $s/info.xml; {change}
         btrfs subvolume set-default $(btrfs inspect-internal rootid $s/snapshot) /.snapshots"
    )
}

/// Goes on for some rounds, breaks the machine by a script that runs in it, and goes on: that has to be found.
#[track_caller]
fn control(breaking: &str, wanted: &str) {
    let machine = machine(Variant::RoSqlite);
    let mut soak = Soak::new(Variant::RoSqlite, &machine, seed());
    soak.rounds(2).unwrap();
    machine.boot(&format!("set -e; {breaking}")).succeeds();
    let found = soak.rounds(1).expect_err("nothing is found");
    assert!(found.contains(wanted), "{found}");
}

#[test]
fn the_soak_finds_a_default_snapshot_that_is_half() {
    let mark = "<userdata><key>transactional-update-in-progress</key><value>yes</value></userdata>";
    control(
        &becomes_the_default(&format!(
            "sed -i 's|</snapshot>|{mark}</snapshot>|' $s/info.xml"
        )),
        "the default snapshot 90 is not whole",
    );
    // the database was written, the files were not
    control(
        &becomes_the_default(
            "rpm --root $s/snapshot -U --force --nodeps /var/cache/fxrepo/fx-caps-1.0-1.noarch.rpm; rm $s/snapshot/usr/bin/fx-ping",
        ),
        "rpm -V",
    );
}

#[test]
fn the_soak_finds_a_default_snapshot_that_no_command_made() {
    control(
        &becomes_the_default("echo 77 > $s/snapshot/usr/soak"),
        "snapshot 90 holds",
    );
}

#[test]
fn the_soak_finds_what_was_left_behind() {
    control("mkdir /.snapshots/90", "snapshot 90 is not whole");
    control("touch /.snapshots/1/.info.xml.old", "left behind");
    control("head -c 100M /dev/urandom > /var/leak", "space leaks");
}

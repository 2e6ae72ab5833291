//! Commands that are stopped: what is said of them (scenarios), what is found (facts) and what has to be so (the judge).
//! tests/fixture/crash.sh does the stopping, many cases in one boot.

use std::collections::BTreeSet;
use std::fmt;

use crate::fx::{Machine, Ran, fixture};

/// How long something that is neither the old state nor the whole new one may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// Never: the switch is the one moment.
    Never,
    /// Until recovery, which makes one of them of it.
    UntilRecovery,
    /// Until `after`, which completes it: for what does many small things, each of which is whole.
    UntilAfter,
}

/// A command that is stopped.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What there is when it begins, in bash.
    pub(crate) before: &'static str,
    /// Prints what tells the old state from the new one; `$D` is the default snapshot.
    pub(crate) look: &'static str,
    /// The command, as words of bash.
    pub(crate) words: &'static str,
    /// A plain command that has to succeed after recovery.
    pub(crate) after: &'static str,
    pub(crate) between: Between,
    /// From this point on an error is told, but the new state stays: the switch is over.
    pub(crate) late: Option<&'static str>,
    /// Whether a failure leaves a harmless mark in the metadata: a snapshot that was to boot is cleaned up later.
    pub(crate) marks: bool,
}

impl Scenario {
    pub(crate) const fn new(
        name: &'static str,
        before: &'static str,
        words: &'static str,
    ) -> Scenario {
        Scenario {
            name,
            before,
            look: "",
            words,
            after: "transactional-update -q run true",
            between: Between::Never,
            late: None,
            marks: false,
        }
    }

    pub(crate) const fn look(self, look: &'static str) -> Scenario {
        Scenario { look, ..self }
    }

    pub(crate) const fn after(self, after: &'static str) -> Scenario {
        Scenario { after, ..self }
    }

    pub(crate) const fn between(self, between: Between) -> Scenario {
        Scenario { between, ..self }
    }

    pub(crate) const fn late(self, late: &'static str) -> Scenario {
        Scenario {
            late: Some(late),
            ..self
        }
    }

    pub(crate) const fn marks(self) -> Scenario {
        Scenario {
            marks: true,
            ..self
        }
    }

    /// The merge of an initrd, the plugin for snapper, the boot helper and what removes images tidy nothing up: what they begin is
    /// gone on with.
    fn dies_of_signals(&self) -> bool {
        self.words.starts_with("merge ")
            || self.words.starts_with("sysupdate ")
            || self.words.contains(" snapper-plugin ")
            || self.makes_directories()
    }

    /// The boot helper says of each directory why it could not be made, and ends with a status of its own.
    fn makes_directories(&self) -> bool {
        self.words.starts_with("create-dirs-from-rpmdb")
    }

    /// The scenario in bash, and then `how` to go on with it.
    fn script(&self, how: &str) -> String {
        let Scenario {
            name,
            before,
            look,
            words,
            after,
            between,
            ..
        } = self;
        format!(
            "name='{name}' between={between:?}\nbefore() {{\n{before}\n:; }}\nlook() {{\n{look}\n:; }}\nafter() {{\n{after}\n}}\nwords=({words})\n{how}\n"
        )
    }
}

/// A machine and the commands that are stopped on it.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    /// Bash that is run once, before anything else.
    pub(crate) first: String,
    pub(crate) scenarios: Vec<Scenario>,
}

impl Bench {
    pub(crate) fn new(mut machine: Machine, scenarios: &[Scenario]) -> Bench {
        machine.bind(fixture("crash.sh"), "/run/crash.sh");
        Bench {
            machine,
            first: String::new(),
            scenarios: scenarios.to_vec(),
        }
    }

    /// Does `how` with each scenario, and gives what was found.
    #[track_caller]
    pub(crate) fn go(&self, how: &str) -> Found {
        let scripts: String = self.scenarios.iter().map(|s| s.script(how)).collect();
        let all = if std::env::var_os("CRASH_ALL").is_some() {
            "ALL=1"
        } else {
            ""
        };
        let script = format!("{all}\n. /run/crash.sh\n{}\nbegin\n{scripts}", self.first);
        let ran = self.machine.boot(&script).succeeds();
        let found = Found::read(&ran);
        assert!(!found.unhurt.is_empty(), "{ran}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.machine.dir().to_str().unwrap();
        assert!(!mounts.contains(dir), "a mount is left on the host");
        found
    }

    /// The same; asserts that all of it is as it has to be. Gives the number of cases.
    #[track_caller]
    pub(crate) fn holds(&self, how: &str) -> Found {
        let found = self.go(how);
        let mut wrong = Vec::new();
        for whole in &found.unhurt {
            wrong.extend(self.of(&whole.name).and_then(|s| whole.judge(s)).err());
        }
        for case in &found.cases {
            let whole = found.unhurt.iter().find(|w| w.name == case.name);
            let judged = self
                .of(&case.name)
                .and_then(|s| case.judge(s, whole.ok_or("its command never ended unhurt")?));
            wrong.extend(judged.err().map(|why| format!("{why}\n    {case}")));
        }
        assert!(
            wrong.is_empty(),
            "{} of {} cases are wrong:\n{}",
            wrong.len(),
            found.cases.len(),
            wrong.join("\n")
        );
        tell(&found.summary());
        found
    }

    /// Gives the judge facts that must not be, one at a time, about a command that was killed and left the old
    /// state; asserts that it refuses each.
    #[track_caller]
    pub(crate) fn refuses(&self, at: &str) {
        let mut found = self.go(&format!("discover; one {at} kill"));
        let (whole, case) = (&found.unhurt[0], &mut found.cases[0]);
        let scenario = self.of(&case.name).unwrap();
        case.judge(scenario, whole).unwrap();
        let half = "1 2(unfinished) default 1 subvolumes 12";
        let wrong = [
            ("status", "0"),
            ("processes", "zypper "),
            ("boots next", "2 ro=true "),
            ("boots next", whole.new[0].as_str()),
            ("status of `status`", "1"),
            ("status of `recover`", "1"),
            ("boots next then", "2 ro=false new"),
            ("snapshots then", half),
            ("snapshots then", whole.new[1].as_str()),
            ("status of a second `recover`", "1"),
            ("a second `recover` said", "Removed snapshot 2"),
            ("metadata after it", "changed"),
            ("status of what follows", "1"),
            ("snapshots after it", half),
        ];
        for (what, fact) in wrong {
            let place = FACTS.iter().position(|f| *f == what).unwrap();
            let right = std::mem::replace(&mut case.facts[place], fact.to_owned());
            let judged = case.judge(scenario, whole);
            assert!(judged.is_err(), "{what}: {fact} is not refused");
            case.facts[place] = right;
        }
        tell(&format!("crash: {} controls refused", wrong.len()));
    }

    /// The scenario that a name of the output belongs to.
    fn of(&self, name: &str) -> Result<&Scenario, String> {
        let first = name.split(", killed at ").next().unwrap_or(name);
        let scenario = self.scenarios.iter().find(|s| s.name == first);
        scenario.ok_or_else(|| format!("{name}: no such scenario"))
    }
}

/// A line that the proof counts (tests/proof/kill-sweep.sh).
#[allow(clippy::print_stdout)] // nobody sees it unless it is asked for
fn tell(text: &str) {
    println!("{text}");
}

/// What a boot printed.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) unhurt: Vec<Unhurt>,
    pub(crate) cases: Vec<Case>,
    /// Name, system call, and how many of it were met.
    pub(crate) swept: Vec<(String, String, usize)>,
}

impl Found {
    #[track_caller]
    fn read(ran: &Ran) -> Found {
        let mut found = Found::default();
        for line in ran.stdout.lines() {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            match (fields[0].as_str(), fields.len()) {
                ("unhurt", 9) => found.unhurt.push(Unhurt::read(&fields)),
                ("case", 25) => found.cases.push(Case::read(fields)),
                ("swept", 4) => {
                    let met = fields[3].parse().unwrap();
                    found
                        .swept
                        .push((fields[1].clone(), fields[2].clone(), met));
                }
                _ => panic!("{line:?} is no fact\n{ran}"),
            }
        }
        found
    }

    /// How many cases there were, and how many of them left the old state and the new one.
    fn summary(&self) -> String {
        let ends = |pick: fn(&Unhurt) -> &str| {
            let is = |case: &&Case| {
                let whole = self.unhurt.iter().find(|w| w.name == case.name);
                whole.is_some_and(|w| pick(w) == case.fact("boots next"))
            };
            self.cases.iter().filter(is).count()
        };
        let (old, new) = (ends(|w| &w.old[0]), ends(|w| &w.new[0]));
        format!("crash: {} cases, {old} old, {new} new", self.cases.len())
    }

    /// Names of the points that were passed.
    pub(crate) fn points(&self) -> BTreeSet<String> {
        let all = self.unhurt.iter().flat_map(|w| &w.points);
        all.filter_map(|p| p.split('@').next())
            .map(str::to_owned)
            .collect()
    }
}

/// A command that was not stopped.
pub(crate) struct Unhurt {
    name: String,
    status: i32,
    /// What boots next before and after it, and the snapshots.
    old: [String; 2],
    new: [String; 2],
    /// `name@time`, in the order in which it passes them.
    points: Vec<String>,
    said: String,
}

impl Unhurt {
    fn read(fields: &[String]) -> Unhurt {
        Unhurt {
            name: fields[1].clone(),
            status: fields[2].parse().unwrap(),
            old: [fields[3].clone(), fields[4].clone()],
            new: [fields[5].clone(), fields[6].clone()],
            points: fields[7].split_whitespace().map(str::to_owned).collect(),
            said: fields[8].clone(),
        }
    }

    fn judge(&self, scenario: &Scenario) -> Result<(), String> {
        let fails = scenario.words.contains("exit 7") || scenario.words.contains("fail");
        let recovers = self.name != scenario.name;
        match self.status {
            0 if !fails || recovers => Ok(()),
            1 | 7 if fails && !recovers => Ok(()),
            status => Err(format!("{}: ended with {status}: {}", self.name, self.said)),
        }
    }

    fn place(&self, at: &str) -> Option<usize> {
        self.points.iter().position(|p| p == at)
    }

    /// Whether `at` comes before the first time that `point` is passed; none when it is not known.
    fn is_before(&self, at: &str, point: &str) -> Option<bool> {
        let first = self.place(&format!("{point}@1"))?;
        Some(self.place(at)? < first)
    }
}

/// A command that was stopped at a point, and what was found then.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) at: String,
    pub(crate) end: String,
    facts: Vec<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.name, self.at, self.end)?;
        for (what, fact) in FACTS.iter().zip(&self.facts) {
            write!(f, "\n      {what}: {fact}")?;
        }
        Ok(())
    }
}

/// Of each case, in this order.
const FACTS: [&str; 21] = [
    "status",
    "times that the failpoint is named",
    "times that the signal is named",
    "said",
    "processes",
    "mounts more",
    "boots next",
    "snapshots",
    "metadata",
    "status of `status`",
    "status of `recover`",
    "`recover` said",
    "boots next then",
    "snapshots then",
    "status of a second `recover`",
    "a second `recover` said",
    "metadata after it",
    "status of what follows",
    "it said",
    "boots next after it",
    "snapshots after it",
];

/// What stands in the list beside a snapshot that is complete.
const OPEN: &str = "(open)";
const KEPT: &str = "(kept)";

/// Whether a transaction that was open is gone, as after a call or `close` that could not end it.
fn gives_up(list: &str, whole: &Unhurt) -> bool {
    whole.old[1].contains(OPEN) && !list.contains('(')
}

/// Left of a snapshot where numbers are given once (snapper-configs(5), UNIQUE_NUMBERS).
const NUMBER: &str = "(number)";

/// Whether a list of snapshots has one that is not complete, and is not to be so.
fn is_half(scenario: &Scenario, list: &str) -> bool {
    let numbers = if scenario.name.contains("number") {
        list.replace(NUMBER, "")
    } else {
        list.to_owned()
    };
    numbers.replace(OPEN, "").replace(KEPT, "").contains('(')
}

impl Case {
    fn read(fields: Vec<String>) -> Case {
        Case {
            name: fields[1].clone(),
            at: fields[2].clone(),
            end: fields[3].clone(),
            facts: fields[4..].to_vec(),
        }
    }

    fn fact(&self, what: &str) -> &str {
        let place = FACTS.iter().position(|f| *f == what);
        &self.facts[place.expect("a fact has a name of the list")]
    }

    fn point(&self) -> &str {
        self.at.split(['@', '#']).next().unwrap_or(&self.at)
    }

    /// Whether what was under attack is recovery itself.
    fn recovers(&self) -> bool {
        self.name.ends_with(", recover")
    }

    fn judge(&self, scenario: &Scenario, whole: &Unhurt) -> Result<(), String> {
        self.has_ended(scenario, whole)?;
        self.boots(scenario, whole)?;
        self.is_recovered(scenario, whole)?;
        self.goes_on(scenario, whole)
    }

    /// How it ended, and what it said.
    fn has_ended(&self, scenario: &Scenario, whole: &Unhurt) -> Result<(), String> {
        self.wants("processes", "-")?;
        let status = self.fact("status");
        match self.end.as_str() {
            "kill" | "namespace" | "syscall" => self.wants("status", "137"),
            "error" => {
                // that a mark of what is about to go cannot be written stops no deletion, or a full disk would
                let is_mark =
                    self.point().starts_with("replace-") && status == whole.status.to_string();
                let named = self.fact("times that the failpoint is named");
                if scenario.makes_directories() && status == "73" {
                    return (named != "0")
                        .then_some(())
                        .ok_or("no reason is told".into());
                }
                if !is_mark || named != "0" {
                    self.wants("times that the failpoint is named", "1")?;
                }
                match status {
                    "1" => Ok(()),
                    // what cannot be taken back any more, or is no part of it, is told and nothing else
                    _ if status == whole.status.to_string() => Ok(()),
                    _ => Err("an error ends with 1".into()),
                }
            }
            _ if whole.is_before(&self.at, "synced") == Some(true)
                && whole.status == 0
                && status != "1" =>
            {
                Err("a signal before anything is sealed ends a transaction".into())
            }
            _ if status == whole.status.to_string() => Ok(()),
            "TERM" if scenario.dies_of_signals() => self.wants("status", "143"),
            "INT" if scenario.dies_of_signals() => self.wants("status", "130"),
            _ => self
                .wants("status", "1")
                .and_then(|()| self.wants("times that the signal is named", "1")),
        }
    }

    /// What boots next right after it.
    fn boots(&self, scenario: &Scenario, whole: &Unhurt) -> Result<(), String> {
        let next = self.fact("boots next");
        let is_old = next == whole.old[0];
        let is_new = next == whole.new[0];
        if !is_old && !is_new && scenario.between == Between::Never {
            return Err("what boots next is neither old nor new".into());
        }
        let list = self.fact("snapshots");
        // recovery stops no command for what it cannot remove: it says so, and the next one tries again
        let warns = self.recovers() && self.is_told();
        if self.status_is_of(whole) && !warns {
            let done = is_new && (list == whole.new[1] || self.leaves_rest());
            return done
                .then_some(())
                .ok_or("it says that it is done, and it is not".into());
        }
        match self.end.as_str() {
            "kill" | "namespace" => match whole.is_before(&self.at, "after-set-default") {
                Some(before) if scenario.between == Between::Never && before != is_old => {
                    Err("the default is set when it is set, neither earlier nor later".into())
                }
                _ => Ok(()),
            },
            "syscall" => Ok(()),
            _ if scenario
                .late
                .is_some_and(|late| whole.is_before(&self.at, late) == Some(false)) =>
            {
                is_new.then_some(()).ok_or("what was switched stays".into())
            }
            _ if scenario.between == Between::UntilAfter || self.recovers() => Ok(()),
            _ if self.goes_back_later() => next
                .starts_with(&whole.old[0])
                .then_some(())
                .ok_or("its way back is not to the old state".into()),
            _ if !is_old => Err("it failed, and what boots next is not the old state".into()),
            _ if self.leaves_rest() || self.is_kept(scenario, whole) || gives_up(list, whole) => {
                Ok(())
            }
            _ => self
                .wants("mounts more", "0")
                .and_then(|()| self.wants("snapshots", &whole.old[1]))
                .and_then(|()| match scenario.marks {
                    true => Ok(()),
                    false => self.wants("metadata", "same"),
                }),
        }
    }

    fn status_is_of(&self, whole: &Unhurt) -> bool {
        self.fact("status") == whole.status.to_string() && (whole.status != 1 || !self.is_told())
    }

    fn is_told(&self) -> bool {
        self.fact("times that the failpoint is named") != "0"
            || self.fact("times that the signal is named") != "0"
    }

    /// Whether it failed in removing something and said that the rest waits for the next command.
    fn leaves_rest(&self) -> bool {
        let said = self.fact("said");
        self.end == "error"
            && (said.contains("next command removes it") || said.contains("could not be removed"))
    }

    /// Whether it failed on its way back and said that the next command ends it; a note of that is all that is new.
    fn goes_back_later(&self) -> bool {
        let said = self.fact("said");
        self.end == "error" && said.contains("stays until the next command has gone back")
    }

    /// Whether it was asked to keep what failed, and did.
    fn is_kept(&self, scenario: &Scenario, whole: &Unhurt) -> bool {
        scenario.words.contains(" -k ")
            && self.end == "error"
            && self.fact("snapshots") == whole.new[1]
    }

    /// After recovery everything is whole, and a second one finds nothing.
    fn is_recovered(&self, scenario: &Scenario, whole: &Unhurt) -> Result<(), String> {
        self.wants("status of `status`", "0")?;
        self.wants("status of `recover`", "0")?;
        let list = self.fact("snapshots then");
        let was_so = !self.recovers() && list == whole.old[1];
        // what snapper made without an /etc is snapper's own, as long as nothing of it was begun
        let made = if scenario.words.contains(" snapper-plugin ") {
            list.replace("(no-etc)", "")
        } else {
            list.to_owned()
        };
        if is_half(scenario, &made) && !was_so {
            return Err("something half is left after recovery".into());
        }
        let next = self.fact("boots next then");
        // once its tool works again, recovery completes what failed
        let completes = scenario.words.contains("FX_SDB")
            && !next.contains("unproved")
            && !next.contains("does not boot");
        // where recovery could not complete a switch it has gone back, and has said so; the entry and the default agree
        let went_back = self
            .fact("said")
            .contains("what booted before is the next one again")
            && next == self.fact("boots next")
            && !next.contains("unproved");
        let is_one = whole.old[0] == next || whole.new[0] == next || completes || went_back;
        if !is_one && scenario.between != Between::UntilAfter {
            return Err("what boots next after recovery is neither old nor new".into());
        }
        let publishes = self.point() != "before-final-info"
            && whole.is_before(&self.at, "before-final-info") != Some(true);
        if !publishes
            && !self.recovers()
            && !self.status_is_of(whole)
            && !self.is_kept(scenario, whole)
            && !gives_up(list, whole)
            && list != whole.old[1]
        {
            return Err("something is left of a transaction that came to nothing".into());
        }
        self.wants("status of a second `recover`", "0")?;
        self.wants("a second `recover` said", "")?;
        self.wants("metadata after it", "same")
    }

    fn goes_on(&self, scenario: &Scenario, whole: &Unhurt) -> Result<(), String> {
        self.wants("status of what follows", "0")?;
        let list = self.fact("snapshots after it");
        if is_half(scenario, list) {
            return Err("something half is left after what follows".into());
        }
        if scenario.between == Between::UntilAfter && !self.recovers() {
            return self.wants("boots next after it", &whole.new[0]);
        }
        Ok(())
    }

    fn wants(&self, what: &str, wanted: &str) -> Result<(), String> {
        match self.fact(what) {
            fact if fact == wanted => Ok(()),
            fact => Err(format!("{what}: {fact:?}, not {wanted:?}")),
        }
    }
}

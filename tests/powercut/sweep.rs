//! Records a scenario and judges it at many points, on a file system of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::chunks::Untouched;
use crate::fx::{Ran, command, repositories, require_root};
use crate::judge::{Answers, Bench, Boot, Ends, State, Verdict};
use crate::log::{Cut, Random};
use crate::offline::Said;
use crate::record::{Recording, record};
use crate::replay::{Replay, cases};
use crate::scenario::{Scenario, Under};
use crate::tree::Reader;

/// Which points of a recording are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Points {
    /// So many, evenly distributed; every second one loses what was not flushed.
    Sample(usize, u64),
    /// So many of all, at random.
    Random(usize, u64),
    /// Every prefix, and in each epoch so many caches that lose power.
    All(u64),
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) points: usize,
    pub(crate) disks: usize,
    pub(crate) old: usize,
    pub(crate) new: usize,
    /// A line for each bad point.
    pub(crate) bad: Vec<String>,
    /// A line for each point.
    pub(crate) lines: Vec<String>,
    /// A sentence about all of it.
    pub(crate) summary: String,
}

/// In this variable a test says to itself that it runs in namespaces of its own, and where it shows that it did.
const ALONE: &str = "POWERCUT_ALONE";

/// Runs the test `name` once more in a mount namespace and a pid namespace of its own, so that everything is released
/// however it ends. True in there.
#[allow(clippy::print_stdout)] // what was found, for whoever reads the output of the tests
pub(crate) fn is_alone(name: &str) -> bool {
    if let Some(shown) = std::env::var_os(ALONE) {
        fs::write(shown, name).unwrap();
        return true;
    }
    require_root();
    repositories();
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut again = command("setpriv");
    again.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "-m",
        "-p",
        "--fork",
        "--kill-child",
    ]);
    // the shell takes in orphans, as the first process there has to
    again.args(["--mount-proc", "--propagation", "private", "bash", "-c"]);
    again.args(["\"$@\"; exit $?", "alone"]);
    again.arg(std::env::current_exe().unwrap());
    again
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, shown.path());
    let ran = Ran::new(name, again.output().unwrap()).succeeds();
    assert_eq!(fs::read(shown.path()).unwrap(), name.as_bytes(), "{ran}");
    let found = ran.stdout.lines().filter(|line| line.contains("power cut"));
    for line in found {
        println!("{line}");
    }
    false
}

/// A file system whose files share blocks, as long as the namespace lives.
pub(crate) fn scratch() -> PathBuf {
    let cache = Path::new(repositories()).parent().unwrap();
    let at = cache.join("powercut");
    fs::create_dir_all(&at).unwrap();
    let file = tempfile::NamedTempFile::new_in(cache.join("tmp")).unwrap();
    file.as_file().set_len(32 << 30).unwrap();
    // nothing here has to survive
    for (program, words) in [
        ("mkfs.btrfs", &["-q", "-m", "single"][..]),
        ("mount", &["-o", "loop,nobarrier,nodatasum"][..]),
    ] {
        let mut command = command(program);
        command.args(words).arg(file.path());
        if program == "mount" {
            command.arg(&at);
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{program}: {out:?}");
    }
    at
}

/// Records `scenario` and judges it.
pub(crate) fn sweep(scenario: &Scenario, points: Points, workers: usize) -> Found {
    let begun = Instant::now();
    let scratch = scratch();
    let recording = record(scenario, &scratch);
    let recorded = begun.elapsed().as_secs_f32();
    let cuts = cuts(&recording, points);
    let untouched = Untouched::of(&recording.base(), &recording.log);
    // boots before it is looked at change them
    let times_of_directories = !scenario.merges && !scenario.offline;
    let reader = Reader::new(untouched, times_of_directories);
    let boot = Boot {
        merges: scenario.merges,
        recovers: !matches!(scenario.under, Under::ByHand(_)),
        offline: scenario.offline,
    };
    let (rpm, said) = (Answers::default(), Said::default());
    let benches: Vec<Bench<'_>> = (0..workers)
        .map(|n| {
            Bench::new(
                recording.dir.join(n.to_string()),
                &reader,
                (&rpm, &said),
                boot,
            )
        })
        .collect();
    let ends = ends(&recording, &benches[0]);
    ends.check()
        .unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
    let mut found = judge(&recording, &ends, &cuts, &benches);
    let log = &recording.log.entries;
    found.summary = format!(
        "{}: {} points on {} disks: old {}, new {}, bad {}; {} writes in {} epochs from {} on, done at {:?}, {} files; recorded in {recorded:.1} s, {:.1} s",
        scenario.name,
        found.points,
        found.disks,
        found.old,
        found.new,
        found.bad.len(),
        log.iter().filter(|e| e.writes()).count(),
        recording.log.epochs().len(),
        recording.begun,
        recording.done,
        ends.new.files(),
        begun.elapsed().as_secs_f32(),
    );
    found
}

/// The state before and after. Everything is read both times, which shows that what is not read again has not changed.
fn ends(recording: &Recording, bench: &Bench<'_>) -> Ends {
    let [old, new] = [recording.begun, recording.log.entries.len()].map(|upto| {
        let image = recording.log.image(Cut { upto, seed: None });
        let front = bench.disk().with_extension("front");
        let replay = Replay::new(&recording.log, &recording.base(), &front);
        replay
            .and_then(|mut r| r.make(&image, &bench.disk()))
            .unwrap();
        fs::remove_file(front).unwrap();
        bench.look(true, &BTreeSet::new())
    });
    Ends { old, new }
}

/// The points to be judged, in order.
pub(crate) fn cuts(recording: &Recording, points: Points) -> Vec<Cut> {
    let (from, to) = (recording.begun, recording.log.entries.len());
    let prefix = |upto| Cut { upto, seed: None };
    match points {
        Points::Sample(count, seed) => (0..count)
            .map(|k| Cut {
                upto: from + (to - from) * k / (count - 1).max(1),
                seed: (k % 2 == 1).then(|| seed.wrapping_add(k as u64)),
            })
            .collect(),
        Points::Random(count, seed) => {
            let mut random = Random::of(seed, to as u64);
            let mut cut = || Cut {
                upto: from + (random.next() % (to - from + 1) as u64) as usize,
                seed: (random.next() % 2 == 1).then(|| random.next() % 1_000_000),
            };
            (0..count).map(|_| cut()).collect()
        }
        Points::All(seed) => {
            let mut all: Vec<Cut> = (from..=to).map(prefix).collect();
            for (start, end) in recording.log.epochs() {
                let start = start.max(from);
                if start >= end {
                    continue;
                }
                let mut random = Random::of(seed, start as u64);
                all.extend((0..20).map(|k| Cut {
                    // the end of an epoch has most to lose
                    upto: match k % 2 {
                        0 => end,
                        _ => start + 1 + (random.next() % (end - start) as u64) as usize,
                    },
                    seed: Some(random.next() % 1_000_000),
                }));
            }
            all
        }
    }
}

/// Judges each disk once, and each point of it.
fn judge(recording: &Recording, ends: &Ends, cuts: &[Cut], benches: &[Bench<'_>]) -> Found {
    let cases = cases(&recording.log, cuts);
    let front = recording.dir.join("front");
    let replay = Replay::new(&recording.log, &recording.base(), &front).unwrap();
    let (quiet, none) = (ends.quiet(), BTreeSet::new());
    let next = Mutex::new((replay, cases.iter().enumerate()));
    let (sender, receiver): (Sender<(usize, State)>, Receiver<_>) = channel();
    let mut found = Found {
        disks: cases.len(),
        ..Found::default()
    };
    std::thread::scope(|scope| {
        for bench in benches {
            let (sender, next, quiet, none) = (sender.clone(), &next, &quiet, &none);
            scope.spawn(move || {
                loop {
                    let number = {
                        let mut next = next.lock().unwrap();
                        let Some((number, (image, _))) = next.1.next() else {
                            break;
                        };
                        next.0.make(image, &bench.disk()).unwrap();
                        number
                    };
                    // now and then without the short cuts
                    let quiet = if number % 8 == 7 { none } else { quiet };
                    let state = bench.look(number % 64 == 63, quiet);
                    sender.send((number, state)).unwrap();
                }
            });
        }
        drop(sender);
        for (number, state) in receiver {
            found.add(&cases[number].1, recording.done, ends, &state);
        }
    });
    let left: BTreeSet<Cut> = cuts.iter().copied().collect();
    assert_eq!(found.points, left.len(), "a point was not judged");
    found
}

impl Found {
    fn add(&mut self, cuts: &[Cut], done: Option<usize>, ends: &Ends, state: &State) {
        for cut in cuts {
            let verdict = ends.judge(state, done.is_some_and(|done| cut.upto >= done));
            self.points += 1;
            let seed = cut.seed.map_or("-".to_owned(), |seed| seed.to_string());
            let line = format!("point {} seed {seed}: {verdict:?}", cut.upto);
            match verdict {
                Verdict::Old => self.old += 1,
                Verdict::New => self.new += 1,
                Verdict::Bad(_) => self.bad.push(line.clone()),
            }
            self.lines.push(line);
        }
    }
}

/// The hash that makes a seed of what a person or a script gives.
pub(crate) fn seed_of(text: &str, name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (text, name).hash(&mut hasher);
    hasher.finish() % 1_000_000
}

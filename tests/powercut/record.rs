//! Runs a command on a disk that logs its writes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fx::{Machine, PROGRAM, command, fixture, script};
use crate::log::{Cut, HEADER, Log, count};
use crate::replay::{Replay, difference};
use crate::scenario::{Scenario, Under};

/// A command that ran, and its writes.
pub(crate) struct Recording {
    /// Where its files are; on a file system whose files can share blocks.
    pub(crate) dir: PathBuf,
    /// How many entries there were when the command began.
    pub(crate) begun: usize,
    /// How many there were when it came back, if what it did has to be on the disk then.
    pub(crate) done: Option<usize>,
    pub(crate) log: Log,
}

impl Recording {
    /// The disk before the command.
    pub(crate) fn base(&self) -> PathBuf {
        self.dir.join("base")
    }
}

/// Runs what is needed before and then the command of `scenario`. The full log leads to the recorded disk, byte for
/// byte, or the test fails: QEMU's export is part of the chain that is not trusted.
pub(crate) fn record(scenario: &Scenario, scratch: &Path) -> Recording {
    let dir = scratch.join(scenario.name);
    fs::create_dir(&dir).unwrap();
    let at = |name: &str| dir.join(name);
    let mut machine = Machine::of(scenario.variant);
    if scenario.offline {
        // its unit has to be there
        machine.install();
    }
    if !scenario.prepare.is_empty() {
        machine.prepare(scenario.prepare);
    }
    for (script, code) in scenario.before {
        machine.boot(script).exits(*code);
    }
    if let Some(repository) = scenario.repository {
        machine.use_repository(repository, &["gpgcheck=0"]);
    }
    copy(machine.image(), &at("base"), "--sparse=always");
    copy(&at("base"), &at("disk"), "--reflink=always");
    let disk = at("disk").display().to_string();
    let [chain, log] = ["chain", "log"].map(|n| at(n).display().to_string());
    let export = script("disk.sh", &["start", "log", &disk, &chain, &log]);
    machine.bind(&dir, "/run/record");
    let tools = match scenario.under {
        Under::Product => String::new(),
        Under::ByHand(early) => {
            machine.bind(fixture("tx-by-hand.sh"), "/run/by-hand");
            format!("export EARLY_DEFAULT={early}; ")
        }
        Under::EarlyProduct => {
            machine.bind(early_product(), "/run/early/transactional-update");
            "PATH=/run/early:$PATH; ".to_owned()
        }
    };
    let ran = machine.boot_on(
        export.as_ref(),
        &format!(
            "mark() {{ head -c {HEADER} /run/record/log > /run/record/$1; }}
             {tools} {} || exit 99; sync -f /.snapshots; mark begun; {}; rc=$?; mark done; exit $rc",
            if scenario.setup.is_empty() { "true" } else { scenario.setup },
            scenario.command
        ),
    );
    script("disk.sh", &["stop", &chain]);
    ran.exits(scenario.code);
    let log = Log::open(&at("log")).unwrap();
    let mark = |name| count(&fs::read(at(name)).unwrap()).unwrap() as usize;
    let begun = if scenario.setup.is_empty() {
        0
    } else {
        mark("begun")
    };
    let done = mark("done");
    assert!(begun <= done && done <= log.entries.len());
    let whole = log.image(Cut {
        upto: log.entries.len(),
        seed: None,
    });
    Replay::new(&log, &at("base"), &at("replayed"))
        .and_then(|mut replay| replay.make(&whole, &at("same")))
        .unwrap();
    let differs = difference(&at("same"), &at("disk")).unwrap();
    assert_eq!(differs, None, "the log does not lead to the recorded disk");
    for name in ["same", "replayed", "disk"] {
        fs::remove_file(at(name)).unwrap();
    }
    Recording {
        dir,
        begun,
        done: scenario.promises.then_some(done),
        log,
    }
}

fn copy(from: &Path, to: &Path, how: &str) {
    let copied = command("cp").arg(how).args([from, to]).status();
    assert!(copied.unwrap().success(), "copying {}", from.display());
}

/// The product built with the mistake that a test of power cuts has to find.
fn early_product() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = project.join("target/powercut-control");
    let mut cargo = command(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(project);
    cargo.args([
        "build",
        "--locked",
        "--quiet",
        "--features",
        "publish-early",
    ]);
    cargo.args(["--bin", "transactional-update", "--target-dir"]);
    assert!(
        cargo.arg(&target).status().unwrap().success(),
        "building the control"
    );
    let program = target.join("debug/transactional-update");
    assert_ne!(fs::read(&program).unwrap(), fs::read(PROGRAM).unwrap());
    program
}

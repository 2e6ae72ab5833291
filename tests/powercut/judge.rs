//! Looks at a disk after a power cut as a boot would, recovers it, and says whether it is old or new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;

use crate::fx::{MERGE, PROGRAM, command};
use crate::offline::{Offline, Said};
use crate::tree::{Known, Reader, Tree, names};

/// What is in the directory of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    names: Vec<String>,
    info: Option<String>,
}

impl Shown {
    fn is_in_progress(&self) -> bool {
        self.says("<key>transactional-update-in-progress</key>")
    }

    /// Whether its description holds `text`.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.info.as_ref().is_some_and(|info| info.contains(text))
    }

    /// Whether it has a description, a subvolume, and nothing unfinished.
    fn is_whole(&self) -> bool {
        self.info.is_some() && !self.is_in_progress() && self.names == ["info.xml", "snapshot"]
    }
}

/// All snapshots by the names in their directory.
pub(crate) type Snapshots = BTreeMap<String, Shown>;

/// What a boot finds on a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The snapshot that boots.
    default: String,
    /// Before anything was recovered.
    snapshots: Snapshots,
    /// Whether a merge of /etc was still to be done.
    unmerged: bool,
    /// `rpm -qa` with the hashes of the headers, and `rpm -Va`.
    rpm: (String, String),
    trees: BTreeMap<String, Tree>,
    recovered: Snapshots,
    /// In place of all that, where it is about an update in a boot of its own.
    pub(crate) offline: Option<Offline>,
    /// What is wrong whatever the state.
    pub(crate) wrong: Vec<String>,
}

/// The two ends of a recording.
pub(crate) struct Ends {
    pub(crate) old: State,
    pub(crate) new: State,
}

/// What a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Old,
    New,
    /// Neither, and why.
    Bad(String),
}

/// What is done before a disk is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot {
    pub(crate) merges: bool,
    pub(crate) recovers: bool,
    pub(crate) offline: bool,
}

/// What rpm said of a tree with a database: it would say the same again.
pub(crate) type Answers = Mutex<HashMap<(u64, u64), (String, String)>>;

/// Looks at one disk at a time.
pub(crate) struct Bench<'r> {
    dir: PathBuf,
    pub(crate) reader: &'r Reader,
    rpm: &'r Answers,
    pub(crate) said: &'r Said,
    boot: Boot,
}

impl<'r> Bench<'r> {
    pub(crate) fn new(
        dir: PathBuf,
        reader: &'r Reader,
        (rpm, said): (&'r Answers, &'r Said),
        boot: Boot,
    ) -> Bench<'r> {
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("root")).unwrap();
        Bench {
            dir,
            reader,
            rpm,
            said,
            boot,
        }
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Looks at the disk, which is used up. With `all`, each byte of it is read; else what `quiet` names is taken as it
    /// is, unless it boots.
    pub(crate) fn look(&self, all: bool, quiet: &BTreeSet<String>) -> State {
        let mut state = State::default();
        let looked = match self.boot.offline {
            true => self.look_offline(&mut state, all),
            false => self.mounted(|| self.look_inside(&mut state, all, quiet)),
        };
        state.wrong.extend(looked.err());
        let mut check = command("btrfs");
        check.args(["check", "--readonly"]).arg(self.disk());
        if let Err(e) = run(&mut check) {
            state.wrong.push(format!("btrfs check: {e}"));
        }
        fs::remove_file(self.disk()).unwrap();
        state
    }

    /// Mounts the disk as a boot does while `look` looks at it.
    pub(crate) fn mounted<T>(&self, look: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let root = self.root();
        let mut mount = command("mount");
        run(mount.args(["-o", "loop"]).args([&self.disk(), &root]))
            .map_err(|e| format!("does not mount: {e}"))?;
        let looked = device(&root).and_then(|device| {
            for place in [".snapshots", "var"] {
                let mut mount = command("mount");
                mount.args(["-t", "btrfs", "-o", &format!("subvol=/@/{place}"), &device]);
                run(mount.arg(root.join(place)))?;
            }
            look()
        });
        run(command("umount").arg("-R").arg(&root))?;
        looked
    }

    fn look_inside(
        &self,
        state: &mut State,
        all: bool,
        quiet: &BTreeSet<String>,
    ) -> Result<(), String> {
        let root = self.root();
        let snapshots = root.join(".snapshots");
        state.default = default(&root)?;
        state.snapshots = look_at(&snapshots)?;
        if self.boot.merges {
            let point = root.join("etc/etc.syncpoint");
            state.unmerged = point.exists();
            if state.unmerged {
                let etc = root.join("etc");
                run(command("mount").arg("--bind").args([&etc, &etc]))?;
                run(command(MERGE).arg("--sysroot").arg(&root))?;
                run(command("umount").arg(&etc))?;
            }
            if point.exists() {
                state.wrong.push("the syncpoint of /etc stays".into());
            }
        }
        // what is to be removed needs no look, but what boots does in any case
        let mut here = Known::new();
        let mut tree = |name: &str| {
            let top = snapshots.join(name).join("snapshot");
            self.reader.read(&top, all, &mut here)
        };
        let default = tree(&state.default);
        state.rpm = self.ask_rpm(&default)?;
        state.trees.insert(state.default.clone(), default);
        state.recovered = match self.boot.recovers {
            true => self.recover(&snapshots, state)?,
            false => {
                let mut snapshots = state.snapshots.clone();
                snapshots.retain(|name, _| *name == state.default);
                snapshots
            }
        };
        for name in state.recovered.keys().filter(|n| **n != state.default) {
            if all || !quiet.contains(name) {
                state.trees.insert(name.clone(), tree(name));
            }
        }
        Ok(())
    }

    /// Recovers twice: the second time says and changes nothing.
    fn recover(&self, snapshots: &Path, state: &mut State) -> Result<Snapshots, String> {
        let recover = || {
            let mut boot = command("unshare");
            boot.args([
                "-m",
                "--propagation",
                "private",
                "sh",
                "-ec",
                RECOVER,
                "recover",
            ]);
            run(boot
                .arg(self.root())
                .arg(PROGRAM)
                .env_remove("TU_FAILPOINTS"))
        };
        recover()?;
        let recovered = look_at(snapshots)?;
        let again = recover()?;
        let said = [again.stdout, again.stderr].concat();
        if !said.is_empty() || look_at(snapshots)? != recovered {
            let said = String::from_utf8_lossy(&said).into_owned();
            state
                .wrong
                .push(format!("a second recovery does something: {said}"));
        }
        if default(&self.root())? != state.default {
            state.wrong.push("the recovery changed the default".into());
        }
        Ok(recovered)
    }

    /// What rpm says of the default snapshot. It wants to write beside its database, which is therefore a copy.
    pub(crate) fn ask_rpm(&self, tree: &Tree) -> Result<(String, String), String> {
        let key = (tree.sum(), tree.database);
        if let Some(said) = self.rpm.lock().unwrap().get(&key) {
            return Ok(said.clone());
        }
        let (root, copy) = (self.root(), self.dir.join("database"));
        let database = root.join("usr/lib/sysimage/rpm");
        run(command("cp").arg("-r").args([&database, &copy]))?;
        run(command("mount").arg("--bind").args([&copy, &database]))?;
        let rpm = |words: &[&str]| {
            let mut rpm = command("chroot");
            let out = rpm
                .arg(&root)
                .arg("rpm")
                .args(words)
                .env("LC_ALL", "C")
                .output();
            let out = out.map_err(|e| e.to_string())?;
            let text = [out.stdout, out.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut lines: Vec<&str> = text.lines().filter(|l| !is_elsewhere(l)).collect();
            lines.sort_unstable();
            Ok::<_, String>(lines.join("\n"))
        };
        let list = rpm(&["-qa", "--qf", "%{NEVRA} %{SHA256HEADER}\\n"])?;
        let verified = rpm(&["-Va", "--nodeps"])?;
        run(command("umount").arg(&database))?;
        run(command("rm").arg("-r").arg(&copy))?;
        let said = (list, verified);
        self.rpm.lock().unwrap().insert(key, said.clone());
        Ok(said)
    }
}

/// As the unit does it early at boot.
const RECOVER: &str = r#"
cd "$1"; for place in run tmp; do mount -t tmpfs tmpfs $place; done
mount -t proc proc proc; for place in sys dev; do mount --rbind /$place $place; done
: > run/program; mount --bind "$2" run/program
exec chroot . /run/program recover"#;

/// Whether a line of `rpm -Va` is about something that lies in another subvolume than the system.
fn is_elsewhere(line: &str) -> bool {
    let path = line.split_whitespace().find(|w| w.starts_with('/'));
    path.is_some_and(|path| {
        let top = path.split('/').nth(1);
        top.is_some_and(|top| ["var", "srv", "opt", "root", "home"].contains(&top))
    })
}

/// Runs a program of which nothing but success is expected.
pub(crate) fn run(command: &mut std::process::Command) -> Result<Output, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
    match command.output() {
        Ok(out) if out.status.success() => Ok(out),
        Ok(out) => {
            let program = command.get_program().display();
            let said = text(&out.stderr);
            Err(format!("{program}: {}: {said}", out.status))
        }
        Err(e) => Err(format!("{command:?}: {e}")),
    }
}

/// The device that is mounted at `root`.
fn device(root: &Path) -> Result<String, String> {
    let mut findmnt = command("findmnt");
    let out = run(findmnt.args(["-n", "-v", "-o", "SOURCE", "-M"]).arg(root))?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The number of the snapshot that boots.
pub(crate) fn default(root: &Path) -> Result<String, String> {
    let out = run(command("btrfs")
        .args(["subvolume", "get-default"])
        .arg(root))?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let number = text
        .strip_suffix("/snapshot")
        .and_then(|t| t.rsplit_once("@/.snapshots/"))
        .map(|(_, number)| number.to_owned());
    number.ok_or(format!("the default subvolume is {text:?}"))
}

pub(crate) fn look_at(snapshots: &Path) -> Result<Snapshots, String> {
    let read = |path: &Path| names(path).map_err(|e| format!("{}: {e}", path.display()));
    let mut found = Snapshots::new();
    for name in read(snapshots)? {
        let dir = snapshots.join(&name);
        let names = read(&dir)?;
        let names = names.iter().map(|n| n.to_string_lossy().into_owned());
        let shown = Shown {
            names: names.collect(),
            info: fs::read_to_string(dir.join("info.xml")).ok(),
        };
        found.insert(name.to_string_lossy().into_owned(), shown);
    }
    Ok(found)
}

impl Ends {
    /// Whether the two ends are what a test of power cuts can be made of.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, end) in [("old", &self.old), ("new", &self.new)] {
            if !end.wrong.is_empty() {
                return Err(format!("the {name} end: {}", end.wrong.join("; ")));
            }
        }
        let same = match (&self.old.offline, &self.new.offline) {
            (Some(old), Some(new)) => self.is_done_offline(old) || !self.is_done_offline(new),
            _ => {
                self.old.default == self.new.default
                    && self.old.snapshots == self.new.snapshots
                    && self.old.unmerged == self.new.unmerged
            }
        };
        if same {
            return Err("the command changed nothing".into());
        }
        Ok(())
    }

    /// The snapshots that the command leaves alone: both ends have them with the same content.
    pub(crate) fn quiet(&self) -> BTreeSet<String> {
        let same = |(name, tree): &(&String, &Tree)| {
            let other = self.new.trees.get(*name);
            other.is_some_and(|other| other == *tree)
        };
        let both = self.old.trees.iter().filter(same);
        both.map(|(name, _)| name.clone()).collect()
    }

    /// Judges a disk; `done` when the command had come back.
    pub(crate) fn judge(&self, state: &State, done: bool) -> Verdict {
        if let Some(found) = &state.offline {
            return self.judge_offline(state, found, done);
        }
        let mut wrong = state.wrong.clone();
        if wrong.is_empty() {
            self.what_boots(state, &mut wrong);
            self.what_is_left(state, &mut wrong);
        }
        let is_new = match self.old.default == self.new.default {
            false => state.default == self.new.default,
            true => state.snapshots == self.new.snapshots && state.unmerged == self.new.unmerged,
        };
        if done && !is_new {
            wrong.push("reported as done, but not there".into());
        }
        match (wrong.is_empty(), is_new) {
            (false, _) => Verdict::Bad(wrong.join("; ")),
            (true, true) => Verdict::New,
            (true, false) => Verdict::Old,
        }
    }

    fn what_boots(&self, state: &State, wrong: &mut Vec<String>) {
        let default = &state.default;
        let ends: Vec<&State> = [&self.old, &self.new]
            .into_iter()
            .filter(|end| end.default == *default)
            .collect();
        let Some(end) = ends.first() else {
            wrong.push(format!("snapshot {default} boots"));
            return;
        };
        if !ends.iter().any(|end| end.rpm == state.rpm) {
            let what = match end.rpm.0 == state.rpm.0 {
                true => format!("rpm -Va says {:?}", state.rpm.1),
                false => "the packages are others".to_owned(),
            };
            wrong.push(what);
        }
        // what it says is compared after the recovery, which may take a mark away
        match state.snapshots.get(default) {
            Some(shown) if shown.info.is_none() => wrong.push("what boots has no info.xml".into()),
            Some(shown) if shown.is_in_progress() => wrong.push("what boots is in progress".into()),
            Some(_) => {}
            None => wrong.push("what boots has no directory".into()),
        }
    }

    /// After the recovery: whole snapshots of the one end or the other, and all that both have.
    fn what_is_left(&self, state: &State, wrong: &mut Vec<String>) {
        let ends = [&self.old, &self.new];
        for name in self.old.recovered.keys() {
            if self.new.recovered.contains_key(name) && !state.recovered.contains_key(name) {
                wrong.push(format!("snapshot {name} is lost"));
            }
        }
        for (name, shown) in &state.recovered {
            let known: Vec<&Shown> = ends
                .iter()
                .flat_map(|end| [end.recovered.get(name), end.snapshots.get(name)])
                .flatten()
                .collect();
            if !shown.is_whole() || !known.contains(&shown) {
                let names = shown.names.join(" ");
                let mark = match (shown.is_in_progress(), shown.is_whole()) {
                    (true, _) => ", in progress",
                    (_, true) => ", and another info.xml",
                    _ => "",
                };
                wrong.push(format!("{name} is left with: {names}{mark}"));
            }
            let trees: Vec<&Tree> = ends.iter().filter_map(|e| e.trees.get(name)).collect();
            let tree = state.trees.get(name);
            if tree.is_none() && self.quiet().contains(name) {
                continue;
            }
            if !tree.is_some_and(|tree| trees.iter().any(|known| tree.is_like(known))) {
                let difference = tree.zip(trees.first());
                let difference = difference.map_or("unknown".into(), |(t, k)| t.difference(k));
                wrong.push(format!("snapshot {name}: {difference}"));
            }
        }
    }
}

impl State {
    /// How many files were looked at.
    pub(crate) fn files(&self) -> usize {
        let offline = self.offline.as_ref().map_or(0, Offline::files);
        self.trees.values().map(Tree::len).sum::<usize>() + offline
    }
}

//! The fixture as tests see it: a machine with the openSUSE layout that can be booted, changed and looked at.
//!
//! `FX_LAYOUT=b` in the environment makes each machine of which a test says nothing more have /etc as a
//! subvolume of its own; `a`, the same as nothing, leaves /etc in the snapshot's own subvolume.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// The program under test, on this machine.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_transactional-update");
/// The other program, beside it.
const TUKIT: &str = env!("CARGO_BIN_EXE_tukit");
/// What an initrd runs before a new snapshot boots for the first time.
pub(crate) const MERGE: &str = env!("CARGO_BIN_EXE_transactional-update-sync-etc-state");
/// What makes the directories of packages.
pub(crate) const CREATE_DIRS: &str = env!("CARGO_BIN_EXE_create-dirs-from-rpmdb");
/// What systemd calls before it starts units.
pub(crate) const GENERATOR: &str = env!("CARGO_BIN_EXE_transactional-update-generator");
/// For a script that runs in a real boot and enters another target there: its unit is stopped with all others, and must not ask for
/// anything then.
pub(crate) const QUIET: &str = "mkdir -p /run/systemd/system/tu-test.service.d
     printf '[Service]\\nExecStopPost=\\n' > /run/systemd/system/tu-test.service.d/quiet.conf; systemctl daemon-reload";
/// Where a booted machine sees it; also in PATH there as `transactional-update`.
const PROGRAM_INSIDE: &str = "/run/tu/transactional-update";

/// How a machine is made: how its root is mounted, where /etc is, and the format of its RPM database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    RoSqlite,
    RoNdb,
    RwSqlite,
    RwNdb,
    /// Read-only, with /etc as a subvolume of its own inside the snapshot.
    NestedSqlite,
    NestedNdb,
}

pub(crate) const ALL_VARIANTS: [Variant; 6] = [
    Variant::RoSqlite,
    Variant::RoNdb,
    Variant::RwSqlite,
    Variant::RwNdb,
    Variant::NestedSqlite,
    Variant::NestedNdb,
];

impl Variant {
    /// What a machine is whose test has no wish of its own: `FX_LAYOUT` says it.
    pub(crate) fn usual() -> Variant {
        match std::env::var("FX_LAYOUT").as_deref() {
            Err(std::env::VarError::NotPresent) | Ok("a") => Variant::RoSqlite,
            Ok("b") => Variant::NestedSqlite,
            other => panic!("FX_LAYOUT is {other:?}; it may be a or b"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Variant::RoSqlite => "ro-sqlite",
            Variant::RoNdb => "ro-ndb",
            Variant::RwSqlite => "rw-sqlite",
            Variant::RwNdb => "rw-ndb",
            Variant::NestedSqlite => "b-sqlite",
            Variant::NestedNdb => "b-ndb",
        }
    }

    pub(crate) fn is_read_write(self) -> bool {
        matches!(self, Variant::RwSqlite | Variant::RwNdb)
    }
}

/// What [`Machine::power_on`] ends with when the system asked for a reboot.
pub(crate) const REBOOT: i32 = 133;

/// A machine of its own for one test; its image goes with it.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    image: PathBuf,
    binds: Vec<String>,
}

impl Machine {
    /// A new machine with a read-only root and an sqlite database, the one that most tests want.
    pub(crate) fn new() -> Machine {
        Machine::of(Variant::usual())
    }

    pub(crate) fn of(variant: Variant) -> Machine {
        Machine::from_template(&[variant.name()])
    }

    /// A machine with a disk of `size` (as `600M`).
    pub(crate) fn with_disk(size: &str) -> Machine {
        Machine::of_size(Variant::usual(), size)
    }

    pub(crate) fn of_size(variant: Variant, size: &str) -> Machine {
        Machine::from_template(&[variant.name(), size])
    }

    fn from_template(args: &[&str]) -> Machine {
        require_root();
        let template = script("template.sh", args);
        let dir = scratch();
        let image = dir.path().join("disk.img");
        copy(Path::new(&template), &image);
        let binds = vec![
            format!("{PROGRAM}:{PROGRAM_INSIDE}"),
            format!("{TUKIT}:/run/tu/tukit"),
            format!("{CREATE_DIRS}:/run/tu/create-dirs-from-rpmdb"),
            format!("{}:/run/repos", repositories()),
        ];
        Machine { dir, image, binds }
    }

    /// The same with a file system that is no copy of another one. Of several copies that are mounted at a time, each but the first
    /// gets a new identity at each boot, and what was remembered of it is of another system then.
    pub(crate) fn with_own_identity(self) -> Machine {
        let mut own = command("btrfstune");
        let own = own.args(["-f", "-m"]).arg(&self.image).output();
        Ran::new("btrfstune", own.unwrap()).succeeds();
        self
    }

    /// Another machine that is as this one is now.
    pub(crate) fn copy(&self) -> Machine {
        let dir = scratch();
        let image = dir.path().join("disk.img");
        copy(&self.image, &image);
        let binds = self.binds.clone();
        Machine { dir, image, binds }
    }

    /// The directory of this test, on the host; the machine's image is in it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// Shows `host` to the machine as `inside` at every boot from now on; best below /run.
    pub(crate) fn bind(&mut self, host: impl AsRef<Path>, inside: &str) {
        // a place is made by opening it for writing, which must not be a program that another test runs just now
        let is_taken = |bind: &String| bind.split_once(':').is_some_and(|(_, at)| at == inside);
        assert!(!self.binds.iter().any(is_taken), "{inside} is shown twice");
        self.binds
            .push(format!("{}:{inside}", host.as_ref().display()));
    }

    /// Boots the machine and runs a bash script in it. Each call is a boot of what is the default then.
    pub(crate) fn boot(&self, script: &str) -> Ran {
        let out = self
            .enter(&[], &self.image)
            .args(["bash", "-c", &inside(script)])
            .output()
            .unwrap();
        Ran::new(script, out)
    }

    /// Puts programs and units into the machine as `make install` does, for real boots: units call the program
    /// by its full path.
    pub(crate) fn install(&self) {
        let tree = self.dir().join("installed");
        let built = Path::new(PROGRAM).parent().unwrap().display();
        let made = command("make")
            .args([
                "--silent",
                "-C",
                env!("CARGO_MANIFEST_DIR"),
                "install-system",
            ])
            .arg(format!("BUILT={built}"))
            .arg(format!("DESTDIR={}", tree.display()))
            .output()
            .unwrap();
        Ran::new("make install-system", made).succeeds();
        let mut command = self.enter(&[("FX_EDIT", "1")], &self.image);
        command.env("FX_BIND", format!("{}:/run/installed", tree.display()));
        let copy = "cp -r --preserve=mode /run/installed/. /";
        Ran::new(copy, command.args(["bash", "-c", copy]).output().unwrap()).succeeds();
    }

    /// Really boots the machine, with systemd as PID 1, and runs a bash script as a unit once it is up. The
    /// code is 133 when the system asked for a reboot before the script had ended, 0 when it did not and was
    /// powered off. Standard output holds what the script printed, standard error the console.
    pub(crate) fn power_on(&self, script: &str) -> Ran {
        self.power_on_with("", script)
    }

    /// The same with further words of the kernel command line.
    pub(crate) fn power_on_with(&self, words: &str, script: &str) -> Ran {
        let mut boot = self.booting(script);
        Ran::new(script, boot.env("FX_WORDS", words).output().unwrap())
    }

    /// The same, where the root is what this link below a directory of the machine shows to, as `images/current`.
    pub(crate) fn power_on_image(&self, link: &str, script: &str) -> Ran {
        let mut boot = self.booting(script);
        Ran::new(script, boot.env("FX_IMAGE", link).output().unwrap())
    }

    /// The same with what default.target is, which a trigger leads to system-update.target: the script does not run there.
    pub(crate) fn power_on_default(&self, words: &str, script: &str) -> Ran {
        let mut boot = self.booting(script);
        boot.env("FX_WORDS", words).env("FX_DEFAULT", "1");
        Ran::new(script, boot.output().unwrap())
    }

    /// The same, where the system may restart user space alone.
    pub(crate) fn power_on_softly(&self, script: &str) -> Ran {
        let mut boot = self.booting(script);
        boot.env("FX_SOFT", "1").env("FX_DEFAULT", "1");
        Ran::new(script, boot.output().unwrap())
    }

    /// Boots its default target, where a script runs unless a trigger leads elsewhere, and pulls the plug at this failpoint, wherever a
    /// program of ours gets there.
    pub(crate) fn plug_pulled_at(&self, point: &str, script: &str) {
        let words = format!(
            "systemd.setenv=TU_FAILPOINTS={point}=touch:/run/tu-test/reached,{point}=wait:/run/never"
        );
        let mut boot = self.booting(script);
        boot.env("FX_WORDS", words).env("FX_DEFAULT", "1");
        let mut boot = boot
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // boot.sh shows this directory of its own to the machine
        let reached = cache().join(format!("tmp/tu-boot.{}/reached", boot.id()));
        while !reached.exists() {
            let ended = boot.try_wait().unwrap();
            assert_eq!(ended, None, "the boot ended without {point}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        boot.kill().unwrap();
        boot.wait().unwrap();
    }

    fn booting(&self, script: &str) -> Command {
        let mut command = command(fixture("boot.sh"));
        command
            .arg(&self.image)
            .arg(inside(script))
            .env("FX_BIND", self.binds.join(" "))
            .env("FX_INITRD", MERGE);
        command
    }

    /// Boots and runs `transactional-update` with these words, split at blanks.
    pub(crate) fn tu(&self, words: &str) -> Ran {
        self.boot(&format!("transactional-update {words}"))
    }

    /// The same as [`Machine::boot`], not waited for; standard streams are pipes.
    pub(crate) fn start(&self, script: &str) -> Child {
        let mut command = self.enter(&[], &self.image);
        command.args(["bash", "-c", &inside(script)]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Boots and dies at this failpoint of the merge of /etc, before the system is up.
    pub(crate) fn dies_in_initrd(&self, point: &str) -> Ran {
        let mut command = self.enter(&[], &self.image);
        command.env("TU_FAILPOINTS", format!("{point}=kill"));
        Ran::new(point, command.args(["echo", "up"]).output().unwrap()).exits(137)
    }

    /// Runs a script with the machine's disk on this block device or file instead of its image.
    pub(crate) fn boot_on(&self, disk: &Path, script: &str) -> Ran {
        let out = self
            .enter(&[], disk)
            .args(["bash", "-c", &inside(script)])
            .output()
            .unwrap();
        Ran::new(script, out)
    }

    /// Prepares the machine: its root is writable while the script runs, whatever it is otherwise.
    pub(crate) fn prepare(&self, script: &str) {
        let mut command = self.enter(&[("FX_EDIT", "1")], &self.image);
        let out = command
            .args(["bash", "-ec", &inside(script)])
            .output()
            .unwrap();
        Ran::new(script, out).succeeds();
    }

    /// Runs a script on this host with the machine's disk mounted at `$FX_ROOT`; `$TU` is the program.
    pub(crate) fn outside(&self, script: &str) -> Ran {
        let mut command = self.enter(&[("FX_OUTSIDE", "1"), ("TU", PROGRAM)], &self.image);
        let out = command.args(["bash", "-c", script]).output().unwrap();
        Ran::new(script, out)
    }

    /// Gives the machine this one repository, with these lines added to its definition.
    pub(crate) fn use_repository(&self, name: &str, lines: &[&str]) {
        let image = self.image.to_str().unwrap();
        script("use-repo.sh", &[&[image, name][..], lines].concat());
    }

    fn enter(&self, env: &[(&str, &str)], disk: &Path) -> Command {
        let mut command = command(fixture("enter.sh"));
        command
            .arg(disk)
            .env("FX_BIND", self.binds.join(" "))
            .env("FX_INITRD", MERGE)
            .envs(env.iter().copied());
        for name in ["TRANSACTIONAL_UPDATE", "TU_FAILPOINTS", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        command
    }

    /// Asserts that nothing but these snapshots is there, that `default` is the default, and that no mount of
    /// the machine is left on this host.
    pub(crate) fn holds(&self, snapshots: &[u32], default: u32) {
        let ran = self.boot(
            "ls -A /.snapshots | sort -n | xargs; btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\\1|'",
        );
        let mut wanted: Vec<u32> = snapshots.to_vec();
        wanted.sort_unstable();
        let wanted: Vec<String> = wanted.iter().map(u32::to_string).collect();
        assert_eq!(
            ran.stdout.trim(),
            format!("{}\n{default}", wanted.join(" ")),
            "snapshots and default\n{ran}"
        );
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "a mount is left on the host:\n{mounts}"
        );
    }

    /// Boots, runs `script`, which must succeed, and then describes the running root, which `script` may have
    /// made to be no longer the default: one line for each file with path, type, mode, owner, size, times,
    /// xattrs and hash. Then /etc once more, which may be a subvolume of its own.
    pub(crate) fn manifest(&self, script: &str) -> String {
        let oracle = format!("{}:/run/oracle.py", fixture("oracle.py").display());
        let mut command = self.enter(&[], &self.image);
        command.env("FX_BIND", format!("{} {oracle}", self.binds.join(" ")));
        let script = inside(&format!(
            "set -e; {{ {script}; }} >&2; mkdir /run/root; mount --bind / /run/root; for r in /run/root /etc; do python3 /run/oracle.py $r --list; done"
        ));
        Ran::new(
            &script,
            command.args(["bash", "-c", &script]).output().unwrap(),
        )
        .succeeds()
        .stdout
    }
}

/// Every script has the program in its PATH.
fn inside(script: &str) -> String {
    format!("PATH=/run/tu:$PATH\n{script}")
}

/// What a script printed and how it ended.
pub(crate) struct Ran {
    script: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn new(script: &str, out: Output) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let code = out
            .status
            .code()
            .unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            script: script.to_owned(),
            code,
            stdout: text(out.stdout),
            stderr: text(out.stderr),
        }
    }

    /// What is known of a call from elsewhere.
    pub(crate) fn told(script: &str, code: i32, stdout: String, stderr: String) -> Ran {
        let script = script.to_owned();
        Ran {
            script,
            code,
            stdout,
            stderr,
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Ran {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit status\n{self}");
        self
    }

    /// Asserts that one of the streams holds `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Ran {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not said\n{self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(self, text: &str) -> Ran {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "{text:?} is said\n{self}"
        );
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--- {}\n--- exit {}\n--- stdout\n{}--- stderr\n{}",
            self.script, self.code, self.stdout, self.stderr
        )
    }
}

/// A script of the fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixture")
        .join(name)
}

/// Runs a script of the fixture and returns what it printed, without the end of the line.
pub(crate) fn script(name: &str, args: &[&str]) -> String {
    let out = command(fixture(name))
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "{name} {args:?} failed");
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// The directory of the package repositories on this host.
pub(crate) fn repositories() -> &'static str {
    static REPOSITORIES: OnceLock<String> = OnceLock::new();
    REPOSITORIES.get_or_init(|| script("template.sh", &["repos"]))
}

fn cache() -> PathBuf {
    Path::new(repositories()).parent().unwrap().to_owned()
}

/// The names of all failpoints, as the source has them.
pub(crate) fn failpoints() -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                let calls = text.split("point::hit(").skip(1);
                names.extend(calls.map(|c| {
                    let name = c.trim_start().trim_start_matches('"');
                    name.split('"').next().unwrap().to_owned()
                }));
            }
        }
    }
    names.into_iter().collect()
}

/// A program of this host.
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A directory for a machine.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("tu-test.")
        .tempdir_in(cache())
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    let mut copy = command("cp");
    copy.args(["--reflink=auto", "--sparse=always"])
        .args([from, to]);
    assert!(
        copy.status().unwrap().success(),
        "copying {}",
        from.display()
    );
}

/// The libraries that the shipped build of a program of ours is linked with, without the loader, sorted. Not every linker drops what
/// only unused code needs, so that counts which is shipped: tests/run.sh builds it.
pub(crate) fn needed(program: &str) -> Vec<String> {
    let program = Path::new(program);
    let release = program.parent().unwrap().with_file_name("release");
    let shipped = release.join(program.file_name().unwrap());
    let out = command("readelf").arg("-d").arg(shipped).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines = text.lines().filter(|l| l.contains("(NEEDED)"));
    let names = lines.filter_map(|l| l.split(['[', ']']).nth(1));
    let mut names: Vec<String> = names
        .filter(|name| !name.starts_with("ld-linux"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn require_root() {
    assert!(
        nix::unistd::Uid::effective().is_root(),
        "this test needs root, loop devices and btrfs: run `make test` as root"
    );
}

//! transactional-update-generator by itself, in directories that look like a system: tests/data/generator has the cases, and its
//! README what the lines of a case mean.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::fx::{GENERATOR, Machine, Ran, command, needed};

/// The directories that the first process gives a generator, as it orders them.
const DIRECTORIES: [&str; 4] = ["normal", "early", "late", "more"];

/// A system, and what comes of it.
#[derive(Debug, Clone, Default)]
struct Case {
    name: String,
    /// What is there, below the root; of a path that is named twice, the last.
    root: BTreeMap<String, String>,
    before: Vec<(String, String)>,
    env: Vec<(String, String)>,
    command_lines: Vec<String>,
    arguments: usize,
    early: Vec<String>,
    says: String,
    code: i32,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/generator")
}

/// The text between quotes, with what is escaped in it.
fn unescape(text: &str) -> String {
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    escaped(text.unwrap_or_else(|| panic!("no text in quotes")))
}

fn escaped(text: &str) -> String {
    let text = text.replace("\\n", "\n").replace("\\t", "\t");
    text.replace("\\0", "\0")
}

impl Case {
    /// Reads the lines of a file; `at` stands for `@`.
    fn add(&mut self, text: &str, at: &str) {
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let line = line.replace('@', at);
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            // a directory has nothing behind its name
            let (path, what) = rest.split_once(' ').unwrap_or((rest, ""));
            let (path, what) = (path.to_owned(), what.to_owned());
            match word {
                "cases" => {}
                "root" => drop(self.root.insert(path, what)),
                "gone" => assert!(self.root.remove(&path).is_some(), "{path} is not there"),
                "before" => self.before.push((path, what)),
                "env" => {
                    let (name, value) = rest.split_once('=').unwrap();
                    self.env.push((name.into(), value.into()));
                }
                "command-line" => self.command_lines.push(escaped(rest)),
                "arguments" => self.arguments = rest.parse().unwrap(),
                "early" => self.early.push(rest.to_owned()),
                "says" => self.says.push_str(&format!("{rest}\n")),
                "exit" => self.code = rest.parse().unwrap(),
                other => panic!("{}: {other}", self.name),
            }
        }
    }

    /// All cases of the directory, one for each place and command line.
    fn all() -> Vec<Case> {
        let base = fs::read_to_string(data().join("base")).unwrap();
        let mut cases = Vec::new();
        for entry in fs::read_dir(data()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if ["base", "README"].contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let places = text.lines().find_map(|l| l.strip_prefix("cases "));
            for at in places.unwrap_or("@").split(' ') {
                let mut case = Case {
                    name: format!("{name} {at}"),
                    arguments: 3,
                    ..Case::default()
                };
                case.add(&base, at);
                case.add(&text, at);
                case.early.sort();
                let lines = std::mem::take(&mut case.command_lines);
                if lines.is_empty() {
                    cases.push(case.clone());
                }
                for line in lines {
                    let mut case = case.clone();
                    case.name = format!("{} {line:?}", case.name);
                    let line = format!("\"{line}\n\"");
                    case.root.insert("proc/cmdline".into(), line);
                    cases.push(case);
                }
            }
        }
        cases
    }

    /// Makes the system and the directories below `dir`.
    fn make(&self, dir: &Path) {
        for (path, what) in &self.root {
            make(&dir.join("root").join(path), path, what);
        }
        for name in DIRECTORIES {
            fs::create_dir(dir.join(name)).unwrap();
        }
        for (path, what) in &self.before {
            make(&self.early_in(dir).join(path), path, what);
        }
    }

    /// The one that is written: with one argument that, else the second one.
    fn early_in(&self, dir: &Path) -> PathBuf {
        dir.join(DIRECTORIES[usize::from(self.arguments > 1)])
    }

    /// Calls the program, below `sh -c SCRIPT`, which has to execute `"$@"`.
    fn call(&self, dir: &Path, script: &str) -> Ran {
        let mut call = command("/bin/sh");
        call.args(["-c", script, "sh", GENERATOR]);
        call.args(DIRECTORIES[..self.arguments].iter().map(|d| dir.join(d)));
        call.env_clear().env("TU_GENERATOR_ROOT", dir.join("root"));
        call.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ran::new(&self.name, call.output().unwrap())
    }

    /// What is wrong after a call in `dir`.
    fn wrong(&self, dir: &Path, ran: &Ran) -> Vec<String> {
        let early = self.early_in(dir);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: &str, wanted: &str| {
            if found != wanted {
                let name = &self.name;
                wrong.push(format!(
                    "{name}: {what}\n--- found\n{found}\n--- not\n{wanted}\n{ran}"
                ));
            }
        };
        // the number is that of the process
        let mut says = String::new();
        for line in ran.stderr.lines() {
            let text = line
                .strip_prefix("transactional-update-generator[")
                .and_then(|l| l.split_once("]: "))
                .filter(|(number, _)| number.parse::<u32>().is_ok());
            let text = text.map_or(line, |(_, text)| text);
            says.push_str(&format!("{text}\n"));
        }
        let says = says.replace(early.to_str().unwrap(), "%DIR%");
        compare("standard error", &says, &self.says);
        compare("standard output", &ran.stdout, "");
        compare("exit", &ran.code.to_string(), &self.code.to_string());
        compare("early", &tree(&early).join("\n"), &self.early.join("\n"));
        for name in DIRECTORIES {
            let other = dir.join(name);
            if other != early {
                compare(name, &tree(&other).join("\n"), "");
            }
        }
        wrong
    }
}

/// Makes what a line of a case describes.
fn make(path: &Path, name: &str, what: &str) {
    let dir = if name.ends_with('/') {
        path
    } else {
        path.parent().unwrap()
    };
    fs::create_dir_all(dir).unwrap();
    if let Some(text) = what.strip_prefix("-> ") {
        symlink(text, path).unwrap();
    } else if !name.ends_with('/') {
        fs::write(path, unescape(what.trim_start_matches("x "))).unwrap();
        let mode = if what.starts_with("x ") { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// All below `dir`, as the lines `early` of a case have it.
fn tree(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let found = path.symlink_metadata().unwrap();
            let mode = found.permissions().mode() & 0o7777;
            lines.push(if found.is_symlink() {
                let text = fs::read_link(&path).unwrap();
                format!("{name} -> {}", text.display())
            } else if found.is_dir() {
                pending.push(path);
                format!("{name}/ {mode:04o}")
            } else {
                let text = fs::read_to_string(&path).unwrap().replace('\n', "\\n");
                format!("{name} {mode:04o} \"{text}\"")
            });
        }
    }
    lines.sort();
    lines
}

fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("tu-test.")
        .tempdir()
        .unwrap()
}

#[test]
fn each_case_ends_as_it_says_whatever_the_umask_and_also_a_second_time() {
    let cases = Case::all();
    assert!(cases.len() > 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        for umask in ["000", "022", "077"] {
            let dir = temporary();
            case.make(dir.path());
            let root = tree(&dir.path().join("root"));
            for _ in 0..2 {
                let ran = case.call(dir.path(), &format!("umask {umask}; exec \"$@\""));
                wrong.extend(case.wrong(dir.path(), &ran));
            }
            assert_eq!(tree(&dir.path().join("root")), root, "{}", case.name);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The calls of the program, one a line, as strace tells them.
fn calls(case: &Case, dir: &Path) -> Vec<String> {
    let trace = dir.join("trace");
    let script = format!(
        "exec strace -f -qq -s 300 -o '{}' -e trace=%file,%network,%process,%ipc,nanosleep,clock_nanosleep,fchmod,fchown,ftruncate \"$@\"",
        trace.display()
    );
    let mut case = case.clone();
    case.env
        .push(("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()));
    let ran = case.call(dir, &script);
    assert_eq!(ran.code, case.code, "{ran}");
    let text = fs::read_to_string(trace).unwrap();
    let calls = text.lines().filter_map(|l| l.split_once(' '));
    calls
        .map(|(_, call)| call.trim_start().to_owned())
        .collect()
}

/// What this call does that a generator must not do: it may read outside of /var, and change what is in `early`.
fn forbidden(call: &str, dir: &Path, early: &Path) -> bool {
    let path = |below: &Path| below.to_str().unwrap().to_owned();
    let (name, _) = call.split_once('(').unwrap_or((call, ""));
    // of a link, the first is its text
    let names: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
    let target = names.last().copied().unwrap_or_default();
    let root = path(&dir.join("root"));
    let outside = ["/var", "/system-update/", "/etc/system-update/"];
    if outside
        .iter()
        .any(|o| target.starts_with(&format!("{root}{o}")))
    {
        return true;
    }
    let is_writing = |call: &str| {
        ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
            .iter()
            .any(|f| call.contains(f))
    };
    match name {
        "execve" | "access" | "readlink" | "readlinkat" | "stat" | "lstat" | "newfstatat"
        | "statx" | "getcwd" => false,
        "exit_group" | "exit" | "arch_prctl" => false,
        "openat" | "open" if !is_writing(call) => false,
        "openat" | "open" | "symlink" | "symlinkat" | "mkdir" | "mkdirat" | "chmod"
        | "fchmodat" => !target.starts_with(&format!("{}/", path(early))),
        // of a descriptor: which one was opened for writing is seen above
        "fchmod" => false,
        _ => true,
    }
}

#[test]
fn it_writes_in_its_directory_only_and_starts_asks_and_waits_for_nobody() {
    let mut seen = Vec::new();
    for case in Case::all() {
        let dir = temporary();
        case.make(dir.path());
        let early = case.early_in(dir.path());
        let calls = calls(&case, dir.path());
        let programs = calls.iter().filter(|c| c.starts_with("execve")).count();
        assert_eq!(programs, 1, "{}: {calls:#?}", case.name);
        for call in calls {
            assert!(
                !forbidden(&call, dir.path(), &early),
                "{}: {call}",
                case.name
            );
            seen.push(call);
        }
    }
    for name in ["symlink", "mkdir", "chmod", "O_WRONLY"] {
        assert!(seen.iter().any(|c| c.contains(name)), "{name} was not seen");
    }
    let dir = Path::new("/d");
    for call in [
        "openat(AT_FDCWD, \"/d/root/x\", O_WRONLY|O_CLOEXEC) = 3",
        "openat(AT_FDCWD, \"/d/root/var/x\", O_RDONLY) = 3",
        "statx(AT_FDCWD, \"/d/root/system-update/x\", 0) = 0",
        "unlink(\"/d/early/default.target\") = 0",
        "symlink(\"/d/early/x\", \"/d/late/x\") = 0",
        "socket(AF_UNIX, SOCK_STREAM, 0) = 3",
        "clone3({flags=CLONE_VM}, 88) = 1",
    ] {
        assert!(forbidden(call, dir, &dir.join("early")), "{call}");
    }
}

/// A system with our trigger in /etc and a systemd that does not know that, which wants everything written.
fn old() -> Case {
    let name = "14-ours-in-etc-with-an-old-systemd @";
    let all = Case::all();
    all.into_iter().find(|c| c.name == name).unwrap()
}

#[test]
fn what_cannot_be_written_is_told_and_nothing_is_begun() {
    let case = old();
    let dir = temporary();
    case.make(dir.path());
    let early = case.early_in(dir.path());
    fs::remove_dir(&early).unwrap();
    let ran = case.call(dir.path(), "exec \"$@\"").exits(1);
    ran.says("early/system-update-cleanup.service.d could not be made: No such file or directory");
    assert!(!early.exists());
    // no file of ours is longer than nothing: the drop-in is not left in half
    // no file may be longer than nothing: the drop-in is not left in half, and without it the boot is not diverted
    fs::create_dir(&early).unwrap();
    let ran = case.call(dir.path(), "ulimit -f 0; trap '' XFSZ; exec \"$@\"");
    ran.exits(1)
        .says("50-transactional-update.conf could not be made: File too large");
    assert_eq!(tree(&early), ["system-update-cleanup.service.d/ 0755"]);
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let mut case = old();
    let dir = temporary();
    case.make(dir.path());
    case.env
        .push(("TU_GENERATOR_ROOT".into(), "/nowhere".into()));
    let ran = case.call(dir.path(), "exec \"$@\"").exits(1);
    ran.says("/nowhere: No such file or directory");
    assert!(tree(&case.early_in(dir.path())).is_empty());
}

#[test]
fn what_is_no_file_or_too_large_is_not_waited_for_and_does_not_count() {
    const CLEANUP: &str = "usr/lib/systemd/system/system-update-cleanup.service";
    let mut case = old();
    let mut looks_so = |lay_out: &dyn Fn(&Path), is_known: bool| {
        let dir = temporary();
        case.make(dir.path());
        lay_out(&dir.path().join("root"));
        if is_known {
            case.early.retain(|l| l.starts_with("default.target"));
        }
        let ran = case.call(dir.path(), "PATH=/usr/bin:/bin; exec timeout 10 \"$@\"");
        assert_eq!(case.wrong(dir.path(), &ran), [""; 0]);
    };
    let fifos = |root: &Path| {
        let generator = "usr/lib/systemd/system-generators/systemd-system-update-generator";
        for path in ["proc/cmdline", CLEANUP, generator] {
            fs::remove_file(root.join(path)).unwrap();
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.join(path), mode).unwrap();
        }
    };
    looks_so(&fifos, false);
    let large = format!("/etc/system-update{}", " ".repeat(1 << 20));
    looks_so(
        &|root| fs::write(root.join(CLEANUP), &large).unwrap(),
        false,
    );
    let at_bound = &large[..1 << 20];
    looks_so(
        &|root| fs::write(root.join(CLEANUP), at_bound).unwrap(),
        true,
    );
}

#[test]
fn it_needs_nothing_but_the_c_library() {
    let needed = needed(GENERATOR);
    assert_eq!(needed, ["libc.so.6", "libgcc_s.so.1"]);
}

#[test]
fn its_words_are_lines_of_the_kernel_s_log_where_that_can_be_written() {
    let mut machine = Machine::new();
    machine.bind(GENERATOR, "/run/tu/generator");
    let told = |name: &str, before: &str| {
        let ran = machine.boot(&format!(
            "{before}; mkdir /run/e; e=${{e:-/run/e}}; timeout 10 generator $e; echo $?; ls /run/e; echo =; cat /run/kmsg"
        ));
        let ran = ran.succeeds();
        let (out, log) = ran.stdout.split_once("=\n").unwrap();
        let (mut found, mut number) = (String::new(), String::new());
        if let Some((start, rest)) = log.split_once("transactional-update-generator[") {
            let (id, rest) = rest.split_once("]: ").unwrap();
            (number, found) = (id.to_owned(), format!("{start}{rest}"));
        }
        assert_eq!(
            number.parse::<u32>().is_ok(),
            !found.is_empty(),
            "{name}: {ran}"
        );
        (out.to_owned(), found, ran.stderr)
    };
    // a directory of the machine in the place of its /etc, which may be read-only
    let begin = ": > /run/kmsg; mount --bind /run/kmsg /dev/kmsg; mkdir /run/etc; mount --bind /run/etc /etc";
    let (out, log, err) = told("nothing", begin);
    assert_eq!((&*out, &*log, &*err), ("0\n", "", ""));
    let foreign = format!("{begin}; ln -s nowhere /etc/system-update");
    let (out, log, err) = told("foreign", &foreign);
    assert_eq!(out, "0\ntransactional-update-offline.service\n");
    assert_eq!(
        log,
        "<6>/etc/system-update is of another tool: transactional-update-offline.service does not start\n"
    );
    assert_eq!(err, "");
    let ours = format!("{begin}; ln -s /var/lib/transactional-update/offline /etc/system-update");
    let (out, log, err) = told("not installed", &ours);
    assert_eq!((&*out, &*err), ("0\n", ""));
    assert_eq!(
        log,
        "<3>/etc/system-update is there, but transactional-update-offline.service is missing: no update in this boot\n"
    );
    let (out, log, err) = told(
        "override",
        &format!("export SYSTEMD_PROC_CMDLINE=rescue; {ours}"),
    );
    assert_eq!((&*out, &*err), ("0\n", ""));
    assert_eq!(
        log,
        "<4>the kernel command line has rescue: the update of /etc/system-update has to wait\n"
    );
    let (out, log, err) = told("unwritable", &format!("{foreign}; e=/run/none"));
    assert_eq!((&*out, &*err), ("1\n", ""));
    assert!(
        log.starts_with("<3>/run/none/transactional-update-offline.service could not be made: "),
        "{log}"
    );
    // nobody reads this one
    let fifo = foreign
        .replacen(": > /run/kmsg", "mkfifo /run/fifo; : > /run/kmsg", 1)
        .replace("--bind /run/kmsg", "--bind /run/fifo");
    let (out, log, err) = told("fifo", &fifo);
    assert_eq!(
        (&*out, &*log),
        ("0\ntransactional-update-offline.service\n", "")
    );
    assert!(err.starts_with("transactional-update-generator["), "{err}");
}

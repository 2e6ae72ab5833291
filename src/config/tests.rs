//! Tests of the configuration as a whole.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A directory with the files of a system, in which a test can write some.
struct System(tempfile::TempDir);

impl System {
    fn new(files: &[(&str, &str)]) -> System {
        let system = System(tempfile::tempdir().unwrap());
        for (name, text) in files {
            system.write(name, text.as_bytes());
        }
        system
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&Root::at(self.0.path()).unwrap(), &Overrides::default())
    }
}

const MAIN: &str = "etc/transactional-update.conf";

fn refusal(text: &str) -> String {
    let error = System::new(&[(MAIN, text)]).load().unwrap_err();
    let text = error.to_string();
    text.split_once("transactional-update.conf")
        .unwrap()
        .1
        .to_owned()
}

/// Every value with its origin, paths below `root` shortened.
fn describe(loaded: &Result<Config, ConfigError>, root: &Path) -> String {
    let text = match loaded {
        Ok(config) => lines(config).concat(),
        Err(error) => format!("error: {error}\n"),
    };
    text.replace(&format!("{}/", root.display()), "")
}

fn lines(config: &Config) -> Vec<String> {
    fn line<T>(key: &str, value: &Value<T>, shown: impl std::fmt::Display) -> String {
        format!("{key}={shown} ({})\n", value.origin)
    }
    fn words(paths: &Value<Vec<PathBuf>>) -> String {
        let words: Vec<_> = paths.value.iter().map(|p| p.to_str().unwrap()).collect();
        words.join(" ")
    }
    let c = config;
    let mut lines = vec![
        line(
            "REBOOT_METHOD",
            &c.reboot_method,
            c.reboot_method.value.word(),
        ),
        line(
            "UPDATE_METHOD",
            &c.update_method,
            c.update_method.value.word(),
        ),
        line(
            "ZYPPER_AUTO_IMPORT_KEYS",
            &c.import_keys,
            c.import_keys.value,
        ),
        line("BASE", &c.base, c.base.value.word()),
        line(
            "CREATE_DIRS_PREFIXES",
            &c.create_dirs_prefixes,
            words(&c.create_dirs_prefixes),
        ),
        line(
            "CREATE_DIRS_EXCLUDE",
            &c.create_dirs_exclude,
            words(&c.create_dirs_exclude),
        ),
        line(
            "CREATE_DIRS_GHOST",
            &c.create_dirs_ghost,
            c.create_dirs_ghost.value,
        ),
    ];
    lines.extend([
        line(
            "OFFLINE_STALL_TIMEOUT",
            &c.offline_stall,
            c.offline_stall.value.as_secs(),
        ),
        line(
            "OFFLINE_FAILURE_PAUSE",
            &c.offline_pause,
            c.offline_pause.value.as_secs(),
        ),
    ]);
    lines.extend(
        c.bind_dirs
            .iter()
            .map(|dir| line("BINDDIRS[]", dir, dir.value.display())),
    );
    lines.extend([
        line(
            "REBOOT_ALLOW_SOFT_REBOOT",
            &c.allow_soft_reboot,
            c.allow_soft_reboot.value,
        ),
        line("REBOOT_ALLOW_KEXEC", &c.allow_kexec, c.allow_kexec.value),
        line("LOCKFILE", &c.lock_file, c.lock_file.value.display()),
        line(
            "PLUGIN_TIMEOUT",
            &c.plugin_timeout,
            c.plugin_timeout.value.as_secs(),
        ),
        line(
            "SNAPSHOT_MANAGER",
            &c.snapshot_manager,
            &c.snapshot_manager.value,
        ),
        line(
            "OCI_TARGET",
            &c.oci_target,
            c.oci_target.value.as_deref().unwrap_or_default(),
        ),
    ]);
    lines.extend(
        c.warnings
            .iter()
            .map(|warning| format!("warning: {warning}\n")),
    );
    lines
}

#[test]
fn every_tree_of_files_gives_what_its_expected_file_says() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
    let mut wrong = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let case = entry.unwrap().path().canonicalize().unwrap();
        let root = case.join("root");
        let described = describe(
            &Config::load(&Root::at(&root).unwrap(), &Overrides::default()),
            &root,
        );
        let path = case.join("expected");
        count += 1;
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &described).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_ref() != Some(&described) {
            write!(wrong, "{}:\n{described}\n", case.display()).unwrap();
        }
    }
    assert!(count > 5);
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_EXPECTED=1 writes the files anew):\n{wrong}"
    );
}

#[test]
fn every_key_of_the_table_can_be_set_and_has_the_default_that_the_table_says() {
    let system = System::new(&[]);
    let defaults = describe(&system.load(), system.0.path());
    for key in KEYS {
        let value = match key.values {
            Values::Words(words) => words.last().unwrap().0,
            Values::Boolean => "1",
            Values::Path | Values::Paths => "/some/where",
            Values::Directories => "/some/where /else",
            Values::Seconds(_) => "7",
            Values::Text => "some text",
        };
        let name = if key.is_list() {
            format!("{}[]", key.name)
        } else {
            key.name.to_owned()
        };
        let path = format!("etc/{}", key.file.name());
        let system = System::new(&[(&path, &format!("{name}='{value}'\n"))]);
        let config = system.load().unwrap();
        assert_eq!(config.warnings, [""; 0]);
        let shown = if key.values == Values::Boolean {
            "true"
        } else {
            value
        };
        let described = describe(&Ok(config), system.0.path());
        assert!(
            described.contains(&format!("{name}={shown} ({path}:1)\n")),
            "{name}: {described}"
        );
        let default = match (key.values, key.default) {
            (Values::Boolean, "0" | "no" | "false") => "false",
            (_, default) => default,
        };
        let expected = format!("{}={default} (default)\n", key.name);
        assert_eq!(defaults.contains(&expected), !key.is_list(), "{expected}");
        assert!(!key.doc.is_empty() && key.doc.ends_with('.'));
    }
}

#[test]
fn what_was_typed_beats_the_files_and_is_read_as_a_line_of_tukit_conf() {
    let system = System::new(&[("etc/tukit.conf", "LOCKFILE=/a\nBINDDIRS[1]=/b\n")]);
    let load = |settings: &[&str]| {
        let overrides = Overrides {
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            ..Overrides::default()
        };
        Config::load(&Root::at(system.0.path()).unwrap(), &overrides)
    };
    let config = load(&["LOCKFILE=/c d", "BINDDIRS[1]=/e", "PLUGIN_TIMEOUT=9"]).unwrap();
    assert_eq!(config.lock_file.value, Path::new("/c d"));
    assert_eq!(config.lock_file.origin, Origin::CommandLine);
    assert_eq!(config.bind_dirs.len(), 1);
    assert_eq!(config.bind_dirs[0].value, Path::new("/e"));
    assert_eq!(config.plugin_timeout.value, Duration::from_secs(9));
    let unknown = load(&["FOO=1"]).unwrap();
    assert_eq!(unknown.warnings, ["command line: unknown key FOO"]);
    for (wrong, says) in [
        ("LOCKFILE", "no assignment"),
        ("=x", "no key"),
        ("LOCKFILE=a", "LOCKFILE needs an absolute path"),
        ("PLUGIN_TIMEOUT=0", "from 1 to 86400"),
        ("LOCKFILE=/a\n", "no line of text"),
    ] {
        let error = load(&[wrong]).unwrap_err().to_string();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn shell_code_is_refused_with_what_to_write_instead() {
    for code in [
        "REBOOT_METHOD=$(cat /x)",
        "REBOOT_METHOD=\"$X\"",
        "REBOOT_METHOD=`x`",
        "REBOOT_METHOD=auto; reboot",
        "REBOOT_METHOD=auto&",
        "REBOOT_METHOD=a\"b\"c",
        "REBOOT_METHOD='auto' UPDATE_METHOD=up",
        "if [ -e /x ]; then",
        "if [ $a = b ]; then",
        "source /etc/x",
        ". /etc/x",
        "reboot",
        "REBOOT_METHOD+=auto",
        "f() {",
        "[[ a = b ]]",
    ] {
        let refused = refusal(&format!("# a comment\n\n{code}\n"));
        assert!(refused.starts_with(":3: "), "{refused}");
        assert!(refused.contains("write KEY=value"), "{refused}");
    }
    assert!(refusal("export BASE=auto").contains("write BASE=value alone"));
    assert!(refusal("BASE = auto").contains("blank before the equals sign"));
    assert!(refusal("BASE= auto").contains("blank after the equals sign"));
    assert!(refusal("BASE=\"auto").contains("the quote has no end"));
    assert!(refusal("BASE='auto").contains("the quote has no end"));
    assert!(refusal("[section]").contains("no assignment"));
}

#[test]
fn a_value_that_is_not_known_is_refused_with_the_ones_that_are() {
    assert_eq!(
        refusal("\nBASE=newest\n"),
        ":2: BASE does not know this value: newest; write one of auto, active, default"
    );
    assert!(refusal("ZYPPER_AUTO_IMPORT_KEYS=maybe").contains("write 1 or 0"));
    for wrong in ["var", "/var /", "/var /srv/../etc"] {
        let refused = refusal(&format!("CREATE_DIRS_EXCLUDE='{wrong}'"));
        assert!(
            refused.contains("EXCLUDE needs absolute paths"),
            "{refused}"
        );
    }
}

#[test]
fn quotes_comments_and_no_value_are_understood() {
    let text =
        "OCI_TARGET=\"a \\\"b\\\" \\\\ \\n\" # comment\nSNAPSHOT_MANAGER = 'x # y'\nLOCKFILE=\n";
    let config = System::new(&[("etc/tukit.conf", text)]).load().unwrap();
    assert_eq!(config.oci_target.value.as_deref(), Some("a \"b\" \\ \\n"));
    assert_eq!(config.snapshot_manager.value, "x # y");
    assert_eq!(config.lock_file.value, Config::default().lock_file.value);
}

#[test]
fn files_that_are_named_take_the_place_of_the_usual_ones_and_must_exist() {
    let system = System::new(&[
        ("usr/etc/transactional-update.conf", "REBOOT_METHOD=kexec\n"),
        (MAIN, "UPDATE_METHOD=up\n"),
        ("other/admin", "UPDATE_METHOD=patch\n"),
        ("other/admin.d/a.conf", "BASE=active\n"),
    ]);
    let root = Root::at(system.0.path()).unwrap();
    let mut overrides = Overrides {
        admin_file: Some(system.0.path().join("other/admin")),
        ..Overrides::default()
    };
    let config = Config::load(&root, &overrides).unwrap();
    assert_eq!(config.update_method.value, UpdateMethod::Patch);
    assert_eq!(config.base.value, Base::Active);
    assert_eq!(config.reboot_method.value, RebootMethod::Kexec);
    overrides.system_file = Some(system.0.path().join("other/none"));
    let error = Config::load(&root, &overrides).unwrap_err().to_string();
    assert!(error.contains("other/none: does not exist"), "{error}");
}

#[test]
fn what_is_no_readable_text_of_a_sensible_size_is_refused() {
    let system = System::new(&[]);
    let refused = |content: &[u8]| {
        system.write(MAIN, content);
        system.load().unwrap_err().problem
    };
    assert_eq!(refused(&vec![b'#'; (1 << 20) + 1]), "is larger than 1 MiB");
    assert_eq!(
        refused(&vec![b'#'; (64 << 10) + 1]),
        "this line is too long"
    );
    assert_eq!(refused(b"BASE=a\xff"), "this line is no text");
    assert_eq!(refused(b"BASE=a\0"), "this line is no text");
    std::fs::remove_file(system.0.path().join(MAIN)).unwrap();
    std::fs::create_dir(system.0.path().join(MAIN)).unwrap();
    assert_eq!(system.load().unwrap_err().problem, "is no file");
}

proptest! {
    #[test]
    fn no_content_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in "[A-Z\\[\\]=\"'$ \\\\#\n]{0,40}") {
        let mut content = bytes;
        content.push(b'\n');
        content.extend(tail.bytes());
        for file in [File::TransactionalUpdate, File::Tukit] {
            if let Ok(read) = parse::parse(file, Path::new("f"), &content) {
                for line in &read.assignments {
                    prop_assert!(!line.key.is_empty());
                }
            }
        }
    }
}

//! What conditions ask of this machine, as far as files and programs tell it (systemd.unit(5), CONDITIONS AND ASSERTS).

use std::cmp::Ordering;
use std::path::Path;
use std::time::Duration;

use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool};
use crate::sys::{Root, beneath};
use crate::sysupdate::Specifiers;
use crate::sysupdate::version::compare;

/// Most bytes that are read of a file that tells something.
const MOST: u64 = 1 << 20;

/// How long systemd-detect-virt(1) may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the firmware's variables are, and the vendors that Secure Boot and systemd-stub have there.
const VARIABLES: &str = "sys/firmware/efi/efivars";
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const MEASURED_UKI: &str = "StubPcrKernelImage-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The machine that conditions look at.
#[derive(Debug)]
pub struct Machine<'m> {
    /// Where the files of its kernel and its firmware are: the running system.
    pub root: Root,
    /// What is known of it already.
    pub specifiers: &'m Specifiers,
    /// What its kernel was started with.
    pub command_line: &'m str,
}

impl Machine<'_> {
    /// Whether the condition of this kind holds; `None` when this program cannot tell.
    pub(super) fn fulfils(&self, kind: &str, value: &str) -> Option<bool> {
        match kind {
            "Architecture" => Some(value == "native" || value == self.specifiers.architecture),
            "Firmware" => self.firmware(value),
            "Virtualization" => virtualization(value),
            "Host" => Some(self.host(value)),
            "KernelCommandLine" => Some(self.command_line.split_ascii_whitespace().any(|word| {
                let is_key = !value.contains('=') && word.split('=').next() == Some(value);
                is_key || word == value
            })),
            "Version" => self.version(value),
            "Credential" => Some(self.credential(value)),
            "Security" => self.security(value),
            "OSRelease" => all(value, |term| {
                let end = term.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?;
                let (key, comparison) = term.split_at(end);
                let has = self.specifiers.os_release.get(key);
                compares(has.map_or("", String::as_str), comparison)
            }),
            "MachineTag" => {
                let mut tags = self.specifiers.tags.split(':');
                Some(tags.any(|tag| glob(value.as_bytes(), tag.as_bytes())))
            }
            // systemd draws a lot by a hash of its own
            _ => None,
        }
    }

    fn host(&self, value: &str) -> bool {
        let is_id = value
            .replace('-', "")
            .eq_ignore_ascii_case(&self.specifiers.machine_id);
        let (value, name) = (
            value.to_lowercase(),
            self.specifiers.host_name.to_lowercase(),
        );
        is_id || glob(value.as_bytes(), name.as_bytes())
    }

    fn firmware(&self, value: &str) -> Option<bool> {
        let inner = |name: &str| {
            value
                .strip_prefix(name)?
                .strip_prefix('(')?
                .strip_suffix(')')
        };
        match value {
            "uefi" => return Some(self.has("sys/firmware/efi")),
            "device-tree" => return Some(self.has("sys/firmware/devicetree")),
            _ => {}
        }
        if let Some(wanted) = inner("device-tree-compatible") {
            let known = self.read("sys/firmware/devicetree/base/compatible");
            return Some(
                known
                    .split(|b| *b == 0)
                    .any(|name| name == wanted.as_bytes()),
            );
        }
        let (field, comparison) = {
            let text = inner("smbios-field")?;
            text.split_at(text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?)
        };
        let known = self.read(&format!("sys/class/dmi/id/{field}"));
        compares(String::from_utf8_lossy(&known).trim(), comparison.trim())
    }

    /// Of the kernel; other programs have to be asked for theirs.
    fn version(&self, value: &str) -> Option<bool> {
        let expression = match value.split_once(|c: char| !c.is_ascii_alphanumeric()) {
            Some(("systemd" | "glibc", _)) => return None,
            Some(("kernel", _)) => value["kernel".len()..].trim_start(),
            _ => value,
        };
        let release = &self.specifiers.kernel_release;
        all(expression, |term| match compares(release, term) {
            None => Some(glob(term.as_bytes(), release.as_bytes())),
            told => told,
        })
    }

    fn credential(&self, value: &str) -> bool {
        let is_name = !value.is_empty() && !value.contains('/') && value != "." && value != "..";
        let dirs = ["run/credentials/@system", "run/credentials/@encrypted"];
        is_name && dirs.iter().any(|dir| self.has(&format!("{dir}/{value}")))
    }

    fn security(&self, value: &str) -> Option<bool> {
        let begins_with = |path: &str, byte: u8| self.read(path).first() == Some(&byte);
        let variable = |name: &str| format!("{VARIABLES}/{name}");
        Some(match value {
            "selinux" => self.has("sys/fs/selinux/enforce"),
            "apparmor" => begins_with("sys/module/apparmor/parameters/enabled", b'Y'),
            "tomoyo" => self.has("sys/kernel/security/tomoyo/version"),
            "smack" => self.has("sys/fs/smackfs"),
            "ima" => self.has("sys/kernel/security/ima"),
            // four bytes of attributes stand before the value
            "uefi-secureboot" => self.read(&variable(SECURE_BOOT)).get(4) == Some(&1),
            "measured-uki" => self.has(&variable(MEASURED_UKI)),
            "tpm2" => {
                let class = beneath::open_root(self.root.path())
                    .and_then(|top| beneath::names_below(top, Path::new("sys/class/tpmrm")));
                class.is_ok_and(|names| !names.is_empty())
            }
            "cvm" => return detected(&["--cvm"]).map(|_| true).or(Some(false)),
            _ => return None,
        })
    }

    /// Whether it has this file or directory.
    fn has(&self, path: &str) -> bool {
        beneath::open_root(self.root.path())
            .and_then(|top| beneath::open_place(top, Path::new(path)))
            .is_ok()
    }

    /// What is in a file; nothing where there is none.
    fn read(&self, path: &str) -> Vec<u8> {
        let bytes = beneath::open_root(self.root.path())
            .and_then(|top| beneath::read(top, Path::new(path), MOST));
        bytes.ok().flatten().unwrap_or_default()
    }
}

/// What systemd-detect-virt(1) answers; `None` when that is no, or it is not there.
fn detected(options: &[&str]) -> Option<String> {
    let words = ["systemd-detect-virt"].iter().chain(options).copied();
    let done = Tool::new(Argv::new(words), LIMIT)
        .run()
        .and_then(Done::succeeded);
    Some(
        String::from_utf8_lossy(&done.ok()?.stdout)
            .trim()
            .to_owned(),
    )
}

fn virtualization(value: &str) -> Option<bool> {
    Some(match value {
        "vm" => detected(&["--vm"]).is_some(),
        "container" => detected(&["--container"]).is_some(),
        "private-users" => detected(&["--private-users", "--quiet"]).is_some(),
        "1" | "yes" | "y" | "true" | "t" | "on" => detected(&[]).is_some(),
        "0" | "no" | "n" | "false" | "f" | "off" => detected(&[]).is_none(),
        name => detected(&[]).as_deref() == Some(name),
    })
}

/// Whether all words hold; `None` when one of them is not understood.
fn all(words: &str, holds: impl Fn(&str) -> Option<bool>) -> Option<bool> {
    let mut words = words.split_ascii_whitespace();
    words.try_fold(true, |all, word| Some(holds(word)? && all))
}

/// Whether `has` is what `comparison` asks for: an operator and a value. `None` when it begins with no operator.
fn compares(has: &str, comparison: &str) -> Option<bool> {
    type Holds = fn(&str, &str) -> bool;
    // longer ones before those that they begin with
    const OPERATORS: [(&str, Holds); 10] = [
        ("!$=", |has, value| !glob(value.as_bytes(), has.as_bytes())),
        ("$=", |has, value| glob(value.as_bytes(), has.as_bytes())),
        ("<>", |has, value| compare(has, value) != Ordering::Equal),
        ("<=", |has, value| compare(has, value) != Ordering::Greater),
        (">=", |has, value| compare(has, value) != Ordering::Less),
        ("==", |has, value| compare(has, value) == Ordering::Equal),
        ("!=", |has, value| has != value),
        ("<", |has, value| compare(has, value) == Ordering::Less),
        (">", |has, value| compare(has, value) == Ordering::Greater),
        ("=", |has, value| has == value),
    ];
    OPERATORS.iter().find_map(|(operator, holds)| {
        let value = comparison.strip_prefix(operator)?.trim();
        Some(holds(has, value))
    })
}

/// Whether `text` is what `pattern` describes: `*` is any text, `?` any byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    back = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

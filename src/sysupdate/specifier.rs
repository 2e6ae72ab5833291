//! Specifiers: `%` and a letter stand for something of the system.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nix::sys::utsname::uname;

use crate::sys::{Root, beneath, owner, root};

/// Largest file that is read here, in bytes.
const MOST: u64 = 1 << 20;

/// Where os-release is, in the order in which it is looked for (os-release(5)).
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const MACHINE_ID: &str = "etc/machine-id";
const MACHINE_INFO: &str = "etc/machine-info";

/// What specifiers stand for. What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Specifiers {
    /// Fields of os-release.
    pub os_release: BTreeMap<String, String>,
    /// The architecture as systemd calls it.
    pub architecture: String,
    /// Identity of this boot, 32 digits.
    pub boot_id: String,
    /// Identity of the machine, 32 digits.
    pub machine_id: String,
    /// The host name.
    pub host_name: String,
    /// The host name as people write it.
    pub pretty_host_name: String,
    /// Tags of the machine, with colons between (machine-info(5)).
    pub tags: String,
    /// Release of the running kernel.
    pub kernel_release: String,
    /// Directory for temporary files, and that for those that survive a boot.
    pub temporary: [String; 2],
}

/// A letter behind `%` that stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown(pub char);

impl Specifiers {
    /// What holds of the system at `root`: os-release and the identity of the machine are its own, the boot, the kernel and the host
    /// name are those that run.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub fn of(root: &Root) -> io::Result<Specifiers> {
        let dir = beneath::open_root(root.path())?;
        let text = |rel: &str| -> io::Result<Option<String>> {
            let bytes = beneath::read(&dir, Path::new(rel), MOST)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let mut os_release = None;
        for path in OS_RELEASE {
            os_release = match os_release {
                None => text(path)?,
                found => found,
            };
        }
        let machine_id = text(MACHINE_ID)?.unwrap_or_default();
        let info = fields(&text(MACHINE_INFO)?.unwrap_or_default());
        let running = uname()?;
        let shown = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let host_name = shown(running.nodename());
        Ok(Specifiers {
            os_release: fields(&os_release.unwrap_or_default()),
            architecture: architecture(&shown(running.machine())).to_owned(),
            boot_id: owner::boot_id().replace('-', ""),
            machine_id: machine_id.trim().to_owned(),
            pretty_host_name: info.get("PRETTY_HOSTNAME").unwrap_or(&host_name).clone(),
            host_name,
            tags: info.get("TAGS").cloned().unwrap_or_default(),
            kernel_release: shown(running.release()),
            temporary: root::TEMPORARY.map(str::to_owned),
        })
    }

    /// `text` with what its specifiers stand for.
    ///
    /// # Errors
    /// The first one that is unknown.
    pub fn expand(&self, text: &str) -> Result<String, Unknown> {
        let mut expanded = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '%' { chars.next() } else { None }) {
                ('%', Some(letter)) => {
                    expanded.push_str(self.of_letter(letter).ok_or(Unknown(letter))?)
                }
                _ => expanded.push(c),
            }
        }
        Ok(expanded)
    }

    /// The version of the image that os-release names.
    #[must_use]
    pub fn image_version(&self) -> Option<&str> {
        self.os_release
            .get("IMAGE_VERSION")
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    fn of_letter(&self, letter: char) -> Option<&str> {
        let field = |name: &str| self.os_release.get(name).map_or("", String::as_str);
        Some(match letter {
            '%' => "%",
            'a' => &self.architecture,
            'A' => field("IMAGE_VERSION"),
            'b' => &self.boot_id,
            'B' => field("BUILD_ID"),
            'H' => &self.host_name,
            'l' => self.host_name.split('.').next().unwrap_or_default(),
            'm' => &self.machine_id,
            'M' => field("IMAGE_ID"),
            'o' => field("ID"),
            'q' => &self.pretty_host_name,
            'v' => &self.kernel_release,
            'w' => field("VERSION_ID"),
            'W' => field("VARIANT_ID"),
            'T' => &self.temporary[0],
            'V' => &self.temporary[1],
            _ => return None,
        })
    }
}

/// The architecture that systemd calls by another name than the kernel (systemd.unit(5), `ConditionArchitecture=`).
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "ppc64le" => "ppc64-le",
        "ppcle" => "ppc-le",
        "s390" | "s390x" | "ppc" | "ppc64" | "riscv32" | "riscv64" | "loongarch64" => machine,
        arm if arm.starts_with("armv") && arm.ends_with('b') => "arm-be",
        arm if arm.starts_with("armv") => "arm",
        other => other,
    }
}

/// Assignments of os-release and its like: `KEY=value`, with quotes or without (os-release(5)).
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), unquoted(value)))
        .collect()
}

fn unquoted(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(plain) = inner('\'') {
        return plain.to_owned();
    }
    let mut text = String::new();
    let mut chars = inner('"').unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_specifier_stands_for_what_the_system_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        let release = "# a comment\nIMAGE_VERSION=7\nBUILD_ID=\"b \\\"1\\\"\"\nIMAGE_ID='img'\nID=os\nVERSION_ID=9\nVARIANT_ID=edge\n";
        fs::write(dir.path().join("usr/lib/os-release"), release).unwrap();
        std::os::unix::fs::symlink("/usr/lib/os-release", dir.path().join("etc/os-release"))
            .unwrap();
        fs::write(
            dir.path().join("etc/machine-id"),
            "0123456789abcdef0123456789abcdef\n",
        )
        .unwrap();
        fs::write(
            dir.path().join("etc/machine-info"),
            "PRETTY_HOSTNAME=\"My Machine\"\n",
        )
        .unwrap();
        let mut specifiers = Specifiers::of(&Root::at(dir.path()).unwrap()).unwrap();
        assert_eq!(specifiers.image_version(), Some("7"));
        assert_eq!(specifiers.boot_id.len(), 32);
        assert!(!specifiers.host_name.is_empty() && !specifiers.kernel_release.is_empty());
        specifiers.host_name = "host.example.com".into();
        specifiers.kernel_release = "6.1".into();
        specifiers.architecture = "x86-64".into();
        specifiers.boot_id = "boot".into();
        let all = "%a %A %b %B %H %l %q %m %M %o %v %w %W %T %V %%";
        assert_eq!(
            specifiers.expand(all).unwrap(),
            "x86-64 7 boot b \"1\" host.example.com host My Machine 0123456789abcdef0123456789abcdef img os 6.1 9 edge /tmp /var/tmp %"
        );
    }

    #[test]
    fn a_missing_field_is_empty_and_an_unknown_specifier_is_told() {
        let nothing = Specifiers::default();
        assert_eq!(nothing.expand("a%A-%w_b"), Ok("a-_b".into()));
        assert_eq!(nothing.expand("a%Z"), Err(Unknown('Z')));
        assert_eq!(nothing.expand("100%"), Ok("100%".into()));
        assert_eq!(nothing.image_version(), None);
    }

    #[test]
    fn an_architecture_has_the_name_that_systemd_gives_it() {
        for (machine, name) in [
            ("x86_64", "x86-64"),
            ("i686", "x86"),
            ("aarch64", "arm64"),
            ("armv7l", "arm"),
            ("riscv64", "riscv64"),
        ] {
            assert_eq!(architecture(machine), name);
        }
    }
}

//! What the first process says, and what it is asked for; by systemctl(1), which needs no D-Bus.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::readlinkat;

use super::state::{EndAction, Userspace};
use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool};
use crate::sys::{Root, beneath, owner};

/// Time for an answer. The first process answers as soon as it has nothing more urgent to do.
const LIMIT: Duration = Duration::from_secs(30);
const SYSTEMCTL: &str = "systemctl";
/// The target of an update boot.
pub const TARGET: &str = "system-update.target";
/// Units of the administrator and of the system, below the root.
const ADMIN_UNITS: &str = "etc/systemd/system";
const SYSTEM_UNITS: &str = "usr/lib/systemd/system";

/// What the first process says of itself; nothing where it is no systemd, as in a chroot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manager {
    /// The version of systemd, without what a distribution adds.
    pub version: Option<u32>,
    /// `UserspaceTimestampMonotonic` in µs.
    pub timestamp: Option<u64>,
    /// `SoftRebootsCount`.
    pub soft_reboots: Option<u64>,
}

impl Manager {
    /// Asks it.
    #[must_use]
    pub fn ask() -> Manager {
        let words = [
            SYSTEMCTL,
            "show",
            "--property=Version",
            "--property=UserspaceTimestampMonotonic",
            "--property=SoftRebootsCount",
        ];
        let done = Tool::new(Argv::new(words), LIMIT).run();
        match done.and_then(Done::succeeded) {
            Ok(done) => Manager::parse(&String::from_utf8_lossy(&done.stdout)),
            Err(e) => {
                tracing::info!("the first process does not answer: {e}");
                Manager::default()
            }
        }
    }

    /// Whether the usual services were started already in this run of user space, so that an update boot in it is none: what was
    /// armed before an earlier boot that was not diverted cannot tell that by where it was armed. `false` where it does not answer.
    #[must_use]
    pub fn was_up(&self) -> bool {
        let property = "--property=ActiveEnterTimestampMonotonic";
        let argv = Argv::new([SYSTEMCTL, "show", property, "--value", "basic.target"]);
        match Tool::new(argv, LIMIT).run() {
            Ok(done) if done.code == 0 => {
                self.is_of_this_run(&String::from_utf8_lossy(&done.stdout))
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Whether a time in µs, 0 for never, is one since user space was started: a soft-reboot may keep those of before.
    fn is_of_this_run(&self, time: &str) -> bool {
        let time: u64 = time.trim().parse().unwrap_or(0);
        time > 0 && self.timestamp.is_none_or(|start| time >= start)
    }

    fn parse(text: &str) -> Manager {
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let number = |key: &str| value(key)?.trim().parse().ok();
        // 257.13-1~deb13u1, 257 (257.13+suse.5)
        let version = value("Version").and_then(|version| {
            let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Manager {
            version,
            // 0: it has not got there yet, or does not know
            timestamp: number("UserspaceTimestampMonotonic").filter(|t| *t > 0),
            soft_reboots: number("SoftRebootsCount"),
        }
    }

    /// This run of user space.
    #[must_use]
    pub fn userspace(&self) -> Userspace {
        Userspace {
            boot_id: owner::boot_id(),
            timestamp: self.timestamp,
            soft_reboots: self.soft_reboots,
        }
    }

    /// Whether it looks for a trigger in /etc and can restart user space alone: both came with 254.
    #[must_use]
    pub fn is_254(&self) -> bool {
        self.version.is_some_and(|version| version >= 254)
    }
}

/// Whether the target of an update boot is being started, as it is while our unit runs in one.
///
/// # Errors
/// When the first process does not tell.
pub fn is_update_starting() -> Result<bool> {
    let words = [
        SYSTEMCTL,
        "list-jobs",
        "--no-legend",
        "--plain",
        "--full",
        TARGET,
    ];
    let done = Tool::new(Argv::new(words), LIMIT).run();
    let done = done.and_then(Done::succeeded);
    let done = done.context("which jobs the first process has is not known")?;
    Ok(has_start_job(&String::from_utf8_lossy(&done.stdout)))
}

/// Lines of number, unit, type and state.
fn has_start_job(jobs: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next(), words.next()) == (Some(TARGET), Some("start"))
    })
}

/// The target that the system at `root` boots into when nothing diverts it. `systemctl get-default` does not tell: it knows only
/// what the boot was diverted to.
#[must_use]
pub fn default_target(root: &Root) -> String {
    const USUAL: &str = "multi-user.target";
    let configured = |dir: &str| -> io::Result<String> {
        let top = beneath::open_root(root.path())?;
        let dir = beneath::open_dir(top, Path::new(dir))?;
        let text = readlinkat(&dir, "default.target")?;
        let name = Path::new(&text).file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| is_target(name));
        name.map(str::to_owned)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    let found = [ADMIN_UNITS, SYSTEM_UNITS]
        .into_iter()
        .find_map(|dir| configured(dir).ok());
    found.unwrap_or_else(|| USUAL.into())
}

/// A target that a boot may lead to; an update boot is none, and what begins with a dash would be an option.
fn is_target(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
    name.ends_with(".target")
        && name.chars().all(is_plain)
        && !name.starts_with('-')
        && ![TARGET, "default.target"].contains(&name)
}

/// What the first process is asked to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Reboots, through the firmware.
    Reboot,
    /// Powers off.
    Poweroff,
    /// Restarts user space alone.
    SoftReboot,
    /// Starts this target and stops all that it does not want.
    Isolate(String),
}

impl From<EndAction> for Job {
    fn from(end: EndAction) -> Job {
        match end {
            EndAction::Reboot => Job::Reboot,
            EndAction::Poweroff => Job::Poweroff,
            EndAction::SoftReboot => Job::SoftReboot,
        }
    }
}

impl Job {
    fn argv(&self) -> Argv {
        let mut words = vec![SYSTEMCTL, "--no-block"];
        match self {
            Job::Reboot => words.push("reboot"),
            Job::Poweroff => words.push("poweroff"),
            Job::SoftReboot => words.push("soft-reboot"),
            Job::Isolate(target) => words.extend(["isolate", target]),
        }
        Argv::new(words)
    }
}

/// Asks for `job` and does not wait for it. A reboot is a full one, whatever is loaded or mounted for a lighter one.
///
/// # Errors
/// When the first process has not accepted it; nothing will happen then.
pub fn queue(job: &Job) -> Result<()> {
    let done = Tool::new(job.argv(), LIMIT)
        .env("SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT", "1")
        .env("SYSTEMCTL_SKIP_AUTO_KEXEC", "1")
        .run();
    let text = "asking the first process for what comes next";
    match done.context(text)? {
        // it was accepted when that ends us, and with us what has asked for it
        done if done.went_down() => Ok(()),
        done => done.succeeded().map(drop).context(text),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_the_first_process_says_is_read_whatever_a_distribution_adds_to_the_version() {
        for (version, number) in [
            ("257.13-1~deb13u1", Some(257)),
            ("252", Some(252)),
            ("262~rc1+suse.1", Some(262)),
            ("v1", None),
        ] {
            let text = format!(
                "Version={version}\nUserspaceTimestampMonotonic=1234\nSoftRebootsCount=2\n"
            );
            let manager = Manager::parse(&text);
            assert_eq!(
                (manager.version, manager.timestamp, manager.soft_reboots),
                (number, Some(1234), Some(2))
            );
        }
        assert_eq!(
            Manager::parse("UserspaceTimestampMonotonic=0\nVersion=\n"),
            Manager::default()
        );
        assert_eq!(Manager::parse(""), Manager::default());
        let since = |version| Manager {
            version,
            ..Manager::default()
        };
        assert!(since(Some(254)).is_254());
        assert!(!since(Some(253)).is_254() && !since(None).is_254());
    }

    #[test]
    fn what_was_up_before_user_space_was_started_anew_does_not_count() {
        let since = Manager::parse("UserspaceTimestampMonotonic=1000\n");
        assert!(since.is_of_this_run("1001\n"));
        assert!(Manager::default().is_of_this_run("1001"));
        for never in ["0\n", "", "999\n", "x"] {
            assert!(!since.is_of_this_run(never), "{never}");
        }
    }

    #[test]
    fn only_a_job_that_starts_the_target_counts() {
        assert!(has_start_job(
            "12 system-update.target start waiting\n7 a.service start running\n"
        ));
        for none in [
            "",
            "No jobs running.\n",
            "12 system-update.target stop waiting\n",
            "12 other.target start waiting\n",
        ] {
            assert!(!has_start_job(none), "{none}");
        }
    }

    #[test]
    fn the_configured_target_is_found_and_is_never_the_update_itself() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert_eq!(default_target(&root), "multi-user.target");
        let [admin, system] = [ADMIN_UNITS, SYSTEM_UNITS].map(|d| dir.path().join(d));
        std::fs::create_dir_all(&system).unwrap();
        symlink("graphical.target", system.join("default.target")).unwrap();
        assert_eq!(default_target(&root), "graphical.target");
        std::fs::create_dir_all(&admin).unwrap();
        let link = admin.join("default.target");
        for (text, target) in [
            ("/usr/lib/systemd/system/rescue.target", "rescue.target"),
            (
                "/usr/lib/systemd/system/system-update.target",
                "graphical.target",
            ),
            ("--force.target", "graphical.target"),
            ("a b.target", "graphical.target"),
            ("x.service", "graphical.target"),
        ] {
            symlink(text, &link).unwrap();
            assert_eq!(default_target(&root), target, "{text}");
            std::fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn a_job_is_asked_for_without_waiting() {
        let argv = Job::Isolate("multi-user.target".into()).argv();
        assert_eq!(
            argv.to_string(),
            "systemctl --no-block isolate multi-user.target"
        );
        for (end, word) in [
            (EndAction::Reboot, "reboot"),
            (EndAction::Poweroff, "poweroff"),
            (EndAction::SoftReboot, "soft-reboot"),
        ] {
            assert_eq!(
                Job::from(end).argv().to_string(),
                format!("systemctl --no-block {word}")
            );
        }
    }
}

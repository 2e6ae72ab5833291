//! Rebooting, by whoever is to decide when.
//!
//! The methods and the programs they call are those of transactional-update 6.1.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::kexec;
use crate::config::{Config, RebootMethod};
use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool, ToolError};
use crate::sys::{Root, out};
use crate::transaction::{self, Restart, System};

/// Time for a program to hand the wish over; none of them waits for the reboot itself.
const LIMIT: Duration = Duration::from_secs(90);
const REBOOTMGR: &str = "rebootmgrctl";
const SYSTEMD: &str = "systemctl";
const NOTIFIER: &str = "transactional-update-notifier";
/// The file that kured watches for, below the root; /var/run is a link to /run.
const KURED: &str = "run/reboot-required";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// This program is called.
    Call(&'static [&'static str]),
    /// The next kernel is loaded and started.
    Kexec,
    /// A file is made for kured.
    Kured,
    Nothing,
}

/// Whether the running system waits for a reboot: an update is pending, or somebody noted the wish.
///
/// # Errors
/// When the snapshots cannot be read.
pub fn is_wanted(system: &System) -> Result<bool> {
    let is_noted = transaction::restart_asked_for(system) > Restart::None;
    Ok(is_noted || system.store.inventory()?.pending().is_some())
}

/// Reboots the running system by `method`, or asks whoever decides when. Plugins may object before that. The
/// reboot is as light as the pending update and the configuration allow.
///
/// # Errors
/// When a plugin objects, or when the wish could not be handed over; nothing will happen then.
pub fn reboot(system: &System, method: RebootMethod) -> Result<()> {
    let restart = match transaction::restart_asked_for(system) {
        Restart::None => Restart::Reboot, // nobody said that less is enough
        restart => restart,
    };
    hand_over(&system.root, &system.config, method, restart, || {
        kexec::load(system)
    })
}

/// Reboots the running system into another version of its image, as [`reboot`] does. It is always a full reboot: which kernel belongs to
/// the version is the boot loader's to choose.
///
/// # Errors
/// As [`reboot`].
pub fn reboot_to_image(root: &Root, config: &Config) -> Result<()> {
    let method = config.reboot_method.value;
    hand_over(root, config, method, Restart::Reboot, || {
        bail!("which kernel boots next is not known where images are updated")
    })
}

/// Hands the wish for this restart over; `load` loads the kernel that boots next.
fn hand_over(
    root: &Root,
    config: &Config,
    method: RebootMethod,
    restart: Restart,
    load: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if !root.is_live() {
        bail!(
            "only the running system can be rebooted, not the one at {}",
            root.path().display()
        );
    }
    let method = match method {
        RebootMethod::Auto if is_rebootmgr_active()? => RebootMethod::Rebootmgr,
        RebootMethod::Auto => RebootMethod::Systemd,
        method => method,
    };
    transaction::before_reboot(root, config)?;
    match way(method, restart, config) {
        Way::Call(words) => call(words),
        Way::Kexec => {
            if let Err(e) = load() {
                out::warn(format_args!(
                    "kexec is not possible, a full reboot takes its place: {e:#}"
                ));
                return call(&[SYSTEMD, "reboot"]);
            }
            call(&[SYSTEMD, "kexec"])
        }
        Way::Kured => {
            let file = root.join(KURED);
            // empty, so that it is there as a whole at once
            let made = File::options().create(true).append(true).open(&file);
            made.with_context(|| format!("making {} for kured", file.display()))?;
            out::say("kured was told that a reboot is needed.");
            Ok(())
        }
        Way::Nothing => {
            out::say("No reboot: the reboot method is none.");
            Ok(())
        }
    }
}

/// What `method` comes to, when `restart` is enough.
fn way(method: RebootMethod, restart: Restart, config: &Config) -> Way {
    let soft = restart == Restart::Soft && config.allow_soft_reboot.value;
    let kexec = restart < Restart::Reboot && config.allow_kexec.value;
    match method {
        RebootMethod::Rebootmgr if soft => Way::Call(&[REBOOTMGR, "soft-reboot"]),
        RebootMethod::Rebootmgr => Way::Call(&[REBOOTMGR, "reboot"]),
        RebootMethod::Notify => Way::Call(&[NOTIFIER, "client"]),
        RebootMethod::Auto | RebootMethod::Systemd if soft => Way::Call(&[SYSTEMD, "soft-reboot"]),
        RebootMethod::Auto | RebootMethod::Systemd if kexec => Way::Kexec,
        RebootMethod::Auto | RebootMethod::Systemd => Way::Call(&[SYSTEMD, "reboot"]),
        RebootMethod::Kured => Way::Kured,
        RebootMethod::Kexec => Way::Kexec,
        RebootMethod::None => Way::Nothing,
    }
}

/// Whether rebootmgr is there and decides when this system reboots. When it does not answer, that is not known.
fn is_rebootmgr_active() -> Result<bool> {
    match Tool::new(Argv::new([REBOOTMGR, "is-active", "--quiet"]), LIMIT).run() {
        Ok(done) => Ok(done.code == 0),
        Err(ToolError::NotFound(_)) => Ok(false),
        Err(e) => Err(e).context(
            "whether rebootmgr decides about reboots is not known; REBOOT_METHOD can name a method",
        ),
    }
}

fn call(words: &[&str]) -> Result<()> {
    let argv = Argv::new(words);
    let text = argv.to_string();
    let done = Tool::new(argv, LIMIT).run().and_then(Done::succeeded);
    done.context("the system is not rebooted")?;
    out::say(format_args!("Reboot: {text}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(soft: bool, kexec: bool) -> Config {
        let mut config = Config::default();
        config.allow_soft_reboot.value = soft;
        config.allow_kexec.value = kexec;
        config
    }

    fn by(method: RebootMethod, restart: Restart, soft: bool, kexec: bool) -> String {
        match way(method, restart, &allowing(soft, kexec)) {
            Way::Call(words) => words.join(" "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_reboot_is_only_as_light_as_it_may_be_and_the_configuration_allows() {
        use Restart::{Kexec, Reboot, Soft};
        for (restart, soft, kexec, rebootmgr, systemd) in [
            (
                Soft,
                false,
                false,
                "rebootmgrctl reboot",
                "systemctl reboot",
            ),
            (
                Soft,
                true,
                false,
                "rebootmgrctl soft-reboot",
                "systemctl soft-reboot",
            ),
            (Soft, false, true, "rebootmgrctl reboot", "Kexec"),
            (
                Soft,
                true,
                true,
                "rebootmgrctl soft-reboot",
                "systemctl soft-reboot",
            ),
            (
                Kexec,
                true,
                false,
                "rebootmgrctl reboot",
                "systemctl reboot",
            ),
            (Kexec, true, true, "rebootmgrctl reboot", "Kexec"),
            (
                Reboot,
                true,
                true,
                "rebootmgrctl reboot",
                "systemctl reboot",
            ),
        ] {
            let case = format!("{restart:?} {soft} {kexec}");
            assert_eq!(
                by(RebootMethod::Rebootmgr, restart, soft, kexec),
                rebootmgr,
                "{case}"
            );
            assert_eq!(
                by(RebootMethod::Systemd, restart, soft, kexec),
                systemd,
                "{case}"
            );
            for (method, does) in [
                (RebootMethod::Notify, "transactional-update-notifier client"),
                (RebootMethod::Kured, "Kured"),
                (RebootMethod::Kexec, "Kexec"),
                (RebootMethod::None, "Nothing"),
            ] {
                assert_eq!(by(method, restart, soft, kexec), does, "{case}");
            }
        }
    }
}

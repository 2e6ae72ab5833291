//! Arming: the next boot carries the plan out.
//!
//! Order: everything is checked; what will be so is written down; then comes the marker, and last the trigger. Each is on disk
//! before the next, so that whatever boots finds the state that belongs to it.

use std::path::Path;

use anyhow::{Context, Error, Result, bail};
use nix::sys::stat::lstat;

use super::cancel::{close, forget};
use super::journal::{self, Event};
use super::plan::{self, Plan};
use super::reconcile::Situation;
use super::state::{self, EndAction, Moment, Record, SCHEMA, State, Strategy};
use super::systemd::Manager;
use super::trigger::{self, Place, Trigger};
use super::verify::{same_base, sha256, verify};
use super::view::View;
use super::{Directory, base, local, power, reach, record, space, words};
use crate::boot;
use crate::snapshot::SnapshotId;
use crate::sys::lock::WriteLock;
use crate::sys::root::inside;
use crate::sys::{Root, failpoint, fs, mount, out};
use crate::transaction::System;

/// The kernel command line.
const COMMAND_LINE: &str = "proc/cmdline";
/// Is there in a container, below the root (systemd's container interface).
const CONTAINER: &str = "run/systemd/container";

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// What comes after the update.
    pub end: EndAction,
    /// Whether it may run on battery only.
    pub allow_battery: bool,
    /// Whether the update boot is to be entered by a restart of user space alone.
    pub soft: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Armed {
    /// It was armed already.
    Already(Record),
    /// It is armed now.
    Now(Record),
}

/// All that was checked.
#[derive(Debug)]
struct Checked {
    directory: Directory,
    plan: Plan,
    sha256: String,
    place: Place,
}

/// Arms the plan that was prepared. Nothing is changed when something stands in the way.
///
/// # Errors
/// The first rule that it breaks, and what to do; or that it could not be written.
pub fn arm(system: &System, lock: &WriteLock, wish: &Wish) -> Result<Armed> {
    let mut view = View::of(system)?;
    view.settle(lock)?;
    if let Some(foreign) = view.triggers.foreign().next() {
        bail!(
            "{foreign}: another program's update is armed, or somebody put it there; it is not touched. Let that update \
             run, or remove it, and arm again"
        );
    }
    match (view.standing.situation, &view.standing.record) {
        (Situation::Underway, _) => bail!("the update is being carried out"),
        (Situation::Armed, Some(record)) => return Ok(Armed::Already(record.clone())),
        _ => {}
    }
    let checked = check(system, &view, wish)?;
    let record = Record {
        schema: SCHEMA,
        plan: checked.plan.id.clone(),
        plan_sha256: checked.sha256.clone(),
        state: State::Armed,
        cause: None,
        phase: None,
        strategy: checked.plan.strategy,
        end: wish.end,
        allow_battery: wish.allow_battery,
        trigger: checked.place.path(),
        armed: Moment {
            time: view.now.time.clone(),
            userspace: view.now.userspace.clone(),
        },
        started: None,
        base: checked.plan.base.subvolume,
        tree: None,
        live_redirects: 0,
        finished: None,
    };
    if let Err(e) = write(&system.root, lock, &checked, &record) {
        return Err(undo(&system.root, lock, &checked.directory, e));
    }
    let text = "An offline update was armed: the next boot carries it out.";
    journal::tell(Event::Armed, &record, text);
    Ok(Armed::Now(record))
}

/// Writes it all down and makes the trigger.
fn write(root: &Root, lock: &WriteLock, checked: &Checked, record: &Record) -> Result<()> {
    let directory = &checked.directory;
    directory.remove_temporaries()?;
    directory.write_record(record)?;
    failpoint::hit("offline-arm-noted")?;
    // that of an earlier attempt; it may have been one with the same plan
    directory.remove(state::RESULT)?;
    directory.write_motd(&words::motd_armed(record))?;
    failpoint::hit("offline-arm-told")?;
    directory.mark()?;
    failpoint::hit("offline-arm-marked")?;
    // of an arming that was cut off, or of one that an earlier boot did not follow
    let other = match checked.place {
        Place::Top => Place::Etc,
        Place::Etc => Place::Top,
    };
    trigger::remove(root, lock, other)?;
    if *trigger::find(root)?.at(checked.place) != Trigger::Own {
        trigger::make(root, lock, checked.place)?;
    }
    failpoint::hit("offline-armed")?;
    Ok(())
}

/// Takes back what was made of an arming that failed.
fn undo(root: &Root, lock: &WriteLock, directory: &Directory, cause: Error) -> Error {
    match close(root, lock).and_then(|_| forget(directory)) {
        Ok(()) => cause.context("the update could not be armed, and nothing is left of it"),
        Err(e) => cause.context(format!(
            "{e:#}; `offline cancel` takes back what is left. The update could not be armed"
        )),
    }
}

/// Checks every rule.
fn check(system: &System, view: &View, wish: &Wish) -> Result<Checked> {
    let root = &system.root;
    let place = reach::place(root, &view.manager)?;
    let (now, _) = base::running(system)?;
    not_pinned(root)?;
    let booted = system.store.inventory()?.booted;
    let booted = booted.context("the running system is no snapshot")?;
    is_switchable(system, booted)?;
    let nothing = || "nothing is prepared; `offline prepare` makes a plan";
    let directory = Directory::open(root)?.with_context(nothing)?;
    let bytes = directory.bytes(plan::FILE)?.with_context(nothing)?;
    let plan: Plan = serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "{} is not understood; `offline prepare` makes a new plan",
            record::path().join(plan::FILE).display()
        )
    })?;
    let sha256 = sha256(&bytes);
    same_base(&plan, &now)?;
    verify(&plan, directory.fd())?;
    is_local(root, &plan)?;
    is_found(&directory)?;
    if !wish.allow_battery && power::is_on_battery(root).context("looking at the power supplies")? {
        bail!(
            "the machine runs on battery, which may be empty before the update has ended; connect it, or use \
             --allow-battery"
        );
    }
    match space::missing(root, &plan)? {
        0 => {}
        missing => bail!(
            "the root file system has too little room: {} MiB are missing; delete snapshots or files",
            missing.div_ceil(1 << 20)
        ),
    }
    if touches_boot(&plan) {
        has_room_to_boot(system, booted)?;
    }
    reach::check(root, place)?;
    restart(&view.manager, wish)?;
    tell(root, &plan);
    Ok(Checked {
        directory,
        plan,
        sha256,
        place,
    })
}

/// The root must be found by the default subvolume, which is what the update switches.
fn not_pinned(root: &Root) -> Result<()> {
    let fstab = mount::fstab(root).context("reading etc/fstab")?;
    let entries = fstab
        .iter()
        .filter(|entry| entry.point == inside(Path::new("")));
    let mut options = entries.flat_map(|entry| &entry.options);
    match options.find(|o| o.starts_with("subvol=") || o.starts_with("subvolid=")) {
        Some(option) => bail!(
            "fstab mounts the root with {option}, so that no other snapshot can become the root; remove that option"
        ),
        None => Ok(()),
    }
}

/// A subvolume that the boot loader names is no obstacle where it names the running snapshot in an entry, which is switched with the
/// default subvolume.
fn is_switchable(system: &System, booted: SnapshotId) -> Result<()> {
    // there it is the kernel of another system
    if system.root.join(CONTAINER).exists() {
        return Ok(());
    }
    let path = system.root.join(COMMAND_LINE);
    let line = fs::read_bounded(&path, 1 << 16);
    let line = line.with_context(|| format!("reading {}", path.display()))?;
    let line = String::from_utf8_lossy(&line);
    let Some(option) = pinned_by(&line) else {
        return Ok(());
    };
    let inside = system.store.path_inside(booted);
    let subvolume = option.strip_prefix("subvol=").map(Path::new);
    if !subvolume.is_some_and(|subvolume| subvolume.ends_with(&inside)) {
        bail!(
            "the kernel command line mounts the root with rootflags={option}, and that is not how snapshot {booted} is named \
             there ({}); take it out of the boot loader's configuration, and reboot",
            inside.display()
        );
    }
    match system.next_entry_boots(booted)? {
        Some(true) => Ok(()),
        Some(false) => bail!(
            "snapshot {booted} runs, but the default entry of the boot loader boots another one; reboot first"
        ),
        None => bail!(
            "the kernel command line mounts the root with rootflags={option}, and no boot entry decides that which could be \
             switched: no other snapshot would boot. Take it out of the boot loader's configuration, and reboot"
        ),
    }
}

/// The option of the last `rootflags=` of a kernel command line that names the subvolume of the root.
fn pinned_by(line: &str) -> Option<&str> {
    let words = line.split_ascii_whitespace().rev();
    let flags = words.filter_map(|word| word.strip_prefix("rootflags="));
    let mut options = flags.take(1).flat_map(|flags| flags.split(','));
    options.find(|o| o.starts_with("subvol=") || o.starts_with("subvolid="))
}

/// Another kernel and initrd must have room where they are put.
pub(super) fn has_room_to_boot(system: &System, booted: SnapshotId) -> Result<()> {
    if let Some((place, missing)) = space::missing_to_boot(&system.root)? {
        bail!(
            "{} has too little room for another kernel and initrd: {} MiB are missing; remove old kernels",
            place.display(),
            missing.div_ceil(1 << 20)
        );
    }
    system.has_room_to_boot(booted)
}

/// What is written to in an update boot must be there then.
fn is_local(root: &Root, plan: &Plan) -> Result<()> {
    let mounts = mount::mounts().context("reading the list of mounts")?;
    let fstab = mount::fstab(root).context("reading etc/fstab")?;
    let mut places = vec![record::path()];
    if touches_boot(plan) {
        let there = boot::PLACES
            .into_iter()
            .filter(|place| root.join(place).exists());
        places.extend(there.map(|place| inside(Path::new(place))));
    }
    for place in places {
        if let Some(why) = local::objection(&place, &mounts, &fstab) {
            bail!("{} is not there early in each boot: {why}", place.display());
        }
    }
    Ok(())
}

/// Whichever root boots must find the state: by a mount, or as a part of it.
fn is_found(directory: &Directory) -> Result<()> {
    let mounts = mount::mounts().context("reading the list of mounts")?;
    let path = record::path();
    let mount = mount::mount_of(&mounts, &path).map(|mount| mount.point.as_path());
    let is_mounted = mount != Some(&inside(Path::new("")));
    match (is_mounted, directory.is_in_root()) {
        (true, false) | (false, true) => Ok(()),
        (false, false) => bail!(
            "{} is in a subvolume inside of the root, and no other root would have what is in it; mount that subvolume \
             with a line in fstab, or make it a directory",
            path.display()
        ),
        (true, true) => bail!(
            "{} is another directory of the root that is mounted there; keep it where it is, or in a subvolume of its own",
            path.display()
        ),
    }
}

/// Whether a package is one of those that write what the firmware or the boot loader reads.
pub(super) fn touches_boot(plan: &Plan) -> bool {
    const BEGIN: &[&str] = &[
        "kernel-",
        "dracut",
        "grub2",
        "shim",
        "systemd-boot",
        "sdbootutil",
        "ucode-",
    ];
    let names = plan.install.iter().map(|package| &package.name);
    let mut names = names.chain(plan.remove.iter().map(|package| &package.name));
    names.any(|name| BEGIN.iter().any(|begin| name.starts_with(begin)))
}

/// Restarting user space alone needs a systemd that can.
fn restart(manager: &Manager, wish: &Wish) -> Result<()> {
    let wants_soft = wish.soft || wish.end == EndAction::SoftReboot;
    match manager.version {
        _ if !wants_soft || manager.is_254() => Ok(()),
        Some(version) => bail!("systemd {version} knows no soft-reboot; it came with 254"),
        None => bail!("whether systemd knows soft-reboot is not known: it does not answer"),
    }
}

/// What is good to know and stops nothing.
fn tell(root: &Root, plan: &Plan) {
    if plan.strategy == Strategy::NewSnapshot {
        out::say(
            "This update makes a new snapshot and leaves the running root alone: for that no offline update is needed, `dup` \
             and the like do it while the system runs.",
        );
    }
    // each subvolume is a device of its own; without the directory nothing of a boot is kept anyway
    let device = |path: &Path| lstat(path).ok().map(|stat| stat.st_dev);
    let journal = Path::new("var/log/journal");
    let of_journal = device(&root.join(journal));
    if of_journal.is_some() && of_journal == device(root.path()) {
        out::warn(format_args!(
            "the journal ({}) is part of the root: that of the update boot stays in the root that runs now, and another one \
             does not show it; `offline log` shows what the package manager says in any case",
            inside(journal).display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::testing;
    use crate::package::archive::Identity;

    #[test]
    fn a_root_that_fstab_pins_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        for (options, pinned) in [
            ("ro", None),
            ("rw,subvol=@/.snapshots/1/snapshot", Some("subvol=@")),
            ("subvolid=260", Some("subvolid=260")),
        ] {
            let text =
                format!("UUID=1 / btrfs {options} 0 0\nUUID=1 /var btrfs subvol=@/var 0 0\n");
            std::fs::write(dir.path().join("etc/fstab"), text).unwrap();
            match (pinned, not_pinned(&root)) {
                (Some(option), Err(e)) => assert!(e.to_string().contains(option), "{e}"),
                (None, Ok(())) => {}
                (_, found) => panic!("{options}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_last_flags_of_the_root_on_the_kernel_command_line_count() {
        for (line, pinned) in [
            (
                "quiet root=UUID=1 rootflags=ro,subvol=@/x quiet",
                Some("subvol=@/x"),
            ),
            (
                "rootflags=subvol=a rootflags=ro,subvolid=5\n",
                Some("subvolid=5"),
            ),
            ("rootflags=subvol=a rootflags=ro", None),
            ("xrootflags=subvol=a subvol=b", None),
        ] {
            assert_eq!(pinned_by(line), pinned, "{line}");
        }
    }

    #[test]
    fn only_what_the_firmware_or_the_boot_loader_reads_makes_boot_file_systems_count() {
        let with = |name: &str| {
            let mut plan = testing::plan();
            let identity = Identity {
                name: name.into(),
                arch: "noarch".into(),
                evr: "1-1".into(),
            };
            plan.install.push(testing::package(&identity, None));
            touches_boot(&plan)
        };
        assert!(with("kernel-default") && with("shim") && with("grub2-x86_64-efi"));
        assert!(!with("vim") && !with("kernelshark"));
    }

    #[test]
    fn a_soft_reboot_needs_a_systemd_that_can() {
        let wish = |end, soft| Wish {
            end,
            allow_battery: false,
            soft,
        };
        let of = |version| Manager {
            version,
            ..Manager::default()
        };
        for soft in [
            wish(EndAction::SoftReboot, false),
            wish(EndAction::Reboot, true),
        ] {
            assert!(restart(&of(Some(254)), &soft).is_ok());
            assert!(restart(&of(Some(253)), &soft).is_err());
            assert!(restart(&of(None), &soft).is_err());
        }
        assert!(restart(&of(None), &wish(EndAction::Poweroff, false)).is_ok());
    }
}

//! The program sdbootutil, which owns the entries on the ESP of openSUSE's systems with systemd-boot or grub2-bls.

use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool, ToolError, plugin_limit};
use crate::sys::{Root, failpoint, fs};

/// Where it is, below the root.
pub(super) const PATH: &str = "usr/bin/sdbootutil";
const NAME: &str = "sdbootutil";
/// It leaves the predictions of the TPM to a timer, as snapper's plugin wants it.
const NO_PREDICTIONS: &str = "--disable-predictions";

/// Its configuration files in the order in which it reads them: a later one counts more.
const CONFIGURATION: [&str; 5] = [
    "usr/etc/default/sdbootutil",
    "etc/default/sdbootutil",
    "usr/etc/default/fde-tools",
    "etc/default/fde-tools",
    "etc/sysconfig/fde-tools",
];
const RESERVE: &str = "ESP_FREE_SPACE=";
const USUAL_RESERVE: u64 = 10;

/// How much of the partition it keeps free, in percent.
pub(super) fn reserve(root: &Root) -> u64 {
    let value = |path: &&str| -> Option<u64> {
        let text = fs::read_bounded(&root.join(path), 1 << 20).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().rev();
        let value = lines.find_map(|line| line.trim().strip_prefix(RESERVE))?;
        value.trim_matches(['"', '\'']).parse().ok()
    };
    let percent = CONFIGURATION.iter().rev().find_map(value);
    percent.unwrap_or(USUAL_RESERVE).min(100)
}

/// Whether the ESP has an entry with a kernel of snapshot `number`.
///
/// # Errors
/// When it says no, and when it does not answer.
pub(super) fn is_bootable(number: u64) -> Result<(), String> {
    call(&["is-bootable", &number.to_string()]).map(drop)
}

/// The id of the entry that boots next.
///
/// # Errors
/// When it does not say.
pub(super) fn default_entry() -> Result<String, String> {
    let done = call(&["get-default"])?;
    let id = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if id.is_empty() || id.contains(char::is_control) {
        return Err(format!("`{NAME} get-default` names no entry"));
    }
    Ok(id)
}

/// Makes `entry` the one that boots next.
///
/// # Errors
/// When it fails.
pub(super) fn set_default_entry(entry: &str) -> Result<(), String> {
    call(&["set-default", entry]).map(drop)
}

/// Puts the kernels of snapshot `number` on the ESP, each with an initrd and an entry.
///
/// # Errors
/// When it fails.
pub(super) fn add_kernels(number: u64) -> Result<(), String> {
    let number = number.to_string();
    call(&["add-all-kernels", NO_PREDICTIONS, &number]).map(drop)
}

/// Makes the initrds of snapshot `number` on the ESP anew.
///
/// # Errors
/// When it fails.
pub(super) fn make_initrd(number: u64) -> Result<(), String> {
    call(&["mkinitrd", &number.to_string()]).map(drop)
}

/// Makes the loader that of snapshot `number`.
///
/// # Errors
/// When it fails.
pub(super) fn update(number: u64) -> Result<(), String> {
    call(&["update", &number.to_string()]).map(drop)
}

/// Removes entries of snapshot `number` whose kernel is no longer in it.
///
/// # Errors
/// When it fails.
pub(super) fn clean_up(number: u64) -> Result<(), String> {
    call(&["cleanup", NO_PREDICTIONS, &number.to_string()]).map(drop)
}

/// Makes the first entry of snapshot `number` the one that boots next, and the loader that of the snapshot.
///
/// # Errors
/// When it fails.
pub(super) fn set_default_snapshot(number: u64) -> Result<(), String> {
    let number = number.to_string();
    call(&["set-default-snapshot", NO_PREDICTIONS, &number])?;
    failpoint::hit("entry-set").map_err(|e| e.to_string())?;
    call(&["update", NO_PREDICTIONS, "--sync", &number])?;
    failpoint::hit("loader-updated").map_err(|e| e.to_string())
}

/// Computes what the TPM will be asked for at the next boot; does nothing where no disk depends on it.
///
/// # Errors
/// When it fails.
pub(super) fn update_predictions() -> Result<(), String> {
    call(&["update-predictions"]).map(drop)
}

fn call(words: &[&str]) -> Result<Done, String> {
    let argv = Argv::new([&[NAME], words].concat());
    let done = Tool::new(argv.clone(), plugin_limit()).run();
    done.and_then(Done::succeeded).map_err(|e| match e {
        ToolError::Failed(..) => e.to_string(),
        e => format!("`{argv}`: {e}"),
    })
}

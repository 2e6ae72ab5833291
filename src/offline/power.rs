//! Whether the machine runs on battery only.

use std::io;
use std::path::Path;

use crate::sys::Root;
use crate::sys::fs::read_bounded;

/// Where the kernel tells of supplies, below the root (sysfs-class-power).
const SUPPLIES: &str = "sys/class/power_supply";
/// An attribute is a word or a number.
const LIMIT: u64 = 4096;
/// More supplies than a machine has.
const MOST: usize = 256;

/// Whether there is a battery of the machine itself, and no other supply is connected. A battery of a mouse is none of the
/// machine.
///
/// # Errors
/// When the list of supplies cannot be read.
pub fn is_on_battery(root: &Root) -> io::Result<bool> {
    let supplies = match std::fs::read_dir(root.join(SUPPLIES)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut has_battery = false;
    for supply in supplies.take(MOST) {
        let path = supply?.path();
        let of_machine = word(&path, "scope").as_deref() != Some("Device");
        match word(&path, "type").as_deref() {
            Some("Battery") if of_machine && word(&path, "present").as_deref() != Some("0") => {
                has_battery = true;
            }
            // also 2: it is online, and decides itself what it gives
            Some("Mains" | "USB") if word(&path, "online").is_some_and(|o| o != "0") => {
                return Ok(false);
            }
            _ => {}
        }
    }
    Ok(has_battery)
}

/// What an attribute says; `None` when it is not there. A supply can go while it is looked at.
fn word(supply: &Path, attribute: &str) -> Option<String> {
    let bytes = read_bounded(&supply.join(attribute), LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on_battery_with(supplies: &[&[(&str, &str)]]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        for (number, attributes) in supplies.iter().enumerate() {
            let supply = dir.path().join(SUPPLIES).join(format!("S{number}"));
            std::fs::create_dir_all(&supply).unwrap();
            for (name, value) in *attributes {
                std::fs::write(supply.join(name), format!("{value}\n")).unwrap();
            }
        }
        is_on_battery(&Root::at(dir.path()).unwrap()).unwrap()
    }

    #[test]
    fn only_a_battery_of_the_machine_without_another_supply_counts() {
        let battery: &[(&str, &str)] = &[("type", "Battery"), ("scope", "System")];
        let plain: &[(&str, &str)] = &[("type", "Battery")];
        let mouse: &[(&str, &str)] = &[("type", "Battery"), ("scope", "Device")];
        let empty: &[(&str, &str)] = &[("type", "Battery"), ("present", "0")];
        let plugged: &[(&str, &str)] = &[("type", "Mains"), ("online", "1")];
        let unplugged: &[(&str, &str)] = &[("type", "Mains"), ("online", "0")];
        let charger: &[(&str, &str)] = &[("type", "USB"), ("online", "2")];
        for (supplies, expected) in [
            (&[][..], false),
            (&[battery], true),
            (&[plain, unplugged], true),
            (&[plain, plugged], false),
            (&[unplugged, plain, charger], false),
            (&[mouse, empty], false),
            (&[unplugged], false),
            (&[&[]], false),
        ] {
            assert_eq!(is_on_battery_with(supplies), expected, "{supplies:?}");
        }
    }
}

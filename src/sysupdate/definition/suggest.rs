//! Whether a feature or a component should be on here: conditions as those of units (systemd.unit(5)).

use super::condition::Machine;

/// Names of the conditions that systemd knows here.
const KINDS: [&str; 11] = [
    "Architecture",
    "Firmware",
    "Virtualization",
    "Host",
    "Fraction",
    "KernelCommandLine",
    "Version",
    "Credential",
    "Security",
    "OSRelease",
    "MachineTag",
];

/// Whether something should be on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// What was said; it wins over conditions.
    pub(super) fixed: Option<bool>,
    conditions: Vec<Condition>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    kind: &'static str,
    /// One of those with this mark is enough.
    is_trigger: bool,
    is_negated: bool,
    value: String,
}

impl Condition {
    /// The condition `SuggestOnKIND=value`; `None` when there is no such kind.
    pub(super) fn parse(kind: &str, value: &str) -> Option<Condition> {
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let rest = value.strip_prefix('|').map(str::trim_start);
        let (is_trigger, value) = (rest.is_some(), rest.unwrap_or(value));
        let rest = value.strip_prefix('!').map(str::trim_start);
        let (is_negated, value) = (rest.is_some(), rest.unwrap_or(value));
        Some(Condition {
            kind,
            is_trigger,
            is_negated,
            value: value.to_owned(),
        })
    }

    /// Whether it holds; `None` when this program cannot tell.
    fn holds(&self, machine: &Machine<'_>) -> Option<bool> {
        Some(machine.fulfils(self.kind, &self.value)? != self.is_negated)
    }
}

impl Suggestion {
    /// Adds a condition; one without a value takes back those of its kind.
    pub(super) fn add(&mut self, condition: Condition) {
        match condition.value.is_empty() {
            true => self.conditions.retain(|c| c.kind != condition.kind),
            false => self.conditions.push(condition),
        }
    }

    /// Whether it should be on on this machine; `None` when a condition is one that this program cannot evaluate. When nothing is
    /// said, it should not.
    #[must_use]
    pub fn holds(&self, machine: &Machine<'_>) -> Option<bool> {
        if let Some(fixed) = self.fixed {
            return Some(fixed);
        }
        let results = self
            .conditions
            .iter()
            .map(|c| Some((c.is_trigger, c.holds(machine)?)));
        let results: Vec<(bool, bool)> = results.collect::<Option<_>>()?;
        let all = results
            .iter()
            .filter(|(is_trigger, _)| !is_trigger)
            .all(|(_, holds)| *holds);
        let triggers: Vec<bool> = results
            .iter()
            .filter(|(t, _)| *t)
            .map(|(_, holds)| *holds)
            .collect();
        Some(!results.is_empty() && all && (triggers.is_empty() || triggers.contains(&true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Root;
    use crate::sysupdate::Specifiers;

    fn suggested(fixed: Option<bool>, conditions: &[(&str, &str)]) -> Option<bool> {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in [
            (
                "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                &b"\x06\0\0\0\x01"[..],
            ),
            (
                "sys/firmware/devicetree/base/compatible",
                b"acme,board\0acme,soc\0",
            ),
            ("sys/class/dmi/id/bios_version", b"2.10\n"),
            ("sys/class/tpmrm/tpmrm0", b""),
            ("sys/module/apparmor/parameters/enabled", b"N\n"),
            ("run/credentials/@system/token", b"x"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let mut here = Specifiers {
            architecture: "x86-64".into(),
            host_name: "web1.example.com".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            kernel_release: "6.12.9-amd64".into(),
            tags: "web:eu.west".into(),
            ..Specifiers::default()
        };
        here.os_release.insert("ID".into(), "os".into());
        here.os_release.insert("VERSION_ID".into(), "1.10".into());
        let mut suggestion = Suggestion {
            fixed,
            ..Suggestion::default()
        };
        for (kind, value) in conditions {
            suggestion.add(Condition::parse(kind, value).unwrap());
        }
        suggestion.holds(&Machine {
            root: Root::at(dir.path()).unwrap(),
            specifiers: &here,
            command_line: "quiet root=/dev/sda1 debug=1",
        })
    }

    #[test]
    fn all_conditions_count_and_one_of_those_with_a_bar() {
        let (yes, no) = (("Architecture", "x86-64"), ("Architecture", "arm64"));
        assert_eq!(suggested(None, &[]), Some(false));
        assert_eq!(suggested(Some(true), &[no]), Some(true));
        assert_eq!(suggested(Some(false), &[yes]), Some(false));
        assert_eq!(suggested(None, &[yes]), Some(true));
        assert_eq!(suggested(None, &[yes, no]), Some(false));
        assert_eq!(suggested(None, &[("Architecture", "!arm64")]), Some(true));
        let bars = [("Architecture", "|arm64"), ("Architecture", "|!arm64")];
        assert_eq!(suggested(None, &bars), Some(true));
        assert_eq!(suggested(None, &[bars[0], yes]), Some(false));
        assert_eq!(suggested(None, &[yes, ("Fraction", "10%")]), None);
        // an empty one takes back those of its kind
        let (host, none) = (("Host", "other"), ("Architecture", ""));
        assert_eq!(suggested(None, &[no, none, yes]), Some(true));
        assert_eq!(suggested(None, &[yes, host, none]), Some(false));
        assert_eq!(suggested(None, &[yes, none]), Some(false));
        assert!(Condition::parse("Weather", "rain").is_none());
    }

    #[test]
    fn each_condition_asks_for_what_it_names() {
        for (kind, value, wanted) in [
            ("Host", "web?.*", true),
            ("Host", "WEB1.example.com", true),
            ("Host", "web", false),
            ("Host", "01234567-89ab-cdef-0123-456789abcdef", true),
            ("KernelCommandLine", "quiet", true),
            ("KernelCommandLine", "debug", true),
            ("KernelCommandLine", "debug=1", true),
            ("KernelCommandLine", "debug=2", false),
            ("OSRelease", "ID=os", true),
            ("OSRelease", "ID=os VERSION_ID=2", false),
            ("OSRelease", "ID$=o* VERSION_ID>=1.9 VERSION_ID<2", true),
            ("OSRelease", "ID!$=o*", false),
            ("OSRelease", "ID!=other VERSION_ID==1.010", true),
            ("OSRelease", "NONE=", true),
            ("Firmware", "uefi", true),
            ("Firmware", "device-tree", true),
            ("Firmware", "device-tree-compatible(acme,soc)", true),
            ("Firmware", "device-tree-compatible(acme)", false),
            ("Firmware", "smbios-field(bios_version >= 2.9)", true),
            ("Firmware", "smbios-field(bios_version = 2.9)", false),
            ("Version", ">=6.1", true),
            ("Version", "kernel <6.1", false),
            ("Version", "6.12.*", true),
            ("Version", ">=6.1 <6.12", false),
            ("Credential", "token", true),
            ("Credential", "../token", false),
            ("Security", "uefi-secureboot", true),
            ("Security", "tpm2", true),
            ("Security", "apparmor", false),
            ("Security", "measured-uki", false),
            ("MachineTag", "eu.*", true),
            ("MachineTag", "web:*", false),
            ("Architecture", "native", true),
        ] {
            assert_eq!(
                suggested(None, &[(kind, value)]),
                Some(wanted),
                "{kind} {value}"
            );
        }
        for (kind, value) in [
            ("OSRelease", "ID~os"),
            ("Firmware", "bios"),
            ("Version", "systemd >=250"),
            ("Security", "audit"),
        ] {
            assert_eq!(suggested(None, &[(kind, value)]), None, "{kind} {value}");
        }
    }

    #[test]
    fn a_machine_is_virtual_or_not_and_in_a_container_or_not() {
        let virtual_ones = ["yes", "no"].map(|value| suggested(None, &[("Virtualization", value)]));
        assert_eq!(virtual_ones[0].unwrap(), !virtual_ones[1].unwrap());
        let of = |value| suggested(None, &[("Virtualization", value)]).unwrap();
        assert_eq!(of("vm") || of("container"), of("yes"));
        assert!(!of("no-such-hypervisor"));
    }
}

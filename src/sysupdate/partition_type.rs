//! Types of partitions: their names, and which flags they know.

use super::uuid::Uuid;

/// Every type that has a name (Discoverable Partitions Specification): name, tabulator, UUID.
const NAMES: &str = include_str!("partition_types.tsv");

/// The type of a partition that holds just data of Linux, and that of partitions without a setting.
const LINUX_GENERIC: Uuid = Uuid(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4_u128.to_be_bytes());

/// The type of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionType(pub Uuid);

impl Default for PartitionType {
    fn default() -> PartitionType {
        PartitionType(LINUX_GENERIC)
    }
}

impl PartitionType {
    /// The type that `text` names: a UUID, a name (`root-x86-64`), or a name without the architecture (`root`), which is then
    /// `architecture`, and with `-secondary` the other one that such a machine runs.
    #[must_use]
    pub fn parse(text: &str, architecture: &str) -> Option<PartitionType> {
        let by_name = |name: &str| {
            all()
                .find(|(known, _)| *known == name)
                .map(|(_, uuid)| uuid)
        };
        let native = || {
            let kind = ["root", "usr"]
                .into_iter()
                .find(|kind| text.starts_with(kind))?;
            let rest = &text[kind.len()..];
            let (architecture, rest) = match rest.strip_prefix("-secondary") {
                Some(rest) => (secondary(architecture)?, rest),
                None => (architecture, rest),
            };
            by_name(&format!("{kind}-{architecture}{rest}"))
        };
        let uuid = Uuid::parse(text)
            .or_else(|| by_name(text))
            .or_else(native)?;
        Some(PartitionType(uuid))
    }

    /// Its name, when it has one.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        all()
            .find(|(_, uuid)| *uuid == self.0)
            .map(|(name, _)| name)
    }

    /// Whether the flag "read-only" means something for it.
    #[must_use]
    pub fn knows_read_only(&self) -> bool {
        self.name()
            .is_some_and(|name| is_data(name) || is_verity(name))
    }

    /// Whether the flag "grow the file system" means something for it.
    #[must_use]
    pub fn knows_grow_fs(&self) -> bool {
        self.name().is_some_and(is_data)
    }

    /// Whether the flag "do not mount by itself" means something for it.
    #[must_use]
    pub fn knows_no_auto(&self) -> bool {
        let is_other = |name: &str| name == "swap" || (is_verity(name) && !name.ends_with("-sig"));
        self.name()
            .is_some_and(|name| is_data(name) || is_other(name))
    }
}

fn all() -> impl Iterator<Item = (&'static str, Uuid)> {
    let lines = NAMES.lines().filter_map(|line| line.split_once('\t'));
    lines.filter_map(|(name, uuid)| Some((name, Uuid::parse(uuid)?)))
}

/// The architecture whose programs run on this one as well.
fn secondary(architecture: &str) -> Option<&'static str> {
    match architecture {
        "x86-64" => Some("x86"),
        "arm64" => Some("arm"),
        _ => None,
    }
}

fn is_verity(name: &str) -> bool {
    is_tree(name) && (name.ends_with("-verity") || name.ends_with("-verity-sig"))
}

/// Whether it holds a file system that is mounted.
fn is_data(name: &str) -> bool {
    (is_tree(name) && !is_verity(name)) || ["home", "srv", "var", "tmp", "xbootldr"].contains(&name)
}

fn is_tree(name: &str) -> bool {
    name.starts_with("root-") || name.starts_with("usr-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_named_by_uuid_by_name_or_by_the_name_for_this_machine() {
        assert_eq!(all().count(), NAMES.lines().count());
        for (text, uuid) in [
            ("root-x86-64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            ("root", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            ("root-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
            ("usr-x86-64", "8484680c-9521-48c6-9c11-b0720656f69e"),
            ("root-arm64", "b921b045-1df0-41c3-af44-4c6f280d3fae"),
            ("linux-generic", "0fc63daf-8483-4772-8e79-3d69d8477de4"),
            ("0FC63DAF84834772-8E79-3D69D8477DE4", ""),
            (
                "0FC63DAF848347728E793D69D8477DE4",
                "0fc63daf-8483-4772-8e79-3d69d8477de4",
            ),
            ("root-secondary", "44479540-f297-41b2-9af7-d131d5f0458a"),
            (
                "usr-secondary-verity",
                "8f461b0d-14ee-4e81-9aa9-049b6fb97abd",
            ),
            ("root-", ""),
            ("rooty", ""),
        ] {
            let found = PartitionType::parse(text, "x86-64");
            assert_eq!(
                found.map(|t| t.0.to_string()).unwrap_or_default(),
                uuid,
                "{text}"
            );
        }
        assert_eq!(PartitionType::parse("usr-verity-sig", "vax"), None);
        assert_eq!(PartitionType::default().name(), Some("linux-generic"));
    }

    #[test]
    fn a_flag_means_something_only_for_types_that_know_it() {
        let knows = |name: &str| {
            let t = PartitionType::parse(name, "x86-64").unwrap();
            (t.knows_read_only(), t.knows_grow_fs(), t.knows_no_auto())
        };
        for name in ["root", "usr-arm64", "home", "srv", "var", "tmp", "xbootldr"] {
            assert_eq!(knows(name), (true, true, true), "{name}");
        }
        assert_eq!(knows("root-verity"), (true, false, true));
        assert_eq!(knows("usr-verity-sig"), (true, false, false));
        assert_eq!(knows("swap"), (false, false, true));
        for name in ["esp", "linux-generic", "00000000000000000000000000000000"] {
            assert_eq!(knows(name), (false, false, false), "{name}");
        }
    }
}

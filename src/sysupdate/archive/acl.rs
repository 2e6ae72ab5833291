//! ACLs from the text form of archives (acl(5)) to the form that the kernel takes as an extended attribute.

use nix::unistd::{Group, User};

/// Version of the kernel's form.
const VERSION: u32 = 2;
/// In place of a user or group where there is none.
const NOBODY: u32 = u32::MAX;
/// The entry of the group that owns the file.
const GROUP: u16 = 0x04;

/// `None` for what is no ACL, or names somebody who is not known here and has no number.
pub(super) fn to_xattr(text: &str) -> Option<Vec<u8>> {
    let mut entries: Vec<_> = entries(text).map(parse).collect::<Option<_>>()?;
    // the kernel wants them in this order
    entries.sort_unstable();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Some(bytes)
}

/// What the group that owns a file may do by an ACL in the kernel's form: the bits of the group in a mode are those of the ACL's mask,
/// and allow more. `None` without an ACL.
pub(super) fn group(xattr: &[u8]) -> Option<u32> {
    let (entries, _) = xattr.get(4..)?.as_chunks::<8>();
    let is_group = |entry: &&[u8; 8]| entry[..2] == GROUP.to_le_bytes();
    let allowed = |entry: &[u8; 8]| u32::from(entry[2] & 7);
    (!entries.is_empty()).then(|| entries.iter().find(is_group).map_or(0, allowed))
}

/// The same of one in text, also when it names somebody who is not known here.
pub(super) fn group_of_text(text: &str) -> u32 {
    let mut known = entries(text).filter_map(parse);
    known
        .find(|(tag, ..)| *tag == GROUP)
        .map_or(0, |(_, _, allowed)| allowed.into())
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split([',', '\n']);
    let entries = entries.map(|entry| entry.split('#').next().unwrap_or_default().trim());
    entries.filter(|entry| !entry.is_empty())
}

/// Tag, who, and what is allowed.
fn parse(entry: &str) -> Option<(u16, u32, u16)> {
    let parts: Vec<&str> = entry.split(':').map(str::trim).collect();
    let [kind, who, allowed, ref rest @ ..] = parts[..] else {
        return None;
    };
    let permissions = allowed.chars().try_fold(0, |sum, c| {
        Some(
            sum | match c {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            },
        )
    })?;
    // some programs add the number of a name
    let number = rest
        .first()
        .and_then(|n| n.parse().ok())
        .or_else(|| who.parse().ok());
    let user = || number.or_else(|| Some(User::from_name(who).ok()??.uid.as_raw()));
    let group = || number.or_else(|| Some(Group::from_name(who).ok()??.gid.as_raw()));
    let (tag, id) = match (kind, who.is_empty()) {
        ("user" | "u", true) => (0x01, NOBODY),
        ("user" | "u", false) => (0x02, user()?),
        ("group" | "g", true) => (GROUP, NOBODY),
        ("group" | "g", false) => (0x08, group()?),
        ("mask" | "m", true) => (0x10, NOBODY),
        ("other" | "o", true) => (0x20, NOBODY),
        _ => return None,
    };
    Some((tag, id, permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_what_the_kernel_takes_in_its_order_or_none() {
        let text = "other::r--,user::rwx,user:1002:r-x,user:nobody-knows:rw-:1001,group::r-x\nmask::rwx # comment";
        let entry = |tag: u8, permissions: u8, id: u32| {
            [&[tag, 0, permissions, 0][..], &id.to_le_bytes()].concat()
        };
        let expected = [
            vec![2, 0, 0, 0],
            entry(1, 7, NOBODY),
            entry(2, 6, 1001),
            entry(2, 5, 1002),
            entry(4, 5, NOBODY),
            entry(16, 7, NOBODY),
            entry(32, 4, NOBODY),
        ];
        assert_eq!(to_xattr(text).unwrap(), expected.concat());
        assert_eq!(to_xattr("user:root:r--").unwrap()[8..], [0; 4]);
        for bad in [
            "x",
            "user::rwz",
            "user:nobody-knows:rwx",
            "mask:5:rwx",
            "user:1",
        ] {
            assert_eq!(to_xattr(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_owning_group_may_do_is_read_from_an_acl_of_either_form() {
        let text =
            "user::rwx\nuser:1:rwx\ngroup:2:rwx\ngroup::r-x # owns it\nmask::rwx\nother::---";
        assert_eq!(group(&to_xattr(text).unwrap()), Some(5));
        assert_eq!(group_of_text(&format!("{text},user:nobody-knows:rwx")), 5);
        assert_eq!(group(&to_xattr("user::rwx").unwrap()), Some(0));
        assert_eq!(group_of_text("nothing"), 0);
        for none in [&b""[..], b"\x02", &to_xattr("").unwrap()] {
            assert_eq!(group(none), None);
        }
    }
}

//! The types of partitions whose content is not installed yet: derived from the type that they will have, so that nothing mounts them.
//!
//! As systemd-sysupdate(8) since version 260: the first half of HMAC-SHA256 with the type as key, made a UUID of version 4.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::sysupdate::instance::State;
use crate::sysupdate::partition_type::PartitionType;
use crate::sysupdate::uuid::Uuid;

/// What is written.
const PARTIAL: [u8; 16] = 0xaccf_a0c2_da24_460a_9fc9_0bb8_fc78_5219_u128.to_be_bytes();
/// What is complete and waits.
const PENDING: [u8; 16] = 0x80f3_d61e_2383_43b9_81f5_ce37_93f4_7d4c_u128.to_be_bytes();

/// The type of a partition in this state that is `kind` when it is installed.
#[must_use]
pub fn derived(kind: PartitionType, state: State) -> PartitionType {
    let application = match state {
        State::Installed => return kind,
        State::Pending => PENDING,
        State::Partial => PARTIAL,
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&kind.0.0).expect("a key may have any length");
    mac.update(&application);
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // version 4, variant 1 (RFC 9562)
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    PartitionType(Uuid(bytes))
}

/// In which state a partition of the type `found` is, when it will be `kind`; `None` when it is of another one.
#[must_use]
pub fn state(found: PartitionType, kind: PartitionType) -> Option<State> {
    [State::Installed, State::Pending, State::Partial]
        .into_iter()
        .find(|state| derived(kind, *state) == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_what_is_not_installed_are_those_of_systemd() {
        for (kind, partial, pending) in [
            (
                "root-x86-64",
                "7a01d3c6-92ac-43e9-bd77-5726b602ad9d",
                "64362e66-88a7-463b-b325-7af60c81be06",
            ),
            (
                "root-x86-64-verity",
                "8c9d831f-549b-4672-8816-6c435759bb75",
                "a0527bff-640d-406c-93e1-3059b3853391",
            ),
            (
                "usr-x86-64",
                "dc0226f3-2b45-4572-844b-c7575b748b24",
                "ac8558b5-455e-4869-8c5e-d8272455c06a",
            ),
            (
                "root-arm64",
                "5d74642f-2b5f-49e1-972e-0e3af0cdb6c4",
                "b5aeddf5-f37f-45cb-b743-e92d115f787c",
            ),
            (
                "linux-generic",
                "43456f75-4ab1-4a42-844a-3c2e640cb525",
                "5b60f346-140d-4a1b-8086-dc4a4097bd3c",
            ),
        ] {
            let kind = PartitionType::parse(kind, "x86-64").unwrap();
            let text = |state| derived(kind, state).0.to_string();
            assert_eq!(text(State::Partial), partial);
            assert_eq!(text(State::Pending), pending);
            for is in [State::Installed, State::Pending, State::Partial] {
                assert_eq!(state(derived(kind, is), kind), Some(is));
            }
            assert_eq!(state(PartitionType(Uuid([7; 16])), kind), None);
        }
    }
}

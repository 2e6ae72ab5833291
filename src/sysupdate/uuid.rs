//! UUIDs of partitions and of their types.

use std::fmt;

use crate::sys::hex::{from_hex, to_hex};

/// A UUID, its bytes in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Where a dash stands before a byte.
const DASHES: [usize; 4] = [4, 6, 8, 10];

impl Uuid {
    /// Reads 32 hexadecimal digits of either case, all of the four dashes between them or none; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Uuid> {
        let digits = match text.len() {
            32 => text.as_bytes().to_vec(),
            36 => {
                let is_dash = |at: usize| DASHES.iter().enumerate().any(|(n, b)| at == 2 * b + n);
                let bytes = text.bytes().enumerate();
                if bytes.clone().any(|(at, b)| is_dash(at) != (b == b'-')) {
                    return None;
                }
                bytes
                    .filter(|(at, _)| !is_dash(*at))
                    .map(|(_, b)| b)
                    .collect()
            }
            _ => return None,
        };
        from_hex(&digits).map(Uuid)
    }

    /// The 32 digits without dashes, as they stand in names.
    #[must_use]
    pub fn plain(&self) -> String {
        to_hex(&self.0)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if DASHES.contains(&at) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_with_all_dashes_or_none_and_written_with_them() {
        let text = "f4d1234f-3ebf-47c4-b31d-4052982f9a2f";
        let plain = text.replace('-', "");
        for good in [text, &text.to_uppercase(), &plain] {
            let uuid = Uuid::parse(good).unwrap();
            assert_eq!(
                (uuid.to_string().as_str(), uuid.plain()),
                (text, plain.clone())
            );
        }
        let moved = "f4d1234f3-ebf-47c4-b31d-4052982f9a2f";
        let other = text.replace('f', "g");
        for bad in [
            &text[1..],
            &format!("{{{text}}}"),
            moved,
            &other,
            "",
            &"-".repeat(36),
            &"é".repeat(18),
        ] {
            assert_eq!(Uuid::parse(bad), None, "{bad}");
        }
    }
}

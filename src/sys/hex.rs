//! Bytes as hexadecimal digits.

/// `bytes` in hexadecimal, lower case.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(*b)])
        .collect()
}

/// `N` bytes from exactly twice as many digits of either case; `None` for anything else.
#[must_use]
pub fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |d: u8| {
        char::from(d)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits_each() {
        assert_eq!(to_hex(&[0, 0x0f, 0xa0]), "000fa0");
        assert_eq!(from_hex(b"000fA0"), Some([0, 0x0f, 0xa0]));
        for none in [&b"000fa"[..], b"000fa00", b"000fg0", b"+00fa0"] {
            assert_eq!(from_hex::<3>(none), None);
        }
    }
}

//! Small helpers over text: bounds, entities, URIs.

/// Longest text kept of one field: a message, a problem description.
pub(super) const FIELD_MAX: usize = 64 * 1024;

/// Longest text kept of one attribute: a name, a version, a URL.
pub(super) const ATTRIBUTE_MAX: usize = 4 * 1024;

/// What is put where a text was cut.
const CUT: &str = " …";

/// Text that is safe to show, from bytes of an XML document.
///
/// Bytes that are no UTF-8 become U+FFFD, entities are resolved (an unknown one leaves the text as it is), carriage
/// returns become line ends, other control characters a question mark, and what is longer than `max` bytes is cut.
pub(super) fn clean(bytes: &[u8], max: usize) -> String {
    let raw = String::from_utf8_lossy(bytes);
    let plain = match quick_xml::escape::unescape(&raw) {
        Ok(plain) => plain,
        Err(_) => raw.clone(),
    };
    let mut text = String::with_capacity(plain.len().min(max + CUT.len()));
    for c in plain.chars() {
        if text.len() + c.len_utf8() > max {
            text.push_str(CUT);
            break;
        }
        text.push(match c {
            '\n' | '\t' => c,
            '\r' => '\n',
            c if c.is_control() => '?',
            c => c,
        });
    }
    text
}

/// One line, cut to the length of an attribute.
pub(super) fn clean_line(line: &str) -> String {
    cut(line, ATTRIBUTE_MAX)
}

/// At most `max` bytes of a text, cut at a character, with a mark where it was cut.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}{CUT}", &text[..end])
}

/// The path of a `dir:` or `file:` URI, percent-decoded and without zypp's `?` options; None for other URIs, for a path
/// that is not absolute and for one with a NUL byte.
///
/// Known spellings: `dir:/x`, `dir:///x`, `file:///x`, and with a host that means this machine, `file://localhost/x`.
pub(super) fn local_uri_path(uri: &[u8]) -> Option<Vec<u8>> {
    let colon = uri.iter().position(|&b| b == b':')?;
    let scheme = &uri[..colon];
    if !scheme.eq_ignore_ascii_case(b"dir") && !scheme.eq_ignore_ascii_case(b"file") {
        return None;
    }
    let mut path = &uri[colon + 1..];
    if let Some(rest) = path.strip_prefix(b"//") {
        let slash = rest.iter().position(|&b| b == b'/')?;
        let host = &rest[..slash];
        if !host.is_empty() && !host.eq_ignore_ascii_case(b"localhost") {
            return None;
        }
        path = &rest[slash..];
    }
    let end = path
        .iter()
        .position(|b| b"?#".contains(b))
        .unwrap_or(path.len());
    let path = percent_decode(&path[..end]);
    (path.first() == Some(&b'/') && !path.contains(&0)).then_some(path)
}

/// Resolves `%41`; a percent sign without two hexadecimal digits stays.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        out.push(*first);
        if let (b'%', [high, low, after @ ..]) = (*first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.pop();
            out.push(high * 16 + low);
            rest = after;
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_resolved_and_unknown_ones_left_alone() {
        assert_eq!(clean(b"&apos;a&apos; &lt;b&gt; &#38;", 99), "'a' <b> &");
        assert_eq!(clean(b"a & b &nosuch; c", 99), "a & b &nosuch; c");
    }

    #[test]
    fn text_that_could_upset_a_terminal_is_made_harmless() {
        assert_eq!(clean(b"a\x1b[1mb\rc\xff&#27;", 99), "a?[1mb\nc\u{fffd}?");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(clean("äää".as_bytes(), 5), "ää …");
    }

    #[test]
    fn local_uris_lose_options_host_and_percent_signs() {
        let path = |uri: &str| {
            local_uri_path(uri.as_bytes()).map(|p| String::from_utf8_lossy(&p).into_owned())
        };
        assert_eq!(path("dir:/a/b").as_deref(), Some("/a/b"));
        assert_eq!(path("dir:///a/b?alias=x").as_deref(), Some("/a/b"));
        assert_eq!(
            path("FILE://localhost/a%20b%zz%4").as_deref(),
            Some("/a b%zz%4")
        );
        assert_eq!(path("file://host/a"), None);
        assert_eq!(path("file:a"), None);
        assert_eq!(path("dir:/a%00b"), None);
        assert_eq!(path("https://h/a"), None);
        assert_eq!(path("dir:"), None);
    }
}

//! Cuts zypper's output into tags and text, whatever else is in it.
//!
//! zypper writes well-formed XML, but what it runs can write between the tags. A strict XML reader loses its way there:
//! a lone `<` or an open quote would swallow tags that follow. Here a `<` inside a tag always starts anew, as it cannot
//! stand there in XML, so that at most one tag is lost, and neither a tag nor a text is collected without a bound.

/// Longest tag; what is longer is text.
const TAG_MAX: usize = 64 * 1024;

/// Most text handed out in one piece.
const TEXT_MAX: usize = 64 * 1024;

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A tag, without its angle brackets.
    Tag(Vec<u8>),
    /// What stood between tags. A long text comes in several pieces.
    Text(Vec<u8>),
}

/// Collects bytes until they are a token.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokenizer {
    pending: Vec<u8>,
    in_tag: bool,
    quote: Option<u8>,
}

impl Tokenizer {
    /// Takes the next bytes and hands each complete token to `sink`.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(Token)) {
        for &byte in bytes {
            if self.in_tag {
                self.push_in_tag(byte, sink);
            } else if byte == b'<' {
                self.flush_text(sink);
                self.start_tag();
            } else {
                self.pending.push(byte);
                if self.pending.len() >= TEXT_MAX {
                    self.flush_text(sink);
                }
            }
        }
    }

    /// The end of the output: what is left is text.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Token)) {
        self.in_tag = false;
        self.flush_text(sink);
    }

    fn start_tag(&mut self) {
        self.pending.push(b'<');
        self.in_tag = true;
        self.quote = None;
    }

    fn push_in_tag(&mut self, byte: u8, sink: &mut impl FnMut(Token)) {
        if byte == b'<' {
            self.flush_text(sink);
            self.start_tag();
            return;
        }
        self.pending.push(byte);
        let begins = self.pending.len() == 2;
        let may_begin = byte.is_ascii_alphabetic() || b"/?!_".contains(&byte);
        if begins && !may_begin {
            self.in_tag = false;
            return;
        }
        if self.pending.len() > TAG_MAX {
            self.in_tag = false;
            self.flush_text(sink);
            return;
        }
        match self.quote {
            Some(open) if open == byte => self.quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => self.quote = Some(byte),
            None if byte == b'>' => {
                let inner = self.pending[1..self.pending.len() - 1].to_vec();
                self.pending.clear();
                self.in_tag = false;
                sink(Token::Tag(inner));
            }
            None => {}
        }
    }

    fn flush_text(&mut self, sink: &mut impl FnMut(Token)) {
        if !self.pending.is_empty() {
            sink(Token::Text(std::mem::take(&mut self.pending)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        let mut sink = |token| {
            out.push(match token {
                Token::Tag(t) => format!("<{}>", String::from_utf8_lossy(&t)),
                Token::Text(t) => String::from_utf8_lossy(&t).into_owned(),
            });
        };
        let mut tokenizer = Tokenizer::default();
        tokenizer.push(input, &mut sink);
        tokenizer.finish(&mut sink);
        out
    }

    #[test]
    fn tags_and_text_are_told_apart() {
        assert_eq!(cut(b"<a b=\"x>y\">t</a>"), ["<a b=\"x>y\">", "t", "</a>"]);
    }

    #[test]
    fn a_stray_angle_bracket_costs_no_tag() {
        assert_eq!(cut(b"1 < 2\n<a/>"), ["1 ", "< 2\n", "<a/>"]);
        assert_eq!(cut(b"x <b c=\"\n<a/>"), ["x ", "<b c=\"\n", "<a/>"]);
    }

    #[test]
    fn the_end_turns_an_open_tag_into_text() {
        assert_eq!(cut(b"<progress id=\"x"), ["<progress id=\"x"]);
    }

    #[test]
    fn endless_tags_and_texts_come_in_bounded_pieces() {
        let mut input = b"<a ".to_vec();
        input.resize(3 * TAG_MAX, b'x');
        let pieces = cut(&input);
        assert!(pieces.len() >= 3 && pieces.iter().all(|p| p.len() <= TAG_MAX + 1));
    }
}

//! Reads the XML that `zypper --xmlout` prints, while it prints it.
//!
//! [`Parser`] takes bytes as they come; [`Reader`] reads them from a stream. Neither can fail on content: whatever is
//! no XML, or no element that is known, comes out as a message, and an end in the middle of an element gives what was
//! there so far.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use super::element::{Attributes, List, add_solvable, download, level, message, progress, summary};
use super::event::{Event, FileConflict, Level, Prompt, Summary};
use super::text::{FIELD_MAX, clean};
use super::token::{Token, Tokenizer};

/// Elements that begin something new wherever they stand.
const TOP_LEVEL: [&str; 7] = [
    "message",
    "prompt",
    "install-summary",
    "fileconflict",
    "fileconflict-summary",
    "progress",
    "download",
];

/// Most packages kept of one file conflict.
const CONFLICT_PACKAGES_MAX: usize = 16;

/// A parser that is fed with bytes.
#[derive(Debug, Clone, Default)]
pub struct Parser {
    tokenizer: Tokenizer,
    state: State,
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Takes the next bytes of the stream and hands every event that they complete to `sink`.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Event)) {
        let state = &mut self.state;
        self.tokenizer
            .push(bytes, &mut |token| state.take(token, &mut sink));
    }

    /// The stream has ended. Hands what is left to `sink`: an element that was not complete, or text.
    pub fn finish(mut self, mut sink: impl FnMut(Event)) {
        let state = &mut self.state;
        self.tokenizer
            .finish(&mut |token| state.take(token, &mut sink));
        state.close(&mut sink);
    }
}

/// Events of a stream, as an iterator. It ends with the stream; an error of the stream is given once, after the
/// events that came before it.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    parser: Option<Parser>,
    ready: VecDeque<Event>,
    error: Option<io::Error>,
}

impl<R: BufRead> Reader<R> {
    /// A reader of `source`, which is at the start of zypper's output.
    pub fn new(source: R) -> Reader<R> {
        Reader {
            source,
            parser: Some(Parser::new()),
            ready: VecDeque::new(),
            error: None,
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let Some(mut parser) = self.parser.take() else {
                return self.error.take().map(Err);
            };
            let ready = &mut self.ready;
            match self.source.fill_buf() {
                Ok([]) => parser.finish(|event| ready.push_back(event)),
                Ok(bytes) => {
                    let length = bytes.len();
                    parser.feed(bytes, |event| ready.push_back(event));
                    self.source.consume(length);
                    self.parser = Some(parser);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.parser = Some(parser)
                }
                Err(error) => {
                    parser.finish(|event| ready.push_back(event));
                    self.error = Some(error);
                }
            }
        }
    }
}

/// Where in the document the parser is.
#[derive(Debug, Clone)]
struct State {
    element: Element,
    text: Vec<u8>,
}

impl Default for State {
    fn default() -> State {
        State {
            element: Element::Stream,
            text: Vec::new(),
        }
    }
}

/// The element that is being collected.
#[derive(Debug, Clone)]
enum Element {
    /// None: between elements.
    Stream,
    Message(Level),
    Prompt(Prompt),
    Summary(Box<Summary>, List),
    Conflict(FileConflict),
}

impl State {
    fn take(&mut self, token: Token, sink: &mut impl FnMut(Event)) {
        match token {
            Token::Text(text) => self.take_text(&text, sink),
            Token::Tag(tag) => {
                let tag = String::from_utf8_lossy(&tag);
                match tag.as_bytes() {
                    [b'/', ..] => self.end(tag[1..].trim(), sink),
                    [b'?' | b'!', ..] => {}
                    _ if self.is_foreign(&tag) => {
                        self.take_text(format!("<{tag}>").as_bytes(), sink)
                    }
                    _ => {
                        let name = tag.find([' ', '\t', '\n', '\r', '/']).unwrap_or(tag.len());
                        let (name, start) = (&tag[..name], Attributes::new(&tag, name));
                        self.start(name, &start, sink);
                    }
                }
            }
        }
    }

    /// Whether something that looks like a tag is part of a text: no element of zypper has such a name, or it stands
    /// where zypper would have escaped it. `<user@example.org>` is not lost then.
    fn is_foreign(&self, tag: &str) -> bool {
        let name = tag
            .split([' ', '\t', '\n', '\r', '/'])
            .next()
            .unwrap_or_default();
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let in_text = match self.element {
            Element::Stream => self.text.iter().any(|b| !b.is_ascii_whitespace()),
            Element::Message(_) => true,
            Element::Prompt(_) | Element::Summary(..) | Element::Conflict(_) => false,
        };
        !is_name || (in_text && !TOP_LEVEL.contains(&name))
    }

    fn take_text(&mut self, text: &[u8], sink: &mut impl FnMut(Event)) {
        if let Element::Stream = self.element {
            for piece in text.split_inclusive(|&b| b == b'\n') {
                self.collect(piece);
                if piece.ends_with(b"\n") {
                    self.flush_lines(sink);
                }
            }
        } else {
            self.collect(text);
        }
    }

    /// Keeps text up to the limit of a field, and one byte more, so that a cut is seen as one.
    fn collect(&mut self, text: &[u8]) {
        let room = (FIELD_MAX + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// Text between elements is something that leaked into the stream: a message.
    fn flush_lines(&mut self, sink: &mut impl FnMut(Event)) {
        message(Level::Info, &self.take_field(), sink);
    }

    fn take_field(&mut self) -> String {
        let text = clean(&self.text, FIELD_MAX);
        self.text.clear();
        text
    }

    fn start(&mut self, name: &str, tag: &Attributes<'_>, sink: &mut impl FnMut(Event)) {
        match name {
            "message" => {
                self.open(Element::Message(level(&tag.get("type"))), sink);
                if tag.is_empty_element() {
                    self.close(sink);
                }
            }
            "prompt" => {
                let prompt = Prompt {
                    id: tag.number("id").unwrap_or(u32::MAX),
                    description: String::new(),
                    text: String::new(),
                    answer: String::new(),
                };
                self.open(Element::Prompt(prompt), sink);
            }
            "install-summary" => {
                self.open(Element::Summary(Box::new(summary(tag)), List::None), sink);
                if tag.is_empty_element() {
                    self.end(name, sink);
                }
            }
            "fileconflict" => {
                self.open(
                    Element::Conflict(FileConflict {
                        file: String::new(),
                        packages: Vec::new(),
                    }),
                    sink,
                );
            }
            "progress" => {
                self.close(sink);
                sink(Event::Progress(progress(tag)));
            }
            "download" => {
                self.close(sink);
                sink(Event::Download(download(tag)));
            }
            _ => self.start_inside(name, tag, sink),
        }
    }

    /// A tag that means something only inside of another element. Others are passed over.
    fn start_inside(&mut self, name: &str, tag: &Attributes<'_>, sink: &mut impl FnMut(Event)) {
        match &mut self.element {
            Element::Stream => self.flush_lines(sink),
            Element::Message(_) => {}
            Element::Prompt(prompt) => {
                self.text.clear();
                if name == "option" && tag.get("default") == "1" {
                    prompt.answer = tag.get("value");
                }
            }
            Element::Conflict(_) => self.text.clear(),
            Element::Summary(summary, list) => {
                self.text.clear();
                if name == "solvable" {
                    add_solvable(summary, *list, tag);
                } else if let Some(begun) = List::begun_by(name) {
                    *list = begun;
                }
            }
        }
    }

    fn end(&mut self, name: &str, sink: &mut impl FnMut(Event)) {
        match (&mut self.element, name) {
            (Element::Message(_), "message") | (Element::Prompt(_), "prompt") => self.close(sink),
            (Element::Conflict(_), "fileconflict") | (Element::Stream, _) => self.close(sink),
            (Element::Summary(summary, _), "install-summary") => {
                summary.complete = true;
                self.close(sink);
            }
            (Element::Prompt(_), "description" | "text")
            | (Element::Conflict(_), "file" | "name") => {
                let text = self.take_field();
                self.set_field(name, text.trim());
            }
            (Element::Summary(_, list), name) => {
                if name.starts_with("to-") {
                    *list = List::None;
                }
                self.text.clear();
            }
            (_, "stream") => self.close(sink),
            (Element::Message(_) | Element::Prompt(_) | Element::Conflict(_), _) => {}
        }
    }

    fn set_field(&mut self, name: &str, text: &str) {
        match (&mut self.element, name) {
            (Element::Prompt(prompt), "description") => prompt.description = text.to_owned(),
            (Element::Prompt(prompt), _) => prompt.text = text.to_owned(),
            (Element::Conflict(conflict), "file") => conflict.file = text.to_owned(),
            (Element::Conflict(conflict), _) if conflict.packages.len() < CONFLICT_PACKAGES_MAX => {
                conflict.packages.push(text.to_owned());
            }
            _ => {}
        }
    }

    fn open(&mut self, element: Element, sink: &mut impl FnMut(Event)) {
        self.close(sink);
        self.element = element;
    }

    /// Ends the element that is open, complete or not, and hands it out.
    fn close(&mut self, sink: &mut impl FnMut(Event)) {
        let text = self.take_field();
        match std::mem::replace(&mut self.element, Element::Stream) {
            Element::Stream => message(Level::Info, &text, sink),
            Element::Message(level) => message(level, &text, sink),
            Element::Prompt(mut prompt) => {
                if prompt.text.is_empty() {
                    prompt.text = text.trim().to_owned();
                }
                sink(Event::Prompt(prompt));
            }
            Element::Summary(summary, _) => sink(Event::Summary(*summary)),
            Element::Conflict(conflict) => sink(Event::FileConflict(conflict)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Kind, Step, Task};
    use super::*;

    fn events(text: &str) -> Vec<Event> {
        Reader::new(text.as_bytes())
            .map(|event| event.unwrap())
            .collect()
    }

    fn info(text: &str) -> Event {
        Event::Message {
            level: Level::Info,
            text: text.to_owned(),
        }
    }

    #[test]
    fn progress_of_a_package_has_a_step_a_percentage_and_an_end() {
        let text = r#"<stream><progress id="install-resolvable" name="( 1/12) Installing: a-1-1.noarch" value="40"/>
            <progress id="remove-resolvable" name="(2/12) Removing: b-1-1.noarch" done="0"/>
            <progress id="execute-resolvable-script" name="Executing %post script for: c-1-1.noarch" done="1"/>"#;
        let progress: Vec<_> = events(text)
            .into_iter()
            .map(|e| {
                if let Event::Progress(p) = e {
                    p
                } else {
                    panic!()
                }
            })
            .collect();
        let [install, remove, script] = progress.as_slice() else {
            panic!("{progress:?}")
        };
        assert_eq!(
            install.task,
            Task::Install {
                package: "a-1-1.noarch".to_owned()
            }
        );
        assert_eq!(
            (install.step, install.percent),
            (Some(Step { number: 1, of: 12 }), Some(40))
        );
        assert!(
            !install.done
                && !install.failed
                && remove.done
                && remove.failed
                && script.done
                && !script.failed
        );
        let task = Task::Script {
            scriptlet: "%post".to_owned(),
            package: "c-1-1.noarch".to_owned(),
        };
        assert_eq!(script.task, task);
    }

    #[test]
    fn a_download_is_named_by_its_file() {
        let text = r#"<download url="http://h/x/a.rpm?k=v" percent="-1" rate="-1"/><download url="http://h/x/a.rpm" percent="25" rate="9"/>"#;
        let [Event::Download(first), Event::Download(second)] = &events(text)[..] else {
            panic!()
        };
        assert_eq!(
            (first.file.as_str(), first.percent, first.rate),
            ("a.rpm", None, None)
        );
        assert_eq!(
            (second.percent, second.rate, second.done),
            (Some(25), Some(9), false)
        );
    }

    #[test]
    fn the_beginning_of_a_package_is_told_apart_from_other_messages() {
        let text = "<message type=\"info\">Retrieving: a-1-1.noarch (fx) (1/3),   6.6 KiB    </message>\n\
                    <message type=\"info\">In cache b-1-1.noarch.rpm (2/3),   6.1 KiB    </message>\n\
                    <message type=\"error\">Retrieving: nothing</message>";
        let [
            Event::Retrieve(a),
            Event::Retrieve(b),
            Event::Message {
                level: Level::Error,
                ..
            },
        ] = &events(text)[..]
        else {
            panic!()
        };
        assert_eq!(
            (a.package.as_str(), a.cached, a.step.number, a.step.of),
            ("a-1-1.noarch", false, 1, 3)
        );
        assert_eq!((b.package.as_str(), b.cached), ("b-1-1.noarch.rpm", true));
    }

    #[test]
    fn text_between_elements_becomes_messages_line_by_line() {
        let text = "<stream>\nRunning: x (y)\nif a < b then\nmail <user@example.org> or <b>me</b>\n<message>m</message>";
        let expected = [
            "Running: x (y)",
            "if a < b then",
            "mail <user@example.org> or <b>me",
            "m",
        ]
        .map(info);
        assert_eq!(events(text), expected);
    }

    #[test]
    fn an_element_that_is_not_ended_ends_where_the_next_begins() {
        let text = "<message type=\"warning\">one <install-summary packages-to-change=\"1\"><to-remove>\
                    <solvable type=\"patch\" name=\"p\"/><progress id=\"x\" name=\"y\"/>two";
        let [
            Event::Message {
                level: Level::Warning,
                text: one,
            },
            Event::Summary(summary),
            Event::Progress(_),
            two,
        ] = &events(text)[..]
        else {
            panic!()
        };
        assert_eq!((one.as_str(), two), ("one", &info("two")));
        assert_eq!(
            (summary.remove[0].kind, summary.complete),
            (Kind::Patch, false)
        );
        assert!(!summary.is_empty());
    }

    #[test]
    fn an_endless_message_is_cut() {
        let text = format!("<message>{}</message>", "x".repeat(3 * FIELD_MAX));
        let [Event::Message { text, .. }] = &events(&text)[..] else {
            panic!()
        };
        assert!(text.len() < FIELD_MAX + 10 && text.ends_with('…'));
    }

    #[test]
    fn an_error_of_the_stream_comes_after_what_was_read() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let source = io::Read::chain(&b"<message>m</message><mess"[..], Broken);
        let got: Vec<_> = Reader::new(io::BufReader::new(source)).collect();
        assert_eq!(got.len(), 3);
        assert!(got[0].as_ref().is_ok_and(|e| *e == info("m")) && got[2].is_err());
    }
}

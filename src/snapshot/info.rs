//! info.xml: what snapper, and so we, know of a snapshot.
//!
//! The format is snapper's; elements that are not known here are kept as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_xml::events::{BytesText, Event};
use quick_xml::reader::Reader;

use super::SnapshotId;
use crate::sys::owner::Owner;

/// Largest info.xml that is read, in bytes.
pub(super) const LIMIT: u64 = 1 << 20;

/// snapper's cleanup algorithm that keeps a number of snapshots (snapper-configs(5), NUMBER_LIMIT).
pub const NUMBER: &str = "number";

/// Userdata keys.
pub mod key {
    /// The known mark of a transaction that has not ended (`yes`).
    pub const IN_PROGRESS: &str = "transactional-update-in-progress";
    /// Who makes the snapshot: `<boot id>:<pid>:<start time>`, or `open` for one that waits to be continued.
    pub const OWNER: &str = "tu-owner";
    /// Value of [`OWNER`] for a transaction that waits for its next call.
    pub const OPEN: &str = "open";
    /// Id of the boot in which an open transaction was last worked on.
    pub const BOOT: &str = "tu-boot";
    /// An open transaction that is to be dropped when it changed nothing (`yes`).
    pub const DISCARD: &str = "tu-discard";
    /// How the system has to be restarted for an open transaction, as its calls asked for so far.
    pub const RESTART: &str = "tu-restart";
    /// What the snapshot was made from: `<number>:<uuid>`.
    pub const BASE: &str = "tu-base";
    /// What booted before, `<subvolume>:<boot entry>`: this snapshot was made the next one, and it is not shown
    /// yet that it boots.
    pub const UNPROVED: &str = "tu-unproved";
    /// How the system has to be restarted for this snapshot, which a command is about to make the next one, or has
    /// made it: others do not know yet.
    pub const UNTOLD: &str = "tu-untold";
    /// When the snapshot was first seen running, UTC.
    pub const BOOTED: &str = "tu-booted";
    /// Number of packaged files that lie hidden below other mounts once this snapshot runs.
    pub const HIDDEN: &str = "tu-hidden";
    /// A snapshot that is being deleted, whose number must not come again (`yes`).
    pub const NUMBER_STAYS: &str = "tu-number-stays";
    /// The root that runs is being changed in place; the number of the snapshot that boots next until all has succeeded.
    pub const IN_PLACE: &str = "tu-in-place";
    /// A snapshot of a failed transaction that was kept on request (`yes`).
    pub const KEPT: &str = "tu-kept";
}

/// The contents of an info.xml.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `single`, `pre` or `post`.
    pub kind: String,
    /// Number of the snapshot.
    pub number: u64,
    /// `YYYY-MM-DD HH:MM:SS`, UTC.
    pub date: String,
    /// One line for people.
    pub description: String,
    /// snapper's cleanup algorithm, as `number`; empty: never cleaned up.
    pub cleanup: String,
    /// Keys and values of anybody.
    pub userdata: BTreeMap<String, String>,
    /// Elements that are not known here, as they were.
    extra: Vec<String>,
}

impl Info {
    /// A new description of snapshot `id`.
    #[must_use]
    pub fn new(id: SnapshotId, date: String, description: String) -> Info {
        Info {
            kind: "single".into(),
            number: id.number(),
            date,
            description,
            cleanup: NUMBER.into(),
            ..Info::default()
        }
    }

    /// Reads the text of an info.xml.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Info, String> {
        let mut reader = Reader::from_str(text);
        let mut info = Info::default();
        let mut seen = false;
        loop {
            match reader.read_event().map_err(|e| format!("not XML: {e}"))? {
                Event::Start(tag) if !seen && tag.name().as_ref() == b"snapshot" => seen = true,
                Event::Start(tag) if seen => {
                    let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
                    let inner = reader
                        .read_text(tag.name())
                        .map_err(|e| format!("<{name}>: {e}"))?;
                    info.element(
                        &name,
                        &inner.decode().map_err(|e| format!("<{name}>: {e}"))?,
                    )?;
                }
                Event::Empty(tag) if seen => info
                    .extra
                    .push(format!("<{}/>", String::from_utf8_lossy(&tag))),
                Event::Start(_) | Event::Empty(_) => return Err("no <snapshot> element".into()),
                Event::End(_) if seen => return info.complete(),
                Event::Eof => return Err("it ends in the middle".into()),
                _ => {}
            }
        }
    }

    fn element(&mut self, name: &str, inner: &str) -> Result<(), String> {
        match name {
            "type" => self.kind = unescape(inner)?,
            "num" => {
                self.number = inner
                    .trim()
                    .parse()
                    .map_err(|_| format!("<num> is no number: {inner}"))?
            }
            "date" => self.date = unescape(inner)?,
            "description" => self.description = unescape(inner)?,
            "cleanup" => self.cleanup = unescape(inner)?,
            "userdata" => {
                let (key, value) = pair(inner)?;
                self.userdata.insert(key, value);
            }
            _ => self.extra.push(format!("<{name}>{inner}</{name}>")),
        }
        Ok(())
    }

    fn complete(self) -> Result<Info, String> {
        if self.number == 0 {
            Err("no <num> element".into())
        } else {
            Ok(self)
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\"?>\n<snapshot>\n");
        let number = self.number.to_string();
        for (name, value) in [("type", &self.kind), ("num", &number), ("date", &self.date)] {
            line(&mut out, name, value);
        }
        for element in &self.extra {
            out.push_str("  ");
            out.push_str(element);
            out.push('\n');
        }
        for (name, value) in [
            ("description", &self.description),
            ("cleanup", &self.cleanup),
        ] {
            if !value.is_empty() {
                line(&mut out, name, value);
            }
        }
        for (key, value) in &self.userdata {
            out.push_str("  <userdata>\n  ");
            line(&mut out, "key", key);
            out.push_str("  ");
            line(&mut out, "value", value);
            out.push_str("  </userdata>\n");
        }
        out.push_str("</snapshot>\n");
        out
    }

    /// Says that this process is at work on the snapshot. No clean-up takes it from now on: snapper knows nothing of
    /// a transaction that waits.
    pub fn begin_transaction(&mut self) {
        self.cleanup.clear();
        self.userdata.insert(key::IN_PROGRESS.into(), "yes".into());
        self.userdata
            .insert(key::OWNER.into(), Owner::this().to_string());
    }

    /// The user who made it, when that is not root.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        let uid = |e: &String| {
            let inner = e.strip_prefix("<uid>")?.strip_suffix("</uid>")?;
            inner.trim().parse().ok()
        };
        self.extra.iter().find_map(uid)
    }

    /// Takes away what only belongs to a transaction that has not ended. A clean-up may take the snapshot once it is
    /// not in use, unless it was kept for somebody.
    pub fn end_transaction(&mut self) {
        if self.cleanup.is_empty() && !self.userdata.contains_key(key::KEPT) {
            NUMBER.clone_into(&mut self.cleanup);
        }
        for key in [
            key::IN_PROGRESS,
            key::OWNER,
            key::BOOT,
            key::DISCARD,
            key::RESTART,
        ] {
            self.userdata.remove(key);
        }
    }

    /// Whether it is of an open transaction of ours that waits for its next call.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.in_progress()
            && self
                .userdata
                .get(key::OWNER)
                .is_some_and(|v| v == key::OPEN)
    }

    /// Whether the transaction that makes this snapshot has not ended.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.userdata
            .get(key::IN_PROGRESS)
            .is_some_and(|v| v == "yes")
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    let value = quick_xml::escape::escape(value);
    writeln!(out, "  <{name}>{value}</{name}>").expect("writing to a string");
}

fn unescape(inner: &str) -> Result<String, String> {
    BytesText::from_escaped(inner)
        .decode()
        .map_err(|e| e.to_string())
        .and_then(|text| {
            quick_xml::escape::unescape(&text)
                .map(|t| t.into_owned())
                .map_err(|e| e.to_string())
        })
}

/// The key and value of a <userdata> element.
fn pair(inner: &str) -> Result<(String, String), String> {
    let mut reader = Reader::from_str(inner);
    let (mut key, mut value) = (None, String::new());
    loop {
        match reader
            .read_event()
            .map_err(|e| format!("<userdata>: {e}"))?
        {
            Event::Start(tag) => {
                let text = reader
                    .read_text(tag.name())
                    .map_err(|e| format!("<userdata>: {e}"))?;
                let text = unescape(&text.decode().map_err(|e| format!("<userdata>: {e}"))?)?;
                match tag.name().as_ref() {
                    b"key" => key = Some(text),
                    b"value" => value = text,
                    _ => {}
                }
            }
            Event::Eof => {
                return key
                    .map(|k| (k, value))
                    .ok_or_else(|| "<userdata> without <key>".into());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPPER: &str = r#"<?xml version="1.0"?>
<snapshot>
  <type>pre</type>
  <num>12</num>
  <date>2026-01-31 10:20:30</date>
  <uid>1000</uid>
  <pre_num>11</pre_num>
  <description>zypp(zypper) &amp; more</description>
  <cleanup>number</cleanup>
  <userdata>
    <key>important</key>
    <value>yes</value>
  </userdata>
  <userdata>
    <key>note</key>
    <value>a &lt; b</value>
  </userdata>
</snapshot>
"#;

    #[test]
    fn what_snapper_wrote_is_read_and_written_again_with_all_it_said() {
        let info = Info::parse(SNAPPER).unwrap();
        assert_eq!((info.number, info.kind.as_str()), (12, "pre"));
        assert_eq!(info.description, "zypp(zypper) & more");
        assert_eq!(info.userdata["note"], "a < b");
        let again = Info::parse(&info.to_xml()).unwrap();
        assert_eq!(again, info);
        assert!(
            info.to_xml().contains("<pre_num>11</pre_num>")
                && info.to_xml().contains("<uid>1000</uid>")
        );
    }

    #[test]
    fn what_is_no_description_of_a_snapshot_says_why() {
        for (text, why) in [
            ("", "ends in the middle"),
            ("hello", "ends in the middle"),
            (
                "<?xml version=\"1.0\"?><snapshot><num>3</num>",
                "ends in the middle",
            ),
            ("<snapshot><num>x</num></snapshot>", "no number"),
            ("<snapshot></snapshot>", "no <num>"),
            ("<other/>", "no <snapshot>"),
            (
                "<snapshot><num>1</num><userdata><value>1</value></userdata></snapshot>",
                "without <key>",
            ),
        ] {
            let error = Info::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives_being_written_and_read(description in "[^\\x00-\\x1f]*", value in "[^\\x00-\\x1f]*") {
            let mut info = Info::new(SnapshotId::new(7).unwrap(), "2026-01-01 00:00:00".into(), description);
            info.userdata.insert("k".into(), value);
            proptest::prop_assert_eq!(Info::parse(&info.to_xml()).unwrap(), info);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(<|>|/|&|;|snapshot|num|userdata|key| |1|\")*") {
            Info::parse(&text).unwrap_or_default();
        }
    }
}

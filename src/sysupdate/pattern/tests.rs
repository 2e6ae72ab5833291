use proptest::prelude::*;

use super::*;
use crate::sys::hex::to_hex;
use crate::sysupdate::specifier::Specifiers;
use crate::sysupdate::uuid::Uuid;

/// The list that stands behind `MatchPattern=`, on a system of which nothing is known.
fn list(text: &str) -> Option<PatternList> {
    let specifiers = Specifiers::default();
    let words = words(text).ok()?;
    let words = words.iter().map(|word| specifiers.expand(word).ok());
    let patterns = words.map(|word| Pattern::parse(&word?).ok());
    patterns.collect()
}

/// The fields by their letters, in the order of the wildcards.
fn told(fields: &Fields) -> Vec<String> {
    let m = &fields.metadata;
    let bit = |b: Option<bool>| b.map(|b| u8::from(b).to_string());
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let all = [
        ("v", Some(fields.version.to_string())),
        ("u", m.uuid.map(|u| u.to_string())),
        ("f", m.flags.map(|f| format!("{f:x}"))),
        ("a", bit(m.no_auto)),
        ("g", bit(m.grow_fs)),
        ("r", bit(m.read_only)),
        ("t", number(m.mtime)),
        ("d", number(m.tries_done)),
        ("l", number(m.tries_left)),
        ("m", m.mode.map(|m| format!("{m:o}"))),
        ("s", number(m.size)),
        ("h", m.sha256.map(|h| to_hex(&h))),
    ];
    let known = all
        .into_iter()
        .filter_map(|(letter, text)| Some(format!("{letter}={}", text?)));
    known.collect()
}

#[test]
fn every_observed_pattern_and_name_comes_to_what_is_required() {
    let table = include_str!("../../../tests/data/sysupdate/patterns.tsv");
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in table.lines().skip(1) {
        let [pattern, name, required, _, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        let name = name.replace("\\x7f", "\x7f");
        let found = match list(pattern).map(|list| list.matches(&name)) {
            None => vec!["error".to_owned()],
            Some(None) => vec!["no".to_owned()],
            Some(Some((_, fields))) => told(&fields),
        };
        let mut required: Vec<&str> = required.split(' ').collect();
        let mut sorted = found.clone();
        required.sort();
        sorted.sort();
        if sorted != required {
            wrong.push(format!("{pattern} {name:?}: {found:?}, not {required:?}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(rows, 206);
}

#[test]
fn what_is_no_pattern_is_refused_with_the_reason() {
    use Wildcard::{PartitionUuid, Version};
    for (text, why) in [
        ("abc", Refused::NoVersion),
        ("@u", Refused::NoVersion),
        ("", Refused::NoVersion),
        ("a@@v", Refused::NoVersion),
        ("@v@u", Refused::Adjacent(Version, PartitionUuid)),
        ("a@v-@v", Refused::Twice(Version)),
        ("a@v/@v", Refused::Twice(Version)),
        ("a@v-@z", Refused::Unknown(Some('z'))),
        ("a@V", Refused::Unknown(Some('V'))),
        ("a@/v", Refused::Unknown(None)),
        ("a@v@", Refused::Unknown(None)),
        ("a@v*", Refused::Character('*')),
        ("a@v[1]", Refused::Character('[')),
        ("a@v\u{1f}", Refused::Character('\u{1f}')),
        ("a@v\0", Refused::Character('\0')),
        ("a@v\u{7f}", Refused::Character('\u{7f}')),
        ("a/**/x_@v.bin", Refused::Character('*')),
        ("**/a/x_@v.bin", Refused::Depth),
    ] {
        assert_eq!(Pattern::parse(text), Err(why), "{text:?}");
    }
    for character in "$*?[]!\\|".chars() {
        assert_eq!(
            Pattern::parse(&format!("a{character}_@v")),
            Err(Refused::Character(character))
        );
    }
}

#[test]
fn a_list_is_words_with_escapes_in_which_quotes_are_nothing_special() {
    let ok = |text| words(text).unwrap();
    assert_eq!(ok(r"a\x20b_@v  c\tc\sd"), ["a b_@v", "c\tc d"]);
    assert_eq!(ok(r#""a b" 'c'"#), ["\"a", "b\"", "'c'"]);
    assert_eq!(
        ok(r"\u00e9\xc3\xa9\303\251\U0001f600 \\\'"),
        ["ééé😀", "\\'"]
    );
    assert!(ok("  ").is_empty());
    for bad in [
        r"a\", r"\q", r"\x2", r"\x00", r"\000", r"\08", r"\777", r"\xff", r"\ud800", r"\u12",
        r"\x+1", r"\é",
    ] {
        assert_eq!(words(bad), Err(bad.to_owned()), "{bad}");
    }
}

#[test]
fn a_pattern_that_no_name_can_match_is_known_as_one() {
    for (text, can_match) in [
        ("/x@v", false),
        ("a//@v", false),
        ("../@v", false),
        ("./@v", false),
        ("a/@v/", false),
        ("**/@v", true),
        (".@v", true),
        ("a/@v", true),
    ] {
        assert_eq!(
            Pattern::parse(text).unwrap().can_match(),
            can_match,
            "{text}"
        );
    }
}

#[test]
fn a_pattern_for_any_depth_matches_below_and_names_nothing() {
    let deep = Pattern::parse("**/x_@v.bin").unwrap();
    assert!(deep.matches("a/b/x_1.bin").is_some());
    let one = Version::new("1").unwrap();
    assert_eq!(
        deep.format(&one, &Metadata::default()),
        Err(Nameless::AnyDepth)
    );
    let flat = deep.without_depth();
    assert_eq!(flat.as_str(), "x_@v.bin");
    assert_eq!(
        flat.format(&one, &Metadata::default()),
        Ok("x_1.bin".into())
    );
}

#[test]
fn a_name_that_would_not_be_found_again_is_not_given() {
    let name = |pattern: &str, version: &str, metadata| {
        let version = Version::new(version).unwrap();
        Pattern::parse(pattern).unwrap().format(&version, &metadata)
    };
    let sized = |size| Metadata {
        size: Some(size),
        ..Metadata::default()
    };
    assert_eq!(name("os_@v_@s.raw", "1", sized(3)), Ok("os_1_3.raw".into()));
    for (version, size) in [("1_2", 3), ("1", u64::MAX)] {
        let found = name("os_@v_@s.raw", version, sized(size));
        assert!(matches!(found, Err(Nameless::Unrecognized(_))), "{found:?}");
    }
    let moded = Metadata {
        mode: Some(0o4755),
        ..Metadata::default()
    };
    assert!(matches!(
        name("os_@v_@m", "1", moded),
        Err(Nameless::Unrecognized(_))
    ));
    let missing = name("os_@v_@s.raw", "1", Metadata::default());
    assert_eq!(missing, Err(Nameless::Missing(Wildcard::Size)));
    let long = name("a/xx@v/b", &"1".repeat(254), Metadata::default());
    assert!(matches!(long, Err(Nameless::Long(_))), "{long:?}");
    assert!(name("a/x@v/b", &"1".repeat(254), Metadata::default()).is_ok());
    // of another directory than its own
    assert!(matches!(
        name("../@v", "1", Metadata::default()),
        Err(Nameless::Unrecognized(_))
    ));
}

fn patterns() -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        "[a-c_. é]{1,3}",
        Just("@@".to_owned()),
        Just("/".to_owned())
    ];
    let letters = Just("vufagrtmsdlh".chars().collect::<Vec<_>>()).prop_shuffle();
    let literals = proptest::collection::vec(literal, 13);
    (letters, literals, 0..12_usize).prop_map(|(letters, literals, count)| {
        let mut letters: Vec<char> = letters.into_iter().take(count).collect();
        if !letters.contains(&'v') {
            letters.push('v');
        }
        let fields = letters.iter().map(|l| format!("@{l}"));
        let mut text: String = fields
            .zip(&literals)
            .map(|(f, l)| format!("{l}{f}"))
            .collect();
        text.push_str(&literals[12]);
        text
    })
}

prop_compose! {
    fn metadata()(
        uuid in any::<[u8; 16]>(), flags in any::<u64>(), bits in any::<[bool; 3]>(),
        mtime in 0..u64::MAX, mode in any::<u32>(), size in 0..u64::MAX, tries in (0..u64::MAX, 0_u64..10), sha256 in any::<[u8; 32]>(),
    ) -> Metadata {
        Metadata {
            uuid: Some(Uuid(uuid)),
            flags: Some(flags),
            no_auto: Some(bits[0]),
            grow_fs: Some(bits[1]),
            read_only: Some(bits[2]),
            mtime: Some(mtime),
            mode: Some(mode & MODE_BITS),
            size: Some(size),
            tries_done: Some(tries.0),
            tries_left: Some(tries.1),
            sha256: Some(sha256),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn a_name_that_is_given_tells_the_same_fields_again(text in patterns(), version in "[1-9][1-9+~^-]{0,5}", metadata in metadata()) {
        let pattern = Pattern::parse(&text).unwrap();
        let version = Version::new(&version).unwrap();
        match pattern.format(&version, &metadata) {
            Ok(name) => {
                let fields = pattern.matches(&name).unwrap();
                prop_assert!(fields.version.is_text(version.as_str()));
                let m = fields.metadata;
                let given = [
                    (Wildcard::PartitionUuid, m.uuid == metadata.uuid),
                    (Wildcard::PartitionFlags, m.flags == metadata.flags),
                    (Wildcard::NoAuto, m.no_auto == metadata.no_auto),
                    (Wildcard::GrowFileSystem, m.grow_fs == metadata.grow_fs),
                    (Wildcard::ReadOnly, m.read_only == metadata.read_only),
                    (Wildcard::ModificationTime, m.mtime == metadata.mtime),
                    (Wildcard::Mode, m.mode == metadata.mode),
                    (Wildcard::Size, m.size == metadata.size),
                    (Wildcard::TriesDone, m.tries_done == metadata.tries_done),
                    (Wildcard::TriesLeft, m.tries_left == metadata.tries_left),
                    (Wildcard::Sha256, m.sha256 == metadata.sha256),
                ];
                let all: Vec<Wildcard> = pattern.wildcards().collect();
                for (wildcard, is_same) in given {
                    prop_assert!(is_same || !all.contains(&wildcard), "{} in {}", wildcard, name);
                }
            }
            // the letters a to c are hexadecimal digits as well: only then, and where a part is no name, there is no name
            Err(e) => {
                let is_ambiguous = "ufh".chars().any(|l| text.contains(&format!("@{l}")));
                let is_ours = matches!(e, Nameless::Unrecognized(_) | Nameless::Long(_));
                let is_outside = !pattern.can_match() || text.split('/').any(|part| part.is_empty());
                prop_assert!(is_ours && (is_ambiguous || is_outside || e.to_string().contains("longer")), "{} {}", text, e);
            }
        }
    }

    #[test]
    fn no_text_makes_a_pattern_panic(text in "\\PC{0,12}|[@vusx/*\\\\ .]{0,12}", name in "\\PC{0,12}|[a1/._]{0,9}") {
        for word in words(&text).unwrap_or_default() {
            if let Ok(pattern) = Pattern::parse(&word)
                && let Some(fields) = pattern.matches(&name)
            {
                prop_assert!(pattern.can_match());
                prop_assert!(name.contains(fields.version.as_str()));
            }
        }
    }
}

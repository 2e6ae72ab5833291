//! Questions to rpm about package files: what they are, and whether they are whole.

use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR, PathBuf};

/// Most files asked about in one call; an answer then stays far below what is kept of an output.
pub const BATCH: usize = 100;

/// A package file by its own header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// `[epoch:]version-release`, without an epoch of 0.
    pub evr: String,
}

/// `[epoch:]version-release` without an epoch of 0, as zypper prints it.
#[must_use]
pub fn without_zero_epoch(evr: &str) -> &str {
    evr.strip_prefix("0:").unwrap_or(evr)
}

/// The command line that asks what each file is, answered in the order of the files. They are absolute paths.
#[must_use]
pub fn identity_argv(files: &[PathBuf]) -> Vec<OsString> {
    const FORMAT: &str = "%{NAME}\\t%{ARCH}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n";
    // a text file would be taken for a list of other files, and a path for a pattern
    let words = [
        "rpm",
        "-qp",
        "--nomanifest",
        "--noglob",
        "--nosignature",
        "--nodigest",
        "--qf",
        FORMAT,
        "--",
    ];
    let words = words.into_iter().map(Into::into);
    words.chain(files.iter().map(Into::into)).collect()
}

/// Reads the output of [`identity_argv`] about `count` files; `None` when it does not speak of each.
#[must_use]
pub fn identities(output: &str, count: usize) -> Option<Vec<Identity>> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, arch, evr] = fields[..] else {
            return None;
        };
        Some(Identity {
            name: name.into(),
            arch: arch.into(),
            evr: without_zero_epoch(evr).into(),
        })
    };
    let found: Vec<Identity> = output.lines().map(read).collect::<Option<_>>()?;
    (found.len() == count).then_some(found)
}

/// The command line that checks each file against its own digests and, with the keys that the system trusts, its
/// signatures. They are absolute paths.
#[must_use]
pub fn check_argv(files: &[PathBuf]) -> Vec<OsString> {
    let words = ["rpmkeys", "--checksig", "--verbose", "--"];
    let words = words.into_iter().map(Into::into);
    words.chain(files.iter().map(Into::into)).collect()
}

/// Reads the output of [`check_argv`]: what is wrong with each file, in their order; `None` when it does not speak of each.
///
/// Wrong is a digest or a signature that does not fit, one in a form that rpm does not know, and a file without any
/// digest that fits. That a signature is missing, or is one with an unknown key, is not: whether that is enough depends on
/// what else vouches for the file, and zypper has decided it.
#[must_use]
pub fn complaints(output: &str, files: &[PathBuf]) -> Option<Vec<Option<String>>> {
    let mut found: Vec<Option<String>> = Vec::new();
    let mut lines = output.lines().filter(|line| !line.is_empty()).peekable();
    for file in files {
        let heading = lines.next()?.strip_suffix(':')?;
        if !heading.starts_with(MAIN_SEPARATOR) || heading != file.to_string_lossy() {
            return None;
        }
        let mut wrong = None;
        let mut fits = false;
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            let line = line.trim();
            fits |= line.ends_with(" digest: OK");
            if !is_good(line) {
                wrong.get_or_insert_with(|| line.to_owned());
            }
        }
        if !fits {
            wrong.get_or_insert_with(|| "it has no digest that fits".into());
        }
        found.push(wrong);
    }
    lines.next().is_none().then_some(found)
}

/// Whether a line says `WHAT: STATUS` with a status that is no objection.
fn is_good(line: &str) -> bool {
    const GOOD: [&str; 4] = ["OK", "NOKEY", "NOTFOUND", "NOTTRUSTED"];
    !line.contains(": BAD")
        && line
            .rsplit_once(": ")
            .is_some_and(|(_, status)| GOOD.contains(&status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "\
/p/a.rpm:
    Header V4 RSA/SHA512 Signature, key ID 4aa1043f: NOKEY
    Header SHA256 digest: OK
    Payload SHA256 digest: OK
    RSA signature: NOTFOUND
    MD5 digest: OK
";
    const BAD: &str = "\
/p/b.rpm:
    Header V4 RSA/SHA512 Signature, key ID 4aa1043f: OK
    Header SHA256 digest: OK
    Payload SHA256 digest: BAD (Expected 13c8 != 60e6)
    MD5 digest: BAD (Expected 691d != 8ba7)
";

    fn read(output: &str, files: &[&str]) -> Option<Vec<Option<String>>> {
        let files: Vec<PathBuf> = files.iter().map(Into::into).collect();
        complaints(output, &files)
    }

    #[test]
    fn a_file_is_wrong_by_its_first_line_that_does_not_fit() {
        let both = [GOOD, BAD].concat();
        let found = read(&both, &["/p/a.rpm", "/p/b.rpm"]).unwrap();
        assert_eq!(found[0], None);
        assert_eq!(
            found[1].as_deref(),
            Some("Payload SHA256 digest: BAD (Expected 13c8 != 60e6)")
        );
    }

    #[test]
    fn a_signature_that_does_not_fit_or_that_nobody_knows_is_wrong() {
        for status in ["BAD", "BAD (why: not)", "UNKNOWN", "", "OK?"] {
            let text = format!("/a:\n    Header RSA signature: {status}\n    MD5 digest: OK\n");
            assert!(read(&text, &["/a"]).unwrap()[0].is_some(), "{status}");
        }
    }

    #[test]
    fn a_file_without_a_digest_is_wrong() {
        let found = read("/a:\n    Header RSA signature: OK\n/b:\n", &["/a", "/b"]).unwrap();
        assert!(
            found
                .iter()
                .all(|f| f.as_deref() == Some("it has no digest that fits"))
        );
    }

    #[test]
    fn an_answer_that_does_not_speak_of_each_file_says_nothing() {
        for files in [
            &["/p/a.rpm"][..],
            &["/p/b.rpm", "/p/a.rpm"],
            &["/p/a.rpm", "/p/b.rpm", "/c"],
            &[],
        ] {
            assert_eq!(read(&[GOOD, BAD].concat(), files), None, "{files:?}");
        }
        assert_eq!(read("error: x\n", &["/a"]), None);
    }

    #[test]
    fn a_package_file_says_what_it_is() {
        let text = "a\tnoarch\t1.0-1\nb\tx86_64\t0:1-2\nc\tnoarch\t1:1.0-1\n";
        let found = identities(text, 3).unwrap();
        let evrs: Vec<&str> = found.iter().map(|i| i.evr.as_str()).collect();
        assert_eq!(evrs, ["1.0-1", "1-2", "1:1.0-1"]);
        assert_eq!(
            (found[1].name.as_str(), found[1].arch.as_str()),
            ("b", "x86_64")
        );
        assert_eq!(identities(text, 2), None);
        assert_eq!(identities("a\tb\n", 1), None);
    }

    proptest! {
        #[test]
        fn whatever_rpm_prints_is_read_without_harm_and_no_file_is_good_without_a_digest(
            lines in prop::collection::vec("(/a:|/b:|    [A-Z a-z]{0,6}: ?(OK|BAD|NOKEY|x)?|    MD5 digest: OK|.{0,8})", 0..8)
        ) {
            let text = lines.join("\n");
            let files = ["/a", "/b"].map(PathBuf::from);
            if let Some(found) = complaints(&text, &files) {
                prop_assert_eq!(found.len(), 2);
                let good = found.iter().filter(|f| f.is_none()).count();
                prop_assert!(good <= text.matches(" digest: OK").count());
            }
            prop_assert!(identities(&text, 2).is_none_or(|found| found.len() == 2));
        }
    }
}

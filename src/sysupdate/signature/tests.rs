//! With real keys, made by gpg in a home of their own.

use super::*;
use crate::sysupdate::cancel::Cancel;
use crate::sysupdate::fetch::Policy;
use crate::sysupdate::gpg::Gpg;
use crate::sysupdate::http::Server;

impl Gpg {
    fn keyrings(&self, of: &str) -> Keyrings {
        Keyrings(vec![self.keys(of)])
    }
}

const DOCUMENT: &[u8] = b"0123  os_1.raw\n";

fn checked(signature: &[u8], keyrings: &Keyrings) -> Result<Authentic, Error> {
    verify(DOCUMENT.to_vec(), signature, keyrings)
}

fn reason(result: Result<Authentic, Error>) -> String {
    let text = result.unwrap_err().to_string();
    assert!(
        text.starts_with("DOWNLOAD INVALID: Signature verification failed."),
        "{text}"
    );
    text
}

#[test]
fn a_good_signature_gives_the_very_bytes_that_were_checked() {
    let gpg = Gpg::new(&["trusted"]);
    let keyrings = gpg.keyrings("trusted");
    let signature = gpg.sign("trusted", DOCUMENT);
    assert_eq!(checked(&signature, &keyrings).unwrap().bytes(), DOCUMENT);
    let armoured = gpg.run(&["-u", "trusted", "-a", "--detach-sign"], DOCUMENT);
    assert!(armoured.starts_with(b"-----BEGIN PGP SIGNATURE-----"));
    assert_eq!(checked(&armoured, &keyrings).unwrap().bytes(), DOCUMENT);
}

#[test]
fn a_changed_document_a_changed_signature_and_no_signature_are_refused() {
    let gpg = Gpg::new(&["trusted"]);
    let keyrings = gpg.keyrings("trusted");
    let signature = gpg.sign("trusted", DOCUMENT);
    let other = verify(b"0123  os_2.raw\n".to_vec(), &signature, &keyrings);
    assert!(reason(other).contains("not the one that was signed"));
    let mut changed = signature.clone();
    *changed.last_mut().unwrap() ^= 1;
    reason(checked(&changed, &keyrings));
    for nothing in [
        &b""[..],
        b"text",
        &signature[..signature.len() / 2],
        &gpg.keys("trusted"),
    ] {
        reason(checked(nothing, &keyrings));
    }
}

#[test]
fn a_foreign_key_and_an_empty_keyring_are_refused() {
    let gpg = Gpg::new(&["trusted", "foreign"]);
    let signature = gpg.sign("foreign", DOCUMENT);
    assert!(reason(checked(&signature, &gpg.keyrings("trusted"))).contains("no key for it"));
    assert!(reason(checked(&signature, &Keyrings(Vec::new()))).contains("no keyring"));
    // and any key in any of the keyrings is trusted
    let both = Keyrings(vec![gpg.keys("trusted"), gpg.keys("foreign")]);
    assert!(checked(&signature, &both).is_ok());
    // one more by a key that nobody knows makes it no good one
    let two = [gpg.sign("trusted", DOCUMENT), signature].concat();
    assert!(checked(&two, &both).is_ok());
    reason(checked(&two, &gpg.keyrings("trusted")));
}

#[test]
fn a_key_that_has_expired_or_was_revoked_is_refused() {
    let gpg = Gpg::new(&["revoked"]);
    let signature = gpg.sign_expired("expired", DOCUMENT);
    assert!(reason(checked(&signature, &gpg.keyrings("expired"))).contains("key has expired"));

    let signature = gpg.sign("revoked", DOCUMENT);
    assert!(checked(&signature, &gpg.keyrings("revoked")).is_ok());
    let certificates = gpg.home().join("openpgp-revocs.d");
    let listed = gpg.run(&["--with-colons", "-k", "revoked"], b"");
    let listed = String::from_utf8(listed).unwrap();
    let fingerprint = listed.lines().find(|l| l.starts_with("fpr:")).unwrap();
    let fingerprint = fingerprint
        .trim_end_matches(':')
        .rsplit(':')
        .next()
        .unwrap();
    let text = fs::read_to_string(certificates.join(format!("{fingerprint}.rev"))).unwrap();
    gpg.run(&["--import"], text.replace("\n:---", "\n---").as_bytes());
    assert!(reason(checked(&signature, &gpg.keyrings("revoked"))).contains("revoked"));
}

#[test]
fn a_subkey_that_signs_is_as_good_as_its_key() {
    let gpg = Gpg::new(&[]);
    gpg.run(
        &["--quick-gen-key", "owner", "ed25519", "cert", "never"],
        b"",
    );
    let listed = String::from_utf8(gpg.run(&["--with-colons", "-k"], b"")).unwrap();
    let fingerprint = listed.lines().find(|l| l.starts_with("fpr:")).unwrap();
    let fingerprint = fingerprint
        .trim_end_matches(':')
        .rsplit(':')
        .next()
        .unwrap();
    gpg.run(
        &["--quick-add-key", fingerprint, "ed25519", "sign", "never"],
        b"",
    );
    let signature = gpg.sign("owner", DOCUMENT);
    assert!(checked(&signature, &gpg.keyrings("owner")).is_ok());
}

#[test]
fn the_administrators_keyring_comes_with_the_vendors_and_a_variable_names_another_one() {
    let gpg = Gpg::new(&["one", "two"]);
    let dir = tempfile::tempdir().unwrap();
    let root = Root::at(dir.path()).unwrap();
    assert!(Keyrings::find(&root, None).unwrap().is_empty());
    for below in DIRS {
        fs::create_dir_all(dir.path().join(below)).unwrap();
    }
    let put = |path: &str, keys: &[u8]| fs::write(dir.path().join(path), keys).unwrap();
    let found = || Keyrings::find(&root, None).unwrap().0;
    let (one, two) = (gpg.keys("one"), gpg.keys("two"));
    put("usr/lib/systemd/import-pubring.gpg", &two);
    assert_eq!(found(), std::slice::from_ref(&two));
    put("usr/lib/systemd/import-pubring.pgp", &one);
    assert_eq!(found(), std::slice::from_ref(&one));
    put("etc/systemd/import-pubring.gpg", &two);
    assert_eq!(found(), [two.clone(), one.clone()]);
    // of the administrator's two names only one counts, also when it is empty
    put("etc/systemd/import-pubring.pgp", b"");
    assert_eq!(found(), std::slice::from_ref(&one));
    let other = dir.path().join("other");
    fs::write(&other, &two).unwrap();
    let alone = Keyrings::find(&root, Some(other.as_os_str())).unwrap().0;
    assert_eq!(alone, [two]);
    assert!(Keyrings::find(&root, Some(OsStr::new("relative"))).is_err());
    assert!(Keyrings::find(&root, Some(dir.path().join("none").as_os_str())).is_err());
}

#[test]
fn an_armoured_keyring_is_as_good_as_a_binary_one_also_with_several_blocks() {
    let gpg = Gpg::new(&["one", "two"]);
    let armoured = |key| gpg.run(&["--export", "-a", key], b"");
    let text = [
        b"Comment before\n",
        &*armoured("one"),
        b"\n",
        &*armoured("two"),
    ]
    .concat();
    let keys = binary(text.clone()).unwrap();
    assert!(keys == [gpg.keys("one"), gpg.keys("two")].concat());
    let crlf = String::from_utf8(text).unwrap().replace('\n', "\r\n");
    assert!(binary(crlf.into_bytes()).unwrap() == keys);
    let signature = gpg.sign("two", DOCUMENT);
    assert!(checked(&signature, &Keyrings(vec![keys])).is_ok());
    let damaged =
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nab*d\n-----END PGP PUBLIC KEY BLOCK-----\n";
    assert!(binary(damaged.to_vec()).is_err());
}

fn client() -> Client {
    let policy = Policy {
        delays: Vec::new(),
        no_proxy: true,
        ..Policy::default()
    };
    Client::new(policy, Cancel::default())
}

#[test]
fn the_first_signature_that_is_there_decides() {
    let gpg = Gpg::new(&["trusted"]);
    let keyrings = gpg.keyrings("trusted");
    let good = gpg.sign("trusted", DOCUMENT);
    let bad = gpg.sign("trusted", b"another text");
    for (number, name) in NAMES.iter().enumerate() {
        let mut files = vec![(MANIFEST, DOCUMENT), (*name, &*good)];
        let later: Vec<_> = NAMES[number + 1..]
            .iter()
            .map(|name| (*name, &*bad))
            .collect();
        files.extend(&later);
        let server = Server::with_files(&files);
        let base = Url::base(&server.url("/")).unwrap();
        let got = manifest(&mut client(), &base, Some(&keyrings)).unwrap();
        assert_eq!(got.bytes(), DOCUMENT, "{name}");
        let asked: Vec<String> = server.seen().into_iter().skip(1).map(|r| r.path).collect();
        let expected: Vec<String> = NAMES[..=number].iter().map(|n| format!("/{n}")).collect();
        assert_eq!(asked, expected);
    }
    // a bad one is fatal even if a later one is good
    let server = Server::with_files(&[(MANIFEST, DOCUMENT), (NAMES[0], &bad), (NAMES[1], &good)]);
    let base = Url::base(&server.url("/")).unwrap();
    reason(manifest(&mut client(), &base, Some(&keyrings)));
    // also as files
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(MANIFEST), DOCUMENT).unwrap();
    fs::write(dir.path().join(NAMES[2]), &good).unwrap();
    let base = Url::base(&format!("file://{}", dir.path().display())).unwrap();
    let got = manifest(&mut client(), &base, Some(&keyrings)).unwrap();
    assert_eq!(got.bytes(), DOCUMENT);
}

#[test]
fn without_a_signature_a_manifest_is_refused_unless_nobody_wants_one() {
    let gpg = Gpg::new(&["trusted"]);
    let server = Server::with_files(&[(MANIFEST, DOCUMENT)]);
    let base = Url::base(&server.url("/")).unwrap();
    let refused = manifest(&mut client(), &base, Some(&gpg.keyrings("trusted"))).unwrap_err();
    let text = "Failed to retrieve signature file, cannot verify. (Try --verify=no?)";
    assert_eq!(refused.to_string(), text);
    let asked = server.seen().len();
    assert_eq!(
        manifest(&mut client(), &base, None).unwrap().bytes(),
        DOCUMENT
    );
    assert_eq!(server.seen().len(), asked + 1);
}

#[test]
fn a_report_without_a_good_signature_is_never_good() {
    assert!(judge("").is_err());
    assert!(judge("[GNUPG:] VALIDSIG 0123\n").is_err());
    assert!(judge("gpgv: GOODSIG 0123 x\n").is_err());
    assert!(judge("[GNUPG:] GOODSIG 0123 x\n").is_ok());
    assert!(judge("[GNUPG:] GOODSIG 0123 x\n[GNUPG:] BADSIG 0123 y\n").is_err());
}

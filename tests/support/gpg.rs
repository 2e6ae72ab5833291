//! Keys of the tests' own, made by gpg in a home of their own, whose agent ends with it. The unit tests of the library have it too.

#![allow(dead_code)] // not every test needs all of it
#![allow(clippy::disallowed_methods)] // tests start programs as a person does

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    /// With these keys, none of which expires.
    pub(crate) fn new(keys: &[&str]) -> Gpg {
        let gpg = Gpg(tempfile::tempdir().unwrap());
        for key in keys {
            gpg.run(&["--quick-gen-key", key, "ed25519", "sign", "never"], b"");
        }
        gpg
    }

    /// Where its keys are.
    pub(crate) fn home(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let fixed = ["--batch", "--quiet", "--passphrase", "", "--pinentry-mode"];
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home())
            .args(fixed)
            .arg("loopback")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{args:?}: {told}");
        done.stdout
    }

    /// Makes a key that was good for one day in 2020, and a signature of that day.
    pub(crate) fn sign_expired(&self, key: &str, document: &[u8]) -> Vec<u8> {
        let then = ["--faked-system-time", "20200101T000000"];
        let make = ["--quick-gen-key", key, "ed25519", "sign", "1d"];
        self.run(&[&then[..], &make].concat(), b"");
        self.run(
            &[&then[..], &["-u", key, "--detach-sign"]].concat(),
            document,
        )
    }

    pub(crate) fn sign(&self, key: &str, document: &[u8]) -> Vec<u8> {
        self.run(&["-u", key, "--detach-sign"], document)
    }

    /// The public key.
    pub(crate) fn keys(&self, of: &str) -> Vec<u8> {
        self.run(&["--export", of], b"")
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let end = end.arg("--homedir").arg(self.home());
        drop(end.args(["--kill", "all"]).status());
    }
}

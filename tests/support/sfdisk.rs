//! Partition tables that sfdisk(8) makes and tells. The unit tests of the library have it too.

#![allow(clippy::disallowed_methods)] // tests start programs as a person does

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Gives a disk or an image the table that a script of sfdisk(8) describes.
#[track_caller]
pub(crate) fn make(disk: impl AsRef<Path>, script: &str) {
    run(
        &["--quiet", "--no-reread", "--no-tell-kernel"],
        disk,
        script,
    );
}

/// Its table, as such a script.
#[track_caller]
pub(crate) fn dump(disk: impl AsRef<Path>) -> String {
    run(&["--dump"], disk, "")
}

#[track_caller]
fn run(words: &[&str], disk: impl AsRef<Path>, input: &str) -> String {
    let mut child = Command::new("sfdisk")
        .args(words)
        .arg(disk.as_ref())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{words:?}: {input}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

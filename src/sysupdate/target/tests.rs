//! One instance through its states, on a real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::sysupdate::cancel::Cancel;
use crate::sysupdate::pipeline::{self, Job, Keep, Source};

struct Target(tempfile::TempDir);

impl Target {
    fn new() -> Target {
        Target(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap())
    }

    fn path(&self, rel: &str) -> PathBuf {
        self.0.path().join("target").join(rel)
    }

    fn dir(&self) -> OwnedFd {
        fs::create_dir_all(self.path("")).unwrap();
        beneath::open_root(&self.path("")).unwrap()
    }

    fn place(&self, rel: &str) -> Result<Place, Failure> {
        Place::new(self.dir(), &self.path(""), rel.as_ref(), true)
    }

    fn names(&self, rel: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(rel)).unwrap();
        let name = |e: io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    fn verified<S: pipeline::Sink>(&self, bytes: &[u8], sink: S) -> Verified<S> {
        let source = self.0.path().join("source");
        fs::write(&source, bytes).unwrap();
        let mut file = File::open(source).unwrap();
        let job = Job {
            source: Source::File(&mut file),
            expected: None,
            keep: Keep::Nowhere,
            limit: u64::MAX,
            cancel: &Cancel::default(),
            progress: &|_, _| {},
        };
        match pipeline::take(job, sink) {
            Ok(verified) => verified,
            Err(e) => panic!("{e}"),
        }
    }

    /// A tree with one file of this content.
    fn tree(&self, place: &Place, content: &[u8]) -> Verified<Tree> {
        let from = self.0.path().join("from");
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("f"), content).unwrap();
        let from = beneath::open_root(&from).unwrap();
        pipeline::copied(&from, place.partial_dir(false).unwrap(), &Cancel::default()).unwrap()
    }
}

fn attributes() -> Attributes {
    Attributes {
        mode: Some(0o644),
        ..Attributes::default()
    }
}

#[test]
fn a_file_is_partial_then_pending_then_installed_under_one_name_at_a_time() {
    let target = Target::new();
    let place = target.place("os_1.raw").unwrap();
    let partial = place.partial_file(false).unwrap();
    assert_eq!(target.names(""), [".sysupdate.partial.os_1.raw"]);
    assert_eq!(
        place.partial_path(),
        target.path(".sysupdate.partial.os_1.raw")
    );
    let mode = |path: &str| fs::metadata(target.path(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode(".sysupdate.partial.os_1.raw"), 0o600);
    let verified = target.verified(b"content", partial);
    let wanted = Attributes {
        mode: Some(0o640),
        modified: Some(UNIX_EPOCH + Duration::from_secs(1_234_567_890)),
        read_only: Some(true),
        is_subvolume: false,
        url: Some("http://host/os_1.raw".into()),
        etag: Some("\"one\"".into()),
    };
    let pending = place.file_pending(verified, &wanted).unwrap();
    assert_eq!(target.names(""), [".sysupdate.pending.os_1.raw"]);
    pending.install(&wanted).unwrap();
    assert_eq!(target.names(""), ["os_1.raw"]);
    let installed = File::open(target.path("os_1.raw")).unwrap();
    let metadata = installed.metadata().unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.mtime()),
        (0o440, 1_234_567_890)
    );
    assert_eq!(fs::read(target.path("os_1.raw")).unwrap(), b"content");
    let all = xattr::all(&installed).unwrap();
    assert_eq!(all[c"user.source_url"], b"http://host/os_1.raw");
    assert_eq!(all[c"user.source_etag"], b"\"one\"");
}

#[test]
fn directories_on_the_way_are_made_and_a_link_on_the_way_is_refused() {
    let target = Target::new();
    let place = target.place("foo_1/deep/bar.efi").unwrap();
    let verified = target.verified(b"x", place.partial_file(false).unwrap());
    place
        .file_pending(verified, &attributes())
        .unwrap()
        .install(&attributes())
        .unwrap();
    assert_eq!(target.names("foo_1/deep"), ["bar.efi"]);
    let outside = target.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, target.path("link")).unwrap();
    assert!(target.place("link/f").is_err() && target.place("link/d/f").is_err());
    for bad in ["../f", "/f", "", ".", "a/../f", ".."] {
        assert!(target.place(bad).is_err(), "{bad}");
    }
    let long = "n".repeat(250);
    assert!(target.place(&long).unwrap().partial_file(false).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn nothing_is_written_through_a_link_with_one_of_the_three_names() {
    let target = Target::new();
    let outside = target.0.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    target.dir();
    let place = target.place("f").unwrap();
    for name in [".sysupdate.partial.f", ".sysupdate.pending.f", "f"] {
        symlink(&outside, target.path(name)).unwrap();
    }
    let verified = target.verified(b"new", place.partial_file(true).unwrap());
    place
        .file_pending(verified, &attributes())
        .unwrap()
        .install(&attributes())
        .unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(target.path("f")).unwrap().is_file());
    assert_eq!(fs::read(target.path("f")).unwrap(), b"new");
    // a file that has another name is not gone on with
    fs::hard_link(&outside, target.path(".sysupdate.partial.f")).unwrap();
    let place = target.place("f").unwrap();
    let verified = target.verified(b"newer", place.partial_file(true).unwrap());
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    drop(verified);
}

#[test]
fn an_unfinished_file_is_gone_on_with_only_when_asked_for() {
    let target = Target::new();
    let place = target.place("f").unwrap();
    for (go_on, left) in [(true, 4), (false, 0)] {
        fs::write(place.partial_path(), "kept").unwrap();
        let partial = place.partial_file(go_on).unwrap();
        assert_eq!(partial.file().metadata().unwrap().len(), left);
    }
}

#[test]
fn what_an_earlier_run_left_pending_is_found_and_what_is_a_link_is_not() {
    let target = Target::new();
    let place = target.place("f").unwrap();
    let place = place.found_pending().unwrap_err();
    symlink("elsewhere", target.path(".sysupdate.pending.f")).unwrap();
    let place = place.found_pending().unwrap_err();
    fs::remove_file(target.path(".sysupdate.pending.f")).unwrap();
    fs::write(target.path(".sysupdate.pending.f"), "done").unwrap();
    place
        .found_pending()
        .unwrap()
        .install(&attributes())
        .unwrap();
    assert_eq!(fs::read(target.path("f")).unwrap(), b"done");
}

#[test]
fn a_tree_is_installed_also_over_a_tree_a_file_or_a_link() {
    let target = Target::new();
    let install = |content: &[u8], read_only| {
        let place = target.place("os_1").unwrap();
        let verified = target.tree(&place, content);
        let wanted = Attributes {
            read_only: Some(read_only),
            ..Attributes::default()
        };
        place
            .tree_pending(verified, &wanted)
            .unwrap()
            .install(&wanted)
            .unwrap();
        assert_eq!(target.names(""), ["os_1"]);
        assert_eq!(fs::read(target.path("os_1/f")).unwrap(), content);
    };
    install(b"one", false);
    install(b"two", false);
    beneath::remove_all(target.dir(), Path::new("os_1")).unwrap();
    fs::write(target.path("os_1"), "a file").unwrap();
    install(b"three", false);
    beneath::remove_all(target.dir(), Path::new("os_1")).unwrap();
    symlink("..", target.path("os_1")).unwrap();
    install(b"four", true);
    let dir = File::open(target.path("os_1")).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        // and what is immutable is replaced nevertheless
        let lifted = attr::lift(dir.as_fd()).unwrap().unwrap();
        attr::put_back(dir.as_fd(), lifted).unwrap();
    }
    install(b"five", false);
}

#[test]
fn a_tree_is_read_only_as_it_was_to_be_when_it_became_pending_unless_it_is_said_anew() {
    for (first, then, is_locked) in [
        (Some(true), None, true),
        (Some(true), Some(false), false),
        (Some(false), Some(true), true),
        (Some(false), None, false),
        (None, None, false),
    ] {
        let target = Target::new();
        let with = |read_only| Attributes {
            read_only,
            ..Attributes::default()
        };
        let place = target.place("os_1").unwrap();
        let tree = target.tree(&place, b"x");
        drop(place.tree_pending(tree, &with(first)).unwrap());
        let pending = target.place("os_1").unwrap().found_pending().unwrap();
        pending.install(&with(then)).unwrap();
        let dir = File::open(target.path("os_1")).unwrap();
        assert!(xattr::all(&dir).unwrap().is_empty(), "{first:?} {then:?}");
        if nix::unistd::Uid::effective().is_root() {
            let lifted = attr::lift(dir.as_fd()).unwrap();
            assert_eq!(lifted.is_some(), is_locked, "{first:?} {then:?}");
        }
    }
}

#[test]
fn a_tree_that_brings_the_note_of_one_that_is_read_only_stays_writable_unless_it_is_asked_for() {
    for (first, is_locked) in [(None, false), (Some(false), false), (Some(true), true)] {
        let target = Target::new();
        let with = Attributes {
            read_only: first,
            ..Attributes::default()
        };
        let place = target.place("os_1").unwrap();
        let tree = target.tree(&place, b"x");
        // as a member of an archive has it
        xattr::set(tree.sink().dir(), READ_ONLY, b"1").unwrap();
        drop(place.tree_pending(tree, &with).unwrap());
        let pending = target.path(".sysupdate.pending.os_1");
        let notes = xattr::all(File::open(pending).unwrap()).unwrap();
        assert_eq!(notes.contains_key(READ_ONLY), is_locked, "{first:?}");
    }
}

#[test]
fn discarding_removes_what_is_not_installed_and_nothing_else() {
    let target = Target::new();
    let place = target.place("f").unwrap();
    for name in ["f", "g", ".sysupdate.partial.f", ".sysupdate.partial.g"] {
        fs::write(target.path(name), "x").unwrap();
    }
    fs::create_dir_all(target.path(".sysupdate.pending.f/d")).unwrap();
    place.discard().unwrap();
    place.discard().unwrap();
    assert_eq!(target.names(""), [".sysupdate.partial.g", "f", "g"]);
}

#[test]
fn the_current_link_is_replaced_in_one_step_and_a_directory_never() {
    let target = Target::new();
    let dir = target.dir();
    let point =
        |rel: &str, text: &str| point_link(&dir, "".as_ref(), rel.as_ref(), text.as_ref(), true);
    let link = |rel: &str| fs::read_link(target.path(rel)).unwrap();
    point("current", "os_1").unwrap();
    assert_eq!(link("current"), Path::new("os_1"));
    point("current", "os_2").unwrap();
    point("current", "os_2").unwrap();
    assert_eq!(link("current"), Path::new("os_2"));
    point("new/dir/current", "../../os_2").unwrap();
    assert_eq!(link("new/dir/current"), Path::new("../../os_2"));
    fs::write(target.path("file"), "x").unwrap();
    point("file", "os_2").unwrap();
    assert_eq!(link("file"), Path::new("os_2"));
    fs::create_dir_all(target.path("full/of")).unwrap();
    assert!(point("full", "os_2").is_err());
    assert!(point("../out", "os_2").is_err());
    assert_eq!(target.names(""), ["current", "file", "full", "new"]);
}

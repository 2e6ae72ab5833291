//! Archives as GNU tar makes them, and such as no honest program does.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::process::Stdio;

use super::*;
use crate::sys::cmd::{self, Argv};
use crate::sysupdate::cancel::Cancel;

mod access;
mod holes;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        // below the sources: where temporary files go there may be no attributes
        Dir(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap())
    }

    fn tree(&self) -> Tree {
        Tree::new(beneath::open_root(&self.0.path().join("target")).unwrap())
    }

    fn path(&self, rel: &str) -> PathBuf {
        self.0.path().join(rel)
    }

    fn with_target() -> Dir {
        let dir = Dir::new();
        fs::create_dir(dir.path("target")).unwrap();
        dir
    }
}

fn run(argv: &[&str]) -> Vec<u8> {
    let done = cmd::command(&Argv::new(argv.iter().copied()), true)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{argv:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}

/// A tree with one of everything that this user can make.
fn source(dir: &Dir) -> PathBuf {
    let top = dir.path("source");
    fs::create_dir_all(top.join("dir/deep")).unwrap();
    fs::write(top.join("file"), b"content").unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir(top.join("d".repeat(120))).unwrap();
    fs::write(top.join(long), b"long").unwrap();
    let mut holes = vec![0; 1 << 20];
    holes[600_000] = 1;
    fs::write(top.join("dir/holes"), holes).unwrap();
    fs::write(top.join("empty"), b"").unwrap();
    fs::hard_link(top.join("file"), top.join("dir/hard")).unwrap();
    symlink("../file", top.join("dir/soft")).unwrap();
    symlink("x".repeat(150), top.join("long-link")).unwrap();
    run(&["mkfifo", top.join("fifo").to_str().unwrap()]);
    let object = File::open(top.join("file")).unwrap();
    xattr::set(&object, c"user.note", b"a\0b=c\n").unwrap();
    if Uid::effective().is_root() {
        run(&["mknod", top.join("null").to_str().unwrap(), "c", "1", "3"]);
        std::os::unix::fs::chown(top.join("dir/holes"), Some(1234), Some(5678)).unwrap();
        std::os::unix::fs::lchown(top.join("dir/soft"), Some(1234), Some(5678)).unwrap();
    }
    for (path, mode) in [
        ("file", 0o4751),
        ("empty", 0o600),
        ("dir/deep", 0o555),
        ("dir", 0o2750),
    ] {
        fs::set_permissions(top.join(path), Permissions::from_mode(mode)).unwrap();
    }
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 987_654_321);
    for path in ["file", "dir", "."] {
        File::open(top.join(path))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    top
}

/// One line for each object below `top`: all that must be kept.
fn listing(top: &Path, nanos: bool) -> Vec<String> {
    let dir = beneath::open_root(top).unwrap();
    let mut paths = vec![PathBuf::from(".")];
    beneath::walk(&dir, Path::new(""), 1000, &mut |path, _| {
        paths.push(path.to_owned())
    })
    .unwrap();
    paths.sort();
    let line = |path: &PathBuf| {
        let full = top.join(path);
        let m = fs::symlink_metadata(&full).unwrap();
        let content = match m.file_type() {
            t if t.is_file() => format!(
                "{:?}",
                fs::read(&full)
                    .unwrap()
                    .iter()
                    .map(|b| u64::from(*b))
                    .sum::<u64>()
            ),
            t if t.is_symlink() => fs::read_link(&full).unwrap().display().to_string(),
            t => format!("{}{}", t.is_fifo(), m.rdev()),
        };
        let xattrs = if m.is_file() || m.is_dir() {
            xattr::all(File::open(&full).unwrap()).unwrap()
        } else {
            xattr::Xattrs::new()
        };
        let (size, links) = if m.is_dir() {
            (0, 0)
        } else {
            (m.len(), m.nlink())
        };
        let nanos = if nanos { m.mtime_nsec() } else { 0 };
        format!(
            "{} {:o} {}:{} {size} {links} {}.{nanos} {content} {xattrs:?}",
            path.display(),
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
        )
    };
    paths.iter().map(line).collect()
}

fn packed(top: &Path, options: &[&str]) -> Vec<u8> {
    let top = top.to_str().unwrap();
    run(&[&["tar", "-C", top, "-c"][..], options, &["."]].concat())
}

fn unpacked(dir: &Dir, bytes: &[u8]) -> io::Result<()> {
    dir.tree()
        .take(&mut io::BufReader::with_capacity(1000, bytes))
}

#[test]
fn a_tree_comes_out_of_an_archive_of_either_kind_as_it_went_in() {
    let dir = Dir::with_target();
    let top = source(&dir);
    let archive = packed(&top, &["--format=pax", "--xattrs", "--xattrs-include=*"]);
    unpacked(&dir, &archive).unwrap();
    assert_eq!(listing(&dir.path("target"), true), listing(&top, true));
    let holes = fs::metadata(dir.path("target/dir/holes")).unwrap().blocks();
    assert!(holes * 512 < 200_000, "{holes}");
    // GNU tar's own kind has long names, but neither attributes nor parts of a second; once more into what is there
    run(&[
        "setfattr",
        "-x",
        "user.note",
        top.join("file").to_str().unwrap(),
    ]);
    unpacked(&dir, &packed(&top, &["--format=gnu"])).unwrap();
    assert_eq!(listing(&dir.path("target"), false), listing(&top, false));
}

#[test]
fn one_top_directory_is_kept_and_an_empty_archive_gives_an_empty_directory() {
    let dir = Dir::with_target();
    let top = source(&dir);
    let parent = top.parent().unwrap().to_str().unwrap();
    unpacked(&dir, &run(&["tar", "-C", parent, "-c", "source/file"])).unwrap();
    assert_eq!(
        fs::read(dir.path("target/source/file")).unwrap(),
        b"content"
    );
    let mode = |path: &str| fs::metadata(dir.path(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("target"), mode("target/source")), (0o755, 0o755));
    for empty in [&run(&["tar", "-c", "-T", "/dev/null"])[..], b""] {
        unpacked(&dir, empty).unwrap();
        assert_eq!(fs::read_dir(dir.path("target")).unwrap().count(), 0);
    }
}

/// A header, with the checksum that it has to have.
fn header(kind: u8, path: &str, link: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(157, link);
    put(257, "ustar\x0000");
    block[156] = kind;
    sum(&mut block);
    block
}

/// Gives a member that was changed, which ends with its header, the right checksum.
fn sum(member: &mut [u8]) {
    let at = member.len() - 512;
    let block = &mut member[at..];
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn file(path: &str) -> Vec<u8> {
    let mut content = b"evil".to_vec();
    content.resize(512, 0);
    [header(b'0', path, "", 4), content].concat()
}

fn link(path: &str, to: &str) -> Vec<u8> {
    header(b'2', path, to, 0)
}

#[test]
fn nothing_of_an_archive_leaves_the_tree() {
    let hard = |path: &str, to: &str| header(b'1', path, to, 0);
    let pax = |record: &str| {
        let mut content = record.as_bytes().to_vec();
        content.resize(512, 0);
        [header(b'x', "pax", "", record.len() as u64), content].concat()
    };
    let outside = Dir::with_target();
    fs::write(outside.path("secret"), "secret").unwrap();
    fs::create_dir(outside.path("elsewhere")).unwrap();
    let elsewhere = outside.path("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let attacks: [(&str, Vec<u8>); 11] = [
        ("upwards", file("../elsewhere/evil")),
        ("upwards inside", file("a/../../elsewhere/evil")),
        (
            "upwards by pax",
            [pax("26 path=../elsewhere/evil\n"), file("x")].concat(),
        ),
        (
            "through a link",
            [link("l", elsewhere), file("l/evil")].concat(),
        ),
        (
            "through a relative link",
            [link("l", "../elsewhere"), file("l/evil")].concat(),
        ),
        (
            "through a link to itself",
            [link("l", "."), file("l/evil")].concat(),
        ),
        (
            "through two links",
            [link("a", ".."), link("b", "a/elsewhere"), file("b/evil")].concat(),
        ),
        (
            "a directory through a link",
            [link("l", elsewhere), header(b'5', "l/evil", "", 0)].concat(),
        ),
        ("a hard link outside", hard("h", "../secret")),
        (
            "a hard link through a link",
            [link("l", ".."), hard("h", "l/secret")].concat(),
        ),
        ("a hard link to what is no member", hard("h", "none")),
    ];
    for (what, bytes) in attacks {
        let e = unpacked(&outside, &bytes).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{what}: {e}");
        assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0, "{what}");
        assert_eq!(
            fs::metadata(outside.path("secret")).unwrap().nlink(),
            1,
            "{what}"
        );
    }
    // a link is replaced by a member of its name, never written through
    let bytes = [link("l", "../secret"), file("l")].concat();
    unpacked(&outside, &bytes).unwrap();
    assert_eq!(fs::read(outside.path("secret")).unwrap(), b"secret");
    assert_eq!(fs::read(outside.path("target/l")).unwrap(), b"evil");
    // a directory member in the place of a link to one
    let bytes = [link("l", elsewhere), header(b'5', "l", "", 0), file("l/x")].concat();
    unpacked(&outside, &bytes).unwrap();
    assert!(
        fs::symlink_metadata(outside.path("target/l"))
            .unwrap()
            .is_dir()
    );
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0);
    // a leading slash is taken away
    unpacked(&outside, &file("//etc/evil")).unwrap();
    assert_eq!(fs::read(outside.path("target/etc/evil")).unwrap(), b"evil");
}

#[test]
fn an_archive_that_is_damaged_or_asks_for_memory_is_refused() {
    let whole = file("a");
    let mut changed = whole.clone();
    changed[3] ^= 1;
    let long =
        |kind: u8, size: u64| [header(kind, "x", "", size), vec![b'x'; 1024], file("a")].concat();
    let zero_size = |kind: u8| [header(kind, "x", "", 0), file("a")].concat();
    let attribute = |kind: u8, key: &str, length: usize| {
        let rest = format!(" {key}={}\n", "v".repeat(length));
        let record = format!("{:06}{rest}", rest.len() + 6);
        let padding = vec![0; record.len().wrapping_neg() % 512];
        [
            header(kind, "x", "", record.len() as u64),
            record.into_bytes(),
            padding,
        ]
        .concat()
    };
    let many = |kind, length| {
        [
            attribute(kind, "a", length),
            attribute(kind, "b", length),
            file("a"),
        ]
        .concat()
    };
    let mut dirs = Vec::new();
    for number in 0..80 {
        dirs.extend(attribute(b'x', "SCHILY.xattr.user.a", 900_000));
        dirs.extend(header(b'5', &format!("d{number}"), "", 0));
    }
    // names are remembered as well as values
    let name = format!("SCHILY.xattr.user.{}", "n".repeat(900_000));
    let mut named = Vec::new();
    for number in 0..80 {
        named.extend(directory(&format!("d{number}"), &[(&name, "v")]));
    }
    for (bytes, why) in [
        (named, "there are too many directories"),
        (many(b'x', 600_000), "there are too many attributes"),
        (many(b'g', 600_000), "there are too many attributes"),
        (dirs, "there are too many directories"),
    ] {
        let dir = Dir::with_target();
        let e = unpacked(&dir, &bytes).unwrap_err();
        assert!(e.to_string().ends_with(why), "{e}");
    }
    // they are as they should be, but for how much there is
    for kind in [b'x', b'g'] {
        unpacked(&Dir::with_target(), &many(kind, 1000)).unwrap();
    }
    let cases: [(&str, Vec<u8>); 8] = [
        ("checksum", changed),
        ("cut in a header", whole[..300].to_vec()),
        ("cut in content", whole[..514].to_vec()),
        ("a name of 8 GiB", long(b'L', 0o77777777777)),
        (
            "attributes of 2 MiB",
            [header(b'x', "x", "", 2 << 20), vec![b'1'; 2 << 20]].concat(),
        ),
        ("attributes without a length", long(b'x', 512)),
        ("a kind that is not known", header(b'Z', "x", "", 0)),
        ("a sparse member", header(b'S', "x", "", 0)),
    ];
    for (what, bytes) in cases {
        let dir = Dir::with_target();
        assert!(unpacked(&dir, &bytes).is_err(), "{what}");
    }
    // an empty long name and empty attributes are none
    let dir = Dir::with_target();
    assert!(unpacked(&dir, &zero_size(b'x')).is_ok());
    assert!(unpacked(&dir, &zero_size(b'L')).is_err());
    // the last member of a name counts, but a directory is not replaced by a file
    unpacked(&dir, &[file("a"), header(b'0', "a", "", 0)].concat()).unwrap();
    assert_eq!(fs::read(dir.path("target/a")).unwrap(), b"");
    assert!(unpacked(&dir, &[header(b'5', "a", "", 0), file("a")].concat()).is_err());
}

#[test]
fn what_an_archive_does_wrong_is_told_from_what_the_file_system_cannot_do() {
    let hard = |to: &str| header(b'1', "h", to, 0);
    let dir = |path: &str| header(b'5', path, "", 0);
    let acl = {
        let record = "31 SCHILY.acl.access=mask::rwx\n";
        let mut content = record.as_bytes().to_vec();
        content.resize(512, 0);
        let length = record.len() as u64;
        [header(b'x', "pax", "", length), content, file("a")].concat()
    };
    let long = "n".repeat(300);
    let long = [
        header(b'L', "x", "", 300),
        long.into_bytes(),
        vec![0; 212],
        file("x"),
    ]
    .concat();
    for (what, bytes) in [
        ("a hard link to nothing", hard("none")),
        ("a hard link to nothing below nothing", hard("none/none")),
        ("a hard link to no name", hard("")),
        ("a hard link to a directory", [dir("d"), hard("d")].concat()),
        (
            "a hard link below a file",
            [file("f"), hard("f/x")].concat(),
        ),
        ("a link to no name", link("l", "")),
        (
            "a file in place of a directory",
            [dir("d"), file("d")].concat(),
        ),
        ("a file below a file", [file("f"), file("f/x")].concat()),
        ("a sparse member", header(b'S', "x", "", 0)),
        ("a name of 300 bytes", long),
        ("an ACL that is none", acl),
    ] {
        let e = unpacked(&Dir::with_target(), &bytes).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{what}: {e}");
    }
    for errno in [
        Errno::ENOSPC,
        Errno::EIO,
        Errno::EROFS,
        Errno::EACCES,
        Errno::EPERM,
        Errno::ENOENT,
    ] {
        let e = io::Error::from(errno);
        assert_eq!(cause(&e), e.kind());
        assert_ne!(cause(&e), io::ErrorKind::InvalidData);
    }
}

#[test]
fn times_before_1970_come_out_of_an_archive_of_either_kind() {
    let dir = Dir::with_target();
    let top = dir.path("source");
    fs::create_dir(&top).unwrap();
    let names = ["minute", "instant", "oldest"];
    for (name, seconds, nanos) in [
        ("minute", 61, 0),
        ("instant", 0, 250_000_000),
        ("oldest", 1 << 31, 0),
    ] {
        let before = std::time::Duration::new(seconds, nanos);
        let file = File::create(top.join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH - before).unwrap();
    }
    let times = |top: &Path| {
        names.map(|name| {
            let m = fs::metadata(top.join(name)).unwrap();
            (m.mtime(), m.mtime_nsec())
        })
    };
    assert_eq!(times(&top), [(-61, 0), (-1, 750_000_000), (-(1 << 31), 0)]);
    unpacked(&dir, &packed(&top, &["--format=pax"])).unwrap();
    assert_eq!(times(&dir.path("target")), times(&top));
    unpacked(&dir, &packed(&top, &["--format=gnu"])).unwrap();
    let whole = times(&top).map(|(seconds, _)| (seconds, 0));
    assert_eq!(times(&dir.path("target")), whole);
    // more than 64 bits have no time
    let mut bytes = header(b'0', "a", "", 0);
    bytes[136..148].copy_from_slice(&[0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    sum(&mut bytes);
    let e = unpacked(&dir, &bytes).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{e}");
}

/// A file with these attributes, and content padded to whole blocks.
fn with_attributes(records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let name = "./GNUSparseFile.1/x";
    member(b'0', name, records, content)
}

fn directory(path: &str, records: &[(&str, &str)]) -> Vec<u8> {
    member(b'5', path, records, b"")
}

fn member(kind: u8, path: &str, records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        format!("{:06}{rest}", rest.len() + 6)
    };
    let records: String = records.iter().map(record).collect();
    let padded = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    [
        header(b'x', "pax", "", records.len() as u64),
        padded(records.as_bytes()),
        header(kind, path, "", content.len() as u64),
        padded(content),
    ]
    .concat()
}

#[test]
fn nobody_enters_a_tree_before_all_of_its_directories_are_what_they_are_to_be() {
    let dir = Dir::with_target();
    let mode = || fs::metadata(dir.path("target")).unwrap().mode() & 0o7777;
    let top = header(b'5', "./", "", 0);
    // of which the last one cannot be given what it has
    let bad = directory("b", &[("SCHILY.acl.access", "mask::rwx")]);
    let good = header(b'5', "b/c", "", 0);
    unpacked(&dir, &[&top[..], &good].concat()).unwrap();
    assert_eq!(mode(), 0o644);
    for archive in [
        bad.clone(),
        [&good[..], &bad].concat(),
        [&bad[..], &top].concat(),
        [&top[..], &bad].concat(),
        [&top[..], &bad, &top].concat(),
    ] {
        fs::set_permissions(dir.path("target"), Permissions::from_mode(0o755)).unwrap();
        assert!(unpacked(&dir, &archive).is_err());
        assert_eq!(mode(), 0o700);
    }
    unpacked(&dir, &good).unwrap();
    assert_eq!(mode(), 0o755);
}

#[test]
fn of_a_directory_the_last_member_counts() {
    let dir = Dir::with_target();
    let [first, last] = ["5", "7"].map(|time| directory("d", &[("mtime", time)]));
    unpacked(&dir, &[&first[..], &file("d/x"), &last].concat()).unwrap();
    assert_eq!(fs::metadata(dir.path("target/d")).unwrap().mtime(), 7);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(100))]

    /// Nothing panics, whatever an archive is.
    #[test]
    fn any_archive_is_unpacked_or_refused(
        kinds in proptest::collection::vec((0_usize..10, "[a-c./]{1,6}", "[a-c./]{1,6}"), 1..6),
        at in 0_usize..3000,
        byte in proptest::prelude::any::<u8>(),
    ) {
        let member = |(kind, path, link): &(usize, String, String)| header(b"0125xgLK6S"[*kind], path, link, 0);
        let mut bytes = kinds.iter().map(member).collect::<Vec<_>>().concat();
        if let Some(old) = bytes.get_mut(at) {
            *old = byte;
        }
        let dir = Dir::with_target();
        fs::create_dir(dir.path("beside")).unwrap();
        let result = unpacked(&dir, &bytes);
        proptest::prop_assert!(result.is_ok() || result.is_err());
        proptest::prop_assert_eq!(fs::read_dir(dir.path("beside")).unwrap().count(), 0);
        proptest::prop_assert_eq!(fs::read_dir(dir.0.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_directory_is_copied_with_all_that_belongs_to_it() {
    let dir = Dir::with_target();
    let top = source(&dir);
    let from = beneath::open_root(&top).unwrap();
    copy(&from, &dir.tree(), &Cancel::default()).unwrap();
    assert_eq!(listing(&dir.path("target"), true), listing(&top, true));
    let same = |a: &str, b: &str| {
        let inode = |path: &str| fs::metadata(dir.path(path)).unwrap().ino();
        inode(a) == inode(b)
    };
    assert!(same("target/file", "target/dir/hard"));
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(copy(&from, &dir.tree(), &cancel).is_err());
}

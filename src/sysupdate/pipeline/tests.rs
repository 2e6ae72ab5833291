//! Payloads of every kind through all four threads, with a server that does not behave.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::sysupdate::fetch::Policy;
use crate::sysupdate::http::{Answer, Request, Server};
use crate::sysupdate::sparse::SparseFile;

fn client(cancel: &Cancel) -> Client {
    let policy = Policy {
        delays: vec![Duration::ZERO; 4],
        no_proxy: true,
        ..Policy::default()
    };
    Client::new(policy, cancel.clone())
}

/// Bytes with long runs of zeros, which do not compress to nothing.
fn content(length: usize) -> Vec<u8> {
    let byte = |i: usize| match (i >> 15) & 3 {
        0 => 0,
        _ => ((i >> 8) * (i & 255) + (i >> 3)) as u8,
    };
    (0..length).map(byte).collect()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn sum(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// A machine with a spool and a target directory.
struct Machine {
    dir: tempfile::TempDir,
    cancel: Cancel,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            dir: tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap(),
            cancel: Cancel::default(),
        }
    }

    fn spool_dir(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.spool_dir()).map_or(0, Iterator::count)
    }

    /// The unfinished file, which stays from run to run.
    fn partial(&self) -> File {
        File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.dir.path().join("partial"))
            .unwrap()
    }

    fn limited(
        &self,
        server: &Server,
        expected: Option<Sha256>,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let spool = Spool::open(&self.spool_dir()).unwrap();
        let mut client = client(&self.cancel);
        let url = Url::base(&server.url("/p")).unwrap();
        let job = Job {
            source: Source::Url(&mut client, &url),
            expected,
            keep: Keep::Partial(&spool, "partial"),
            limit,
            cancel: &self.cancel,
            progress: &|_, _| {},
        };
        let verified = take(job, SparseFile::new(self.partial()))?;
        Ok(read(verified.sink().file()))
    }

    fn take(&self, server: &Server, expected: Sha256) -> Result<Vec<u8>, Error> {
        self.limited(server, Some(expected), 1 << 30)
    }
}

fn read(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that were asked for by the requests after the first `skip`.
fn asked(server: &Server, skip: usize, length: usize) -> usize {
    let from = |r: &Request| {
        let range = r.header("range").map_or("bytes=0-", |r| r).to_owned();
        range[6..].trim_end_matches('-').parse::<usize>().unwrap()
    };
    server
        .seen()
        .iter()
        .skip(skip)
        .map(|r| length - from(r))
        .sum()
}

/// A server that closes the connection after `cut` bytes, as often as a run asks, and is well from the next run on.
fn broken(served: &[u8], cut: usize) -> Server {
    let served = Arc::new(served.to_vec());
    Server::new(move |r| {
        let answer = Answer::of(&served).etag("\"one\"");
        if r.before == 0 {
            answer.cut_after(cut)
        } else if r.before < 5 {
            Answer::status(503)
        } else {
            answer
        }
    })
}

#[test]
fn payloads_of_every_length_arrive_as_they_were_compressed_or_not() {
    for length in [0, 1, 2, 5, 4096, 262_144, 262_145, 3 << 20] {
        let plain = content(length);
        for served in [plain.clone(), zstd(&plain)] {
            let machine = Machine::new();
            let server = Server::with_files(&[("p", &served)]);
            assert!(
                machine.take(&server, sum(&served)).unwrap() == plain,
                "{length}"
            );
            assert_eq!(machine.spooled(), 0);
        }
    }
}

#[test]
fn another_digest_than_was_expected_is_an_error_and_nothing_is_kept() {
    for served in [content(100_000), zstd(&content(100_000))] {
        let machine = Machine::new();
        let server = Server::with_files(&[("p", &served)]);
        let error = machine.take(&server, sum(b"other")).unwrap_err();
        assert!(
            matches!(error, Error::Digest { found, .. } if found == sum(&served)),
            "{error}"
        );
        let start = "Checksum of downloaded resource does not match expected checksum, yikes.";
        assert!(error.to_string().starts_with(start));
        assert_eq!((machine.spooled(), server.seen().len()), (0, 1));
    }
}

#[test]
fn a_payload_from_a_server_needs_a_digest() {
    let machine = Machine::new();
    let server = Server::with_files(&[("p", b"x")]);
    let error = machine.limited(&server, None, 100).unwrap_err();
    assert!(matches!(error, Error::NoDigest) && server.seen().is_empty());
}

#[test]
fn the_right_digest_of_a_payload_that_is_damaged_is_an_error() {
    let whole = zstd(&content(100_000));
    let half = whole[..whole.len() / 2].to_vec();
    let garbage = [&*whole, b"garbage"].concat();
    for served in [half, garbage] {
        let machine = Machine::new();
        let server = Server::with_files(&[("p", &served)]);
        let error = machine.take(&server, sum(&served)).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        assert_eq!((machine.spooled(), server.seen().len()), (0, 1));
    }
}

#[test]
fn more_than_fits_is_refused_in_time() {
    let served = zstd(&vec![0; 64 << 20]);
    let machine = Machine::new();
    let server = Server::with_files(&[("p", &served)]);
    let error = machine
        .limited(&server, Some(sum(&served)), 1 << 20)
        .unwrap_err();
    assert_eq!(error.to_string(), "File overly large, refusing.");
    assert!(machine.partial().metadata().unwrap().len() <= 1 << 20);
}

#[test]
fn the_next_run_goes_on_where_the_last_one_broke_off() {
    let plain = content(6 << 20);
    for served in [plain.clone(), zstd(&plain)] {
        let machine = Machine::new();
        let cut = served.len() * 9 / 10;
        let server = broken(&served, cut);
        let first = machine.take(&server, sum(&served)).unwrap_err();
        assert!(matches!(first, Error::Fetch(_)), "{first}");
        assert!(machine.spooled() > 0);
        let requests = server.seen().len();
        assert!(machine.take(&server, sum(&served)).unwrap() == plain);
        let again = asked(&server, requests, served.len());
        assert!(
            again <= served.len() - cut + (4 << 20),
            "{again} of {}",
            served.len()
        );
        assert_eq!(server.seen()[requests].header("if-range"), Some("\"one\""));
        assert_eq!(machine.spooled(), 0);
    }
}

#[test]
fn what_was_kept_wrongly_is_fetched_again() {
    let plain = content(2 << 20);
    for served in [plain.clone(), zstd(&plain)] {
        let machine = Machine::new();
        let server = broken(&served, served.len() / 2);
        machine.take(&server, sum(&served)).unwrap_err();
        // as after a power cut, when blocks that were never written are zeros
        let kept = machine.spool_dir().join(sum(&served).to_string());
        let kept = if kept.exists() {
            kept
        } else {
            machine.dir.path().join("partial")
        };
        let mut bytes = std::fs::read(&kept).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 1000].fill(0x55);
        std::fs::write(&kept, bytes).unwrap();
        assert!(machine.take(&server, sum(&served)).unwrap() == plain);
    }
}

#[test]
fn a_payload_that_changes_while_it_is_fetched_begins_anew() {
    let (old, new) = (content(3 << 20), [content(2 << 20), vec![1; 5]].concat());
    for packed in [false, true] {
        let of = |bytes: &[u8]| if packed { zstd(bytes) } else { bytes.to_vec() };
        let (one, two) = (Arc::new(of(&old)), Arc::new(of(&new)));
        let expected = sum(&two);
        let server = Server::new(move |r| match r.before {
            0 => Answer::of(&one).etag("\"one\"").cut_after(one.len() - 10),
            _ => Answer::of(&two).etag("\"two\""),
        });
        assert!(
            Machine::new().take(&server, expected).unwrap() == new,
            "{packed}"
        );
        assert_eq!(server.seen().len(), 2);
    }
}

#[test]
fn a_spool_without_room_is_no_error() {
    let served = zstd(&content(1 << 20));
    let machine = Machine::new();
    // a directory in the way of the file
    std::fs::create_dir_all(machine.spool_dir().join(sum(&served).to_string())).unwrap();
    let server = Server::with_files(&[("p", &served)]);
    assert!(machine.take(&server, sum(&served)).unwrap() == content(1 << 20));
}

/// Fails after some bytes, as a full disk.
#[derive(Debug)]
struct Full;

impl Sink for Full {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        let bytes = from.fill_buf()?.len();
        from.consume(bytes);
        Err(io::Error::from_raw_os_error(nix::libc::ENOSPC))
    }
}

#[test]
fn a_full_disk_ends_the_transfer_and_is_the_cause_that_is_told() {
    let served = Arc::new(content(20 << 20));
    let body = Arc::clone(&served);
    let server = Server::new(move |_| Answer::of(&body).slow(256 << 10, Duration::from_millis(20)));
    let cancel = Cancel::default();
    let mut client = client(&cancel);
    let url = Url::base(&server.url("/p")).unwrap();
    let job = Job {
        source: Source::Url(&mut client, &url),
        expected: Some(sum(&served)),
        keep: Keep::Nowhere,
        limit: u64::MAX,
        cancel: &cancel,
        progress: &|_, _| {},
    };
    let error = take(job, Full).unwrap_err();
    let is_full = |e: &io::Error| e.kind() == io::ErrorKind::StorageFull;
    assert!(matches!(&error, Error::Writing(e) if is_full(e)), "{error}");
}

#[test]
fn whoever_asks_to_end_gets_the_end_within_two_seconds_and_can_go_on_later() {
    let served = zstd(&content(4 << 20));
    let body = Arc::new(served.clone());
    let server = Server::new(move |r| {
        let answer = Answer::of(&body).etag("\"one\"");
        if r.before == 0 {
            answer.stall_after(body.len() / 2)
        } else {
            answer
        }
    });
    let mut machine = Machine::new();
    let cancel = machine.cancel.clone();
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        cancel.cancel();
        Instant::now()
    });
    let error = machine.take(&server, sum(&served)).unwrap_err();
    let took = ends.join().unwrap().elapsed();
    assert!(matches!(error, Error::Ended(_)), "{error}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    machine.cancel = Cancel::default();
    assert!(machine.take(&server, sum(&served)).unwrap() == content(4 << 20));
    assert!(server.seen()[1].header("range").is_some());
}

fn from_file(path: &Path, expected: Option<Sha256>) -> Result<Vec<u8>, Error> {
    let machine = Machine::new();
    let mut file = File::open(path).unwrap();
    let job = Job {
        source: Source::File(&mut file),
        expected,
        keep: Keep::Nowhere,
        limit: u64::MAX,
        cancel: &machine.cancel,
        progress: &|_, _| {},
    };
    take(job, SparseFile::new(machine.partial())).map(|v| read(v.sink().file()))
}

#[test]
fn a_local_file_is_taken_and_its_digest_checked_where_one_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let served = zstd(&content(1 << 20));
    std::fs::write(&path, &served).unwrap();
    assert!(from_file(&path, None).unwrap() == content(1 << 20));
    assert!(from_file(&path, Some(sum(&served))).is_ok());
    assert!(matches!(
        from_file(&path, Some(sum(b""))),
        Err(Error::Digest { .. })
    ));
}

#[test]
fn what_was_staged_is_taken_again_until_it_is_changed() {
    let plain = content(2 << 20);
    for served in [plain.clone(), zstd(&plain)] {
        let machine = Machine::new();
        let spool = Spool::open(&machine.spool_dir()).unwrap();
        let server = Server::with_files(&[("p", &served)]);
        let url = Url::base(&server.url("/p")).unwrap();
        fn job<'j>(
            machine: &'j Machine,
            served: &[u8],
            source: Source<'j>,
            keep: Keep<'j>,
        ) -> Job<'j> {
            Job {
                source,
                expected: Some(sum(served)),
                keep,
                limit: u64::MAX,
                cancel: &machine.cancel,
                progress: &|_, _| {},
            }
        }
        let path = machine.spool_dir().join(sum(&served).to_string());
        let mut client = client(&machine.cancel);
        let source = Source::Url(&mut client, &url);
        let mut staged =
            take(job(&machine, &served, source, Keep::Stage(&spool)), Nothing).unwrap();
        let first = staged.spooled().unwrap();
        // the next run finds it there, and looks at all of it
        let mut file = spool.bytes(&sum(&served)).unwrap();
        let source = Source::File(&mut file);
        let mut staged =
            take(job(&machine, &served, source, Keep::Stage(&spool)), Nothing).unwrap();
        let second = staged.spooled().unwrap();
        assert!(!first.is_unchanged(), "its mode was set once more");
        assert!(second.is_unchanged());
        let again = |spooled: &Spooled| {
            let sink = SparseFile::new(machine.partial());
            let verified = take(
                job(&machine, &served, Source::Spooled(spooled), Keep::Nowhere),
                sink,
            )?;
            Ok::<_, Error>(read(verified.sink().file()))
        };
        for _ in 0..2 {
            assert!(again(&second).unwrap() == plain);
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(!second.is_unchanged());
        let error = again(&second).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        // and with what is not right nothing is staged
        let mut file = File::open(&path).unwrap();
        let source = Source::File(&mut file);
        let error = take(job(&machine, &served, source, Keep::Stage(&spool)), Nothing).unwrap_err();
        assert!(
            matches!(error, Error::Digest { .. } | Error::Damaged(_)),
            "{error}"
        );
    }
}

/// Takes all, and keeps nothing.
#[derive(Debug)]
struct Nothing;

impl Sink for Nothing {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        io::copy(from, &mut io::sink()).map(drop)
    }
}

#[test]
fn what_has_come_is_told_with_how_much_there_is() {
    let served = content(3 << 20);
    let server = Server::with_files(&[("p", &served)]);
    let machine = Machine::new();
    let mut client = client(&machine.cancel);
    let url = Url::base(&server.url("/p")).unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let job = Job {
        source: Source::Url(&mut client, &url),
        expected: Some(sum(&served)),
        keep: Keep::Nowhere,
        limit: u64::MAX,
        cancel: &machine.cancel,
        progress: &|have, of| told.lock().unwrap().push((have, of)),
    };
    let verified = take(job, SparseFile::new(machine.partial())).unwrap();
    assert_eq!(verified.facts().and_then(|f| f.length), Some(3 << 20));
    assert_eq!(verified.format(), Format::Raw);
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&(3 << 20, Some(3 << 20))));
}

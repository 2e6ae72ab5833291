//! Against a server that does what servers do.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::sysupdate::http::{Answer, Request, Server};

/// As the real one, but without waiting, and never through a proxy.
fn hasty() -> Policy {
    Policy {
        delays: vec![Duration::ZERO; 4],
        slow_time: Duration::from_secs(1),
        no_proxy: true,
        ..Policy::default()
    }
}

fn client() -> Client {
    Client::new(hasty(), Cancel::default())
}

fn url(server: &Server, path: &str) -> Url {
    Url::base(&server.url(path)).unwrap()
}

/// Bytes that look different everywhere.
fn content(length: usize) -> Arc<Vec<u8>> {
    Arc::new((0..length).map(|i| (i * i / 255 + i) as u8).collect())
}

/// Keeps what it is given, as a spool does.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    begins: Vec<u64>,
}

impl Receive for Kept {
    fn begin(&mut self, from: u64, _: &Facts) -> io::Result<()> {
        self.begins.push(from);
        self.bytes.truncate(from as usize);
        assert_eq!(self.bytes.len() as u64, from);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

fn payload(server: &Server, client: &mut Client) -> (Kept, Result<Facts, Error>) {
    let mut kept = Kept::default();
    let done = client.payload(&url(server, "/p"), 0, Facts::default(), &mut kept);
    (kept, done)
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    let range = |r: &Request| r.header("range").map(str::to_owned);
    server.seen().iter().map(range).collect()
}

#[test]
fn a_request_says_who_asks_and_wants_the_bytes_as_they_are() {
    let server = Server::with_files(&[("SHA256SUMS", b"text")]);
    let got = client().document(&url(&server, "/SHA256SUMS"), 4).unwrap();
    assert_eq!(got, b"text");
    let seen = server.seen().remove(0);
    assert_eq!((&*seen.method, &*seen.path), ("GET", "/SHA256SUMS"));
    let agent = format!("sysupdate/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.header("user-agent"), Some(&*agent));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("range"), None);
}

#[test]
fn a_document_over_its_limit_is_refused_whether_its_length_is_told_or_not() {
    let body = content(1000);
    let untold = Arc::clone(&body);
    let server = Server::new(move |r| match &*r.path {
        "/told" => Answer::of(&body),
        _ => Answer::of(&untold).without_length(),
    });
    for path in ["/told", "/untold"] {
        let done = client().document(&url(&server, path), 999);
        assert!(matches!(done, Err(Error::TooLarge(_, 999))), "{done:?}");
        let done = client().document(&url(&server, path), 1000);
        assert_eq!(done.unwrap().len(), 1000);
    }
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_refusal_is_final_and_its_number_is_told() {
    let server = Server::new(|_| Answer::status(404));
    let error = client().document(&url(&server, "/a"), 10).unwrap_err();
    assert!(error.is_missing());
    assert!(
        error.to_string().ends_with("/a failed with code 404."),
        "{error}"
    );
    let (_, done) = payload(&server, &mut client());
    assert!(matches!(done, Err(Error::Status(_, 404))));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_failure_of_the_server_may_pass_and_five_attempts_are_made() {
    let body = content(10);
    let server = Server::new(move |r| match r.before {
        0 => Answer::status(503),
        1 => Answer::status(500),
        _ => Answer::of(&body),
    });
    assert_eq!(
        client().document(&url(&server, "/a"), 10).unwrap().len(),
        10
    );
    let server = Server::new(|_| Answer::status(500));
    let error = client().document(&url(&server, "/a"), 10).unwrap_err();
    assert!(matches!(error, Error::Status(_, 500)));
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn attempts_are_one_two_four_and_eight_seconds_apart() {
    let usual = Policy::default();
    assert_eq!(usual.delays, [1, 2, 4, 8].map(Duration::from_secs));
    assert_eq!(
        (usual.slow_bytes, usual.slow_time),
        (30, Duration::from_secs(60))
    );
    assert_eq!(usual.limit, 64 << 30);
    let server = Server::new(|_| Answer::status(500));
    let delays = vec![Duration::from_millis(100), Duration::from_millis(200)];
    let begun = Instant::now();
    let policy = Policy { delays, ..hasty() };
    let done = Client::new(policy, Cancel::default()).document(&url(&server, "/a"), 10);
    assert!(done.is_err() && begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_payload_that_breaks_off_goes_on_where_it_did() {
    let body = content(100_000);
    let served = Arc::clone(&body);
    let server = Server::new(move |r| {
        let answer = Answer::of(&served).etag("\"one\"");
        match r.before {
            0 => answer.cut_after(30_000),
            1 => answer.cut_after(20_000),
            _ => answer,
        }
    });
    let (kept, done) = payload(&server, &mut client());
    let facts = done.unwrap();
    assert_eq!(kept.bytes, *body);
    assert_eq!(kept.begins, [0, 30_000, 50_000]);
    assert_eq!(facts.etag.as_deref(), Some("\"one\""));
    assert_eq!(facts.length, Some(100_000));
    let expected = [
        None,
        Some("bytes=30000-".into()),
        Some("bytes=50000-".into()),
    ];
    assert_eq!(ranges(&server), expected);
    assert_eq!(server.seen()[1].header("if-range"), Some("\"one\""));
}

#[test]
fn a_payload_that_breaks_off_each_time_is_given_up() {
    let body = content(1000);
    let server = Server::new(move |_| Answer::of(&body).etag("\"one\"").cut_after(10));
    let (kept, done) = payload(&server, &mut client());
    assert!(matches!(done, Err(Error::Failed(..))), "{done:?}");
    assert_eq!((kept.bytes.len(), server.seen().len()), (50, 5));
}

#[test]
fn what_was_kept_by_an_earlier_run_is_not_fetched_again() {
    let body = content(1000);
    let served = Arc::clone(&body);
    let time = "Sat, 01 Jun 2024 12:00:00 GMT";
    let server = Server::new(move |_| Answer::of(&served).header("Last-Modified", time));
    let known = Facts {
        last_modified: Some(time.into()),
        length: Some(1000),
        ..Facts::default()
    };
    let mut kept = Kept {
        bytes: body[..900].to_vec(),
        ..Kept::default()
    };
    let done = client().payload(&url(&server, "/p"), 900, known.clone(), &mut kept);
    assert_eq!((done.unwrap(), &kept.bytes), (known.clone(), &*body));
    assert_eq!(ranges(&server), [Some("bytes=900-".to_owned())]);
    assert_eq!(server.seen()[0].header("if-range"), Some(time));
    // and of what is complete nothing
    let done = client().payload(&url(&server, "/p"), 1000, known, &mut kept);
    assert!(done.is_ok() && server.seen().len() == 1);
}

/// A run after one that kept the first 400 of 1000 bytes of something with the ETag "one".
fn after_another_run(server: &Server) -> Kept {
    let known = Facts {
        etag: Some("\"one\"".into()),
        length: Some(1000),
        ..Facts::default()
    };
    let mut kept = Kept {
        bytes: vec![0xee; 400],
        ..Kept::default()
    };
    let done = client().payload(&url(server, "/p"), 400, known, &mut kept);
    assert_eq!(done.unwrap().length, Some(kept.bytes.len() as u64));
    kept
}

#[test]
fn everything_is_fetched_again_when_it_is_no_longer_the_same() {
    let body = content(1000);
    let answers: [fn(Answer) -> Answer; 5] = [
        // it changed, and the server says so by giving all of it
        |a| a.etag("\"two\""),
        // no ranges at all
        |a| a.etag("\"one\"").without_ranges(),
        // another part than was asked for
        |a| a.etag("\"one\"").with_wrong_range(),
        // it changed, but If-Range is ignored
        |a| {
            a.header("Last-Modified", "x")
                .header("Etag", "\"two\"")
                .header("ETag", "\"one\"")
        },
        // a weak validator is compared by nobody
        |a| a.etag("W/\"one\""),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let served = Arc::clone(&body);
        let server = Server::new(move |r| {
            let usual = answer(Answer::of(&served));
            match (number, r.header("range")) {
                (3, Some(_)) => Answer::of(&served)
                    .etag("\"one\"")
                    .header("ETag", "\"two\""),
                _ => usual,
            }
        });
        let kept = after_another_run(&server);
        assert_eq!(kept.bytes, *body, "{number}");
        assert_eq!(kept.begins, [0], "{number}");
    }
}

#[test]
fn a_payload_that_is_shorter_now_is_fetched_from_its_beginning() {
    let body = content(300);
    let served = Arc::clone(&body);
    let server = Server::new(move |_| Answer::of(&served).etag("\"one\""));
    let kept = after_another_run(&server);
    assert_eq!((kept.bytes, kept.begins), (body.to_vec(), vec![0]));
}

#[test]
fn a_server_that_falls_silent_is_left_in_bounded_time() {
    let body = content(100_000);
    let served = Arc::clone(&body);
    let server = Server::new(move |r| {
        let answer = Answer::of(&served).etag("\"one\"");
        if r.before == 0 {
            answer.stall_after(50_000)
        } else {
            answer
        }
    });
    let begun = Instant::now();
    let (kept, done) = payload(&server, &mut client());
    assert!(done.is_ok() && kept.bytes == *body);
    assert_eq!(kept.begins, [0, 50_000]);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_slow_server_is_waited_for_as_long_as_it_sends() {
    let body = content(64 << 10);
    let served = Arc::clone(&body);
    let server =
        Server::new(move |_| Answer::of(&served).slow(16 << 10, Duration::from_millis(200)));
    let (kept, done) = payload(&server, &mut client());
    assert!(done.is_ok() && kept.bytes == *body);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn whoever_asks_to_end_does_not_wait_for_the_server() {
    let body = content(100_000);
    let server = Server::new(move |_| Answer::of(&body).stall_after(10));
    let cancel = Cancel::default();
    let policy = Policy {
        slow_time: Duration::from_secs(60),
        ..hasty()
    };
    let mut client = Client::new(policy, cancel.clone());
    let begun = Instant::now();
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
    });
    let (_, done) = payload(&server, &mut client);
    ends.join().unwrap();
    assert!(matches!(done, Err(Error::Ended(_))), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(2) + Duration::from_millis(300));
}

#[test]
fn a_length_that_is_too_long_is_a_short_body_and_one_too_short_cuts_it() {
    let body = content(1000);
    let served = Arc::clone(&body);
    let server = Server::new(move |_| Answer::of(&served).etag("\"one\"").with_length(2000));
    let (_, done) = payload(&server, &mut client());
    assert!(matches!(done, Err(Error::Failed(..))), "{done:?}");
    assert!(server.seen().len() <= 5);
    let server = Server::new(move |_| Answer::of(&body).with_length(500));
    let (kept, done) = payload(&server, &mut client());
    assert!(done.is_ok() && kept.bytes.len() == 500);
}

#[test]
fn ten_redirects_are_followed_and_no_eleventh() {
    let body = content(10);
    let server = Server::new(move |r| {
        let number: u32 = r.path[1..].parse().unwrap();
        match number {
            0 => Answer::of(&body),
            _ => Answer::redirect(302, &format!("/{}", number - 1)),
        }
    });
    assert_eq!(
        client().document(&url(&server, "/10"), 10).unwrap().len(),
        10
    );
    let done = client().document(&url(&server, "/11"), 10);
    assert!(matches!(done, Err(Error::Refused(..))), "{done:?}");
    assert_eq!(server.seen().len(), 11 + 11);
}

#[test]
fn a_redirect_that_goes_round_in_circles_or_to_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let to = format!("file://{}", secret.display());
    let server = Server::new(move |r| match &*r.path {
        "/loop" => Answer::redirect(301, "/loop"),
        "/ftp" => Answer::redirect(307, "ftp://127.0.0.1/x"),
        "/nowhere" => Answer::status(302),
        _ => Answer::redirect(308, &to),
    });
    for path in ["/loop", "/ftp", "/file"] {
        let done = client().document(&url(&server, path), 100);
        assert!(matches!(done, Err(Error::Refused(..))), "{path}: {done:?}");
    }
    let done = client().document(&url(&server, "/nowhere"), 100);
    assert!(matches!(done, Err(Error::Status(_, 302))), "{done:?}");
}

#[test]
fn an_encoding_that_was_not_asked_for_changes_no_byte() {
    let body = content(100);
    let served = Arc::clone(&body);
    let server = Server::new(move |_| Answer::of(&served).header("Content-Encoding", "gzip"));
    let (kept, done) = payload(&server, &mut client());
    assert!(done.is_ok() && kept.bytes == *body);
}

#[test]
fn the_length_is_told_without_the_bytes_also_by_a_server_that_knows_no_head() {
    let body = content(5000);
    let server = Server::new(move |r| match (&*r.path, &*r.method) {
        ("/no-head", "HEAD") => Answer::status(405),
        ("/neither", "HEAD") => Answer::status(501),
        ("/neither", _) => Answer::of(&body).without_ranges(),
        _ => Answer::of(&body).etag("\"one\""),
    });
    for path in ["/head", "/no-head", "/neither"] {
        let facts = client().probe(&url(&server, path)).unwrap();
        assert_eq!(facts.length, Some(5000), "{path}");
    }
}

#[test]
fn the_last_bytes_are_read_alone_where_the_server_has_ranges() {
    let body = content(5000);
    let served = Arc::clone(&body);
    let server = Server::new(move |r| match &*r.path {
        "/none" => Answer::of(&served).without_ranges(),
        "/wrong" => Answer::of(&served).with_wrong_range(),
        _ => Answer::of(&served),
    });
    let piece = |path: &str, from| {
        client()
            .piece(&url(&server, path), from, 100, 5000)
            .unwrap()
    };
    assert_eq!(piece("/yes", 4900).unwrap(), body[4900..]);
    assert_eq!(piece("/yes", 4990).unwrap(), body[4990..]);
    assert_eq!(piece("/yes", 5000).unwrap(), b"");
    assert_eq!(piece("/none", 4900), None);
    assert_eq!(piece("/wrong", 4900), None);
}

#[test]
fn an_address_nobody_listens_at_is_told_without_its_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let url = Url::base(&format!("http://me:s3cret@127.0.0.1:{port}/a")).unwrap();
    let error = client().document(&url, 10).unwrap_err();
    assert!(matches!(error, Error::Failed(..)));
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cret") && !text.contains("me:"), "{text}");
    assert!(text.contains(&port.to_string()), "{text}");
}

fn local(path: &Path) -> Url {
    Url::base(&format!("file://{}", path.parent().unwrap().display()))
        .unwrap()
        .join(&path.file_name().unwrap().to_string_lossy())
}

#[test]
fn a_local_file_is_read_probed_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("os 1%2#?.raw");
    let body = content(3 << 20);
    std::fs::write(&path, &*body).unwrap();
    let url = local(&path);
    assert_eq!(client().document(&url, 4 << 20).unwrap(), *body);
    let facts = client().probe(&url).unwrap();
    assert_eq!(facts.length, Some(3 << 20));
    assert!(
        facts
            .last_modified
            .as_ref()
            .is_some_and(|t| t.starts_with('@'))
    );
    let last = client().piece(&url, (3 << 20) - 5, 100, 3 << 20).unwrap();
    assert_eq!(last.unwrap(), body[body.len() - 5..]);
    let mut kept = Kept {
        bytes: body[..1 << 20].to_vec(),
        ..Kept::default()
    };
    let done = client().payload(&url, 1 << 20, facts.clone(), &mut kept);
    assert_eq!((done.unwrap(), &kept.bytes), (facts.clone(), &*body));
    assert_eq!(kept.begins, [1 << 20]);
    // one that was written since is read from its beginning
    let stale = Facts {
        last_modified: Some("@1".into()),
        ..facts
    };
    assert!(client().payload(&url, 5, stale, &mut kept).is_ok());
    assert_eq!((kept.begins, &kept.bytes), (vec![1 << 20, 0], &*body));
}

#[test]
fn an_empty_file_and_one_that_is_not_there_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    // one client: what fails leaves nothing behind
    let mut one = client();
    for _ in 0..2 {
        let error = one.document(&local(&path), 10).unwrap_err();
        assert!(error.is_missing(), "{error}");
    }
    std::fs::write(&path, "").unwrap();
    assert_eq!(one.document(&local(&path), 10).unwrap(), b"");
    let mut kept = Kept::default();
    let facts = client().payload(&local(&path), 0, Facts::default(), &mut kept);
    assert_eq!((facts.unwrap().length, kept.begins), (Some(0), vec![0]));
    let server = Server::with_files(&[("p", b"")]);
    let (kept, done) = payload(&server, &mut client());
    assert_eq!((done.unwrap().length, kept.begins), (Some(0), vec![0]));
}

#[test]
fn a_payload_over_the_limit_is_refused_before_or_while_it_comes() {
    let body = content(1000);
    for told in [true, false] {
        let served = Arc::clone(&body);
        let server = Server::new(move |_| match told {
            true => Answer::of(&served),
            false => Answer::of(&served).without_length(),
        });
        let policy = Policy {
            limit: 999,
            ..hasty()
        };
        let (kept, done) = payload(&server, &mut Client::new(policy, Cancel::default()));
        assert!(matches!(done, Err(Error::TooLarge(_, 999))), "{done:?}");
        assert!(kept.bytes.is_empty() && server.seen().len() == 1);
    }
}

//! An HTTP server of the tests' own, on a free port of 127.0.0.1, with all that a bad one does.
//!
//! It stops, with every connection, when it is dropped. The unit tests of the library have it too.

#![allow(dead_code)] // not every test needs every fault

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it was sent, with its percent signs.
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests for this path came before.
    pub(crate) before: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first and the last byte that are asked for.
    fn range(&self, length: usize) -> Option<(usize, usize)> {
        let (from, to) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let end = length.saturating_sub(1);
        let to = to.parse().unwrap_or(end).min(end);
        Some((from.parse().ok()?, to))
    }
}

/// How the bytes of an answer leave.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Full,
    /// So many at a time, with a wait after each.
    Slow(usize, Duration),
    /// The connection is closed after so many.
    Cut(usize),
    /// Nothing more comes after so many.
    Stall(usize),
}

/// What the server says.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
    ranges: bool,
    /// Added to what Content-Range says.
    shift: usize,
    length: Option<u64>,
    /// The end of the connection is the end of the bytes.
    untold: bool,
    pace: Pace,
}

impl Answer {
    /// 200, or 206 for a range that fits to what `If-Range` names.
    pub(crate) fn of(body: &Arc<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            headers: Vec::new(),
            body: Arc::clone(body),
            ranges: true,
            shift: 0,
            length: None,
            untold: false,
            pace: Pace::Full,
        }
    }

    pub(crate) fn status(status: u16) -> Answer {
        let mut answer = Answer::of(&Arc::new(b"an error page".to_vec()));
        answer.status = status;
        answer
    }

    pub(crate) fn redirect(status: u16, to: &str) -> Answer {
        Answer::status(status).header("Location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.body)
    }

    pub(crate) fn etag(self, etag: &str) -> Answer {
        self.header("ETag", etag)
    }

    pub(crate) fn without_ranges(mut self) -> Answer {
        self.ranges = false;
        self
    }

    /// Says that another part comes than does.
    pub(crate) fn with_wrong_range(mut self) -> Answer {
        self.shift = 7;
        self
    }

    pub(crate) fn with_length(mut self, length: u64) -> Answer {
        self.length = Some(length);
        self
    }

    pub(crate) fn without_length(mut self) -> Answer {
        self.untold = true;
        self
    }

    pub(crate) fn slow(mut self, bytes: usize, wait: Duration) -> Answer {
        self.pace = Pace::Slow(bytes, wait);
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Answer {
        self.pace = Pace::Cut(bytes);
        self
    }

    pub(crate) fn stall_after(mut self, bytes: usize) -> Answer {
        self.pace = Pace::Stall(bytes);
        self
    }

    fn is_range_wanted(&self, request: &Request) -> bool {
        let validators = ["ETag", "Last-Modified"];
        let mut ours = self
            .headers
            .iter()
            .filter(|(name, _)| validators.contains(&name.as_str()));
        let same = |if_range: &str| ours.any(|(_, value)| value == if_range);
        self.ranges && self.status == 200 && request.header("if-range").is_none_or(same)
    }

    /// Returns whether the connection may go on.
    fn send(
        &self,
        request: &Request,
        to: &mut TcpStream,
        stop: &AtomicBool,
    ) -> std::io::Result<bool> {
        let whole = self.body.len();
        let (mut status, mut body) = (self.status, &self.body[..]);
        let mut head = String::new();
        if let Some((from, last)) = request
            .range(whole)
            .filter(|_| self.is_range_wanted(request))
        {
            if from > last {
                status = 416;
                body = &[];
                head += &format!("Content-Range: bytes */{whole}\r\n");
            } else {
                status = 206;
                body = &self.body[from..=last];
                let (from, last) = (from + self.shift, last + self.shift);
                head += &format!(
                    "Content-Range: bytes {from}-{last}/{}\r\n",
                    whole + self.shift
                );
            }
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.untold {
            let length = self.length.unwrap_or(body.len() as u64);
            head += &format!("Content-Length: {length}\r\n");
        }
        write!(to, "HTTP/1.1 {status} as the test wants\r\n{head}\r\n")?;
        if request.method == "HEAD" {
            return Ok(true);
        }
        match self.pace {
            Pace::Full => {
                to.write_all(body)?;
                return Ok(self.length.is_none() && !self.untold);
            }
            Pace::Slow(bytes, wait) => {
                for piece in body.chunks(bytes) {
                    to.write_all(piece)?;
                    pause(wait, stop);
                }
                return Ok(true);
            }
            Pace::Cut(bytes) => to.write_all(&body[..bytes.min(body.len())])?,
            Pace::Stall(bytes) => {
                to.write_all(&body[..bytes.min(body.len())])?;
                pause(Duration::from_secs(600), stop);
            }
        }
        Ok(false)
    }
}

fn pause(time: Duration, stop: &AtomicBool) {
    let begun = Instant::now();
    while begun.elapsed() < time && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5).min(time));
    }
}

type Answers = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// One that answers each request as `answers` says.
    pub(crate) fn new(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let answers: Arc<Answers> = Arc::new(answers);
        let shared = (Arc::clone(&seen), Arc::clone(&stop));
        let accepting = thread::spawn(move || {
            let (seen, stop) = shared;
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let (answers, seen, stop) =
                    (Arc::clone(&answers), Arc::clone(&seen), Arc::clone(&stop));
                // ends with the connection; a client that went away is no failure of the server
                thread::spawn(move || serve(connection, &*answers, &seen, &stop).unwrap_or(()));
            }
        });
        Server {
            address,
            seen,
            stop,
            accepting: Some(accepting),
        }
    }

    /// One that has these files, each with ranges and an ETag of its content's length and sum.
    pub(crate) fn with_files(files: &[(&str, &[u8])]) -> Server {
        let owned = |(name, bytes): &(&str, &[u8])| (format!("/{name}"), Arc::new(bytes.to_vec()));
        let files: BTreeMap<_, _> = files.iter().map(owned).collect();
        Server::new(move |request| match files.get(&request.path) {
            Some(body) => {
                let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
                Answer::of(body).etag(&format!("\"{}-{sum}\"", body.len()))
            }
            None => Answer::status(404),
        })
    }

    /// Its address, with a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests until now.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics with it").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // wakes what waits for a connection
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap_or(());
        }
    }
}

fn serve(
    connection: TcpStream,
    answers: &Answers,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut to = connection.try_clone()?;
    let mut from = BufReader::new(connection);
    while let Some(mut request) = read(&mut from)? {
        let answer = {
            let mut seen = seen.lock().expect("no test panics with it");
            request.before = seen.iter().filter(|r| r.path == request.path).count();
            seen.push(request.clone());
            drop(seen);
            answers(&request)
        };
        if !answer.send(&request, &mut to, stop)? {
            break;
        }
    }
    to.shutdown(std::net::Shutdown::Both)
}

/// The next request; `None` when the client has gone.
fn read(from: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: BTreeMap::new(),
        before: 0,
    };
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(Some(request));
        }
        if let Some((name, value)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            request.headers.insert(name, value.trim().to_owned());
        }
    }
}

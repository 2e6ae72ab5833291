//! The calls of libcurl that are needed (libcurl-easy(3)), behind types.
//!
//! The bindings are used and not the crate `curl` above them: that one sets up libcurl from a constructor, so every program
//! that shares this library would load libcurl and run it before `main`.

#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Once;

use curl_sys as sys;

/// Not in the bindings: `CURLOPT_XFERINFOFUNCTION` of curl.h.
const XFERINFOFUNCTION: sys::CURLoption = 20_000 + 219;

/// An option with a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    BufferSize,
    ConnectTimeoutMs,
    FileTime,
    LowSpeedLimit,
    LowSpeedTime,
    NoBody,
}

/// An option with a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Proxy,
    Range,
    Url,
    UserAgent,
}

/// A refusal of libcurl.
#[derive(Debug)]
pub(super) struct CurlError {
    code: sys::CURLcode,
    /// More than the code says; may hold the address.
    detail: String,
}

impl CurlError {
    fn of(code: sys::CURLcode) -> CurlError {
        CurlError {
            code,
            detail: String::new(),
        }
    }

    /// What the code means.
    pub(super) fn meaning(&self) -> String {
        // SAFETY: the result is a static text for every code, also an unknown one (curl_easy_strerror(3))
        let text = unsafe { CStr::from_ptr(sys::curl_easy_strerror(self.code)) };
        text.to_string_lossy().into_owned()
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Who takes the bytes took less than there were.
    pub(super) fn is_not_taken(&self) -> bool {
        self.code == sys::CURLE_WRITE_ERROR
    }

    pub(super) fn is_no_file(&self) -> bool {
        self.code == sys::CURLE_FILE_COULDNT_READ_FILE
    }

    pub(super) fn is_no_address(&self) -> bool {
        [sys::CURLE_URL_MALFORMAT, sys::CURLE_UNSUPPORTED_PROTOCOL].contains(&self.code)
    }
}

/// Who is called during a transfer.
pub(super) trait Events {
    /// A line of the headers.
    fn header(&mut self, line: &[u8]);
    /// Returns how many of the bytes were taken; fewer than there are end the transfer.
    fn bytes(&mut self, bytes: &[u8]) -> usize;
    /// Called at least once a second; `false` ends the transfer.
    fn goes_on(&mut self) -> bool;
}

/// A handle, which keeps its connections.
pub(super) struct Easy {
    handle: NonNull<sys::CURL>,
    headers: *mut sys::curl_slist,
}

// SAFETY: a handle may be used by any thread, by one at a time (libcurl-thread(3)), and all calls but those that only read
// take it mutably.
unsafe impl Send for Easy {}

impl Easy {
    /// `None` when libcurl cannot be set up.
    pub(super) fn new() -> Option<Easy> {
        static INIT: Once = Once::new();
        INIT.call_once(|| {
            // SAFETY: once and, as `Once` holds back others, by one thread. Its result is seen in that of curl_easy_init.
            unsafe { sys::curl_global_init(sys::CURL_GLOBAL_DEFAULT) };
        });
        // SAFETY: libcurl is set up
        let handle = NonNull::new(unsafe { sys::curl_easy_init() })?;
        Some(Easy {
            handle,
            headers: ptr::null_mut(),
        })
    }

    /// Forgets all options, and keeps connections.
    pub(super) fn reset(&mut self) {
        // SAFETY: the handle is alive, and no transfer runs, as that would borrow it
        unsafe { sys::curl_easy_reset(self.handle.as_ptr()) };
        self.free_headers();
        // SAFETY: the option takes a long. Without it a slow name server would make libcurl use SIGALRM.
        unsafe { sys::curl_easy_setopt(self.handle.as_ptr(), sys::CURLOPT_NOSIGNAL, 1 as c_long) };
    }

    pub(super) fn number(&mut self, option: Number, value: c_long) -> Result<(), CurlError> {
        let option = match option {
            Number::BufferSize => sys::CURLOPT_BUFFERSIZE,
            Number::ConnectTimeoutMs => sys::CURLOPT_CONNECTTIMEOUT_MS,
            Number::FileTime => sys::CURLOPT_FILETIME,
            Number::LowSpeedLimit => sys::CURLOPT_LOW_SPEED_LIMIT,
            Number::LowSpeedTime => sys::CURLOPT_LOW_SPEED_TIME,
            Number::NoBody => sys::CURLOPT_NOBODY,
        };
        // SAFETY: each of these options takes a long
        done(unsafe { sys::curl_easy_setopt(self.handle.as_ptr(), option, value) })
    }

    pub(super) fn text(&mut self, option: Text, value: &str) -> Result<(), CurlError> {
        let option = match option {
            Text::Proxy => sys::CURLOPT_PROXY,
            Text::Range => sys::CURLOPT_RANGE,
            Text::Url => sys::CURLOPT_URL,
            Text::UserAgent => sys::CURLOPT_USERAGENT,
        };
        let value = CString::new(value).map_err(|_| CurlError::of(sys::CURLE_URL_MALFORMAT))?;
        // SAFETY: each of these options takes a text that ends with NUL, and copies it
        done(unsafe { sys::curl_easy_setopt(self.handle.as_ptr(), option, value.as_ptr()) })
    }

    /// Adds a line to the headers of the request.
    pub(super) fn header(&mut self, line: &str) -> Result<(), CurlError> {
        let line = CString::new(line).map_err(|_| CurlError::of(sys::CURLE_URL_MALFORMAT))?;
        // SAFETY: the list is ours, or null for a new one; the line is copied
        let longer = unsafe { sys::curl_slist_append(self.headers, line.as_ptr()) };
        if longer.is_null() {
            return Err(CurlError::of(sys::CURLE_OUT_OF_MEMORY));
        }
        self.headers = longer;
        let handle = self.handle.as_ptr();
        // SAFETY: the option takes a list, which lives until the options are forgotten or the handle ends
        done(unsafe { sys::curl_easy_setopt(handle, sys::CURLOPT_HTTPHEADER, self.headers) })
    }

    /// Does the transfer. What panics in `events` does so here, after libcurl has ended it.
    pub(super) fn perform(&mut self, events: &mut dyn Events) -> Result<(), CurlError> {
        let mut calls = Calls {
            events,
            panicked: None,
        };
        let data = ptr::from_mut(&mut calls).cast::<c_void>();
        let mut error = [0 as c_char; sys::CURL_ERROR_SIZE];
        let handle = self.handle.as_ptr();
        // SAFETY: each option gets the type that curl_easy_setopt(3) says for it: functions of the types of its callbacks, a
        // pointer for them, a buffer of CURL_ERROR_SIZE bytes, a long. `calls` and `error` live until after the transfer, and are
        // taken from the handle then, so that no later call sees them.
        let code = unsafe {
            sys::curl_easy_setopt(handle, sys::CURLOPT_WRITEFUNCTION, on_bytes as Taker);
            sys::curl_easy_setopt(handle, sys::CURLOPT_WRITEDATA, data);
            sys::curl_easy_setopt(handle, sys::CURLOPT_HEADERFUNCTION, on_header as Taker);
            sys::curl_easy_setopt(handle, sys::CURLOPT_HEADERDATA, data);
            sys::curl_easy_setopt(handle, XFERINFOFUNCTION, on_progress as Progress);
            sys::curl_easy_setopt(handle, sys::CURLOPT_PROGRESSDATA, data);
            sys::curl_easy_setopt(handle, sys::CURLOPT_NOPROGRESS, 0 as c_long);
            sys::curl_easy_setopt(handle, sys::CURLOPT_ERRORBUFFER, error.as_mut_ptr());
            let code = sys::curl_easy_perform(handle);
            let nothing = ptr::null_mut::<c_void>();
            for option in [
                sys::CURLOPT_WRITEDATA,
                sys::CURLOPT_HEADERDATA,
                sys::CURLOPT_PROGRESSDATA,
                sys::CURLOPT_ERRORBUFFER,
            ] {
                sys::curl_easy_setopt(handle, option, nothing);
            }
            sys::curl_easy_setopt(handle, sys::CURLOPT_NOPROGRESS, 1 as c_long);
            code
        };
        if let Some(panicked) = calls.panicked {
            resume_unwind(panicked);
        }
        let bytes: Vec<u8> = error
            .iter()
            .map(|c| c.to_ne_bytes()[0])
            .take_while(|c| *c != 0)
            .collect();
        done(code).map_err(|e| CurlError {
            detail: String::from_utf8_lossy(&bytes).into_owned(),
            ..e
        })
    }

    /// Where the answer to the last request leads, as a whole address.
    pub(super) fn redirect(&self) -> Option<String> {
        let mut text: *const c_char = ptr::null();
        // SAFETY: this information is a pointer to a text or null
        let code = unsafe {
            sys::curl_easy_getinfo(
                self.handle.as_ptr(),
                sys::CURLINFO_REDIRECT_URL,
                &raw mut text,
            )
        };
        if code != sys::CURLE_OK || text.is_null() {
            return None;
        }
        // SAFETY: it ends with NUL, and lives until the next call with the handle
        let text = unsafe { CStr::from_ptr(text) };
        Some(text.to_string_lossy().into_owned())
    }

    /// Bytes of what was asked for, of a local file too.
    pub(super) fn length(&self) -> Option<u64> {
        let mut length = 0_f64;
        // SAFETY: this information is a double
        let code = unsafe {
            let info = sys::CURLINFO_CONTENT_LENGTH_DOWNLOAD;
            sys::curl_easy_getinfo(self.handle.as_ptr(), info, &raw mut length)
        };
        // exact below 2^53
        (code == sys::CURLE_OK && length >= 0.0).then_some(length as u64)
    }

    /// Its time in seconds since 1970.
    pub(super) fn time(&self) -> Option<i64> {
        let mut time: c_long = -1;
        // SAFETY: this information is a long
        let code = unsafe {
            sys::curl_easy_getinfo(self.handle.as_ptr(), sys::CURLINFO_FILETIME, &raw mut time)
        };
        (code == sys::CURLE_OK && time != -1).then_some(time)
    }

    fn free_headers(&mut self) {
        // SAFETY: the list is ours or null, and no handle has it any more: it was reset, or is gone
        unsafe { sys::curl_slist_free_all(self.headers) };
        self.headers = ptr::null_mut();
    }
}

impl Drop for Easy {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and never used after this
        unsafe { sys::curl_easy_cleanup(self.handle.as_ptr()) };
        self.free_headers();
    }
}

fn done(code: sys::CURLcode) -> Result<(), CurlError> {
    match code {
        sys::CURLE_OK => Ok(()),
        code => Err(CurlError::of(code)),
    }
}

/// What the callbacks of a transfer get.
struct Calls<'a> {
    events: &'a mut dyn Events,
    panicked: Option<Box<dyn Any + Send>>,
}

impl Calls<'_> {
    /// Unwinding must not go through libcurl.
    fn call<T>(&mut self, what: impl FnOnce(&mut dyn Events) -> T) -> Option<T> {
        if self.panicked.is_some() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| what(self.events))) {
            Ok(value) => Some(value),
            Err(panicked) => {
                self.panicked = Some(panicked);
                None
            }
        }
    }
}

type Taker = extern "C" fn(*mut c_char, usize, usize, *mut c_void) -> usize;
type Progress = extern "C" fn(*mut c_void, i64, i64, i64, i64) -> c_int;

extern "C" fn on_bytes(bytes: *mut c_char, size: usize, count: usize, data: *mut c_void) -> usize {
    take(bytes, size * count, data, |events, bytes| {
        events.bytes(bytes)
    })
}

extern "C" fn on_header(bytes: *mut c_char, size: usize, count: usize, data: *mut c_void) -> usize {
    take(bytes, size * count, data, |events, bytes| {
        events.header(bytes);
        bytes.len()
    })
}

fn take(
    bytes: *mut c_char,
    length: usize,
    data: *mut c_void,
    to: impl FnOnce(&mut dyn Events, &[u8]) -> usize,
) -> usize {
    // SAFETY: libcurl gives as many bytes as it says, and the pointer that `perform` gave it to the one `Calls`, which is used by
    // no one else during the transfer
    let (bytes, calls) = unsafe {
        let bytes: &[u8] = match length {
            0 => &[],
            length => slice::from_raw_parts(bytes.cast::<u8>(), length),
        };
        (bytes, &mut *data.cast::<Calls<'_>>())
    };
    // another number than there are: the transfer ends
    let refused = usize::from(length == 0);
    calls.call(|events| to(events, bytes)).unwrap_or(refused)
}

extern "C" fn on_progress(data: *mut c_void, _: i64, _: i64, _: i64, _: i64) -> c_int {
    // SAFETY: as in `take`
    let calls = unsafe { &mut *data.cast::<Calls<'_>>() };
    c_int::from(!calls.call(|events| events.goes_on()).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Events for Panics {
        fn header(&mut self, _: &[u8]) {}
        fn bytes(&mut self, _: &[u8]) -> usize {
            panic!("of the one who takes")
        }
        fn goes_on(&mut self) -> bool {
            true
        }
    }

    #[test]
    fn what_panics_during_a_transfer_panics_where_it_was_begun() {
        let mut easy = Easy::new().unwrap();
        easy.reset();
        let here = format!("file://{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        easy.text(Text::Url, &here).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| easy.perform(&mut Panics).is_ok()));
        let text = panicked.unwrap_err();
        assert_eq!(text.downcast_ref(), Some(&"of the one who takes"));
    }

    #[test]
    fn a_text_with_nul_is_refused() {
        let mut easy = Easy::new().unwrap();
        assert!(easy.text(Text::Url, "file:///a\0b").is_err());
        assert!(easy.header("A: b\0c").is_err());
    }
}

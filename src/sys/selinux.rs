//! Whether SELinux is at work, and which label a new object is to get; labels themselves are extended attributes
//! ([`super::xattr`]).
//!
//! What the policy says of a path only libselinux knows. It is loaded when it is needed, so that the programs also start, and
//! do all else, where it is missing or broken.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::time::Duration;

use libloading::Library;

use super::cmd::Argv;
use super::root::{self, CREATE_LABEL, Root, SELINUX};
use super::tool::Tool;

/// The attribute that holds a file's label.
pub const LABEL: &CStr = c"security.selinux";

const LIBRARY: &str = "libselinux.so.1";

/// Whether the kernel has a policy loaded, as selinux_getenforce(3) finds out.
#[must_use]
pub fn is_on() -> bool {
    Path::new(SELINUX).exists()
}

/// Gives new directories the labels that the policy of the running system has for their paths.
#[derive(Debug)]
pub enum Labels {
    /// No policy is loaded, or it is not that of the root that is worked on.
    None,
    /// Asks libselinux, before they are made.
    Policy(Policy),
    /// Has restorecon(8) do it, after they are made.
    Later,
}

/// What is known of the label of the next directory.
#[derive(Debug)]
#[must_use]
pub enum Labelled {
    /// There is nothing to be done: the kernel decides.
    Kernel,
    /// All that this thread makes gets its label, as long as this is kept.
    Set(Creating),
    /// [`Labels::restore`] has to be called once it is made.
    Later,
}

impl Labels {
    /// Those of `root`: another system than the running one has its own policy, and is labelled by it.
    #[must_use]
    pub fn of(root: &Root) -> Labels {
        if !root.is_live() || !is_on() {
            return Labels::None;
        }
        match Policy::load(None) {
            Ok(policy) => Labels::Policy(policy),
            Err(e) => {
                tracing::info!("labels of new directories are left to restorecon: {e}");
                Labels::Later
            }
        }
    }

    /// Prepares the calling thread for making one directory, `path` below the root, with its label.
    pub fn of_next(&self, path: &Path) -> Labelled {
        let policy = match self {
            Labels::None => return Labelled::Kernel,
            Labels::Later => return Labelled::Later,
            Labels::Policy(policy) => policy,
        };
        match policy
            .directory(&root::inside(path))
            .and_then(|label| label.map(Creating::begin).transpose())
        {
            Ok(None) => {
                tracing::info!("the policy has no label for {}", path.display());
                Labelled::Kernel
            }
            Ok(Some(creating)) => Labelled::Set(creating),
            Err(e) => {
                tracing::warn!("the label of {} is left to restorecon: {e}", path.display());
                Labelled::Later
            }
        }
    }

    /// Has restorecon(8) give these directories below the root their labels, those that are there. Where it is missing or fails
    /// that is noted in the log: the next relabelling does it. It takes paths: where somebody puts a link in the place of one
    /// meanwhile, what that leads to gets the label that the policy has for it anyway.
    pub fn restore(&self, paths: &[PathBuf]) {
        const LIMIT: Duration = Duration::from_secs(60);
        const AT_ONCE: usize = 100;
        for some in paths.chunks(AT_ONCE) {
            let inside = some.iter().map(|p| root::inside(p).into_os_string());
            let words = ["restorecon", "-i", "--"].map(Into::into);
            let argv = Argv::new(words.into_iter().chain(inside));
            match Tool::new(argv, LIMIT).run() {
                Ok(done) if done.code == 0 => {}
                Ok(done) => tracing::warn!("restorecon: {}", done.last_words()),
                Err(e) => tracing::warn!("{e}"),
            }
        }
    }
}

/// New objects of the calling thread get a label, until this is dropped (proc_pid_attr(5), fscreate).
#[derive(Debug)]
pub struct Creating(PhantomData<*const ()>); // of this thread only

impl Creating {
    fn begin(label: CString) -> io::Result<Creating> {
        fs::write(CREATE_LABEL, label.as_bytes_with_nul())?;
        Ok(Creating(PhantomData))
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        // an empty line takes it back; writing nothing would not be a call at all
        if let Err(e) = fs::write(CREATE_LABEL, "\n") {
            tracing::warn!("new files keep getting the label of a directory: {e}");
        }
    }
}

type Open = unsafe extern "C" fn(c_uint, *const SelinuxOption, c_uint) -> *mut c_void;
type Lookup = unsafe extern "C" fn(*mut c_void, *mut *mut c_char, *const c_char, c_int) -> c_int;
type Close = unsafe extern "C" fn(*mut c_void);
type Free = unsafe extern "C" fn(*mut c_char);

/// `struct selinux_opt` of selabel_open(3).
#[repr(C)]
struct SelinuxOption {
    kind: c_int,
    value: *const c_char,
}

/// `SELABEL_CTX_FILE`: labels of files.
const OF_FILES: c_uint = 0;
/// `SELABEL_OPT_PATH`: another file of them than that of the policy.
const FROM_FILE: c_int = 3;

/// The part of a policy that says which label belongs to which path (selabel_lookup(3)).
pub struct Policy {
    handle: NonNull<c_void>,
    lookup: Lookup,
    close: Close,
    free: Free,
    /// Last, so that it is unloaded when nothing of it is used any more.
    _library: Library,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").finish_non_exhaustive()
    }
}

impl Policy {
    /// Loads it from libselinux's usual place, or from a file.
    ///
    /// # Errors
    /// When there is no libselinux, or no such file.
    fn load(file: Option<&CStr>) -> io::Result<Policy> {
        // SAFETY: libselinux's initializers only read the system's configuration; it may be loaded at any time.
        let library = unsafe { Library::new(LIBRARY) }.map_err(io::Error::other)?;
        // SAFETY: the types are those of selabel_open(3), selabel_lookup(3) and freecon(3), stable in libselinux.so.1; the
        // pointers are kept beside the library only, which is unloaded last.
        let (open, lookup, close, free) = unsafe {
            (
                *library
                    .get::<Open>(b"selabel_open\0")
                    .map_err(io::Error::other)?,
                *library
                    .get::<Lookup>(b"selabel_lookup_raw\0")
                    .map_err(io::Error::other)?,
                *library
                    .get::<Close>(b"selabel_close\0")
                    .map_err(io::Error::other)?,
                *library
                    .get::<Free>(b"freecon\0")
                    .map_err(io::Error::other)?,
            )
        };
        let option = SelinuxOption {
            kind: FROM_FILE,
            value: file.map_or(ptr::null(), CStr::as_ptr),
        };
        let options = c_uint::from(file.is_some());
        // SAFETY: as many options as are told, valid for the duration of the call.
        let handle = unsafe { open(OF_FILES, &raw const option, options) };
        let handle = NonNull::new(handle).ok_or_else(io::Error::last_os_error)?;
        Ok(Policy {
            handle,
            lookup,
            close,
            free,
            _library: library,
        })
    }

    /// The label of a directory with this absolute path; `None` when the policy gives it none.
    ///
    /// # Errors
    /// The error of selabel_lookup(3).
    fn directory(&self, path: &Path) -> io::Result<Option<CString>> {
        const DIRECTORY: c_int = 0o040_000;
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut label = ptr::null_mut();
        // SAFETY: the handle is open until drop, the path ends in NUL, the out pointer is valid for the call.
        let code = unsafe {
            (self.lookup)(
                self.handle.as_ptr(),
                &raw mut label,
                path.as_ptr(),
                DIRECTORY,
            )
        };
        if code != 0 || label.is_null() {
            return match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::NotFound => Ok(None),
                e => Err(e),
            };
        }
        // SAFETY: a string of the library that ends in NUL and is ours until it is freed.
        let copy = unsafe { CStr::from_ptr(label) }.to_owned();
        // SAFETY: it came from the library, was copied, and is freed once.
        unsafe { (self.free)(label) };
        Ok(Some(copy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this library, which is still loaded, and is closed once.
        unsafe { (self.close)(self.handle.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A policy with labels of its own.
    fn policy() -> Policy {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file_contexts");
        let text = "/srv(/.*)? system_u:object_r:var_t:s0\n/srv/www(/.*)? -d system_u:object_r:httpd_t:s0\n\
                    /srv/none <<none>>\n";
        fs::write(&file, text).unwrap();
        let file = CString::new(file.as_os_str().as_bytes()).unwrap();
        Policy::load(Some(&file)).unwrap()
    }

    /// The lookup is that of libselinux; that the kernel gives the label to what is made can be seen only where it has a
    /// policy loaded.
    #[test]
    fn the_label_of_a_path_is_what_the_policy_says() {
        let policy = policy();
        let label = |path: &str| policy.directory(Path::new(path)).unwrap();
        assert_eq!(
            label("/srv/a").unwrap().as_c_str(),
            c"system_u:object_r:var_t:s0"
        );
        assert_eq!(
            label("/srv/www/a").unwrap().as_c_str(),
            c"system_u:object_r:httpd_t:s0"
        );
        assert_eq!(label("/srv/none"), None);
        assert_eq!(label("/opt"), None);
        assert!(Policy::load(Some(c"no/such/file")).is_err());
    }

    /// As a kernel without a policy refuses every label.
    #[test]
    fn a_label_that_the_kernel_refuses_is_left_to_restorecon() {
        let labels = Labels::Policy(policy());
        let of = |path: &str| labels.of_next(Path::new(path));
        assert!(matches!(of("srv/none"), Labelled::Kernel));
        match of("srv/a") {
            Labelled::Set(_) if is_on() => {}
            Labelled::Later if !is_on() => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_system_that_does_not_run_is_labelled_by_its_own_policy() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert!(matches!(Labels::of(&root), Labels::None));
        assert!(matches!(
            Labels::None.of_next(Path::new("srv")),
            Labelled::Kernel
        ));
        assert!(matches!(
            Labels::Later.of_next(Path::new("srv")),
            Labelled::Later
        ));
    }
}

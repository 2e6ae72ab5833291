//! Whether SELinux is at work; labels themselves are extended attributes ([`super::xattr`]).

use std::ffi::CStr;
use std::path::Path;

use super::root::SELINUX;

/// The attribute that holds a file's label.
pub const LABEL: &CStr = c"security.selinux";

/// Whether the kernel has a policy loaded, as selinux_getenforce(3) finds out.
#[must_use]
pub fn is_on() -> bool {
    Path::new(SELINUX).exists()
}

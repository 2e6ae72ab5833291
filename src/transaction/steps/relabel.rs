//! SELinux labels of what lies hidden below /var of the snapshot, where no policy was at work.

use std::path::Path;

use super::tell;
use crate::sys::cmd::Argv;
use crate::sys::{out, root, selinux};
use crate::transaction::Open;

const VAR: &str = "var";
const RESTORECON: &str = "restorecon";

/// Labels it, when SELinux is on. Other file systems below it, live ones too, are left alone.
pub(super) fn follow(open: &Open<'_>) {
    let hidden = open.plan.hides(Path::new(VAR));
    if !hidden || !selinux::is_on() || !open.has(RESTORECON).unwrap_or(false) {
        return;
    }
    tell(
        "restorecon",
        "SELinux is on and the snapshot has a /var of its own",
    );
    let place = root::inside(Path::new(VAR)).into_os_string();
    let argv = [RESTORECON.into(), "-R".into(), "-x".into(), place];
    if let Err(e) = open.call(Argv::new(argv)) {
        // nobody sees these files once the system runs
        out::warn(format_args!("the hidden /var keeps wrong labels: {e:#}"));
    }
}

//! Two runs at once: they may both make directories, but only one that is alone removes what earlier ones left.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// How long another run may take to remove what earlier ones left. Whoever holds the lock longer is no run of ours, and
/// then it protects nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run's turn, which ends with it.
#[derive(Debug)]
pub(super) struct Turn {
    lock: Option<Flock<OwnedFd>>,
    is_alone: bool,
}

impl Turn {
    /// Takes a turn with a lock on `directory`. It does not fail: without a lock, it is not alone.
    pub(super) fn take(directory: OwnedFd) -> Turn {
        let directory = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                return Turn {
                    lock: Some(lock),
                    is_alone: true,
                };
            }
            Err((directory, _)) => directory,
        };
        Turn {
            lock: shared(directory),
            is_alone: false,
        }
    }

    /// Whether no other run is going on, nor begins before [`Turn::share`].
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Lets others begin.
    pub(super) fn share(&mut self) {
        self.is_alone = false;
        if let Some(lock) = &self.lock {
            // it is only given up further
            if let Err(e) = lock.relock(FlockArg::LockSharedNonblock) {
                tracing::debug!("the lock of this run cannot be shared: {e}");
            }
        }
    }
}

fn shared(mut directory: OwnedFd) -> Option<Flock<OwnedFd>> {
    let begun = Instant::now();
    loop {
        directory = match Flock::lock(directory, FlockArg::LockSharedNonblock) {
            Ok(lock) => return Some(lock),
            Err((directory, Errno::EWOULDBLOCK)) if begun.elapsed() < PATIENCE => directory,
            Err((_, e)) => {
                tracing::debug!("this run has no lock: {e}");
                return None;
            }
        };
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::beneath;

    #[test]
    fn only_the_first_of_two_runs_is_alone_and_both_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let open = || beneath::open_root(dir.path()).unwrap();
        let mut first = Turn::take(open());
        assert!(first.is_alone());
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| Turn::take(open()));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished(), "the first one is still removing");
            first.share();
            second.join().unwrap()
        });
        assert!(!second.is_alone() && second.lock.is_some());
        drop(first);
        assert!(!Turn::take(open()).is_alone());
        drop(second);
        assert!(Turn::take(open()).is_alone());
    }
}

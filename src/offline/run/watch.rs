//! Ending a package manager that gives no sign of life: nobody could, in a boot without a login.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sys::signal;

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    alive: Option<Sender<()>>,
    stalled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Asks this process to end, as a signal would, when `limit` passes without [`Watch::alive`].
    pub(super) fn new(limit: Duration) -> Watch {
        let (alive, heard) = mpsc::channel();
        let stalled = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&stalled);
        let thread = std::thread::spawn(move || {
            loop {
                match heard.recv_timeout(limit) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        tell.store(true, Ordering::SeqCst);
                        signal::interrupt();
                        return;
                    }
                }
            }
        });
        Watch {
            alive: Some(alive),
            stalled,
            thread: Some(thread),
        }
    }

    /// Something happened.
    pub(super) fn alive(&self) {
        if let Some(alive) = &self.alive {
            // the other end is gone once it has asked us to end
            alive.send(()).unwrap_or(());
        }
    }

    /// Whether it has asked this process to end.
    pub(super) fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or(());
        }
    }
}

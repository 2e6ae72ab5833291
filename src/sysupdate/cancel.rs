//! Asking work in several threads to end: by a signal, or because another part of it failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sys::signal;

/// Shared by all that has to end together. Whoever works looks at it at least once a second.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everybody who holds a copy of this to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails when work is to end.
    ///
    /// # Errors
    /// [`signal::Interrupted`] inside when a signal came; else the text says that other work failed.
    pub fn check(&self) -> io::Result<()> {
        signal::check().map_err(io::Error::other)?;
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up, because something else failed"));
        }
        Ok(())
    }

    /// Waits, but no longer than until work is to end.
    ///
    /// # Errors
    /// As [`Cancel::check`].
    pub fn sleep(&self, time: Duration) -> io::Result<()> {
        const LOOK: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        loop {
            self.check()?;
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

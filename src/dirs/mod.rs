//! The directories that packages own where no transaction can make them: /var, /srv, /opt of the running system.
//!
//! Owns which of the database's directories are wanted, making them without ever following a link, the stamp that saves
//! the next boot the work, and calling systemd-tmpfiles. Never removes what it has not made itself, and changes nothing
//! about what is there.

mod create;

pub use create::{Found, Maker, Outcome, Wanted};

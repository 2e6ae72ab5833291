//! Layer 3: what is done with snapshots that are there already.
//!
//! Owns going back, dropping a pending update, and which snapshots may go. What boots next is switched by the layers
//! below.

mod cleanup;
mod discard;
mod overlays;
mod retention;
mod rollback;
mod snapper;

pub use cleanup::{Cleaned, cleanup};
pub use discard::{Discarded, discard};
pub use overlays::unused_overlays;
pub use retention::{Deletable, NotUnderstood};
pub use rollback::{RolledBack, Target, last_good, rollback};
pub use snapper::{etc_of_created, etc_of_deleted};

//! Layer 3: what is done with snapshots that are there already.
//!
//! Owns going back and dropping a pending update. What boots next is switched by the layers below.

mod discard;
mod rollback;

pub use discard::{Discarded, discard};
pub use rollback::{RolledBack, Target, last_good, rollback};

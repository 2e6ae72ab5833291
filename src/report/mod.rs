//! Layer 3: what there is to see. Never takes the write lock, changes nothing and starts no program.

mod list;
mod outlook;
mod status;

pub use list::{Entry, List};
pub use outlook::{Clash, Edit, Outlook, unmerged};
pub use status::{Pending, Status};

/// Version of the JSON that `--json` prints; raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

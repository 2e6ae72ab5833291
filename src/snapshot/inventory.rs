//! What snapshots there are, and which of them is booted, current and default.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::search::{Subvolume, Uuid};
use super::{Info, SnapshotId, key};
use crate::sys::owner::{self, Owner};

/// What is known of the metadata of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// info.xml was read.
    Good(Info),
    /// There is none.
    Missing,
    /// There is one that cannot be understood; the text says why. Never deleted, never a base.
    Bad(String),
}

/// A directory below `.snapshots`, whole or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: SnapshotId,
    /// The subvolume; `None` when the directory has none.
    pub subvolume: Option<Subvolume>,
    /// The metadata.
    pub metadata: Metadata,
}

/// What a snapshot was made from: number and UUID, since numbers can come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRef {
    /// Number of the base.
    pub id: SnapshotId,
    /// UUID of its subvolume, as text.
    pub uuid: String,
}

impl fmt::Display for BaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.uuid)
    }
}

impl FromStr for BaseRef {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseRef, String> {
        let (id, uuid) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?} names no base"))?;
        Ok(BaseRef {
            id: id.parse()?,
            uuid: uuid.to_owned(),
        })
    }
}

impl Snapshot {
    /// The metadata, when it could be read.
    #[must_use]
    pub fn info(&self) -> Option<&Info> {
        match &self.metadata {
            Metadata::Good(info) => Some(info),
            Metadata::Missing | Metadata::Bad(_) => None,
        }
    }

    /// A value of its userdata.
    #[must_use]
    pub fn userdata(&self, key: &str) -> Option<&str> {
        self.info()?.userdata.get(key).map(String::as_str)
    }

    /// UUID of its subvolume.
    #[must_use]
    pub fn uuid(&self) -> Option<Uuid> {
        self.subvolume.as_ref().map(|s| s.uuid)
    }

    /// Whether a transaction that has not ended makes it.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.info().is_some_and(Info::in_progress)
    }

    /// The process that makes it, when it is one of ours; an open transaction between two calls has none.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.userdata(key::OWNER)?.parse().ok()
    }

    /// Whether it is an open transaction of ours that waits for its next call.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.info().is_some_and(Info::is_open)
    }

    /// Whether it is an open transaction that nobody has worked on since an earlier boot.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        let of = self.userdata(key::BOOT).filter(|_| self.is_open());
        of.is_some_and(|of| {
            let this = owner::boot_id();
            ![of, &this].contains(&"") && of != this
        })
    }

    /// What it was made from, when we made it.
    #[must_use]
    pub fn base(&self) -> Option<BaseRef> {
        self.userdata(key::BASE)?.parse().ok()
    }

    /// Whether it was ever seen running.
    #[must_use]
    pub fn was_booted(&self) -> bool {
        self.userdata(key::BOOTED).is_some()
    }

    /// Whether there is nothing but a number: snapper leaves an empty directory behind so that a number does
    /// not come twice.
    #[must_use]
    pub fn is_only_a_number(&self) -> bool {
        self.subvolume.is_none() && self.metadata == Metadata::Missing
    }

    /// Whether it was being changed in place, and nobody has said that all of the change is there.
    #[must_use]
    pub fn is_half_changed(&self) -> bool {
        self.userdata(key::IN_PLACE).is_some()
    }

    /// Whether it can be booted or built upon: it has a subvolume and metadata that can be understood, and
    /// nobody is making or changing it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.subvolume.is_some()
            && self.info().is_some()
            && !self.in_progress()
            && !self.is_half_changed()
    }
}

/// All snapshots at one moment.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// By number.
    pub snapshots: BTreeMap<SnapshotId, Snapshot>,
    /// The one the running system was booted from; `None` for a system that is mounted elsewhere.
    pub booted: Option<SnapshotId>,
    /// The one /usr comes from.
    pub current: Option<SnapshotId>,
    /// The default subvolume, when it is a snapshot.
    pub default: Option<SnapshotId>,
}

impl Inventory {
    /// The snapshot `id`.
    #[must_use]
    pub fn get(&self, id: SnapshotId) -> Option<&Snapshot> {
        self.snapshots.get(&id)
    }

    /// Whether it is noted that the snapshot which the running system was booted from boots.
    #[must_use]
    pub fn is_running_noted(&self) -> bool {
        let booted = self.booted.and_then(|id| self.get(id));
        booted.is_some_and(Snapshot::was_booted)
    }

    /// The default snapshot when it is not the current one and was never booted: an update that waits for the
    /// next boot.
    #[must_use]
    pub fn pending(&self) -> Option<&Snapshot> {
        let default = self.get(self.default?)?;
        (self.default != self.current && self.default != self.booted && !default.was_booted())
            .then_some(default)
    }

    /// The snapshots from `id` down to the one it descends from that is `ancestor`, without `ancestor`; `None`
    /// when it does not descend from it. Only a recorded base whose UUID still is the same counts.
    #[must_use]
    pub fn lineage(&self, id: SnapshotId, ancestor: SnapshotId) -> Option<Vec<SnapshotId>> {
        let mut chain = Vec::new();
        let mut at = id;
        while at != ancestor {
            chain.push(at);
            let base = self.get(at)?.base()?;
            let same = self.get(base.id)?.uuid()?.to_string() == base.uuid;
            // a base is older, so its number is lower: this also ends a loop in damaged metadata
            if !same || base.id >= at {
                return None;
            }
            at = base.id;
        }
        Some(chain)
    }
}

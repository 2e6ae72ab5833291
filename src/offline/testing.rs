//! What the unit tests of this module begin with.

use super::plan::{Base, Package, Plan, PlanId, SCHEMA};
use super::state::Strategy;
use crate::package::archive::Identity;

/// A plan that changes nothing.
pub(super) fn plan() -> Plan {
    Plan {
        schema: SCHEMA,
        id: PlanId("0".repeat(32)),
        strategy: Strategy::NewSnapshot,
        base: base(),
        command: Vec::new(),
        install: Vec::new(),
        remove: Vec::new(),
        metadata: Vec::new(),
        space: 0,
        created: "2026-01-31 13:00:00".into(),
    }
}

/// The base of [`plan`].
pub(super) fn base() -> Base {
    Base {
        subvolume: 256,
        uuid: "11111111-2222-3333-4444-555555555555".into(),
        rpmdb: "{}".into(),
        generation: Some(7),
    }
}

/// A package of a plan, without a file.
pub(super) fn package(identity: &Identity, from: Option<String>) -> Package {
    Package {
        name: identity.name.clone(),
        arch: identity.arch.clone(),
        evr: identity.evr.clone(),
        from,
        file: String::new(),
        size: 0,
        sha256: String::new(),
    }
}

//! systemd-sysupdate itself, of two versions, to be compared with: tests/fixture/peer-sysupdate.sh.

use std::path::Path;

use crate::fx::{Ran, command, fixture, require_root};

/// A version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Of Debian's trixie.
    V257,
    /// Of Debian's sid, or a later one.
    V262,
}

pub(crate) const PEERS: [Peer; 2] = [Peer::V257, Peer::V262];

impl Peer {
    /// As the fixture calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::V257 => "257",
            Peer::V262 => "262",
        }
    }

    /// Runs it with these arguments; it sees each directory of this host at the path behind it, and changes it there. After two
    /// minutes it is ended, with the exit code 124.
    pub(crate) fn run(self, binds: &[(&Path, &str)], args: &[&str]) -> Ran {
        require_root();
        let version = self.name();
        let bind = |(from, to): &(&Path, &str)| format!("{}:{to}", from.display());
        let binds: Vec<String> = binds.iter().map(bind).collect();
        let mut peer = command(fixture("peer-sysupdate.sh"));
        peer.arg(version)
            .args(args)
            .env("PEER_BIND", binds.join(" "));
        let what = format!("systemd-sysupdate {version} {}", args.join(" "));
        Ran::new(&what, peer.output().unwrap())
    }
}

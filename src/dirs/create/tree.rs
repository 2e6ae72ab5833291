//! A subtree that is missing: what is wanted of it, and what has to be there for that.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};

use super::{Outcome, Wanted};

/// A directory that is missing, with those that are missing below it.
#[derive(Debug)]
pub(super) struct Node {
    /// Its attributes, and its path below the root.
    pub(super) is: Wanted,
    /// Which of the wanted ones it is; `None` when it only has to be there for them.
    pub(super) number: Option<usize>,
    pub(super) below: Vec<Node>,
}

impl Node {
    /// What has to be made at `top` and below it for those of the wanted ones that are there, which are sorted by their paths.
    pub(super) fn plan<'w>(
        top: PathBuf,
        sorted: impl Iterator<Item = (usize, &'w Wanted)>,
    ) -> Node {
        let mut node = Node::implied(top);
        for (number, wanted) in sorted {
            match wanted.path.strip_prefix(&node.is.path) {
                Ok(rest) => {
                    let rest = rest.to_owned();
                    node.add(&rest, number, wanted);
                }
                Err(_) => break,
            }
        }
        node
    }

    /// Belongs to who runs this, which is root.
    fn implied(path: PathBuf) -> Node {
        Node {
            is: Wanted {
                path,
                mode: 0o755,
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
            },
            number: None,
            below: Vec::new(),
        }
    }

    fn add(&mut self, rest: &Path, number: usize, wanted: &Wanted) {
        let mut names = rest.iter();
        let Some(name) = names.next() else {
            // one that is wanted twice is found there the second time
            if self.number.is_none() {
                self.is = wanted.clone();
                self.number = Some(number);
            }
            return;
        };
        let path = self.is.path.join(name);
        // they are sorted: if it is there already, it was the last one
        let last = self.below.pop_if(|last| last.is.path == path);
        let mut child = last.unwrap_or_else(|| Node::implied(path));
        child.add(names.as_path(), number, wanted);
        self.below.push(child);
    }

    /// All that are wanted could not be made.
    pub(super) fn failed(&self, e: &io::Error, told: &mut Vec<(usize, Outcome)>) {
        self.each(&mut |node| {
            told.extend(node.number.map(|n| (n, Outcome::Failed(same(e)))));
        });
    }

    /// Somebody interfered with all of them.
    pub(super) fn raced(&self, told: &mut Vec<(usize, Outcome)>) {
        self.each(&mut |node| told.extend(node.number.map(|n| (n, Outcome::Raced))));
    }

    /// All were made; each that is not wanted stands with the first one below it that is.
    pub(super) fn made(&self, told: &mut Vec<(usize, Outcome)>) {
        let mut implied = Vec::new();
        self.each(&mut |node| match node.number {
            None => implied.push(node.is.path.clone()),
            Some(number) => {
                let implied = std::mem::take(&mut implied);
                told.push((number, Outcome::Made { implied }));
            }
        });
    }

    /// The node and all below it, each before what is below it.
    fn each<'n>(&'n self, visit: &mut impl FnMut(&'n Node)) {
        visit(self);
        for node in &self.below {
            node.each(visit);
        }
    }
}

/// An error once more, for another directory that it concerns.
fn same(e: &io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(e.kind(), e.to_string()),
    }
}

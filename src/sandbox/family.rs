//! The processes of a run that shares the numbers of processes with the system: everything that descends from its
//! first process, which takes in whoever loses its parent (PR_SET_CHILD_SUBREAPER).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::sys::root::PROC;

/// How long descendants may take to end after a signal. Shorter than the time after which the first process itself
/// is killed (`sys::signal`): what it leaves then would go on.
const GRACE: Duration = Duration::from_secs(3);

/// A descendant.
#[derive(Debug)]
struct Member {
    pid: i32,
    parent: i32,
    name: String,
}

/// Makes this process the one that orphaned descendants go to.
///
/// # Errors
/// The error of prctl(2).
pub(super) fn take_in_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The names of the descendants of this process that run.
pub(super) fn names() -> Vec<String> {
    members().into_iter().map(|member| member.name).collect()
}

/// Passes a signal on to all descendants. When one of them does not end by it, all are killed after a while.
pub(super) fn pass_on(signal: Signal) {
    send(&members(), signal);
    let killer = std::thread::Builder::new().spawn(|| {
        std::thread::sleep(GRACE);
        send(&members(), Signal::SIGKILL);
    });
    if killer.is_err() {
        send(&members(), Signal::SIGKILL);
    }
}

/// Kills all descendants. When this returns there is none left.
pub(super) fn end() {
    loop {
        send(&members(), Signal::SIGKILL);
        // each that ends hands its children over to us, so that the next round finds them
        if waitpid(None, None) == Err(Errno::ECHILD) {
            return;
        }
    }
}

/// One that is gone already needs no signal.
fn send(members: &[Member], signal: Signal) {
    for member in members {
        kill(Pid::from_raw(member.pid), signal).unwrap_or(());
    }
}

/// The running descendants of this process, by number.
fn members() -> Vec<Member> {
    let all: Vec<Member> = fs::read_dir(PROC)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(member)
        .collect();
    descendants(all, std::process::id().cast_signed())
}

fn member(pid: i32) -> Option<Member> {
    let stat = fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")).ok()?;
    parse(pid, &stat)
}

/// Name, state and parent from proc_pid_stat(5); one that has ended and only waits to be noticed is none.
fn parse(pid: i32, stat: &str) -> Option<Member> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.replace('\n', " ");
    let mut fields = after.split_ascii_whitespace();
    let is_gone = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    (!is_gone).then_some(Member { pid, parent, name })
}

/// Those of `all` that descend from `top`.
fn descendants(mut all: Vec<Member>, top: i32) -> Vec<Member> {
    let mut found: Vec<Member> = Vec::new();
    loop {
        let is_ours = |m: &Member| m.parent == top || found.iter().any(|f| f.pid == m.parent);
        let (ours, others): (Vec<Member>, _) = all.into_iter().partition(is_ours);
        if ours.is_empty() {
            return found;
        }
        found.extend(ours);
        all = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: i32, parent: i32) -> Member {
        Member {
            pid,
            parent,
            name: String::new(),
        }
    }

    #[test]
    fn only_what_descends_from_the_first_process_is_of_the_family() {
        let all = vec![
            of(1, 0),
            of(9, 7),
            of(7, 5),
            of(5, 1),
            of(6, 5),
            of(8, 1),
            of(4, 8),
        ];
        let pids: Vec<i32> = descendants(all, 5).iter().map(|m| m.pid).collect();
        assert_eq!(pids, [7, 6, 9]);
        assert!(descendants(vec![of(1, 0), of(2, 1)], 5).is_empty());
        // numbers can be used again while they are read: no loop of parents keeps this from ending
        assert!(descendants(vec![of(2, 3), of(3, 2)], 5).is_empty());
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_hide_the_parent() {
        let member = parse(7, "7 (a) b (c)) S 5 7 7 0").unwrap();
        assert_eq!((member.name.as_str(), member.parent), ("a) b (c)", 5));
        assert!(parse(7, "7 (a) Z 5 7").is_none() && parse(7, "").is_none());
    }
}

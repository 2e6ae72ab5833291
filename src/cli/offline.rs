//! `offline`: updates in a boot of their own.

mod prepare;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::args::{End, Offline};
use super::session::Session;
use crate::activate;
use crate::offline::arm::Wish;
use crate::offline::systemd::{self, Job};
use crate::offline::{self, Armed, Cancelled, EndAction, Situation, Status, View};
use crate::sys::lock::WriteLock;
use crate::sys::{Root, out};
use crate::transaction::{self, System, is_held};

/// Does what was asked for.
pub(super) fn offline(session: &Session, action: Offline) -> Result<ExitCode> {
    match action {
        Offline::Prepare { strategy, update } => prepare::prepare(session, strategy, update),
        Offline::Arm {
            end,
            allow_battery,
            reboot,
            soft_reboot,
        } => {
            let wish = Wish {
                end: end.into(),
                allow_battery,
                soft: soft_reboot,
            };
            arm(session, &wish, reboot || soft_reboot)
        }
        Offline::Cancel => cancel(session),
        Offline::Status { json, ack } => status(session, json, ack),
        Offline::Log => log(session),
        Offline::Run => run(session),
    }
}

impl From<End> for EndAction {
    fn from(end: End) -> EndAction {
        match end {
            End::Reboot => EndAction::Reboot,
            End::Poweroff => EndAction::Poweroff,
            End::SoftReboot => EndAction::SoftReboot,
        }
    }
}

fn arm(session: &Session, wish: &Wish, at_once: bool) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    transaction::not_inside_another()?;
    let lock = system.lock()?;
    let record = match offline::arm(&system, &lock, wish)? {
        Armed::Already(record) => {
            out::say(format_args!(
                "The update is armed already, since {} UTC; `offline cancel` calls it off.",
                record.armed.time
            ));
            record
        }
        Armed::Now(record) => {
            out::say(
                "The update is armed: the next restart carries it out. There is no login and no network meanwhile.",
            );
            out::say(
                "`offline cancel` calls it off; systemd.unit=multi-user.target on the kernel command line skips it.",
            );
            record
        }
    };
    drop(lock);
    out::say(format_args!("After it: {}.", record.end.word()));
    if at_once {
        let job = if wish.soft {
            Job::SoftReboot
        } else {
            Job::Reboot
        };
        let not_now = "the update is armed, but the system is not restarted now";
        transaction::before_reboot(&system.root, &system.config).context(not_now)?;
        systemd::queue(&job).context(not_now)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cancel(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    transaction::not_inside_another()?;
    let lock = system.lock()?;
    match offline::cancel(&system, &lock)? {
        Cancelled::Update => {
            out::say("The offline update is called off; the next restart is an ordinary one.")
        }
        Cancelled::Leftover => {
            out::say("A link that was left behind is removed; nothing was armed.")
        }
        Cancelled::Ended(state) => out::say(format_args!(
            "The offline update has ended already ({}); its result is acknowledged.",
            state.word()
        )),
        Cancelled::Nothing => out::say("No offline update is armed."),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(session: &Session, json: bool, ack: bool) -> Result<ExitCode> {
    let view = match ack {
        true => acknowledged(session)?,
        false => look(session)?,
    };
    let status = Status::new(&view);
    session.answer(&status, json)?;
    Ok(ExitCode::from(status.code()))
}

fn acknowledged(session: &Session) -> Result<View> {
    let system = session.system_to_change()?;
    let lock = system.lock()?;
    let mut view = View::of(&system)?;
    view.settle(&lock)?;
    if view.is_waiting() {
        bail!(
            "there is no result yet: the update has not ended; `offline status` shows where it stands"
        );
    }
    view.acknowledge(&lock)?;
    Ok(view)
}

/// What there is. Who may, and is not in the way of anybody who changes something, writes down what has become of it.
fn look(session: &Session) -> Result<View> {
    if !Uid::effective().is_root() && session.options.root.is_none() {
        return View::for_anybody(&Root::live());
    }
    let system = session.system()?;
    let mut view = View::of(&system)?;
    if view.standing.situation == Situation::Ended && view.standing.is_news {
        match system.lock() {
            Err(e) if is_held(&e) => {
                out::detail(format_args!("nothing is written down, since {e}"))
            }
            lock => view.settle(&lock?)?,
        }
    }
    Ok(view)
}

fn log(session: &Session) -> Result<ExitCode> {
    let view = look(session)?;
    let standing = &view.standing;
    let (record, outcome) = (standing.record.as_ref(), standing.outcome.as_ref());
    offline::log::show(view.directory.as_ref(), record, outcome)?;
    Ok(ExitCode::SUCCESS)
}

fn run(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    let next_root =
        |system: &System, lock: &WriteLock| activate::prepare_next_root(system, lock).map(drop);
    let status = offline::run::run(system, session.command(), &next_root);
    Ok(ExitCode::from(status))
}

//! Calling the package manager beside the running system.

use std::time::Duration;

use anyhow::Result;

use crate::package::xml::Parser;
use crate::package::{Action, Event, Failure, FailureKind, Report, Success};
use crate::sys::cmd::Argv;
use crate::sys::signal;
use crate::sys::tool::Tool;
use crate::transaction::understand;

/// How long a whole distribution may take over a slow line.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls the package manager for `action`, whose output is XML. `take` is told of each event as it comes.
///
/// # Errors
/// When it cannot be called or a signal asks us to end; a [`Failure`] when it fails, in its own words.
pub(in crate::offline) fn package_manager(
    action: Action,
    argv: &Argv,
    take: &mut (dyn FnMut(&Event) + Send),
) -> Result<(Report, Success)> {
    let (report, verdict) = understand(action, take, |events, stderr| {
        let mut parser = Parser::new();
        let tool = Tool::new(argv.clone(), LIMIT)
            .heeding_signals()
            .env("LC_ALL", "C.UTF-8");
        let done = tool.stream(&mut |piece| {
            parser.feed(piece, &mut *events);
            Ok(())
        });
        // what it says when it is asked to end is not the reason
        signal::check()?;
        let done = done?;
        parser.finish(events);
        String::from_utf8_lossy(&done.stderr)
            .lines()
            .for_each(stderr);
        Ok(done.code)
    })?;
    match verdict {
        Ok(success) => Ok((report, success)),
        Err(failure) => Err(explained(failure, &report).into()),
    }
}

/// A key is not imported here, whatever the configuration says.
fn explained(failure: Failure, report: &Report) -> Failure {
    match failure.kind {
        FailureKind::Signature if report.unknown_key.is_some() => Failure {
            hint: "If the key is right, import it (`rpm --import FILE`; on a read-only system \
                   `transactional-update run rpm --import - < FILE` and a reboot), then prepare the update again.",
            ..failure
        },
        _ => failure,
    }
}

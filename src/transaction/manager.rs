//! Calling the package manager so that its reports are understood.

use std::collections::VecDeque;
use std::io::BufRead;

use anyhow::Result;

use crate::package::{Action, Event, Report, Success, judge, xml};
use crate::sandbox::{Exit, Output};

/// How many lines of its standard error are kept for the message.
const TAIL: usize = 20;

/// Calls the package manager for `action` by `run`, which is to start it with XML as its output. `take` is told of each event
/// as it comes.
///
/// # Errors
/// When `run` fails; a [`Failure`](crate::package::Failure) when the package manager does, in its own words.
pub fn call_package_manager(
    action: Action,
    take: &mut (dyn FnMut(&Event) + Send),
    run: impl FnOnce(Output<'_>) -> Result<Exit>,
) -> Result<Success> {
    let mut report = Report::new();
    let mut tail = VecDeque::new();
    let mut stdout = |stream: &mut dyn BufRead| {
        // a stream that breaks off is no failure of its own: the exit status says what happened
        for event in xml::Reader::new(stream).map_while(Result::ok) {
            report.take(&event);
            take(&event);
        }
    };
    let mut stderr = |line: &str| {
        tracing::info!("stderr: {line}");
        tail.push_back(line.to_owned());
        if tail.len() > TAIL {
            tail.pop_front();
        }
    };
    let exit = run(Output::Read {
        stdout: &mut stdout,
        stderr: &mut stderr,
    })?;
    let tail = tail.into_iter().collect::<Vec<_>>().join("\n");
    Ok(judge(action, exit.code.into(), &report, &tail)?)
}

//! Calling the package manager so that its reports are understood.

use std::collections::VecDeque;
use std::io::BufRead;

use anyhow::Result;

use crate::package::{Action, Event, Failure, Report, Success, judge, xml};
use crate::sandbox::{Exit, Output};

/// How many lines of its standard error are kept for the message.
const TAIL: usize = 20;

/// Calls the package manager for `action` by `run`, which is to start it with XML as its output. `take` is told of each event
/// as it comes.
///
/// # Errors
/// When `run` fails; a [`Failure`] when the package manager does, in its own words.
pub fn call_package_manager(
    action: Action,
    take: &mut (dyn FnMut(&Event) + Send),
    run: impl FnOnce(Output<'_>) -> Result<Exit>,
) -> Result<Success> {
    let (_, verdict) = understand(action, take, |events, stderr| {
        let mut stdout = |stream: &mut dyn BufRead| {
            // a stream that breaks off is no failure of its own: the exit status says what happened
            let read = xml::Reader::new(stream).map_while(Result::ok);
            read.for_each(&mut *events);
        };
        let mut stderr = |line: &str| {
            tracing::info!("stderr: {line}");
            stderr(line);
        };
        let exit = run(Output::Read {
            stdout: &mut stdout,
            stderr: &mut stderr,
        })?;
        Ok(exit.code)
    })?;
    Ok(verdict?)
}

/// What the package manager reports and how it ended, from wherever it runs: `run` hands out its events and the lines of its
/// standard error, and returns its exit code. `take` is told of each event as it comes.
///
/// # Errors
/// When `run` fails.
pub fn understand(
    action: Action,
    take: &mut (dyn FnMut(&Event) + Send),
    run: impl FnOnce(&mut (dyn FnMut(Event) + Send), &mut (dyn FnMut(&str) + Send)) -> Result<u8>,
) -> Result<(Report, Result<Success, Failure>)> {
    let mut report = Report::new();
    let mut tail = VecDeque::new();
    let mut events = |event: Event| {
        report.take(&event);
        take(&event);
    };
    let mut stderr = |line: &str| {
        tail.push_back(line.to_owned());
        if tail.len() > TAIL {
            tail.pop_front();
        }
    };
    let code = run(&mut events, &mut stderr)?;
    let tail = tail.into_iter().collect::<Vec<_>>().join("\n");
    let verdict = judge(action, code.into(), &report, &tail);
    Ok((report, verdict))
}

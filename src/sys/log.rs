//! The log: the journal where there is one, and a file always.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

/// Identifier in the journal (SYSLOG_IDENTIFIER, systemd.journal-fields(7)).
const IDENTIFIER: &str = "transactional-update";

/// Starts logging to the file `path` and to the journal of the running system when it has one.
///
/// # Errors
/// When the file cannot be opened for writing; the journal is used all the same.
pub fn start(path: &Path) -> io::Result<()> {
    let file = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| File::options().create(true).append(true).open(path));
    let (writer, result) = match file {
        Ok(file) => (
            Some(
                fmt::layer()
                    .with_ansi(false)
                    .with_target(false)
                    .with_writer(Arc::new(file)),
            ),
            Ok(()),
        ),
        Err(e) => (None, Err(e)),
    };
    let journal = tracing_journald::layer().ok().map(|layer| {
        layer
            .with_syslog_identifier(IDENTIFIER.to_owned())
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                ..PriorityMappings::new()
            })
    });
    let layers = tracing_subscriber::registry()
        .with(writer)
        .with(journal.with_filter(LevelFilter::INFO));
    // a second start in one process keeps the first log
    tracing::subscriber::set_global_default(layers).unwrap_or(());
    result
}

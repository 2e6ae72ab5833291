//! `transactional-update`: builds the next system in a new snapshot.
fn main() -> std::process::ExitCode {
    transactional_update::cli::main()
}

//! `transactional-update-sync-etc-state`: takes what an administrator changed in the old /etc over into the new one.
fn main() -> std::process::ExitCode {
    transactional_update::cli::sync_etc::main()
}

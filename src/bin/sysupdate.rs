//! `sysupdate`: A/B updates from transfer files.
fn main() -> std::process::ExitCode {
    transactional_update::cli::sysupdate::main()
}

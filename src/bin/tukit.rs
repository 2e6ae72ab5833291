//! `tukit`: transactions step by step, for programs.
fn main() -> std::process::ExitCode {
    transactional_update::cli::tukit::main()
}

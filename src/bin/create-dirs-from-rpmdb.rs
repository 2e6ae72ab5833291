//! `create-dirs-from-rpmdb`: makes the directories that packages own in /var, /srv and /opt.
fn main() -> std::process::ExitCode {
    transactional_update::cli::create_dirs::main()
}

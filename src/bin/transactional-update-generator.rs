//! `transactional-update-generator`: makes the boot go to an offline update, before the first unit starts.
fn main() -> std::process::ExitCode {
    transactional_update::offline::generator::main()
}

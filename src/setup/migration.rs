//! Migration to another product with zypper's own command for it, which runs outside of the snapshot.

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::register::SUSECONNECT;
use crate::sys::cmd::Argv;
use crate::sys::{out, signal};
use crate::transaction::{Open, Step};

/// A migration, as it was asked for.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Further arguments.
    pub args: Vec<OsString>,
    /// Whether a person answers its questions.
    pub interactive: bool,
    /// Whether it prints only what it has to.
    pub quiet: bool,
}

impl Migration {
    /// Checks what can be known before.
    ///
    /// # Errors
    /// When the arguments name another root.
    pub fn check(&self) -> Result<()> {
        let names_root = |arg: &&OsString| {
            let arg = arg.as_encoded_bytes();
            arg == b"--root" || arg.starts_with(b"--root=") || arg == b"-R"
        };
        if self.args.iter().any(|arg| names_root(&arg)) {
            bail!("the root of a migration is the new snapshot; leave --root out");
        }
        Ok(())
    }

    fn argv(&self, root: OsString) -> Argv {
        let mut argv: Vec<OsString> = vec!["zypper".into()];
        argv.extend(self.quiet.then(|| "--quiet".into()));
        let fixed = ["migration", "--no-snapshots", "--no-selfupdate", "--root"];
        argv.extend(fixed.map(Into::into));
        argv.push(root);
        if !self.interactive {
            argv.extend(["--non-interactive", "--auto-agree-with-licenses"].map(Into::into));
        }
        argv.extend(self.args.iter().cloned());
        Argv::new(argv)
    }
}

/// Migrates the snapshot; returns the status of zypper, 0 also where it only says that a restart is needed.
///
/// The registration server takes the system for migrated from then on, but until the reboot the old products run:
/// so the registration goes back at once, however the migration ended.
///
/// # Errors
/// When it could not be started.
pub fn migrate(open: &Open<'_>, migration: &Migration) -> Result<u8> {
    let argv = migration.argv(open.top()?.into());
    let run = || open.run_outside(argv.clone(), migration.interactive);
    let exit = open.step(Step::CallExt, &argv, run);
    register_back(open);
    signal::check()?;
    Ok(match exit?.code {
        102 | 103 | 106 => 0,
        code => code,
    })
}

fn register_back(open: &Open<'_>) {
    if !open.system().has_program(SUSECONNECT).unwrap_or(false) {
        return;
    }
    let back = open.run_outside(Argv::new([SUSECONNECT, "--rollback"]), false);
    match back.map(|exit| exit.code) {
        Ok(0) => {}
        Ok(code) => out::warn(format_args!(
            "`{SUSECONNECT} --rollback` failed with status {code}: the server takes this system for the new product"
        )),
        Err(e) => out::warn(format_args!("`{SUSECONNECT} --rollback`: {e:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_has_its_root_from_us_and_agrees_only_without_a_person() {
        let mut migration = Migration {
            args: vec!["--query".into()],
            interactive: true,
            quiet: false,
        };
        let text = |m: &Migration| m.argv("/s".into()).to_string();
        assert_eq!(
            text(&migration),
            "zypper migration --no-snapshots --no-selfupdate --root /s --query"
        );
        migration.interactive = false;
        migration.quiet = true;
        assert_eq!(
            text(&migration),
            "zypper --quiet migration --no-snapshots --no-selfupdate --root /s --non-interactive --auto-agree-with-licenses --query"
        );
        assert!(migration.check().is_ok());
        for root in ["--root", "--root=/x", "-R"] {
            migration.args = vec![root.into()];
            assert!(migration.check().is_err());
        }
    }
}

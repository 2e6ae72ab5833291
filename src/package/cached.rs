//! Calls of zypper with caches of its own: what it found out and downloaded once is what it works with later, without a
//! network.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::request::{Action, Request, has_scheme};

/// Options that say which packages are meant or what the solver may do, and change neither where packages come from nor
/// what is trusted. Only by their full names: zypper takes any beginning of a name.
const OPTIONS: &[&str] = &[
    "-y",
    "--no-confirm",
    "-f",
    "--force",
    "-n",
    "--name",
    "-C",
    "--capability",
    "--oldpackage",
    "--recommends",
    "--no-recommends",
    "--force-resolution",
    "--no-force-resolution",
    "-u",
    "--clean-deps",
    "-U",
    "--no-clean-deps",
    "--allow-downgrade",
    "--no-allow-downgrade",
    "--allow-name-change",
    "--no-allow-name-change",
    "--allow-arch-change",
    "--no-allow-arch-change",
    "--allow-vendor-change",
    "--no-allow-vendor-change",
    "--replacefiles",
    "--with-optional",
    "--without-optional",
];

/// The same for options with a value, which may stand in the next argument.
const WITH_VALUE: &[&str] = &[
    "-t",
    "--type",
    "-r",
    "--repo",
    "--from",
    "--solver-focus",
    "-g",
    "--category",
    "--severity",
    "-b",
    "--bugzilla",
    "--cve",
    "--date",
];

/// The directories that zypper keeps its caches in.
#[derive(Debug, Clone, Copy)]
pub struct Caches<'p> {
    /// For what repositories say.
    pub metadata: &'p Path,
    /// For packages.
    pub packages: &'p Path,
}

/// What a call is to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Only says what would be changed.
    Solution,
    /// Says what would be changed and downloads it. Unlike `--download-only` alone, with `--dry-run` zypper does so also on
    /// a read-only system, and keeps all packages, those of local directories too.
    Download,
    /// Does it.
    All,
}

/// Why a request cannot be carried out later, or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCached {
    /// A package file or an address, which no repository vouches for.
    File(String),
    /// An option that is not one of those that say what is meant.
    Option(String),
    /// An argument that is no text.
    NoText(String),
}

impl fmt::Display for NotCached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCached::File(arg) => write!(
                f,
                "'{arg}' is a package file; only packages of repositories can be installed later. Put it into a directory, \
                 call createrepo_c for that, and add it as a repository (zypper addrepo dir:/DIRECTORY NAME)"
            ),
            NotCached::Option(arg) => write!(
                f,
                "the option '{arg}' is not possible here: only those that say which packages are meant and what the solver may \
                 do, in their full form"
            ),
            NotCached::NoText(arg) => write!(f, "'{arg}' is no text in UTF-8"),
        }
    }
}

impl std::error::Error for NotCached {}

/// The arguments of a non-interactive call that works with what is cached, after `zypper`, without those that say where
/// the caches are and how much is done: [`argv`] adds them. No key is imported, and nothing unsigned allowed.
///
/// # Errors
/// When the request names something that no repository has, or an option that could change what is trusted.
pub fn command(request: &Request) -> Result<Vec<String>, NotCached> {
    check(request)?;
    let call = Request {
        interactive: false,
        import_keys: false,
        dry_run: false,
        ..request.clone()
    };
    let words = call.argv().into_iter().skip(1);
    let words = words.map(|word| {
        word.into_string()
            .map_err(|w| NotCached::NoText(w.display().to_string()))
    });
    let mut command: Vec<String> = words.collect::<Result<_, _>>()?;
    // how it prints is not part of what it does
    command.retain(|word| word != "--xmlout");
    command.insert(0, "--no-refresh".into());
    Ok(command)
}

fn check(request: &Request) -> Result<(), NotCached> {
    let mut is_value = false;
    for arg in &request.args {
        let text = arg
            .to_str()
            .ok_or_else(|| NotCached::NoText(arg.display().to_string()))?;
        if std::mem::take(&mut is_value) {
            continue;
        }
        if !text.starts_with('-') {
            if text.ends_with(".rpm") || has_scheme(text.as_bytes()) {
                return Err(NotCached::File(text.into()));
            }
            continue;
        }
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let takes_value = WITH_VALUE.contains(&name);
        is_value = takes_value && name == text;
        if !takes_value && !OPTIONS.contains(&text) {
            return Err(NotCached::Option(text.into()));
        }
    }
    Ok(())
}

/// The whole command line of a call with `command`, which [`command`] made, as XML.
#[must_use]
pub fn argv(command: &[String], caches: Caches<'_>, extent: Extent) -> Vec<OsString> {
    // options of zypper itself stand before the name of the command, and none of ours has a value
    let name = command.iter().position(|word| !word.starts_with('-'));
    let (before, after) = command.split_at(name.map_or(command.len(), |at| at + 1));
    // to remove needs no downloads, and that command does not know the option
    let removes = before
        .last()
        .is_some_and(|name| name == Action::Remove.command());
    let extent: &[&str] = match extent {
        Extent::Download if !removes => &["--dry-run", "--download-only"],
        Extent::Solution | Extent::Download => &["--dry-run"],
        Extent::All => &[],
    };
    let mut argv = begin(caches);
    argv.extend(before.iter().map(Into::into));
    argv.extend(extent.iter().map(Into::into));
    argv.extend(after.iter().map(Into::into));
    argv
}

/// The command line that reads all repositories, with signatures checked against the keys that the system trusts already.
#[must_use]
pub fn refresh_argv(caches: Caches<'_>) -> Vec<OsString> {
    let mut argv = begin(caches);
    argv.extend(["--non-interactive".into(), "refresh".into()]);
    argv
}

fn begin(caches: Caches<'_>) -> Vec<OsString> {
    vec![
        "zypper".into(),
        "--xmlout".into(),
        "--cache-dir".into(),
        caches.metadata.into(),
        "--pkg-cache-dir".into(),
        caches.packages.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caches() -> Caches<'static> {
        Caches {
            metadata: Path::new("m"),
            packages: Path::new("p"),
        }
    }

    fn spelled(argv: &[OsString]) -> String {
        argv.iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn of(action: Action, args: &[&str]) -> Result<Vec<String>, NotCached> {
        command(&Request::new(action, args))
    }

    #[test]
    fn a_call_has_its_caches_first_and_says_how_far_it_goes_behind_its_name() {
        let command = of(Action::Install, &["-f", "vim"]).unwrap();
        let call = |extent| spelled(&argv(&command, caches(), extent));
        let first = "zypper --xmlout --cache-dir m --pkg-cache-dir p";
        let rest = "-y --auto-agree-with-product-licenses -f vim";
        let begin = format!("{first} --no-refresh --non-interactive install");
        assert_eq!(call(Extent::All), format!("{begin} {rest}"));
        assert_eq!(call(Extent::Solution), format!("{begin} --dry-run {rest}"));
        assert_eq!(
            call(Extent::Download),
            format!("{begin} --dry-run --download-only {rest}")
        );
        assert_eq!(
            spelled(&refresh_argv(caches())),
            format!("{first} --non-interactive refresh")
        );
    }

    #[test]
    fn a_removal_downloads_nothing() {
        let command = of(Action::Remove, &["vim"]).unwrap();
        assert!(
            spelled(&argv(&command, caches(), Extent::Download))
                .ends_with(" remove --dry-run -y vim")
        );
    }

    #[test]
    fn patches_that_want_a_reboot_are_part_of_it() {
        let command = of(Action::Patch, &[]).unwrap();
        assert!(spelled(&argv(&command, caches(), Extent::Solution)).ends_with(
            "--non-interactive-include-reboot-patches patch --dry-run -y --auto-agree-with-product-licenses"
        ));
    }

    #[test]
    fn what_was_asked_for_interactively_or_with_new_keys_is_neither_later() {
        let mut request = Request::new(Action::DistUpgrade, [""; 0]);
        request.interactive = true;
        request.import_keys = true;
        assert_eq!(
            command(&request).unwrap(),
            [
                "--no-refresh",
                "--non-interactive",
                "dist-upgrade",
                "-y",
                "--auto-agree-with-product-licenses"
            ]
        );
    }

    #[test]
    fn options_that_change_what_is_trusted_are_refused_however_they_are_shortened() {
        for option in [
            "--allow-unsigned-rpm",
            "--allow-unsigned",
            "--no-gpg-checks",
            "--download-only",
            "-d",
            "-D",
            "--root=/x",
            "-yf",
            "--",
            "--plus-content",
            "--force=x",
            "--fo",
        ] {
            let error = of(Action::Install, &["vim", option]).unwrap_err();
            assert_eq!(error, NotCached::Option(option.into()));
        }
        for args in [
            &["-r", "-D", "vim"][..],
            &["--repo=x", "vim"],
            &["-y", "--from", "oss", "vim"],
        ] {
            assert!(of(Action::Install, args).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn package_files_and_addresses_are_refused_and_paths_are_capabilities() {
        for file in [
            "a.rpm",
            "/srv/a.rpm",
            "./a-1.noarch.rpm",
            "https://h/a",
            "file:/a.rpm",
            "dir:/srv",
        ] {
            assert_eq!(
                of(Action::Install, &[file]),
                Err(NotCached::File(file.into()))
            );
        }
        assert!(
            of(
                Action::Install,
                &["/usr/bin/vim", "perl(a)", "a=1:2-3", "pattern:base"]
            )
            .is_ok()
        );
    }
}

//! How a request is spelled for zypper.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::text::local_uri_path;

/// What the package manager shall do. Each is one zypper command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `zypper install`: packages, capabilities or local .rpm files.
    Install,
    /// `zypper remove`.
    Remove,
    /// `zypper update`: the named packages, or all of them when none is named.
    Update,
    /// `zypper dist-upgrade`.
    DistUpgrade,
    /// `zypper patch`.
    Patch,
}

impl Action {
    /// The word zypper knows the command by.
    pub fn command(self) -> &'static str {
        match self {
            Action::Install => "install",
            Action::Remove => "remove",
            Action::Update => "update",
            Action::DistUpgrade => "dist-upgrade",
            Action::Patch => "patch",
        }
    }

    /// The action of a command line: the first word that is a command.
    pub fn of<'w>(words: impl IntoIterator<Item = &'w str>) -> Option<Action> {
        const ALL: [Action; 5] = [
            Action::Install,
            Action::Remove,
            Action::Update,
            Action::DistUpgrade,
            Action::Patch,
        ];
        let named = |word| ALL.into_iter().find(|action| action.command() == word);
        words.into_iter().find_map(named)
    }

    /// Whether the command takes packages, and so possibly local files, as arguments.
    fn takes_files(self) -> bool {
        matches!(self, Action::Install | Action::Update)
    }
}

/// The command line that reads all repositories anew and trusts their keys.
pub fn refresh_argv() -> [&'static str; 5] {
    [
        "zypper",
        "--non-interactive",
        "--gpg-auto-import-keys",
        "refresh",
        "--force",
    ]
}

/// One call of zypper, before it is spelled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// Packages and zypper options, in the order in which they were typed.
    pub args: Vec<OsString>,
    /// Whether zypper may ask the user. Then it talks to the terminal and prints no XML.
    pub interactive: bool,
    /// Whether new repository signing keys are trusted without a question.
    pub import_keys: bool,
    /// Whether zypper shall only say what it would do.
    pub dry_run: bool,
}

impl Request {
    /// A non-interactive request that imports no keys and really changes something.
    pub fn new<A: Into<OsString>>(action: Action, args: impl IntoIterator<Item = A>) -> Request {
        Request {
            action,
            args: args.into_iter().map(Into::into).collect(),
            interactive: false,
            import_keys: false,
            dry_run: false,
        }
    }

    /// The whole command line, beginning with `zypper`.
    ///
    /// A non-interactive call prints XML and agrees to product licences; `remove` refuses that option and does not
    /// get it. A non-interactive `patch` includes patches that want a reboot: without the option zypper
    /// skips them, and a reboot is what follows a transaction anyway.
    pub fn argv(&self) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec!["zypper".into()];
        if !self.interactive {
            argv.extend(["--non-interactive".into(), "--xmlout".into()]);
            if self.action == Action::Patch {
                argv.push("--non-interactive-include-reboot-patches".into());
            }
        }
        if self.import_keys {
            argv.push("--gpg-auto-import-keys".into());
        }
        argv.push(self.action.command().into());
        if !self.interactive {
            argv.push("-y".into());
            if self.action != Action::Remove {
                argv.push("--auto-agree-with-product-licenses".into());
            }
        }
        if self.dry_run {
            argv.push("--dry-run".into());
        }
        argv.extend(self.args.iter().cloned());
        argv
    }

    /// Arguments that may be local .rpm files or directories.
    ///
    /// That is: of `install` and `update`, each argument that is no option and contains a slash or ends in `.rpm`, and
    /// the path of each `file:` or `dir:` URI. Whether such a path exists is not looked at; `/usr/bin/vim` is given too,
    /// although zypper takes it as a capability.
    pub fn local_paths(&self) -> impl Iterator<Item = Cow<'_, Path>> {
        let takes_files = self.action.takes_files();
        self.args
            .iter()
            .filter(move |_| takes_files)
            .filter_map(|arg| local_path(arg))
    }

    /// The same request with local paths made absolute.
    ///
    /// `absolute` is asked for each argument that is a path by itself (not for URIs, which are absolute already). It
    /// returns the absolute path of something that exists, or None, and then the argument stays as it is.
    pub fn with_absolute_paths(&self, absolute: impl Fn(&Path) -> Option<PathBuf>) -> Request {
        let mut request = self.clone();
        if self.action.takes_files() {
            for arg in &mut request.args {
                let found = match local_path(arg) {
                    Some(Cow::Borrowed(path)) => absolute(path),
                    Some(Cow::Owned(_)) | None => None,
                };
                if let Some(path) = found {
                    *arg = path.into_os_string();
                }
            }
        }
        request
    }
}

/// The local path an argument may stand for: borrowed when the argument is a path, owned when it is a URI.
fn local_path(arg: &OsStr) -> Option<Cow<'_, Path>> {
    let bytes = arg.as_bytes();
    if bytes.first() == Some(&b'-') {
        return None;
    }
    if has_scheme(bytes) {
        let path = local_uri_path(bytes)?;
        return Some(Cow::Owned(PathBuf::from(OsString::from_vec(path))));
    }
    (bytes.contains(&b'/') || bytes.ends_with(b".rpm")).then(|| Cow::Borrowed(Path::new(arg)))
}

/// Whether the argument begins like a URI, `scheme:/`.
pub(super) fn has_scheme(bytes: &[u8]) -> bool {
    match bytes.iter().position(|&b| b == b':') {
        Some(colon) => {
            colon > 1
                && bytes.get(colon + 1) == Some(&b'/')
                && bytes[..colon]
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(request: &Request) -> String {
        let argv: Vec<_> = request
            .argv()
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        argv.join(" ")
    }

    #[test]
    fn a_non_interactive_install_prints_xml_and_agrees_to_product_licences() {
        let mut request = Request::new(Action::Install, ["--no-recommends", "vim"]);
        assert_eq!(
            words(&request),
            "zypper --non-interactive --xmlout install -y --auto-agree-with-product-licenses --no-recommends vim"
        );
        request.import_keys = true;
        request.dry_run = true;
        assert_eq!(
            words(&request),
            "zypper --non-interactive --xmlout --gpg-auto-import-keys install -y \
             --auto-agree-with-product-licenses --dry-run --no-recommends vim"
        );
    }

    #[test]
    fn remove_gets_no_licence_option_because_zypper_refuses_it_there() {
        let request = Request::new(Action::Remove, ["vim"]);
        assert_eq!(
            words(&request),
            "zypper --non-interactive --xmlout remove -y vim"
        );
    }

    #[test]
    fn a_non_interactive_patch_includes_patches_that_want_a_reboot() {
        let request = Request::new(Action::Patch, [""; 0]);
        assert_eq!(
            words(&request),
            "zypper --non-interactive --xmlout --non-interactive-include-reboot-patches patch -y \
             --auto-agree-with-product-licenses"
        );
    }

    #[test]
    fn an_interactive_request_leaves_the_terminal_and_the_language_to_the_user() {
        let mut request = Request::new(Action::DistUpgrade, [""; 0]);
        request.interactive = true;
        assert_eq!(words(&request), "zypper dist-upgrade");
        request.import_keys = true;
        assert_eq!(
            words(&request),
            "zypper --gpg-auto-import-keys dist-upgrade"
        );
    }

    #[test]
    fn local_paths_are_arguments_with_a_slash_or_ending_in_rpm_and_local_uris() {
        let args = [
            "-f",
            "--from=./x",
            "vim",
            "a.rpm",
            "./d",
            "http://h/a.rpm",
            "dir:///srv/a%20b",
            "perl(a)",
            "x:y/z",
        ];
        let request = Request::new(Action::Install, args);
        let paths: Vec<_> = request
            .local_paths()
            .map(|p| p.display().to_string())
            .collect();
        assert_eq!(paths, ["a.rpm", "./d", "/srv/a b", "x:y/z"]);
        assert_eq!(Request::new(Action::Remove, args).local_paths().count(), 0);
    }

    #[test]
    fn only_paths_that_exist_are_made_absolute() {
        let request = Request::new(Action::Install, ["a.rpm", "./b.rpm", "vim", "file:/c.rpm"]);
        let made = request.with_absolute_paths(|p| {
            (p == Path::new("a.rpm")).then(|| PathBuf::from("/home/u/a.rpm"))
        });
        assert_eq!(
            made.args,
            ["/home/u/a.rpm", "./b.rpm", "vim", "file:/c.rpm"]
        );
        assert_eq!(request.args[0], "a.rpm");
    }
}

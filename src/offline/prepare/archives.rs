//! The packages that were downloaded: whether they are whole, and which is which.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::PACKAGES;
use super::super::plan::Package;
use super::super::record::{self, Directory};
use super::super::solution::{Changes, limited};
use super::super::verify::{Found, files};
use crate::package::archive::{self, BATCH, Identity};
use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool};
use crate::sys::{Doing, signal};

/// How long rpm may take for some files.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The packages of `changes`, each with its file, which fits its own digests and signatures. There are no other files.
///
/// # Errors
/// When a file is damaged, missing, or not what was asked for.
pub(super) fn checked(directory: &Directory, changes: &Changes) -> Result<Vec<Package>> {
    let place = record::path().join(PACKAGES);
    let found = files(directory.fd(), PACKAGES).doing(|| format!("reading {}", place.display()))?;
    let paths: Vec<PathBuf> = found.iter().map(|file| place.join(&file.name)).collect();
    whole(&paths)?;
    let mut identities = Vec::new();
    for batch in paths.chunks(BATCH) {
        let done = rpm(archive::identity_argv(batch))?;
        let output = String::from_utf8_lossy(&done.stdout);
        let read = archive::identities(&output, batch.len()).filter(|_| done.code == 0);
        identities.extend(read.with_context(|| {
            format!(
                "rpm does not tell what was downloaded: {}",
                done.last_words()
            )
        })?);
    }
    let matched = matched(found.into_iter().zip(identities), changes)?;
    let packages = matched.into_iter().map(|(identity, file)| {
        let content = file.content(directory.fd(), PACKAGES);
        let content = content.doing(|| format!("reading {}", place.join(&file.name).display()))?;
        Ok(Package {
            from: changes.install.get(&identity).cloned().flatten(),
            name: identity.name,
            arch: identity.arch,
            evr: identity.evr,
            file: file.name,
            size: content.size,
            sha256: content.sha256,
        })
    });
    packages.collect()
}

/// Lets rpm check each file.
fn whole(paths: &[PathBuf]) -> Result<()> {
    let mut bad = Vec::new();
    for batch in paths.chunks(BATCH) {
        signal::check()?;
        let done = rpm(archive::check_argv(batch))?;
        let output = String::from_utf8_lossy(&done.stdout);
        let complaints = archive::complaints(&output, batch).with_context(|| {
            format!(
                "rpm does not tell whether what was downloaded is whole: {}",
                done.last_words()
            )
        })?;
        for (path, complaint) in batch.iter().zip(complaints) {
            bad.extend(complaint.map(|c| format!("{}: {c}", path.display())));
        }
    }
    if !bad.is_empty() {
        bail!(
            "packages were changed after they were built or signed, or were damaged on their way: {}",
            limited(bad).join("; ")
        );
    }
    Ok(())
}

fn rpm(argv: Vec<std::ffi::OsString>) -> Result<Done> {
    let tool = Tool::new(Argv::new(argv), LIMIT).env("LC_ALL", "C.UTF-8");
    Ok(tool.run()?)
}

/// Which file each package that comes is in.
fn matched(
    found: impl Iterator<Item = (Found, Identity)>,
    changes: &Changes,
) -> Result<BTreeMap<Identity, Found>> {
    let mut matched: BTreeMap<Identity, Found> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (file, identity) in found {
        let name = format!("{}-{}.{}", identity.name, identity.evr, identity.arch);
        if !changes.install.contains_key(&identity) {
            wrong.push(format!(
                "{} holds {name}, which is not part of it",
                file.name
            ));
        } else if let Some(other) = matched.insert(identity, file.clone()) {
            wrong.push(format!(
                "{} holds {name}, as {} does",
                file.name, other.name
            ));
        }
    }
    for missing in changes.install.keys().filter(|k| !matched.contains_key(k)) {
        let Identity { name, evr, arch } = missing;
        wrong.push(format!("{name}-{evr}.{arch} is missing"));
    }
    if !wrong.is_empty() {
        bail!(
            "what was downloaded is not what the update needs: {}",
            limited(wrong).join("; ")
        );
    }
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        Identity {
            name: name.into(),
            arch: "noarch".into(),
            evr: "1-1".into(),
        }
    }

    fn found(files: &[(&str, &str)], wanted: &[&str]) -> Result<Vec<String>, String> {
        let changes = Changes {
            install: wanted.iter().map(|name| (identity(name), None)).collect(),
            ..Changes::default()
        };
        let files = files
            .iter()
            .map(|(file, name)| (Found::plain(file), identity(name)));
        let matched = matched(files, &changes).map_err(|e| e.to_string())?;
        Ok(matched.into_values().map(|file| file.name).collect())
    }

    #[test]
    fn each_package_has_the_file_that_holds_it_whatever_it_is_called() {
        let files = found(&[("r/x.rpm", "b"), ("r/b.rpm", "a")], &["a", "b"]);
        assert_eq!(files.unwrap(), ["r/b.rpm", "r/x.rpm"]);
    }

    #[test]
    fn a_file_too_many_or_too_few_is_named() {
        for (files, wanted, words) in [
            (
                &[("x", "a")][..],
                &["a", "b"][..],
                "b-1-1.noarch is missing",
            ),
            (
                &[("x", "a"), ("y", "b")],
                &["a"],
                "y holds b-1-1.noarch, which is not part of it",
            ),
            (
                &[("x", "a"), ("y", "a")],
                &["a"],
                "y holds a-1-1.noarch, as x does",
            ),
        ] {
            let error = found(files, wanted).unwrap_err();
            assert!(error.ends_with(words), "{error}");
        }
    }
}

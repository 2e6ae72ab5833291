mod directories;
mod file;

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A root directory with files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn root(&self) -> Root {
        Root::at(self.0.path()).unwrap()
    }

    fn load(&self) -> Result<Definitions, Refusal> {
        Definitions::load(&self.root(), &Collection::Default, &specifiers())
    }
}

fn specifiers() -> Specifiers {
    let mut known = Specifiers {
        architecture: "x86-64".into(),
        ..Specifiers::default()
    };
    known.os_release.insert("VERSION_ID".into(), "9".into());
    known
}

/// A transfer with these lines in each section besides what it needs.
fn transfer(transfer: &str, source: &str, target: &str) -> String {
    format!(
        "[Transfer]\n{transfer}\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.raw\n{source}\n\
         [Target]\nPath=/dst\nMatchPattern=os_@v.raw\n{target}\n"
    )
}

fn one(text: &str) -> Result<(Transfer, Vec<String>), Refusal> {
    let tree = Tree::new(&[("etc/sysupdate.d/a.transfer", text)]);
    let loaded = tree.load();
    let prefix = format!("{}/etc/sysupdate.d/", tree.0.path().display());
    match loaded {
        Ok(mut found) => {
            let warnings = found.warnings.iter().map(|w| w.replace(&prefix, ""));
            Ok((found.transfers.remove(0), warnings.collect()))
        }
        Err(mut e) => {
            e.path = e.path.strip_prefix(&prefix).unwrap().to_owned();
            Err(e)
        }
    }
}

/// Why a file is refused.
fn refused(text: &str) -> String {
    one(text).unwrap_err().to_string()
}

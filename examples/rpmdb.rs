//! Prints what the RPM database of a system says: `rpmdb ROOT packages` or `rpmdb ROOT directories`. For benchmarks and for
//! looking at a database; nothing of it is installed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use transactional_update::rpmdb::{Database, OpenOptions, Prefix};
use transactional_update::sys::{Root, out};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [root, what] = &words[..] else {
        return Err("usage: rpmdb ROOT packages|directories".into());
    };
    let options = OpenOptions::default();
    let Some(database) = Database::open(&Root::at(Path::new(root))?, &options)? else {
        return Err(format!("{root} has no RPM database").into());
    };
    let mut text = String::new();
    let bad = match what.as_str() {
        "packages" => {
            let (packages, bad) = database.nevras()?;
            for p in packages {
                writeln!(text, "{} {} {}", p.nevra, p.identity, p.install_time)?;
            }
            bad
        }
        "directories" => {
            let tops = ["/var", "/srv", "/opt"].map(|top| Prefix::new(Path::new(top)));
            let found = database.directories(&tops.into_iter().collect::<Result<Vec<_>, _>>()?)?;
            for e in found.entries {
                let (user, group) = (e.user.display(), e.group.display());
                writeln!(text, "{:04o} {user} {group} {}", e.mode, out::path(&e.path))?;
            }
            found.bad
        }
        other => return Err(format!("{other}: packages or directories?").into()),
    };
    out::answer(&text)?;
    bad.iter().for_each(out::warn);
    Ok(ExitCode::from(u8::from(!bad.is_empty())))
}

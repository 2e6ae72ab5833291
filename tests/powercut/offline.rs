//! An update in a boot of its own that is cut off: what boots then, whether that is an update boot once more, and what is known
//! of it in the normal one.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Mutex;

use crate::fx::{PROGRAM, command, fixture, repositories};
use crate::judge::{Bench, Ends, Snapshots, State, Verdict, default, look_at, run};
use crate::tree::{Known, Reader, Tree};

/// Where everything about it is, below the directory of the system's state.
const DIRECTORY: &str = "var/lib/transactional-update/offline";
const MARKER: &str = ".transactional-update-armed";
const TRIGGER: &str = "system-update";

/// There is no systemd in the machine. What stands for it knows what it may be asked; which run of user space it is, the machine
/// is told at each boot.
pub(crate) const PREPARE: &str = r#"echo OFFLINE_FAILURE_PAUSE=0 > /etc/transactional-update.conf
cat > /usr/bin/systemctl <<'EOF'
#!/bin/sh
case "$*" in
show\ --property=Version*) printf 'Version=257\nUserspaceTimestampMonotonic=%s\n' $(cat /run/userspace);;
list-jobs\ *system-update.target) echo 1 system-update.target start waiting;;
--no-block\ reboot) ;;
*) echo "not asked for: $*" >&2; exit 1;;
esac
EOF
chmod 755 /usr/bin/systemctl"#;

/// A boot that the trigger diverts, as the unit and systemd's clean-up go through it.
const UPDATE_BOOT: &str = r#"echo $1 > /run/userspace
D=/var/lib/transactional-update/offline
if [ -e /system-update/.transactional-update-armed ]; then
  transactional-update -q offline run > /dev/null 2>&1 ||
    find / -mindepth 1 -maxdepth 1 -name system-update -type l -lname $D -delete
fi
rm -f /system-update"#;

/// The next normal boot: what is known of the update, whether it is recovered from, and whether the system can be changed.
const NORMAL_BOOT: &str = r#"echo 9 > /run/userspace
transactional-update offline status > /run/status; echo "status $? $(sed -n '1s/^Offline update: //p' /run/status)"
transactional-update recover > /dev/null 2>&1 || echo "the recovery fails: $?"
again=$(transactional-update recover 2>&1) && [ -z "$again" ] || echo "a second recovery says: $again"
for d in /.snapshots/*; do
  [ "$(ls -A $d | tr '\n' ' ')" = 'info.xml snapshot ' ] || echo "$d is left with: $(ls -A $d)"
done
! grep -l transactional-update-in-progress /.snapshots/*/info.xml || echo is in progress
for i in $(grep -l tu-in-place /.snapshots/*/info.xml); do
  n=${i#/.snapshots/}; n=${n%/info.xml}; transactional-update rollback $n > /run/back 2>&1
  echo "snapshot $n is half: $? $(grep -o 'may be half changed' /run/back)"
done
case $(cat /run/status) in *'(not-run)'* | *': no offline update'*)
  transactional-update -q offline arm > /dev/null 2>&1; echo "armed again: $?"; transactional-update -q offline cancel;; esac
transactional-update -q run true > /dev/null 2>&1 || echo "no transaction: $?""#;

/// What is on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Facts {
    /// The snapshot that boots.
    default: String,
    /// Whether the trigger is in it.
    linked: bool,
    marked: bool,
    /// What state.json says, if it is there.
    state: Option<String>,
    snapshots: Snapshots,
    rpm: (String, String),
    /// Without the trigger.
    tree: Tree,
    /// One number for all that a command goes by.
    sum: u64,
}

/// What a power cut in an update in a boot of its own comes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offline {
    cut: Facts,
    /// In the normal boot that follows, after so many update boots.
    then: Facts,
    update_boots: u32,
    said: String,
}

/// What the machine said in its next normal boot: it would say the same again.
pub(crate) type Said = Mutex<HashMap<u64, String>>;

impl Bench<'_> {
    /// Looks at the disk, boots it until that is no update boot, and looks again.
    pub(crate) fn look_offline(&self, state: &mut State, all: bool) -> Result<(), String> {
        let mut found = Offline {
            cut: self.facts(self.reader, all)?,
            ..Offline::default()
        };
        found.then = found.cut.clone();
        while found.then.linked && found.update_boots < 3 {
            found.update_boots += 1;
            let number = (found.update_boots + 2).to_string();
            self.boot(UPDATE_BOOT, &number)?;
            found.then = self.facts(&self.reader.fresh(), true)?;
        }
        let known = self.said.lock().unwrap().get(&found.then.sum).cloned();
        found.said = match known {
            Some(said) if !all && found.update_boots == 0 => said,
            _ => self.boot(NORMAL_BOOT, "")?,
        };
        let mut said = self.said.lock().unwrap();
        said.insert(found.then.sum, found.said.clone());
        state.offline = Some(found);
        Ok(())
    }

    fn boot(&self, script: &str, word: &str) -> Result<String, String> {
        let mut boot = command(fixture("enter.sh"));
        let binds = format!(
            "{PROGRAM}:/run/tu/transactional-update {}:/run/repos",
            repositories()
        );
        boot.arg(self.disk()).env("FX_BIND", binds);
        boot.env_remove("TU_FAILPOINTS");
        let script = format!("PATH=/run/tu:$PATH\n{script}");
        let out = run(boot.args(["bash", "-c", &script, "boot", word]))?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn facts(&self, reader: &Reader, all: bool) -> Result<Facts, String> {
        self.mounted(|| self.facts_of(&self.root(), reader, all))
    }

    fn facts_of(&self, root: &Path, reader: &Reader, all: bool) -> Result<Facts, String> {
        let directory = root.join(DIRECTORY);
        let read = |name: &str| fs::read(directory.join(name)).ok();
        let link = fs::read_link(root.join(TRIGGER)).ok();
        let default = default(root)?;
        let snapshots = look_at(&root.join(".snapshots"))?;
        let top = root.join(".snapshots").join(&default).join("snapshot");
        let tree = reader.read(&top, all, &mut Known::new());
        let rpm = self.ask_rpm(&tree)?;
        let tree = tree.without(Path::new(TRIGGER));
        let record = read("state.json");
        let word = |text: &Vec<u8>| {
            let value: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
            value["state"].as_str().unwrap_or("is not read").to_owned()
        };
        let linked = link.is_some_and(|to| to == Path::new("/").join(DIRECTORY));
        let mut sum = DefaultHasher::new();
        let files = ["plan.json", "state.json", "result.json", MARKER].map(read);
        let shown: Vec<_> = snapshots
            .iter()
            .map(|(n, s)| format!("{n} {s:?}"))
            .collect();
        (&default, linked, files, shown, &rpm).hash(&mut sum);
        (tree.sum(), tree.database).hash(&mut sum);
        Ok(Facts {
            linked,
            marked: directory.join(MARKER).exists(),
            state: record.as_ref().map(word),
            default,
            snapshots,
            rpm,
            tree,
            sum: sum.finish(),
        })
    }
}

impl Offline {
    /// How many files there are in what boots.
    pub(crate) fn files(&self) -> usize {
        self.then.tree.len()
    }
}

impl Ends {
    /// What was before, and what the update brings.
    fn both(&self) -> Option<(&Facts, &Facts)> {
        let (old, new) = (self.old.offline.as_ref()?, self.new.offline.as_ref()?);
        Some((&old.cut, &new.then))
    }

    /// Whether the recording is one of carrying an update out, and not of arming it.
    fn carries_out(&self) -> bool {
        self.old.offline.as_ref().is_some_and(|old| old.cut.linked)
    }

    /// Whether the disk is what the command makes: packages, or a system that boots into the update.
    pub(crate) fn is_done_offline(&self, found: &Offline) -> bool {
        match self.both() {
            Some((_, new)) if self.carries_out() => found.cut.rpm.0 == new.rpm.0,
            _ => found.cut.linked,
        }
    }

    /// As [`Ends::judge`].
    pub(crate) fn judge_offline(&self, state: &State, found: &Offline, done: bool) -> Verdict {
        let mut wrong = state.wrong.clone();
        if wrong.is_empty() {
            self.what_is_there(found, &mut wrong);
        }
        if wrong.is_empty() {
            self.what_comes(found, &mut wrong);
        }
        let is_new = self.is_done_offline(found);
        if done && !is_new {
            wrong.push("reported as done, but not there".into());
        }
        match (wrong.is_empty(), is_new) {
            (false, _) => Verdict::Bad(wrong.join("; ")),
            (true, true) => Verdict::New,
            (true, false) => Verdict::Old,
        }
    }

    /// What boots is the old system or the new one, whole; and an update boot has all that it goes by.
    fn what_is_there(&self, found: &Offline, wrong: &mut Vec<String>) {
        let Some((old, new)) = self.both() else {
            return wrong.push("there is nothing to compare with".into());
        };
        let cut = &found.cut;
        let Some(end) = [old, new].into_iter().find(|end| end.rpm.0 == cut.rpm.0) else {
            return wrong.push(format!(
                "snapshot {} boots, and its packages are neither the old nor the new ones",
                cut.default
            ));
        };
        if end.rpm.1 != cut.rpm.1 {
            wrong.push(format!("rpm -Va says {:?}", cut.rpm.1));
        }
        if !end.tree.is_like(&cut.tree) {
            wrong.push(format!(
                "snapshot {} boots: {}",
                cut.default,
                cut.tree.difference(&end.tree)
            ));
        }
        let known = cut.state.as_deref();
        if cut.linked && !(cut.marked && matches!(known, Some("armed" | "started"))) {
            let is = known.unwrap_or("missing");
            wrong.push(format!(
                "a trigger, but the marker is {}, and the state {is}",
                cut.marked
            ));
        }
        if known == Some("is not read") {
            wrong.push("state.json is not read".into());
        }
        if self.carries_out() && known == Some("armed") && !cut.linked {
            wrong.push("the trigger is gone before the state says that it began".into());
        }
        // what another one boots in place of is half, and says so
        let live = cut.snapshots.get(&old.default);
        let half = cut.default != old.default && cut.rpm.0 == old.rpm.0;
        if half && !live.is_some_and(|shown| shown.says("tu-in-place")) {
            wrong.push(format!(
                "nothing says that snapshot {} is half",
                old.default
            ));
        }
    }

    /// The boots that follow, and what they know.
    fn what_comes(&self, found: &Offline, wrong: &mut Vec<String>) {
        let Some((old, new)) = self.both() else {
            return;
        };
        let (cut, then) = (&found.cut, &found.then);
        let is_armed = cut.linked && cut.state.as_deref() == Some("armed");
        if found.update_boots != u32::from(cut.linked) {
            wrong.push(format!("{} update boots", found.update_boots));
        }
        let is_new = then.rpm == new.rpm;
        if is_armed != (is_new && cut.rpm.0 == old.rpm.0) || !(is_new || then.rpm == old.rpm) {
            wrong.push("the update boot leads to other packages".into());
        }
        let end = if is_new { new } else { old };
        if !is_armed && !then.tree.is_like(&end.tree) {
            wrong.push(format!(
                "the next boot: {}",
                then.tree.difference(&end.tree)
            ));
        }
        let live = &old.default;
        let expected = match (is_new, then.default == *live, cut.state.as_deref()) {
            (true, ..) => "status 0 applied\n".to_owned(),
            (false, true, None) => {
                "status 0 no offline update is armed\narmed again: 0\n".to_owned()
            }
            (false, true, Some("armed")) => {
                "status 3 failed (not-run)\narmed again: 0\n".to_owned()
            }
            (false, true, _) => "status 3 failed (interrupted)\n".to_owned(),
            (false, false, _) => format!(
                "status 3 reverted (interrupted)\nsnapshot {live} is half: 1 may be half changed\n"
            ),
        };
        if found.said != expected {
            wrong.push(format!(
                "{expected:?} is expected, but {:?} said",
                found.said
            ));
        }
    }
}

//! The merge against a model of it: trees in memory, whole subtrees compared, nothing clever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::prelude::*;

use super::apply::WORK;
use super::{Conflict, ConflictKind, Plan, Tree, Trees};
use crate::sys::xattr;

type Children = BTreeMap<String, Node>;

#[derive(Debug, Clone, PartialEq)]
enum What {
    Dir(Children),
    File(u8),
    Link(u8),
    Fifo,
}

#[derive(Debug, Clone)]
struct Node {
    what: What,
    mode: u32,
    attribute: Option<u8>,
    time: u64,
}

/// Times do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        (&self.what, self.mode, self.attribute) == (&other.what, other.mode, other.attribute)
    }
}

impl Node {
    fn children(&self) -> Option<&Children> {
        match &self.what {
            What::Dir(children) => Some(children),
            _ => None,
        }
    }
}

// --- random trees ------------------------------------------------------------------------------------------------

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a.rpmsave", "b.1.rpmsave"]).prop_map(str::to_owned)
}

fn leaf() -> impl Strategy<Value = Node> {
    let what = prop_oneof![
        6 => (0..3u8).prop_map(What::File),
        2 => (0..2u8).prop_map(What::Link),
        1 => Just(What::Fifo),
    ];
    let mode = prop::sample::select(vec![0o644, 0o600, 0o4755]);
    (what, mode, prop::option::weighted(0.2, 0..2u8), 1..4u64).prop_map(node)
}

fn dir(children: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    let what = prop::collection::btree_map(name(), children, 0..4).prop_map(What::Dir);
    let mode = prop::sample::select(vec![0o755, 0o700, 0o2755, 0o1777]);
    (what, mode, prop::option::weighted(0.2, 0..2u8), Just(0)).prop_map(node)
}

fn node((what, mode, attribute, time): (What, u32, Option<u8>, u64)) -> Node {
    let (mode, attribute) = match what {
        What::Link(_) => (0o777, None),
        What::Fifo => (mode & 0o777, None),
        _ => (mode, attribute),
    };
    Node {
        what,
        mode,
        attribute,
        time,
    }
}

fn tree() -> impl Strategy<Value = Node> {
    dir(leaf().prop_recursive(2, 12, 3, dir))
}

#[derive(Debug, Clone)]
enum Edit {
    Put(Vec<String>, Node),
    Remove(Vec<String>),
    Mode(Vec<String>, u32),
    Attribute(Vec<String>, Option<u8>),
    Touch(Vec<String>, u64),
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = || prop::collection::vec(name(), 1..4);
    let mode = prop::sample::select(vec![0o640, 0o755, 0o2755]);
    prop_oneof![
        4 => (path(), leaf()).prop_map(|(p, n)| Edit::Put(p, n)),
        1 => (path(), tree()).prop_map(|(p, n)| Edit::Put(p, n)),
        3 => path().prop_map(Edit::Remove),
        1 => (prop::collection::vec(name(), 0..3), mode).prop_map(|(p, m)| Edit::Mode(p, m)),
        1 => (path(), prop::option::of(0..2u8)).prop_map(|(p, a)| Edit::Attribute(p, a)),
        1 => (path(), 1..4u64).prop_map(|(p, t)| Edit::Touch(p, t)),
    ]
}

fn edited(mut root: Node, edits: Vec<Edit>) -> Node {
    for edit in edits {
        match edit {
            Edit::Put(path, new) => {
                if let Some((children, name)) = parent(&mut root, &path) {
                    children.insert(name, new);
                }
            }
            Edit::Remove(path) => {
                if let Some((children, name)) = parent(&mut root, &path) {
                    children.remove(&name);
                }
            }
            Edit::Mode(path, mode) => change(&mut root, &path, &|n| {
                *n = node((n.what.clone(), mode, n.attribute, n.time))
            }),
            Edit::Attribute(path, a) => change(&mut root, &path, &|n| {
                *n = node((n.what.clone(), n.mode, a, n.time))
            }),
            Edit::Touch(path, time) => change(&mut root, &path, &|n| n.time = time),
        }
    }
    root
}

fn parent<'n>(root: &'n mut Node, path: &[String]) -> Option<(&'n mut Children, String)> {
    let (name, above) = path.split_last()?;
    let mut at = root;
    for name in above {
        let What::Dir(children) = &mut at.what else {
            return None;
        };
        at = children.get_mut(name)?;
    }
    match &mut at.what {
        What::Dir(children) => Some((children, name.clone())),
        _ => None,
    }
}

fn change(root: &mut Node, path: &[String], how: &dyn Fn(&mut Node)) {
    if path.is_empty() {
        return how(root);
    }
    if let Some((children, name)) = parent(root, path)
        && let Some(node) = children.get_mut(&name)
    {
        how(node);
    }
}

/// Three states: one, and two that were made from it.
fn states() -> impl Strategy<Value = [Node; 3]> {
    let edits = || prop::collection::vec(edit(), 0..7);
    (tree(), edits(), edits()).prop_map(|(base, ours, theirs)| {
        [
            base.clone(),
            edited(base.clone(), ours),
            edited(base, theirs),
        ]
    })
}

// --- the model ---------------------------------------------------------------------------------------------------

/// One object of three states; `saved` takes what has to be kept beside it.
fn model(
    base: Option<&Node>,
    ours: Option<&Node>,
    theirs: Option<&Node>,
    saved: &mut Option<Node>,
) -> Option<Node> {
    let is_dir = |n: Option<&Node>| n.is_some_and(|n| n.children().is_some());
    if ours == base {
        return theirs.cloned();
    }
    if theirs == base {
        return ours.cloned();
    }
    if ours == theirs {
        return theirs.cloned();
    }
    match (ours, theirs) {
        (Some(o), Some(t)) if is_dir(ours) && is_dir(theirs) => {
            let base = base.filter(|_| is_dir(base));
            let mode = |bits| three(base.map(|b| b.mode & bits), o.mode & bits, t.mode & bits);
            Some(Node {
                what: What::Dir(model_children(base, ours, theirs)),
                mode: mode(0o777) | mode(0o7000),
                attribute: three(base.map(|b| b.attribute), o.attribute, t.attribute),
                time: 0,
            })
        }
        (Some(o), None) if is_dir(ours) && is_dir(base) => {
            let children = model_children(base, ours, theirs);
            let back = Node {
                what: What::Dir(children.clone()),
                ..o.clone()
            };
            (!children.is_empty()).then_some(back)
        }
        (None, Some(t)) if is_dir(base) && is_dir(theirs) => {
            let children = model_children(base, ours, theirs);
            let same = base.map(|b| (b.mode, b.attribute)) == Some((t.mode, t.attribute));
            let rest = Node {
                what: What::Dir(children.clone()),
                ..t.clone()
            };
            (!children.is_empty() || !same).then_some(rest)
        }
        (Some(o), None) if is_dir(ours) || is_dir(base) => Some(o.clone()),
        (ours, theirs) => {
            *saved = ours.cloned();
            theirs.cloned()
        }
    }
}

fn model_children(base: Option<&Node>, ours: Option<&Node>, theirs: Option<&Node>) -> Children {
    let children = |n: Option<&Node>| n.and_then(Node::children).cloned().unwrap_or_default();
    let (base, ours, theirs) = (children(base), children(ours), children(theirs));
    let names: BTreeSet<&String> = base
        .keys()
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    let (mut merged, mut copies) = (Children::new(), Children::new());
    for name in names {
        let mut saved = None;
        let result = model(base.get(name), ours.get(name), theirs.get(name), &mut saved);
        merged.extend(result.map(|r| (name.clone(), r)));
        if let Some(saved) = saved {
            let free = |n: &&String| {
                !base.contains_key(*n)
                    && !ours.contains_key(*n)
                    && !copies.contains_key(*n)
                    && theirs.get(*n).is_none_or(|t| *t == saved)
            };
            let names = [format!("{name}.rpmsave")]
                .into_iter()
                .chain((1..).map(|i| format!("{name}.{i}.rpmsave")));
            let names: Vec<String> = names.take(9).collect();
            let name = names.iter().find(free).expect("a free name").clone();
            copies.insert(name.clone(), theirs.get(&name).cloned().unwrap_or(saved));
        }
    }
    merged.extend(copies);
    merged
}

fn three<T: PartialEq>(base: Option<T>, ours: T, theirs: T) -> T {
    match Some(&theirs) == base.as_ref() {
        true => ours,
        false => theirs,
    }
}

/// Gives what all three have the time of the one that changed it alone.
fn set_times(result: &mut Node, base: Option<&Node>, ours: Option<&Node>, theirs: Option<&Node>) {
    let same = |n: Option<&Node>, r: &Node| n.filter(|n| *n == r).map(|n| n.time);
    let times = [base, ours, theirs].map(|n| same(n, result));
    if let What::Dir(children) = &mut result.what {
        let below = |n: Option<&Node>, name| n?.children()?.get(name).cloned();
        for (name, child) in children {
            let [b, o, t] = [base, ours, theirs].map(|n| below(n, name));
            set_times(child, b.as_ref(), o.as_ref(), t.as_ref());
        }
        return;
    }
    match times {
        [Some(b), Some(o), Some(t)] => result.time = three(Some(b), o, t),
        [_, _, Some(t)] => result.time = t,
        _ => {}
    }
}

// --- trees on disk -----------------------------------------------------------------------------------------------

fn build(path: &Path, node: &Node) {
    match &node.what {
        What::Dir(children) => {
            if !path.exists() {
                fs::create_dir(path).unwrap();
            }
            for (name, child) in children {
                build(&path.join(name), child);
            }
        }
        What::File(content) => fs::write(path, [*content]).unwrap(),
        What::Link(target) => symlink(target.to_string(), path).unwrap(),
        What::Fifo => nix::unistd::mkfifo(path, Mode::S_IRUSR).unwrap(),
    }
    if let Some(value) = node.attribute {
        xattr::set(fs::File::open(path).unwrap(), c"user.x", &[value, 0, value]).unwrap();
    }
    if !matches!(node.what, What::Link(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode)).unwrap();
    }
    let time = TimeSpec::new(node.time as i64, 0);
    let flag = UtimensatFlags::NoFollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, flag).unwrap();
}

fn flatten(node: &Node, path: PathBuf, into: &mut BTreeMap<PathBuf, String>) {
    let attribute = node.attribute.map(|v| vec![v, 0, v]);
    let (what, time) = match &node.what {
        What::Dir(_) => ("dir".to_owned(), 0),
        What::File(content) => (format!("file {content}"), node.time),
        What::Link(target) => (format!("link {target}"), node.time),
        What::Fifo => ("fifo".to_owned(), node.time),
    };
    let line = format!("{what} {:o} {attribute:?} {time}", node.mode);
    for (name, child) in node.children().into_iter().flatten() {
        flatten(child, path.join(name), into);
    }
    into.insert(path, line);
}

/// What is on disk, in the form of [`flatten`].
fn read(top: &Path, path: PathBuf, into: &mut BTreeMap<PathBuf, String>) {
    let at = top.join(&path);
    let meta = fs::symlink_metadata(&at).unwrap();
    let mut time = meta.mtime();
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        time = 0;
        for entry in fs::read_dir(&at).unwrap() {
            read(top, path.join(entry.unwrap().file_name()), into);
        }
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(&at).unwrap().display())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        format!("file {}", fs::read(&at).unwrap()[0])
    };
    let attribute = match kind.is_dir() || kind.is_file() {
        true => xattr::all(fs::File::open(&at).unwrap())
            .unwrap()
            .remove(c"user.x"),
        false => None,
    };
    let line = format!("{what} {:o} {attribute:?} {time}", meta.mode() & 0o7777);
    into.insert(path, line);
}

fn on_disk(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    read(path, PathBuf::new(), &mut found);
    found
}

fn expected([base, ours, theirs]: &[Node; 3]) -> BTreeMap<PathBuf, String> {
    let three = (Some(base), Some(ours), Some(theirs));
    let mut merged = model(three.0, three.1, three.2, &mut None).expect("the top stays");
    set_times(&mut merged, three.0, three.1, three.2);
    let mut flat = BTreeMap::new();
    flatten(&merged, PathBuf::new(), &mut flat);
    flat
}

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new(states: &[Node; 3]) -> Case {
        let case = Case { dir: fast() };
        for (name, state) in ["base", "ours", "theirs"].iter().zip(states) {
            build(&case.at(name), state);
        }
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn trees(&self) -> Trees {
        let open = |name| Tree::open(&self.at(name)).unwrap();
        Trees {
            base: open("base"),
            ours: open("ours"),
            theirs: open("theirs"),
        }
    }

    /// Merges, but only the first steps, and returns the conflicts and the number of steps that were planned.
    fn merge(&self, steps: usize) -> (Vec<Conflict>, usize) {
        let trees = self.trees();
        let mut plan = Plan::of(&trees).unwrap();
        let planned = plan.actions.len();
        plan.actions.truncate(steps);
        plan.apply(&trees).unwrap();
        (plan.conflicts().to_vec(), planned)
    }

    fn theirs(&self) -> BTreeMap<PathBuf, String> {
        on_disk(&self.at("theirs"))
    }
}

/// A directory in memory where that keeps attributes, because each file is synced.
fn fast() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm").ok().filter(|dir| {
        let file = fs::File::open(dir.path()).unwrap();
        xattr::set(file, c"user.probe", b"").is_ok()
    });
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

const ALL: usize = usize::MAX;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_merge_gives_what_the_model_says_and_leaves_the_other_two_alone(states in states()) {
        let case = Case::new(&states);
        let before = [on_disk(&case.at("base")), on_disk(&case.at("ours"))];
        case.merge(ALL);
        prop_assert_eq!(case.theirs(), expected(&states));
        prop_assert_eq!([on_disk(&case.at("base")), on_disk(&case.at("ours"))], before);
    }

    #[test]
    fn a_second_merge_has_nothing_to_do_and_tells_the_same_conflicts(states in states()) {
        let case = Case::new(&states);
        let (conflicts, _) = case.merge(ALL);
        prop_assert_eq!(case.merge(ALL), (conflicts, 0));
    }

    #[test]
    fn a_merge_that_was_cut_off_after_any_step_is_completed_by_the_next_one(states in states()) {
        let whole = Case::new(&states);
        let (conflicts, planned) = whole.merge(ALL);
        for steps in 0..planned {
            let case = Case::new(&states);
            case.merge(steps);
            // half of an object, as a step that was cut off leaves it
            fs::create_dir(case.at("theirs").join(WORK)).unwrap();
            fs::write(case.at("theirs").join(WORK).join("new"), "").unwrap();
            let (again, _) = case.merge(ALL);
            prop_assert_eq!(case.theirs(), whole.theirs(), "after {} steps", steps);
            prop_assert_eq!(&again, &conflicts, "after {} steps", steps);
        }
    }

    #[test]
    fn nothing_of_the_administrators_is_lost(states in states()) {
        let case = Case::new(&states);
        let (conflicts, _) = case.merge(ALL);
        let ours = on_disk(&case.at("ours"));
        let base = on_disk(&case.at("base"));
        let merged = case.theirs();
        let kept = |path: &Path| conflicts.iter().find_map(|c| match &c.kind {
            // joining an empty path adds a slash, which makes another key
            ConflictKind::Saved(kept) => path.strip_prefix(&c.path).ok().map(|below| kept.join(below).components().collect()),
            _ => None,
        });
        for (path, line) in ours.iter().filter(|(p, l)| base.get(*p) != Some(l) && !l.starts_with("dir")) {
            if without_time(merged.get(path)) == without_time(Some(line)) {
                continue;
            }
            let only_touched = without_time(base.get(path)) == without_time(Some(line));
            let kept: Option<PathBuf> = kept(path);
            prop_assert!(
                only_touched || without_time(kept.and_then(|k| merged.get(&k))) == without_time(Some(line)),
                "{:?} {} is nowhere in {:#?}", path, line, merged
            );
        }
    }
}

fn without_time(line: Option<&String>) -> Option<&str> {
    line.and_then(|l| l.rsplit_once(' ')).map(|(line, _)| line)
}

use super::*;
use crate::sys::Root;
use crate::sysupdate::definition::Kind;
use crate::sysupdate::pattern::{Pattern, PatternList};
use crate::sysupdate::place::Bases;
use crate::sysupdate::testing::{instance, transfer, version};

/// A transfer with these patterns of its target, and a link.
fn with(id: &str, patterns: &[&str], link: Option<&str>) -> Transfer {
    let mut transfer = transfer(id);
    let patterns = patterns.iter().map(|text| Pattern::parse(text).unwrap());
    transfer.target.patterns = patterns.collect::<PatternList>();
    transfer.target.current_symlink = link.map(PathBuf::from);
    transfer
}

/// What is in its target: names.
fn resource<'d>(transfer: &'d Transfer, names: &[&str]) -> Resource<'d> {
    let all = transfer.target.patterns.patterns();
    let instances = names.iter().map(|name| {
        let mut matching = all.iter().enumerate();
        let found = matching.find_map(|(at, pattern)| Some((at, pattern.matches(name)?)));
        let (pattern, fields) = found.unwrap();
        Instance {
            version: fields.version,
            kind: Kind::RegularFile,
            spot: Spot::Path(PathBuf::from(name)),
            shown: (*name).to_owned(),
            pattern,
            metadata: fields.metadata,
            ..instance("1")
        }
    });
    Resource {
        transfer,
        target: instances.collect(),
        source: Vec::new(),
        slots: None,
        room: Vec::new(),
    }
}

/// The steps back to a version as words, and what is held then.
fn back(enabled: &[Resource<'_>], to: &str, held: &[&str]) -> Result<String, String> {
    let held = Held {
        versions: held.iter().map(|text| version(text)).collect(),
        becoming: None,
    };
    let sets = Sets::of(enabled);
    let set = sets.find(to).unwrap();
    let plan = Plan::back(enabled, &sets, set, &held).map_err(|refused| refused.to_string())?;
    let steps = plan.steps.iter().map(|(number, step)| {
        let id = &enabled[*number].transfer.id;
        match step {
            Step::Link(_, path) => format!("{id}: link {}", path.display()),
            Step::Rename(from, to) => format!("{id}: {} {}", from.display(), to.display()),
        }
    });
    let held = plan.held.iter().map(|version| format!("hold {version}"));
    Ok(steps.chain(held).collect::<Vec<_>>().join(", "))
}

#[test]
fn what_is_installed_last_goes_back_first_and_what_is_newer_is_not_tried() {
    let image = with("1", &["os_@v.raw"], Some("current"));
    let entry = with("2", &["os_@v+@l-@d.efi", "os_@v.efi"], None);
    let enabled = [
        resource(&image, &["os_1.raw", "os_2.raw", "os_3.raw"]),
        resource(&entry, &["os_1+0-3.efi", "os_2+1-2.efi", "os_3.efi"]),
    ];
    assert_eq!(
        back(&enabled, "1", &[]).unwrap(),
        "2: os_1+0-3.efi os_1+3-0.efi, 2: os_2+1-2.efi os_2+0-2.efi, 2: os_3.efi os_3+0-0.efi, 1: link os_1.raw, hold 3, hold 2"
    );
    // a version that was held and is wanted now is none any more; what was held and is gone stays so
    assert_eq!(
        back(&enabled, "2", &["2", "4"]).unwrap(),
        "2: os_3.efi os_3+0-0.efi, 1: link os_2.raw, hold 3, hold 4"
    );
    let done = [
        resource(&image, &["os_1.raw", "os_2.raw"]),
        resource(&entry, &["os_1.efi", "os_2+0-2.efi"]),
    ];
    assert_eq!(
        back(&done, "1", &["2"]).unwrap(),
        "1: link os_1.raw, hold 2"
    );
}

#[test]
fn the_link_shows_to_the_new_name_of_what_is_tried_again() {
    let mut entry = with("1", &["os_@v+@l-@d.efi"], Some("current.efi"));
    entry.target.settings.tries_left = Some(7);
    let enabled = [resource(&entry, &["os_1+0-7.efi", "os_2+2-0.efi"])];
    assert_eq!(
        back(&enabled, "1", &[]).unwrap(),
        "1: os_1+0-7.efi os_1+7-0.efi, 1: link os_1+7-0.efi, 1: os_2+2-0.efi os_2+0-0.efi, hold 2"
    );
}

#[test]
fn without_a_link_and_a_counter_nothing_leads_back_and_a_counted_directory_keeps_its_name() {
    let image = with("1", &["os_@v.raw"], None);
    let told = back(&[resource(&image, &["os_1.raw", "os_2.raw"])], "1", &[]).unwrap_err();
    assert!(told.contains("no transfer has CurrentSymlink="), "{told}");
    let deep = with("1", &["os_@v+@l/x.efi"], None);
    let told = back(
        &[resource(&deep, &["os_1+3/x.efi", "os_2+3/x.efi"])],
        "1",
        &[],
    )
    .unwrap_err();
    assert!(
        told.starts_with("os_2+3/x.efi cannot get another name"),
        "{told}"
    );
}

#[test]
fn the_newest_whole_version_before_the_current_one_is_gone_back_to() {
    let (a, b) = (with("a", &["os_@v"], Some("x")), with("b", &["b_@v"], None));
    let chosen = |a_has: &[&str], b_has: &[&str], held: &[&str], becoming: Option<&str>, text| {
        let enabled = [resource(&a, a_has), resource(&b, b_has)];
        let held = Held {
            versions: held.iter().map(|text| version(text)).collect(),
            becoming: becoming.map(version),
        };
        match choose(&Sets::of(&enabled), &held, text) {
            Ok(set) => set.version.to_string(),
            Err(refused) => refused
                .to_string()
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        }
    };
    let (all_a, all_b) = (["os_1", "os_2", "os_3"], ["b_1", "b_2", "b_3"]);
    assert_eq!(chosen(&all_a, &all_b, &[], None, None), "2");
    assert_eq!(chosen(&all_a, &["b_1", "b_3"], &[], None, None), "1");
    assert_eq!(chosen(&all_a, &["b_1", "b_2"], &[], None, None), "1");
    // 3 was gone back from, and then 2
    assert_eq!(chosen(&all_a, &all_b, &["3"], None, None), "1");
    assert_eq!(chosen(&all_a, &all_b, &["2"], None, None), "1");
    assert_eq!(chosen(&all_a, &all_b, &["3"], Some("2"), None), "2");
    assert_eq!(
        chosen(&all_a, &all_b, &["3", "2"], None, None),
        "No version that"
    );
    assert_eq!(chosen(&["os_1"], &[], &[], None, None), "No version is");
    assert_eq!(chosen(&all_a, &all_b, &[], None, Some("1")), "1");
    assert_eq!(
        chosen(&all_a, &["b_1"], &[], None, Some("2")),
        "Version '2' is"
    );
    assert_eq!(
        chosen(&all_a, &all_b, &[], None, Some("1.0")),
        "Update '1.0' not"
    );
}

#[test]
fn what_is_immutable_stays_so_with_its_new_name_and_when_it_cannot_have_that() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let ground = Ground {
        root: &Root::at(dir.path()).unwrap(),
        bases: &Bases::default(),
        is_durable: true,
    };
    let found = ground.make(&transfer("a")).unwrap();
    let path = |name: &str| found.path.join(name);
    for name in ["os_1+3-0", "os_2+0-0"] {
        std::fs::write(path(name), "x").unwrap();
    }
    let file = File::open(path("os_1+3-0")).unwrap();
    let is_root = nix::unistd::Uid::effective().is_root();
    if is_root {
        attr::make_immutable(file.as_fd()).unwrap();
    }
    let rename = |to: &str| rename(ground, &found, "os_1+3-0".as_ref(), to.as_ref());
    let told = format!("{:#}", rename("os_2+0-0").unwrap_err());
    assert!(told.contains("File exists"), "{told}");
    assert!(!is_root || std::fs::remove_file(path("os_1+3-0")).is_err());
    rename("os_1+0-0").unwrap();
    assert!(!is_root || std::fs::remove_file(path("os_1+0-0")).is_err());
    assert_eq!(attr::lift(file.as_fd()).unwrap().is_some(), is_root);
}

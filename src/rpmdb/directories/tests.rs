use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::rpmdb::testing::{
    self, chars, dir, files, header, identity, package, strings, u16s, u32s,
};

fn prefixes(paths: &[&str]) -> Vec<Prefix> {
    let all = paths.iter().map(|p| Prefix::new(Path::new(p)).unwrap());
    all.collect()
}

fn read(blob: &[u8]) -> Result<Vec<DirectoryEntry>, Damage> {
    let mut room = MOST_TEXT;
    let all = prefixes(&["/var", "/srv", "/opt"]);
    of(&Header::parse(blob).unwrap(), &all, 3, &mut room)
}

fn paths(blob: &[u8]) -> Vec<Vec<u8>> {
    let found = read(blob).unwrap();
    let paths = found
        .into_iter()
        .map(|e| e.path.into_os_string().into_encoded_bytes());
    paths.collect()
}

/// A package with the directory /var/lib/a and the file /var/lib/f, whose tags `change` changes.
fn changed(change: impl Fn(&mut Vec<testing::Value>)) -> Vec<u8> {
    let file = testing::File {
        mode: 0o100_644,
        ..dir("/var/lib/", "f")
    };
    let mut values = [identity("pkg"), files(&[dir("/var/lib/", "a"), file])].concat();
    change(&mut values);
    header(&values, &[chars(1029, &[0, 0])])
}

fn replace(values: &mut Vec<testing::Value>, value: testing::Value) {
    values.retain(|v| v.tag != value.tag);
    values.push(value);
}

fn why(blob: &[u8]) -> String {
    read(blob).expect_err("a damaged header").to_string()
}

#[test]
fn an_entry_has_what_the_header_says() {
    let owned = [
        dir("/usr/lib/", "pkg"),
        testing::File {
            mode: 0o43_775,
            user: "pkg",
            group: "mail",
            flags: 64 | 2,
            state: 2,
            ..dir("/var/lib/", "pkg")
        },
        testing::File {
            mode: 0o120_777,
            ..dir("/var/lib/", "link")
        },
        testing::File {
            state: 9,
            ..dir("/opt/", "x")
        },
    ];
    let found = read(&package("pkg", &owned)).unwrap();
    assert_eq!(
        found[0],
        DirectoryEntry {
            path: "/var/lib/pkg".into(),
            mode: 0o3775,
            user: "pkg".into(),
            group: "mail".into(),
            is_ghost: true,
            state: FileState::NotInstalled,
            package: 3,
        }
    );
    assert_eq!(
        (found[1].path.as_path(), found[1].state),
        (Path::new("/opt/x"), FileState::Unknown(9))
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn a_prefix_itself_and_its_neighbours_are_not_below_it() {
    let owned = [
        dir("/", "var"),
        dir("/", "various"),
        dir("/various/", "x"),
        dir("/var/", "x"),
    ];
    assert_eq!(paths(&package("pkg", &owned)), [b"/var/x"]);
    let only = prefixes(&["/var/lib/pkg"]);
    let blob = package(
        "pkg",
        &[dir("/var/lib/", "pkg"), dir("/var/lib/pkg/", "sub")],
    );
    let found = of(&Header::parse(&blob).unwrap(), &only, 0, &mut { MOST_TEXT }).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, Path::new("/var/lib/pkg/sub"));
}

#[test]
fn without_states_every_file_is_installed_and_a_state_too_few_is_damage() {
    let values = [
        identity("pkg"),
        files(&[dir("/var/", "a"), dir("/var/", "b")]),
    ]
    .concat();
    let found = read(&header(&values, &[])).unwrap();
    assert!(found.iter().all(|e| e.state == FileState::Normal));
    assert!(why(&header(&values, &[chars(1029, &[0])])).contains("1029"));
}

#[test]
fn whole_paths_of_an_old_package_are_read_and_both_forms_are_damage() {
    let mut values = identity("pkg");
    values.extend(files(&[dir("/", "x"), dir("/", "x")]));
    values.retain(|v| ![1116, 1117, 1118].contains(&v.tag));
    values.push(strings(1027, &["/var/lib/old", "/usr/old"]));
    assert_eq!(paths(&header(&values, &[])), [b"/var/lib/old"]);
    assert!(why(&changed(|v| v.push(strings(1027, &["/var/lib/old"])))).contains("both"));
}

#[test]
fn arrays_of_different_length_are_damage() {
    for (tag, value) in [
        (1030, u16s(1030, &[0o40755])),
        (1037, u32s(1037, &[0, 0, 0])),
        (1039, strings(1039, &["root"])),
        (1040, strings(1040, &["root", "root", "root"])),
        (1116, u32s(1116, &[0])),
        (1117, strings(1117, &["a", "b", "c"])),
    ] {
        let blob = changed(|v| replace(v, value.clone()));
        assert!(why(&blob).contains("values of tag"), "{tag}");
        let without = changed(|v| v.retain(|v| v.tag != tag));
        assert!(read(&without).is_err(), "no tag {tag}");
    }
}

#[test]
fn a_string_too_few_is_damage_wherever_it_is_missing() {
    for tag in [1039, 1040, 1117, 1118] {
        // the last of all strings, so that nothing follows which could be taken for one
        let mut values = [
            identity("pkg"),
            files(&[dir("/var/lib/", "a"), dir("/var/lib/", "b")]),
        ]
        .concat();
        let mut short = values.iter().find(|v| v.tag == tag).unwrap().clone();
        values.retain(|v| v.tag != tag);
        short.data.truncate(short.data.len() / 2);
        let blob = header(&values, &[short]);
        assert!(why(&blob).contains("no end"), "{tag}");
    }
}

#[test]
fn a_directory_number_that_is_none_is_damage() {
    for index in [2, 0xffff_ffff] {
        let blob = changed(|v| replace(v, u32s(1116, &[0, index])));
        assert!(why(&blob).contains(&index.to_string()));
    }
}

#[test]
fn the_name_of_a_directory_begins_and_ends_with_a_slash() {
    for name in ["var/lib/", "/var/lib", "", "var"] {
        let blob = changed(|v| replace(v, strings(1118, &["/var/lib/", name])));
        assert!(why(&blob).contains("no name of a directory"), "{name}");
    }
}

#[test]
fn a_mode_of_no_known_type_is_damage() {
    for mode in [0, 0o755, 0o30_755, 0o170_777] {
        let blob = changed(|v| replace(v, u16s(1030, &[0o40755, mode])));
        assert!(why(&blob).contains("/var/lib/f"), "{mode:o}");
    }
}

#[test]
fn odd_paths_and_owners_are_handed_out_as_they_are() {
    let long = "x".repeat(5000);
    for name in ["..", "../../etc", "", "a\nb", long.as_str()] {
        let found = read(&package("pkg", &[dir("/var/lib/", name)])).unwrap();
        assert_eq!(
            found[0].path.as_os_str().as_bytes(),
            format!("/var/lib/{name}").as_bytes()
        );
    }
    let no_text = testing::File {
        name: b"\xff\xfe",
        user: "",
        group: "1000",
        ..dir("/var/lib/", "")
    };
    let found = read(&package("pkg", &[no_text])).unwrap();
    assert_eq!(found[0].path.as_os_str().as_bytes(), b"/var/lib/\xff\xfe");
    assert_eq!(
        (found[0].user.as_os_str(), found[0].group.as_os_str()),
        ("".as_ref(), "1000".as_ref())
    );
    // a NUL ends a name: there is one more than there are files
    let blob = changed(|v| replace(v, strings(1117, &["a\0b", "c"])));
    assert_eq!(paths(&blob), [b"/var/lib/a"]);
}

#[test]
fn a_header_that_repeats_a_long_directory_cannot_take_all_memory() {
    let name = format!("/var/{}/", "x".repeat(1 << 20));
    let values = [identity("pkg"), files(&vec![dir("/var/", "x"); 100])].concat();
    let mut values: Vec<_> = values
        .into_iter()
        .filter(|v| ![1116, 1118].contains(&v.tag))
        .collect();
    values.extend([u32s(1116, &[0; 100]), strings(1118, &[name])]);
    let blob = header(&values, &[]);
    assert!(why(&blob).contains("longer ones"));
    let mut room = 1000;
    let all = prefixes(&["/var"]);
    let small = package("pkg", &[dir("/var/", "a")]);
    assert!(of(&Header::parse(&blob).unwrap(), &all, 0, &mut room).is_err());
    assert_eq!(room, 1000, "the next package is not the poorer for it");
    assert!(of(&Header::parse(&small).unwrap(), &all, 0, &mut room).is_ok());
    assert!(room < 1000);
}

#[test]
fn a_header_that_repeats_a_long_directory_for_files_takes_no_time() {
    const COUNT: usize = 50_000;
    let name = format!("/var/{}/", "x".repeat(16 << 20));
    let owners = strings(1039, &["r"; COUNT]);
    let groups = testing::Value {
        tag: 1040,
        ..owners.clone()
    };
    let values = vec![
        u16s(1030, &[0o100_644; COUNT]),
        u32s(1037, &[0; COUNT]),
        owners,
        groups,
        u32s(1116, &[0; COUNT]),
        strings(1117, &["f"; COUNT]),
        strings(1118, &[name]),
    ];
    let blob = header(&[identity("pkg"), values].concat(), &[]);
    let begun = std::time::Instant::now();
    assert!(paths(&blob).is_empty());
    // all their paths together have 800 gigabytes
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[derive(Debug, Clone)]
struct Owned {
    dir: String,
    name: String,
    mode: u16,
}

fn owned() -> impl Strategy<Value = Owned> {
    let dir = prop::sample::select(vec![
        "/",
        "/var/",
        "/var/lib/",
        "/srv/",
        "/usr/",
        "/various/",
    ]);
    let mode = prop::sample::select(vec![0o40755_u16, 0o41777, 0o100_644, 0o120_777]);
    (dir, "[a-z]{1,4}", mode).prop_map(|(dir, name, mode)| Owned {
        dir: dir.to_owned(),
        name,
        mode,
    })
}

proptest! {
    #[test]
    fn directories_below_a_prefix_are_found_and_no_others(all in prop::collection::vec(owned(), 0..20)) {
        let list: Vec<_> = all.iter().map(|o| testing::File { mode: o.mode, ..dir(&o.dir, &o.name) }).collect();
        let expected: Vec<_> = all.iter()
            .filter(|o| o.mode >> 12 == 4)
            .map(|o| format!("{}{}", o.dir, o.name))
            .filter(|p| ["/var/", "/srv/", "/opt/"].iter().any(|prefix| p.starts_with(prefix)))
            .map(String::into_bytes)
            .collect();
        prop_assert_eq!(paths(&package("pkg", &list)), expected);
    }

    #[test]
    fn no_change_of_a_good_package_makes_the_scan_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut blob = changed(|_| ());
        for (at, byte) in changes {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        if let Ok(header) = Header::parse(&blob) {
            drop(of(&header, &prefixes(&["/var"]), 0, &mut { MOST_TEXT }));
        }
    }
}

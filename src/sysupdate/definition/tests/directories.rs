//! All files of a system: where they are looked for, and which of them count.

use super::*;

#[test]
fn the_first_base_with_a_name_wins_and_a_mask_hides_it() {
    let vendor = |min: &str| transfer(&format!("MinVersion={min}"), "", "");
    let tree = Tree::new(&[
        ("usr/lib/sysupdate.d/a.transfer", &vendor("1")),
        ("usr/local/lib/sysupdate.d/a.transfer", &vendor("2")),
        ("run/sysupdate.d/a.transfer", &vendor("3")),
        ("usr/lib/sysupdate.d/b.transfer", &vendor("1")),
        ("etc/sysupdate.d/b.transfer", ""),
        ("usr/lib/sysupdate.d/c.transfer", &vendor("1")),
        ("usr/lib/sysupdate.d/d.transfer", &vendor("4")),
        ("usr/lib/sysupdate.d/.hidden.transfer", "broken"),
        ("usr/lib/sysupdate.d/e.conf", &vendor("5")),
        ("usr/share/f", &vendor("6")),
    ]);
    tree.link("etc/sysupdate.d/c.transfer", "/dev/null");
    tree.link("etc/sysupdate.d/d.transfer", "/nowhere");
    tree.link("etc/sysupdate.d/f.transfer", "/usr/share/f");
    let found = tree.load().unwrap();
    let found: Vec<(&str, &str)> = found
        .transfers
        .iter()
        .map(|t| (t.id.as_str(), t.min_version.as_ref().unwrap().as_str()))
        .collect();
    assert_eq!(found, [("a", "3"), ("d", "4"), ("f", "6")]);
}

#[test]
fn drop_ins_of_all_bases_follow_the_file_in_the_order_of_their_names() {
    let tree = Tree::new(&[
        (
            "usr/lib/sysupdate.d/a.transfer",
            &transfer("MinVersion=1\nProtectVersion=1", "", ""),
        ),
        (
            "usr/lib/sysupdate.d/a.transfer.d/10-x.conf",
            "[Transfer]\nMinVersion=2",
        ),
        (
            "etc/sysupdate.d/a.transfer.d/20-y.conf",
            "[Transfer]\nMinVersion=3\nProtectVersion=2",
        ),
        (
            "usr/lib/sysupdate.d/a.transfer.d/20-y.conf",
            "[Transfer]\nMinVersion=9",
        ),
        (
            "run/sysupdate.d/a.transfer.d/05-w.conf",
            "[Transfer]\nMinVersion=8\nVerify=no",
        ),
        (
            "run/sysupdate.d/a.transfer.d/note",
            "[Transfer]\nMinVersion=7",
        ),
    ]);
    let found = tree.load().unwrap().transfers.remove(0);
    assert!(found.min_version.unwrap().is_text("3") && !found.verify);
    assert_eq!(found.protected, ["1", "2"]);
}

#[test]
fn transfers_are_conf_files_only_where_there_is_no_other() {
    let tree = Tree::new(&[
        ("etc/sysupdate.d/b.conf", &transfer("", "", "")),
        ("usr/lib/sysupdate.d/a.conf", &transfer("", "", "")),
    ]);
    let found = tree.load().unwrap();
    let ids: Vec<&str> = found.transfers.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(
        found.warnings,
        ["As of v257, transfer definitions should have the '.transfer' extension."]
    );
    tree.write(
        "etc/sysupdate.d/c.transfer",
        &transfer("Features=off", "", ""),
    );
    let found = tree.load().unwrap();
    assert_eq!((found.transfers.len(), found.enabled().count()), (1, 0));
}

#[test]
fn a_transfer_takes_part_when_its_features_are_on() {
    let tree = Tree::new(&[
        (
            "usr/lib/sysupdate.d/on.feature",
            "[Feature]\nDescription=It is on\nDocumentation=http://h/a http://h/b\nAppStream=http://h/x\nEnabled=yes",
        ),
        (
            "usr/lib/sysupdate.d/off.feature",
            "[Feature]\nEnabled=no\nSuggest=yes\nX-A=1\nOdd=1",
        ),
        (
            "usr/lib/sysupdate.d/more.feature",
            "[Feature]\nSuggestOnArchitecture=x86-64",
        ),
        (
            "etc/sysupdate.d/more.feature.d/50-systemd-sysupdate-enabled.conf",
            "[Feature]\nEnabled=yes",
        ),
    ]);
    for (name, lines, is_enabled) in [
        ("a", "", true),
        ("b", "Features=on", true),
        ("c", "Features=off on", true),
        ("d", "Features=off", false),
        ("e", "Features=unknown", false),
        ("f", "RequisiteFeatures=on more", true),
        ("g", "RequisiteFeatures=on off", false),
        ("h", "Features=on\nRequisiteFeatures=off", false),
    ] {
        let id = format!("{name}-{is_enabled}");
        tree.write(
            &format!("usr/lib/sysupdate.d/{id}.transfer"),
            &transfer(lines, "", ""),
        );
    }
    let found = tree.load().unwrap();
    for transfer in &found.transfers {
        assert!(
            transfer.id.ends_with(&transfer.is_enabled.to_string()),
            "{}",
            transfer.id
        );
    }
    assert_eq!(found.transfers.len(), 8);
    let names: Vec<&str> = found.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["more", "off", "on"]);
    let specifiers = specifiers();
    let machine = Machine {
        root: crate::sys::Root::live(),
        specifiers: &specifiers,
        command_line: "",
    };
    let suggested: Vec<Option<bool>> = found
        .features
        .iter()
        .map(|f| f.suggestion.holds(&machine))
        .collect();
    assert_eq!(suggested, [Some(true), Some(true), Some(false)]);
    let on = &found.features[2];
    assert_eq!(
        (on.description.as_deref(), on.app_stream.as_deref()),
        (Some("It is on"), Some("http://h/x"))
    );
    assert_eq!(on.documentation, ["http://h/a", "http://h/b"]);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[test]
fn every_directory_of_a_component_makes_one_and_its_file_says_more() {
    let tree = Tree::new(&[
        ("usr/lib/sysupdate.foo.d/a.transfer", &transfer("", "", "")),
        ("etc/sysupdate.bar.d/x", ""),
        (
            "etc/sysupdate.foo.component.d/50-systemd-sysupdate-enabled.conf",
            "[Component]\nEnabled=no",
        ),
        (
            "usr/lib/sysupdate.foo.component",
            "[Component]\nDescription=Foo\nDocumentation=https://h",
        ),
        ("etc/sysupdate.d/a.transfer", &transfer("", "", "")),
        ("etc/sysupdate.file.d", "no directory"),
    ]);
    let (found, warnings) = components(&tree.root(), &specifiers()).unwrap();
    assert_eq!(warnings, [""; 0]);
    let found: Vec<_> = found
        .iter()
        .map(|c| (c.name.as_str(), c.is_enabled, c.description.as_deref()))
        .collect();
    assert_eq!(found, [("bar", true, None), ("foo", false, Some("Foo"))]);
    let only = Collection::Component("foo".into());
    let definitions = Definitions::load(&tree.root(), &only, &specifiers()).unwrap();
    assert_eq!(definitions.transfers.len(), 1);
    let (bar, _) = component(&tree.root(), "bar", &specifiers()).unwrap();
    assert!(bar.is_enabled);
}

#[test]
fn a_component_has_a_name_that_can_be_part_of_a_file_name() {
    for good in ["foo", "a.b", "a-b_c", "é"] {
        assert!(is_component_name(good), "{good}");
    }
    let long = "x".repeat(201);
    for bad in ["", ".", "..", "../x", "a/b", "a\n", "foo.component", &long] {
        assert!(!is_component_name(bad), "{bad}");
    }
}

#[test]
fn a_directory_of_its_own_has_its_drop_ins_and_nothing_else_counts() {
    let tree = Tree::new(&[
        ("d/a.transfer", &transfer("", "", "")),
        ("d/a.transfer.d/x.conf", "[Transfer]\nMinVersion=3"),
        ("etc/sysupdate.d/b.transfer", &transfer("", "", "")),
    ]);
    let load = |dir: &str| {
        Definitions::load(
            &tree.root(),
            &Collection::Directory(dir.into()),
            &specifiers(),
        )
        .unwrap()
    };
    let found = load("/d");
    assert_eq!(found.transfers.len(), 1);
    assert!(
        found.transfers[0]
            .min_version
            .as_ref()
            .unwrap()
            .is_text("3")
    );
    assert_eq!(load("/nowhere"), Definitions::default());
}

#[test]
fn a_link_does_not_lead_out_of_the_root_and_what_is_too_large_is_refused() {
    let outside = Tree::new(&[("a.transfer", &transfer("", "", ""))]);
    let tree = Tree::new(&[("etc/x", "")]);
    tree.link(
        "etc/sysupdate.d/a.transfer",
        outside.0.path().join("a.transfer").to_str().unwrap(),
    );
    assert!(tree.load().unwrap().transfers.is_empty());
    let large = "#".repeat((1 << 20) + 1);
    tree.write("etc/sysupdate.d/b.transfer", &large);
    let e = tree.load().unwrap_err().to_string();
    assert!(
        e.ends_with("b.transfer: cannot be read: it is larger than 1048576 bytes"),
        "{e}"
    );
    tree.write("etc/sysupdate.d/b.transfer", &large[2..]);
    assert!(
        tree.load()
            .unwrap_err()
            .to_string()
            .contains("Source Type=")
    );
    let many = Tree::new(&[]);
    for n in 0..1001 {
        many.write(&format!("etc/sysupdate.d/{n}.feature"), "[Feature]");
    }
    let e = many.load().unwrap_err().to_string();
    assert!(e.contains("more than 1000 files"), "{e}");
}

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::sysupdate::PartitionType;

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

#[test]
fn a_file_that_cannot_be_used_is_refused_with_file_line_and_reason() {
    for (text, why) in [
        (
            "[Target]\nType=regular-file\nPath=/x",
            "a.transfer:1: Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume.",
        ),
        (
            "[Source]\nType=partition\nPath=/dev/x\nMatchPattern=a@v\n[Target]\nPath=/x",
            "a.transfer:1: Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume.",
        ),
        (
            "[Source]\nType=url-file\n[Target]\nPath=/x",
            "a.transfer:1: Source specification lacks Path=.",
        ),
        (
            "[Source]\nType=url-file\nPath=ftp://x/\nMatchPattern=a@v\n[Target]\nPath=/x",
            "a.transfer:1: Source path is not a valid HTTP or HTTPS URL: ftp://x/",
        ),
        (
            "[Source]\nType=url-file\nPath=ftp://me:secret@x/y@z\nMatchPattern=a@v\n[Target]\nPath=/x",
            "a.transfer:1: Source path is not a valid HTTP or HTTPS URL: ftp://x/y@z",
        ),
        (
            "[Source]\nType=url-file\nPath=http://127.0.0.1:1/\n[Target]\nPath=/x",
            "a.transfer:1: Source specification lacks MatchPattern=.",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=abc\n[Target]\nPath=/x",
            "a.transfer:4: MatchPattern= string is not valid, refusing: abc (it has no @v, for the version)",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nType=directory\nPath=/x",
            "a.transfer:1: Target type 'directory' is incompatible with source type 'regular-file', refusing.",
        ),
        (
            "[Source]\nType=url-tar\nPath=http://h\nMatchPattern=a@v\n[Target]\nType=partition\nPath=/x",
            "a.transfer:1: Target type 'partition' is incompatible with source type 'url-tar', refusing.",
        ),
        (
            "[Source]\nType=regular-file\nPath=x/y\nMatchPattern=a@v\n[Target]\nPath=/x",
            "a.transfer:1: Source path is not a normalized, absolute path: x/y",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nPath=/x/../y",
            "a.transfer:1: Target path is not a normalized, absolute path: /x/../y",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nType=regular-file",
            "a.transfer:1: Target specification lacks Path=.",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nType=regular-file\nPath=auto",
            "a.transfer:1: Target path is not a normalized, absolute path: auto",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nPath=/y\nMatchPattern=**/a@v",
            "a.transfer:1: Target MatchPattern= may not begin with **/, refusing: **/a@v",
        ),
        (
            "[Source]\nType=directory\nPath=/x\nMatchPattern=**/a@v\n[Target]\nPath=/y",
            "a.transfer:1: Source type 'directory' cannot be matched by a pattern with **/, refusing.",
        ),
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nPath=/y\nPathRelativeTo=explicit",
            "a.transfer:1: PathRelativeTo=explicit may only be used for sources, refusing.",
        ),
        ("[Source", "a.transfer:1: Invalid section header '[Source'"),
        // an assignment with an unknown specifier does not count
        (
            "[Source]\nType=regular-file\nPath=/x\nMatchPattern=%Z@v\n[Target]\nPath=/y",
            "a.transfer:1: Source specification lacks MatchPattern=.",
        ),
    ] {
        assert_eq!(refused(text), why);
    }
    assert!(
        refused("[Source]\nMatchPattern=a\\q@v")
            .starts_with("a.transfer:2: MatchPattern= string is not valid, refusing: a\\q@v")
    );
}

#[test]
fn what_is_not_set_has_its_default() {
    let (found, warnings) = one(&transfer("", "", "")).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        (found.id.as_str(), found.verify, found.is_enabled),
        ("a", true, true)
    );
    assert_eq!(
        (found.target.kind, found.target.instances_max()),
        (Kind::RegularFile, 3)
    );
    assert!(
        found.target.remove_temporary && found.min_version.is_none() && found.protected.is_empty()
    );
    assert_eq!(found.target.settings, crate::sysupdate::Metadata::default());
    assert_eq!(found.target.partition_type, PartitionType::default());
    assert_eq!(
        (found.source.kind, found.target.current_symlink),
        (Kind::RegularFile, None)
    );
}

#[test]
fn the_type_of_a_target_follows_from_its_source_and_its_path() {
    let kind = |source: &str, path: &str| {
        let address = if source.starts_with("url") {
            "http://h/"
        } else {
            "/s"
        };
        let text = format!(
            "[Source]\nType={source}\nPath={address}\nMatchPattern=a@v\n[Target]\nPath={path}\nMatchPattern=a@v"
        );
        let target = one(&text).unwrap().0.target;
        (
            target.kind,
            target.place.is_some(),
            target.instances_max() == u64::MAX,
        )
    };
    assert_eq!(kind("url-file", "/dev/sda"), (Kind::Partition, true, true));
    assert_eq!(kind("regular-file", "auto"), (Kind::Partition, false, true));
    assert_eq!(
        kind("regular-file", "/device"),
        (Kind::RegularFile, true, false)
    );
    for tree in ["url-tar", "tar", "directory"] {
        assert_eq!(kind(tree, "/d"), (Kind::Directory, true, false));
    }
    assert_eq!(kind("subvolume", "/d"), (Kind::Subvolume, true, false));
}

#[test]
fn every_key_of_a_transfer_is_taken() {
    let (found, warnings) = one(&transfer(
        "MinVersion=%w\nProtectVersion=1 2\nProtectVersion=3\nVerify=no\nChangeLog=http://h/@v http://h/@v\nAppStream=https://h/%w\n\
         Features=one two\nFeatures=three\nRequisiteFeatures=four",
        "MatchPattern=b@v c\\x20@v\nPathRelativeTo=esp\nX-Mirror=https://m1/ http://m2/?q\nX-Other=1",
        "MatchPartitionType=root\nPartitionUUID=f4d1234f3ebf47c4b31d4052982f9a2f\nPartitionFlags=0x10\nPartitionNoAuto=yes\n\
         PartitionGrowFileSystem=off\nReadOnly=1\nMode=0640\nTriesLeft=5\nTriesDone=2\nInstancesMax=4\nRemoveTemporary=no\n\
         CurrentSymlink=current/os.raw\nPathRelativeTo=boot",
    ))
    .unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(found.min_version.unwrap().is_text("9") && !found.verify && !found.is_enabled);
    assert_eq!(found.protected, ["1", "2", "3"]);
    assert_eq!(found.change_log, ["http://h/@v"]);
    assert_eq!(found.app_stream, ["https://h/9"]);
    assert_eq!(found.features, ["one", "two", "three"]);
    assert_eq!(found.requisite_features, ["four"]);
    let patterns: Vec<&str> = found
        .source
        .patterns
        .patterns()
        .iter()
        .map(|p| p.as_str())
        .collect();
    assert_eq!(patterns, ["os_@v.raw", "b@v", "c @v"]);
    let mirrors: Vec<String> = found
        .source
        .mirrors
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(mirrors, ["https://m1/", "http://m2/"]);
    let Location::Local(place) = found.source.location else {
        panic!("a directory")
    };
    assert_eq!((place.path.to_str(), place.base), (Some("/src"), Base::Esp));
    let target = found.target;
    assert_eq!(target.place.unwrap().base, Base::Boot);
    assert_eq!(target.partition_type.name(), Some("root-x86-64"));
    let settings = target.settings;
    assert_eq!(
        settings.uuid.unwrap().to_string(),
        "f4d1234f-3ebf-47c4-b31d-4052982f9a2f"
    );
    assert_eq!(settings.flags, Some(16));
    assert_eq!(
        (settings.no_auto, settings.grow_fs, settings.read_only),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(
        (settings.mode, settings.tries_left, settings.tries_done),
        (Some(0o640), Some(5), Some(2))
    );
    assert_eq!(
        (target.instances_max, target.remove_temporary),
        (Some(4), false)
    );
    assert_eq!(
        target.current_symlink.as_deref(),
        Some(Path::new("current/os.raw"))
    );
}

#[test]
fn a_value_that_is_not_understood_is_told_and_changes_nothing() {
    let default = one(&transfer("", "", "")).unwrap().0;
    for (section, line) in [
        (0, "MinVersion=1,2"),
        (0, "MinVersion=%Z"),
        (0, "ProtectVersion=a/b"),
        (0, "ProtectVersion=%A"),
        (0, "Verify=maybe"),
        (0, "ChangeLog=ftp://x"),
        (0, "Unknown=1"),
        (1, "PathRelativeTo=home"),
        (1, "X-Mirror=ftp://x"),
        (1, "Mode=0644"),
        (2, "MatchPartitionType=vax"),
        (2, "PartitionUUID=1"),
        (2, "PartitionFlags=zz"),
        (2, "ReadOnly=perhaps"),
        (2, "Mode=0888"),
        (2, "Mode=77777"),
        (2, "Mode=+644"),
        (2, "TriesLeft=-1"),
        (2, "InstancesMax=many"),
        (2, "RemoveTemporary=x"),
        (2, "CurrentSymlink=../x"),
        (2, "CurrentSymlink=a/./x"),
        (2, "CurrentSymlink=a/"),
        (2, "CurrentSymlink=/"),
    ] {
        let mut lines = [""; 3];
        lines[section] = line;
        let (found, warnings) = one(&transfer(lines[0], lines[1], lines[2])).unwrap();
        assert_eq!(warnings.len(), 1, "{line}: {warnings:?}");
        let found = Transfer {
            path: default.path.clone(),
            ..found
        };
        assert_eq!(found, default, "{line}");
    }
    for few in ["0", "1"] {
        let (found, warnings) = one(&transfer("", "", &format!("InstancesMax={few}"))).unwrap();
        assert_eq!((found.target.instances_max(), warnings.len()), (2, 1));
    }
}

#[test]
fn an_empty_value_empties_a_list_and_unsets_a_value() {
    let (found, warnings) = one(&transfer(
        "ProtectVersion=1\nProtectVersion=\nMinVersion=1\nMinVersion=\nFeatures=a\nFeatures=\nChangeLog=http://h\nChangeLog=",
        "MatchPattern=\nMatchPattern=new_@v",
        "ReadOnly=yes\nReadOnly=\nCurrentSymlink=x\nCurrentSymlink=\nInstancesMax=5\nInstancesMax=",
    ))
    .unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(found.protected.is_empty() && found.features.is_empty() && found.change_log.is_empty());
    assert!(found.min_version.is_none() && found.target.settings.read_only.is_none());
    assert_eq!(found.source.patterns.patterns().len(), 1);
    assert_eq!(
        (found.target.current_symlink, found.target.instances_max),
        (None, None)
    );
}

#[test]
fn unknown_sections_and_patterns_that_match_nothing_are_told_and_own_ones_are_not() {
    let text = format!(
        "A=1\n[X-Own]\nB=1\n[Odd]\nC=1\nD=1\n{}",
        transfer("X-Key=1", "MatchPattern=/x@v", "")
    );
    let (_, warnings) = one(&text).unwrap();
    assert_eq!(
        warnings,
        [
            "a.transfer:1: Assignment outside of section. Ignoring.",
            "a.transfer:5: Unknown section 'Odd'. Ignoring.",
            "a.transfer:1: no name can ever match the pattern /x@v",
        ]
    );
}

#[test]
fn a_target_without_patterns_takes_those_of_its_source() {
    let (found, warnings) =
        one("[Source]\nType=regular-file\nPath=/x\nMatchPattern=**/a@v\n[Target]\nPath=/y")
            .unwrap();
    assert_eq!(found.target.patterns.first().unwrap().as_str(), "a@v");
    assert!(warnings[0].ends_with(
        "lacks MatchPattern= expression. Assuming same value as in source specification."
    ));
}

#[test]
fn a_link_of_a_partition_has_to_be_absolute() {
    let target = |link: &str| {
        let text = transfer(
            "",
            "",
            &format!("Type=partition\nPath=/disk\nCurrentSymlink={link}"),
        );
        let (found, warnings) = one(&text).unwrap();
        (found.target.current_symlink, warnings.len())
    };
    assert_eq!(
        target("/run/current"),
        (Some(PathBuf::from("/run/current")), 0)
    );
    assert_eq!(target("current"), (None, 1));
}

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

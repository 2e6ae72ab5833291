//! One transfer file: its keys and their values.

use super::*;
use crate::sysupdate::PartitionType;

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

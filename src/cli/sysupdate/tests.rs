//! What is printed, byte for byte as systemd-sysupdate(8) prints it (tests/data/sysupdate/transcripts).

use super::*;
use crate::sys::hex::from_hex;
use crate::sysupdate::definition::Transfer;
use crate::sysupdate::testing::{instance, resource, transfer, version};
use crate::sysupdate::{Instance, Kind, Resource, Sets, Uuid};

/// What the command number `number` of a transcript printed to standard output.
fn printed(transcript: &str, number: usize) -> String {
    let mut commands = transcript.split("\n--stdout\n").skip(1);
    let rest = commands.nth(number).expect("that many commands");
    let (text, _) = rest
        .split_once("--stderr\n")
        .expect("standard error follows");
    text.to_owned()
}

macro_rules! transcript {
    ($name:literal) => {
        include_str!(concat!(
            "../../../tests/data/sysupdate/transcripts/",
            $name,
            ".txt"
        ))
    };
}

const ALL: &str = "2.0-beta 2.0~rc1 1.1 1.0 0.9";

/// Two transfers of which one protects a version and the other wants another one at least.
fn two(protected: &str, min: Option<&str>) -> [Transfer; 2] {
    let mut both = [transfer("a"), transfer("b")];
    both[0]
        .protected
        .extend((!protected.is_empty()).then(|| protected.to_owned()));
    both[1].min_version = min.map(version);
    both
}

fn with<'t>(transfers: &'t [Transfer; 2], targets: [&str; 2], source: &str) -> [Resource<'t>; 2] {
    [
        resource(&transfers[0], targets[0], source),
        resource(&transfers[1], targets[1], source),
    ]
}

#[test]
fn the_table_of_all_versions_is_as_systemd_prints_it() {
    let newer = format!("2.5 {ALL}");
    for (transcript, number, transfers, targets, source, has_header) in [
        (
            transcript!("01-list"),
            0,
            two("0.9", None),
            ["1.1 1.0 0.9", "1.1"],
            ALL,
            true,
        ),
        (
            transcript!("01-list"),
            1,
            two("", Some("2.5")),
            ["2.5 2.0-beta 0.9", "2.5"],
            "2.5 2.0-beta 2.0~rc1 1.1 1.0 0.9",
            true,
        ),
        (
            transcript!("01-list"),
            2,
            two("", Some("2.5")),
            ["2.5", "2.5"],
            &newer,
            false,
        ),
        (transcript!("01-list"), 3, two("", None), ["", ""], "", true),
        (
            transcript!("02-list-partial-pending"),
            0,
            two("0.9", None),
            ["2.5 2.0-beta 0.9", "2.5?"],
            &newer,
            true,
        ),
        (
            transcript!("02-list-partial-pending"),
            1,
            two("", None),
            ["1.1! 1.0", "1.1! 1.0"],
            "1.1 1.0",
            true,
        ),
    ] {
        let resources = with(&transfers, targets, source);
        let found = list::table(&Sets::of(&resources), has_header);
        let wanted = printed(transcript, number);
        assert_eq!(found, wanted, "{number}");
    }
}

#[test]
fn all_versions_as_json_are_as_systemd_prints_them() {
    let mut transfers = two("", None);
    let json = |transfers: &[Transfer; 2], targets, source: &str, form| {
        let resources = with(transfers, targets, source);
        list::json(&resources, &Sets::of(&resources)).written(form)
    };
    let pending = ["1.1! 1.0", "1.1! 1.0"];
    assert_eq!(
        json(&transfers, pending, "1.1", Form::Short),
        printed(transcript!("02-list-partial-pending"), 2)
    );
    let text = transcript!("05-list-json");
    assert_eq!(
        json(&transfers, ["", ""], "1.0 0.9", Form::Pretty),
        printed(text, 0)
    );
    assert_eq!(
        json(&transfers, ["", ""], "1.0 0.9", Form::Short),
        printed(text, 1)
    );
    for transfer in &mut transfers {
        transfer
            .app_stream
            .push("https://example.com/app.xml".into());
    }
    assert_eq!(
        json(&transfers, ["2.5", "2.5"], ALL, Form::Pretty),
        printed(text, 2)
    );
    // what is still being written is never the current version
    let partial = json(&transfers, ["2?", "1"], "", Form::Short);
    assert!(
        partial.starts_with(r#"{"current":"1","all":["2","1"],"#),
        "{partial}"
    );
}

/// A system of two partitions, a directory and a file, and perhaps one more file.
struct System {
    transfers: Vec<Transfer>,
}

impl System {
    fn new(count: usize) -> System {
        let kinds = [
            (Kind::UrlFile, Kind::Partition),
            (Kind::UrlFile, Kind::Partition),
            (Kind::UrlTar, Kind::Directory),
            (Kind::UrlFile, Kind::RegularFile),
            (Kind::UrlFile, Kind::RegularFile),
        ];
        let transfers = kinds.iter().take(count).map(|(from, to)| {
            let mut transfer = transfer("a");
            transfer.source.kind = *from;
            transfer.target.kind = *to;
            transfer
        });
        System {
            transfers: transfers.collect(),
        }
    }

    fn resources(
        &self,
        targets: Vec<Option<Instance>>,
        sources: Vec<Instance>,
    ) -> Vec<Resource<'_>> {
        let each = self.transfers.iter().zip(targets).zip(sources);
        let resources = each.map(|((transfer, target), source)| Resource {
            transfer,
            target: target.into_iter().collect(),
            source: vec![source],
            slots: None,
            room: Vec::new(),
        });
        resources.collect()
    }
}

fn at(word: &str, kind: Kind, shown: &str) -> Instance {
    Instance {
        kind,
        shown: shown.to_owned(),
        ..instance(word)
    }
}

fn partition(word: &str, number: u8) -> Instance {
    let mut found = at(word, Kind::Partition, &format!("/proc/self/fd/3p{number}"));
    found.metadata.uuid = Uuid::parse(&format!("aaaaaaaa-0000-0000-0000-00000000000{number}"));
    found.metadata.flags = Some(0);
    found.metadata.read_only = Some(false);
    found
}

/// Noon of the first of May in 2024.
const MAY: u64 = 1_714_564_800_000_000;

fn directory(word: &str, name: &str) -> Instance {
    let mut found = at(word, Kind::Directory, &format!("$W/t/dirs/{name}"));
    (found.metadata.mtime, found.metadata.mode) = (Some(MAY), Some(0o755));
    found
}

fn file(word: &str, name: &str) -> Instance {
    let mut found = at(word, Kind::RegularFile, &format!("$W/t/EFI/Linux/{name}"));
    (found.metadata.mtime, found.metadata.mode) = (Some(MAY), Some(0o444));
    (found.metadata.tries_done, found.metadata.tries_left) = (Some(0), Some(3));
    found
}

/// What a server has, with digests.
fn served(version: &str, digests: [&str; 4]) -> Vec<Instance> {
    let names = ["root.raw.xz", "verity.raw.zst", "tar.gz", "efi.gz"];
    let kinds = [Kind::UrlFile, Kind::UrlFile, Kind::UrlTar, Kind::UrlFile];
    let all = names.iter().zip(kinds).zip(digests);
    let instances = all.map(|((name, kind), digest)| {
        let mut found = at(
            version,
            kind,
            &format!("http://127.0.0.1:8731/srv/os_{version}.{name}"),
        );
        found.metadata.sha256 = from_hex(digest.as_bytes());
        found
    });
    instances.collect()
}

const DIGESTS: [&str; 4] = [
    "403edcdb970cadbfe4799880feacb8bb5cd22520fbcf5203be60793739d66f87",
    "5d8a26e66011228863a6350f14907ed26a91fd10476a010a0aaaed41808bb804",
    "151351152f23f74182b5b45e3cca53d7643739631fd88c6a0a7c73358bf9b79a",
    "c70d5df206d8d965a5c7d5cc3114eef8d4908f7eaf193741794180a2553ecffd",
];

fn one_version(resources: &[Resource<'_>], text: &str) -> (String, String) {
    let sets = Sets::of(resources);
    let set = sets.find(text).expect("the version is there");
    let json = list::version_json(resources, set).written(Form::Pretty);
    (list::version_text(resources, set, true), json)
}

#[test]
fn an_available_version_is_shown_with_its_sources() {
    let system = System::new(4);
    let resources = system.resources(vec![None; 4], served("1.0", DIGESTS));
    let (text, json) = one_version(&resources, "1.0");
    assert_eq!(text, printed(transcript!("03-list-version"), 0));
    assert_eq!(json, printed(transcript!("04-list-version-json"), 0));
}

#[test]
fn an_installed_version_is_shown_with_its_targets() {
    let system = System::new(4);
    let installed = vec![
        Some(partition("1.0", 1)),
        Some(partition("1.0", 3)),
        Some(directory("1.0", "os_1.0")),
        Some(file("1.0", "os_1.0+3-0.efi")),
    ];
    let resources = system.resources(installed, served("1.0", DIGESTS));
    let (text, _) = one_version(&resources, "1.0");
    assert_eq!(text, printed(transcript!("03-list-version"), 1));
    let pending = vec![
        Some(partition("1.1!", 2)),
        Some(partition("1.1!", 4)),
        Some(directory("1.1!", ".sysupdate.pending.os_1.1")),
        Some(file("1.1!", ".sysupdate.pending.os_1.1+3-0.efi")),
    ];
    let resources = system.resources(pending, served("1.1", DIGESTS));
    let (text, _) = one_version(&resources, "1.1");
    assert_eq!(text, printed(transcript!("02-list-partial-pending"), 3));
    let mut late = file("1.0?", ".sysupdate.partial.os_1.0+3-0.efi");
    (late.metadata.mtime, late.metadata.mode) = (Some(1_795_312_825_000_000), Some(0o644));
    let partial = vec![
        Some(partition("1.0!", 1)),
        Some(partition("1.0!", 3)),
        Some(directory("1.0!", ".sysupdate.pending.os_1.0")),
        Some(late),
    ];
    let resources = system.resources(partial, served("1.0", DIGESTS));
    let (text, _) = one_version(&resources, "1.0");
    assert_eq!(text, printed(transcript!("02-list-partial-pending"), 4));
}

#[test]
fn an_incomplete_version_is_shown_with_the_source_of_what_it_lacks() {
    let mut system = System::new(5);
    system.transfers[3].change_log = vec!["https://example.com/changes-@v.html".into(); 2];
    system.transfers[0].protected.push("2.5".into());
    let installed = vec![
        Some(partition("2.5", 1)),
        Some(partition("2.5", 4)),
        Some(directory("2.5", "os_2.5")),
        Some(file("2.5", "os_2.5+3-0.efi")),
        None,
    ];
    let mut sources = served("2.5", DIGESTS);
    let digest = "f9b8e7603922aebd5086b14a7442d4ce5709cffad82fc6531299fb6703acaa47";
    let mut last = at(
        "2.5",
        Kind::UrlFile,
        "http://127.0.0.1:8731/srv/os_2.5.efi.gz",
    );
    last.metadata.sha256 = from_hex(digest.as_bytes());
    sources.push(last);
    let resources = system.resources(installed, sources);
    let (text, json) = one_version(&resources, "2.5");
    assert_eq!(text, printed(transcript!("03-list-version"), 3));
    assert_eq!(json, printed(transcript!("04-list-version-json"), 1));
}

#[test]
fn what_is_installed_is_compared_with_what_runs() {
    for (newest, is_newer, text) in [
        (
            "1.2",
            true,
            "Newest installed version '1.2' is newer than booted version '1.0'. Reboot recommended.",
        ),
        (
            "1.0",
            false,
            "Newest installed version '1.0' matches booted version '1.0'.",
        ),
        (
            "0.9",
            false,
            "Newest installed version '0.9' is older than booted version '1.0'.",
        ),
    ] {
        assert_eq!(
            verdict(&version(newest), &version("1.0")),
            (is_newer, text.into())
        );
    }
}

/// What transcript 11 has: a feature that is off, and a component.
fn features() -> (Definitions, Specifiers) {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "etc/sysupdate.d/opt.feature",
        "[Feature]\nDescription=Optional thing\nDocumentation=https://example.com/doc\nAppStream=https://example.com/as.xml\n",
    );
    write(
        "etc/sysupdate.d/50-opt.transfer",
        "[Transfer]\nFeatures=opt\n[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n[Target]\nPath=/y\nMatchPattern=a@v\n",
    );
    let (root, specifiers) = (Root::at(dir.path()).unwrap(), Specifiers::default());
    let found = Definitions::load(&root, &Collection::Default, &specifiers).unwrap();
    (found, specifiers)
}

#[test]
fn features_and_components_are_as_systemd_prints_them() {
    let (found, specifiers) = features();
    let here = Machine {
        root: Root::live(),
        specifiers: &specifiers,
        command_line: "",
    };
    let text = transcript!("11-features-components");
    assert_eq!(
        features::table(&found.features, &here, true),
        printed(text, 0)
    );
    assert_eq!(
        features::feature_table(&found, &found.features[0], &here, true),
        printed(text, 2)
    );
    let json = features::feature_json(&found, &found.features[0], &here);
    assert_eq!(json.written(Form::Pretty), printed(text, 3));
    assert_eq!(
        features::json(&found.features).written(Form::Pretty),
        printed(text, 5)
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("usr/lib/sysupdate.foo.d")).unwrap();
    let root = Root::at(dir.path()).unwrap();
    let (components, _) = definition::components(&root, &specifiers).unwrap();
    assert_eq!(
        features::components_table(true, &components, &here, true),
        printed(text, 6)
    );
    assert_eq!(
        features::components_json(true, &components).written(Form::Short),
        printed(text, 8)
    );
}

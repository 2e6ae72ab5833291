//! Who may do what with what comes out of an archive: ACLs and labels.

use super::*;

#[test]
fn acls_are_restored() {
    let dir = Dir::with_target();
    let top = source(&dir);
    let file = top.join("file");
    run(&[
        "setfacl",
        "-m",
        "u:4321:rw,g:8765:x,m::rwx",
        file.to_str().unwrap(),
    ]);
    run(&[
        "setfacl",
        "-d",
        "-m",
        "u:4321:r",
        top.join("dir").to_str().unwrap(),
    ]);
    unpacked(&dir, &packed(&top, &["--format=pax", "--acls"])).unwrap();
    let of = |path: PathBuf| {
        let mut all = xattr::all(File::open(path).unwrap()).unwrap();
        all.remove(c"user.note");
        all
    };
    assert_eq!(of(dir.path("target/file")), of(file));
    assert_eq!(of(dir.path("target/dir")), of(top.join("dir")));
    assert!(!of(dir.path("target/dir")).is_empty());
}

#[test]
fn who_is_in_an_acl_that_is_of_use_only_elsewhere_gives_the_group_nothing() {
    let dir = Dir::with_target();
    let acl = "user::rw-\nuser:nobody-knows:rwx\ngroup::r--\nmask::rwx\nother::---";
    let mut member = member(b'0', "f", &[("SCHILY.acl.access", acl)], b"");
    // of which the bits of the group are the mask
    let mode = member.len() - 512 + 100;
    member[mode..mode + 7].copy_from_slice(b"0000670");
    sum(&mut member);
    let tree = dir.tree();
    tree.unpack(&mut &member[..]).unwrap();
    let metadata = fs::metadata(dir.path("target/f")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert!(tree.is_acl_told.get());
    let default = directory("d", &[("SCHILY.acl.default", acl)]);
    let tree = dir.tree();
    tree.unpack(&mut &default[..]).unwrap();
    assert!(tree.is_acl_told.get());
}

#[test]
fn where_an_acl_cannot_be_set_the_group_may_do_what_it_may_without_one() {
    let dir = Dir::with_target();
    let acl = "user::rw-,user:4321:rwx,group::r--,mask::rwx,other::---";
    let looks = Looks {
        mode: 0o670,
        uid: Uid::effective().as_raw(),
        gid: Gid::effective().as_raw(),
        modified: (0, 0),
        xattrs: vec![(xattr::ACCESS_ACL.to_owned(), acl::to_xattr(acl).unwrap())],
    };
    assert_eq!(looks.bare_mode(), 0o640);
    let tree = dir.tree();
    File::create(dir.path("target/f")).unwrap();
    tree.give(tree.dir(), OsStr::new("f"), false, &looks)
        .unwrap();
    let metadata = fs::metadata(dir.path("target/f")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o670);
    assert!(!tree.is_told.get());
}

#[test]
fn a_label_for_selinux_is_restored_in_either_form() {
    let (one, other) = ("system_u:object_r:etc_t:s0", "system_u:object_r:usr_t:s0");
    let (alone, usual) = ("RHT.security.selinux", "SCHILY.xattr.security.selinux");
    for (records, expected) in [
        (&[(alone, one)][..], one),
        (&[(usual, one)], one),
        (&[(alone, one), (usual, other)], other),
    ] {
        let dir = Dir::with_target();
        let bytes = member(b'0', "f", records, b"");
        let member = Members::new(&mut &bytes[..]).next().unwrap().unwrap();
        let looks = dir.tree().looks(&member);
        let label = c"security.selinux".to_owned();
        let found: BTreeMap<_, _> = looks.xattrs.into_iter().collect();
        assert_eq!(found, [(label, expected.into())].into());
    }
}

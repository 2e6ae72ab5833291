//! What is typed, and what of it makes no sense.

use super::*;

fn asked(words: &str) -> Result<Asked, String> {
    let words = std::iter::once("sysupdate").chain(words.split_ascii_whitespace());
    Sysupdate::try_parse_from(words)
        .map_err(|e| e.to_string())?
        .asked()
}

#[test]
fn what_makes_no_sense_is_refused_with_the_text_that_scripts_look_for() {
    for (words, text) in [
        (
            "--definitions=/d components",
            "The --definitions= switch may not be combined with 'components'.",
        ),
        ("-C ../x list", "Component name invalid: ../x"),
        (
            "-C foo --definitions=/d list",
            "The --definitions= and --component=/--component-all/--component-suggested switches may not be combined.",
        ),
        (
            "--root=/ --image=/x list",
            "Please specify either --root= or --image=, the combination of both is not supported.",
        ),
        (
            "--definitions=/d --root=/ list",
            "The --definitions= switch may not be combined with --root= or --image=.",
        ),
        (
            "--root=/ --reboot update",
            "The --reboot switch may not be combined with --root= or --image=.",
        ),
        (
            "--reboot -C x update",
            "The --reboot switch may not be combined with --component=, --component-all or --component-suggested.",
        ),
        (
            "enable-component -S --reboot",
            "The --reboot switch may not be combined with --component=, --component-all or --component-suggested.",
        ),
        (
            "--reboot acquire",
            "The --reboot switch may only be used with update and rollback.",
        ),
        (
            "-m 1 update",
            "The --instances-max= argument must be >= 2 while updating",
        ),
        (
            "-m 0 vacuum",
            "The --instances-max= argument must be >= 1 while vacuuming",
        ),
        (
            "-m x vacuum",
            "Failed to parse --instances-max= parameter: x",
        ),
        (
            "-m +3 vacuum",
            "Failed to parse --instances-max= parameter: +3",
        ),
        ("--sync=x list", "Failed to parse --sync= parameter: x"),
        (
            "--verify=maybe list",
            "Failed to parse --verify= parameter: maybe",
        ),
        (
            "--json=bogus list",
            "Unknown argument to --json= switch: bogus",
        ),
        ("bogusverb", "Unknown command verb 'bogusverb'."),
        ("list a b", "Too many arguments."),
        ("vacuum 1", "Too many arguments."),
        ("enable-feature", "Too few arguments."),
        ("disable-component -s", "Too few arguments."),
        (
            "enable-feature x -a",
            "Names, all and suggested ones may not be combined.",
        ),
        (
            "enable-component -A -S",
            "Names, all and suggested ones may not be combined.",
        ),
        (
            "--definitions=/d enable-feature x",
            "The --definitions= switch may not be combined with commands that enable or disable.",
        ),
        (
            "list -a",
            "The --feature-all, --feature-suggested, --component-all and --component-suggested switches may only be used with commands \
             that enable or disable such, and --component-all also with update, acquire and cleanup.",
        ),
        (
            "update -S",
            "The --feature-all, --feature-suggested, --component-all and --component-suggested switches may only be used with commands \
             that enable or disable such, and --component-all also with update, acquire and cleanup.",
        ),
        (
            "-A --definitions=/d update",
            "The --definitions= and --component=/--component-all/--component-suggested switches may not be combined.",
        ),
        (
            "update -A --reboot",
            "The --reboot switch may not be combined with --component=, --component-all or --component-suggested.",
        ),
        (
            "--root=/ pending",
            "The --root=, --image= and --component= switches may not be combined with 'pending'.",
        ),
        (
            "-C x reboot",
            "The --root=, --image= and --component= switches may not be combined with 'reboot'.",
        ),
    ] {
        assert_eq!(asked(words).unwrap_err(), text, "{words}");
    }
}

#[test]
fn options_stand_anywhere_and_the_last_of_several_counts() {
    let default = asked("").unwrap();
    assert_eq!(
        (&default.verb, &default.collection),
        (&Verb::List(None), &Collection::Default)
    );
    assert!(
        default.has_legend
            && default.is_synced
            && !default.is_offline
            && default.form == Form::Table
    );
    assert_eq!(
        asked("list 1.0 --json=short").unwrap().verb,
        Verb::List(Some("1.0".into()))
    );
    assert_eq!(
        asked("-C a -C b check-new").unwrap().collection,
        Collection::Component("b".into())
    );
    assert_eq!(
        asked("-C a --component= check-new").unwrap().collection,
        Collection::Default
    );
    let last = |words| asked(words).map(|asked| (asked.collection, asked.is_of_all));
    let b = Collection::Component("b".into());
    let keep = |words| asked(words).unwrap().keep;
    assert_eq!(keep("update --spool=no"), Keep::Nowhere);
    assert_eq!(keep("--spool=/no update"), Keep::In("/no".into()));
    assert_eq!(last("-A update -C b"), Ok((b, false)));
    assert_eq!(last("-C b acquire -A"), Ok((Collection::Default, true)));
    let all = asked(
        "vacuum -m 1 --offline --no-legend --no-pager --json=pretty --sync=no --definitions=d",
    )
    .unwrap();
    assert_eq!(
        (all.verb, all.instances_max, all.form),
        (Verb::Vacuum, Some(1), Form::Pretty)
    );
    assert!(all.is_offline && !all.has_legend && !all.is_synced);
    let Collection::Directory(dir) = all.collection else {
        panic!("a directory")
    };
    assert!(dir.is_absolute());
}

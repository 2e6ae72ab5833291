//! Text of configuration files that consist of lines `KEY=value`. Pure.

/// Sets `key` to `value` in each of its assignments, or in a new one at the end; all other lines stay as they are.
pub(super) fn set(text: &str, key: &str, value: &str) -> String {
    let is_its = |line: &str| {
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with('='))
    };
    let assignment = format!("{key}={value}");
    let mut lines: Vec<&str> = text.lines().collect();
    if !lines.iter().any(|line| is_its(line)) {
        lines.push(&assignment);
    }
    let lines = lines.into_iter().map(|line| match is_its(line) {
        true => assignment.as_str(),
        false => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Adds `words` to the value in quotes of each assignment of `key` that lacks the first one of them.
pub(super) fn add_words(text: &str, key: &str, words: &[&str]) -> String {
    let line = |line: &str| {
        let value = line.strip_prefix(key).and_then(|l| l.strip_prefix('='));
        let quoted = value.and_then(|value| split_quoted(value.trim_end()));
        match quoted {
            Some((quote, inner)) => format!("{key}={quote}{}{quote}\n", with_words(inner, words)),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// Whether an assignment of `key` has `word`.
pub(super) fn has_word(text: &str, key: &str, word: &str) -> bool {
    text.lines().any(|line| {
        let value = line.strip_prefix(key).and_then(|l| l.strip_prefix('='));
        let mut words = value.into_iter().flat_map(|v| v.split([' ', '"', '\'']));
        words.any(|w| w == word)
    })
}

/// `line` with those words that it lacks, when it lacks the first one.
pub(super) fn with_words(line: &str, words: &[&str]) -> String {
    let present: Vec<&str> = line.split_whitespace().collect();
    if words.first().is_none_or(|first| present.contains(first)) {
        return line.to_owned();
    }
    let new = words.iter().filter(|word| !present.contains(word));
    present
        .iter()
        .chain(new)
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The quote and what stands between two of it; a value without quotes has an empty one.
fn split_quoted(value: &str) -> Option<(&str, &str)> {
    let quote = value.get(..1).filter(|q| ["\"", "'"].contains(q));
    match quote {
        Some(quote) => {
            let inner = value[1..].strip_suffix(quote)?;
            (!inner.contains(quote)).then_some((quote, inner))
        }
        None => (!value.contains(['"', '\'', ' ', '#'])).then_some(("\"", value)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assignment_is_replaced_where_it_is_or_added() {
        assert_eq!(set("# A=1\nA=2\nAB=3\n", "A", "9"), "# A=1\nA=9\nAB=3\n");
        assert_eq!(set("B=1", "A", "9"), "B=1\nA=9\n");
        assert_eq!(set("", "A", "9"), "A=9\n");
    }

    #[test]
    fn words_are_added_inside_the_quotes_and_once() {
        let words = &["security=selinux", "selinux=1"];
        let added = add_words("X=\"quiet\"\nK=\"quiet splash\"\n#K=\"\"\n", "K", words);
        let wanted = "X=\"quiet\"\nK=\"quiet splash security=selinux selinux=1\"\n#K=\"\"\n";
        assert_eq!(added, wanted);
        assert_eq!(add_words(&added, "K", words), wanted);
        assert_eq!(add_words("K=quiet\n", "K", &["a"]), "K=\"quiet a\"\n");
        assert_eq!(add_words("K=''\n", "K", &["a"]), "K='a'\n");
        assert!(has_word(&added, "K", words[0]) && !has_word(&added, "X", words[0]));
        for not_understood in ["K=\"a\" # b\n", "K=\"a\n", "K=a b\n"] {
            assert_eq!(add_words(not_understood, "K", words), not_understood);
        }
    }

    proptest! {
        #[test]
        fn other_lines_stay_as_they_are(text in "([A-C]=[a-z\"' #$]{0,6}\n){0,6}", value in "[a-z]{0,5}") {
            let others = |text: &str| text.lines().filter(|l| !l.starts_with("A=")).map(str::to_owned).collect::<Vec<_>>();
            for changed in [set(&text, "A", &value), add_words(&text, "A", &["x", "y"])] {
                prop_assert_eq!(others(&changed), others(&text));
            }
            let once = set(&text, "A", &value);
            prop_assert_eq!(set(&once, "A", &value), once.clone());
            let once = add_words(&text, "A", &["x", "y"]);
            prop_assert_eq!(add_words(&once, "A", &["x", "y"]), once);
        }
    }
}

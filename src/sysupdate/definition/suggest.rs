//! Whether a feature or a component should be on here: conditions as those of units (systemd.unit(5)).

use crate::sysupdate::Specifiers;

/// Names of the conditions that systemd knows here.
const KINDS: [&str; 11] = [
    "Architecture",
    "Firmware",
    "Virtualization",
    "Host",
    "Fraction",
    "KernelCommandLine",
    "Version",
    "Credential",
    "Security",
    "OSRelease",
    "MachineTag",
];

/// Whether something should be on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// What was said; it wins over conditions.
    pub(super) fixed: Option<bool>,
    pub(super) conditions: Vec<Condition>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    kind: &'static str,
    /// One of those with this mark is enough.
    is_trigger: bool,
    is_negated: bool,
    value: String,
}

impl Condition {
    /// The condition `SuggestOnKIND=value`; `None` when there is no such kind.
    pub(super) fn parse(kind: &str, value: &str) -> Option<Condition> {
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let rest = value.strip_prefix('|').map(str::trim_start);
        let (is_trigger, value) = (rest.is_some(), rest.unwrap_or(value));
        let rest = value.strip_prefix('!').map(str::trim_start);
        let (is_negated, value) = (rest.is_some(), rest.unwrap_or(value));
        Some(Condition {
            kind,
            is_trigger,
            is_negated,
            value: value.to_owned(),
        })
    }

    /// Whether it holds; `None` when this program cannot tell.
    fn holds(&self, specifiers: &Specifiers, command_line: &str) -> Option<bool> {
        let holds = match self.kind {
            "Architecture" if self.value == "native" => true,
            "Architecture" => self.value == specifiers.architecture,
            "Host" => {
                let is_id = self
                    .value
                    .replace('-', "")
                    .eq_ignore_ascii_case(&specifiers.machine_id);
                is_id
                    || glob(
                        self.value.to_lowercase().as_bytes(),
                        specifiers.host_name.to_lowercase().as_bytes(),
                    )
            }
            "KernelCommandLine" => command_line.split_ascii_whitespace().any(|word| {
                let is_key =
                    !self.value.contains('=') && word.split('=').next() == Some(&self.value);
                is_key || word == self.value
            }),
            "OSRelease" => self
                .value
                .split_ascii_whitespace()
                .try_fold(true, |all, term| {
                    let (key, wanted) = term.split_once('=').filter(|(k, _)| {
                        k.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
                    })?;
                    let value = specifiers.os_release.get(key).map_or("", String::as_str);
                    // "==" and "$=" are comparisons of other kinds
                    (!wanted.starts_with(['=', '$'])).then(|| all && value == wanted)
                })?,
            _ => return None,
        };
        Some(holds != self.is_negated)
    }
}

impl Suggestion {
    /// Whether it should be on, with this command line of the kernel; `None` when a condition is one that this program cannot
    /// evaluate. When nothing is said, it should not.
    #[must_use]
    pub fn holds(&self, specifiers: &Specifiers, command_line: &str) -> Option<bool> {
        if let Some(fixed) = self.fixed {
            return Some(fixed);
        }
        let results = self
            .conditions
            .iter()
            .map(|c| Some((c.is_trigger, c.holds(specifiers, command_line)?)));
        let results: Vec<(bool, bool)> = results.collect::<Option<_>>()?;
        let all = results
            .iter()
            .filter(|(is_trigger, _)| !is_trigger)
            .all(|(_, holds)| *holds);
        let triggers: Vec<bool> = results
            .iter()
            .filter(|(t, _)| *t)
            .map(|(_, holds)| *holds)
            .collect();
        Some(!results.is_empty() && all && (triggers.is_empty() || triggers.contains(&true)))
    }
}

/// Whether `text` is what `pattern` describes: `*` is any text, `?` any byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    back = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(fixed: Option<bool>, conditions: &[(&str, &str)]) -> Option<bool> {
        let mut here = Specifiers {
            architecture: "x86-64".into(),
            host_name: "web1.example.com".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            ..Specifiers::default()
        };
        here.os_release.insert("ID".into(), "os".into());
        let conditions = conditions
            .iter()
            .map(|(k, v)| Condition::parse(k, v).unwrap());
        let suggestion = Suggestion {
            fixed,
            conditions: conditions.collect(),
        };
        suggestion.holds(&here, "quiet root=/dev/sda1 debug=1")
    }

    #[test]
    fn all_conditions_count_and_one_of_those_with_a_bar() {
        let (yes, no) = (("Architecture", "x86-64"), ("Architecture", "arm64"));
        assert_eq!(suggested(None, &[]), Some(false));
        assert_eq!(suggested(Some(true), &[no]), Some(true));
        assert_eq!(suggested(Some(false), &[yes]), Some(false));
        assert_eq!(suggested(None, &[yes]), Some(true));
        assert_eq!(suggested(None, &[yes, no]), Some(false));
        assert_eq!(suggested(None, &[("Architecture", "!arm64")]), Some(true));
        let bars = [("Architecture", "|arm64"), ("Architecture", "|!arm64")];
        assert_eq!(suggested(None, &bars), Some(true));
        assert_eq!(suggested(None, &[bars[0], yes]), Some(false));
        assert_eq!(suggested(None, &[yes, ("Security", "tpm2")]), None);
        assert!(Condition::parse("Weather", "rain").is_none());
    }

    #[test]
    fn each_condition_asks_for_what_it_names() {
        for (kind, value, wanted) in [
            ("Host", "web?.*", true),
            ("Host", "WEB1.example.com", true),
            ("Host", "web", false),
            ("Host", "01234567-89ab-cdef-0123-456789abcdef", true),
            ("KernelCommandLine", "quiet", true),
            ("KernelCommandLine", "debug", true),
            ("KernelCommandLine", "debug=1", true),
            ("KernelCommandLine", "debug=2", false),
            ("OSRelease", "ID=os", true),
            ("OSRelease", "ID=os VERSION_ID=2", false),
            ("Architecture", "native", true),
        ] {
            assert_eq!(
                suggested(None, &[(kind, value)]),
                Some(wanted),
                "{kind} {value}"
            );
        }
        assert_eq!(suggested(None, &[("OSRelease", "ID$=o*")]), None);
        assert_eq!(suggested(None, &[("OSRelease", "VERSION_ID>=2")]), None);
    }
}

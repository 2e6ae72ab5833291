//! Features and components: what can be switched on and off.

use super::ini::Line;
use super::reader::{Reader, unique};
use super::suggest::{Condition, Suggestion};
use crate::sysupdate::Specifiers;

/// A group of transfers that an administrator switches on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name: that of its file, without the extension.
    pub name: String,
    /// What it is, in a few words.
    pub description: Option<String>,
    /// Where to read more: addresses.
    pub documentation: Vec<String>,
    /// Address of its AppStream catalogue.
    pub app_stream: Option<String>,
    /// Whether it is on.
    pub is_enabled: bool,
    /// Whether it should be on here.
    pub suggestion: Suggestion,
}

/// A collection of transfers with versions of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    pub description: Option<String>,
    /// Where to read more: addresses.
    pub documentation: Vec<String>,
    /// Whether it is updated.
    pub is_enabled: bool,
    /// Whether it should be on here.
    pub suggestion: Suggestion,
}

impl Feature {
    /// What `lines` say of the feature `name`.
    pub(super) fn read(
        name: &str,
        lines: &[Line],
        specifiers: &Specifiers,
        warnings: &mut Vec<String>,
    ) -> Feature {
        let mut feature = Feature {
            name: name.to_owned(),
            description: None,
            documentation: Vec::new(),
            app_stream: None,
            is_enabled: false,
            suggestion: Suggestion::default(),
        };
        let mut reader = Reader::new(specifiers, warnings);
        for line in reader.known_section(lines, &["Feature"]) {
            match line.key.as_str() {
                "AppStream" => {
                    let mut urls = Vec::new();
                    reader.urls(line, &mut urls);
                    feature.app_stream = urls.pop();
                }
                "Enabled" => reader.set(line, &mut feature.is_enabled),
                _ => common(
                    &mut reader,
                    line,
                    &mut feature.description,
                    &mut feature.documentation,
                    &mut feature.suggestion,
                ),
            }
        }
        unique(&mut feature.documentation);
        feature
    }
}

impl Component {
    /// What `lines` say of the component `name`.
    pub(super) fn read(
        name: &str,
        lines: &[Line],
        specifiers: &Specifiers,
        warnings: &mut Vec<String>,
    ) -> Component {
        let mut component = Component {
            name: name.to_owned(),
            description: None,
            documentation: Vec::new(),
            is_enabled: true,
            suggestion: Suggestion::default(),
        };
        let mut reader = Reader::new(specifiers, warnings);
        for line in reader.known_section(lines, &["Component"]) {
            match line.key.as_str() {
                "Enabled" => reader.set(line, &mut component.is_enabled),
                _ => common(
                    &mut reader,
                    line,
                    &mut component.description,
                    &mut component.documentation,
                    &mut component.suggestion,
                ),
            }
        }
        unique(&mut component.documentation);
        component
    }
}

/// The keys that both have.
fn common(
    reader: &mut Reader<'_>,
    line: &Line,
    description: &mut Option<String>,
    documentation: &mut Vec<String>,
    suggestion: &mut Suggestion,
) {
    match line.key.as_str() {
        "Description" => *description = Some(line.value.clone()).filter(|d| !d.is_empty()),
        "Documentation" => reader.urls(line, documentation),
        "Suggest" => reader.set_or_unset(line, &mut suggestion.fixed),
        key => match key
            .strip_prefix("SuggestOn")
            .and_then(|kind| Condition::parse(kind, &line.value))
        {
            Some(condition) => suggestion.add(condition),
            None => reader.unknown(line),
        },
    }
}

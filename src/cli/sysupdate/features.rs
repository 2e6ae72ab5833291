//! `features` and `components`.

use crate::sysupdate::Definitions;
use crate::sysupdate::definition::{Component, Feature, Machine};

use super::json::Json;
use super::table::{Align, Table};

fn mark(is_so: Option<bool>) -> String {
    is_so
        .map_or("-", |is_so| if is_so { "✓" } else { "✗" })
        .to_owned()
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(" ")
    }
}

/// All features as a table.
pub(super) fn table(features: &[Feature], here: &Machine<'_>, has_legend: bool) -> String {
    let mut table = Table::new(&[
        ("ENABLED", Align::Left),
        ("SUGGESTED", Align::Left),
        ("FEATURE", Align::Left),
        ("DESCRIPTION", Align::Left),
        ("DOCUMENTATION", Align::Left),
    ]);
    for feature in features {
        table.row(vec![
            mark(Some(feature.is_enabled)),
            mark(feature.suggestion.holds(here)),
            feature.name.clone(),
            text(feature.description.as_ref()),
            list(&feature.documentation),
        ]);
    }
    let mut out = table.rendered(has_legend);
    if has_legend && !features.is_empty() {
        out.push_str(&format!("\n{} features listed.\n", features.len()));
    }
    out
}

/// All features as JSON.
pub(super) fn json(features: &[Feature]) -> Json {
    Json::Object(vec![(
        "features",
        Json::texts(features.iter().map(|f| &f.name)),
    )])
}

/// The transfers that a feature takes part in, by their names.
fn transfers<'d>(definitions: &'d Definitions, feature: &Feature) -> Vec<&'d String> {
    let is_its = |names: &[String]| names.contains(&feature.name);
    let all = definitions
        .transfers
        .iter()
        .filter(|t| is_its(&t.features) || is_its(&t.requisite_features));
    let mut names: Vec<&String> = all.map(|t| &t.id).collect();
    names.sort();
    names
}

/// One feature as a table.
pub(super) fn feature_table(
    definitions: &Definitions,
    feature: &Feature,
    here: &Machine<'_>,
    has_legend: bool,
) -> String {
    let mut table = Table::new(&[("KEY", Align::Right), ("VALUE", Align::Left)]);
    let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    let names: Vec<&str> = transfers(definitions, feature)
        .into_iter()
        .map(String::as_str)
        .collect();
    for (key, value) in [
        ("Name", Some(feature.name.clone())),
        ("Enabled", Some(yes(feature.is_enabled))),
        ("Suggested", feature.suggestion.holds(here).map(yes)),
        ("Description", feature.description.clone()),
        ("Documentation", Some(feature.documentation.join(" "))),
        ("AppStream", feature.app_stream.clone()),
        ("Transfers", Some(names.join(" "))),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.row(vec![format!("{key}:"), value]);
        }
    }
    table.rendered(has_legend)
}

/// One feature as JSON; what is empty is absent.
pub(super) fn feature_json(
    definitions: &Definitions,
    feature: &Feature,
    here: &Machine<'_>,
) -> Json {
    let mut fields = vec![("id", Json::Text(feature.name.clone()))];
    let mut text = |key, text: &Option<String>| {
        fields.extend(text.iter().map(|text| (key, Json::Text(text.clone()))));
    };
    text("description", &feature.description);
    if !feature.documentation.is_empty() {
        fields.push(("documentation", Json::texts(&feature.documentation)));
    }
    let app_stream = feature.app_stream.iter();
    fields.extend(app_stream.map(|url| ("appStream", Json::Text(url.clone()))));
    fields.push(("enabled", Json::Flag(feature.is_enabled)));
    fields.extend(
        feature
            .suggestion
            .holds(here)
            .map(|is_so| ("suggested", Json::Flag(is_so))),
    );
    let names = transfers(definitions, feature);
    if !names.is_empty() {
        fields.push(("transfers", Json::texts(names)));
    }
    Json::Object(fields)
}

/// All components as a table; the one without a name only when it has transfers.
pub(super) fn components_table(
    has_default: bool,
    components: &[Component],
    here: &Machine<'_>,
    has_legend: bool,
) -> String {
    let mut table = Table::new(&[
        ("ENABLED", Align::Left),
        ("SUGGESTED", Align::Left),
        ("COMPONENT", Align::Left),
        ("DESCRIPTION", Align::Left),
        ("DOCUMENTATION", Align::Left),
    ]);
    if has_default {
        table.row(
            ["-", "-", "<default>", "Default Component", "-"]
                .map(str::to_owned)
                .into(),
        );
    }
    for component in components {
        table.row(vec![
            mark(Some(component.is_enabled)),
            mark(component.suggestion.holds(here)),
            component.name.clone(),
            text(component.description.as_ref()),
            list(&component.documentation),
        ]);
    }
    table.rendered(has_legend)
}

/// All components as JSON.
pub(super) fn components_json(has_default: bool, components: &[Component]) -> Json {
    Json::Object(vec![
        ("default", Json::Flag(has_default)),
        (
            "components",
            Json::texts(components.iter().map(|c| &c.name)),
        ),
    ])
}

//! JSON in the two forms that systemd writes.

use std::str::FromStr;

/// In which form answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// As tables.
    #[default]
    Table,
    /// As JSON in one line.
    Short,
    /// As JSON with lines and tabulators.
    Pretty,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        match text {
            "off" => Ok(Form::Table),
            "short" => Ok(Form::Short),
            "pretty" => Ok(Form::Pretty),
            _ => Err(format!("Unknown argument to --json= switch: {text}")),
        }
    }
}

/// A value; the keys of an object stay in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A text, or null.
    pub(super) fn text_or_null(text: Option<impl ToString>) -> Json {
        text.map_or(Json::Null, |text| Json::Text(text.to_string()))
    }

    /// A list of texts.
    pub(super) fn texts<T: ToString>(texts: impl IntoIterator<Item = T>) -> Json {
        Json::List(
            texts
                .into_iter()
                .map(|text| Json::Text(text.to_string()))
                .collect(),
        )
    }

    /// The value in this form, with a line feed at its end.
    pub(super) fn written(&self, form: Form) -> String {
        let mut out = String::new();
        self.write(&mut out, (form == Form::Pretty).then_some(0));
        out.push('\n');
        out
    }

    /// Appends it; `depth` says how far lines are indented, where there are lines.
    fn write(&self, out: &mut String, depth: Option<usize>) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Json::Number(number) => out.push_str(&number.to_string()),
            Json::Text(text) => out.push_str(&quoted(text)),
            Json::List(items) => {
                let items = items.iter().map(|item| (String::new(), item));
                group(out, depth, ('[', ']'), items);
            }
            Json::Object(fields) => {
                let colon = if depth.is_some() { " : " } else { ":" };
                let fields = fields
                    .iter()
                    .map(|(key, value)| (quoted(key) + colon, value));
                group(out, depth, ('{', '}'), fields);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn group<'j>(
    out: &mut String,
    depth: Option<usize>,
    signs: (char, char),
    items: impl Iterator<Item = (String, &'j Json)>,
) {
    let mut items = items.peekable();
    let is_empty = items.peek().is_none();
    let line = |out: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            out.push('\n');
            out.push_str(&"\t".repeat(depth));
        }
    };
    let inner = depth.map(|depth| depth + 1);
    out.push(signs.0);
    while let Some((key, value)) = items.next() {
        line(out, inner);
        out.push_str(&key);
        value.write(out, inner);
        if items.peek().is_some() {
            out.push(',');
        }
    }
    if !is_empty {
        line(out, depth);
    }
    out.push(signs.1);
}

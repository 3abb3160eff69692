//! Objects as YAML documents, in the order in which people read them.

use serde_json::{Map, Value};

/// Prints the documents, each behind `---` but the first.
pub fn documents(objects: &[Value]) -> String {
    let printed = objects.iter().map(document).collect::<Vec<_>>();
    printed.join("---\n")
}

/// Prints one document: `apiVersion`, `kind`, `metadata`, then the rest.
pub fn document(object: &Value) -> String {
    let mut text = serde_saphyr::to_string(&ordered(object)).expect("JSON is YAML");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Keeps only what a person would write: no nulls, no empty status.
pub fn tidy(mut value: Value) -> Value {
    drop_nulls(&mut value);
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    value
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A mapping whose first keys are the ones that name the object.
fn ordered(object: &Value) -> Ordered {
    let mut rest: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    let mut entries = Vec::new();
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = rest.remove(key) {
            entries.push((key.to_owned(), value));
        }
    }
    entries.extend(rest);
    Ordered(entries)
}

/// A mapping that keeps the order it was given.
struct Ordered(Vec<(String, Value)>);

impl serde::Serialize for Ordered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_names_an_object_comes_first_and_nulls_are_gone() {
        let object = tidy(json!({
            "spec": {"a": null, "b": [1]}, "status": {}, "kind": "K", "apiVersion": "v1",
            "metadata": {"name": "n"},
        }));
        let text = document(&object);
        let keys: Vec<_> = text.lines().filter(|l| !l.starts_with([' ', '-'])).collect();
        assert_eq!(keys, ["apiVersion: v1", "kind: K", "metadata:", "spec:"]);
        assert!(!text.contains("null"), "{text}");
    }

    /// The printed text must mean the same to Kubernetes' reader: strings that look like numbers,
    /// booleans or several lines stay strings.
    #[test]
    fn printing_and_reading_gives_the_same_object() {
        let object = json!({
            "apiVersion": "v1", "kind": "K",
            "spec": {"n": "1", "t": "true", "y": "yes", "no": "no", "o": "0644", "e": "",
                     "l": "a\nb\n", "q": "it's: \"x\" # y", "s": "*", "star": ["*", "&a", "!t"],
                     "on": "on", "f": "1e3", "x": "0x10", "tilde": "~", "nul": "null"},
        });
        let read: Value = serde_saphyr::from_str(&document(&object)).unwrap();
        assert_eq!(read, object);
    }
}

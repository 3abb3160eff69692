//! The `CustomResourceDefinition`.

use kube::CustomResourceExt;
use serde_json::Value;

use super::yaml;
use crate::api::RedisHA;

/// The definition as the API server takes it.
pub fn crd() -> Value {
    let value = serde_json::to_value(RedisHA::crd()).expect("a definition is JSON");
    let mut value = yaml::tidy(value);
    drop_formats(&mut value);
    value
}

/// Formats that Kubernetes does not know (`uint64`, `uint32`, …) only cause warnings there.
fn drop_formats(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(drop_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_formats),
        _ => {}
    }
}

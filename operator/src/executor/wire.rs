//! From replies on the wire to the decision's words; pure.

use redis::Value;
use switchover::{Refusal, Replica, Reply, Status};

use super::client::{CallError, text};

/// The pairs of a map, which RESP2 sends as a flat array.
fn pairs(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| Some((text(key)?, value))).collect()
        }
        Value::Array(items) if items.len() % 2 == 0 => {
            items.chunks_exact(2).map(|pair| Some((text(&pair[0])?, &pair[1]))).collect()
        }
        _ => None,
    }
}

/// The pairs whose values are plain text.
pub fn texts(value: &Value) -> Option<Vec<(String, String)>> {
    let all = pairs(value)?;
    Some(all.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect())
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The answer to `STATUS`; the error is a clause that names the field.
pub fn status(value: &Value) -> Result<Status, String> {
    let fields = pairs(value).ok_or("STATUS did not answer with a map")?;
    let plain = texts(value).unwrap_or_default();
    let mut status = Status::from_pairs(borrowed(&plain)).map_err(|error| error.to_string())?;
    let replicas = fields.iter().find(|(key, _)| key == "replicas").map(|(_, value)| *value);
    if let Some(Value::Array(entries)) = replicas {
        for entry in entries {
            let plain = texts(entry).ok_or("a replica in STATUS is no map")?;
            let replica =
                Replica::from_pairs(borrowed(&plain)).map_err(|error| error.to_string())?;
            status.replicas.push(replica);
        }
    }
    Ok(status)
}

/// The answer to any command that acts.
pub fn reply(answer: Result<Value, CallError>) -> Result<Reply, Refusal> {
    match answer {
        Ok(value) => match text(&value) {
            Some(text) => Ok(Reply::from_text(&text)),
            None => texts(&value)
                .and_then(|pairs| Reply::from_pairs(&borrowed(&pairs)))
                .ok_or_else(|| Refusal::Error("an answer of an unknown form".to_owned())),
        },
        Err(CallError::Refused { code, message, .. }) => {
            Err(Refusal::from_error(&format!("{code} {message}")))
        }
        Err(error) => Err(Refusal::Lost(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchover::Role;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_status_is_read_from_a_flat_array_and_from_a_map() {
        let replica = Value::Array(
            ["member", "bb", "offset", "7", "state", "online", "lag-ms", "0"].map(bulk).into(),
        );
        let mut flat: Vec<Value> =
            ["role", "primary", "epoch", "3.1", "offset", "7", "new-field", "x"].map(bulk).into();
        flat.extend([bulk("replicas"), Value::Array(vec![replica])]);
        let map = flat.chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect();
        for value in [Value::Array(flat.clone()), Value::Map(map)] {
            let status = status(&value).unwrap();
            assert_eq!((status.role, status.offset), (Role::Primary, 7));
            assert_eq!(status.epoch, "3.1".parse().unwrap());
            assert!(status.replicas[0].online && status.replicas[0].member == "bb");
        }
    }

    #[test]
    fn an_unreadable_status_names_the_field() {
        let flat = Value::Array(["role", "emperor"].map(bulk).into());
        assert!(status(&flat).unwrap_err().contains("emperor"));
        assert!(status(&Value::Okay).is_err());
    }

    #[test]
    fn errors_are_told_apart_from_silence() {
        let refused = CallError::Refused {
            address: "a:1".into(),
            command: "REDISHA PAUSE".into(),
            code: "STALE".into(),
            message: "promised 4.0".into(),
        };
        assert_eq!(reply(Err(refused)), Err(Refusal::Stale("promised 4.0".into())));
        let lost =
            CallError::Unreachable { address: "a:1".into(), why: "refused".into(), refused: true };
        assert!(matches!(reply(Err(lost)), Err(Refusal::Lost(_))));
    }
}

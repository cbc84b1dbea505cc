//! Webhook events: the Hub's v2 payload and the 2022 `{"add"|"update"|"remove": name}` one.
//!
//! Owns the payload schema (http-api.md sections 4 and 9.5) and what of it matters. Refuses payloads that break the
//! schema; ignores, by value, events about anything but a dataset's content or settings.

use serde_json::Value;

use crate::name::{DatasetName, Revision};

/// A payload that breaks the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// The body is not JSON.
    #[error("the body could not be parsed as a JSON")]
    NotJson,
    /// The JSON has another shape.
    #[error("the JSON payload is invalid")]
    Schema,
}

/// What a webhook asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookEvent {
    /// Not about a dataset's content or settings.
    Ignored,
    /// The dataset was created.
    Added {
        /// Which one.
        dataset: DatasetName,
    },
    /// The dataset's content or settings changed.
    Updated {
        /// Which one.
        dataset: DatasetName,
        /// The revision that `main` points to now, when the payload says so.
        head: Option<Revision>,
        /// Whether the event says that the dataset turned private.
        turned_private: bool,
    },
    /// The dataset was renamed.
    Moved {
        /// The old name.
        from: DatasetName,
        /// The new name.
        to: DatasetName,
    },
    /// The dataset was deleted.
    Removed {
        /// Which one.
        dataset: DatasetName,
    },
}

impl WebhookEvent {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`InvalidWebhook`] when it is not JSON or breaks the schema.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidWebhook> {
        let payload: Value = serde_json::from_slice(body).map_err(|_| InvalidWebhook::NotJson)?;
        let object = payload.as_object().ok_or(InvalidWebhook::Schema)?;
        if object.contains_key("event") || object.contains_key("repo") || object.contains_key("scope") {
            parse_v2(&payload)
        } else {
            parse_2022(&payload)
        }
    }
}

fn parse_v2(payload: &Value) -> Result<WebhookEvent, InvalidWebhook> {
    let event = text(payload, "event")?.ok_or(InvalidWebhook::Schema)?;
    let scope = text(payload, "scope")?.ok_or(InvalidWebhook::Schema)?;
    let moved_to = text(payload, "movedTo")?;
    let repo = payload.get("repo").filter(|repo| repo.is_object()).ok_or(InvalidWebhook::Schema)?;
    let repo_type = text(repo, "type")?.ok_or(InvalidWebhook::Schema)?;
    let name = text(repo, "name")?.ok_or(InvalidWebhook::Schema)?;
    let head_sha = text(repo, "headSha")?;
    let known = ["add", "remove", "update", "move"].contains(&event)
        && ["dataset", "model", "space"].contains(&repo_type);
    if !known {
        return Err(InvalidWebhook::Schema);
    }
    if repo_type != "dataset" || !["repo", "repo.content", "repo.config"].contains(&scope) {
        return Ok(WebhookEvent::Ignored);
    }
    let dataset = dataset_name(name)?;
    Ok(match event {
        "remove" => WebhookEvent::Removed { dataset },
        "add" => WebhookEvent::Added { dataset },
        "move" => {
            WebhookEvent::Moved { from: dataset, to: dataset_name(moved_to.ok_or(InvalidWebhook::Schema)?)? }
        }
        _ => WebhookEvent::Updated {
            dataset,
            head: main_ref(payload)
                .or(head_sha)
                .map(Revision::new)
                .transpose()
                .map_err(|_| InvalidWebhook::Schema)?,
            turned_private: payload.pointer("/updatedConfig/private").is_some_and(is_truthy),
        },
    })
}

/// The 2022 payload: one key of `add`, `update`, `remove` with `datasets/<name>` or `<name>`.
fn parse_2022(payload: &Value) -> Result<WebhookEvent, InvalidWebhook> {
    let name_of = |key| -> Result<Option<DatasetName>, InvalidWebhook> {
        match text(payload, key)? {
            Some(name) => dataset_name(name.strip_prefix("datasets/").unwrap_or(name)).map(Some),
            None => Ok(None),
        }
    };
    if let Some(dataset) = name_of("remove")? {
        return Ok(WebhookEvent::Removed { dataset });
    }
    if let Some(dataset) = name_of("add")? {
        return Ok(WebhookEvent::Added { dataset });
    }
    match name_of("update")? {
        Some(dataset) => Ok(WebhookEvent::Added { dataset }),
        None => Err(InvalidWebhook::Schema),
    }
}

/// The new sha of `refs/heads/main` among `updatedRefs`, when both shas are given.
fn main_ref(payload: &Value) -> Option<&str> {
    let refs = payload.get("updatedRefs")?.as_array()?;
    let main = refs.iter().find(|item| item.get("ref").and_then(Value::as_str) == Some("refs/heads/main"))?;
    main.get("oldSha")?.as_str()?;
    main.get("newSha")?.as_str()
}

/// A string member; absent is `None`, any other type breaks the schema.
fn text<'a>(object: &'a Value, key: &str) -> Result<Option<&'a str>, InvalidWebhook> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(InvalidWebhook::Schema),
    }
}

fn dataset_name(name: &str) -> Result<DatasetName, InvalidWebhook> {
    DatasetName::new(name).map_err(|_| InvalidWebhook::Schema)
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> DatasetName {
        DatasetName::new("u/d").unwrap()
    }

    fn parse(text: &str) -> Result<WebhookEvent, InvalidWebhook> {
        WebhookEvent::parse(text.as_bytes())
    }

    #[test]
    fn v2_events_are_read() {
        let add = r#"{"event":"add","repo":{"type":"dataset","name":"u/d"},"scope":"repo","extra":1}"#;
        assert_eq!(parse(add), Ok(WebhookEvent::Added { dataset: dataset() }));
        let moved =
            r#"{"event":"move","movedTo":"u/e","repo":{"type":"dataset","name":"u/d"},"scope":"repo"}"#;
        let to = DatasetName::new("u/e").unwrap();
        assert_eq!(parse(moved), Ok(WebhookEvent::Moved { from: dataset(), to }));
        let gone = r#"{"event":"remove","repo":{"type":"dataset","name":"u/d"},"scope":"repo"}"#;
        assert_eq!(parse(gone), Ok(WebhookEvent::Removed { dataset: dataset() }));
    }

    #[test]
    fn an_update_takes_the_main_ref_over_the_head() {
        let update = r#"{"event":"update","scope":"repo.content","repo":{"type":"dataset","name":"u/d","headSha":"aa"},
            "updatedRefs":[{"ref":"refs/heads/x","oldSha":"1","newSha":"2"},
                           {"ref":"refs/heads/main","oldSha":"3","newSha":"4"}]}"#;
        let head = Some(Revision::new("4").unwrap());
        assert_eq!(
            parse(update),
            Ok(WebhookEvent::Updated { dataset: dataset(), head, turned_private: false })
        );
    }

    #[test]
    fn turning_private_is_seen() {
        let update = r#"{"event":"update","scope":"repo.config","repo":{"type":"dataset","name":"u/d"},
            "updatedConfig":{"private":true}}"#;
        assert_eq!(
            parse(update),
            Ok(WebhookEvent::Updated { dataset: dataset(), head: None, turned_private: true })
        );
    }

    #[test]
    fn other_repos_and_scopes_are_ignored() {
        let model = r#"{"event":"add","repo":{"type":"model","name":"u/d"},"scope":"repo"}"#;
        let discussion = r#"{"event":"add","repo":{"type":"dataset","name":"u/d"},"scope":"discussion"}"#;
        assert_eq!(parse(model), Ok(WebhookEvent::Ignored));
        assert_eq!(parse(discussion), Ok(WebhookEvent::Ignored));
    }

    #[test]
    fn the_2022_payload_is_read() {
        assert_eq!(parse(r#"{"update":"datasets/u/d"}"#), Ok(WebhookEvent::Added { dataset: dataset() }));
        assert_eq!(parse(r#"{"remove":"u/d"}"#), Ok(WebhookEvent::Removed { dataset: dataset() }));
    }

    #[test]
    fn broken_payloads_are_told_apart() {
        assert_eq!(parse("{"), Err(InvalidWebhook::NotJson));
        for bad in [
            "[]",
            "{}",
            r#"{"event":"add"}"#,
            r#"{"event":"fly","repo":{"type":"dataset","name":"u/d"},"scope":"repo"}"#,
            r#"{"event":"add","repo":{"type":"dataset","name":"u/d","headSha":null},"scope":"repo"}"#,
            r#"{"event":"add","repo":{"type":"dataset","name":"../d"},"scope":"repo"}"#,
            r#"{"event":"move","repo":{"type":"dataset","name":"u/d"},"scope":"repo"}"#,
            r#"{"add":7}"#,
        ] {
            assert_eq!(parse(bad), Err(InvalidWebhook::Schema), "{bad}");
        }
    }
}

//! The Hub's JSON, as far as it is read.
//!
//! Owns the shapes of repository info, listings and accounts. Unknown members are ignored; a missing `sha` or `id` is
//! [`HubError::Protocol`].

use outpost_model::{DatasetName, Revision, Visibility};
use serde::Deserialize;
use serde_json::Value;

use crate::{HubError, RepoInfo};

/// `GET /api/datasets/{id}`.
#[derive(Deserialize)]
pub(super) struct Info {
    id: String,
    sha: Option<String>,
    #[serde(default)]
    private: Option<bool>,
    /// `false`, `"auto"` or `"manual"`.
    #[serde(default)]
    gated: Value,
    #[serde(default)]
    disabled: Option<bool>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default, rename = "cardData")]
    card_data: Option<Value>,
}

impl Info {
    pub(super) fn read(self) -> Result<RepoInfo, HubError> {
        let broken = |error: String| HubError::Protocol(format!("repository info: {error}"));
        let dataset = DatasetName::new(&self.id).map_err(|error| broken(error.to_string()))?;
        let sha = self.sha.ok_or_else(|| broken(format!("dataset '{dataset}' has no 'sha'")))?;
        let revision = Revision::new(&sha).map_err(|error| broken(error.to_string()))?;
        let is_gated = is_truthy(&self.gated);
        let visibility = match (self.private.unwrap_or(false), is_gated) {
            (true, _) => Visibility::Private,
            (false, true) => Visibility::Gated,
            (false, false) => Visibility::Public,
        };
        let viewer = self.card_data.as_ref().and_then(|card| card.get("viewer"));
        Ok(RepoInfo {
            dataset,
            revision,
            visibility,
            disabled: self.disabled.unwrap_or(false),
            tags: self.tags.unwrap_or_default(),
            viewer_disabled: viewer.is_some_and(|viewer| !is_truthy(viewer)),
        })
    }
}

/// One dataset of `GET /api/datasets`.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) private: Option<bool>,
}

/// One entry of `GET /api/datasets/{id}/tree/{rev}`.
#[derive(Deserialize)]
pub(super) struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) size: u64,
}

impl TreeEntry {
    pub(super) fn is_file(&self) -> bool {
        self.kind == "file"
    }
}

/// `GET /api/whoami-v2`.
#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) name: String,
}

/// As Python's `bool()`.
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

    fn read(json: &str) -> Result<RepoInfo, HubError> {
        serde_json::from_str::<Info>(json).unwrap().read()
    }

    #[test]
    fn visibility_is_the_stricter_of_private_and_gated() {
        for (json, visibility) in [
            (r#"{"id":"u/d","sha":"a"}"#, Visibility::Public),
            (r#"{"id":"u/d","sha":"a","private":false,"gated":false}"#, Visibility::Public),
            (r#"{"id":"u/d","sha":"a","gated":"manual"}"#, Visibility::Gated),
            (r#"{"id":"u/d","sha":"a","private":true,"gated":"auto"}"#, Visibility::Private),
        ] {
            assert_eq!(read(json).unwrap().visibility, visibility, "{json}");
        }
    }

    #[test]
    fn the_viewer_is_disabled_by_a_falsy_value_only() {
        let disabled = |viewer: &str| {
            read(&format!(r#"{{"id":"u/d","sha":"a","cardData":{{"viewer":{viewer}}}}}"#))
                .unwrap()
                .viewer_disabled
        };
        for falsy in ["false", "null", "0", "\"\""] {
            assert!(disabled(falsy), "{falsy}");
        }
        for truthy in ["true", "1", "\"no\""] {
            assert!(!disabled(truthy), "{truthy}");
        }
        assert!(!read(r#"{"id":"u/d","sha":"a","cardData":null}"#).unwrap().viewer_disabled);
    }

    #[test]
    fn info_without_a_usable_id_and_sha_is_not_the_hubs() {
        for json in [r#"{"id":"u/d"}"#, r#"{"id":"u/d","sha":"../x"}"#, r#"{"id":"u/../d","sha":"a"}"#] {
            assert!(matches!(read(json), Err(HubError::Protocol(_))), "{json}");
        }
    }
}

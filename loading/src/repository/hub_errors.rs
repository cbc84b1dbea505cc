//! The Hub's refusals as `datasets` reports them (dataset-loading.md sections 5.4 and 6).
//!
//! Owns the mapping only. Trouble that may pass stays transient.

use std::borrow::Cow;

use outpost_hub::HubError;
use outpost_model::DatasetName;

use crate::error::LoadError;

/// The exception that a failed call to the Hub becomes while a dataset is opened.
pub(crate) fn load_error(dataset: &DatasetName, error: &HubError) -> LoadError {
    let (class, message) = match error {
        _ if error.is_transient() => {
            ("ConnectionError", format!("Couldn't reach '{dataset}' on the Hub ({error})"))
        }
        HubError::RepoNotFound(_) => (
            "DatasetNotFoundError",
            format!("Dataset '{dataset}' doesn't exist on the Hub or cannot be accessed."),
        ),
        HubError::Gated(_) => (
            "DatasetNotFoundError",
            format!(
                "Dataset '{dataset}' is a gated dataset on the Hub. Visit the dataset page at \
                 https://huggingface.co/datasets/{dataset} to ask for access."
            ),
        ),
        HubError::RevisionNotFound(revision) => (
            "DatasetNotFoundError",
            format!("Revision '{revision}' doesn't exist for dataset '{dataset}' on the Hub."),
        ),
        HubError::Disabled(_) | HubError::EntryNotFound(_) => ("FileNotFoundError", error.to_string()),
        HubError::TooLarge { .. } => ("LimitExceeded", error.to_string()),
        HubError::Status { .. } | HubError::Unreachable(_) | HubError::Protocol(_) | HubError::Folder(_) => {
            ("HfHubHTTPError", error.to_string())
        }
    };
    LoadError { class: Cow::Borrowed(class), message, transient: error.is_transient(), cause: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_words_of_the_library() {
        let dataset = DatasetName::new("u/n").unwrap();
        let text = |error: HubError| load_error(&dataset, &error).to_string();
        assert_eq!(
            text(HubError::RepoNotFound("u/n".into())),
            "DatasetNotFoundError: Dataset 'u/n' doesn't exist on the Hub or cannot be accessed."
        );
        assert_eq!(
            text(HubError::RevisionNotFound("x".into())),
            "DatasetNotFoundError: Revision 'x' doesn't exist for dataset 'u/n' on the Hub."
        );
        assert!(load_error(&dataset, &HubError::Unreachable("timeout".into())).is_transient());
        assert!(!load_error(&dataset, &HubError::Gated("u/n".into())).is_transient());
    }
}

//! Which datasets are served: the rules of http-api.md section 3.4 and the block list.
//!
//! Owns the order of the checks, in which visibility comes first: nothing more is said about a dataset that is not
//! public. Pure: the Hub's word goes in, a verdict comes out.

use outpost_hub::RepoInfo;
use outpost_model::{DatasetName, ErrorCode, Revision, Visibility};

/// What to do with a dataset that exists on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Public and supported.
    Serve {
        /// The head of `main`.
        revision: Revision,
    },
    /// Not public: known, neither computed nor served.
    Withhold {
        /// The head of `main`.
        revision: Revision,
        /// Gated or private.
        visibility: Visibility,
    },
    /// Public and not supported, for the reason that the code names.
    Refuse(ErrorCode),
}

/// Tags of datasets that are not for all audiences.
const NFAA_TAGS: [&str; 5] = ["not-for-all-audiences", "nsfw", "porn", "hentai", "inappropriate"];

/// Judges a dataset by what the Hub says about it.
#[must_use]
pub fn judge(info: &RepoInfo, blocked: &BlockList) -> Verdict {
    if info.visibility != Visibility::Public {
        return Verdict::Withhold { revision: info.revision.clone(), visibility: info.visibility };
    }
    if info.disabled {
        Verdict::Refuse(ErrorCode::NotSupportedDisabledRepositoryError)
    } else if info.tags.iter().any(|tag| NFAA_TAGS.contains(&tag.as_str())) {
        Verdict::Refuse(ErrorCode::NotSupportedTagNFAAError)
    } else if info.viewer_disabled {
        Verdict::Refuse(ErrorCode::NotSupportedDisabledViewerError)
    } else if blocked.contains(&info.dataset) {
        Verdict::Refuse(ErrorCode::DatasetInBlockListError)
    } else {
        Verdict::Serve { revision: info.revision.clone() }
    }
}

/// Datasets that an operator does not serve (`COMMON_BLOCKED_DATASETS`): ids, or `namespace/pattern` with the shell
/// wildcards `*` and `?` in the pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockList {
    patterns: Vec<String>,
}

impl BlockList {
    /// Reads a comma-separated list.
    ///
    /// # Errors
    /// A sentence about the first pattern that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let patterns: Vec<String> =
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
        for pattern in &patterns {
            let namespace = pattern.split('/').next().unwrap_or(pattern);
            let has_namespace = pattern.contains('/');
            if pattern.matches('/').count() > 1
                || (namespace.contains('*') && has_namespace)
                || pattern == "*"
            {
                return Err(format!(
                    "'{pattern}' is not a dataset id or a namespace/pattern with wildcards after the slash only"
                ));
            }
        }
        Ok(Self { patterns })
    }

    /// Whether the dataset is blocked.
    #[must_use]
    pub fn contains(&self, dataset: &DatasetName) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), dataset.as_str().as_bytes()))
    }
}

/// Shell matching with `*` and `?`, in time proportional to the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                last_star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(&c) if c == b'?' || c == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                at_pattern = star + 1;
                at_text = from + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RepoInfo {
        RepoInfo {
            dataset: DatasetName::new("u/d").unwrap(),
            revision: Revision::new("abc").unwrap(),
            visibility: Visibility::Public,
            disabled: false,
            tags: Vec::new(),
            viewer_disabled: false,
        }
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let blocked = BlockList::parse("u/*").unwrap();
        let mut repo = info();
        assert_eq!(judge(&repo, &BlockList::default()), Verdict::Serve { revision: repo.revision.clone() });
        assert_eq!(judge(&repo, &blocked), Verdict::Refuse(ErrorCode::DatasetInBlockListError));
        repo.viewer_disabled = true;
        assert_eq!(judge(&repo, &blocked), Verdict::Refuse(ErrorCode::NotSupportedDisabledViewerError));
        repo.tags = vec!["x".to_owned(), "nsfw".to_owned()];
        assert_eq!(judge(&repo, &blocked), Verdict::Refuse(ErrorCode::NotSupportedTagNFAAError));
        repo.disabled = true;
        assert_eq!(judge(&repo, &blocked), Verdict::Refuse(ErrorCode::NotSupportedDisabledRepositoryError));
        repo.visibility = Visibility::Gated;
        assert!(matches!(judge(&repo, &blocked), Verdict::Withhold { visibility: Visibility::Gated, .. }));
    }

    #[test]
    fn block_patterns_match_like_a_shell() {
        let list = BlockList::parse(" squad, org/secret-*,org/a?c*e ,").unwrap();
        for (name, blocked) in [
            ("squad", true),
            ("squad2", false),
            ("org/secret-1", true),
            ("org/secret-x", true),
            ("org/secre", false),
            ("org/abcdde", true),
            ("org/abcdd", false),
        ] {
            assert_eq!(list.contains(&DatasetName::new(name).unwrap()), blocked, "{name}");
        }
        assert!(BlockList::parse("a/b/c").is_err());
        assert!(BlockList::parse("*/x").is_err());
    }
}

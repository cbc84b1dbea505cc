//! The chain of exceptions that `datasets` would have raised.
//!
//! Owns class and message of each link, outermost first; the API's `cause_exception` and `cause_message` come from
//! here. [`LoadError::is_transient`] tells trouble with the Hub from trouble with the data.

use std::borrow::Cow;

use outpost_model::limits;

/// A failure to list or read a dataset: a Python exception class, its message, and what caused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct LoadError {
    /// The Python class name, such as `EmptyDatasetError` or `ArrowInvalid`.
    pub class: Cow<'static, str>,
    /// The message, without the class.
    pub message: String,
    /// Whether trying again may succeed with the same revision.
    pub transient: bool,
    /// The exception that this one was raised from.
    #[source]
    pub cause: Option<Box<LoadError>>,
}

impl LoadError {
    /// An error of the data. A message beyond [`limits::ERROR_MESSAGE_BYTES_MAX`] loses its end.
    #[must_use]
    pub fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self { class: Cow::Borrowed(class), message: bounded(message.into()), transient: false, cause: None }
    }

    /// The same error raised from `cause`; transient when the cause is.
    #[must_use]
    pub fn caused_by(mut self, cause: Self) -> Self {
        self.transient |= cause.transient;
        self.cause = Some(Box::new(cause));
        self
    }

    /// Whether trying again may succeed with the same revision.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The links of the chain, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |link| link.cause.as_deref())
    }
}

impl From<outpost_formats::FormatError> for LoadError {
    fn from(error: outpost_formats::FormatError) -> Self {
        Self {
            class: Cow::Owned(error.class.to_string()),
            message: bounded(error.message),
            transient: error.class.is_transient(),
            cause: None,
        }
    }
}

/// Cuts what quotes too much of the data.
fn bounded(mut message: String) -> String {
    if message.len() > limits::ERROR_MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(limits::ERROR_MESSAGE_BYTES_MAX));
        message.push_str("...");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_lose_their_end() {
        let message = LoadError::new("ValueError", "é".repeat(limits::ERROR_MESSAGE_BYTES_MAX)).message;
        assert_eq!(message.len(), limits::ERROR_MESSAGE_BYTES_MAX + 3);
        assert!(message.ends_with("é..."));
    }

    #[test]
    fn an_error_with_a_transient_cause_is_transient() {
        let mut cause = LoadError::new("ConnectionError", "");
        cause.transient = true;
        let error = LoadError::new("SplitsNotFoundError", "").caused_by(cause);
        assert!(error.is_transient());
        assert_eq!(error.chain().count(), 2);
    }
}

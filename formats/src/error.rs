//! The one error type of readers and casts.
//!
//! Owns the classes by which `datasets` users know a failure (dataset-loading.md section 5.4): the class name becomes
//! `cause_exception` of a response. Whether a failure is the environment's fault is a question to [`ErrorClass`].

use std::fmt;

/// The Python exception class that stands for a failure in the API's error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the Python classes")]
pub enum ErrorClass {
    ArrowInvalid,
    ArrowTypeError,
    ArrowNotImplementedError,
    AttributeError,
    BadZipFile,
    CastError,
    EOFError,
    EmptyDataError,
    FileNotFoundError,
    IndexError,
    JSONDecodeError,
    KeyError,
    LookupError,
    NotImplementedError,
    OverflowError,
    ParserError,
    ReadError,
    RuntimeError,
    StopIteration,
    TypeError,
    UnicodeDecodeError,
    ValueError,
    /// Broken compressed data (gzip, xz, bz2, zstd, lz4).
    OSError,
    /// A limit of this implementation was met; the message says which.
    LimitExceeded,
    /// The bytes could not be had: network, timeout, Hub trouble. The only transient class.
    ConnectionError,
}

impl ErrorClass {
    /// Whether trying again may succeed with the same bytes.
    #[must_use]
    pub fn is_transient(self) -> bool {
        self == Self::ConnectionError
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A failure to read, infer or cast, with the class and message that users of `datasets` know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct FormatError {
    /// The Python class.
    pub class: ErrorClass,
    /// The message, without the class.
    pub message: String,
}

impl FormatError {
    /// Builds an error.
    #[must_use]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

/// Errors of [`crate::ByteSource`] reads: the source wraps its own failures in `io::Error`; a `FormatError` inside
/// is handed through, anything else is judged by its kind.
impl From<std::io::Error> for FormatError {
    fn from(error: std::io::Error) -> Self {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return inner.clone();
        }
        let class = match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => ErrorClass::OSError,
            std::io::ErrorKind::NotFound => ErrorClass::FileNotFoundError,
            _ => ErrorClass::ConnectionError,
        };
        Self::new(class, error.to_string())
    }
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        Self::other(error)
    }
}

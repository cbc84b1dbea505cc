//! Every error code of the API in one exhaustive table: name, status, disclosure, retry class.
//!
//! Owns what http-api.md section 8 and worker-and-store.md section 6 list. A code that is not here cannot be
//! answered or stored.

use std::fmt;

/// What decides when a failed computation is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// The environment failed: tried again with back-off, up to `max_failed_runs` runs per revision.
    Transient {
        /// Failed runs after which maintenance leaves the entry alone.
        max_failed_runs: u32,
    },
    /// The data is at fault: tried again when the revision changes.
    Data,
    /// A limit was met: tried again when the revision or the step's version changes.
    Limit,
    /// Not supported here: tried again when the revision or the step's version changes.
    Unsupported,
    /// An answer to one request, never stored.
    Request,
}

macro_rules! error_codes {
    ($($code:ident $status:literal $disclosed:literal $class:expr;)*) => {
        /// An error code, sent in `X-Error-Code` and stored with error entries.
        #[allow(missing_docs, reason = "the names are the wire contract; http-api.md section 8 says when each occurs")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($code,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The wire name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The HTTP status that it is answered with.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$code => $status,)* }
            }

            /// Whether the body names the cause (`cause_exception`, `cause_message`).
            #[must_use]
            pub fn discloses_cause(self) -> bool {
                match self { $(Self::$code => $disclosed,)* }
            }

            /// When the computation is tried again.
            #[must_use]
            pub fn retry_class(self) -> RetryClass {
                match self { $(Self::$code => $class,)* }
            }
        }
    };
}

use RetryClass::{Data, Limit, Request, Transient, Unsupported};
const THRICE: RetryClass = Transient { max_failed_runs: 3 };
const THIRTY: RetryClass = Transient { max_failed_runs: 30 };

error_codes! {
    MissingRequiredParameter 422 false Request;
    InvalidParameter 422 false Request;
    ExternalUnauthenticatedError 401 false Request;
    ExternalAuthenticatedError 404 false Request;
    RenamedDatasetError 404 false Request;
    AuthCheckHubRequestError 500 false Request;
    ResponseNotFound 404 false Request;
    ResponseNotReady 500 false Request;
    RowsNotPrecomputed 501 false Request;
    StateNotReached 503 false Request;
    UpstreamNotReached 503 false Request;
    OutboxFull 503 false Request;
    UnexpectedApiError 500 false Request;

    NotSupportedRepositoryNotFoundError 501 false Request;
    NotSupportedDisabledRepositoryError 501 false Request;
    NotSupportedPrivateRepositoryError 501 false Request;
    NotSupportedTagNFAAError 501 false Request;
    NotSupportedDisabledViewerError 501 false Request;
    DatasetInBlockListError 501 false Request;

    ConfigNamesError 500 true Data;
    RetryableConfigNamesError 500 true THRICE;
    EmptyDatasetError 500 true Data;
    DataFilesNotFoundError 500 false Data;
    FileFormatMismatchBetweenSplitsError 500 false Data;
    DatasetWithScriptNotSupportedError 501 true Unsupported;
    DatasetWithTooManyConfigsError 501 true Limit;
    DatasetWithTooManySplitsError 501 true Limit;
    SplitNamesFromStreamingError 500 true Data;
    InfoError 500 true Data;
    FeaturesError 500 true Data;
    StreamingRowsError 500 true THRICE;
    RowsPostProcessingError 500 false Data;
    TooManyColumnsError 500 true Limit;
    TooLongColumnNameError 500 true Limit;
    TooBigContentError 501 false Limit;
    FileSystemError 500 false THRICE;
    HfHubError 500 false THIRTY;
    PreviousStepFormatError 500 false Data;
    PreviousStepStillProcessingError 500 false THIRTY;
    JobManagerCrashedError 501 false THRICE;
    JobManagerExceededMaximumDurationError 501 false Limit;
    UnexpectedError 500 false Data;

    // Only ever written by a Python worker on the same database (worker-and-store.md section 6).
    ConfigNotFoundError 404 false Data;
    SplitNotFoundError 404 false Data;
    DatasetNotFoundError 404 false Data;
    SplitParquetSchemaMismatchError 422 false Data;
    ComputationError 500 true Data;
    DatasetGenerationCastError 500 true Data;
    DatasetGenerationError 500 true Data;
    DatasetWithTooComplexDataFilesPatternsError 500 true Data;
    FeaturesResponseEmptyError 500 true Data;
    NormalRowsError 500 true Data;
    SplitsNamesError 500 true Data;
    CreateCommitError 500 false THIRTY;
    DiskError 500 false Data;
    DuckDBIndexFileNotFoundError 500 false Data;
    ExternalServerError 500 false THRICE;
    MissingSpawningTokenError 500 false Data;
    ParameterMissingError 500 false Data;
    ParquetResponseEmptyError 500 false Data;
    PolarsParquetReadError 500 false Data;
    PreviousStepStatusError 500 false Data;
    CacheDirectoryNotInitializedError 501 true Data;
    DatasetWithTooManyParquetFilesError 501 true Limit;
    LockedDatasetTimeoutError 501 true THIRTY;
    NoSupportedFeaturesError 501 true Unsupported;
    PresidioScanNotEnabledForThisDataset 501 false Unsupported;
    // Names that dataset-viewer declares without a class: no status is given for them, stored entries have their own.
    DatasetWithArrowFilesNotSupportedError 501 false Unsupported;
    SplitWithTooBigParquetError 500 false Limit;
}

impl ErrorCode {
    /// The code with this wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// How many failed runs maintenance allows before it leaves the entry alone; zero when it never retries.
    #[must_use]
    pub fn max_failed_runs(self) -> u32 {
        match self.retry_class() {
            Transient { max_failed_runs } => max_failed_runs,
            Data | Limit | Unsupported | Request => 0,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_unique() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.http_status()));
        }
        assert_eq!(ErrorCode::from_name("NoSuchError"), None);
    }

    #[test]
    fn every_code_that_python_workers_store_is_known() {
        // worker-and-store.md section 6 and, for the runs, section 3.6.
        for (name, status, disclosed, max_failed_runs) in [
            ("SplitParquetSchemaMismatchError", 422, false, 0),
            ("ComputationError", 500, true, 0),
            ("CreateCommitError", 500, false, 30),
            ("ExternalServerError", 500, false, 3),
            ("LockedDatasetTimeoutError", 501, true, 30),
            ("DatasetWithTooManyParquetFilesError", 501, true, 0),
            ("PresidioScanNotEnabledForThisDataset", 501, false, 0),
        ] {
            let code = ErrorCode::from_name(name).unwrap();
            assert_eq!(
                (code.http_status(), code.discloses_cause(), code.max_failed_runs()),
                (status, disclosed, max_failed_runs),
                "{name}"
            );
        }
    }

    #[test]
    fn only_transient_errors_are_retried() {
        assert_eq!(ErrorCode::JobManagerCrashedError.max_failed_runs(), 3);
        assert_eq!(ErrorCode::HfHubError.max_failed_runs(), 30);
        assert_eq!(ErrorCode::ConfigNamesError.max_failed_runs(), 0);
    }
}

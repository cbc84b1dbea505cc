//! Query parameters of the read endpoints, checked before a handler runs.
//!
//! Owns http-api.md sections 0.2 (query strings), 1.1 (levels) and 5.1 (offset and length). Unknown parameters are
//! ignored, of a repeated one the last counts. A name that no dataset can have is kept apart from a missing one: it
//! is not a mistake of form, it just never exists.

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use outpost_model::{ArtifactKey, ConfigName, DatasetName, Level, SplitName, StepKind, limits};

use super::encoding::Encoding;
use super::error::{ApiError, Caller};
use super::promises::{Demand, demand_of};
use super::read::Reader;

/// A name parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Name<T> {
    #[default]
    Missing,
    /// Present and against the rules of its kind, so that nothing has this name.
    Impossible,
    Checked(T),
}

impl<T: std::str::FromStr> Name<T> {
    fn read(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Missing;
        }
        text.parse().map_or(Self::Impossible, Self::Checked)
    }

    fn is_present(&self) -> bool {
        !matches!(self, Self::Missing)
    }
}

/// What a read request says, whatever its endpoint.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    dataset: Name<DatasetName>,
    config: Name<ConfigName>,
    split: Name<SplitName>,
    offset: Option<String>,
    length: Option<String>,
    /// The coding to answer with.
    pub encoding: Encoding,
    /// Whether credentials came along.
    pub caller: Caller,
    /// What state the answer must be of.
    pub demand: Result<Demand, ApiError>,
    /// The tags that the caller has an answer for.
    pub if_none_match: Option<HeaderValue>,
}

/// The artifact that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// No dataset can have the given name.
    NoSuchDataset,
    /// The dataset may exist and cannot have such a config or split.
    NoSuchArtifact {
        /// The dataset.
        dataset: DatasetName,
        /// The step that would have computed it.
        kind: StepKind,
    },
    /// A well-formed address.
    Artifact(ArtifactKey),
}

/// The step of each level that an endpoint reads (http-api.md section 1.2).
#[derive(Debug, Clone, Copy)]
pub struct EndpointSteps {
    /// Read when only the dataset is given.
    pub dataset: Option<StepKind>,
    /// Read when dataset and config are given.
    pub config: Option<StepKind>,
    /// Read when dataset, config and split are given.
    pub split: Option<StepKind>,
}

/// A page of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// Index of the first row.
    pub offset: u64,
    /// Rows asked for, at most [`limits::ROWS_PER_PAGE_MAX`].
    pub length: usize,
}

impl ReadRequest {
    fn parse(query: &str, headers: &HeaderMap) -> Self {
        let encoding = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let caller =
            if headers.contains_key(AUTHORIZATION) { Caller::WithCredentials } else { Caller::Anonymous };
        let mut request = Self {
            dataset: Name::Missing,
            config: Name::Missing,
            split: Name::Missing,
            offset: None,
            length: None,
            encoding: Encoding::negotiate(encoding),
            caller,
            demand: demand_of(headers),
            if_none_match: headers.get(IF_NONE_MATCH).cloned(),
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "dataset" => request.dataset = Name::read(&value),
                "config" => request.config = Name::read(&value),
                "split" => request.split = Name::read(&value),
                "offset" => request.offset = Some(value.into_owned()),
                "length" => request.length = Some(value.into_owned()),
                _ => {}
            }
        }
        request
    }

    /// The artifact at the most specific level that the endpoint has a step for and the request has the names of.
    ///
    /// # Errors
    /// `MissingRequiredParameter` when no level fits.
    pub fn target(&self, steps: &EndpointSteps) -> Result<Target, ApiError> {
        let has_config = self.dataset.is_present() && self.config.is_present();
        let has_split = has_config && self.split.is_present();
        let kind = steps
            .split
            .filter(|_| has_split)
            .or_else(|| steps.config.filter(|_| has_config))
            .or_else(|| steps.dataset.filter(|_| self.dataset.is_present()));
        match kind {
            Some(kind) => Ok(self.address(kind)),
            None if steps.dataset.is_some() => {
                Err(ApiError::missing_parameter("Parameter 'dataset' is required"))
            }
            None => {
                Err(ApiError::missing_parameter("Parameters 'dataset', 'config' and 'split' are required"))
            }
        }
    }

    /// The split-level artifact of a rows endpoint, which names the first parameter that is missing
    /// (http-api.md section 5.1).
    ///
    /// # Errors
    /// `MissingRequiredParameter`.
    pub fn rows_target(&self, kind: StepKind) -> Result<Target, ApiError> {
        let missing = if !self.dataset.is_present() {
            "Parameter 'dataset' is required"
        } else if !self.config.is_present() {
            "Parameter 'config' is required"
        } else if !self.split.is_present() {
            "Parameter 'split' is required"
        } else {
            return Ok(self.address(kind));
        };
        Err(ApiError::missing_parameter(missing))
    }

    fn address(&self, kind: StepKind) -> Target {
        let Name::Checked(dataset) = &self.dataset else { return Target::NoSuchDataset };
        let key = match (kind.level(), &self.config, &self.split) {
            (Level::Dataset, _, _) => ArtifactKey::new(kind, dataset.clone(), None, None),
            (Level::Config, Name::Checked(config), _) => {
                ArtifactKey::new(kind, dataset.clone(), Some(config.clone()), None)
            }
            (Level::Split, Name::Checked(config), Name::Checked(split)) => {
                ArtifactKey::new(kind, dataset.clone(), Some(config.clone()), Some(split.clone()))
            }
            _ => return Target::NoSuchArtifact { dataset: dataset.clone(), kind },
        };
        Target::Artifact(key.expect("the names were chosen by the step's level"))
    }

    /// Who reads, and how.
    ///
    /// # Errors
    /// `InvalidParameter`, about a demand that makes no sense.
    pub fn reader(&self) -> Result<Reader, ApiError> {
        Ok(Reader { encoding: self.encoding, caller: self.caller, demand: self.demand.clone()? })
    }

    /// The page of a rows endpoint (http-api.md section 5.1).
    ///
    /// # Errors
    /// `InvalidParameter`, about the offset before the length.
    pub fn page(&self) -> Result<Page, ApiError> {
        let offset = match &self.offset {
            None => 0,
            Some(text) => read_integer(text)
                .ok_or_else(|| ApiError::invalid_parameter("Parameter 'offset' must be integer"))?
                .positive()
                .ok_or_else(|| ApiError::invalid_parameter("Parameter 'offset' must be positive"))?,
        };
        let length = match &self.length {
            None => limits::ROWS_PER_PAGE_MAX as u64,
            Some(text) => read_integer(text)
                .ok_or_else(|| ApiError::invalid_parameter("Parameter 'length' must be integer"))?
                .positive()
                .ok_or_else(|| ApiError::invalid_parameter("Parameter 'length' must be positive"))?,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limits::ROWS_PER_PAGE_MAX {
            return Err(ApiError::invalid_parameter("Parameter 'length' must not be greater than 100"));
        }
        Ok(Page { offset, length })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReadRequest {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or(""), &parts.headers))
    }
}

/// An integer of any size, as far as a page cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integer {
    Negative,
    /// Saturated: no split has more rows than that.
    AtLeastZero(u64),
}

impl Integer {
    fn positive(self) -> Option<u64> {
        match self {
            Self::Negative => None,
            Self::AtLeastZero(value) => Some(value),
        }
    }
}

/// Reads an integer as Python does: surrounding white space, a sign and single underscores between digits are fine.
fn read_integer(text: &str) -> Option<Integer> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|c| c.is_ascii_digit());
    if !digits.split('_').all(is_group) {
        return None;
    }
    let value = digits
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0_u64, |value, c| value.saturating_mul(10).saturating_add(u64::from(c - b'0')));
    Some(if negative && value > 0 { Integer::Negative } else { Integer::AtLeastZero(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLITS: EndpointSteps = EndpointSteps {
        dataset: Some(StepKind::DatasetSplitNames),
        config: Some(StepKind::ConfigSplitNames),
        split: None,
    };
    const FIRST_ROWS: EndpointSteps =
        EndpointSteps { dataset: None, config: None, split: Some(StepKind::SplitFirstRows) };

    fn request(query: &str) -> ReadRequest {
        ReadRequest::parse(query, &HeaderMap::new())
    }

    fn described(query: &str, steps: &EndpointSteps) -> String {
        match request(query).target(steps) {
            Ok(Target::Artifact(key)) => key.to_string(),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.message.into_owned(),
        }
    }

    #[test]
    fn the_most_specific_level_with_all_its_names_is_read() {
        for (query, expected) in [
            ("dataset=u/d", "dataset-split-names,u/d"),
            ("dataset=u/d&config=c", "config-split-names,u/d,c"),
            ("dataset=u/d&config=", "dataset-split-names,u/d"),
            ("dataset=u/d&config=+%20", "dataset-split-names,u/d"),
            ("dataset=u/d&split=train", "dataset-split-names,u/d"),
            ("dataset=u/d&config=c&split=train", "config-split-names,u/d,c"),
            ("dataset=x&dataset=u%2Fd&other=1", "dataset-split-names,u/d"),
            ("", "Parameter 'dataset' is required"),
            ("dataset", "Parameter 'dataset' is required"),
            ("dataset=+&config=c", "Parameter 'dataset' is required"),
            ("dataset=a/b/c", "NoSuchDataset"),
            ("dataset=a%00b", "NoSuchDataset"),
            ("dataset=%ff", "NoSuchDataset"),
        ] {
            assert_eq!(described(query, &SPLITS), expected, "{query}");
        }
    }

    #[test]
    fn a_split_endpoint_needs_all_three_names() {
        let required = "Parameters 'dataset', 'config' and 'split' are required";
        for query in ["", "dataset=u/d", "dataset=u/d&config=c", "dataset=u/d&split=s", "config=c&split=s"] {
            assert_eq!(described(query, &FIRST_ROWS), required, "{query}");
        }
        let spaces = "dataset=u/d&config=en+US&split=train";
        assert_eq!(described(spaces, &FIRST_ROWS), "split-first-rows,u/d,en US,train");
        let impossible = request("dataset=u/d&config=a%2Fb&split=train").target(&FIRST_ROWS).unwrap();
        assert!(matches!(impossible, Target::NoSuchArtifact { .. }));
    }

    #[test]
    fn rows_name_the_first_missing_parameter() {
        for (query, expected) in [
            ("", "Parameter 'dataset' is required"),
            ("dataset=u/d&split=s", "Parameter 'config' is required"),
            ("dataset=u/d&config=c&split=", "Parameter 'split' is required"),
        ] {
            let error = request(query).rows_target(StepKind::SplitFirstRows).unwrap_err();
            assert_eq!(error.message, expected);
        }
    }

    #[test]
    fn pages_are_read_as_python_reads_integers() {
        let page = |query: &str| request(query).page().map_err(|error| error.message.into_owned());
        assert_eq!(page(""), Ok(Page { offset: 0, length: 100 }));
        assert_eq!(page("offset=%2B5&length=1_0"), Ok(Page { offset: 5, length: 10 }));
        assert_eq!(page("offset=+7+&length=0"), Ok(Page { offset: 7, length: 0 }));
        assert_eq!(page("offset=99999999999999999999999"), Ok(Page { offset: u64::MAX, length: 100 }));
        for (query, expected) in [
            ("offset=", "Parameter 'offset' must be integer"),
            ("offset=1.0&length=x", "Parameter 'offset' must be integer"),
            ("offset=_1", "Parameter 'offset' must be integer"),
            ("offset=-1", "Parameter 'offset' must be positive"),
            ("length=x", "Parameter 'length' must be integer"),
            ("length=-2", "Parameter 'length' must be positive"),
            ("length=101", "Parameter 'length' must not be greater than 100"),
        ] {
            assert_eq!(page(query), Err(expected.to_owned()), "{query}");
        }
    }
}

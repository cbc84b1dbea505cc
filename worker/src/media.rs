//! Media cells: from `{bytes, path}` to the links and sizes that readers get (worker-and-store.md section 5.5).
//!
//! Owns the form of the cells, the names of their files, and what becomes an asset: bytes always, files of the Hub
//! only where it has no addresses of its own. Refuses what it cannot show with a sentence for readers; trouble with
//! the Hub or with the asset store is told apart, because it may pass.

mod audio;
mod budget;
mod file;
mod file_name;
mod image;
mod image_mode;
mod jpeg;
mod jpeg_copy;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use outpost_formats::{Feature, MediaKind, Value};
use outpost_hub::{Hub, HubError};
use outpost_loading::{JobGuard, LoadError, MediaArchives};
use outpost_model::limits::AUDIO_DECODED_BYTES_MAX;
use outpost_model::{AssetPath, AssetSplit};

use self::audio::{AudioFormat, Treatment};
pub use self::budget::DecodeBudget;
use self::file::{ArchiveMember, HeldFile, HubFile};
use self::file_name::{PathStep, extension, name_at};
use self::image::Encoded;
use crate::assets::{AssetError, AssetSink, NewAsset};

/// Where `%PDF` must stand in a document.
const PDF_MARK_BYTES_MAX: usize = 1_000;

/// Why a cell has no media.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The data; the reason is part of a sentence.
    #[error("{0}")]
    Cell(String),
    /// The Hub, for now.
    #[error("the Hub could not be read: {0}")]
    Hub(HubError),
    /// An archive on the Hub, for now.
    #[error("an archive could not be read: {0}")]
    Archive(LoadError),
    /// The asset store.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// The job must end.
    #[error("the job was stopped")]
    Stopped,
}

impl From<HubError> for MediaError {
    fn from(error: HubError) -> Self {
        if error.is_transient() {
            Self::Hub(error)
        } else {
            Self::Cell(format!("its file cannot be read: {error}"))
        }
    }
}

impl From<LoadError> for MediaError {
    fn from(error: LoadError) -> Self {
        if error.is_transient() {
            Self::Archive(error)
        } else {
            Self::Cell(format!("its file cannot be read: {error}"))
        }
    }
}

impl From<String> for MediaError {
    fn from(reason: String) -> Self {
        Self::Cell(reason)
    }
}

/// What the media of one split are made with.
#[derive(Clone)]
pub struct MediaStep<'a> {
    /// Has the files that cells name by path.
    pub hub: &'a dyn Hub,
    /// Runs the Hub's calls.
    pub runtime: &'a tokio::runtime::Handle,
    /// Ends the job when it must end.
    pub guard: &'a JobGuard,
    /// Has the members of archives that cells name by path.
    pub archives: &'a MediaArchives,
    /// Takes the assets.
    pub assets: &'a dyn AssetSink,
    /// Memory to read files and to decode in.
    pub budget: &'a DecodeBudget,
    /// The rows that the cells are of.
    pub rows: AssetSplit,
}

/// Whether values of this type are media or hold some.
#[must_use]
pub fn holds_media(feature: &Feature) -> bool {
    match feature {
        Feature::Media(_) => true,
        Feature::List { feature, .. } | Feature::LargeList { feature } => holds_media(feature),
        Feature::Struct(members) => members.0.iter().any(|(_, member)| holds_media(member)),
        Feature::Value { .. }
        | Feature::ClassLabel { .. }
        | Feature::Array { .. }
        | Feature::Translation { .. }
        | Feature::TranslationVariableLanguages { .. }
        | Feature::Json { .. } => false,
    }
}

/// One cell of a column that holds media.
pub(crate) struct MediaCell<'a> {
    step: &'a MediaStep<'a>,
    row_idx: u64,
    column: &'a str,
    /// The way from the column to the value at hand.
    path: Vec<PathStep<'a>>,
    /// Names of the cell's files: the suffix of the original does not tell all of them apart.
    names: HashSet<String>,
}

/// Where the bytes of a value are.
enum Source<'v> {
    Bytes(Bytes, Option<&'v str>),
    Hub(HubFile),
    /// With its path.
    Member(ArchiveMember, &'v str),
}

impl<'a> MediaCell<'a> {
    pub(crate) fn new(step: &'a MediaStep<'a>, row_idx: u64, column: &'a str) -> Self {
        Self { step, row_idx, column, path: Vec::new(), names: HashSet::new() }
    }

    /// The value with every media in it replaced by what readers get. `value` has the shape of `feature`.
    pub(crate) fn show(&mut self, value: &'a Value, feature: &'a Feature) -> Result<Value, MediaError> {
        match (feature, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Feature::Media(media), value) => self.media(media.kind, value),
            (Feature::List { feature, .. } | Feature::LargeList { feature }, Value::List(items))
                if holds_media(feature) =>
            {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| self.nested(PathStep::Item(index), item, feature));
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
            (Feature::Struct(features), Value::Struct(members)) => {
                let member = |(name, member): &'a (Arc<str>, Value)| match features.get(name) {
                    Some(feature) => {
                        let shown = self.nested(PathStep::Member(name), member, feature);
                        Ok((name.clone(), shown?))
                    }
                    None => Ok((name.clone(), member.clone())),
                };
                Ok(Value::Struct(members.iter().map(member).collect::<Result<_, MediaError>>()?))
            }
            (_, value) => Ok(value.clone()),
        }
    }

    fn nested(
        &mut self,
        step: PathStep<'a>,
        value: &'a Value,
        feature: &'a Feature,
    ) -> Result<Value, MediaError> {
        self.path.push(step);
        let shown = self.show(value, feature);
        self.path.pop();
        shown
    }

    fn media(&mut self, kind: MediaKind, value: &Value) -> Result<Value, MediaError> {
        let Some(source) = self.source(value)? else { return Ok(Value::Null) };
        match kind {
            MediaKind::Image => self.image(&source),
            MediaKind::Audio => self.audio(&source),
            MediaKind::Video => self.video(&source),
            MediaKind::Pdf => self.pdf(&source),
            MediaKind::Nifti | MediaKind::Mesh => Err(format!("its type is {kind:?}").into()),
        }
    }

    /// Bytes before a path. A local path, which names nothing here, is no media.
    fn source<'v>(&self, value: &'v Value) -> Result<Option<Source<'v>>, MediaError> {
        let (bytes, path) = match value {
            Value::Struct(_) => (value.member("bytes"), value.member("path")),
            Value::Bytes(_) => (Some(value), None),
            Value::Str(_) => (None, Some(value)),
            _ => (None, None),
        };
        let path = path.and_then(|path| if let Value::Str(path) = path { Some(&**path) } else { None });
        if let Some(Value::Bytes(bytes)) = bytes.filter(|bytes| !is_empty(bytes)) {
            return Ok(Some(Source::Bytes(Bytes::from_owner(bytes.clone()), path)));
        }
        let path = path.ok_or_else(|| MediaError::Cell("a cell has neither bytes nor a path".to_owned()))?;
        let dataset = &self.step.rows.dataset;
        if let Some(member) = ArchiveMember::parse(path, dataset)? {
            return Ok(Some(Source::Member(member, path)));
        }
        Ok(HubFile::parse(path, dataset)?.map(Source::Hub))
    }

    fn image(&mut self, source: &Source<'_>) -> Result<Value, MediaError> {
        if let Source::Hub(file) = source
            && let Some(url) = file.resolve_url(self.step)
        {
            let mut head = file.head(self.step);
            let dimensions = image::dimensions(&mut head);
            return match (head.failure, dimensions) {
                (Some(failure), _) => Err(failure),
                (None, dimensions) => Ok(image_cell(&url, dimensions?)),
            };
        }
        let encoded = self.encoded(source)?;
        let (extension, content_type) =
            if encoded.is_jpeg { ("jpg", "image/jpeg") } else { ("png", "image/png") };
        let url = self.put("image", extension, content_type, encoded.bytes.into())?;
        Ok(image_cell(&url, (encoded.width, encoded.height)))
    }

    /// Reads an image and makes its asset, within the budget.
    fn encoded(&self, source: &Source<'_>) -> Result<Encoded, MediaError> {
        let mut beside = 0;
        loop {
            let HeldFile { bytes, mut reserved } = source.read(self.step, beside)?;
            let held = reserved.bytes() - beside;
            let opened = image::open(&bytes)?;
            if opened.memory_bytes <= beside || reserved.try_resize(held + opened.memory_bytes) {
                return Ok(opened.encode()?);
            }
            // To wait with the file in memory could be to wait for one who waits for that memory: it is let go, and
            // read again when there is room for both.
            beside = opened.memory_bytes;
        }
    }

    fn audio(&mut self, source: &Source<'_>) -> Result<Value, MediaError> {
        let by_path = source.path().and_then(AudioFormat::of_path);
        if let (Source::Hub(file), Some(format)) = (source, by_path)
            && let Some(url) = file.resolve_url(self.step)
        {
            return Ok(audio_cell(&url, format));
        }
        // What is written anew needs its memory before the file is held.
        let beside = if by_path.is_some() { 0 } else { AUDIO_DECODED_BYTES_MAX };
        let HeldFile { bytes: file, reserved: _held } = source.read(self.step, beside)?;
        let (format, file) = match Treatment::of(source.path(), &file) {
            Treatment::Copied(format) => (format, file),
            Treatment::Converted => {
                let extension = source.path().and_then(extension);
                let wav = audio::to_wav(file, extension, AUDIO_DECODED_BYTES_MAX, self.step.guard)?;
                (AudioFormat::Wav, wav.into())
            }
        };
        let url = self.put("audio", format.extension(), format.content_type(), file)?;
        Ok(audio_cell(&url, format))
    }

    fn video(&mut self, source: &Source<'_>) -> Result<Value, MediaError> {
        if let Source::Hub(file) = source
            && let Some(url) = file.resolve_url(self.step)
        {
            return Ok(members(vec![("src", Value::str(&url))]));
        }
        let file = source.read(self.step, 0)?;
        let extension = audio::video_extension(source.path(), &file.bytes);
        let url = self.put("video", &extension, audio::video_content_type(&extension), file.bytes)?;
        Ok(members(vec![("src", Value::str(&url))]))
    }

    fn pdf(&mut self, source: &Source<'_>) -> Result<Value, MediaError> {
        let HeldFile { bytes: file, reserved: _held } = source.read(self.step, 0)?;
        let start = &file[..file.len().min(PDF_MARK_BYTES_MAX)];
        if !start.windows(4).any(|mark| mark == b"%PDF") {
            return Err("its file is not a PDF document".to_owned().into());
        }
        let size_bytes = Value::UInt(file.len() as u64);
        let url = self.put("document", "pdf", "application/pdf", file)?;
        Ok(members(vec![("src", Value::str(&url)), ("size_bytes", size_bytes), ("thumbnail", Value::Null)]))
    }

    /// Stores a file and returns its URL as bodies hold it.
    fn put(
        &mut self,
        base: &str,
        extension: &str,
        content_type: &'static str,
        bytes: Bytes,
    ) -> Result<String, MediaError> {
        let base = name_at(base, &self.path);
        let mut name = format!("{base}.{extension}");
        while !self.names.insert(name.clone()) {
            name = format!("{base}-{}.{extension}", self.names.len());
        }
        let path = AssetPath::new(self.step.rows.clone(), self.row_idx, self.column, &name);
        let path = path.map_err(|error| MediaError::Cell(error.to_string()))?;
        let url = path.stored_url();
        self.step.assets.put(NewAsset { path, content_type, bytes })?;
        Ok(url)
    }
}

impl Source<'_> {
    fn path(&self) -> Option<&str> {
        match self {
            Self::Bytes(_, path) => *path,
            Self::Hub(file) => Some(file.path()),
            Self::Member(_, path) => Some(path),
        }
    }

    /// The file, with memory for `beside` bytes more. Bytes of a cell are in memory already, with its row.
    fn read<'s>(&self, step: &MediaStep<'s>, beside: u64) -> Result<HeldFile<'s>, MediaError> {
        match self {
            Self::Bytes(bytes, _) => {
                let reserved = step.budget.take(beside, step.guard)?;
                Ok(HeldFile { bytes: bytes.clone(), reserved })
            }
            Self::Hub(file) => file.read(step, beside),
            Self::Member(member, _) => member.read(step, beside),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Bytes(bytes) if bytes.is_empty())
}

fn image_cell(url: &str, (width, height): (u32, u32)) -> Value {
    let side = |pixels: u32| Value::UInt(pixels.into());
    members(vec![("src", Value::str(url)), ("height", side(height)), ("width", side(width))])
}

fn audio_cell(url: &str, format: AudioFormat) -> Value {
    let file = vec![("src", Value::str(url)), ("type", Value::str(format.content_type()))];
    Value::List(vec![members(file)])
}

fn members(members: Vec<(&str, Value)>) -> Value {
    Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

#[cfg(test)]
pub(crate) mod archive_tests;
#[cfg(test)]
pub(crate) mod tests;

//! WebDataset archives: one row per sample (dataset-loading.md section 1.11).
//!
//! Owns which samples tell the features and how samples become rows of them. Archives are streamed; one sample is held
//! at a time besides the rows that were asked for. Pickled data (`.pth`) is never run: such members stay bytes.
//! Fails with the classes of Python's readers.

mod budget;
mod cbor;
mod decode;
mod encode;
mod merge;
mod msgpack;
mod npy;
mod npz;
mod python_json;
mod samples;
mod tar;
mod tar_header;
mod tenbin;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::FieldRef;
use outpost_model::limits;

use self::samples::{KEY, Sample, Samples, URL};
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features, Media, MediaKind};
use crate::infer::{INFERENCE_ROWS, infer_features};
use crate::memory;
use crate::module::{DataFile, Module, Params, SchemaSplit};
use crate::table::{Table, TableReader};
use crate::value::Value;

/// The `webdataset` module.
pub struct WebDataset;

impl Module for WebDataset {
    fn name(&self) -> &'static str {
        "webdataset"
    }

    fn extracts(&self) -> bool {
        false
    }

    fn param_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn schema_split(&self) -> SchemaSplit {
        SchemaSplit::Last
    }

    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        _params: &Params,
    ) -> Result<Option<Features>, FormatError> {
        files.next().map(|file| features_of(&file?)).transpose()
    }

    fn open(
        &self,
        file: &DataFile,
        _params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let features = match features {
            Some(features) if !features.0.is_empty() => features.clone(),
            _ => features_of(file)?,
        };
        let fields = features.to_arrow()?;
        Ok(Box::new(Reader {
            samples: Samples::open(file)?,
            url: file.url.as_str().into(),
            features,
            fields,
        }))
    }
}

/// The features of the first samples of an archive.
fn features_of(file: &DataFile) -> Result<Features, FormatError> {
    let mut samples = Samples::open(file)?;
    let mut names: Option<BTreeSet<Arc<str>>> = None;
    let mut merged: Result<Option<Features>, FormatError> = Ok(None);
    let mut differs = false;
    for _ in 0..INFERENCE_ROWS {
        // Samples that cannot be read count before those that do not fit together.
        let Some(sample) = samples.next(None)? else { break };
        let found: BTreeSet<Arc<str>> = sample.fields.keys().cloned().collect();
        differs |= *names.get_or_insert_with(|| found.clone()) != found;
        if differs {
            continue;
        }
        let features = sample_features(&sample);
        merged = merged.and_then(|merged| match merged {
            None => features.map(Some),
            Some(merged) => merge::merge(&merged, &features?).map(Some),
        });
    }
    if differs {
        let message = "The TAR archives of the dataset should be in WebDataset format, but the files in the archive \
                       don't share the same prefix or the same types.";
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    let Some(Features(mut columns)) = merged? else {
        return Err(FormatError::new(ErrorClass::ArrowInvalid, "Must pass at least one table"));
    };
    for (name, feature) in &mut columns {
        if let Some(kind) = media_kind(name) {
            *feature = Feature::Media(Media { kind, options: Vec::new() });
        }
    }
    Ok(Features(columns))
}

/// The types of one sample; key and address come last, except in the last sample of an archive.
fn sample_features(sample: &Sample) -> Result<Features, FormatError> {
    let mut columns = Vec::with_capacity(sample.fields.len() + 2);
    let own = [KEY, URL].map(|name| (Arc::from(name), Feature::value("string")));
    if sample.is_last {
        columns.extend(own.clone());
    }
    for (name, cell) in &sample.fields {
        let feature = match &cell.feature {
            Some(feature) => feature.clone(),
            None => cell_feature(name, &cell.value)?,
        };
        match columns.iter_mut().find(|(column, _)| column == name) {
            Some(column) => column.1 = feature,
            None => columns.push((Arc::clone(name), feature)),
        }
    }
    if !sample.is_last {
        for column in own {
            columns.retain(|(name, _)| *name != column.0);
            columns.push(column);
        }
    }
    Ok(Features(columns))
}

fn cell_feature(name: &Arc<str>, value: &Value) -> Result<Feature, FormatError> {
    let Features(mut columns) = infer_features(&[vec![(Arc::clone(name), value.clone())]])?;
    Ok(columns.pop().map_or_else(|| Feature::value("null"), |(_, feature)| feature))
}

const IMAGES: &str = " blp bmp dib bufr cur pcx dcx dds ps eps fit fits fli flc ftc ftu gbr gif grib h5 hdf png apng jp2 \
                      j2k jpc jpf jpx j2c icns ico im iim tif tiff jfif jpe jpg jpeg mpg mpeg msp pcd pxr pbm pgm ppm \
                      pnm psd bw rgb rgba sgi ras tga icb vda vst webp wmf emf xbm xpm ";
const AUDIOS: &str = " aiff au avr caf flac htk svx mat4 mat5 mpc2k ogg paf pvf raw rf64 sd2 sds ircam voc w64 wav nist \
                      wavex wve xi mp3 opus ";
const VIDEOS: &str = " mkv mp4 avi mpeg mov ";
const MESHES: &str = " glb ply stl ";

/// The media type of a field by what follows its last dot; where lists overlap, the last one counts.
fn media_kind(field: &str) -> Option<MediaKind> {
    let extension = extension(field);
    let lists = [
        (MESHES, MediaKind::Mesh),
        (VIDEOS, MediaKind::Video),
        (AUDIOS, MediaKind::Audio),
        (IMAGES, MediaKind::Image),
    ];
    let holds = |list: &str| list.split(' ').any(|item| !item.is_empty() && item == extension);
    lists.iter().find(|(list, _)| holds(list)).map(|(_, kind)| *kind)
}

/// What follows the last dot, in lower case.
fn extension(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_lowercase()
}

/// Reads the samples of an archive as rows.
struct Reader {
    samples: Samples,
    url: Arc<str>,
    features: Features,
    fields: Vec<FieldRef>,
}

impl TableReader for Reader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut rows = Vec::new();
        let mut row_count = 0;
        let mut bytes = 0;
        while row_count < row_limit.max(1) && bytes < limits::TABLE_BYTES_MAX {
            let Some(sample) = self.samples.next(Some(&self.features))? else { break };
            row_count += 1;
            bytes += sample.bytes;
            memory::hold(bytes)?;
            if row_limit > 0 {
                rows.push(encode::row(sample, &self.url, &self.features)?);
            }
        }
        Ok((row_count > 0).then(|| Table { fields: self.fields.clone(), rows, row_count }))
    }
}

//! Folders of images, audio, video, meshes, PDFs and NIfTI volumes (dataset-loading.md section 1.10).
//!
//! Owns the kinds of folder and what a config's splits are planned to yield: the files, or the rows of metadata files.
//! Media files are not read: cells hold their addresses. Fails with the library's classes and messages.

mod analysis;
mod location;
mod metadata;
mod options;
mod rows;
#[cfg(test)]
mod tests;

use crate::error::FormatError;
use crate::features::{Feature, Features, Media, MediaKind};
use crate::module::{Params, SplitFiles, SplitModule, SplitPlan};
use analysis::{Analysis, SplitAnalysis};
use options::Options;

/// A kind of folder.
#[derive(Debug, Clone, Copy)]
pub struct Folder {
    name: &'static str,
    /// Column of the media.
    column: &'static str,
    media: MediaKind,
    /// Extensions of its media, lower-cased and separated by blanks.
    pub extensions: &'static str,
}

/// `imagefolder`.
pub static IMAGE_FOLDER: Folder =
    Folder { name: "imagefolder", column: "image", media: MediaKind::Image, extensions: IMAGES };

/// `audiofolder`.
pub static AUDIO_FOLDER: Folder =
    Folder { name: "audiofolder", column: "audio", media: MediaKind::Audio, extensions: AUDIO };

/// `videofolder`.
pub static VIDEO_FOLDER: Folder = Folder {
    name: "videofolder",
    column: "video",
    media: MediaKind::Video,
    extensions: ".mkv .mp4 .avi .mpeg .mov",
};

/// `meshfolder`.
pub static MESH_FOLDER: Folder =
    Folder { name: "meshfolder", column: "mesh", media: MediaKind::Mesh, extensions: ".glb .ply .stl" };

/// `pdffolder`.
pub static PDF_FOLDER: Folder =
    Folder { name: "pdffolder", column: "pdf", media: MediaKind::Pdf, extensions: ".pdf" };

/// `niftifolder`.
pub static NIFTI_FOLDER: Folder =
    Folder { name: "niftifolder", column: "nifti", media: MediaKind::Nifti, extensions: ".nii" };

const IMAGES: &str = ".blp .bmp .dib .bufr .cur .pcx .dcx .dds .ps .eps .fit .fits .fli .flc .ftc .ftu .gbr .gif \
    .grib .png .apng .jp2 .j2k .jpc .jpf .jpx .j2c .icns .ico .im .iim .tif .tiff .jfif .jpe .jpg .jpeg .mpg .mpeg \
    .msp .pcd .pxr .pbm .pgm .ppm .pnm .psd .bw .rgb .rgba .sgi .ras .tga .icb .vda .vst .webp .wmf .emf .xbm .xpm";

const AUDIO: &str = ".aiff .au .avr .caf .flac .htk .svx .mat4 .mat5 .mpc2k .mpg .ogg .paf .pvf .raw .rf64 .sd2 .sds \
    .ircam .voc .w64 .wav .nist .wavex .wve .xi .mp3 .opus .3gp .3g2 .avi .asf .flv .mp4 .mov .m4v .mkv .mpg .webm \
    .f4v .wmv .wma .ogm .mxf .nut";

impl Folder {
    fn feature(&self) -> Feature {
        Feature::Media(Media { kind: self.media, options: Vec::new() })
    }

    fn has_extension(&self, extension: &str) -> bool {
        !extension.is_empty() && self.extensions.split_ascii_whitespace().any(|own| own == extension)
    }

    /// The features of a config without metadata.
    fn plain_features(&self, analysis: &Analysis) -> Features {
        let mut columns = vec![(self.column.into(), self.feature())];
        if analysis.splits.last().is_some_and(|last| last.adds_labels) {
            let names = analysis.labels.iter().map(|label| label.as_str().into()).collect();
            columns.push(("label".into(), Feature::ClassLabel { names }));
        }
        Features(columns)
    }
}

impl SplitModule for Folder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn param_names(&self) -> &'static [&'static str] {
        options::NAMES
    }

    fn plan(
        &self,
        files: &SplitFiles,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn SplitPlan>, FormatError> {
        let options = Options::new(params)?;
        let analysis = analysis::analyze(self, files, &options)?;
        // The flags of the last split decide about the features of all.
        let inferred = if analysis.splits.last().is_some_and(|last| last.adds_metadata) {
            metadata::features(self, files, &analysis, features)?
        } else {
            self.plain_features(&analysis)
        };
        Ok(Box::new(Plan {
            folder: *self,
            declared: features.cloned(),
            features: features.cloned().unwrap_or(inferred),
            options,
            splits: analysis.splits,
        }))
    }
}

/// What a config's splits yield.
struct Plan {
    folder: Folder,
    options: Options,
    /// Features of the README's config.
    declared: Option<Features>,
    features: Features,
    splits: Vec<SplitAnalysis>,
}

impl SplitPlan for Plan {
    fn features(&self) -> &Features {
        &self.features
    }

    fn first_rows(
        &self,
        files: &SplitFiles,
        split: usize,
        limit: usize,
    ) -> Result<Vec<Vec<crate::Value>>, FormatError> {
        rows::first_rows(self, files, split, limit)
    }
}

//! Images: their width and height, and the JPEG or PNG that a cell points to (worker-and-store.md section 5.5).
//!
//! Owns which of the two an image becomes: what its mode would be in the original decides, JPEG first; a JPEG file that
//! is small for its pixels stays one, as compressing it again would only lose quality. Orientation is not applied, metadata is dropped, an animation is its first frame. What an image takes, its asset included, is told by
//! the header and refused above [`IMAGE_DECODE_BYTES_MAX`] before anything is allocated.

use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use jpeg_encoder::{Encoder, SamplingFactor};
use outpost_model::limits::{IMAGE_DECODE_BYTES_MAX, JPEG_KEPT_BYTES_PER_100_PIXELS_MAX};

use super::image_mode::{self, Mode};
use super::{jpeg, jpeg_copy};

/// The quality that the original's encoder takes by default.
const JPEG_QUALITY: u8 = 75;
/// Longest side that the original writes as JPEG.
const JPEG_SIDE_MAX: u32 = 65_500;
/// Bytes that tell a format.
const MAGIC_BYTES: u64 = 32;

const UNKNOWN: &str =
    "it holds an image of an unknown format; store the files as PNG, JPEG, GIF, WebP, BMP or TIFF";

/// An image's file for a cell.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) is_jpeg: bool,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// An image whose header was read.
pub(super) struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    mode: Mode,
    /// The file, when it is JPEG.
    jpeg: Option<&'a [u8]>,
    /// What decoding and encoding take at once, the result included.
    pub(super) memory_bytes: u64,
}

/// Reads the header of a file.
///
/// # Errors
/// Why it cannot be shown, as part of a sentence.
pub(super) fn open(file: &[u8]) -> Result<Opened<'_>, String> {
    let format = image::guess_format(file).map_err(|_| UNKNOWN.to_owned())?;
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(IMAGE_DECODE_BYTES_MAX);
    reader.limits(limits);
    let decoder: Box<dyn ImageDecoder + '_> =
        Box::new(reader.into_decoder().map_err(|error| unreadable(&error))?);
    let mode = image_mode::mode(file, format, decoder.color_type()).map_err(str::to_owned)?;
    let memory_bytes = memory_bytes(&*decoder, format, mode, file);
    if memory_bytes > IMAGE_DECODE_BYTES_MAX {
        let (width, height) = decoder.dimensions();
        return Err(format!(
            "it holds an image of {width} x {height} pixels, which takes {memory_bytes} bytes to show, more than \
             the limit of {IMAGE_DECODE_BYTES_MAX}"
        ));
    }
    let jpeg = (format == ImageFormat::Jpeg).then_some(file);
    Ok(Opened { decoder, mode, jpeg, memory_bytes })
}

/// What the decoder fills, what it needs beside that, the pixels in the form that is encoded, and the encoded file: as
/// PNG it may be as large as its pixels, as JPEG of this quality even noise takes less than a byte a pixel.
fn memory_bytes(decoder: &dyn ImageDecoder, format: ImageFormat, mode: Mode, file: &[u8]) -> u64 {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let decoded = decoder.total_bytes();
    let beside = match format {
        ImageFormat::Jpeg => match jpeg::frame(&mut Cursor::new(file)) {
            Ok(Some(frame)) if frame.is_progressive => pixels.saturating_mul(2 * u64::from(frame.components)),
            _ => 0,
        },
        ImageFormat::Gif | ImageFormat::WebP => decoded,
        _ => 0,
    };
    let converted = match (mode, decoder.color_type()) {
        (Mode::Luma, ColorType::L8)
        | (Mode::Rgb, ColorType::Rgb8)
        | (Mode::Luma16, ColorType::L16)
        | (Mode::Lossless, ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8) => 0,
        (Mode::Luma, _) => pixels,
        (Mode::Luma16, _) => pixels.saturating_mul(2),
        (Mode::Rgb, _) => pixels.saturating_mul(3),
        (Mode::Lossless, _) => pixels.saturating_mul(4),
    };
    let encoded = match mode {
        Mode::Luma | Mode::Rgb => pixels,
        Mode::Luma16 | Mode::Lossless => converted.max(decoded.min(pixels.saturating_mul(4))),
    };
    decoded.saturating_add(beside).saturating_add(converted).saturating_add(encoded)
}

impl Opened<'_> {
    /// Decodes the image and encodes it for a cell.
    ///
    /// # Errors
    /// Why it cannot be shown, as part of a sentence.
    pub(super) fn encode(self) -> Result<Encoded, String> {
        let decoded = DynamicImage::from_decoder(self.decoder).map_err(|error| unreadable(&error))?;
        let image = self.mode.convert(decoded);
        let (width, height) = (image.width(), image.height());
        if let Some(bytes) = self.jpeg.and_then(|file| kept_jpeg(file, width, height)) {
            return Ok(Encoded { bytes, is_jpeg: true, width, height });
        }
        let (bytes, is_jpeg) = match jpeg_bytes(&image, self.mode)? {
            Some(bytes) => (bytes, true),
            None => (png_bytes(&image)?, false),
        };
        Ok(Encoded { bytes, is_jpeg, width, height })
    }
}

/// The copy of a JPEG file that was decoded to its end and is small enough to be kept.
fn kept_jpeg(file: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    let bytes_max = u64::from(width) * u64::from(height) * JPEG_KEPT_BYTES_PER_100_PIXELS_MAX / 100;
    if file.len() as u64 > bytes_max || width.max(height) > JPEG_SIDE_MAX {
        return None;
    }
    let frame = jpeg::frame(&mut Cursor::new(file)).ok().flatten()?;
    if !matches!(frame.components, 1 | 3) {
        return None;
    }
    jpeg_copy::without_metadata(file)
}

/// The image as JPEG; `None` when its mode or its size cannot be one.
fn jpeg_bytes(image: &DynamicImage, mode: Mode) -> Result<Option<Vec<u8>>, String> {
    let color = match mode {
        Mode::Luma => jpeg_encoder::ColorType::Luma,
        Mode::Rgb => jpeg_encoder::ColorType::Rgb,
        Mode::Luma16 | Mode::Lossless => return Ok(None),
    };
    let side = |pixels: u32| u16::try_from(pixels).ok().filter(|_| pixels <= JPEG_SIDE_MAX);
    let (Some(width), Some(height)) = (side(image.width()), side(image.height())) else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let encoded = encoder.encode(image.as_bytes(), width, height, color);
    encoded.map_err(|error| format!("its image cannot be written as JPEG: {error}"))?;
    Ok(Some(bytes))
}

fn png_bytes(image: &DynamicImage) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    let written = image.write_with_encoder(encoder);
    written.map_err(|error| format!("its image cannot be written as PNG: {error}"))?;
    Ok(bytes)
}

/// Width and height of an image, from as little of its file as its format allows.
///
/// # Errors
/// Why they cannot be told, as part of a sentence.
pub(super) fn dimensions(file: &mut (impl Read + Seek)) -> Result<(u32, u32), String> {
    let mut magic = Vec::new();
    let read =
        file.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic).and_then(|_| file.seek(SeekFrom::Start(0)));
    read.map_err(|error| format!("its image cannot be read: {error}"))?;
    let format = image::guess_format(&magic).map_err(|_| UNKNOWN.to_owned())?;
    let mut file = BufReader::new(file);
    if format == ImageFormat::Jpeg {
        // The decoder would read the whole file first.
        return match jpeg::frame(&mut file) {
            Ok(Some(frame)) => Ok((frame.width.into(), frame.height.into())),
            Ok(None) => Err("its image cannot be read: the JPEG file has no frame".to_owned()),
            Err(error) => Err(format!("its image cannot be read: {error}")),
        };
    }
    ImageReader::with_format(file, format).into_dimensions().map_err(|error| unreadable(&error))
}

fn unreadable(error: &image::ImageError) -> String {
    format!("its image cannot be read: {error}")
}

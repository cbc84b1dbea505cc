//! Modes of images: what decides between JPEG and PNG (worker-and-store.md section 5.5).
//!
//! Owns what the original would read a file as, where our decoder says less: it hands out palettes as colours and
//! transparency as a channel. Refuses floating-point images, which neither format holds.

use image::{ColorType, DynamicImage, ImageBuffer, ImageFormat, Pixel, Rgb, Rgba};

/// The form in which an image is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `1` and `L`: grey, as JPEG.
    Luma,
    /// `RGB`: as JPEG.
    Rgb,
    /// `I;16`: as PNG of 16 bits.
    Luma16,
    /// `LA`, `P`, `RGBA`: as PNG of 8 bits.
    Lossless,
}

/// The mode of a file of this format that our decoder reads as `color`.
pub(super) fn mode(file: &[u8], format: ImageFormat, color: ColorType) -> Result<Mode, &'static str> {
    let by_file = match format {
        ImageFormat::Png => png_mode(file),
        ImageFormat::Gif if is_grey_gif(file) => Some(Mode::Luma),
        ImageFormat::Gif => Some(Mode::Lossless),
        ImageFormat::Bmp => bmp_mode(file),
        _ => None,
    };
    match (by_file, color) {
        (Some(mode), _) => Ok(mode),
        (None, ColorType::L8) => Ok(Mode::Luma),
        (None, ColorType::L16) => Ok(Mode::Luma16),
        (None, ColorType::Rgb8 | ColorType::Rgb16) => Ok(Mode::Rgb),
        (None, ColorType::La8 | ColorType::La16 | ColorType::Rgba8 | ColorType::Rgba16) => Ok(Mode::Lossless),
        (None, _) => Err("its image has floating-point pixels, which neither JPEG nor PNG holds"),
    }
}

/// By bit depth and colour type of the header. Transparency that is told apart from the pixels is not part of a mode.
fn png_mode(file: &[u8]) -> Option<Mode> {
    match (file.get(24)?, file.get(25)?) {
        (16, 0) => Some(Mode::Luma16),
        (_, 0) => Some(Mode::Luma),
        (_, 2) => Some(Mode::Rgb),
        _ => Some(Mode::Lossless),
    }
}

/// Whether the shared palette is the grey ramp, which the original reads as grey.
fn is_grey_gif(file: &[u8]) -> bool {
    let Some(flags) = file.get(10).filter(|flags| **flags & 0x80 != 0) else { return false };
    let colors = 2_usize << (flags & 7);
    file.get(13..13 + 3 * colors).is_some_and(|palette| {
        let mut ramp = palette.chunks_exact(3).enumerate();
        ramp.all(|(index, color)| color.iter().all(|part| usize::from(*part) == index))
    })
}

/// Files of up to 8 bits have palettes; those of grey ramps are grey. Others are as they are decoded.
fn bmp_mode(file: &[u8]) -> Option<Mode> {
    let number = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
    let header = number(14)?;
    let (bits, entry_bytes, used) = if header == 12 {
        (file.get(24)?, 3, 0)
    } else {
        (file.get(28)?, 4, usize::try_from(number(46)?).ok()?)
    };
    if *bits > 8 {
        return None;
    }
    let colors = if used == 0 { 1 << bits } else { used.min(1 << bits) };
    let start = 14 + usize::try_from(header).ok()?;
    let palette = file.get(start..start.checked_add(colors * entry_bytes)?)?;
    let grey = |index: usize| if colors == 2 { 255 * index } else { index };
    let mut entries = palette.chunks_exact(entry_bytes).enumerate();
    let is_ramp =
        entries.all(|(index, color)| color[..3].iter().all(|part| usize::from(*part) == grey(index)));
    Some(if is_ramp { Mode::Luma } else { Mode::Lossless })
}

impl Mode {
    /// The pixels in the form of the mode; of 16 bits the upper 8 are kept, as the original does.
    pub(super) fn convert(self, image: DynamicImage) -> DynamicImage {
        match (self, image) {
            (Self::Luma, image) => DynamicImage::ImageLuma8(image.into_luma8()),
            (Self::Luma16, image) => DynamicImage::ImageLuma16(image.into_luma16()),
            (Self::Rgb, DynamicImage::ImageRgb16(image)) => upper_rgb(&image),
            (Self::Rgb, DynamicImage::ImageRgba16(image)) => upper_rgb(&image),
            (Self::Rgb, image) => DynamicImage::ImageRgb8(image.into_rgb8()),
            (Self::Lossless, DynamicImage::ImageRgba16(image)) => upper_rgba(&image),
            (Self::Lossless, DynamicImage::ImageLumaA16(image)) => upper_rgba(&image),
            (Self::Lossless, DynamicImage::ImageRgb16(image)) => upper_rgb(&image),
            (Self::Lossless, image) => image,
        }
    }
}

type Pixels16<P> = ImageBuffer<P, Vec<u16>>;

fn upper(value: u16) -> u8 {
    u8::try_from(value >> 8).expect("8 of 16 bits are left")
}

fn upper_rgb<P: Pixel<Subpixel = u16>>(image: &Pixels16<P>) -> DynamicImage {
    let pixel = |x, y| Rgb(image.get_pixel(x, y).to_rgb().0.map(upper));
    DynamicImage::ImageRgb8(ImageBuffer::from_fn(image.width(), image.height(), pixel))
}

fn upper_rgba<P: Pixel<Subpixel = u16>>(image: &Pixels16<P>) -> DynamicImage {
    let pixel = |x, y| Rgba(image.get_pixel(x, y).to_rgba().0.map(upper));
    DynamicImage::ImageRgba8(ImageBuffer::from_fn(image.width(), image.height(), pixel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gif(palette: &[u8], flags: u8) -> Vec<u8> {
        [&b"GIF89a\x01\0\x01\0"[..], &[flags, 0, 0], palette].concat()
    }

    #[test]
    fn gifs_have_palettes_unless_theirs_is_the_grey_ramp() {
        let ramp: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
        let of = |file: &[u8]| mode(file, ImageFormat::Gif, ColorType::Rgba8).unwrap();
        assert_eq!(of(&gif(&ramp, 0xf7)), Mode::Luma);
        let mut colored = ramp.clone();
        colored[3] = 9;
        assert_eq!(of(&gif(&colored, 0xf7)), Mode::Lossless);
        assert_eq!(of(&gif(&[0, 0, 0, 1, 1, 1], 0x80)), Mode::Luma);
        assert_eq!(of(&gif(&ramp[..10], 0xf7)), Mode::Lossless, "cut short");
        assert_eq!(of(&gif(&ramp, 0x77)), Mode::Lossless, "no shared palette");
    }

    fn bmp(bits: u16, used: u32, palette: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 14 + 40];
        file[14] = 40;
        file[28..30].copy_from_slice(&bits.to_le_bytes());
        file[46..50].copy_from_slice(&used.to_le_bytes());
        file.extend_from_slice(palette);
        file
    }

    #[test]
    fn bitmaps_of_few_bits_have_palettes_unless_theirs_is_grey() {
        let of = |file: &[u8]| mode(file, ImageFormat::Bmp, ColorType::Rgb8).unwrap();
        let ramp: Vec<u8> = (0..=255).flat_map(|grey| [grey, grey, grey, 0]).collect();
        assert_eq!(of(&bmp(8, 0, &ramp)), Mode::Luma);
        assert_eq!(of(&bmp(1, 0, &[0, 0, 0, 0, 255, 255, 255, 0])), Mode::Luma);
        assert_eq!(of(&bmp(1, 2, &[0, 0, 255, 0, 255, 255, 255, 0])), Mode::Lossless);
        assert_eq!(of(&bmp(24, 0, &[])), Mode::Rgb);
        assert_eq!(of(&bmp(8, u32::MAX, &ramp)), Mode::Luma, "a count beyond the bits");
    }

    #[test]
    fn the_mode_of_a_png_is_that_of_its_header() {
        for (depth, color, expected) in [
            (1, 0, Mode::Luma),
            (8, 0, Mode::Luma),
            (16, 0, Mode::Luma16),
            (8, 2, Mode::Rgb),
            (16, 2, Mode::Rgb),
            (8, 3, Mode::Lossless),
            (8, 4, Mode::Lossless),
            (16, 6, Mode::Lossless),
        ] {
            let mut file = vec![0; 24];
            file.extend_from_slice(&[depth, color]);
            assert_eq!(mode(&file, ImageFormat::Png, ColorType::Rgba8), Ok(expected), "{depth} {color}");
        }
    }
}

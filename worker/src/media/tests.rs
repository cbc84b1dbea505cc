//! Cells of real files, made here, against what the original's rules give for them.

use std::io::Cursor;
use std::time::{Duration, Instant};

use ::image::{DynamicImage, ImageFormat};
use outpost_formats::{Features, Media};
use outpost_harness::hub_stub::HubStub;
use outpost_hub::{FolderHub, FolderHubOptions, HttpHub, HttpHubOptions};
use outpost_loading::LoadContext;
use outpost_model::limits::IMAGE_DECODE_BYTES_MAX;
use outpost_model::{ConfigName, DatasetName, Revision, SplitName};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::assets::memory::MemoryAssets;

/// A folder Hub with one dataset, and everything else that cells are made with.
pub(crate) struct Rig {
    hub: Arc<dyn Hub>,
    runtime: Runtime,
    guard: Arc<JobGuard>,
    archives: MediaArchives,
    pub(crate) assets: MemoryAssets,
    budget: DecodeBudget,
    rows: AssetSplit,
    folder: TempDir,
}

impl Rig {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join("u/d").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let hub = FolderHub::open(FolderHubOptions::new(folder.path())).unwrap();
        let runtime = Runtime::new().unwrap();
        let dataset = DatasetName::new("u/d").unwrap();
        let revision = match files {
            [] => Revision::new("abc").unwrap(),
            _ => runtime.block_on(hub.repo_info(&dataset, None)).unwrap().revision,
        };
        let (config, split) = (ConfigName::new("c").unwrap(), SplitName::new("s").unwrap());
        let guard = Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(600)));
        let hub: Arc<dyn Hub> = Arc::new(hub);
        let archives = archives(&hub, &runtime, &guard);
        Self {
            hub,
            runtime,
            guard,
            archives,
            assets: MemoryAssets::default(),
            budget: DecodeBudget::default(),
            rows: AssetSplit { dataset, config, split, revision },
            folder,
        }
    }

    /// The same dataset behind HTTP.
    pub(super) fn remote(mut self) -> (Self, HubStub) {
        let stub = HubStub::start(self.folder.path()).unwrap();
        self.hub = Arc::new(HttpHub::new(HttpHubOptions::new(&stub.endpoint())).unwrap());
        self.archives = archives(&self.hub, &self.runtime, &self.guard);
        (self, stub)
    }

    pub(crate) fn step(&self) -> MediaStep<'_> {
        MediaStep {
            hub: &*self.hub,
            runtime: self.runtime.handle(),
            guard: &self.guard,
            archives: &self.archives,
            assets: &self.assets,
            budget: &self.budget,
            rows: self.rows.clone(),
        }
    }

    /// The cell of a column `x` in row 3.
    fn show(&self, value: &Value, feature: &Feature) -> Result<Value, MediaError> {
        let shown = MediaCell::new(&self.step(), 3, "x").show(value, feature);
        self.assets.commit().unwrap();
        shown
    }

    pub(super) fn cell(&self, value: &Value, feature: &Feature) -> String {
        let shown = self.show(value, feature).unwrap();
        let mut text = Vec::new();
        let form = outpost_formats::json_text::DatetimeForm::Cached;
        outpost_formats::json_text::write_json(&shown, Some(feature), form, &mut text);
        String::from_utf8(text).unwrap()
    }

    pub(super) fn refusal(&self, value: &Value, feature: &Feature) -> String {
        match self.show(value, feature) {
            Err(MediaError::Cell(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The asset of the cell of row 3 with this name.
    pub(super) fn asset(&self, name: &str) -> NewAsset {
        let path = format!("u/d/--/{}/--/c/s/3/x/{name}", self.rows.revision);
        self.assets.get(&path).unwrap_or_else(|| panic!("no {path} in {:?}", self.assets.paths()))
    }

    pub(super) fn hub_path(&self, path: &str) -> Value {
        Value::str(&format!("hf://datasets/u/d@{}/{path}", self.rows.revision))
    }
}

fn archives(hub: &Arc<dyn Hub>, runtime: &Runtime, guard: &Arc<JobGuard>) -> MediaArchives {
    let (hub, runtime, guard) = (Arc::clone(hub), runtime.handle().clone(), Arc::clone(guard));
    MediaArchives::new(&LoadContext { hub, runtime, guard }, &DatasetName::new("u/d").unwrap())
}

pub(crate) fn of(kind: MediaKind) -> Feature {
    Feature::Media(Media { kind, options: Vec::new() })
}

pub(crate) fn stored(bytes: &[u8], path: Option<&str>) -> Value {
    members(vec![("bytes", Value::Bytes(bytes.into())), ("path", path.map_or(Value::Null, Value::str))])
}

pub(super) fn named(path: Value) -> Value {
    members(vec![("bytes", Value::Null), ("path", path)])
}

/// The URL of the asset of row 3 with this name, as bodies hold it.
pub(super) fn url(name: &str) -> String {
    format!("{{node_public_url}}/assets/u/d/--/{{dataset_git_revision}}/--/c/s/3/x/{name}")
}

pub(crate) fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn images_become_jpeg_where_their_mode_allows_and_png_else() {
    let rgb = || DynamicImage::new_rgb8(5, 3);
    let (jpg, png) = ("image.jpg", "image.png");
    let cases = [
        (ImageFormat::Png, DynamicImage::new_luma8(5, 3), jpg),
        (ImageFormat::Png, rgb(), jpg),
        (ImageFormat::Png, DynamicImage::new_rgb16(5, 3), jpg),
        (ImageFormat::Png, DynamicImage::new_luma16(5, 3), png),
        (ImageFormat::Png, DynamicImage::new_luma_a8(5, 3), png),
        (ImageFormat::Png, DynamicImage::new_rgba8(5, 3), png),
        (ImageFormat::Png, DynamicImage::new_rgba16(5, 3), png),
        (ImageFormat::Jpeg, rgb(), jpg),
        (ImageFormat::Jpeg, DynamicImage::new_luma8(5, 3), jpg),
        (ImageFormat::Gif, DynamicImage::new_rgba8(5, 3), png),
        (ImageFormat::WebP, rgb(), jpg),
        (ImageFormat::WebP, DynamicImage::new_rgba8(5, 3), png),
        (ImageFormat::Bmp, rgb(), jpg),
        (ImageFormat::Tiff, DynamicImage::new_luma8(5, 3), jpg),
        (ImageFormat::Tiff, DynamicImage::new_luma16(5, 3), png),
        (ImageFormat::Tiff, rgb(), jpg),
    ];
    for (format, image, name) in cases {
        let rig = Rig::new(&[]);
        let what = format!("{format:?} {:?}", image.color());
        let cell = rig.cell(&stored(&file(&image, format), None), &of(MediaKind::Image));
        assert_eq!(cell, format!(r#"{{"src":"{}","height":3,"width":5}}"#, url(name)), "{what}");
        let asset = rig.asset(name);
        let (format, content_type) =
            if name == jpg { (ImageFormat::Jpeg, "image/jpeg") } else { (ImageFormat::Png, "image/png") };
        assert_eq!(asset.content_type, content_type);
        let decoded = ::image::load_from_memory_with_format(&asset.bytes, format).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (5, 3), "{what}");
    }
}

#[test]
fn a_jpeg_small_for_its_pixels_is_kept_without_metadata_and_others_are_compressed_again() {
    let exif = b"\xff\xe1\x00\x08Exif\0\0";
    let with_exif = |jpeg: &[u8]| [&jpeg[..2], exif, &jpeg[2..]].concat();
    let plain = file(&DynamicImage::new_rgb8(400, 300), ImageFormat::Jpeg);
    let rig = Rig::new(&[]);
    rig.cell(&stored(&[&with_exif(&plain)[..], b"behind"].concat(), None), &of(MediaKind::Image));
    assert_eq!(rig.asset("image.jpg").bytes, plain);

    let mut random = fastrand::Rng::with_seed(7);
    let noise = ::image::RgbImage::from_fn(64, 64, |_, _| ::image::Rgb([random.u8(..); 3]));
    let mut heavy = Cursor::new(Vec::new());
    let encoder = ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut heavy, 100);
    DynamicImage::from(noise).write_with_encoder(encoder).unwrap();
    let heavy = heavy.into_inner();
    for file in [with_exif(&heavy), with_exif(&plain[..plain.len() - 2])] {
        rig.cell(&stored(&file, None), &of(MediaKind::Image));
        let asset = rig.asset("image.jpg").bytes;
        assert!(asset != heavy && asset != plain && !asset.windows(4).any(|bytes| bytes == b"Exif"));
        assert!(::image::load_from_memory(&asset).is_ok());
    }
}

#[test]
fn pixels_survive_and_16_bits_keep_their_upper_half() {
    let rig = Rig::new(&[]);
    let sixteen = ::image::ImageBuffer::from_pixel(2, 2, ::image::Rgba([0x12ff_u16, 0x8000, 0, 0xff00]));
    rig.cell(&stored(&file(&sixteen.into(), ImageFormat::Png), None), &of(MediaKind::Image));
    let png = ::image::load_from_memory(&rig.asset("image.png").bytes).unwrap();
    assert_eq!(
        png,
        DynamicImage::ImageRgba8(::image::ImageBuffer::from_pixel(
            2,
            2,
            ::image::Rgba([0x12, 0x80, 0, 0xff])
        ))
    );
    let grey = ::image::ImageBuffer::from_pixel(2, 2, ::image::Luma([513_u16]));
    rig.cell(&stored(&file(&grey.clone().into(), ImageFormat::Png), None), &of(MediaKind::Image));
    let png = ::image::load_from_memory(&rig.asset("image.png").bytes).unwrap();
    assert_eq!(png, DynamicImage::ImageLuma16(grey));
}

#[test]
fn an_animation_is_its_first_frame_and_orientation_is_not_applied() {
    let rig = Rig::new(&[]);
    let mut gif = Vec::new();
    let mut encoder = ::image::codecs::gif::GifEncoder::new(&mut gif);
    for color in [[255, 0, 0, 255], [0, 255, 0, 255]] {
        let frame = ::image::RgbaImage::from_pixel(4, 2, ::image::Rgba(color));
        encoder.encode_frame(::image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    rig.cell(&stored(&gif, None), &of(MediaKind::Image));
    let png = ::image::load_from_memory(&rig.asset("image.png").bytes).unwrap().to_rgb8();
    assert_eq!(png.get_pixel(0, 0).0, [255, 0, 0]);

    let jpeg = file(&DynamicImage::new_rgb8(4, 2), ImageFormat::Jpeg);
    let exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    let cell = rig.cell(&stored(&turned, None), &of(MediaKind::Image));
    assert!(cell.ends_with(r#""height":2,"width":4}"#), "{cell}");
}

#[test]
fn images_that_cannot_be_shown_are_refused_with_what_to_do() {
    let rig = Rig::new(&[]);
    let floats = file(&DynamicImage::new_rgb32f(2, 2), ImageFormat::Tiff);
    for (bytes, reason) in [
        (&b"<svg/>"[..], "store the files as PNG, JPEG"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (&floats, "floating-point"),
    ] {
        let refusal = rig.refusal(&stored(bytes, None), &of(MediaKind::Image));
        assert!(refusal.contains(reason), "{refusal}");
    }
}

/// A PNG whose header claims these sides; the checksum is right.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let small = file(&DynamicImage::new_rgb8(1, 1), ImageFormat::Png);
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&small[24..29]);
    let checksum = header.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    });
    [&small[..12], &header, &(!checksum).to_be_bytes(), &small[33..]].concat()
}

#[test]
fn image_bombs_are_refused_by_their_header() {
    let rig = Rig::new(&[]);
    let refusal = rig.refusal(&stored(&png_claiming(60_000, 60_000), None), &of(MediaKind::Image));
    assert!(refusal.contains("60000 x 60000 pixels") && refusal.contains("limit"), "{refusal}");
    let honest = png_claiming(1, 1);
    assert!(rig.show(&stored(&honest, None), &of(MediaKind::Image)).is_ok(), "the header is well made");

    // Baseline frames take 3 bytes a pixel and one for the result, progressive ones 6 more.
    let mut jpeg = file(&DynamicImage::new_rgb8(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 1] = 0xc2;
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
    let refusal = rig.refusal(&stored(&jpeg, None), &of(MediaKind::Image));
    assert!(refusal.contains(&format!("takes {} bytes", 8_000 * 8_000 * 10)), "{refusal}");
    const { assert!(8_000 * 8_000 * 4 < IMAGE_DECODE_BYTES_MAX) };
}

#[test]
fn audio_that_browsers_play_is_copied() {
    let wav = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0data\xff\xff\xff\xff";
    for (bytes, path, name, content_type) in [
        (&wav[..], None, "audio.wav", "audio/wav"),
        (b"any", Some("a/b.MP3"), "audio.mp3", "audio/mpeg"),
        (b"any", Some("b.opus"), "audio.opus", "audio/ogg"),
        (b"any", Some("b.flac::zip"), "audio.flac", "audio/flac"),
        (b"fLaC", None, "audio.flac", "audio/flac"),
    ] {
        let rig = Rig::new(&[]);
        let cell = rig.cell(&stored(bytes, path), &of(MediaKind::Audio));
        assert_eq!(cell, format!(r#"[{{"src":"{}","type":"{content_type}"}}]"#, url(name)));
        let asset = rig.asset(name);
        assert_eq!(
            (&asset.bytes[..], asset.content_type),
            (bytes, content_type),
            "a header that lies is copied"
        );
    }
    let refusal = Rig::new(&[]).refusal(&stored(b"OggS", Some("a.OGG")), &of(MediaKind::Audio));
    assert!(refusal.contains("store the files as WAV"), "{refusal}");
}

#[test]
fn videos_and_documents_are_copied() {
    let rig = Rig::new(&[]);
    let cell = rig.cell(&stored(b"film", Some("a.mp4")), &of(MediaKind::Video));
    assert_eq!(cell, format!(r#"{{"src":"{}"}}"#, url("video.mp4")));
    assert_eq!(rig.asset("video.mp4").bytes, &b"film"[..]);
    let cell = rig.cell(&stored(b"\n%PDF-1.7", None), &of(MediaKind::Pdf));
    assert_eq!(cell, format!(r#"{{"src":"{}","size_bytes":9,"thumbnail":null}}"#, url("document.pdf")));
    let late = [&[b' '; 997][..], b"%PDF"].concat();
    assert!(rig.refusal(&stored(&late, None), &of(MediaKind::Pdf)).contains("not a PDF"));
}

#[test]
fn no_value_is_null_and_an_empty_one_is_refused() {
    let rig = Rig::new(&[]);
    for kind in [MediaKind::Image, MediaKind::Audio, MediaKind::Video, MediaKind::Pdf] {
        assert_eq!(rig.cell(&Value::Null, &of(kind)), "null");
        assert_eq!(rig.cell(&named(Value::str("/tmp/local.png")), &of(kind)), "null");
        assert_eq!(rig.cell(&stored(b"", Some("local.png")), &of(kind)), "null");
        for empty in [named(Value::Null), stored(b"", None)] {
            assert!(rig.refusal(&empty, &of(kind)).contains("neither bytes nor a path"));
        }
        let foreign = named(Value::str("hf://datasets/v/secret@abc/x.png"));
        assert!(rig.refusal(&foreign, &of(kind)).contains("other repositories"));
    }
    assert_eq!(rig.assets.paths(), Vec::<String>::new());
}

#[test]
fn files_of_a_hub_without_addresses_become_assets() {
    let png = file(&DynamicImage::new_rgb8(5, 3), ImageFormat::Png);
    let rig = Rig::new(&[("a/1.png", &png), ("b.wav", b"sound")]);
    let cell = rig.cell(&named(rig.hub_path("a/1.png")), &of(MediaKind::Image));
    assert_eq!(cell, format!(r#"{{"src":"{}","height":3,"width":5}}"#, url("image.jpg")));
    rig.cell(&named(rig.hub_path("b.wav")), &of(MediaKind::Audio));
    assert_eq!(rig.asset("audio.wav").bytes, &b"sound"[..]);
    assert!(rig.guard.bytes_read() >= png.len() as u64 + 5);
    let refusal = rig.refusal(&named(rig.hub_path("gone.png")), &of(MediaKind::Image));
    assert!(refusal.contains("gone.png"), "{refusal}");
}

#[test]
fn files_of_a_hub_with_addresses_are_linked_without_a_copy() {
    // Noise, so that the files are longer than what is read of their start.
    let noise =
        |x: u32, y: u32| ::image::Rgb([(x * 7) ^ (y * 13), x * y, x + y * 5].map(|part| (part % 251) as u8));
    let image = DynamicImage::ImageRgb8(::image::ImageBuffer::from_fn(700, 400, noise));
    let (png, jpeg) = (file(&image, ImageFormat::Png), file(&image, ImageFormat::Jpeg));
    let webp = file(&image, ImageFormat::WebP);
    let files: [(&str, &[u8]); 4] =
        [("a b/1.png", &png), ("2.jpg", &jpeg), ("3.webp", &webp), ("d.pdf", b"%PDF")];
    let (rig, stub) = Rig::new(&files).remote();
    let link = |path: &str| format!("{}/datasets/u/d/resolve/{}/{path}", stub.endpoint(), rig.rows.revision);
    for (path, address) in [("a b/1.png", "a%20b/1.png"), ("2.jpg", "2.jpg"), ("3.webp", "3.webp")] {
        let before = rig.guard.bytes_read();
        let cell = rig.cell(&named(rig.hub_path(path)), &of(MediaKind::Image));
        assert_eq!(cell, format!(r#"{{"src":"{}","height":400,"width":700}}"#, link(address)));
        assert!(rig.guard.bytes_read() - before <= 65_536, "{path}");
    }
    assert!(png.len().min(jpeg.len()) > 65_536);
    let read = rig.guard.bytes_read();
    let cell = rig.cell(&named(rig.hub_path("s.mp3")), &of(MediaKind::Audio));
    assert_eq!(cell, format!(r#"[{{"src":"{}","type":"audio/mpeg"}}]"#, link("s.mp3")));
    let cell = rig.cell(&named(rig.hub_path("v.mp4")), &of(MediaKind::Video));
    assert_eq!(cell, format!(r#"{{"src":"{}"}}"#, link("v.mp4")));
    assert_eq!(
        (rig.guard.bytes_read(), rig.assets.paths()),
        (read, Vec::new()),
        "sound and film are not looked at"
    );
    rig.cell(&named(rig.hub_path("d.pdf")), &of(MediaKind::Pdf));
    assert_eq!(rig.asset("document.pdf").bytes, &b"%PDF"[..], "documents are always stored");
}

#[test]
fn nested_media_have_files_of_their_own() {
    let rig = Rig::new(&[]);
    let pdf = stored(b"%PDF", None);
    let inner = Feature::Struct(Features(vec![
        ("images".into(), Feature::list(of(MediaKind::Pdf))),
        ("note".into(), Feature::value("string")),
    ]));
    let value =
        members(vec![("images", Value::List(vec![pdf.clone(), Value::Null])), ("note", Value::str("kept"))]);
    let document = |name: &str| format!(r#"{{"src":"{}","size_bytes":4,"thumbnail":null}}"#, url(name));
    let expected = format!(r#"{{"images":[{},null],"note":"kept"}}"#, document("document-1d9603ef.pdf"));
    assert_eq!(rig.cell(&value, &inner), expected);
    let list = Feature::list(of(MediaKind::Pdf));
    let cell = rig.cell(&Value::List(vec![pdf.clone(), pdf]), &list);
    assert_eq!(cell, format!("[{},{}]", document("document-1d100e9.pdf"), document("document-1d300ea.pdf")));
}

#[test]
fn places_that_share_a_suffix_do_not_share_a_file() {
    // The checksum is linear, so [0, 2, 0] and [1, 0, 1] have the same one.
    let rig = Rig::new(&[]);
    let cube = Feature::list(Feature::list(Feature::list(of(MediaKind::Video))));
    let lists = Value::List;
    let empty = || lists(Vec::new());
    let first = lists(vec![empty(), empty(), lists(vec![stored(b"one", None)])]);
    let second = lists(vec![lists(vec![Value::Null, stored(b"two", None)])]);
    rig.cell(&lists(vec![first, second]), &cube);
    let paths = rig.assets.paths();
    let contents: HashSet<Bytes> = paths.iter().map(|path| rig.assets.get(path).unwrap().bytes).collect();
    assert_eq!(contents.len(), 2, "{paths:?}");
    assert!(
        paths.iter().any(|path| path.ends_with("-1.unknown")),
        "the case is one of a shared suffix: {paths:?}"
    );
}

#[test]
fn a_column_that_cannot_stand_in_a_url_is_refused() {
    let rig = Rig::new(&[]);
    let value = stored(b"film", None);
    let shown = MediaCell::new(&rig.step(), 0, "../x").show(&value, &of(MediaKind::Video));
    assert!(matches!(shown, Err(MediaError::Cell(reason)) if reason.contains("path segment")));
}

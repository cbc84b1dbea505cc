//! Files inside of tables and archives, from the file through the step to cells and assets, well made and hostile.
//!
//! The fixtures hold two rows, written by pyarrow: videos, documents and sounds, alone, in lists and in structs.

use std::io::Write;

use outpost_model::limits;

use super::media::{cell, first_rows, image, shown, sound};
use super::*;
use crate::media::archive_tests::{Entry, deflated, entry, zip};
use crate::media::tests::file as encoded;

fn png() -> Vec<u8> {
    encoded(&::image::DynamicImage::new_rgb8(5, 3), ::image::ImageFormat::Png)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn videos_documents_and_sounds_are_shown_at_any_depth_of_a_table() {
    let parquet = include_bytes!("../fixtures/nested_files.parquet").as_slice();
    let arrow = include_bytes!("../fixtures/nested_files.arrow").as_slice();
    for (path, file) in [("train.parquet", parquet), ("train.arrow", arrow)] {
        let (body, assets, revision) = shown(&[(path, file)]).await;
        let document = |place, size| cell(place, &format!(r#","size_bytes":{size},"thumbnail":null"#));
        let row = format!(
            r#"{{"clip":{},"docs":[{},null],"talk":{{"sound":{},"film":{}}},"parts":[{{"doc":{},"note":null}},{{"doc":null,"note":{}}}]}}"#,
            cell("0/clip/video.mp4", ""),
            document("0/docs/document-1d100e9.pdf", 6),
            sound("0/talk/audio-fd90326.wav"),
            cell("0/talk/video-bd702a5.webm", ""),
            document("0/parts/document-dce02af.pdf", 7),
            sound("0/parts/audio-11b70330.wav"),
        );
        assert_eq!(body["rows"][0]["row"].to_string(), row, "{path}");
        let empty = r#"{"clip":null,"docs":null,"talk":null,"parts":[]}"#;
        assert_eq!(body["rows"][1]["row"].to_string(), empty, "{path}");
        let film = format!("user/data/--/{revision}/--/default/train/0/talk/video-bd702a5.webm");
        assert_eq!(&assets.get(&film).unwrap().bytes[..], b"film 2");
        assert_eq!(assets.paths().len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sounds_in_json_lines_are_shown_inside_of_lists() {
    let readme = "---\ndataset_info:\n  features:\n  - name: turns\n    list:\n    - name: voice\n      dtype: audio\n---\n";
    let lines =
        "{\"turns\":[{\"voice\":{\"bytes\":\"RIFF____WAVE\",\"path\":\"a.wav\"}},{\"voice\":null}]}\n";
    let (body, assets, _) =
        shown(&[("README.md", readme.as_bytes()), ("train.jsonl", lines.as_bytes())]).await;
    let names: Vec<String> = assets.paths();
    assert_eq!(names.len(), 1);
    let name = names[0].rsplit('/').next().unwrap();
    let row = format!(r#"{{"turns":[{{"voice":{}}},{{"voice":null}}]}}"#, sound(&format!("0/turns/{name}")));
    assert_eq!(body["rows"][0]["row"].to_string(), row);
}

/// A tar archive of these files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sounds_of_a_webdataset_become_assets_by_row() {
    let files: [(&str, &[u8]); 5] = [
        ("a/1.wav", b"RIFF____WAVE1"),
        ("a/1.txt", b"one"),
        ("a/2.wav", b"RIFF____WAVE2"),
        ("a/2.txt", b"two"),
        ("a/3.txt", b"three"),
    ];
    let (body, assets, revision) = shown(&[("train.tar", &tar(&files[..4]))]).await;
    assert_eq!(body["features"][0]["type"].to_string(), r#"{"_type":"Audio"}"#);
    for (index, (text, bytes)) in [("one", b"RIFF____WAVE1"), ("two", b"RIFF____WAVE2")].iter().enumerate() {
        let row = &body["rows"][index]["row"];
        assert_eq!(row["wav"].to_string(), sound(&format!("{index}/wav/audio.wav")));
        assert_eq!(row["txt"], *text);
        let path = format!("user/data/--/{revision}/--/default/train/{index}/wav/audio.wav");
        assert_eq!(&assets.get(&path).unwrap().bytes[..], *bytes);
    }

    let (result, assets, _) = first_rows(&[("train.tar", &tar(&files))]).await;
    assert!(text(&result).contains("SplitsNotFoundError"), "a sample lacks its sound: {}", text(&result));
    assert_eq!(assets.paths(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_csv_cell_may_name_a_file_of_its_own_dataset_only() {
    let readme = b"---\ndataset_info:\n  features:\n  - name: img\n    dtype: image\n---\n";
    let png = png();
    let named = |dataset: &str| format!("img\nhf://datasets/{dataset}@main/pictures/a.png\n").into_bytes();
    let (own, other) = (named("user/data"), named("user/other"));
    let files = |csv| [("README.md", &readme[..]), ("train.csv", csv), ("pictures/a.png", &png[..])];
    let (body, assets, _) = shown(&files(&own)).await;
    assert_eq!(body["rows"][0]["row"].to_string(), format!(r#"{{"img":{}}}"#, image("0/img/image.jpg")));
    assert_eq!(assets.paths().len(), 1);

    let (result, assets, _) = first_rows(&files(&other)).await;
    assert_eq!(result.error_code, Some(ErrorCode::RowsPostProcessingError), "{}", text(&result));
    assert!(text(&result).contains("files of other repositories are not shown"), "{}", text(&result));
    assert_eq!(assets.paths(), Vec::<String>::new());
}

const CAPTIONS: &[u8] =
    b"{\"file_name\":\"b/2.png\",\"caption\":\"two\"}\n{\"file_name\":\"1.png\",\"caption\":\"one\"}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_zipped_folder_of_images_with_metadata_is_shown() {
    let png = png();
    let archive = zip(&[entry("metadata.jsonl", CAPTIONS), entry("1.png", &png), entry("b/2.png", &png)]);
    let (body, assets, _) = shown(&[("train.zip", &archive)]).await;
    let rows = body["rows"].as_array().unwrap();
    let shown: Vec<String> = rows.iter().map(|row| row["row"].to_string()).collect();
    let row = |index: usize, caption| {
        format!(r#"{{"image":{},"caption":"{caption}"}}"#, image(&format!("{index}/image/image.jpg")))
    };
    assert_eq!(shown, [row(0, "two"), row(1, "one")], "in the order of the metadata");
    assert_eq!(assets.paths().len(), 2);
}

/// So many zeros, deflated.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b'0'; 1 << 20];
    for start in (0..bytes).step_by(block.len()) {
        encoder.write_all(&block[..block.len().min(bytes - start)]).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bomb_in_a_zipped_folder_ends_in_an_error_that_names_it() {
    let png = png();
    let media_max = usize::try_from(limits::MEDIA_FILE_BYTES_MAX).unwrap();
    let large = bomb(media_max + 1);
    let claimed = |bytes: usize| u32::try_from(bytes).unwrap();
    let good = || [entry("metadata.jsonl", CAPTIONS), entry("1.png", &png)];
    let with = |last| zip(&Vec::from_iter(good().into_iter().chain([last])) as &[Entry<'_>]);
    let cases = [
        (with(deflated("b/2.png", &large, claimed(media_max + 1))), "more than the limit"),
        (with(deflated("b/2.png", &large, 1_000)), "Bad CRC-32"),
    ];
    for (archive, reason) in cases {
        assert!(archive.len() < 4 << 20, "it is small: {}", archive.len());
        let (result, assets, _) = first_rows(&[("train.zip", &archive)]).await;
        assert!(result.error_code.is_some() && text(&result).contains(reason), "{reason}: {}", text(&result));
        assert_eq!(assets.paths(), Vec::<String>::new());
    }
}

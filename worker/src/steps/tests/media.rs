//! Columns of media in tables, from the file through the step to cells and assets.
//!
//! The fixtures hold two rows, written by pyarrow: PNG images of 5 by 3 pixels, alone, in a list and in structs of a
//! list, and a sound in a struct, declared by the `huggingface` metadata of the schema. Suffixes of names are the
//! checksums that Python's `zlib.adler32` gives of the paths' JSON text.

use super::*;

const SOUND: &[u8] = b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x04\0\0\0\0\0\x01\0";

/// The features and rows of split `train` of a dataset with these files, and the assets that were made.
pub(super) async fn shown(files: &[(&str, &[u8])]) -> (serde_json::Value, Arc<MemoryAssets>, Revision) {
    let (result, assets, revision) = first_rows(files).await;
    assert_eq!(result.error_code, None, "{}", text(&result));
    (serde_json::from_slice(&result.body).unwrap(), assets, revision)
}

/// What the step stores for split `train` of a dataset with these files.
pub(super) async fn first_rows(files: &[(&str, &[u8])]) -> (StepResult, Arc<MemoryAssets>, Revision) {
    let mut rig = Rig::new();
    let data = rig.folder.path().join("user/data");
    std::fs::create_dir_all(&data).unwrap();
    for (path, bytes) in files {
        let path = data.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let hub = FolderHub::open(FolderHubOptions::new(rig.folder.path())).unwrap();
    let dataset = outpost_model::DatasetName::new("user/data").unwrap();
    let revision = hub.repo_info(&dataset, None).await.unwrap().revision;
    rig.revision = Some(revision.clone());
    rig.put_names(&configs(), &["default"]);
    rig.put_names(&splits("default"), &["train"]);
    let assets = Arc::new(MemoryAssets::default());
    rig.assets = Some(assets.clone());
    let result = rig.stored(key(SplitFirstRows, Some("default"), Some("train"))).await;
    (result, assets, revision)
}

/// `{"src": …}` of an asset of a row, with what else the cell holds.
pub(super) fn cell(place: &str, rest: &str) -> String {
    let split = "{node_public_url}/assets/user/data/--/{dataset_git_revision}/--/default/train";
    format!(r#"{{"src":"{split}/{place}"{rest}}}"#)
}

pub(super) fn image(place: &str) -> String {
    cell(place, r#","height":3,"width":5"#)
}

pub(super) fn sound(place: &str) -> String {
    format!("[{}]", cell(place, r#","type":"audio/wav""#))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn media_that_a_schema_declares_are_shown_at_any_depth() {
    let parquet = include_bytes!("../fixtures/nested_media.parquet").as_slice();
    let arrow = include_bytes!("../fixtures/nested_media.arrow").as_slice();
    for (path, file) in [("train.parquet", parquet), ("train.arrow", arrow)] {
        let (body, assets, revision) = shown(&[(path, file)]).await;
        let types = concat!(
            r#"[{"feature_idx":0,"name":"image","type":{"_type":"Image"}},"#,
            r#"{"feature_idx":1,"name":"many","type":{"feature":{"_type":"Image"},"_type":"List"}},"#,
            r#"{"feature_idx":2,"name":"who","type":{"voice":{"_type":"Audio"},"#,
            r#""name":{"dtype":"string","_type":"Value"}}},"#,
            r#"{"feature_idx":3,"name":"pages","type":{"feature":{"scan":{"_type":"Image"},"#,
            r#""n":{"dtype":"int32","_type":"Value"}},"_type":"List"}}]"#
        );
        assert_eq!(body["features"].to_string(), types, "{path}");
        let (first, third) = (image("0/many/image-1d100e9.jpg"), image("0/many/image-1d500eb.jpg"));
        let row = format!(
            r#"{{"image":{},"many":[{first},null,{third}],"who":{{"voice":{},"name":"Ann"}},"pages":[{{"scan":{},"n":1}},{{"scan":null,"n":2}}]}}"#,
            image("0/image/image.jpg"),
            sound("0/who/audio-f890313.wav"),
            image("0/pages/image-115e031e.jpg"),
        );
        assert_eq!(body["rows"][0]["row"].to_string(), row, "{path}");
        assert_eq!(
            body["rows"][1]["row"].to_string(),
            r#"{"image":null,"many":[],"who":null,"pages":null}"#,
            "{path}"
        );

        let at = |name: &str| format!("user/data/--/{revision}/--/default/train/0/{name}");
        assert_eq!(
            assets.paths(),
            [
                "image/image.jpg",
                "many/image-1d100e9.jpg",
                "many/image-1d500eb.jpg",
                "pages/image-115e031e.jpg",
                "who/audio-f890313.wav"
            ]
            .map(at)
        );
        assert_eq!(&assets.get(&at("who/audio-f890313.wav")).unwrap().bytes[..], SOUND);
        for (name, [red, green, blue]) in
            [("image/image.jpg", [true, false, false]), ("many/image-1d500eb.jpg", [false, false, true])]
        {
            let jpeg = assets.get(&at(name)).unwrap();
            assert_eq!(jpeg.content_type, "image/jpeg");
            let pixels = ::image::load_from_memory(&jpeg.bytes).unwrap().to_rgb8();
            let is_bright = pixels.get_pixel(2, 1).0.map(|part| part > 128);
            assert_eq!(is_bright, [red, green, blue], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn media_that_a_card_declares_are_shown_in_json_lines() {
    let readme = "---\ndataset_info:\n  features:\n  - name: docs\n    list: pdf\n  - name: who\n    struct:\n    - name: \
                  film\n      dtype: video\n    - name: n\n      dtype: int64\n---\n";
    let lines = concat!(
        r#"{"docs":[{"bytes":"%PDF-1","path":null},null],"who":{"film":{"bytes":"film","path":"a/b.mp4"},"n":7}}"#,
        "\n",
        r#"{"docs":[],"who":{"film":{"bytes":null,"path":"local.mp4"},"n":8}}"#,
        "\n"
    );
    let (body, assets, revision) =
        shown(&[("README.md", readme.as_bytes()), ("train.jsonl", lines.as_bytes())]).await;
    let row = format!(
        r#"{{"docs":[{},null],"who":{{"film":{},"n":7}}}}"#,
        cell("0/docs/document-1d100e9.pdf", r#","size_bytes":6,"thumbnail":null"#),
        cell("0/who/video-bd702a5.mp4", ""),
    );
    assert_eq!(body["rows"][0]["row"].to_string(), row);
    assert_eq!(
        body["rows"][1]["row"].to_string(),
        r#"{"docs":[],"who":{"film":null,"n":8}}"#,
        "a local path names nothing here"
    );
    let film = format!("user/data/--/{revision}/--/default/train/0/who/video-bd702a5.mp4");
    assert_eq!(&assets.get(&film).unwrap().bytes[..], b"film");
    assert_eq!(assets.paths().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_csv_column_of_paths_is_media_without_a_file() {
    let declared = "\n  features:\n  - name: img\n    dtype: image\n  - name: n\n    dtype: int64\n---\n";
    let of_info = format!("---\ndataset_info:{declared}");
    let of_config = format!("---\nconfigs:\n- config_name: default\n  data_files: train.csv{declared}");
    for readme in [of_info, of_config] {
        let (body, assets, _) =
            shown(&[("README.md", readme.as_bytes()), ("train.csv", b"img,n\na/1.png,1\n,2\n")]).await;
        assert_eq!(body["features"][0]["type"].to_string(), r#"{"_type":"Image"}"#);
        assert_eq!(body["rows"][0]["row"].to_string(), r#"{"img":null,"n":1}"#);
        assert_eq!(body["rows"][1]["row"].to_string(), r#"{"img":null,"n":2}"#);
        assert_eq!(assets.paths(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn media_that_legacy_infos_declare_are_shown_and_the_card_is_preferred() {
    let legacy = br#"{"user--data": {"description": "", "features": {
        "sound": {"sampling_rate": 16000, "mono": true, "decode": true, "id": null, "_type": "Audio"},
        "label": {"num_classes": 2, "names": ["cat", "dog"], "names_file": null, "id": null, "_type": "ClassLabel"},
        "tags": {"feature": {"dtype": "string", "id": null, "_type": "Value"}, "length": -1, "id": null, "_type": "Sequence"}
    }, "splits": {"train": {"name": "train", "num_bytes": 1, "num_examples": 1, "dataset_name": "data"}}}}"#;
    let line = |label: &str| {
        format!(
            "{{\"sound\":{{\"bytes\":\"RIFF____WAVE\",\"path\":\"a.wav\"}},\"label\":{label},\"tags\":[\"x\"]}}\n"
        )
    };
    let files = [("dataset_infos.json", &legacy[..]), ("train.jsonl", &line("\"dog\"").into_bytes())];
    let (body, assets, _) = shown(&files).await;
    assert_eq!(
        body["features"].to_string(),
        concat!(
            r#"[{"feature_idx":0,"name":"sound","type":{"sampling_rate":16000,"_type":"Audio"}},"#,
            r#"{"feature_idx":1,"name":"label","type":{"names":["cat","dog"],"_type":"ClassLabel"}},"#,
            r#"{"feature_idx":2,"name":"tags","type":{"feature":{"dtype":"string","_type":"Value"},"_type":"List"}}]"#
        )
    );
    let row = format!(r#"{{"sound":{},"label":1,"tags":["x"]}}"#, sound("0/sound/audio.wav"));
    assert_eq!(body["rows"][0]["row"].to_string(), row);
    assert_eq!(assets.paths().len(), 1);

    let card = b"---\ndataset_info:\n  features:\n  - name: tags\n    list: large_string\n---\n";
    let mixed = [("README.md", &card[..]), files[0], ("train.jsonl", b"{\"tags\":[\"x\"]}\n")];
    let (body, _, _) = shown(&mixed).await;
    let tags = r#"{"feature":{"dtype":"large_string","_type":"Value"},"_type":"List"}"#;
    assert_eq!(body["features"][0]["type"].to_string(), tags);
    assert_eq!(body["features"].as_array().unwrap().len(), 1);
}

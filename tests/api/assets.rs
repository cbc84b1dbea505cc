//! `GET /assets/…`: types, tags, ranges, codings, and who may read.

use axum::http::Method;
use outpost_model::AssetPath;
use outpost_model::planning::Event;
use outpost_model::{Priority, Revision, TimestampMs, Visibility};
use outpost_storage::{AssetStore, Authority};

use crate::fixture::{Api, REVISION, dataset, first_rows, public};

fn path(column: &str, filename: &str) -> AssetPath {
    let column = column.replace(' ', "%20");
    AssetPath::parse(&format!("u/d/--/{REVISION}/--/default/train/0/{column}/{filename}")).unwrap()
}

fn uri(path: &AssetPath) -> String {
    format!("/assets/{path}")
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An API that serves `u/d`, with these bytes at [`uri`] of `image/image.jpg`.
async fn serving(content_type: &str, bytes: &[u8]) -> (Api, String) {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    put(&api, &path("image", "image.jpg"), content_type, bytes).await;
    (api, uri(&path("image", "image.jpg")))
}

async fn put(api: &Api, path: &AssetPath, content_type: &str, bytes: &[u8]) {
    let (assets, path) = (api.assets.clone(), path.clone());
    let (content_type, bytes) = (content_type.to_owned(), bytes.to_vec());
    tokio::task::spawn_blocking(move || assets.put(&path, &content_type, &bytes).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_file_is_sent_whole_with_its_headers() {
    for length in [0, 3, 5_000, 131_072, 131_073, 1_000_000] {
        let (api, uri) = serving("image/jpeg", &noise(length)).await;
        let reply = api.get_with(&uri, &[("origin", "https://x.example")]).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, length));
        assert_eq!(reply.body, noise(length));
        assert_eq!(reply.header("content-type"), Some("image/jpeg"));
        assert_eq!(reply.header("content-length"), Some(length.to_string().as_str()));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert_eq!(reply.header("x-revision"), Some(REVISION));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://x.example"));
        assert_eq!(reply.header("content-encoding"), None);
        assert!(reply.header("x-sync-position").is_some());
        let tag = reply.header("etag").unwrap();
        assert!(tag.starts_with('"') && tag.ends_with('"'));
        let head = api.request(Method::HEAD, &uri, &[("range", "bytes=0-0")], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        assert_eq!(head.header("etag"), Some(tag));
    }
}

#[tokio::test]
async fn a_known_tag_is_answered_with_304() {
    let (api, uri) = serving("image/jpeg", &noise(5_000)).await;
    let tag = api.get(&uri).await.header("etag").unwrap().to_owned();
    for method in [Method::GET, Method::HEAD] {
        for known in [tag.clone(), format!("\"x\", {tag}"), "*".to_owned()] {
            let asked = [("if-none-match", known.as_str()), ("range", "bytes=0-1")];
            let reply = api.request(method.clone(), &uri, &asked, "").await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0));
            assert_eq!(reply.header("etag"), Some(tag.as_str()));
            assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"));
        }
    }
    assert_eq!(api.get_with(&uri, &[("if-none-match", "\"other\"")]).await.status, 200);
}

#[tokio::test]
async fn one_range_is_a_part_whatever_its_length_and_place() {
    for length in [5_000, 400_000] {
        let bytes = noise(length);
        let (api, uri) = serving("audio/wav", &bytes).await;
        let last = length - 1;
        for (range, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=10-4999".to_owned(), 10..5_000),
            ("bytes=17-".to_owned(), 17..length),
            ("bytes=-300".to_owned(), length - 300..length),
            (format!("bytes={last}-{}", length * 2), last..length),
        ] {
            let reply = api.get_with(&uri, &[("range", &range), ("accept-encoding", "zstd, gzip")]).await;
            assert_eq!(reply.status, 206, "{range}");
            let content_range = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
            assert_eq!(reply.header("content-range"), Some(content_range.as_str()));
            assert_eq!(reply.header("content-length"), Some(expected.len().to_string().as_str()));
            assert_eq!(reply.body, bytes[expected]);
        }
        for range in ["bytes=0-1,3-4", "rows=0-1", "bytes=9-1", "bytes=x"] {
            let reply = api.get_with(&uri, &[("range", range)]).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (200, length), "{range}");
        }
        for range in [format!("bytes={length}-"), "bytes=-0".to_owned()] {
            let reply = api.get_with(&uri, &[("range", &range)]).await;
            assert_eq!(reply.status, 416, "{range}");
            assert_eq!(reply.header("content-range"), Some(format!("bytes */{length}").as_str()));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert!(reply.json()["error"].is_string());
        }
    }
}

#[tokio::test]
async fn a_range_of_a_file_that_changed_is_the_whole_file() {
    let (api, uri) = serving("audio/wav", &noise(5_000)).await;
    let tag = api.get(&uri).await.header("etag").unwrap().to_owned();
    for (known, status) in [
        (tag.as_str(), 206),
        ("\"other\"", 200),
        (&format!("W/{tag}"), 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ] {
        let reply = api.get_with(&uri, &[("range", "bytes=0-9"), ("if-range", known)]).await;
        assert_eq!(reply.status, status, "{known}");
    }
}

#[tokio::test]
async fn the_zstd_form_goes_to_those_who_take_it_and_want_no_range() {
    for length in [3_000, 2_000_000] {
        let text = b"outpost ".repeat(length / 8);
        let (api, uri) = serving("audio/wav", &text).await;
        let plain = api.get_with(&uri, &[("accept-encoding", "gzip, zstd;q=0")]).await;
        assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, text.len()));
        assert_eq!(plain.body, text);
        let packed = api.get_with(&uri, &[("accept-encoding", "gzip, zstd")]).await;
        assert_eq!(packed.header("content-encoding"), Some("zstd"));
        assert_eq!(packed.header("content-length"), Some(packed.body.len().to_string().as_str()));
        assert_eq!(zstd::bulk::decompress(&packed.body, text.len()).unwrap(), text);
        assert_ne!(packed.header("etag"), plain.header("etag"));
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        let part = [("accept-encoding", "zstd"), ("range", "bytes=1000-1999")];
        let part = api.get_with(&uri, &part).await;
        assert_eq!((part.status.as_u16(), part.header("content-encoding")), (206, None));
        assert_eq!(part.body, text[1_000..2_000]);
        assert_eq!(part.header("etag"), plain.header("etag"));
    }
}

#[tokio::test]
async fn only_passive_types_keep_their_type() {
    let (api, _) = serving("image/jpeg", b"x").await;
    for (row, (given, sent)) in [
        ("application/pdf", "application/pdf"),
        ("video/mp4", "video/mp4"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = path("x", &format!("file-{row}"));
        put(&api, &path, given, b"<script>").await;
        assert_eq!(api.get(&uri(&path)).await.header("content-type"), Some(sent));
    }
}

#[tokio::test]
async fn names_of_any_form_are_found() {
    let (api, _) = serving("image/jpeg", b"x").await;
    for column in ["a b", "a/b", "%C3%A9", "%252e", "%3F%23%25", "--"] {
        let path = path(column, "image-1d100e9.png");
        put(&api, &path, "image/png", column.as_bytes()).await;
        assert_eq!(api.get(&uri(&path)).await.text(), column);
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_in_json() {
    let (api, uri) = serving("image/jpeg", b"x").await;
    let base = format!("/assets/u/d/--/{REVISION}/--/default/train/0");
    for missing in [
        uri.replace("image.jpg", "image.png"),
        uri.replace(REVISION, "2222"),
        format!("{uri}/"),
        format!("{base}/../../../../../../lock"),
        format!("{base}/%2e%2e/%2e%2e/lock"),
        format!("{base}/..%2f..%2flock"),
        format!("{base}/image/..%2F..%2Flock"),
        format!("{base}/image/%00"),
        format!("{base}/%FF/image.jpg"),
        "/assets/etc/passwd".to_owned(),
        "/assets/%2Fetc%2Fpasswd".to_owned(),
        "/assets//etc/passwd".to_owned(),
    ] {
        api.get(&missing).await.is_error(404, "ResponseNotFound");
        let head = api.request(Method::HEAD, &missing, &[], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (404, 0), "{missing}");
    }
    assert_eq!(api.request(Method::POST, &uri, &[], "").await.status, 405);
}

#[tokio::test]
async fn only_public_datasets_are_served() {
    let (api, uri) = serving("image/jpeg", b"x").await;
    let unknown = uri.replace("u/d", "u/unknown");
    for visibility in [Visibility::Gated, Visibility::Private] {
        let revision = Revision::new(REVISION).unwrap();
        let event = Event::Revision { revision, visibility, priority: Priority::Normal, force: false };
        api.store.submit(&dataset("u/d"), &event, TimestampMs(1_800_000_000_001)).await.unwrap();
        for uri in [&uri, &unknown] {
            api.get(uri).await.is_error(401, "ExternalUnauthenticatedError");
            let authorized = api.get_with(uri, &[("authorization", "Bearer x")]).await;
            authorized.is_error(404, "ExternalAuthenticatedError");
        }
    }
    api.hub.set("u/d", Ok(public("u/d")));
    api.store.submit(&dataset("u/d"), &Event::Removed, TimestampMs(1_800_000_000_002)).await.unwrap();
    api.get(&uri).await.is_error(401, "ExternalUnauthenticatedError");
}

#[tokio::test]
async fn requests_for_assets_are_counted_under_one_path() {
    let (api, uri) = serving("image/jpeg", b"x").await;
    api.get(&uri).await;
    api.get(&uri.replace("image.jpg", "none.jpg")).await;
    let metrics = api.get("/metrics").await;
    assert!(metrics.text().contains(r#"path_template="/assets/{*path}""#));
    assert!(!metrics.text().contains("none.jpg"));
}

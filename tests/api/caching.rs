//! ETags, encodings, and the promise that nobody reads an older answer than the store holds.

use std::io::Read;

use axum::http::Method;

use crate::fixture::{Api, complete, event, first_rows, public};

const URI: &str = "/first-rows?dataset=u/d&config=default&split=train";

#[tokio::test]
async fn each_coding_has_its_body_and_its_tag() {
    let api = Api::start().await;
    let rows = first_rows(50, 400, false);
    api.serve(&rows).await;
    let mut tags = Vec::new();
    for (accepted, coding) in [
        ("identity", None),
        ("gzip, deflate", Some("gzip")),
        ("gzip, zstd", Some("zstd")),
        ("gzip;q=0", None),
    ] {
        let reply = api.get_with(URI, &[("accept-encoding", accepted)]).await;
        assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
        assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
        let plain = match coding {
            Some("gzip") => {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut plain).unwrap();
                plain
            }
            Some(_) => zstd::bulk::decompress(&reply.body, rows.len()).unwrap(),
            None => reply.body.to_vec(),
        };
        assert_eq!(plain, rows.as_bytes());
        tags.push(reply.header("etag").unwrap().to_owned());
    }
    assert_eq!(tags[0], tags[3]);
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
}

#[tokio::test]
async fn a_known_tag_is_answered_with_304() {
    let api = Api::start().await;
    api.serve(&first_rows(2, 10, false)).await;
    let tag = api.get(URI).await.header("etag").unwrap().to_owned();
    for method in [Method::GET, Method::HEAD] {
        let reply = api.request(method, URI, &[("if-none-match", &tag)], "").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0));
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
        assert_eq!(reply.header("cache-control"), Some("max-age=120"));
        assert!(reply.header("x-sync-position").is_some());
    }
    assert_eq!(api.get_with(URI, &[("if-none-match", "\"other\"")]).await.status, 200);
}

#[tokio::test]
async fn asset_urls_are_completed_and_cells_are_not_touched() {
    let api = Api::start().await;
    let stored = first_rows(1, 0, false).replace(
        r#""text":"0""#,
        r#""text":"{dataset_git_revision}","image":{"src":"{node_public_url}/assets/u/d/--/{dataset_git_revision}/--/i.jpg"}"#,
    );
    api.serve(&stored).await;
    let row = &api.get(URI).await.json()["rows"][0]["row"];
    assert_eq!(row["text"], "{dataset_git_revision}");
    let url = row["image"]["src"].as_str().unwrap();
    assert_eq!(url, format!("http://public/assets/u/d/--/{}/--/i.jpg", crate::fixture::REVISION));
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_read() {
    let api = Api::start().await;
    for round in 0..20 {
        let rows = first_rows(round + 1, 3, false);
        let mut info = public("u/d");
        info.revision = format!("{round}").parse().unwrap();
        api.hub.set("u/d", Ok(info));
        assert_eq!(api.webhook(&event("update", "u/d")).await.status, 200);
        api.get(URI).await.is_error(500, "ResponseNotReady");
        api.compute(|key| complete(key, &rows)).await;
        for accepted in ["identity", "gzip", "identity"] {
            let reply = api.get_with(URI, &[("accept-encoding", accepted)]).await;
            assert_eq!(reply.header("x-revision"), Some(format!("{round}").as_str()));
        }
        assert_eq!(api.get(URI).await.text(), rows);
    }
}

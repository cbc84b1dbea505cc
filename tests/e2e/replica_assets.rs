//! Assets at a replica of a real primary, over links that are slow or break: what readers get meanwhile.

use std::time::Duration;

use outpost_harness::{Fault, FaultyProxy, NodeProcess, client, wait_until};
use reqwest::{Response, StatusCode};

use crate::random::Random;
use crate::replica::{LISTEN, replica, sync_address};
use crate::support::{BOUND, Setting, get, get_json, sum_of, wait_until_idle};

const ROWS: &str = "/first-rows?dataset=org/sounds&config=default&split=train";
/// Takes many seconds over the slow link, within which a test does what it wants to see.
const SOUND_BYTES: usize = 8_000_000;
/// A part of 16 KiB comes each so often.
const SLOW: Fault = Fault::Delay(Duration::from_millis(40));

/// A primary with one sound, a replica behind a slow link, and the address of the sound.
struct Scene {
    primary: NodeProcess,
    node: NodeProcess,
    link: FaultyProxy,
    sound: Vec<u8>,
    path: String,
    _setting: Setting,
    _copy: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let (setting, sound) = (Setting::new(), sound(SOUND_BYTES));
        setting.write("org/sounds/train/noise.wav", &sound);
        let primary = setting.start(&LISTEN).await;
        wait_until_idle(&primary, 1).await;
        let address = sync_address(&primary).await;
        let link = FaultyProxy::start(address.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
        link.set(SLOW);
        let copy = tempfile::tempdir().unwrap();
        let node = replica(copy.path(), &link.url(), &[]).await;
        let path = path_of_sound(&primary).await;
        Self { primary, node, link, sound, path, _setting: setting, _copy: copy }
    }

    async fn assets_fetched(&self) -> u64 {
        let text = get(&self.node, "/metrics").await.text().await.unwrap();
        sum_of(&text, "outpost_replica{figure=\"assets_fetched\"}").unwrap()
    }

    async fn get_range(&self, range: &str) -> Response {
        let request = client().get(format!("{}{}", self.node.base_url(), self.path)).header("range", range);
        request.send().await.unwrap()
    }
}

/// The address of the sound in the first row.
async fn path_of_sound(node: &NodeProcess) -> String {
    let (status, _, body) = get_json(node, ROWS).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let source = body["rows"][0]["row"]["audio"][0]["src"].as_str().unwrap_or_else(|| panic!("{body}"));
    format!("/assets/{}", source.split_once("/assets/").unwrap().1)
}

/// A WAV file that does not compress.
fn sound(length: usize) -> Vec<u8> {
    let mut random = Random(7);
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0data\xff\xff\xff\xff".to_vec();
    while bytes.len() < length {
        bytes.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    bytes
}

#[tokio::test]
async fn a_reader_hears_the_beginning_of_a_sound_whose_end_is_still_at_the_primary() {
    let scene = Scene::start().await;
    let mut response = get(&scene.node, &scene.path).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.content_length(), Some(scene.sound.len() as u64));
    let mut heard = response.chunk().await.unwrap().unwrap().to_vec();
    assert_eq!(scene.assets_fetched().await, 0);

    // What is far behind the part that came is asked for.
    let last = scene.get_range("bytes=-1000").await;
    assert_eq!(last.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(last.bytes().await.unwrap(), scene.sound[scene.sound.len() - 1_000..]);
    assert_eq!(scene.assets_fetched().await, 0);

    scene.link.set(Fault::None);
    while let Some(chunk) = response.chunk().await.unwrap() {
        heard.extend_from_slice(&chunk);
    }
    assert!(heard == scene.sound);
    wait_until("the sound to be kept", BOUND, || async { (scene.assets_fetched().await == 1).then_some(()) })
        .await;
    let Scene { primary, node, sound, path, .. } = scene;
    primary.kill().unwrap();
    assert!(get(&node, &path).await.bytes().await.unwrap() == sound);
}

#[tokio::test]
async fn a_sound_that_breaks_off_is_an_error_and_comes_whole_the_next_time() {
    let scene = Scene::start().await;
    let mut response = get(&scene.node, &scene.path).await;
    assert_eq!(response.content_length(), Some(scene.sound.len() as u64));
    let mut heard = response.chunk().await.unwrap().unwrap().len();
    scene.link.set(Fault::Refuse);
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => heard += chunk.len(),
            other => break other,
        }
    };
    assert!(end.is_err() && heard < scene.sound.len(), "{end:?} after {heard}");
    let (status, code, _) = get_json(&scene.node, &scene.path).await;
    assert_eq!((status, code.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("UpstreamNotReached")));
    assert_eq!(scene.assets_fetched().await, 0);

    scene.link.set(Fault::None);
    assert!(get(&scene.node, &scene.path).await.bytes().await.unwrap() == scene.sound);
}

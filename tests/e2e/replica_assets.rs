//! Assets at a replica of a real primary, over links that are slow or break: what readers get meanwhile.

use std::path::Path;
use std::time::Duration;

use outpost_harness::{Fault, FaultyProxy, NodeProcess, SmallDisk, client, wait_until};
use reqwest::{Response, StatusCode};

use crate::random::Random;
use crate::replica::{LISTEN, position, replica, sync_address, wait_for_position};
use crate::support::{BOUND, Setting, get, get_json, wait_until_idle};

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
    setting: Setting,
    _copy: Option<tempfile::TempDir>,
}

impl Scene {
    async fn start() -> Self {
        let copy = tempfile::tempdir().unwrap();
        let directory = copy.path().to_owned();
        Self { _copy: Some(copy), ..Self::start_in(&directory).await }
    }

    async fn start_in(copy: &Path) -> Self {
        let (setting, sound) = (Setting::new(), sound(SOUND_BYTES));
        setting.write("org/sounds/train/noise.wav", &sound);
        let primary = setting.start(&LISTEN).await;
        wait_until_idle(&primary, 1).await;
        let address = sync_address(&primary).await;
        let link =
            FaultyProxy::start(address.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
        link.set(SLOW);
        let node = replica(copy, &link.url(), &[]).await;
        let path = path_of_sound(&primary).await;
        Self { primary, node, link, sound, path, setting, _copy: None }
    }

    async fn assets_fetched(&self) -> u64 {
        figure(&self.node, "assets_fetched").await
    }

    async fn get_range(&self, range: &str) -> Response {
        let request = client().get(format!("{}{}", self.node.base_url(), self.path)).header("range", range);
        request.send().await.unwrap()
    }
}

/// A figure of a replica's metrics.
async fn figure(node: &NodeProcess, name: &str) -> u64 {
    let text = get(node, "/metrics").await.text().await.unwrap();
    let line = format!("outpost_replica{{figure=\"{name}\"}} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line)).unwrap_or_else(|| panic!("{text}"));
    value.parse().unwrap()
}

async fn until_figure(node: &NodeProcess, name: &str, wanted: u64) {
    wait_until(name, BOUND, || async { (figure(node, name).await == wanted).then_some(()) }).await;
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
    sound_of(length, 7)
}

fn sound_of(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
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
    until_figure(&scene.node, "assets_fetched", 1).await;
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

#[tokio::test]
async fn a_full_disk_pauses_mirroring_serves_what_there_is_and_all_goes_on_with_room() {
    let Some(disk) = SmallDisk::new(96).unwrap() else { return };
    let scene = Scene::start_in(&disk.path().join("copy")).await;
    let Scene { primary, node, link, sound, path, setting, .. } = scene;
    // The sound is on its way, to be kept. A twentieth of the disk is to be left free.
    let mut response = get(&node, &path).await;
    let mut heard = response.chunk().await.unwrap().unwrap().to_vec();
    disk.fill(3_000_000).unwrap();
    until_figure(&node, "has_room", 0).await;
    link.set(Fault::None);
    while let Some(chunk) = response.chunk().await.unwrap() {
        heard.extend_from_slice(&chunk);
    }
    assert!(heard == sound);
    assert_eq!(path_of_sound(&node).await, path);
    assert!(get(&node, &path).await.bytes().await.unwrap() == sound);
    setting.write("org/other/data.csv", "a\n1\n");
    wait_until_idle(&primary, 2).await;
    assert_ne!(position(&node).await, position(&primary).await);
    assert_eq!((figure(&node, "has_room").await, figure(&node, "assets_fetched").await), (0, 0));

    disk.relieve().unwrap();
    wait_for_position(&node, &position(&primary).await).await;
    until_figure(&node, "assets_fetched", 1).await;
    primary.kill().unwrap();
    assert!(get(&node, &path).await.bytes().await.unwrap() == sound);
    assert_eq!(get(&node, "/splits?dataset=org/other").await.status(), StatusCode::OK);
    node.kill().unwrap();
}

#[tokio::test]
async fn assets_are_fetched_ahead_up_to_nine_tenths_of_the_budget() {
    let setting = Setting::new();
    for (name, seed) in ["a", "b", "c", "d", "e"].into_iter().zip(1..) {
        setting.write(&format!("org/{name}/train/{name}.wav"), sound_of(100_000, seed));
    }
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 5).await;
    let copy = tempfile::tempdir().unwrap();
    let options = ["--asset-budget", "300KiB"];
    let node = replica(copy.path(), &sync_address(&primary).await, &options).await;
    // Three are above 276,480 bytes, the fourth would be above 307,200.
    until_figure(&node, "assets_skipped", 2).await;
    assert_eq!(figure(&node, "assets_fetched").await, 3);
}

#[tokio::test]
async fn a_restarted_replica_does_not_look_at_all_entries_again() {
    let setting = Setting::new();
    setting.write("org/sounds/train/noise.wav", sound(1_000));
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 1).await;
    let (copy, upstream) = (tempfile::tempdir().unwrap(), sync_address(&primary).await);
    let says = |node: &NodeProcess, words: &str| node.log_lines().iter().any(|line| line.contains(words));
    const BEGUN: &str = "looking for the assets of all entries";
    let node = replica(copy.path(), &upstream, &[]).await;
    until_figure(&node, "assets_fetched", 1).await;
    assert!(says(&node, BEGUN));
    wait_until("the look to be noted", BOUND, || async {
        says(&node, "looked for the assets of all entries").then_some(())
    })
    .await;
    // What comes now is looked at behind the bookmark.
    node.kill().unwrap();
    setting.write("org/more/train/more.wav", sound_of(1_000, 3));
    wait_until_idle(&primary, 2).await;
    let node = replica(copy.path(), &upstream, &[]).await;
    until_figure(&node, "assets_fetched", 1).await;
    assert!(!says(&node, BEGUN));
}

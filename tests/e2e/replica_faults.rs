//! Replicas of real processes behind links that fail: kills, cuts, silence, damaged and full disks.
//!
//! A primary, two replicas and one behind a replica. Whatever happened, each recovers by itself and ends with answers that
//! are equal byte for byte. `OUTPOST_KILLS` sets how often nodes are killed, `OUTPOST_SEED` the moments.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_harness::{Fault, FaultyProxy, NodeProcess, client, wait_until};
use reqwest::StatusCode;

use crate::random::{Random, from_environment};
use crate::support::{BOUND, Setting, answers, get, sum_of, wait_until_idle};

const DATASETS: usize = 12;
const SECRET: &str = "s3cret";

/// A port that nobody uses now: addresses must outlive the processes behind them.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A node that is started again with the same directory and the same address for other nodes.
struct Site {
    arguments: Vec<String>,
    data: PathBuf,
    node: Option<NodeProcess>,
}

impl Site {
    fn new(arguments: &[&str], data: &Path) -> Self {
        let fixed = ["--data-dir", data.to_str().unwrap(), "--webhook-secret", SECRET];
        let arguments = arguments.iter().chain(&fixed).map(|argument| (*argument).to_owned()).collect();
        Self { arguments, data: data.to_owned(), node: None }
    }

    async fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let binary = Path::new(env!("CARGO_BIN_EXE_node"));
        self.node = Some(NodeProcess::start_unready(binary, &arguments).await.unwrap());
    }

    fn kill(&mut self) {
        self.node.take().unwrap().kill().unwrap();
    }

    fn node(&self) -> &NodeProcess {
        self.node.as_ref().unwrap()
    }
}

/// The cluster and the links in it.
struct Cluster {
    setting: Setting,
    sites: Vec<Site>,
    links: Vec<FaultyProxy>,
    _directory: tempfile::TempDir,
}

const PRIMARY: usize = 0;

impl Cluster {
    /// Starts the primary on a folder, two replicas of it, and one of the first replica.
    async fn start() -> Self {
        let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
        for dataset in 0..DATASETS {
            write(&setting, dataset, 0);
        }
        let (primary, first) = (free_port(), free_port());
        let mut links = Vec::new();
        for target in [primary, primary, first] {
            links.push(FaultyProxy::start(target).await.unwrap());
        }
        let path = |name: &str| directory.path().join(name);
        let (primary, first) = (primary.to_string(), first.to_string());
        let urls: Vec<String> = links.iter().map(FaultyProxy::url).collect();
        let replica = ["--role", "replica", "--upstream"];
        let arguments: [Vec<&str>; 4] = [
            vec!["--hub", setting.hub().to_str().unwrap().to_owned().leak(), "--sync-listen", &primary],
            [&replica[..], &[&urls[0], "--sync-listen", &first]].concat(),
            [&replica[..], &[&urls[1]]].concat(),
            [&replica[..], &[&urls[2]]].concat(),
        ];
        let mut sites: Vec<Site> = arguments
            .iter()
            .enumerate()
            .map(|(number, arguments)| Site::new(arguments, &path(&format!("node{number}"))))
            .collect();
        for site in &mut sites {
            site.start().await;
        }
        Self { setting, sites, links, _directory: directory }
    }

    /// Waits until every node answers as the primary does.
    async fn until_equal(&self) {
        // A webhook that is delivered later would move the primary on.
        for site in &self.sites[1..] {
            wait_until("the outboxes to be empty", BOUND, || async {
                let text = get(site.node(), "/metrics").await.text().await.unwrap();
                (sum_of(&text, "outpost_outbox_entries") == Some(0)).then_some(())
            })
            .await;
        }
        wait_until_idle(self.sites[PRIMARY].node(), DATASETS as u64).await;
        for site in &self.sites[1..] {
            wait_until("every node to stand where the primary does", BOUND, || async {
                let primary = position(self.sites[PRIMARY].node()).await;
                (position(site.node()).await == primary).then_some(())
            })
            .await;
        }
        for dataset in 0..DATASETS {
            let expected = answers(self.sites[PRIMARY].node(), &name(dataset)).await;
            assert!(expected.len() > 2, "{expected:?}");
            for site in &self.sites[1..] {
                assert_eq!(answers(site.node(), &name(dataset)).await, expected);
            }
        }
    }
}

fn name(dataset: usize) -> String {
    format!("org{}/d{dataset}", dataset % 3)
}

fn write(setting: &Setting, dataset: usize, round: u64) {
    let rows: String = (0..50).map(|row| format!("{row},{round}\n")).collect();
    setting.write(&format!("{}/train.csv", name(dataset)), format!("id,round\n{rows}"));
}

/// Where a node stands, as any of its answers says.
async fn position(node: &NodeProcess) -> String {
    let response = get(node, &format!("/splits?dataset={}", name(0))).await;
    response.headers()["x-sync-position"].to_str().unwrap().to_owned()
}

/// Reports a change at a node; a node that is up takes it.
async fn webhook(node: &NodeProcess, dataset: usize) {
    let body = serde_json::json!({
        "event": "update", "scope": "repo.content",
        "repo": {"type": "dataset", "name": name(dataset), "headSha": "0123"},
    });
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", SECRET);
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

fn some_fault(random: &mut Random) -> Fault {
    match random.below(6) {
        0 => Fault::Delay(Duration::from_millis(random.below(200))),
        1 => Fault::CutAfter(random.below(20_000)),
        2 => Fault::Silence,
        3 => Fault::Refuse,
        _ => Fault::None,
    }
}

#[tokio::test]
async fn kills_and_broken_links_end_in_equal_nodes() {
    let kills = from_environment("OUTPOST_KILLS", 200);
    let seed = from_environment("OUTPOST_SEED", 11);
    println!("OUTPOST_SEED={seed} OUTPOST_KILLS={kills}");
    let mut random = Random(seed);
    let mut cluster = Cluster::start().await;
    cluster.until_equal().await;
    for kill in 0..kills {
        for link in &cluster.links {
            link.set(some_fault(&mut random));
        }
        let dataset = random.below(DATASETS as u64) as usize;
        write(&cluster.setting, dataset, kill + 1);
        // At any node: a replica passes it on, whatever its link is like.
        let receiver = random.below(cluster.sites.len() as u64) as usize;
        webhook(cluster.sites[receiver].node(), dataset).await;
        // Not a wait for anything: the kill comes at a random moment of the work.
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        // Each of them in turn, so that each is killed as often.
        let victim = &mut cluster.sites[kill as usize % 4];
        victim.kill();
        victim.start().await;
    }
    for link in &cluster.links {
        link.set(Fault::None);
    }
    cluster.until_equal().await;
}

/// Files under a directory, the largest first.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
    found
}

fn damage(data: &Path, how: &str, random: &mut Random) {
    let mirror =
        files(data).into_iter().find(|path| path.file_name().is_some_and(|name| name == "db")).unwrap();
    let bytes = std::fs::read(&mirror).unwrap();
    match how {
        "a torn snapshot" => {
            std::fs::write(mirror.with_file_name("snap.0000000000001234.generating"), b"torn").unwrap();
        }
        "a truncated log" => std::fs::write(&mirror, &bytes[..bytes.len() / 2]).unwrap(),
        "flipped bytes" => {
            let mut bytes = bytes;
            for _ in 0..200 {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 0x5a;
            }
            std::fs::write(&mirror, bytes).unwrap();
        }
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn a_replica_recovers_from_a_damaged_store_by_itself() {
    let mut random = Random(from_environment("OUTPOST_SEED", 5));
    let mut cluster = Cluster::start().await;
    cluster.until_equal().await;
    for how in ["a torn snapshot", "a truncated log", "flipped bytes"] {
        cluster.sites[2].kill();
        damage(&cluster.sites[2].data, how, &mut random);
        println!("{how}");
        cluster.sites[2].start().await;
        cluster.until_equal().await;
    }
}

//! `node demo`: a primary and a replica of it on sample datasets, in one command.
//!
//! Owns two child processes of this program and a directory of their own, both gone when it ends. Prints where to look
//! once the replica holds everything that the primary has computed. A child that ends early ends the demo with the last
//! lines of its log.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Path under the Hub and content of every sample file.
const SAMPLE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample_hub.rs"));
const START_BOUND: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Where people expect the API, where the other nodes' listener is by default, and a port beside them.
const PORTS: [u16; 3] = [8000, 8001, 8010];
const LOG_LINES_SHOWN: usize = 8;

/// Runs the demo until a signal.
///
/// # Errors
/// When a node cannot be started or does not get ready.
pub async fn run() -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    crate::shutdown::listen(stop.clone()).context("failed to listen for signals")?;
    let mut demo = Demo::start()?;
    let ready = tokio::select! {
        ready = demo.until_ready() => ready,
        () = stop.cancelled() => return Ok(()),
    };
    ready?;
    say(&demo.welcome())?;
    tokio::select! {
        end = demo.until_one_ends() => end,
        () = stop.cancelled() => Ok(()),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to write to stdout")
}

/// A node of the demo; killed when dropped: everything it has is thrown away anyway.
struct DemoNode {
    name: &'static str,
    address: SocketAddr,
    child: Child,
    log: std::path::PathBuf,
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        // Fails when it ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Demo {
    // Fields drop in order: the nodes before their directory.
    primary: DemoNode,
    replica: DemoNode,
    http: reqwest::Client,
    _directory: TempDir,
}

impl Demo {
    fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("outpost-demo-").tempdir();
        let directory = directory.context("failed to make a temporary directory")?;
        let hub = directory.path().join("hub");
        write_sample(&hub)?;
        let [primary_at, sync_at, replica_at] = addresses()?;
        let (hub, upstream) = (hub.display().to_string(), format!("http://{sync_at}"));
        let sync_listen = sync_at.to_string();
        let primary = ["--role", "primary", "--hub", &hub, "--sync-listen", &sync_listen];
        let replica = ["--role", "replica", "--upstream", &upstream];
        let url = url::Url::parse(&upstream).context("an address is a URL")?;
        Ok(Self {
            primary: spawn("primary", primary_at, &primary, directory.path())?,
            replica: spawn("replica", replica_at, &replica, directory.path())?,
            http: outpost_hub::client_builder(&url)?.no_proxy().timeout(Duration::from_secs(10)).build()?,
            _directory: directory,
        })
    }

    /// Returns when the primary has computed everything and the replica stands where it does.
    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let datasets = datasets().len();
        let began = Instant::now();
        loop {
            self.check_alive()?;
            if self.is_ready(datasets).await.unwrap_or(false) {
                return Ok(());
            }
            ensure!(began.elapsed() < START_BOUND, "the nodes did not get ready within {START_BOUND:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn is_ready(&self, datasets: usize) -> anyhow::Result<bool> {
        let metrics = self.get(self.primary.address, "/metrics").await?.text().await?;
        let sum = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        if sum("outpost_datasets") < datasets as f64 || sum("queue_jobs_total") > 0.0 {
            return Ok(false);
        }
        let ready = self.get(self.replica.address, "/ready").await?.status().is_success();
        Ok(ready && self.position(self.primary.address).await? == self.position(self.replica.address).await?)
    }

    async fn position(&self, address: SocketAddr) -> anyhow::Result<String> {
        let response = self.get(address, "/splits?dataset=vega/barley").await?;
        let position = response.headers().get("x-sync-position").context("an answer has a position")?;
        Ok(position.to_str()?.to_owned())
    }

    async fn get(&self, address: SocketAddr, path: &str) -> anyhow::Result<reqwest::Response> {
        Ok(self.http.get(format!("http://{address}{path}")).send().await?)
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        for node in [&mut self.primary, &mut self.replica] {
            if let Some(status) = node.child.try_wait().context("failed to look after a node")? {
                bail!("the {} ended with {status}:\n{}", node.name, last_lines(&node.log));
            }
        }
        Ok(())
    }

    async fn until_one_ends(&mut self) -> anyhow::Result<()> {
        loop {
            self.check_alive()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn welcome(&self) -> String {
        let (primary, replica) = (self.primary.address, self.replica.address);
        let names = datasets().join(", ");
        format!(
            "A primary at http://{primary} computed the sample datasets; a replica at http://{replica} mirrors them.\n\
             \n\
             Open at the replica:\n\
             \x20 http://{replica}/splits?dataset=vega/barley\n\
             \x20 http://{replica}/first-rows?dataset=vega/barley&config=default&split=train\n\
             \x20 http://{replica}/rows?dataset=vega/cars&config=default&split=train&offset=10&length=5\n\
             \x20 http://{replica}/ready\n\
             The same paths work at the primary. Datasets: {names}.\n\
             Press Ctrl-C to end both; nothing stays behind.\n"
        )
    }
}

fn write_sample(hub: &Path) -> anyhow::Result<()> {
    for (name, content) in SAMPLE {
        let path = hub.join(name);
        let parent = path.parent().context("a file is in a directory")?;
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content));
        written.with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// The names of the sample datasets.
fn datasets() -> Vec<String> {
    let mut names: Vec<String> = SAMPLE
        .iter()
        .filter_map(|(path, _)| {
            let mut parts = path.split('/');
            Some(format!("{}/{}", parts.next()?, parts.next()?))
        })
        .collect();
    names.dedup();
    names
}

/// The usual ports where they are free, others where not. All are held until all are known.
fn addresses() -> anyhow::Result<[SocketAddr; 3]> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut held = Vec::new();
    for port in PORTS {
        let listener = TcpListener::bind(local(port)).or_else(|_| TcpListener::bind(local(0)));
        held.push(listener.context("there is no port to listen on")?);
    }
    let mut addresses = [local(0); 3];
    for (address, listener) in addresses.iter_mut().zip(&held) {
        *address = listener.local_addr().context("failed to read an address")?;
    }
    Ok(addresses)
}

fn spawn(
    name: &'static str,
    address: SocketAddr,
    arguments: &[&str],
    directory: &Path,
) -> anyhow::Result<DemoNode> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let log = directory.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
    let child = Command::new(program)
        .args(arguments)
        .args(["--listen", &address.to_string(), "--log-format", "text", "--data-dir"])
        .arg(directory.join(name))
        // What is set for other nodes on this machine is not meant for these.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .with_context(|| format!("failed to start the {name}"))?;
    Ok(DemoNode { name, address, child, log })
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_in_the_binary() {
        assert!(datasets().contains(&"vega/barley".to_owned()), "{:?}", datasets());
        let directory = tempfile::tempdir().unwrap();
        write_sample(directory.path()).unwrap();
        assert!(directory.path().join("vega/barley/README.md").is_file());
    }

    #[test]
    fn taken_ports_are_replaced_by_others() {
        let [first, second, third] = addresses().unwrap();
        let _taken = TcpListener::bind(first).unwrap();
        let [other, ..] = addresses().unwrap();
        assert_ne!(first, other);
        assert!(first != second && second != third);
    }
}

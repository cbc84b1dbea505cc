//! A real node as a child process.
//!
//! Owns its life: started on a free port, waited for until ready, killed when dropped. Its environment is empty but for
//! what a test gives it. A node that ends before it is ready fails the start with what it said.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::client::client;
use crate::wait::wait_until;

const START_BOUND: Duration = Duration::from_secs(60);

/// What the start of a node waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Listening,
    Ready,
}

/// A running node.
pub struct NodeProcess {
    child: Child,
    base_url: String,
    log: Log,
}

/// Lines of its stderr so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn follow(&self, child: &mut Child) -> anyhow::Result<()> {
        let stderr = child.stderr.take().context("stderr is piped")?;
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address that the node says it serves on.
    fn address(&self) -> Option<String> {
        self.lines().iter().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event.get("address")?.as_str().map(str::to_owned)
        })
    }
}

impl NodeProcess {
    /// Starts `binary` with `arguments`, on a free port unless they name one, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or ends early.
    pub async fn start(binary: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(binary, arguments, &[]).await
    }

    /// As [`NodeProcess::start`], with environment variables.
    ///
    /// # Errors
    /// As [`NodeProcess::start`].
    pub async fn start_with(
        binary: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::start_until(binary, arguments, variables, Readiness::Ready).await
    }

    /// As [`NodeProcess::start`], without waiting until it is ready: it may have nobody to become ready with.
    ///
    /// # Errors
    /// As [`NodeProcess::start`].
    pub async fn start_unready(binary: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_until(binary, arguments, &[], Readiness::Listening).await
    }

    async fn start_until(
        binary: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
        readiness: Readiness,
    ) -> anyhow::Result<Self> {
        let any_port: &[&str] =
            if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = command(binary)
            .args(any_port)
            .args(arguments)
            .env("OUTPOST_LOG_FORMAT", "json")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the node")?;
        let log = Log::default();
        log.follow(&mut child)?;
        let mut node = Self { child, base_url: String::new(), log };
        node.base_url = format!("http://{}", node.wait_for_address().await?);
        if readiness == Readiness::Ready {
            let ready = format!("{}/ready", node.base_url);
            wait_until("the node to be ready", START_BOUND, || async {
                client().get(&ready).send().await.ok().filter(|response| response.status().is_success())
            })
            .await;
        }
        Ok(node)
    }

    async fn wait_for_address(&mut self) -> anyhow::Result<String> {
        let (child, log) = (Mutex::new(&mut self.child), &self.log);
        let result = wait_until("the node to say where it listens", START_BOUND, || async {
            if let Some(address) = log.address() {
                return Some(Ok(address));
            }
            let ended = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
            ended.ok().flatten().map(Err)
        })
        .await;
        result.map_err(|status| {
            anyhow::anyhow!("the node ended with {status}: {}", self.log.lines().join("\n"))
        })
    }

    /// `http://` and the address that it listens on.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Its largest resident memory so far, in bytes.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
        Ok(kibibytes * 1024)
    }

    /// What it logged so far, a line each.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Ends it without a chance to clean up.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the node")?;
        self.child.wait().context("wait for the node")?;
        Ok(())
    }

    /// Sends SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn terminate(mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().context("send SIGTERM")?;
        anyhow::ensure!(sent.success(), "SIGTERM could not be sent");
        let child = Mutex::new(&mut self.child);
        Ok(wait_until("the node to end", bound, || async {
            child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
        })
        .await)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Fails when it ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command with an environment of its own.
#[must_use]
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

//! A bucket to test with: moto's S3 server as a child process.
//!
//! Owns its installation into `target/tools` (once, by whoever comes first) and its life: it ends with the process that
//! started it. Where there is no Python it says so and gives nothing; on CI that is a failure.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

const REQUIREMENT: &str = "moto[server]==5.1.18";
const FOLDER: &str = "moto-5.1.18";
/// Prints its port, and ends when its input does.
const SERVER: &str = r#"
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"#;

static SERVER_PORT: OnceLock<Option<u16>> = OnceLock::new();
static BUCKETS: AtomicU32 = AtomicU32::new(0);

/// A bucket of its own on the server of this process.
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The variables that a node reaches it with.
    pub variables: Vec<(String, String)>,
}

impl Bucket {
    /// Creates an empty bucket. `None` where there is no Python and this is not CI; said on stderr.
    ///
    /// # Panics
    /// On CI when there is no Python, and anywhere when the server cannot be installed or started.
    #[must_use]
    pub fn create() -> Option<Self> {
        let port = (*SERVER_PORT.get_or_init(start))?;
        let name = format!("bucket-{}-{}", std::process::id(), BUCKETS.fetch_add(1, Ordering::Relaxed));
        put_bucket(port, &name).expect("the server creates a bucket");
        let variables = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        Some(Self { name, variables: variables.map(|(name, value)| (name.to_owned(), value)).to_vec() })
    }
}

fn start() -> Option<u16> {
    let has_python = Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success());
    if !has_python {
        assert!(std::env::var_os("CI").is_none(), "the tests of S3 need python3, and this is CI");
        eprintln!("SKIPPED: the tests of S3 need python3; install it to run them");
        return None;
    }
    let python = install().expect("moto can be installed with pip");
    Some(serve(&python).expect("moto's server starts"))
}

/// Makes a virtual environment with the server, unless there is one; returns its Python.
fn install() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let tools = target.join("tools");
    fs::create_dir_all(&tools)?;
    let lock = File::create(tools.join(format!("{FOLDER}.lock")))?;
    lock.lock()?;
    let folder = tools.join(FOLDER);
    let python = folder.join("bin/python");
    let is_installed = folder.join("installed");
    if !is_installed.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", REQUIREMENT]))?;
        fs::write(&is_installed, REQUIREMENT)?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn serve(python: &Path) -> anyhow::Result<u16> {
    let mut child = Command::new(python)
        .args(["-c", SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
    let port =
        line.trim().parse().with_context(|| format!("the server said {line:?} instead of its port"))?;
    // Its input stays open as long as this process lives.
    std::mem::forget(child.stdin.take());
    Ok(port)
}

fn put_bucket(port: u16, name: &str) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        connection,
        "PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "creating the bucket {name} was answered with {status:?}");
    Ok(())
}

//! A real mongod for tests: found, started as a one-node replica set, shared by the tests of one process.
//!
//! Owns the server's life: a shell that waits on a pipe from this process ends the server and deletes its files when
//! the process ends, however it ends. `TEST_MONGODB_URL` names a server to use instead. When none can be had, tests
//! say so and are skipped; with `CI` set they fail.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use tokio::sync::OnceCell;

use super::mongod_binary;

/// How long a server may take to start and to become primary, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// Another port is tried when the one found free was taken meanwhile.
const STARTS_MAX: usize = 5;
/// Runs `"$@"` until standard input ends, which is when this process ends; then kills it and deletes its files.
const WATCHDOG: &str = r#"folder=$1; shift; "$@" >"$folder/output" 2>&1 & server=$!
trap 'kill -9 $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$folder"' EXIT
cat >/dev/null"#;

static SHARED: OnceCell<Option<Mongod>> = OnceCell::const_new();

/// How a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A replica set of one member, its primary.
    ReplicaSet,
    /// Without a replica set: no transactions, no change streams.
    Standalone,
    /// Started for a replica set that was never initiated.
    Uninitiated,
    /// A replica set that asks for credentials; the administrator is `root`, password `secret`.
    Authenticated,
}

/// A running server. Dropping it ends the server and deletes its files.
#[derive(Debug)]
pub struct Mongod {
    url: String,
    /// The watchdog, which holds the files' folder too; `None` for a server that was there before.
    watchdog: Option<Child>,
}

/// Two databases with a random name, dropped by [`Databases::drop_both`].
#[derive(Debug, Clone)]
pub struct Databases {
    /// Of `cachedResponsesBlue` and what goes with it.
    pub cache: String,
    /// Of `jobsBlue` and what goes with it.
    pub queue: String,
}

/// The server that the tests of this process share: `TEST_MONGODB_URL`, or one of its own. `None` when there is none
/// and tests may be skipped.
///
/// # Panics
/// When there is none and `CI` is set.
pub async fn shared() -> Option<&'static Mongod> {
    let start = || async {
        match std::env::var("TEST_MONGODB_URL") {
            Ok(url) => Some(Mongod { url, watchdog: None }),
            Err(_) => own(Kind::ReplicaSet).await,
        }
    };
    SHARED.get_or_init(start).await.as_ref()
}

/// A server for one test, which may do anything to it. `None` when there is none and tests may be skipped.
///
/// # Panics
/// When there is none and `CI` is set.
pub async fn own(kind: Kind) -> Option<Mongod> {
    match Mongod::start(kind).await {
        Ok(server) => Some(server),
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "no mongod for the tests: {cause}");
            eprintln!("SKIPPED: tests against MongoDB need a mongod, and none can be had: {cause}");
            eprintln!("SKIPPED: put mongod on the PATH or set TEST_MONGODB_URL to a replica set's URL");
            None
        }
    }
}

impl Mongod {
    /// Starts a server of its own on a free port, with its files in a temporary folder.
    ///
    /// # Errors
    /// Why no server could be started, with its last words.
    pub async fn start(kind: Kind) -> Result<Self, String> {
        let program =
            tokio::task::spawn_blocking(mongod_binary::find).await.map_err(|error| error.to_string())??;
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match start_on_free_port(&program, kind).await {
                Ok(server) => return Ok(server),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    /// The URL to connect to, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of the server's process.
    ///
    /// # Panics
    /// When the server does not say.
    pub async fn pid(&self) -> i64 {
        let status = self.client().await.database("admin").run_command(doc! {"serverStatus": 1}).await;
        status.and_then(|status| Ok(status.get_i64("pid")?)).expect("every server says its number")
    }

    /// A client that lives on the caller's runtime.
    ///
    /// # Panics
    /// When the URL cannot be used.
    pub async fn client(&self) -> Client {
        client(&self.url).await.expect("the server's URL is valid")
    }
}

impl Databases {
    /// Names that no other test has.
    #[must_use]
    pub fn random() -> Self {
        let name = format!("outpost_test_{:016x}", fastrand::u64(..));
        Self { cache: format!("{name}_cache"), queue: format!("{name}_queue") }
    }

    /// Deletes both databases.
    pub async fn drop_both(&self, client: &Client) {
        for name in [&self.cache, &self.queue] {
            if let Err(error) = client.database(name).drop().await {
                eprintln!("dropping the test database {name}: {error}");
            }
        }
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            // It was told to end; how it ended changes nothing.
            let _ = watchdog.wait();
        }
    }
}

async fn client(url: &str) -> mongodb::error::Result<Client> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(PATIENCE);
    Client::with_options(options)
}

async fn start_on_free_port(program: &Path, kind: Kind) -> Result<Mongod, String> {
    let port = free_port().map_err(|error| format!("finding a free port: {error}"))?;
    let folder = tempfile::Builder::new().prefix("outpost-mongod-").tempdir();
    let folder = folder.map_err(|error| format!("making a folder: {error}"))?;
    if kind == Kind::Authenticated {
        write_key_file(&folder.path().join("key")).map_err(|error| format!("writing a key: {error}"))?;
    }
    // From here on the watchdog deletes the folder.
    let folder = folder.keep();
    let watchdog =
        spawn(program, &folder, port, kind).map_err(|error| format!("{}: {error}", program.display()))?;
    let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let mut server = Mongod { url, watchdog: Some(watchdog) };
    if let Err(error) = make_ready(&server.url, port, kind).await {
        let output = std::fs::read_to_string(folder.join("output")).unwrap_or_default();
        let last: Vec<&str> = output.lines().rev().take(3).collect();
        return Err(format!("mongod on port {port}: {error}; its last lines: {last:?}"));
    }
    if kind != Kind::Standalone {
        server.url = format!("mongodb://127.0.0.1:{port}/?replicaSet=test");
    }
    Ok(server)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn write_key_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, "members of the test replica set know this text")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

fn spawn(program: &Path, folder: &Path, port: u16, kind: Kind) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "watchdog"]).arg(folder).arg(program);
    command.arg("--dbpath").arg(folder).args(["--port", &port.to_string()]);
    command.args(["--bind_ip", "127.0.0.1", "--nounixsocket"]);
    // Many run beside each other in tests; a bench asks for one as a server of its own would be.
    let cache_gb = std::env::var("OUTPOST_MONGOD_CACHE_GB").unwrap_or_else(|_| "0.25".to_owned());
    command.args(["--wiredTigerCacheSizeGB", &cache_gb]);
    // Tests bring their own time, which the server's clock must not act on.
    command.args(["--setParameter", "ttlMonitorEnabled=false"]);
    command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    command.args(["--setParameter", "enableTestCommands=1"]);
    if kind != Kind::Standalone {
        command.args(["--replSet", "test", "--oplogSize", "256"]);
    }
    if kind == Kind::Authenticated {
        command.arg("--keyFile").arg(folder.join("key"));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn()
}

/// Waits until the server answers and is the primary of its set.
async fn make_ready(url: &str, port: u16, kind: Kind) -> Result<(), String> {
    let client = client(url).await.map_err(|error| error.to_string())?;
    let admin = client.database("admin");
    let config = doc! {"_id": "test", "members": [{"_id": 0, "host": format!("127.0.0.1:{port}")}]};
    let deadline = Instant::now() + PATIENCE;
    let mut initiated = kind == Kind::Standalone;
    loop {
        let cause = match admin.run_command(doc! {"hello": 1}).await {
            Ok(_) if kind == Kind::Uninitiated => return Ok(()),
            Ok(hello) if !initiated => {
                initiated = admin.run_command(doc! {"replSetInitiate": config.clone()}).await.is_ok();
                format!("{hello}")
            }
            Ok(hello) if is_ready(&hello) => break,
            Ok(hello) => format!("{hello}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(format!("not ready in {PATIENCE:?}: {cause}"));
        }
        tokio::time::sleep(POLL).await;
    }
    if kind == Kind::Authenticated {
        let roles = ["root"];
        let create = doc! {"createUser": "root", "pwd": "secret", "roles": roles};
        admin.run_command(create).await.map_err(|error| format!("creating the administrator: {error}"))?;
    }
    Ok(())
}

fn is_ready(hello: &Document) -> bool {
    hello.get_bool("isWritablePrimary").unwrap_or(false)
}

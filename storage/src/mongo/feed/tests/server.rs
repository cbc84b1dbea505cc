//! A server of a test's own that can be killed, stopped and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::testing::mongod_binary;

/// See the module. Ends with the test.
pub(super) struct OwnServer {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl OwnServer {
    /// Starts a replica set of one member; `None` when there is no program to start.
    pub(super) async fn start() -> Option<Self> {
        // Says why there is none, or fails in CI.
        mongod::shared().await?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port, child: None };
        server.launch();
        let direct =
            format!("mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=60000");
        let admin = Client::with_uri_str(direct).await.unwrap().database("admin");
        let members = doc! {"_id": "own", "members": [{"_id": 0, "host": format!("127.0.0.1:{port}")}]};
        admin.run_command(doc! {"replSetInitiate": members}).await.unwrap();
        server.writable().await;
        Some(server)
    }

    pub(super) fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet=own&serverSelectionTimeoutMS=60000", self.port)
    }

    /// Starts the program over the same files.
    pub(super) fn launch(&mut self) {
        let program = mongod_binary::find().unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("output"))
            .unwrap();
        let child = Command::new(program)
            .arg("--dbpath")
            .arg(self.folder.path())
            .args(["--port", &self.port.to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--replSet", "own", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(["--setParameter", "enableTestCommands=1"])
            .stdout(Stdio::from(log))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Ends it as a power cut does.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Fails the feed's next call of `command` with `code`.
    pub(super) async fn fail_feed(&self, command: &str, code: i32) {
        let admin = Client::with_uri_str(self.url()).await.unwrap().database("admin");
        let data = doc! {"failCommands": [command], "errorCode": code, "appName": "outpost-feed"};
        let fail = doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data};
        admin.run_command(fail).await.unwrap();
    }

    /// Waits until it takes writes.
    pub(super) async fn writable(&self) {
        let client = Client::with_uri_str(self.url()).await.unwrap();
        let probe = client.database("probe").collection::<Document>("probe");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = probe.insert_one(doc! {}).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

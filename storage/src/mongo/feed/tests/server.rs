//! A server of a test's own that can be killed, stopped and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::testing::mongod_binary;

/// See the module. Ends with the test.
pub(super) struct OwnServer {
    folder: tempfile::TempDir,
    port: u16,
    /// Of its log of writes.
    oplog_mb: u32,
    child: Option<Child>,
}

impl OwnServer {
    /// Starts a replica set of one member; `None` when there is no program to start.
    pub(super) async fn start() -> Option<Self> {
        Self::with_oplog(64).await
    }

    /// The same, keeping so many megabytes of what was written.
    pub(super) async fn with_oplog(oplog_mb: u32) -> Option<Self> {
        // Says why there is none, or fails in CI.
        mongod::shared().await?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port, oplog_mb, child: None };
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
            .args(["--replSet", "own", "--oplogSize", &self.oplog_mb.to_string()])
            // The log is only cut up to the last checkpoint, and those are a minute apart by default.
            .args(["--syncdelay", "1", "--wiredTigerCacheSizeGB", "0.25"])
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

    /// Writes something else until nothing of what was written so far is in its log of writes.
    pub(super) async fn roll_over(&self) {
        let client = Client::with_uri_str(self.url()).await.unwrap();
        let other = client.database("other").collection::<Document>("other");
        let oplog = client.database("local").collection::<Document>("oplog.rs");
        let mut session = client.start_session().await.unwrap();
        other.insert_one(doc! {"_id": 0}).session(&mut session).await.unwrap();
        let until = session.operation_time().unwrap();
        let noise: String = (0..100_000).map(|_| fastrand::alphanumeric()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let oldest = oplog.find_one(doc! {}).sort(doc! {"$natural": 1}).await.unwrap().unwrap();
            if oldest.get_timestamp("ts").unwrap() > until {
                return;
            }
            assert!(Instant::now() < deadline, "the log of writes keeps {oldest}");
            let noise = doc! {"$set": {"noise": format!("{}{noise}", fastrand::u64(..))}};
            other.update_one(doc! {"_id": 0}, noise).await.unwrap();
        }
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

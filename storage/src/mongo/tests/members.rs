//! A replica set of a test's own, whose members can be killed, started again and told to step down.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use crate::testing::mongod;
use crate::testing::mongod_binary;

const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Ends with the test.
pub(super) struct Members {
    folder: tempfile::TempDir,
    ports: Vec<u16>,
    children: Vec<Option<Child>>,
}

impl Members {
    /// Starts a set of `count` members; `None` when there is no program to start.
    pub(super) async fn start(count: usize) -> Option<Self> {
        // Says why there is none, or fails in CI.
        mongod::shared().await?;
        let listeners: Vec<_> =
            (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(listeners);
        let children = (0..count).map(|_| None).collect();
        let mut members = Self { folder: tempfile::tempdir().unwrap(), ports, children };
        (0..count).for_each(|member| members.launch(member));
        let first = format!("mongodb://{}/?directConnection=true", members.host(0));
        let admin =
            Client::with_uri_str(first + "&serverSelectionTimeoutMS=60000").await.unwrap().database("admin");
        let listed: Vec<Document> = (0..count)
            .map(|member| doc! {"_id": i32::try_from(member).unwrap(), "host": members.host(member)})
            .collect();
        let settings = doc! {"electionTimeoutMillis": 2_000};
        let config = doc! {"_id": "own", "members": listed, "settings": settings};
        let deadline = Instant::now() + PATIENCE;
        // The other members may not listen yet.
        while let Err(error) = admin.run_command(doc! {"replSetInitiate": config.clone()}).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        members.writable().await;
        Some(members)
    }

    fn host(&self, member: usize) -> String {
        format!("127.0.0.1:{}", self.ports[member])
    }

    pub(super) fn url(&self) -> String {
        let hosts: Vec<_> = (0..self.ports.len()).map(|member| self.host(member)).collect();
        format!("mongodb://{}/?replicaSet=own&serverSelectionTimeoutMS=60000", hosts.join(","))
    }

    /// Starts a member over its files.
    pub(super) fn launch(&mut self, member: usize) {
        let folder = self.folder.path().join(member.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("output")).unwrap();
        let child = Command::new(mongod_binary::find().unwrap())
            .arg("--dbpath")
            .arg(&folder)
            .args(["--port", &self.ports[member].to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--replSet", "own", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(["--setParameter", "ttlMonitorEnabled=false"])
            .stdout(Stdio::from(log))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children[member] = Some(child);
    }

    /// Ends a member as a power cut does.
    pub(super) fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.children[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes the primary a secondary; another member, if there is one, is elected. Returns the new primary's host.
    pub(super) async fn step_down(&self) -> String {
        let admin = Client::with_uri_str(self.url()).await.unwrap().database("admin");
        let before = primary(&admin).await.expect("the set has a primary");
        let down = doc! {"replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 20};
        admin.run_command(down).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match primary(&admin).await {
                Some(host) if host != before => return host,
                other => assert!(Instant::now() < deadline, "the primary is {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn writable(&self) {
        let client = Client::with_uri_str(self.url()).await.unwrap();
        let probe = client.database("probe").collection::<Document>("probe");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = probe.insert_one(doc! {"_id": Bson::Null}).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn primary(admin: &mongodb::Database) -> Option<String> {
    let hello = admin.run_command(doc! {"hello": 1}).await.ok()?;
    hello.get_str("primary").ok().map(str::to_owned)
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..self.children.len()).for_each(|member| self.kill(member));
    }
}

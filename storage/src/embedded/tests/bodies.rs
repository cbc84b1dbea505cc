//! Bodies that are no text, of sizes around the bounds of inline values and chunks.

use outpost_model::planning::Event;
use outpost_model::{Entry, limits};

use super::fresh;
use crate::contract::{Calls, Subject, T0, dataset, root, success};

#[tokio::test]
async fn bytes_of_every_size_read_back() {
    let subject = fresh().await;
    let (authority, mirror) = (subject.authority(), subject.mirror().await);
    let chunk = limits::STORE_CHUNK_BYTES;
    let sizes = [0, 1, 255, 256, 999, 1_000, 1_001, chunk - 1, chunk, chunk + 1, 3 * chunk, 1_000_000];
    for (number, size) in sizes.into_iter().enumerate() {
        let name = format!("u/d{number}");
        authority.publish(&name, "r1").await;
        let claim = authority.claim_now().await;
        // Bytes that do not compress, so that the stored length is about the size.
        let mut random = fastrand::Rng::with_seed(number as u64);
        let body: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
        authority.store(&claim, Entry { body: body.clone().into(), ..success(&claim, &[], "") }).await;
        assert!(mirror.get(&root(&name)).unwrap().unwrap().body == body, "a body of {size} bytes");
        authority.submit(&dataset(&name), &Event::Removed, T0).await.unwrap();
    }
}

//! Files that expand, nest or claim far more than they should: the node's memory stays bounded and others are served.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Setting, get_json, wait_until_idle};

const NODE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A gzip file of 77 MB of zeros that does not end: one zero, then 258 times the byte before, again and again.
fn gzip_of_zeros() -> Vec<u8> {
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // The start of a block with fixed codes, a literal zero, then pairs of length 258 and distance 1, 13 bits each.
    let mut bits = Bits::default();
    bits.push(0b011, 3);
    bits.push(0b0000_1100, 8);
    for _ in 0..300_000 {
        bits.push(0b1010_0011, 8);
        bits.push(0, 5);
    }
    [&head[..], &bits.bytes].concat()
}

/// Bits, the lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, bits: u32, count: usize) {
        for at in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if bits >> at & 1 == 1 {
                *self.bytes.last_mut().unwrap() |= 1 << (self.count % 8);
            }
            self.count += 1;
        }
    }
}

/// Lists of ten references to the list before, thirty times over.
fn yaml_of_anchors() -> String {
    let lines: Vec<String> = (1..30)
        .map(|level| format!("a{level}: &a{level} [{}]\n", format!("*a{},", level - 1).repeat(10)))
        .collect();
    format!("---\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{}configs: *a29\n---\n", lines.concat())
}

#[tokio::test]
async fn bombs_are_answered_within_bounded_memory_and_others_are_served() {
    let setting = Setting::new();
    setting.write("bombs/gzip/data.txt.gz", gzip_of_zeros());
    setting.write("bombs/anchors/README.md", yaml_of_anchors());
    setting.write("bombs/anchors/data.csv", "a\n1\n");
    let names: Vec<String> = (0..100_000).map(|index| format!("c{index}")).collect();
    let rows = format!("{}1\n", "1,".repeat(99_999)).repeat(100);
    setting.write("bombs/columns/data.csv", format!("{}\n{rows}", names.join(",")));
    for index in 0..3 {
        setting
            .write(&format!("bombs/lines{index}/data.txt"), format!("{}\n", "x".repeat(12 << 20)).repeat(20));
    }
    setting.write("good/one/data.csv", "a\n1\n");
    let node = setting.start(&[]).await;
    wait_until_idle(&node, 7).await;

    let rows_of = |dataset: &str| format!("/first-rows?config=default&split=train&dataset={dataset}");
    for (path, code, says) in [
        (rows_of("bombs/gzip"), "FeaturesError", "67108864 bytes"),
        ("/splits?dataset=bombs/anchors".to_owned(), "ConfigNamesError", "1000000 nodes"),
        (rows_of("bombs/columns"), "TooManyColumnsError", "100000"),
    ] {
        let (status, found, body) = get_json(&node, &path).await;
        assert!(status.is_server_error(), "{path}: {status} {body:.400}");
        assert_eq!(found.as_deref(), Some(code), "{path}");
        assert!(body.to_string().contains(says), "{path}: {body:.400}");
    }
    for (dataset, truncated) in
        [("bombs/lines0", true), ("bombs/lines1", true), ("bombs/lines2", true), ("good/one", false)]
    {
        let (status, _, body) = get_json(&node, &rows_of(dataset)).await;
        let rows = body["rows"].as_array().map_or(0, Vec::len);
        assert!(status == StatusCode::OK && rows > 0, "{dataset}: {status} {body:.400}");
        assert_eq!(body["truncated"], Value::from(truncated), "{dataset}");
    }
    let peak = node.peak_memory_bytes().unwrap();
    assert!(peak < NODE_BYTES_MAX, "{peak} bytes");
}

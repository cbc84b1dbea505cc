//! Files that pyarrow wrote, for what arrow-rs writes otherwise.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::Params;
use crate::golden::{self, data_file};
use crate::parquet::Parquet;

/// `timestamp[s, tz=Europe/Paris]`, `date64` and a dictionary, stored as milliseconds, days and strings.
const KEPT_OTHERWISE: &str = "UEFSMRUEFRAVEEwVAhUAEgAA6AMAAAAAAAAVABUSFRIsFQQVEBUGFQYcAAAAAgAAAAMBAQIAFQQVCBUITBUCFQASAAABAAAAFQAV\
    EhUSLBUEFRAVBhUGHAAAAAIAAAADAQECABUEFQoVCkwVAhUAEgAAAQAAAHgVABUSFRIsFQQVEBUGFQYcAAAAAgAAAAQBAQQAFQQZ\
    TDUAGAZzY2hlbWEVBgAVBCUCGAFzJRJMjBEcHAAAAAAAFQIlAhgBZCUMTGwAAAAVDCUCGAF3JQBMHAAAABYEGRwZPCYAHBUEGTUA\
    BhAZGAFzFQAWBBZkFmQmNCYIKSwVBBUAFQIAFQAVEBUCADwpBhkmAgIAAAAmABwVAhk1AAYQGRgBZBUAFgQWXBZcJpABJmwpLBUE\
    FQAVAgAVABUQFQIAPCkGGSYCAgAAACYAHBUMGTUABhAZGAF3FQAWBBZeFl4m7gEmyAEpLBUEFQAVAgAVABUQFQIAPBYEGQYZJgAE\
    AAAAFp4CFgQmCBaeAgAZHBgMQVJST1c6c2NoZW1hGOwCLy8vLy93Z0JBQUFRQUFBQUFBQUtBQXdBQmdBRkFBZ0FDZ0FBQUFBQkJB\
    QUVBQUFBUFAvLy93UUFBQUFEQUFBQW1BQUFBRndBQUFBVUFBQUFFQUFZQUFnQUJnQUhBQXdBRUFBVUFCQUFBQUFBQUFFRkZBQUFB\
    RFFBQUFBVUFBQUFCQUFBQUFBQUFBQUJBQUFBZHdBQUFJai8vLzhNQUFBQUNBQU1BQWdBQndBSUFBQUFBQUFBQVNBQUFBRGMvLy8v\
    MlAvLy93QUFBUWdRQUFBQUdBQUFBQVFBQUFBQUFBQUFBUUFBQUdRQUFBQUVBQVFBQkFBQUFCQUFGQUFJQUFZQUJ3QU1BQUFBRUFB\
    UUFBQUFBQUFCQ2hBQUFBQWNBQUFBQkFBQUFBQUFBQUFCQUFBQWN3QUFBQWdBQ0FBQUFBUUFDQUFBQUFRQUFBQU1BQUFBUlhWeWIz\
    QmxMMUJoY21sekFBQUFBQUFBQUFBPQAYIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjMuMC4xGTwcAAAcAAAcAAAAoAIAAFBB\
    UjE=";
/// `timestamp[ns, tz=UTC]`, stored as INT96.
const INT96: &str = "UEFSMRUEFRgVGEwVAhUAEgAAB8qaOwAAAACMPSUAFQAVEhUSLBUEFRAVBhUGHAAAAAIAAAADAQECABUEGSw1ABgGc2NoZW1hFQIA\
    FQYlAhgBaQAWBBkcGRwmABwVBhk1AAYQGRgBaRUAFgQWbBZsJjwmCCksFQQVABUCABUAFRAVAgA8KQYZJgICAAAAFmwWBCYIFmwA\
    GRwYDEFSUk9XOnNjaGVtYRi4AS8vLy8vNEFBQUFBUUFBQUFBQUFLQUF3QUJnQUZBQWdBQ2dBQUFBQUJCQUFNQUFBQUNBQUlBQUFB\
    QkFBSUFBQUFCQUFBQUFFQUFBQVVBQUFBRUFBVUFBZ0FCZ0FIQUF3QUFBQVFBQkFBQUFBQUFBRUtFQUFBQUJ3QUFBQUVBQUFBQUFB\
    QUFBRUFBQUJwQUFBQUNBQU1BQVlBQ0FBSUFBQUFBQUFEQUFRQUFBQURBQUFBVlZSREFBPT0AGCBwYXJxdWV0LWNwcC1hcnJvdyB2\
    ZXJzaW9uIDIzLjAuMRkcHAAAAFABAABQQVIx";

fn read(base64: &str) -> (serde_json::Value, Vec<serde_json::Value>) {
    let file = data_file("a.parquet", BASE64_STANDARD.decode(base64).unwrap());
    let (features, rows) = golden::read(&Parquet, &[file], &Params::new(), 10).unwrap();
    (features.unwrap().to_json(), rows)
}

fn value(dtype: &str) -> serde_json::Value {
    json!({"dtype": dtype, "_type": "Value"})
}

#[test]
fn stored_types_count_as_far_as_parquet_keeps_them() {
    let (features, rows) = read(KEPT_OTHERWISE);
    let expected =
        json!({"s": value("timestamp[ms, tz=Europe/Paris]"), "d": value("date32"), "w": value("string")});
    assert_eq!(features, expected);
    let first =
        json!({"s": {"$datetime": "1970-01-01T01:00:01+01:00"}, "d": {"$date": "1970-01-02"}, "w": "x"});
    assert_eq!(rows, [first, json!({"s": null, "d": null, "w": "x"})]);
}

#[test]
fn int96_is_nanoseconds_without_a_zone() {
    let (features, rows) = read(INT96);
    assert_eq!(features, json!({"i": value("timestamp[ns]")}));
    assert_eq!(rows, [json!({"i": {"$datetime": "1970-01-01T00:00:01"}}), json!({"i": null})]);
}

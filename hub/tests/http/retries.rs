//! What is asked again, and when.

use super::*;

#[tokio::test]
async fn passing_failures_are_repeated() {
    for status in [408, 429, 500, 502, 503, 504] {
        let (_root, stub) = stub();
        stub.inject(INFO, 2, &Fault::status(status, &[]));
        let (options, waits) = options(&stub);
        info(&HttpHub::new(options).unwrap()).await.unwrap();
        assert_eq!((stub.count(INFO), waits.lock().unwrap().len()), (3, 2), "{status}");
    }
}

#[tokio::test]
async fn the_wait_that_the_hub_asks_for_is_kept_if_it_is_bearable() {
    let (_root, stub) = stub();
    stub.inject(INFO, 1, &Fault::status(429, &[("ratelimit", "\"api\";r=0;t=55")]));
    let (options, waits) = options(&stub);
    let hub = HttpHub::new(options).unwrap();
    info(&hub).await.unwrap();
    assert_eq!(*waits.lock().unwrap(), [Duration::from_secs(56)]);
    stub.inject(INFO, 1, &Fault::status(503, &[("retry-after", "3600")]));
    let refused = info(&hub).await.unwrap_err();
    assert!(refused.is_transient() && matches!(refused, HubError::Status { status: 503, .. }), "{refused}");
    assert_eq!(waits.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_that_stays_is_returned_after_five_tries() {
    let (_root, stub) = stub();
    stub.inject(INFO, usize::MAX, &Fault::status(502, &[("x-error-message", "no luck")]));
    let error = info(&client(&stub)).await.unwrap_err();
    let url = format!("{}{INFO}", stub.endpoint());
    assert_eq!(error, HubError::Status { status: 502, url, message: "no luck".to_owned() });
    assert_eq!(stub.count(INFO), 5);
}

#[tokio::test]
async fn final_failures_are_not_repeated() {
    for status in [400, 403, 404, 410, 501] {
        let (_root, stub) = stub();
        stub.inject(INFO, usize::MAX, &Fault::status(status, &[]));
        assert!(info(&client(&stub)).await.is_err());
        assert_eq!(stub.count(INFO), 1, "{status}");
    }
}

#[tokio::test]
async fn a_cut_connection_is_read_again() {
    let (_root, stub) = stub();
    stub.inject(FILE, 2, &Fault::CutAfter(3));
    assert_eq!(read(&client(&stub), 0, 10).await.unwrap(), "0123456789");
    assert_eq!(stub.count(FILE), 3);
}

#[tokio::test]
async fn a_silent_hub_times_out() {
    let (_root, stub) = stub();
    let gate = stub.hold(INFO);
    let (mut options, _) = options(&stub);
    options.timeout_ms = 20;
    let error = info(&HttpHub::new(options).unwrap()).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable(_)), "{error}");
    drop(gate);
}

#[tokio::test]
async fn a_stopped_hub_is_unreachable() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    info(&hub).await.unwrap();
    drop(stub);
    let error = info(&hub).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable(_)) && error.is_transient(), "{error}");
}

//! SIGTERM and SIGINT: the first asks the node to stop, the second ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice.
const IMPATIENT: i32 = 130;

/// Cancels `stop` at the first signal.
///
/// # Errors
/// When the process cannot listen for signals.
pub fn listen(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        wait(&mut terminate, &mut interrupt).await;
        tracing::info!("shutting down; a second signal ends the node at once");
        stop.cancel();
        wait(&mut terminate, &mut interrupt).await;
        tracing::warn!("ending at once, running jobs will be repeated");
        std::process::exit(IMPATIENT);
    });
    Ok(())
}

async fn wait(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

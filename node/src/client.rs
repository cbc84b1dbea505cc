//! The client commands: what is asked of a node that runs, and how its answers look.
//!
//! Owns the output of `node status`, `refresh`, `backfill`, `cancel` and `rows`: results on stdout, one line on stderr when
//! something is wrong, with what to do next. What a node sends is printed without its control characters.

mod connection;
mod replica_status;
mod rows;
mod status;
mod table;

use std::io::Write;

use crate::cli::Command;
use crate::http::routes::admin::wire::Done;
use connection::Connection;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The node, or the way to it, failed.
    #[error("{0}")]
    Failed(String),
}

impl ClientError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Runs one command.
///
/// # Errors
/// [`ClientError`] with a sentence for the person at the terminal.
pub fn run(command: &Command) -> Result<(), ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ClientError::Failed(format!("failed to start: {error}")))?;
    let output = runtime.block_on(output_of(command))?;
    // A closed stdout, as of `node status | head`, is no failure.
    let _ = std::io::stdout().write_all(output.as_bytes());
    Ok(())
}

async fn output_of(command: &Command) -> Result<String, ClientError> {
    match command {
        Command::Demo => {
            let ended = crate::demo::run().await;
            ended.map(|()| String::new()).map_err(|error| ClientError::Failed(format!("{error:#}")))
        }
        Command::Status { node, json } => {
            let answer = Connection::of_operator(node)?.get("/admin/status", &[]).await?;
            if *json { Ok(format!("{}\n", plain(&answer))) } else { readable_status(&answer) }
        }
        Command::Refresh { dataset, priority, node } => {
            let query = [("dataset", dataset.as_str()), ("priority", priority)];
            let done: Done = Connection::of_operator(node)?.post("/admin/recreate-dataset", &query).await?;
            Ok(format!("{dataset} is computed again, {}\n", jobs(done.jobs_created, "queued")))
        }
        Command::Backfill { dataset, retry_errors, node } => {
            let retry_errors = if *retry_errors { "true" } else { "false" };
            let mut query = vec![("retry_errors", retry_errors)];
            query.extend(dataset.as_deref().map(|dataset| ("dataset", dataset)));
            let done: Done = Connection::of_operator(node)?.post("/admin/backfill", &query).await?;
            Ok(match dataset {
                Some(dataset) => format!("{dataset}: {}\n", jobs(done.jobs_created, "queued")),
                None => "the node looks through all datasets now; follow it with node status\n".to_owned(),
            })
        }
        Command::Cancel { dataset, node } => {
            let query = [("dataset", dataset.as_str())];
            let done: Done = Connection::of_operator(node)?.post("/admin/cancel", &query).await?;
            Ok(format!("{dataset}: {}\n", jobs(done.jobs_cancelled, "cancelled")))
        }
        Command::Rows { dataset, config, split, offset, length, node } => {
            let connection = Connection::of_reader(node)?;
            let wanted = rows::Wanted { dataset, config: config.as_deref(), split: split.as_deref() };
            rows::table(&connection, &wanted, *offset, *length).await
        }
    }
}

/// A replica tells other things than a node with a queue.
fn readable_status(answer: &str) -> Result<String, ClientError> {
    match serde_json::from_str(answer) {
        Ok(replica) => Ok(replica_status::render(&replica)),
        Err(_) => Ok(status::render(&parse(answer)?)),
    }
}

fn jobs(count: Option<usize>, what: &str) -> String {
    match count.unwrap_or(0) {
        0 => format!("no job {what}"),
        1 => format!("1 job {what}"),
        count => format!("{count} jobs {what}"),
    }
}

fn parse<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, ClientError> {
    serde_json::from_str(answer).map_err(|error| {
        ClientError::Failed(format!(
            "the answer is not that of an Outpost node of this version ({error}); is --node right?"
        ))
    })
}

/// Text without characters that a terminal would act on.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_sent_control_characters() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
    }

    #[test]
    fn counts_read_as_a_person_would_say_them() {
        assert_eq!(jobs(None, "queued"), "no job queued");
        assert_eq!(jobs(Some(1), "queued"), "1 job queued");
        assert_eq!(jobs(Some(2), "cancelled"), "2 jobs cancelled");
    }
}

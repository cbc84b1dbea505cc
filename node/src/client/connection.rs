//! Requests to a node.
//!
//! Owns where the token goes: to the node that it was given for. The token of a data directory on this machine is sent to
//! this machine only. Follows no redirects, waits at most [`limits::CLIENT_TIMEOUT_MS`], reads at most
//! [`limits::CLIENT_ANSWER_BYTES_MAX`].

use std::path::Path;
use std::time::Duration;

use outpost_model::limits;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::{ClientError, parse, plain};
use crate::admin_token::AdminToken;
use crate::cli::NodeArgs;

/// A way to a node.
pub(super) struct Connection {
    base: Url,
    http: reqwest::Client,
    token: Token,
}

/// The token of an operator, and where it is from.
enum Token {
    NotNeeded,
    Given(AdminToken),
    FromDirectory(AdminToken),
    Missing { looked_in: Option<String> },
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

impl Connection {
    /// A way for what everyone may read.
    pub(super) fn of_reader(node: &str) -> Result<Self, ClientError> {
        let base = parse_node(node)?;
        Ok(Self { http: client(&base)?, base, token: Token::NotNeeded })
    }

    /// A way for what operators do.
    pub(super) fn of_operator(arguments: &NodeArgs) -> Result<Self, ClientError> {
        let base = parse_node(&arguments.node)?;
        let token = find_token(&base, arguments)?;
        Ok(Self { http: client(&base)?, base, token })
    }

    /// The text of a successful answer.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, ClientError> {
        self.send(Method::GET, path, query).await
    }

    /// The JSON of a successful answer.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        parse(&self.send(Method::POST, path, query).await?)
    }

    async fn send(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<String, ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        let mut request = self.http.request(method, url);
        if let Token::Given(token) | Token::FromDirectory(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let text = self.read(response).await?;
        if status.is_success() { Ok(text) } else { Err(self.refused(status, &text)) }
    }

    async fn read(&self, mut response: Response) -> Result<String, ClientError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limits::CLIENT_ANSWER_BYTES_MAX {
                return Err(ClientError::Failed(format!(
                    "the answer of {} is too long to be read",
                    self.shown()
                )));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let node = self.shown();
        let why = if error.is_timeout() {
            format!("{node} did not answer in time; look at its log, or try again")
        } else if error.is_connect() {
            format!(
                "no node answers at {node}; start one with `node --hub FOLDER`, or give its URL with --node"
            )
        } else {
            format!("the connection to {node} failed: {}", chain(error))
        };
        ClientError::Failed(why)
    }

    fn refused(&self, status: StatusCode, text: &str) -> ClientError {
        let node = self.shown();
        let said = serde_json::from_str::<ErrorAnswer>(text).ok().map(|answer| plain(&answer.error));
        let text = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, Token::Missing { looked_in }) => no_token(&node, looked_in.as_deref()),
            (StatusCode::UNAUTHORIZED, Token::Given(_)) => {
                format!("{node} refuses the token; check --admin-token or OUTPOST_ADMIN_TOKEN")
            }
            (StatusCode::UNAUTHORIZED, Token::FromDirectory(_)) => format!(
                "{node} refuses the token of this data directory; it runs with another one: give its --admin-token, or \
                 its --data-dir"
            ),
            (StatusCode::NOT_FOUND, _) if said.is_none() => {
                format!("{node} does not know this request; is it a primary of this version?")
            }
            (_, _) => said.unwrap_or_else(|| format!("{node} answered {status}; look at its log")),
        };
        ClientError::Failed(text.replace('\n', " "))
    }

    /// The node's address as it may be shown.
    fn shown(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

fn no_token(node: &str, looked_in: Option<&str>) -> String {
    match looked_in {
        Some(file) => format!(
            "{node} asks for its admin token and there is none in {file}; give the node's --data-dir, or --admin-token"
        ),
        None => format!("{node} asks for its admin token; give it with --admin-token or OUTPOST_ADMIN_TOKEN"),
    }
}

fn parse_node(text: &str) -> Result<Url, ClientError> {
    let wrong = || {
        ClientError::Usage(
            "--node: give an http:// or https:// URL, such as http://localhost:8000".to_owned(),
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none();
    if is_usable { Ok(url) } else { Err(wrong()) }
}

fn find_token(base: &Url, arguments: &NodeArgs) -> Result<Token, ClientError> {
    if let Some(text) = arguments.admin_token.as_deref().filter(|text| !text.is_empty()) {
        let token = AdminToken::new(text);
        return token.map(Token::Given).ok_or_else(|| {
            ClientError::Usage(
                "--admin-token: no node has such a token, it is too short or not plain text".to_owned(),
            )
        });
    }
    if !is_this_machine(base) {
        return Ok(Token::Missing { looked_in: None });
    }
    let data_dir = Path::new(&arguments.data_dir);
    let file = AdminToken::file(data_dir).display().to_string();
    match AdminToken::read(data_dir) {
        Ok(Some(token)) => Ok(Token::FromDirectory(token)),
        Ok(None) => Ok(Token::Missing { looked_in: Some(file) }),
        Err(error) => Err(ClientError::Failed(format!(
            "{file} cannot be read ({error}); run this as the user that the node runs as, or give --admin-token"
        ))),
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn client(base: &Url) -> Result<reqwest::Client, ClientError> {
    let failed = |why: String| ClientError::Failed(format!("the connection cannot be set up: {why}"));
    let mut builder = outpost_hub::client_builder(base)
        .map_err(|error| failed(error.to_string()))?
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_millis(limits::CLIENT_TIMEOUT_MS));
    if is_this_machine(base) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| failed(chain(&error)))
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(node: &str, token: Option<&str>, data_dir: &Path) -> NodeArgs {
        let data_dir = data_dir.to_str().unwrap().to_owned();
        NodeArgs { node: node.to_owned(), admin_token: token.map(str::to_owned), data_dir }
    }

    #[test]
    fn a_found_token_stays_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        AdminToken::of_directory(directory.path()).unwrap();
        for (node, is_sent) in [
            ("http://localhost:8000", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example:8000", false),
            ("https://viewer.example", false),
            ("http://10.0.0.1", false),
        ] {
            let url = parse_node(node).unwrap();
            let token = find_token(&url, &arguments(node, None, directory.path())).unwrap();
            assert_eq!(matches!(token, Token::FromDirectory(_)), is_sent, "{node}");
            let given = arguments(node, Some("0123456789abcdef"), directory.path());
            assert!(matches!(find_token(&url, &given).unwrap(), Token::Given(_)), "{node}");
        }
    }

    #[test]
    fn unusable_addresses_are_a_mistake_of_the_command_line() {
        for node in ["localhost:8000", "ftp://x", "http://u:p@x", "http://x?y", ""] {
            assert!(matches!(parse_node(node), Err(ClientError::Usage(_))), "{node}");
        }
    }
}

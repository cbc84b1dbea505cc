//! The command line as the deploy files use it.

use clap::{CommandFactory, Parser};
use outpost_node::cli::Cli;
use outpost_node::config::Config;

/// The option that a variable of ours stands for; `None` when `node --help` has none.
pub fn option_of(variable: &str) -> Option<String> {
    let command = Cli::command();
    let argument =
        command.get_arguments().find(|argument| argument.get_env().is_some_and(|name| name == variable))?;
    argument.get_long().map(|long| format!("--{long}"))
}

/// Arguments of a command line and of a file, as one command line.
pub fn with_variables<'a>(
    arguments: &[&str],
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    for (name, value) in variables {
        let option = option_of(name).unwrap_or_else(|| panic!("node --help has no option for {name}"));
        all.push(format!("{option}={value}"));
    }
    all
}

/// What a node makes of them in an environment.
pub fn resolve(arguments: &[String], environment: &[(&str, &str)]) -> Result<Config, String> {
    let arguments = ["node".to_owned()].into_iter().chain(arguments.iter().cloned());
    let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let find = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::resolve(&cli, &find).map_err(|error| error.to_string())
}

#[test]
fn a_variable_that_no_option_has_is_noticed() {
    assert_eq!(option_of("OUTPOST_SYNC_TOKEN").as_deref(), Some("--sync-token"));
    assert_eq!(option_of("OUTPOST_SINK_TOKEN"), None);
}

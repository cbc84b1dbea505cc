//! What fly.io tells a machine about itself, as defaults of options that are not given.
//!
//! Owns the platform's variables and their meaning here: the process group names the role, the app's names become the
//! public URL and the upstream. Pure: environment in, defaults out. Refuses a primary outside of the primary region,
//! where it would begin a second history, and a group that names no role. Elsewhere than on fly.io it says nothing.

use super::Role;
use super::values::{ConfigError, Environment};

/// Port of the listener for other nodes. `fly.toml` has it in no service: only the private network reaches it.
const SYNC_PORT: u16 = 8_001;
/// The group of machines of an app without process groups.
const ONLY_GROUP: &str = "app";

/// A machine of fly.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fly {
    app: String,
    process_group: Option<String>,
    region: Option<String>,
    primary_region: Option<String>,
}

impl Fly {
    /// The machine that this is, `None` when it is none.
    pub(super) fn detect(environment: &Environment<'_>) -> Option<Self> {
        Some(Self {
            app: environment.text("FLY_APP_NAME")?,
            process_group: environment.text("FLY_PROCESS_GROUP"),
            region: environment.text("FLY_REGION"),
            primary_region: environment.text("PRIMARY_REGION"),
        })
    }

    /// The role of the machine's process group, `None` for an app that has no groups.
    ///
    /// # Errors
    /// When the group is named after no role.
    pub(super) fn role(&self) -> Result<Option<Role>, ConfigError> {
        let Some(group) = self.process_group.as_deref().filter(|group| *group != ONLY_GROUP) else {
            return Ok(None);
        };
        Role::parse(group).map(Some).ok_or_else(|| {
            ConfigError::sentence(format!(
                "the process group '{group}' says nothing about the role: name it primary, worker or replica in \
                 fly.toml, or give --role"
            ))
        })
    }

    /// Passes a primary in the primary region only.
    ///
    /// # Errors
    /// When the machine is in another region.
    pub(super) fn check_primary_region(&self) -> Result<(), ConfigError> {
        match (&self.region, &self.primary_region) {
            (Some(region), Some(primary_region)) if region != primary_region => {
                Err(ConfigError::sentence(format!(
                    "--role primary belongs in the primary region {primary_region}, this machine is in {region}: a \
                     second primary would begin a history of its own; run a replica here, or change primary_region \
                     in fly.toml"
                )))
            }
            _ => Ok(()),
        }
    }

    /// What readers reach the app by, over the proxy of the nearest region.
    pub(super) fn public_url(&self) -> String {
        format!("https://{}.fly.dev", self.app)
    }

    /// The sync listener of the primary, by a name of the private network that always means the machines of today.
    pub(super) fn upstream(&self) -> String {
        format!("http://primary.process.{}.internal:{SYNC_PORT}", self.app)
    }

    /// Where the listener for other nodes is: the private network is IPv6.
    pub(super) fn sync_listen() -> String {
        format!("[::]:{SYNC_PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Option<Fly> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Fly::detect(&Environment::new(&find))
    }

    fn machine(variables: &[(&str, &str)]) -> Fly {
        detect(&[&[("FLY_APP_NAME", "viewer")], variables].concat()).unwrap()
    }

    #[test]
    fn elsewhere_than_on_fly_there_are_no_defaults() {
        assert_eq!(detect(&[]), None);
        assert_eq!(detect(&[("FLY_PROCESS_GROUP", "replica"), ("FLY_REGION", "ams")]), None);
        assert_eq!(detect(&[("FLY_APP_NAME", " ")]), None);
    }

    #[test]
    fn the_process_group_names_the_role() {
        for (group, role) in
            [("primary", Role::Primary), ("worker", Role::Worker), ("replica", Role::Replica)]
        {
            assert_eq!(machine(&[("FLY_PROCESS_GROUP", group)]).role(), Ok(Some(role)));
        }
        assert_eq!(machine(&[]).role(), Ok(None));
        assert_eq!(machine(&[("FLY_PROCESS_GROUP", "app")]).role(), Ok(None));
    }

    #[test]
    fn a_group_that_names_no_role_is_refused_with_what_to_do() {
        let message = machine(&[("FLY_PROCESS_GROUP", "edge")]).role().unwrap_err().to_string();
        assert!(message.contains("'edge'") && message.contains("--role"), "{message}");
    }

    #[test]
    fn a_primary_runs_in_the_primary_region_only() {
        let at = |region, primary| machine(&[("FLY_REGION", region), ("PRIMARY_REGION", primary)]);
        assert_eq!(at("ams", "ams").check_primary_region(), Ok(()));
        let message = at("nrt", "ams").check_primary_region().unwrap_err().to_string();
        assert!(message.contains("primary region ams") && message.contains("is in nrt"), "{message}");
        assert!(!message.contains('\n'), "{message}");
        // Nobody said which region is the primary one.
        assert_eq!(machine(&[("FLY_REGION", "nrt")]).check_primary_region(), Ok(()));
    }

    #[test]
    fn names_of_the_app_become_the_public_url_and_the_upstream() {
        let fly = machine(&[]);
        assert_eq!(fly.public_url(), "https://viewer.fly.dev");
        assert_eq!(fly.upstream(), "http://primary.process.viewer.internal:8001");
        assert_eq!(Fly::sync_listen(), "[::]:8001");
    }
}

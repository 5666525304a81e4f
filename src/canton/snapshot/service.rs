//! The services that make data snapshots, and how they are asked (SPEC-CANTON 3.1).

use crate::canton::http::{Address, Client};
use crate::canton::release::Splice;
use crate::canton::timestamp::Timestamp;

use super::judgement::Form;

/// Whose app is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// An SV's.
    Sv,
    /// A validator's.
    Validator,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose app.
    pub service: Service,
    /// The agreed time.
    pub timestamp: Timestamp,
    /// Only the contracts of this party.
    pub party_id: Option<String>,
    /// The id of the migration to come.
    pub migration_id: Option<u64>,
    /// Whether the time is taken as it is.
    pub is_forced: bool,
}

const SNAPSHOT: &str = "/v0/admin/domain/data-snapshot";

impl Service {
    fn base(self) -> &'static str {
        match self {
            Service::Sv => "/api/sv",
            Service::Validator => "/api/validator",
        }
    }

    /// The document that it answers with.
    pub fn form(self) -> Form {
        match self {
            Service::Sv => Form::Sv,
            Service::Validator => Form::Validator,
        }
    }

    /// The document that is kept of it.
    pub fn file_form(self) -> Form {
        match self {
            Service::Sv => Form::Sv,
            Service::Validator => Form::ValidatorFile,
        }
    }

    /// The path of the snapshots.
    pub fn snapshot_path(self) -> String {
        format!("{}{SNAPSHOT}", self.base())
    }

    /// The address without the path of the service itself, where the whole URL of the documentation was given.
    pub fn address(self, given: Address) -> Address {
        let path = given.path().to_owned();
        let base = self.base();
        let known = [format!("{base}{SNAPSHOT}"), format!("{base}/version"), base.to_owned()];
        let bare = known.iter().find_map(|end| path.strip_suffix(end.as_str()));
        match bare {
            Some(bare) => given.with_path(bare),
            None => given,
        }
    }

    /// The release that the app says it is of; `None` where it does not say.
    pub async fn release(self, client: &Client) -> Option<Splice> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: String,
        }
        let answer = client.get(&format!("{}/version", self.base()), &[]).await.ok()?;
        let said: Version = serde_json::from_slice(&answer.body).ok()?;
        said.version.parse().ok().filter(|_| answer.status == 200)
    }
}

impl Asked {
    /// The query of a request for this time.
    pub fn query(&self, timestamp: Timestamp) -> Vec<(&'static str, String)> {
        let mut query = vec![("timestamp", timestamp.to_string())];
        if let Some(party) = &self.party_id {
            query.push(("party_id", party.clone()));
        }
        if let Some(id) = self.migration_id {
            query.push(("migration_id", id.to_string()));
        }
        if self.is_forced {
            query.push(("force", "true".to_owned()));
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentations_whole_url_and_its_host_alone_are_the_same() {
        let address = |text: &str| Service::Sv.address(text.parse().unwrap()).to_string();
        for text in [
            "https://sv.sv.example",
            "https://sv.sv.example/",
            "https://sv.sv.example/api/sv",
            "https://sv.sv.example/api/sv/",
            "https://sv.sv.example/api/sv/v0/admin/domain/data-snapshot?timestamp=2024-04-17T19:12:02Z",
        ] {
            assert_eq!(address(text), "https://sv.sv.example", "{text}");
        }
        assert_eq!(address("https://gate.example/a/api/sv"), "https://gate.example/a");
        assert_eq!(address("https://gate.example/a"), "https://gate.example/a");
    }

    #[test]
    fn the_query_has_the_names_that_the_service_knows() {
        let asked = Asked {
            service: Service::Sv,
            timestamp: Timestamp::MIN,
            party_id: Some("DSO::1220".to_owned()),
            migration_id: Some(4),
            is_forced: true,
        };
        let at: Timestamp = "2024-04-17T19:12:02.5Z".parse().unwrap();
        let query: Vec<_> = asked
            .query(at)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            query.join("&"),
            "timestamp=2024-04-17T19:12:02.500Z&party_id=DSO::1220&migration_id=4&force=true"
        );
    }
}

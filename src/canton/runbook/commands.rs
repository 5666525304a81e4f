//! The commands of this program that plans are made of, each written in one place.

use super::parameters::{Installation, Parameters, given};
use super::step::{Check, Invocation, Word};

/// How long pods may take to come and go.
const PODS: &str = "10m";
/// How long a recovered SV may take to catch up before its verification gives up; the same command goes on waiting.
const CATCH_UP: &str = "1h";

/// Asked where a dump of identities is not without findings; what can't be used is refused when it is used.
pub(super) const READ_IDENTITIES: &str =
    "Something was found: read it. Go on with this dump of identities all the same?";

impl Installation {
    /// A file of this recovery.
    pub(super) fn file(&self, name: &str) -> String {
        match self.directory.as_str() {
            "" | "." => name.to_owned(),
            directory => format!("{}/{name}", directory.trim_end_matches('/')),
        }
    }

    pub(super) fn in_namespace(&self, command: Invocation) -> Invocation {
        let command = command.option("--namespace", self.namespace.as_str());
        self.cluster
            .iter()
            .fold(command, |command, word| command.arg(word.as_str()))
    }

    fn of_node(&self, command: &str, serial: Word, only: &[&str]) -> Invocation {
        self.in_namespace(Invocation::canton(&[command]))
            .option("--serial", serial)
            .each("--only", only.iter().copied())
    }

    /// Scales the parts of these kinds, or all of the SV where none is named.
    pub(super) fn scale(&self, down: bool, only: &[&str]) -> Invocation {
        let command = self.of_node("scale", self.serial.to_string().into(), only);
        command.arg(if down { "--down" } else { "--up" }).arg("--execute")
    }

    /// That the parts of these kinds, or all, have a ready replica; of the node with this serial.
    pub(super) fn ready(&self, says: &'static str, serial: Word, only: &[&str]) -> Check {
        Check::command(says, self.of_node("verify", serial, only).option("--wait", PODS))
    }

    /// That the sequencer of the node with this serial is set to these times.
    pub(super) fn is_set(&self, says: &'static str, serial: Word, times: Vec<(&str, Word)>) -> Check {
        let command = self.of_node("verify", serial, &["sequencer"]);
        let with = |command: Invocation, (option, time): (&str, Word)| command.option(option, time);
        Check::command(says, times.into_iter().fold(command, with))
    }

    /// That the parts of these kinds, or all, have no pod.
    pub(super) fn stopped(&self, says: &'static str, only: &[&str]) -> Check {
        let command = self.of_node("verify", self.serial.to_string().into(), only);
        Check::command(says, command.arg("--down"))
    }

    /// The verification at the end, with all that is known about the installation.
    /// Agreement counts from the time at which the step `started` began.
    pub(super) fn verify(&self, parameters: &Parameters, serial: Word, started: &'static str) -> Invocation {
        let command = self
            .of_node("verify", serial, &[])
            .option("--url", given(self.url.as_ref(), "url"))
            .option("--token-file", given(self.token_file.as_ref(), "token-file"))
            .maybe("--scan-url", self.scan_url.as_deref())
            .option("--splice", self.splice.to_string());
        let command = match parameters.fresh_logs.is_empty() {
            true => command,
            false => command
                .each("--log", parameters.fresh_logs.iter().map(String::as_str))
                .option("--since", Word::Began(started)),
        };
        command.option("--wait", CATCH_UP)
    }

    /// Judges a dump of identities; a migration needs a full one.
    pub(super) fn check_identities(&self, parameters: &Parameters, is_full: bool) -> Invocation {
        let command = Invocation::canton(&["identities", "check"]);
        let command = if is_full { command.arg("--full") } else { command };
        command.arg(given(parameters.identities.as_ref(), "identities"))
    }
}

/// Values that may be given more than once, or that they are still to be given.
pub(super) fn several(values: &[String], option: &'static str) -> Vec<Word> {
    match values.is_empty() {
        true => vec![Word::Open(option)],
        false => values.iter().map(|value| Word::from(value.as_str())).collect(),
    }
}

//! Names of Canton's members: a code, an identifier, and the fingerprint of the key that is its namespace (SPEC-CANTON 1.1).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Hexadecimal digits of a whole fingerprint: `1220` and a SHA-256.
const WHOLE: usize = 68;
/// Hexadecimal digits that Canton's logs keep of one.
pub const SHORTENED: usize = 12;
/// Characters of the longest identifier.
pub const LONGEST_IDENTIFIER: usize = 185;

/// A participant as logs and databases name it: `PAR::identifier::1220…`. Logs keep the first twelve digits of the
/// fingerprint, so that two names are the same participant when identifier and these twelve are: that is how they are
/// compared and ordered. A whole fingerprint is kept where one was seen.
#[derive(Clone)]
pub struct Participant {
    // Shared by copies: evidence holds one for each comparison.
    identifier: Arc<str>,
    /// 12 or 68 hexadecimal digits.
    fingerprint: Arc<str>,
}

/// Why a text names no participant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a participant such as PAR::Digital-Asset-2::12205f1149bc..., with 12 or 68 hexadecimal digits after the last ::"
)]
pub struct NotAParticipant;

impl Participant {
    /// Parses `[PAR::]identifier::fingerprint[...]`.
    pub fn parse(text: &str) -> Option<Participant> {
        let text = text.strip_prefix("PAR::").unwrap_or(text);
        let text = text.strip_suffix("...").unwrap_or(text);
        let (identifier, fingerprint) = text.rsplit_once("::")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | ' ' | '-');
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let fits = (1..=LONGEST_IDENTIFIER).contains(&identifier.len())
            && identifier.chars().all(legal)
            && !identifier.contains("::")
            && [SHORTENED, WHOLE].contains(&fingerprint.len())
            && fingerprint.bytes().all(hex);
        fits.then(|| Participant {
            identifier: identifier.into(),
            fingerprint: fingerprint.into(),
        })
    }

    /// What stands before the fingerprint.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The fingerprint, as far as it is known: 12 or 68 hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The first twelve digits of the fingerprint.
    pub fn shortened(&self) -> &str {
        self.fingerprint.get(..SHORTENED).unwrap_or(&self.fingerprint)
    }

    /// Whether the whole fingerprint is known.
    pub fn is_whole(&self) -> bool {
        self.fingerprint.len() == WHOLE
    }

    /// Whether two names that are equal as far as logs tell are of different participants after all.
    pub fn contradicts(&self, other: &Participant) -> bool {
        self == other && self.is_whole() && other.is_whole() && self.fingerprint != other.fingerprint
    }

    fn key(&self) -> (&str, &str) {
        (&self.identifier, self.shortened())
    }
}

impl PartialEq for Participant {
    fn eq(&self, other: &Participant) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Participant {}

impl PartialOrd for Participant {
    fn partial_cmp(&self, other: &Participant) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Participant {
    fn cmp(&self, other: &Participant) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl std::hash::Hash for Participant {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Participant {
    /// Shortened, as logs print it: the same for a name that was seen whole and one that was not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PAR::{}::{}...", self.identifier, self.shortened())
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Participant {
    type Err = NotAParticipant;

    fn from_str(text: &str) -> Result<Participant, NotAParticipant> {
        Participant::parse(text).ok_or(NotAParticipant)
    }
}

impl Serialize for Participant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Participant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Participant, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_logs_and_databases_are_the_same_participant() {
        let hash = format!("12205f1149bc{}", "0".repeat(56));
        let logged: Participant = "PAR::Digital-Asset-Eng-4::12205f1149bc...".parse().unwrap();
        let stored: Participant = format!("PAR::Digital-Asset-Eng-4::{hash}").parse().unwrap();
        let bare: Participant = "Digital-Asset-Eng-4::12205f1149bc".parse().unwrap();
        assert_eq!(logged, stored);
        assert_eq!(logged, bare);
        assert_eq!(stored.to_string(), "PAR::Digital-Asset-Eng-4::12205f1149bc...");
        let other: Participant = format!("Digital-Asset-Eng-4::12205f1149bc{}", "1".repeat(56))
            .parse()
            .unwrap();
        assert!(stored.contradicts(&other) && !stored.contradicts(&logged));
    }

    #[test]
    fn spaces_and_single_colons_are_legal_and_two_are_not() {
        let odd: Participant = "PAR::a b:c_d-e::12205f1149bc...".parse().unwrap();
        assert_eq!(odd.identifier(), "a b:c_d-e");
        for wrong in [
            "PAR::12205f1149bc...",
            "PAR::a::b::12205f1149bc...",
            "PAR::a::12205f1149",
            "PAR::a::12205F1149BC...",
            "PAR::é::12205f1149bc...",
            "PAR::::12205f1149bc...",
        ] {
            assert_eq!(wrong.parse::<Participant>(), Err(NotAParticipant), "{wrong}");
        }
        assert!(
            format!("{}::12205f1149bc", "a".repeat(186))
                .parse::<Participant>()
                .is_err()
        );
    }
}

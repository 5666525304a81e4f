//! Releases of Splice and Canton, and what each can do (SPEC-CANTON 0.1, 1.4, 3, 6).

use std::fmt;
use std::str::FromStr;

/// A release of Splice: `0.5.4`, also with what a build adds to it (`0.4.2-snapshot.…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Splice {
    /// The number before the first point.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// Why a text is no release of Splice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a release of Splice such as 0.5.4")]
pub struct NotARelease;

/// A release line of Canton: `3.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Canton {
    /// The number before the point.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
}

/// At which level Canton says that a commitment was correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// At DEBUG: only where the participant's log level was lowered.
    Debug,
    /// At INFO, the default of the Helm charts since Splice 0.5.0.
    Info,
    /// Not on the global synchronizer; a matcher says something weaker, at DEBUG.
    Never,
}

/// How the whole network is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkRecovery {
    /// From the data snapshots of all SVs at an agreed timestamp.
    DataSnapshot,
    /// By a logical synchronizer upgrade that rolls forward. `snapshot_answers`: the endpoint of the other way still
    /// answers, and nothing reads what it gives.
    RollForwardLsu {
        /// Whether a data snapshot can still be fetched, to no avail.
        snapshot_answers: bool,
    },
}

impl Splice {
    /// A release by its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Splice {
        Splice { major, minor, patch }
    }

    /// How the whole network is brought back with this release.
    pub fn network_recovery(self) -> NetworkRecovery {
        match self {
            _ if self < Splice::new(0, 6, 2) => NetworkRecovery::DataSnapshot,
            _ => NetworkRecovery::RollForwardLsu {
                snapshot_answers: self < Splice::new(0, 6, 7),
            },
        }
    }

    /// Whether the data snapshot is exported as releases from 0.5.5 on do: "too late" is HTTP 500, and a timestamp that is
    /// no record time needs `force`.
    pub fn has_new_export(self) -> bool {
        self >= Splice::new(0, 5, 5)
    }

    /// The line of Canton in it, where one is known.
    pub fn canton(self) -> Option<Canton> {
        let minor = match (self.major, self.minor) {
            (0, 0..=3) => 2,
            (0, 4) => 3,
            (0, 5) => 4,
            (0, 6) => 5,
            _ => return None,
        };
        Some(Canton { major: 3, minor })
    }
}

impl Canton {
    /// At which level it says that a commitment was correct.
    pub fn saying(self) -> Saying {
        match (self.major, self.minor) {
            (..=2, _) | (3, ..=3) => Saying::Debug,
            (3, 4..=5) => Saying::Info,
            _ => Saying::Never,
        }
    }
}

impl fmt::Display for Splice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Canton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Splice {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Splice, NotARelease> {
        let numbers = text.trim().split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers
            .split('.')
            .map(|part| match part.bytes().all(|b| b.is_ascii_digit()) {
                true => part.parse::<u32>().map_err(|_| NotARelease),
                false => Err(NotARelease),
            });
        let mut next = || parts.next().ok_or(NotARelease)?;
        let release = Splice::new(next()?, next()?, next()?);
        match parts.next() {
            None => Ok(release),
            Some(_) => Err(NotARelease),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_ordered() {
        let read = |text: &str| text.parse::<Splice>();
        assert_eq!(read("0.5.4"), Ok(Splice::new(0, 5, 4)));
        assert_eq!(read("0.4.2-snapshot.20250630.1"), Ok(Splice::new(0, 4, 2)));
        for wrong in [
            "",
            "0.5",
            "0.5.4.1",
            "v0.5.4",
            "0.5.x",
            "-1.0.0",
            "0.99999999999.1",
            "0.+5.1",
        ] {
            assert_eq!(read(wrong), Err(NotARelease), "{wrong}");
        }
        assert!(read("0.5.10").unwrap() > read("0.5.9").unwrap());
    }

    #[test]
    fn each_release_has_its_way_back() {
        use NetworkRecovery::{DataSnapshot, RollForwardLsu};
        let way = |text: &str| text.parse::<Splice>().unwrap().network_recovery();
        assert_eq!(way("0.6.1"), DataSnapshot);
        assert_eq!(way("0.6.2"), RollForwardLsu { snapshot_answers: true });
        assert_eq!(way("0.6.6"), RollForwardLsu { snapshot_answers: true });
        assert_eq!(
            way("0.6.7"),
            RollForwardLsu {
                snapshot_answers: false
            }
        );
        let level = |text: &str| text.parse::<Splice>().unwrap().canton().map(Canton::saying);
        assert_eq!(level("0.3.9"), Some(Saying::Debug));
        assert_eq!(level("0.4.9"), Some(Saying::Debug));
        assert_eq!(level("0.5.0"), Some(Saying::Info));
        assert_eq!(level("0.6.12"), Some(Saying::Info));
        assert_eq!(level("0.7.0"), None);
        assert_eq!(Canton { major: 3, minor: 6 }.saying(), Saying::Never);
    }
}

//! Which logger wrote a record, and of which synchronizer it speaks (SPEC-CANTON 1.3).

use std::borrow::Cow;

/// A logger whose records are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `AcsCommitmentProcessor`: all releases to 3.5, and 3.6 where it is not disabled.
    Processor,
    /// One of 3.6's `…AcsCommitment…` pipeline, such as `ReceivedAcsCommitmentMatcher`.
    Pipeline,
}

const PROCESSOR: &[u8] = b"AcsCommitmentProcessor";
const PIPELINE: [&[u8]; 2] = [b"ReceivedAcsCommitment", b"AcsCommitmentMatcher"];

/// The kind of a logger's name, such as `c.d.c.p.p.AcsCommitmentProcessor:participant=p/psid=…`; none where it is of no
/// interest. What is before the first colon is looked at, so that a synchronizer's or participant's name is not taken for it.
pub fn kind(name: &[u8]) -> Option<Kind> {
    let class = name.split(|byte| *byte == b':').next().unwrap_or_default();
    let has = |needle: &[u8]| memchr::memmem::find(class, needle).is_some();
    match () {
        () if class.ends_with(PROCESSOR) || has(PROCESSOR) => Some(Kind::Processor),
        () if PIPELINE.iter().any(|needle| has(needle)) => Some(Kind::Pipeline),
        () => None,
    }
}

/// A logger of interest in a text: its name, and where it begins. A name ends at a blank, a quote, a comma or a backslash.
pub fn find(text: &[u8]) -> Option<(&[u8], usize)> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\\' | b',');
    // Sentences and terms speak of `AcsCommitment(…)` too: a logger's name is in a package, or followed by whose it is.
    memchr::memmem::find_iter(text, b"AcsCommitment").find_map(|at| {
        let before = text.get(..at)?;
        let start = at - before.iter().rev().take(256).take_while(|byte| !ends(byte)).count();
        let rest = text.get(start..)?;
        let length = rest.iter().take(1024).take_while(|byte| !ends(byte)).count();
        let name = rest.get(..length)?;
        let is_name = memchr::memchr(b'=', name).is_some() || memchr::memchr(b'.', name.get(..at - start)?).is_some();
        (is_name && kind(name).is_some()).then_some((name, start))
    })
}

/// The synchronizer that a logger's name says, under whichever key the release has for it; empty where it says none. An id
/// is shortened to its alias and the first twelve digits of its fingerprint, without the serial and version of a physical
/// one, so that logs of several releases and of either side of an upgrade are about the same synchronizer.
pub fn synchronizer(name: &[u8]) -> Cow<'_, str> {
    const KEYS: [&[u8]; 5] = [b"psid=", b"synchronizerId=", b"synchronizer=", b"domainId=", b"domain="];
    let value = name
        .split(|byte| *byte == b'/')
        .flat_map(|part| {
            // The first part has the class before it: `…Processor:participant=p`.
            let (_, after) = split_class(part);
            KEYS.iter().find_map(move |key| after.strip_prefix(*key))
        })
        .next()
        .unwrap_or_default();
    let text = String::from_utf8_lossy(value);
    match text.split_once("::") {
        Some((alias, id)) if alias.len() <= 255 => {
            let digits: String = id.chars().take_while(char::is_ascii_hexdigit).take(12).collect();
            match digits.is_empty() {
                true => Cow::Owned(alias.to_owned()),
                false => Cow::Owned(format!("{alias}::{digits}")),
            }
        }
        _ => match text.char_indices().nth(255) {
            Some((end, _)) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned()),
            None => text,
        },
    }
}

fn split_class(part: &[u8]) -> (&[u8], &[u8]) {
    let equals = memchr::memchr(b'=', part).unwrap_or(part.len());
    match memchr::memrchr(b':', part.get(..equals).unwrap_or_default()) {
        Some(colon) => (
            part.get(..colon).unwrap_or_default(),
            part.get(colon + 1..).unwrap_or_default(),
        ),
        None => (&[], part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loggers_of_all_releases_name_their_synchronizer() {
        for (name, expected) in [
            (
                "c.d.c.p.p.AcsCommitmentProcessor:participant=participant/psid=global-domain::1220e959c972::34-0",
                "global-domain::1220e959c972",
            ),
            (
                "c.d.c.p.p.AcsCommitmentProcessor:participant=p/synchronizerId=global-domain::1220e959c972...",
                "global-domain::1220e959c972",
            ),
            (
                "c.d.c.p.p.AcsCommitmentProcessor:participant=p/domainId=global-domain::1220e959c97201234567",
                "global-domain::1220e959c972",
            ),
            (
                "c.d.c.p.p.AcsCommitmentProcessor:participant=p/domain=splitwell",
                "splitwell",
            ),
            ("AcsCommitmentProcessor:domain=splitwell", "splitwell"),
            (
                "c.d.c.p.c.ReceivedAcsCommitmentMatcher:participant=sv1Participant/synchronizer=global-domain::12203f4eb526",
                "global-domain::12203f4eb526",
            ),
            ("c.d.c.p.p.AcsCommitmentProcessor:participant=participant", ""),
        ] {
            assert_eq!(synchronizer(name.as_bytes()), expected, "{name}");
            assert!(kind(name.as_bytes()).is_some());
            let line = format!("2024-04-21 23:25:31,123 [env] INFO  {name} tid:1 - Persisted");
            assert_eq!(find(line.as_bytes()), Some((name.as_bytes(), 36)));
        }
    }

    #[test]
    fn terms_and_other_loggers_are_no_loggers_of_interest() {
        assert_eq!(kind(b"c.d.c.p.Other:participant=AcsCommitmentProcessor"), None);
        assert_eq!(find(b"Buffering AcsCommitment(sender = PAR::a::12205f1149bc...)"), None);
        assert_eq!(find(b"the AcsCommitmentProcessor says"), None);
        assert_eq!(kind(b""), None);
    }
}

//! A dump made of identities and a data snapshot (SPEC-CANTON 3.4): what `jq -s add` makes of good input, and a refusal of
//! everything else.
//!
//! The large parts are copied from file to file as they are, byte by byte, and the whole is read again before it gets its
//! name. Inputs are never written to.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::canton::finding::{Code, Ending, Finding, Findings};
use crate::canton::identities::{self, Shape};
use crate::canton::release::Splice;
use crate::canton::timestamp::Timestamp;
use crate::crypto::Sha256Stream;
use crate::error::{Error, Result};
use crate::report::Severity;
use crate::shown::{Show, excerpt};

use super::judgement::{Expected, Form, judge};
use super::output::{Part, beside, copy_to, write_sidecar_of};
use super::reading::{Document, Reading};
use super::shape::Found;

/// The members of a merged dump, and no others.
const MEMBERS: [&str; 5] = [
    "identities",
    "created_at",
    "migration_id",
    "data_snapshot",
    "participant_users",
];
const NO_USERS: &[u8] = br#"{"identityProviders":[],"users":[]}"#;

/// Whose users the dump gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Those of the data snapshot.
    OfData,
    /// Those of the data snapshot, though they are a donor's.
    OfDonor,
    /// None.
    Empty,
    /// The `participant_users` of this file.
    Of(PathBuf),
}

/// What to merge.
#[derive(Clone, Debug)]
pub struct Order {
    /// The file of identities.
    pub identities: PathBuf,
    /// Whether that may be a merged dump.
    pub is_from_merged: bool,
    /// The file of the data snapshot.
    pub data: PathBuf,
    /// Whether the data snapshot is another SV's.
    pub is_donors: bool,
    /// Whether the donor fetched the contracts of the DSO's party only.
    pub is_dso_only: bool,
    /// Whose users it gets.
    pub users: Users,
    /// The file to write.
    pub out: PathBuf,
    /// Whether a file that is there is replaced.
    pub replaces: bool,
    /// The agreed time.
    pub timestamp: Option<Timestamp>,
    /// The id of the migration.
    pub migration_id: Option<u64>,
    /// The release that will read it.
    pub release: Option<Splice>,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// As the exit code says it.
    pub ending: Ending,
    /// The dump, where it was made.
    pub document: Option<Document>,
    /// The SV that the identities are of, as far as they say.
    pub sv_party_id: Option<String>,
    /// The synchronizer that they are of.
    pub domain_id: Option<String>,
    /// What is to be said.
    pub findings: Vec<Finding>,
}

/// A part of the dump.
enum Piece {
    Text(&'static [u8]),
    /// Bytes in memory, which may be keys.
    Secret(Zeroizing<Vec<u8>>),
    /// Bytes of a file, from one offset to another.
    Span(PathBuf, u64, u64),
}

/// Merges.
///
/// # Errors
/// The system's; a target that is an input, or is there and not to be replaced.
pub fn merge(order: &Order) -> Result<Outcome> {
    refuse_inputs_as_target(order)?;
    let mut findings = Findings::default();
    let mut outcome = Outcome {
        ending: Ending::Negative,
        document: None,
        sv_party_id: None,
        domain_id: None,
        findings: Vec::new(),
    };
    let own = own_identities(order, &mut findings, &mut outcome)?;
    let pieces = pieces(order, own, &mut findings, &mut outcome)?;
    if let Some(pieces) = pieces.filter(|_| !findings.any_at_least(Severity::Error)) {
        outcome.document = write(order, &pieces, &mut findings)?;
        outcome.ending = Ending::Clean;
    }
    outcome.findings = findings.finish();
    if outcome.ending == Ending::Clean {
        outcome.ending = Ending::of(&outcome.findings);
    }
    Ok(outcome)
}

/// The documented commands read and write the same name. Here an input is not even shortened by mistake.
fn refuse_inputs_as_target(order: &Order) -> Result<()> {
    let users = match &order.users {
        Users::Of(path) => Some(path),
        _ => None,
    };
    let place = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    for end in ["", ".part", ".sha256", ".sha256.part"] {
        let written = beside(&order.out, end);
        for input in [&order.identities, &order.data].into_iter().chain(users) {
            let is_same = *input == written || place(&written).is_some_and(|target| place(input) == Some(target));
            if is_same {
                return Err(Error::Usage(format!(
                    "{} is an input, and writing --out {} would overwrite it; give --out another name",
                    input.shown(),
                    order.out.shown()
                )));
            }
        }
    }
    Ok(())
}

/// The value of `identities`, checked.
fn own_identities(order: &Order, findings: &mut Findings, outcome: &mut Outcome) -> Result<Option<Piece>> {
    let path = &order.identities;
    // Of a merged dump, whatever its size, the data are left out.
    let bytes = identities::read(path)?.bytes;
    let checked = identities::check(&bytes, Some(path));
    outcome.ending = checked.ending().max(Ending::Negative);
    outcome.sv_party_id.clone_from(&checked.sv_party_id);
    outcome.domain_id.clone_from(&checked.domain_id);
    let is_known = checked.shape.is_some();
    findings.append(checked.findings);
    if !is_known {
        return Ok(None);
    }
    let (shape, span) = match identities::document(&bytes) {
        Ok(document) => document,
        Err(finding) => {
            findings.push(finding.file(path));
            return Ok(None);
        }
    };
    if shape == Shape::Migration && !order.is_from_merged {
        let text = "it has a data_snapshot beside the identities";
        findings.push(Finding::new(Code::AlreadyMerged, text).file(path));
        return Ok(None);
    }
    let value = bytes.get(span).unwrap_or_default();
    Ok(Some(Piece::Secret(Zeroizing::new(value.to_vec()))))
}

fn value_of(found: &Found, name: &str) -> Option<(u64, u64)> {
    found.member(name).map(|member| (member.start, member.end))
}

/// All parts of the dump, in order; nothing where the data can't be used.
fn pieces(
    order: &Order,
    own: Option<Piece>,
    findings: &mut Findings,
    outcome: &mut Outcome,
) -> Result<Option<Vec<Piece>>> {
    let path = &order.data;
    let found = match Reading::default().file(path)? {
        Ok(document) => document.found,
        Err(fault) => {
            let finding = Finding::new(Code::DamagedSnapshot, fault.what).offset(fault.at);
            findings.push(finding.file(path));
            outcome.ending = outcome.ending.max(Ending::Unreadable);
            return Ok(None);
        }
    };
    let judged = judge(&found, &expected(order, Form::Sv));
    let is_good = !judged.any_at_least(Severity::Error);
    findings.extend(judged.finish().into_iter().map(|finding| finding.file(path)));
    if !is_good {
        return Ok(None);
    }
    let has_identities = found.member("identities").is_some();
    if has_identities && !order.is_donors {
        let text = "it has identities of its own, which would be left out";
        findings.push(Finding::new(Code::DataHasIdentities, text).file(path));
    }
    let unknown = found
        .members
        .iter()
        .filter(|member| !MEMBERS.contains(&member.name.as_str()));
    for member in unknown {
        let text = format!("it has a member {}", excerpt(&member.name));
        findings.push(Finding::new(Code::UnknownMembers, text).file(path).offset(member.start));
    }
    donors(order, findings);
    let span = |name: &str| value_of(&found, name).map(|(start, end)| Piece::Span(path.clone(), start, end));
    let users = match &order.users {
        Users::OfData | Users::OfDonor => span("participant_users"),
        Users::Empty => Some(Piece::Text(NO_USERS)),
        Users::Of(file) => own_users(file, findings)?,
    };
    let (Some(own), Some(created), Some(id), Some(snapshot), Some(users)) = (
        own,
        span("created_at"),
        span("migration_id"),
        span("data_snapshot"),
        users,
    ) else {
        return Ok(None);
    };
    Ok(Some(vec![
        Piece::Text(b"{\"identities\":"),
        own,
        Piece::Text(b",\"created_at\":"),
        created,
        Piece::Text(b",\"migration_id\":"),
        id,
        Piece::Text(b",\"data_snapshot\":"),
        snapshot,
        Piece::Text(b",\"participant_users\":"),
        users,
        Piece::Text(b"}\n"),
    ]))
}

fn donors(order: &Order, findings: &mut Findings) {
    if !order.is_donors {
        return;
    }
    if order.users == Users::OfData {
        let text = "participant_users are those of the donor";
        findings.push(Finding::new(Code::DonorsUsers, text).file(&order.data));
    }
    if !order.is_dso_only {
        let text =
            "a dump that was fetched without --party-id holds the donor's own contracts too, and nothing in it tells";
        findings.push(Finding::new(Code::DonorsParty, text).file(&order.data));
    }
}

/// The `participant_users` of another file.
fn own_users(path: &Path, findings: &mut Findings) -> Result<Option<Piece>> {
    let why = match Reading::default().file(path)? {
        Err(fault) => fault.to_string(),
        Ok(document) => {
            let found = document.found;
            let is_whole = found.users.is_some() && found.has_identity_providers && found.wrong.is_empty();
            match value_of(&found, "participant_users").filter(|_| is_whole) {
                Some((start, end)) => return Ok(Some(Piece::Span(path.to_owned(), start, end))),
                None => "it has no participant_users with users and identityProviders".to_owned(),
            }
        }
    };
    findings.push(Finding::new(Code::NoUsers, why).file(path));
    Ok(None)
}

fn expected(order: &Order, form: Form) -> Expected {
    Expected {
        form,
        timestamp: order.timestamp,
        migration_id: order.migration_id,
        release: order.release,
    }
}

fn copy_span(path: &Path, start: u64, end: u64, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    file.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
    copy_to(&mut file, path, end.saturating_sub(start), to)
}

/// Gives all bytes of the dump, in order.
fn give(pieces: &[Piece], to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    for piece in pieces {
        match piece {
            Piece::Text(bytes) => to(bytes)?,
            Piece::Secret(bytes) => to(bytes)?,
            Piece::Span(path, start, end) => copy_span(path, *start, *end, to)?,
        }
    }
    Ok(())
}

/// Writes the dump beside its name, reads it again, and gives it the name.
fn write(order: &Order, pieces: &[Piece], findings: &mut Findings) -> Result<Option<Document>> {
    if !order.replaces && std::fs::symlink_metadata(&order.out).is_ok() {
        return already_there(order, pieces, findings).map(Some);
    }
    let mut part = Part::open(&order.out)?;
    part.clear()?;
    let needs: u64 = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(bytes) => bytes.len() as u64,
            Piece::Secret(bytes) => bytes.len() as u64,
            Piece::Span(_, start, end) => end - start,
        })
        .sum();
    if let Some(has) = part.room().filter(|has| *has < needs) {
        let text = format!("the disk has {has} bytes free, and {needs} are needed");
        findings.push(Finding::new(Code::NoRoom, text).file(&order.out));
        part.remove();
        return Ok(None);
    }
    let mut hash = Sha256Stream::new();
    let given = give(pieces, &mut |bytes| {
        hash.update(bytes);
        part.write(bytes)
    });
    if let Err(why) = given {
        // What is there of it may be keys, and takes up the room that is lacking.
        part.remove();
        return Err(why);
    }
    let digest = hash.finish();
    let mut back = Findings::default();
    let document = match Reading::default().file(part.path())? {
        Ok(document) => {
            back.append(judge(&document.found, &expected(order, Form::Merged)));
            let names: Vec<_> = document
                .found
                .members
                .iter()
                .map(|member| member.name.as_str())
                .collect();
            if names != MEMBERS || document.digest != digest {
                back.push(Finding::new(Code::NotReadBack, "it is not what was written"));
            }
            Some(document)
        }
        Err(fault) => {
            back.push(Finding::new(Code::NotReadBack, fault.what).offset(fault.at));
            None
        }
    };
    match document.filter(|_| !back.any_at_least(Severity::Error)) {
        Some(document) => {
            part.finish(&digest, order.replaces)?;
            Ok(Some(document))
        }
        None => {
            part.remove();
            findings.extend(back.finish().into_iter().map(|finding| finding.file(&order.out)));
            Ok(None)
        }
    }
}

/// Something has the name: it may be this very dump, of a run that was killed at its end.
fn already_there(order: &Order, pieces: &[Piece], findings: &mut Findings) -> Result<Document> {
    let mut hash = Sha256Stream::new();
    give(pieces, &mut |bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    let digest = hash.finish();
    match Reading::default().file(&order.out)? {
        Ok(document) if document.digest == digest => {
            let text = "it is what these inputs make, byte by byte";
            findings.push(Finding::new(Code::AlreadyThere, text).file(&order.out));
            write_sidecar_of(&order.out, &digest)?;
            Ok(document)
        }
        _ => Err(Error::Usage(format!(
            "{} is there already and is something else. It was left as it is; give another --out, or --replace",
            order.out.shown()
        ))),
    }
}

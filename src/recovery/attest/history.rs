//! The lives of nodes, entry after entry: how each came in, by which policy, each step, and whether its evidence stayed.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::identity::Identity;
use super::judge::{Batch, Settings, Waiting, digest_of};
use super::report::{How, NodeReport, NodeStep};
use super::tables::{Origin, Table, Tables};
use super::tell::Record;
use crate::attestation::Evidence;
use crate::crypto::{Certificate, Digest, sha256};
use crate::format::Seqno;
use crate::format::chunk::Located;
use crate::recovery::scan::MAX_TRUST_BYTES;
use crate::report::{Code, Finding, Findings};
use crate::shown::excerpt;
use crate::tables::json::Fields;
use crate::tables::names;
use crate::tables::values::{ServiceInfo, from_json};

/// Proposals listed of one transaction: real ones accept one.
const MAX_PROPOSALS: usize = 4;
/// Bytes of a node's or proposal's id that is looked at: real ones have 64.
const MAX_ID_BYTES: usize = 64;
/// Nodes that are judged: services have had a few hundred in all their life.
const MAX_NODES: usize = 20_000;
/// Steps of one node, and changes of its evidence, that are listed: a node takes four steps, and never changes.
const MAX_STEPS: usize = 100;
/// A copy of a policy larger than this is not made: who waits with it is judged first.
const LARGE_POLICY_BYTES: usize = 256 << 10;

/// All nodes so far, and the policy in force.
pub(super) struct Lives<'s> {
    settings: &'s Settings,
    tables: Arc<Tables>,
    lives: Vec<Life>,
    /// By node id.
    known: HashMap<String, usize>,
    batch: Batch,
    /// The service in force: its key's digest.
    service: Option<Digest>,
    /// Where there were too many nodes.
    unjudged: Option<Finding>,
    pub(super) findings: Findings,
}

/// One node.
struct Life {
    /// Of the text of its `quote_info`, and of what stands in it.
    text_digest: Digest,
    evidence_digest: Option<Digest>,
    identity: Identity,
    steps: Vec<NodeStep>,
    changed_at: Vec<Seqno>,
    report: Option<NodeReport>,
}

impl Life {
    /// Another write; it is a step if the status is another one.
    fn take(&mut self, step: NodeStep) {
        if self.steps.len() < MAX_STEPS && self.steps.last().is_none_or(|last| last.status != step.status) {
            self.steps.push(step);
        }
    }

    /// Another change of what must stay as it is; whether there is room to say so.
    fn has_changed_at(&mut self, seqno: Seqno) -> bool {
        let has_room = self.changed_at.len() < MAX_STEPS;
        if has_room && self.changed_at.last() != Some(&seqno) {
            self.changed_at.push(seqno);
        }
        has_room
    }
}

/// What an entry does beside writing nodes.
#[derive(Default)]
struct Entry {
    proposals: Vec<String>,
    /// Members decided something in it.
    is_decision: bool,
    /// It begins a service; whether there was one before.
    begins: Option<bool>,
}

impl<'s> Lives<'s> {
    pub(super) fn new(settings: &'s Settings) -> Self {
        Lives {
            settings,
            tables: Arc::default(),
            lives: Vec::new(),
            known: HashMap::new(),
            batch: Batch::default(),
            service: None,
            unjudged: None,
            findings: Findings::default(),
        }
    }

    /// A row of a snapshot's state, in any order but nodes last.
    pub(super) fn restore(&mut self, table: &str, key: &[u8], value: &[u8], seqno: Seqno) {
        if let Some(policies) = Table::named(table) {
            let origin = Origin {
                seqno,
                proposals: [].into(),
            };
            self.apply_policy(policies, key, Some(value), &origin);
        } else if table == names::SERVICE_INFO {
            self.service = service_of(value);
        } else if table == names::NODES_INFO {
            self.take_node(key, Some(value), seqno, (How::Snapshot, None), &[].into());
        }
    }

    /// The next entry that says something about nodes. What can't be read in it has been reported.
    pub(super) fn take(&mut self, located: &Located<'_>, is_sparse: impl Fn(&[u8]) -> bool) {
        let seqno = located.seqno;
        let readable = |bytes: &[u8]| bytes.len() <= MAX_TRUST_BYTES && !is_sparse(bytes);
        let mut entry = Entry::default();
        let mut service = None;
        each_write(located, |table, key, value| match (table, value) {
            (names::PROPOSALS_INFO, Some(value)) if readable(value) && is_accepted(value) => {
                entry.is_decision = true;
                if entry.proposals.len() < MAX_PROPOSALS && is_proposal_id(key) {
                    entry.proposals.push(String::from_utf8_lossy(key).into_owned());
                }
            }
            // In 1.x a proposal and what became of it are one.
            (names::PROPOSALS, Some(_)) => entry.is_decision = true,
            (names::SERVICE_INFO, Some(value)) if readable(value) => service = service_of(value).or(service),
            _ => {}
        });
        if service.is_some() && service != self.service {
            entry.begins = Some(self.service.is_some());
            self.service = service;
        }
        let origin = Origin {
            seqno,
            proposals: entry.proposals.into(),
        };
        // Policies of the entry before let a node in; a service begins with those that its first entry writes.
        match entry.begins {
            None => {
                self.take_nodes(located, &readable, How::Admitted, &origin);
                if let (Some(first), false) = (self.take_policies(located, &readable, &origin), entry.is_decision) {
                    self.by_nobody(&first, seqno);
                }
            }
            Some(is_recovery) => {
                let before = is_recovery.then(|| Tables::clone(&self.tables));
                self.take_policies(located, &readable, &origin);
                if let Some(before) = before {
                    self.compare_with(&before, seqno);
                }
                let known = self.lives.len();
                self.take_nodes(located, &readable, How::SelfDeclared, &origin);
                self.expect_one_founder(self.lives.len() - known, seqno);
            }
        }
    }

    /// Between two beginnings only members change what is asked of nodes.
    fn by_nobody(&mut self, first: &str, seqno: Seqno) {
        let text = format!(
            "what is asked of nodes is changed, {first} first, in a transaction that accepts no proposal, expected a decision \
             of the members"
        );
        self.findings
            .push(Finding::new(Code::PolicyByNobody, text).seqno(seqno));
    }

    /// One node begins a service, and declares itself: whoever comes with it was looked at by nobody.
    fn expect_one_founder(&mut self, count: usize, seqno: Seqno) {
        if count > 1 {
            let text = format!(
                "{count} nodes declare themselves good in the transaction that begins a service, expected the one that \
                 begins it: others are let in by the service"
            );
            self.findings.push(Finding::new(Code::NotAllowed, text).seqno(seqno));
        }
    }

    fn take_nodes(&mut self, located: &Located<'_>, readable: &impl Fn(&[u8]) -> bool, how: How, origin: &Origin) {
        each_write(located, |table, key, value| {
            if table == names::NODES_INFO && value.is_none_or(readable) {
                let tables = Some(Arc::clone(&self.tables));
                self.take_node(key, value, origin.seqno, (how, tables), &origin.proposals);
            }
        });
    }

    /// Answers the first row that it changed, in words.
    fn take_policies(
        &mut self,
        located: &Located<'_>,
        readable: &impl Fn(&[u8]) -> bool,
        origin: &Origin,
    ) -> Option<String> {
        let mut first = None;
        each_write(located, |name, key, value| {
            let Some(table) = Table::named(name) else {
                return;
            };
            if first.is_none() {
                self.make_room();
                first = Some(format!("{} of {name}", excerpt(&String::from_utf8_lossy(key))));
            }
            match value.is_none_or(readable) {
                true => self.apply_policy(table, key, value, origin),
                false => {
                    let text = format!("a row of {name} has more bytes than any has, or was never written to the file");
                    self.bad_row(text, origin.seqno);
                }
            }
        });
        first
    }

    /// Before the policy changes: it is copied if somebody waits with it as it is.
    fn make_room(&mut self) {
        if Arc::strong_count(&self.tables) == 1 {
            return;
        }
        match self.tables.size_bytes() {
            size @ ..LARGE_POLICY_BYTES => self.batch.keep_copy(size),
            _ => self.judge(),
        }
    }

    fn apply_policy(&mut self, table: Table, key: &[u8], value: Option<&[u8]>, origin: &Origin) {
        if let Err(why) = Arc::make_mut(&mut self.tables).apply(table, key, value, origin) {
            self.bad_row(why, origin.seqno);
        }
    }

    fn bad_row(&mut self, why: String, seqno: Seqno) {
        self.findings.push(Finding::new(Code::PolicyRow, why).seqno(seqno));
    }

    /// A recovery writes what its node runs over what members had decided.
    fn compare_with(&mut self, before: &Tables, seqno: Seqno) {
        let weakened = self.tables.weakened_since(before);
        for (code, what, rows) in [
            (Code::TcbLowered, "lowers the minimum TCB of", weakened.minima),
            (Code::FeedsDropped, "drops the trusted feed", weakened.feeds),
        ] {
            if let Some(first) = rows.first() {
                let more = match rows.len() {
                    1 => String::new(),
                    count => format!(", and {} more", count - 1),
                };
                let text = format!("the recovery {what} {first}{more}, expected what the members had decided");
                self.findings.push(Finding::new(code, text).seqno(seqno));
            }
        }
    }

    fn take_node(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        seqno: Seqno,
        (how, tables): (How, Option<Arc<Tables>>),
        proposals: &Arc<[String]>,
    ) {
        // What is no node's id was reported by the verification.
        let Some(id) = std::str::from_utf8(key).ok().filter(|id| id.len() <= MAX_ID_BYTES) else {
            return;
        };
        let step = |status: String| NodeStep {
            seqno,
            status,
            proposals: proposals.to_vec(),
        };
        let Some(value) = value else {
            // Should it come back, it asks anew, and is held against the policy of then.
            if let Some(life) = self.known.remove(id).and_then(|index| self.lives.get_mut(index)) {
                life.take(step("Removed".to_owned()));
            }
            return;
        };
        let Ok(fields) = from_json::<Fields>(value) else {
            return;
        };
        let status = status_of(&fields);
        let quote_info = fields.get("quote_info").map(|info| info.text().as_bytes());
        let quote_info = quote_info.filter(|info| *info != b"null");
        let text_digest = sha256(quote_info.unwrap_or_default());
        let evidence = || match quote_info {
            Some(info) => Evidence::from_quote_info(info),
            None => Ok(Evidence::default()),
        };
        let record = Record {
            node: id.to_owned(),
            from_seqno: seqno,
            how,
            public_key: fields.read("public_key").or_else(|| fields.read("cert")),
            code_digest: fields.read("code_digest"),
            request: fields.read("certificate_signing_request"),
        };
        let Some(life) = self.known.get(id).and_then(|index| self.lives.get_mut(*index)) else {
            if self.lives.len() >= MAX_NODES {
                let text = format!(
                    "there are more than {MAX_NODES} nodes, expected no more than any service has: those from here on are not judged"
                );
                self.unjudged
                    .get_or_insert_with(|| Finding::new(Code::EvidenceUnreadable, text).seqno(seqno));
                return;
            }
            let evidence = evidence();
            self.known.insert(id.to_owned(), self.lives.len());
            self.lives.push(Life {
                text_digest,
                evidence_digest: digest_of(&evidence),
                identity: Identity::of(&record),
                steps: vec![step(status)],
                changed_at: Vec::new(),
                report: None,
            });
            self.batch.push(Waiting {
                index: self.lives.len() - 1,
                evidence,
                record,
                tables,
            });
            // Here, not once an entry: one entry, or a snapshot, can hold any number of them.
            if self.batch.is_full() {
                self.judge();
            }
            return;
        };
        life.take(step(status));
        if life.text_digest != text_digest {
            life.text_digest = text_digest;
            let digest = digest_of(&evidence());
            if digest != life.evidence_digest {
                life.evidence_digest = digest;
                if life.has_changed_at(seqno) {
                    let text = format!(
                        "node {id} has other evidence than at its first write, expected the same for all its life"
                    );
                    self.findings
                        .push(Finding::new(Code::EvidenceChanged, text).seqno(seqno));
                }
            }
        }
        let changed = life.identity.changed_in(&record);
        if !changed.is_empty() && life.has_changed_at(seqno) {
            let text = format!(
                "the record of node {id} has another {} than at its first write, expected the same for all its life",
                changed.join(" and another ")
            );
            self.findings
                .push(Finding::new(Code::EvidenceOfAnother, text).seqno(seqno));
        }
    }

    fn judge(&mut self) {
        for (index, report) in self.batch.judge(self.settings, &mut self.findings) {
            if let Some(life) = self.lives.get_mut(index) {
                life.report = Some(report);
            }
        }
    }

    /// All nodes, judged, and what was found on the way.
    pub(super) fn finish(mut self) -> (Vec<NodeReport>, Findings) {
        self.judge();
        if let Some(finding) = self.unjudged.take() {
            self.findings.push(finding);
        }
        let nodes = self.lives.into_iter().filter_map(|life| {
            let mut report = life.report?;
            let trusted = life.steps.iter().filter(|step| step.status == "Trusted");
            let mut proposals: Vec<String> = trusted.flat_map(|step| step.proposals.iter().cloned()).collect();
            proposals.extend(report.policy.iter().flat_map(|row| row.proposals.iter().cloned()));
            proposals.sort();
            proposals.dedup();
            report.proposals = proposals;
            report.steps = life.steps;
            if !life.changed_at.is_empty() {
                report.verdict = "fails";
            }
            let unchanged = if life.changed_at.is_empty() { "passed" } else { "failed" };
            report.checks.insert("unchanged", unchanged);
            report.changed_at = life.changed_at;
            Some(report)
        });
        (nodes.collect(), self.findings)
    }
}

/// Hands out the public writes of an entry.
fn each_write(located: &Located<'_>, mut each: impl FnMut(&str, &[u8], Option<&[u8]>)) {
    let mut maps = located.maps();
    // What is damaged here was reported by the scan, and nothing from there on is proven.
    while let Ok(Some(name)) = maps.next_name() {
        if maps.writes(|write| each(name, write.key, write.value)).is_err() {
            return;
        }
    }
}

/// The status of a node, spelled alike in all versions; `RetiredCommitted` where its retirement is.
fn status_of(fields: &Fields) -> String {
    let status: String = fields.read("status").unwrap_or_default();
    let known = ["Pending", "Trusted", "Retired", "Learner", "Retiring"];
    let found = known.into_iter().find(|known| known.eq_ignore_ascii_case(&status));
    match (found, fields.read("retired_committed")) {
        (Some("Retired"), Some(true)) => "RetiredCommitted",
        (Some(status), _) => status,
        (None, _) => "Unknown",
    }
    .to_owned()
}

fn is_proposal_id(key: &[u8]) -> bool {
    key.len() <= MAX_ID_BYTES && key.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether a proposal's record says that it was accepted. The ballots in it are skipped.
fn is_accepted(value: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Info<'a> {
        #[serde(borrow)]
        state: std::borrow::Cow<'a, str>,
    }
    let info: Result<Info<'_>, _> = serde_json::from_slice(value);
    info.is_ok_and(|info| info.state.eq_ignore_ascii_case("accepted"))
}

/// What tells one service from another: the digest of its key.
fn service_of(value: &[u8]) -> Option<Digest> {
    let info: ServiceInfo = from_json(value).ok()?;
    let by_text = sha256(info.cert.as_bytes());
    Some(Certificate::from_pem(&info.cert).map_or(by_text, |certificate| certificate.key_id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::{Anchors, Time, Verifier};

    #[test]
    fn only_the_state_of_a_proposal_is_read() {
        assert!(is_accepted(
            br#"{"ballots":{"a":"\u0000"},"proposer_id":"x","state":"Accepted"}"#
        ));
        assert!(is_accepted(br#"{"state":"ACCEPTED"}"#));
        for other in [&br#"{"state":"Open"}"#[..], b"{}", b"", br#"{"state":1}"#] {
            assert!(!is_accepted(other));
        }
    }

    #[test]
    fn statuses_of_all_versions_are_spelled_alike() {
        let status = |json: &str| status_of(&from_json(json.as_bytes()).unwrap());
        assert_eq!(status(r#"{"status":"TRUSTED"}"#), "Trusted");
        assert_eq!(status(r#"{"status":"Retired"}"#), "Retired");
        assert_eq!(
            status(r#"{"status":"Retired","retired_committed":true}"#),
            "RetiredCommitted"
        );
        assert_eq!(status(r#"{"status":"Banned"}"#), "Unknown");
        assert_eq!(status("{}"), "Unknown");
    }

    #[test]
    fn nodes_beyond_the_bound_are_not_judged_and_it_is_said_once() {
        let settings = Settings {
            verifier: Verifier::new(Anchors::built_in()),
            time: Time::None,
            minimum_tcb: Default::default(),
        };
        let mut lives = Lives::new(&settings);
        for number in 0..MAX_NODES + 3 {
            let id = format!("{number:064x}");
            lives.restore(names::NODES_INFO, id.as_bytes(), br#"{"status":"Trusted"}"#, 7);
            assert!(!lives.batch.is_full(), "no more wait than are judged at once");
        }
        let (nodes, findings) = lives.finish();
        assert_eq!(nodes.len(), MAX_NODES);
        let findings = findings.finish();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            (findings[0].code, findings[0].seqno),
            (Code::EvidenceUnreadable, Some(7))
        );
        assert!(findings[0].message.contains("more than 20000 nodes"), "{findings:?}");
    }
}

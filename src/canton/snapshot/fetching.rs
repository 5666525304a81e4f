//! A data snapshot fetched: asked for, asked for again where that may help, written, judged, and given its name.

use std::time::Duration;

use crate::canton::finding::{Code, Ending, Finding, Findings};
use crate::canton::http::{Client, Failure, Incoming};
use crate::canton::release::{NetworkRecovery, Splice};
use crate::canton::timestamp::Timestamp;
use crate::error::{Error, Result};
use crate::report::Severity;
use crate::report::progress::Progress;
use crate::shown::{Show, excerpt};

use super::answer::{Meaning, Next, decide};
use super::judgement::{Expected, Form, judge};
use super::order::{Attempt, Order, Outcome};
use super::output::{Part, write_sidecar_of};
use super::reading::{Document, Reading};
use super::service::Service;
use super::transfer::{Bounds, Transfer, Unwanted, length};

/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Bytes of a body that are enough to see whether it is a page.
const MOST_HEAD_BYTES: usize = 512;

/// How a request ended.
enum Ended {
    /// The file is there.
    Done(Box<Document>),
    /// Another request may do better; after this wait, if the server named one.
    Again(Finding, Option<Duration>),
    /// The time was too late.
    Earlier(Finding),
    /// That's it.
    Stop(Ending),
}

/// Fetches. `tell` is told what happens, a line at a time.
///
/// # Errors
/// The system's; a file that is there and is not to be replaced.
pub async fn fetch(
    client: &Client,
    order: &Order,
    progress: &dyn Progress,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Outcome> {
    let mut fetching = Fetching {
        client,
        order,
        progress,
        tell,
        release: order.release,
        timestamp: order.asked.timestamp,
        attempts: Vec::new(),
        findings: Findings::default(),
    };
    let (ending, document) = match fetching.already_there()? {
        Some(document) => (Ending::Clean, Some(document)),
        None => fetching.run().await?,
    };
    let findings = fetching.findings.finish();
    Ok(Outcome {
        ending: match ending {
            Ending::Clean => Ending::of(&findings),
            other => other,
        },
        document,
        timestamp: fetching.timestamp,
        release: fetching.release,
        attempts: fetching.attempts,
        findings,
    })
}

struct Fetching<'a> {
    client: &'a Client,
    order: &'a Order,
    progress: &'a dyn Progress,
    tell: &'a (dyn Fn(&str) + Sync),
    release: Option<Splice>,
    timestamp: Timestamp,
    attempts: Vec<Attempt>,
    findings: Findings,
}

impl Fetching<'_> {
    fn expected(&self, form: Form) -> Expected {
        Expected {
            form,
            timestamp: Some(self.timestamp),
            migration_id: self.order.asked.migration_id,
            release: self.release,
        }
    }

    /// The document of a file that is there and is what was asked for: an earlier run finished, or was killed just after.
    fn already_there(&mut self) -> Result<Option<Document>> {
        let out = &self.order.out;
        if self.order.replaces || std::fs::symlink_metadata(out).is_err() {
            return Ok(None);
        }
        let service = self.order.asked.service;
        let reading = match service {
            Service::Sv => Reading::default(),
            Service::Validator => Reading::of_snapshot_alone(),
        };
        let why = match reading.file(out)? {
            Err(fault) => fault.to_string(),
            Ok(document) => {
                let found = judge(&document.found, &self.expected(service.file_form())).finish();
                match found.iter().find(|finding| finding.severity == Severity::Error) {
                    Some(finding) => finding.message.clone(),
                    None => {
                        self.findings.extend(found);
                        self.findings
                            .push(Finding::new(Code::AlreadyThere, "it was read whole again, and is good").file(out));
                        write_sidecar_of(out, &document.digest)?;
                        Transfer::forget(out);
                        return Ok(Some(document));
                    }
                }
            }
        };
        Err(Error::Usage(format!(
            "{} is there already and is not what was asked for ({}). It was left as it is; give another --out, or \
             --replace, which replaces it only by a complete good one",
            out.shown(),
            excerpt(&why)
        )))
    }

    async fn run(&mut self) -> Result<(Ending, Option<Document>)> {
        if !self.release_has_use().await {
            return Ok((Ending::Negative, None));
        }
        let (mut probes, mut tries) = (0, 0);
        let mut wait = self.order.first_wait;
        loop {
            match self.once().await? {
                Ended::Done(document) => {
                    if self.timestamp != self.order.asked.timestamp {
                        let text = format!(
                            "the file is of {}, not of {}, which was too late for this participant",
                            self.timestamp, self.order.asked.timestamp
                        );
                        let finding = Finding::new(Code::EarlierTimestamp, text).file(&self.order.out);
                        self.findings.push(finding);
                    }
                    return Ok((Ending::Clean, Some(*document)));
                }
                Ended::Stop(ending) => return Ok((ending, None)),
                Ended::Earlier(finding) if probes == self.order.probes => {
                    self.findings.push(finding);
                    return Ok((Ending::Refused, None));
                }
                Ended::Earlier(_) => {
                    probes += 1;
                    tries = 0;
                    wait = self.order.first_wait;
                    self.timestamp = self.timestamp.plus_seconds(-i64::from(self.order.step_s));
                    (self.tell)(&format!(
                        "too late: trying {} ({probes} of {})",
                        self.timestamp, self.order.probes
                    ));
                }
                Ended::Again(finding, _) if tries == self.order.retries => {
                    let ending = self.given_up(finding);
                    return Ok((ending, None));
                }
                Ended::Again(finding, asked) => {
                    tries += 1;
                    let pause = asked.unwrap_or(wait).max(wait).min(LONGEST_WAIT);
                    (self.tell)(&format!(
                        "{}; again in {} s ({tries} of {})",
                        finding.message,
                        pause.as_secs(),
                        self.order.retries
                    ));
                    tokio::time::sleep(pause).await;
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// What to keep when there are no more tries: a part that can be gone on with.
    fn given_up(&mut self, finding: Finding) -> Ending {
        let request = self.request();
        let bounds = self.bounds();
        let kept = Transfer::open(&self.order.out, &request, bounds).ok();
        let Some((transfer, _)) = kept else {
            return Ending::Refused;
        };
        if transfer.can_go_on() {
            let next = format!("run the same again: it goes on after {} bytes", transfer.has());
            self.findings.push(finding.next(next));
            return Ending::Partial;
        }
        transfer.remove(&self.order.out);
        self.findings.push(finding);
        Ending::Refused
    }

    async fn release_has_use(&mut self) -> bool {
        if self.release.is_none() {
            self.release = self.order.asked.service.release(self.client).await;
        }
        let Some(release) = self.release else {
            let text = "the app does not say which release it is of";
            self.findings.push(Finding::new(Code::ReleaseUnknown, text));
            return true;
        };
        let NetworkRecovery::RollForwardLsu { snapshot_answers } = release.network_recovery() else {
            return true;
        };
        let text = match snapshot_answers {
            true => {
                format!("Splice {release} still answers, and nothing reads what it gives: the importer went with 0.6.2")
            }
            false => format!("Splice {release} makes no data snapshots: they went with 0.6.7"),
        };
        let finding = Finding::new(Code::ReleaseRollsForward, text);
        match self.order.is_for_nothing_else {
            true => {
                self.findings.push(finding.severity(Severity::Warning));
                true
            }
            false => {
                self.findings.push(finding);
                false
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_bytes: self.order.most_bytes,
            copies: match self.order.asked.service {
                Service::Sv => 1,
                Service::Validator => 2,
            },
        }
    }

    /// Everything that an answer depends on.
    fn request(&self) -> String {
        let query = self.order.asked.query(self.timestamp);
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = self.order.asked.service.snapshot_path();
        self.client.address().join(&path, &query).to_string()
    }

    fn finding(&self, code: Code, text: impl AsRef<str>) -> Finding {
        Finding::new(code, text).at(self.client.address().to_string())
    }

    fn attempt(&mut self, status: Option<u16>, meaning: Option<Meaning>, said: &str) {
        self.attempts.push(Attempt {
            timestamp: self.timestamp,
            status,
            meaning,
            said: excerpt(said),
        });
    }

    fn failed(&mut self, status: Option<u16>, failure: &Failure) -> Ended {
        self.attempt(status, None, &failure.to_string());
        let finding = self.finding(Code::ServerUnreachable, failure.to_string());
        match (failure.may_pass(), failure) {
            (true, _) => Ended::Again(finding, None),
            (false, failure) => {
                let finding = match failure {
                    Failure::Redirected(why) => self.finding(Code::NotASnapshot, why),
                    _ => finding,
                };
                self.findings.push(finding);
                Ended::Stop(Ending::Refused)
            }
        }
    }

    async fn once(&mut self) -> Result<Ended> {
        let out = self.order.out.clone();
        let request = self.request();
        let (mut transfer, lost) = Transfer::open(&out, &request, self.bounds())?;
        self.began_anew(lost);
        let query = self.order.asked.query(self.timestamp);
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = self.order.asked.service.snapshot_path();
        let answer = match self.client.stream(&path, &query, &transfer.headers()).await {
            Ok(answer) => answer,
            Err(failure) => {
                if !failure.may_pass() {
                    transfer.remove(&out);
                }
                return Ok(self.failed(None, &failure));
            }
        };
        let status = answer.status();
        if status == 416 && transfer.has() > 0 {
            self.began_anew(transfer.has());
            transfer.restart(&out)?;
            self.attempt(Some(status), None, "there is nothing to go on with");
            let text = "the server does not go on where the transfer broke off";
            return Ok(Ended::Again(
                self.finding(Code::ServerUnreachable, text),
                Some(Duration::ZERO),
            ));
        }
        if !matches!(status, 200 | 206) {
            return Ok(self.refused(answer, transfer).await);
        }
        match transfer.begin(&answer, &out, &request)? {
            Ok(lost) => self.began_anew(lost),
            Err(unwanted) => return Ok(self.unwanted(status, transfer, unwanted, &[])),
        }
        self.body(answer, transfer).await
    }

    fn began_anew(&mut self, lost: u64) {
        if lost > 0 {
            let text = format!("{lost} bytes of an earlier transfer could not be gone on with");
            self.findings
                .push(Finding::new(Code::BeganAnew, text).file(&self.order.out));
        }
    }

    /// An answer that is no success.
    async fn refused(&mut self, answer: Incoming, transfer: Transfer) -> Ended {
        let answer = match answer.whole().await {
            Ok(answer) => answer,
            Err(failure) => return self.failed(None, &failure),
        };
        let decision = decide(answer.status, &answer.content_type, &answer.body);
        self.attempt(Some(answer.status), Some(decision.meaning.clone()), &decision.said);
        let text = match decision.said.is_empty() {
            true => format!("at {}: status {}", self.timestamp, answer.status),
            false => format!("at {}: status {}: {}", self.timestamp, answer.status, decision.said),
        };
        let mut finding = self.finding(decision.meaning.code(), text);
        if let Some(advice) = decision.meaning.advice(self.release) {
            finding = finding.next(advice);
        }
        match decision.meaning.next() {
            Next::Again => Ended::Again(finding, answer.retry_after),
            Next::Earlier => {
                transfer.remove(&self.order.out);
                Ended::Earlier(finding)
            }
            Next::Read | Next::Stop => {
                transfer.remove(&self.order.out);
                self.findings.push(finding);
                Ended::Stop(Ending::Refused)
            }
        }
    }

    /// The body of a success.
    async fn body(&mut self, mut answer: Incoming, mut transfer: Transfer) -> Result<Ended> {
        let (status, content_type) = (answer.status(), answer.content_type());
        let mut head = Vec::new();
        self.progress.begin("snapshot", length(&answer).unwrap_or(0));
        let mut taken = None;
        while taken.is_none() {
            match answer.chunk().await {
                Ok(None) => break,
                Err(failure) => {
                    self.progress.end();
                    let ended = self.failed(Some(status), &failure);
                    return Ok(ended);
                }
                Ok(Some(piece)) => {
                    head.extend(piece.iter().take(MOST_HEAD_BYTES.saturating_sub(head.len())));
                    self.progress.advance(piece.len() as u64, 0);
                    taken = transfer.take(&piece)?.err();
                }
            }
        }
        self.progress.end();
        let decision = decide(status, &content_type, &head);
        if decision.meaning != Meaning::Snapshot {
            transfer.remove(&self.order.out);
            self.attempt(Some(status), Some(decision.meaning), &decision.said);
            let text = format!("status {status}, and then {}", decision.said);
            self.findings.push(self.finding(Code::NotASnapshot, text));
            return Ok(Ended::Stop(Ending::Refused));
        }
        if let Some(unwanted) = taken {
            return Ok(self.unwanted(status, transfer, unwanted, &head));
        }
        let (part, document) = match transfer.finish()? {
            Ok(whole) => whole,
            Err((part, unwanted)) => {
                part.remove();
                Transfer::forget(&self.order.out);
                return Ok(self.unwanted_finding(status, unwanted, &head));
            }
        };
        self.attempt(Some(status), Some(Meaning::Snapshot), "");
        let findings = judge(&document.found, &self.expected(self.order.asked.service.form()));
        let is_good = !findings.any_at_least(Severity::Error);
        let at = self.client.address().to_string();
        self.findings
            .extend(findings.finish().into_iter().map(|finding| finding.at(&at)));
        if !is_good {
            part.remove();
            Transfer::forget(&self.order.out);
            return Ok(Ended::Stop(Ending::Unreadable));
        }
        let document = self.place(part, document)?;
        Transfer::forget(&self.order.out);
        Ok(Ended::Done(Box::new(document)))
    }

    /// Gives the file its name. Of a validator's answer, only what the validator is given is kept.
    fn place(&self, part: Part, document: Document) -> Result<Document> {
        let replaces = self.order.replaces;
        let span = document
            .found
            .member("data_snapshot")
            .map(|member| (member.start, member.end));
        let (Service::Validator, Some((start, end))) = (self.order.asked.service, span) else {
            part.finish(&document.digest, replaces)?;
            return Ok(document);
        };
        let only = part.only(start, end)?;
        let inner = Reading::of_snapshot_alone().file(only.path())?;
        let inner = inner.map_err(|fault| Error::Unreadable(format!("{}: {fault}", only.path().shown())))?;
        only.finish(&inner.digest, replaces)?;
        Ok(inner)
    }

    fn unwanted(&mut self, status: u16, transfer: Transfer, unwanted: Unwanted, head: &[u8]) -> Ended {
        transfer.remove(&self.order.out);
        self.unwanted_finding(status, unwanted, head)
    }

    fn unwanted_finding(&mut self, status: u16, unwanted: Unwanted, head: &[u8]) -> Ended {
        let (code, text, ending) = match unwanted {
            Unwanted::Fault(fault) => {
                let code = match head.trim_ascii_start().first() {
                    Some(b'{' | 0x1f) => Code::DamagedSnapshot,
                    _ => Code::NotASnapshot,
                };
                (code, fault.to_string(), Ending::Unreadable)
            }
            Unwanted::TooLarge(size) => {
                let text = format!("{size} bytes; --max-size allows {}", self.order.most_bytes);
                (Code::TooLarge, text, Ending::Refused)
            }
            Unwanted::NoRoom { has, needs } => {
                let text = format!("the disk has {has} bytes free, and {needs} are needed");
                (Code::NoRoom, text, Ending::Negative)
            }
            Unwanted::Packed(how) => {
                let text = format!("the answer is packed as {}, which was not asked for", excerpt(&how));
                (Code::NotASnapshot, text, Ending::Unreadable)
            }
        };
        self.attempt(Some(status), None, &text);
        self.findings.push(self.finding(code, text));
        Ended::Stop(ending)
    }
}

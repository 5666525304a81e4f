//! The file's way into the container.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::super::cluster::{Cluster, Exec, Failure};
use super::super::scale::refusal;
use super::scripts::{self, Look, Names};
use super::{Request, choose};
use crate::canton::finding::Ending;
use crate::canton::{Code, Finding, Findings, shell};
use crate::crypto::{Digest, Sha256Stream};
use crate::shown::{Show, excerpt};

/// Bytes of a volume that shall stay free: its directory grows too.
const SPARE: u64 = 1 << 20;
/// Bytes a second that a volume reads at least: a hash over gigabytes prints nothing until it is done.
const SLOWEST: u64 = 10 << 20;
/// Bytes of a script's answer at most.
const ANSWER: usize = 64 << 10;

/// A local file that was found good.
pub struct Dump<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Opened, at any place.
    pub file: File,
    /// Its bytes when it was found good.
    pub size: u64,
    /// Its hash then.
    pub digest: Digest,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ends.
    pub ending: Ending,
    /// Whether the target is the file now, read back.
    pub is_placed: bool,
    /// What was replaced, under its new name.
    pub kept: Option<String>,
    /// What is to be said about it.
    pub findings: Findings,
}

/// Why it did not come about: a finding, and how the command ends.
type Stop = Box<(Finding, Ending)>;

/// Brings a file into a pod. After any end of it, of this program or of the pod, the target is the whole file or what it
/// was before, and doing it again finishes. `tell` hears each thing that happens, on one line.
pub fn carry_out(
    cluster: &dyn Cluster,
    request: &Request,
    pod: &str,
    dump: &mut Dump<'_>,
    names: &Names,
    idle: Duration,
    tell: &mut dyn FnMut(&str),
) -> Outcome {
    let mut way = Way {
        cluster,
        request,
        pod,
        names,
        idle,
        has_sha256sum: true,
        kept: None,
        findings: Findings::default(),
    };
    let (ending, is_placed) = match way.go(dump, tell) {
        Ok(()) => (Ending::Clean, true),
        Err(stop) => {
            let (finding, ending) = *stop;
            way.findings.push(finding.of(pod));
            (ending, false)
        }
    };
    Outcome {
        ending,
        is_placed,
        kept: way.kept,
        findings: way.findings,
    }
}

struct Way<'a> {
    cluster: &'a dyn Cluster,
    request: &'a Request,
    pod: &'a str,
    names: &'a Names,
    idle: Duration,
    has_sha256sum: bool,
    kept: Option<String>,
    findings: Findings,
}

impl Way<'_> {
    fn go(&mut self, dump: &mut Dump<'_>, tell: &mut dyn FnMut(&str)) -> Result<(), Stop> {
        let wanted = hex::encode(dump.digest);
        let look = self.look()?;
        self.has_sha256sum = look.has_sha256sum;
        let replaced = self.before(&look, dump, &wanted)?;
        if replaced.as_deref() == Some(wanted.as_str()) {
            let text = format!("{} is this file already, sha256 {wanted}", self.names.target);
            self.findings.push(Finding::new(Code::AlreadyPlaced, text).of(self.pod));
            return Ok(());
        }
        tell(&format!("sending {} bytes to {}", dump.size, self.names.part));
        let sent = self
            .send(dump, tell)
            .and_then(|()| self.same(&self.names.part, dump.size, &wanted));
        if let Err(stop) = sent {
            // What is left takes the room that the next try needs. The next one removes it too, should this fail.
            let _ = self.run(&scripts::remove(self.names), Duration::from_secs(10).min(self.idle));
            return Err(stop);
        }
        tell("the hash was read back; renaming");
        self.rename(replaced.as_deref(), dump.size, &wanted)?;
        tell(&format!("{} has sha256 {wanted}", self.names.target));
        Ok(())
    }

    fn exec(&self, command: &str, idle: Duration) -> Exec {
        Exec {
            namespace: self.request.namespace.clone(),
            pod: self.pod.to_owned(),
            container: self.request.container.clone(),
            command: shell::script(command),
            idle,
        }
    }

    /// Runs a script that reads nothing and prints little.
    fn run(&self, script: &str, idle: Duration) -> Result<(i32, String, String), Stop> {
        let mut printed = Bounded(Vec::new());
        let exit = self
            .cluster
            .exec(&self.exec(script, idle), &mut std::io::empty(), &mut printed);
        let exit = exit.map_err(stopped)?;
        Ok((exit.code, String::from_utf8_lossy(&printed.0).into_owned(), exit.stderr))
    }

    fn look(&mut self) -> Result<Look, Stop> {
        let (code, printed, complaint) = self.run(&scripts::look(self.names), self.idle)?;
        let unfit = |text: String| Box::new((Finding::new(Code::ContainerUnfit, text), Ending::Refused));
        let look = Look::read(&printed)
            .filter(|_| code == 0)
            .ok_or_else(|| unfit(format!("the container's shell ended with {code}: {complaint}")))?;
        let directory = &self.names.directory;
        if look.removed > 0 {
            let text = format!("{} files that earlier tries left were removed", look.removed);
            self.findings
                .push(Finding::new(Code::LeftoversRemoved, text).of(self.pod));
        }
        match &look {
            look if !look.has_directory => Err(unfit(format!("there is no directory {directory}"))),
            look if !look.lacks.is_empty() => Err(unfit(format!("the container lacks {}", look.lacks.join(", ")))),
            look if look.is_other => Err(unfit(format!("{} is there, and is no regular file", self.names.target))),
            look if !look.is_writable => Err(unfit(format!("the container's user may not write to {directory}"))),
            _ => Ok(look),
        }
    }

    /// The hash of what has the target's name, where something has; and whether all may go on.
    fn before(&mut self, look: &Look, dump: &Dump<'_>, wanted: &str) -> Result<Option<String>, Stop> {
        let replaced = match look.is_file {
            true => Some(self.hash(&self.names.target, dump.size)?),
            false => None,
        };
        if replaced.as_deref() == Some(wanted) {
            return Ok(replaced);
        }
        if let (Some(found), false) = (&replaced, self.request.replaces) {
            let text = format!("{} has sha256 {found}; the file has {wanted}", self.names.target);
            return Err(Box::new((Finding::new(Code::OtherFileThere, text), Ending::Negative)));
        }
        match look.free_bytes {
            Some(free) if free < dump.size.saturating_add(SPARE) => {
                let text = format!(
                    "{free} bytes are free at {}, the file has {}",
                    self.names.directory, dump.size
                );
                Err(Box::new((Finding::new(Code::NoRoomOnVolume, text), Ending::Refused)))
            }
            _ => Ok(replaced),
        }
    }

    fn send(&self, dump: &mut Dump<'_>, tell: &mut dyn FnMut(&str)) -> Result<(), Stop> {
        let local = |why: std::io::Error| {
            let text = format!("could not read {}: {}", dump.path.shown(), excerpt(&why.to_string()));
            Box::new((Finding::new(Code::FileChanged, text), Ending::Unreadable))
        };
        dump.file.seek(SeekFrom::Start(0)).map_err(local)?;
        let sent = Cell::new(0);
        let mut bytes = Counted {
            file: (&mut dump.file).take(dump.size),
            sent: &sent,
            size: dump.size,
            tell,
        };
        // The hash has to be of what was sent; what is printed while bytes are taken is of no interest.
        let exec = self.exec(&scripts::receive(self.names, dump.size), self.idle_for(dump.size));
        let exit = self.cluster.exec(&exec, &mut bytes, &mut std::io::sink());
        match exit {
            Ok(exit) if exit.code == 0 => Ok(()),
            _ if sent.get() < dump.size && dump.file.metadata().is_ok_and(|now| now.len() < dump.size) => {
                let text = format!("{} became shorter while it was sent", dump.path.shown());
                Err(Box::new((Finding::new(Code::FileChanged, text), Ending::Unreadable)))
            }
            Ok(exit) => {
                let text = format!("writing {} ended with {}: {}", self.names.part, exit.code, exit.stderr);
                Err(Box::new((Finding::new(Code::NotWritten, text), Ending::Partial)))
            }
            Err(why) => Err(stopped(why)),
        }
    }

    /// Writing to the disk, or a hash, may take long without a sign of life.
    fn idle_for(&self, size: u64) -> Duration {
        self.idle.saturating_add(Duration::from_secs(size / SLOWEST))
    }

    fn hash(&self, path: &str, size: u64) -> Result<String, Stop> {
        if self.has_sha256sum {
            let (code, printed, complaint) = self.run(&scripts::hash(path), self.idle_for(size))?;
            let hash = printed.split_ascii_whitespace().next().unwrap_or_default().to_owned();
            let is_hash = hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_hexdigit());
            return match (code, is_hash) {
                (0, true) => Ok(hash.to_ascii_lowercase()),
                _ => Err(unread(path, code, &complaint)),
            };
        }
        let mut hashed = Hashed(Sha256Stream::new());
        let exec = self.exec(&scripts::print(path), self.idle);
        let exit = self
            .cluster
            .exec(&exec, &mut std::io::empty(), &mut hashed)
            .map_err(stopped)?;
        match exit.code {
            0 => Ok(hex::encode(hashed.0.finish())),
            code => Err(unread(path, code, &exit.stderr)),
        }
    }

    fn same(&self, path: &str, size: u64, wanted: &str) -> Result<(), Stop> {
        let found = self.hash(path, size)?;
        match found == wanted {
            true => Ok(()),
            false => {
                let text = format!("{path} has sha256 {found}; the file had {wanted} when it was checked");
                Err(Box::new((Finding::new(Code::NotTheSame, text), Ending::Partial)))
            }
        }
    }

    fn rename(&mut self, replaced: Option<&str>, size: u64, wanted: &str) -> Result<(), Stop> {
        let result = self.run(&scripts::rename(self.names, replaced), self.idle_for(size));
        match &result {
            Ok((0, _, _)) => {}
            Ok((scripts::IN_THE_WAY, _, _)) => {
                let _ = self.run(&scripts::remove(self.names), self.idle);
                let text = format!("{} came into being while the file was sent", self.names.target);
                return Err(Box::new((Finding::new(Code::OtherFileThere, text), Ending::Negative)));
            }
            Ok((code, _, complaint)) => {
                let text = format!("renaming to {} ended with {code}: {complaint}", self.names.target);
                return Err(Box::new((Finding::new(Code::NotWritten, text), Ending::Partial)));
            }
            // It may have happened although the answer was lost: the hash tells.
            Err(_) => {}
        }
        if let Some(hash) = replaced {
            self.kept = Some(self.names.old(hash));
        }
        match (self.same(&self.names.target, size, wanted), result) {
            (Ok(()), _) => Ok(()),
            (Err(_), Err(stop)) | (Err(stop), Ok(_)) => Err(stop),
        }
    }
}

fn unread(path: &str, code: i32, complaint: &str) -> Stop {
    let text = format!("{path} could not be read back, the command ended with {code}: {complaint}");
    Box::new((Finding::new(Code::NotTheSame, text), Ending::Partial))
}

fn stopped(why: Failure) -> Stop {
    let ending = match &why {
        Failure::Refused { status: 401 | 403, .. } => Ending::Refused,
        Failure::Configuration(_) => Ending::Refused,
        Failure::Local(_) => Ending::Unreadable,
        _ => Ending::Partial,
    };
    Box::new((refusal(&why), ending))
}

/// Finds the pod, by the labels of the app's deployment, or by the label `app` where there is no such deployment.
///
/// # Errors
/// The cluster's; inside, the finding why no pod can take the file.
pub fn find(cluster: &dyn Cluster, request: &Request) -> Result<Result<super::super::Pod, Box<Finding>>, Failure> {
    let deployments = cluster.deployments(&request.namespace)?;
    let named = deployments.iter().find(|one| one.name == request.app);
    let labelled = || {
        deployments
            .iter()
            .find(|one| one.labels.get("app") == Some(&request.app))
    };
    let labels = named
        .or_else(labelled)
        .map(|one| one.selector.clone())
        .filter(|labels| !labels.is_empty());
    let labels = labels.unwrap_or_else(|| [("app".to_owned(), request.app.clone())].into());
    let pods = cluster.pods(&request.namespace, &labels)?;
    Ok(choose(&pods, request).map(|(pod, _)| pod.clone()))
}

/// Keeps an answer, if it is short.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = ANSWER.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or_default());
        match room == bytes.len() {
            true => Ok(room),
            false => Err(std::io::Error::other(
                "the container prints much more than it was asked for",
            )),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the hash of an answer.
struct Hashed(Sha256Stream);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The file while it is sent; tells every tenth of it.
struct Counted<'a, R> {
    file: R,
    sent: &'a Cell<u64>,
    size: u64,
    tell: &'a mut dyn FnMut(&str),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        let (before, after) = (self.sent.get(), self.sent.get() + read as u64);
        self.sent.set(after);
        let tenth = |bytes: u64| bytes / (self.size / 10).max(1);
        // Files that are there in a moment need no telling.
        if self.size > 64 << 20 && tenth(after) > tenth(before) {
            (self.tell)(&format!("{after} of {} bytes sent", self.size));
        }
        Ok(read)
    }
}

//! What `--check` adds to reading the configuration: the files and directories that it names. Nothing is changed.
//!
//! Texts that CCF has are CCF's (recovery specification, section 1.1).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::environment::expanded;
use super::{Attestation, CommandKind, Config, Fault, FieldPath, Join, Member, Problem, Recover, Start};
use crate::crypto::Certificate;
use crate::crypto::rsa::EncryptionKey;
use crate::error::Error;
use crate::format::names::FileName;
use crate::format::whole_file::directory_of;
use crate::shown::Show;
use crate::tables::json;

/// Certificates and keys have kilobytes; constitutions and application data may have more.
const MAX_READ_BYTES: u64 = 64 << 20;

/// Why a node that joins needs an address for other nodes.
pub const UNREACHABLE: &str = "a node that joins must be reached by the others, give an address such as {\"bind_address\": \
                               \"10.0.0.2:8081\"}";

impl Config {
    /// Looks at everything that the configuration names: inputs that must be readable, and right, and outputs that must
    /// be writable. `base` is the directory that the node would be started in.
    pub fn check_files(&self, base: &Path) -> Vec<Problem> {
        let mut look = Look {
            // An empty path can be joined, but not looked at.
            base: if base == Path::new("") { Path::new(".") } else { base },
            problems: Vec::new(),
        };
        look.ledger(self);
        look.snapshots(self);
        for (field, path) in [
            ("node_data_json_file", &self.node_data_json_file),
            ("service_data_json_file", &self.service_data_json_file),
        ] {
            if let Some(path) = path {
                look.json(FieldPath::dotted(field), path);
            }
        }
        if let Some(start) = &self.command.start {
            look.start(start);
        }
        if let Some(join) = &self.command.join {
            look.join(join, &self.command.service_certificate_file);
            if self.network.node_to_node_interface.is_none() {
                look.problem(
                    FieldPath::dotted("network.node_to_node_interface"),
                    UNREACHABLE.to_owned(),
                );
            }
        }
        if let Some(recover) = &self.command.recover {
            look.recover(recover);
        }
        look.attestation(&self.attestation);
        look.outputs(self);
        look.sealing(self);
        look.problems
    }

    /// Looks at the directories of sealed files alone, whose faults never keep a node from starting: members' shares open
    /// its service all the same. `base` as above.
    pub fn check_sealing(&self, base: &Path) -> Vec<Problem> {
        let mut look = Look {
            base,
            problems: Vec::new(),
        };
        look.sealing(self);
        look.problems
    }

    /// What a node that joins would mix with the ledger that it takes from the others, in words: it begins with none. `base` as above.
    ///
    /// # Errors
    /// If a directory that is there can't be listed.
    pub fn held_ledger(&self, base: &Path) -> crate::Result<Option<String>> {
        for directory in std::iter::once(&self.ledger.directory).chain(&self.ledger.read_only_directories) {
            let at = base.join(directory);
            if !at.is_dir() {
                continue;
            }
            for item in std::fs::read_dir(&at).map_err(Error::io("list the directory", directory))? {
                let name = item.map_err(Error::io("list the directory", directory))?.file_name();
                if matches!(
                    FileName::parse(&name.to_string_lossy()),
                    FileName::Chunk(_) | FileName::Unreadable
                ) {
                    return Ok(Some(format!(
                        "{} holds a ledger already ({}), and a node that joins takes the whole ledger from the others: the two would \
                         be mixed. Move what is there away and keep it, or name another directory in ledger.directory, and start again",
                        directory.shown(),
                        Path::new(&name).shown()
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Looks at the files alone that the node will write beside its ledger. `base` as above.
    pub fn check_outputs(&self, base: &Path) -> Vec<Problem> {
        let mut look = Look {
            base,
            problems: Vec::new(),
        };
        look.outputs(self);
        look.problems
    }
}

/// One look at the machine.
struct Look<'a> {
    base: &'a Path,
    problems: Vec<Problem>,
}

impl Look<'_> {
    fn problem(&mut self, path: FieldPath, message: String) {
        let fault = Fault::Unfit { message };
        self.problems.push(Problem { path, fault });
    }

    fn ledger(&mut self, config: &Config) {
        let field = FieldPath::dotted("ledger.directory");
        let directory = &config.ledger.directory;
        let there = self.directory_to_write(field.clone(), directory);
        let entries = if there { self.entries(directory) } else { 0 };
        let mut read_only = 0;
        for (i, directory) in config.ledger.read_only_directories.iter().enumerate() {
            let field = FieldPath::dotted("ledger.read_only_directories").item(i);
            if self.directory_to_read(field, directory, "ledger") {
                read_only += self.entries(directory);
            }
        }
        match config.command.kind {
            CommandKind::Start if entries > 0 => self.problem(
                field,
                format!(
                    "On start, ledger directory should not exist or be empty ({})",
                    directory.shown()
                ),
            ),
            CommandKind::Recover if entries + read_only == 0 => self.problem(
                field,
                format!(
                    "there is no ledger to recover: neither {} nor a read-only directory holds any file",
                    directory.shown()
                ),
            ),
            CommandKind::Join => {
                // What can't be listed was said above.
                if let Ok(Some(held)) = config.held_ledger(self.base) {
                    self.problem(field, held);
                }
            }
            _ => {}
        }
    }

    fn snapshots(&mut self, config: &Config) {
        self.directory_to_write(FieldPath::dotted("snapshots.directory"), &config.snapshots.directory);
        if let Some(directory) = &config.snapshots.read_only_directory {
            self.directory_to_read(
                FieldPath::dotted("snapshots.read_only_directory"),
                directory,
                "snapshot",
            );
        }
    }

    fn recover(&mut self, recover: &Recover) {
        let base = FieldPath::dotted("command.recover");
        if let Some(path) = &recover.previous_service_identity_file {
            let field = base.field("previous_service_identity_file");
            match self.text(path) {
                Err(why) => self.problem(
                    field,
                    format!(
                        "Recovery requires a previous service identity certificate; cannot open '{}' ({why})",
                        path.shown()
                    ),
                ),
                Ok(text) => self.certificate(field, path, &text),
            }
        }
    }

    fn start(&mut self, start: &Start) {
        let base = FieldPath::dotted("command.start");
        for (i, member) in start.members.iter().enumerate() {
            self.member(&base.field("members").item(i), member);
        }
        for (i, path) in start.constitution_files.iter().enumerate() {
            if let Err(why) = self.text(path) {
                let field = base.field("constitution_files").item(i);
                self.problem(field, format!("could not read {}: {why}", path.shown()));
            }
        }
    }

    fn member(&mut self, base: &FieldPath, member: &Member) {
        self.certificate_file(base.field("certificate_file"), &member.certificate_file);
        if let Some(path) = &member.encryption_public_key_file {
            let outcome = self
                .text(path)
                .and_then(|text| EncryptionKey::from_pem(&text).map(drop).map_err(|why| why.to_string()));
            if let Err(why) = outcome {
                let field = base.field("encryption_public_key_file");
                self.problem(field, format!("{} is not a share-encryption key: {why}", path.shown()));
            }
        }
        if let Some(path) = &member.data_json_file {
            self.json(base.field("data_json_file"), path);
        }
    }

    fn join(&mut self, join: &Join, certificate: &Path) {
        self.certificate_file(FieldPath::dotted("command.service_certificate_file"), certificate);
        if let Some(path) = &join.host_data_transparent_statement_path {
            let field = FieldPath::dotted("command.join.host_data_transparent_statement_path");
            self.readable(field, path);
        }
    }

    fn attestation(&mut self, attestation: &Attestation) {
        let base = FieldPath::dotted("attestation");
        for (name, path) in [
            ("snp_security_policy_file", &attestation.snp_security_policy_file),
            ("snp_uvm_endorsements_file", &attestation.snp_uvm_endorsements_file),
            ("snp_endorsements_file", &attestation.snp_endorsements_file),
        ] {
            if let Some(path) = path {
                match expanded(path, |name| std::env::var(name).ok()) {
                    Ok(path) => self.readable(base.field(name), &path),
                    // Set by the hardware's agent; where there is none, CCF starts all the same.
                    Err(variable) => tracing::debug!(name, variable, "not set: there is nothing to read"),
                }
            }
        }
    }

    fn outputs(&mut self, config: &Config) {
        let base = FieldPath::dotted("output_files");
        let files = &config.output_files;
        let mut taken: Vec<(FieldPath, PathBuf)> = Vec::new();
        let mut outputs = Vec::new();
        for (name, path) in [
            ("node_certificate_file", &files.node_certificate_file),
            ("pid_file", &files.pid_file),
            ("node_to_node_address_file", &files.node_to_node_address_file),
            ("rpc_addresses_file", &files.rpc_addresses_file),
        ] {
            outputs.extend(path.as_ref().map(|path| (base.field(name), path)));
        }
        if config.command.kind != CommandKind::Join {
            let field = FieldPath::dotted("command.service_certificate_file");
            outputs.push((field, &config.command.service_certificate_file));
        }
        for (field, path) in outputs {
            let known = self.problems.len();
            self.file_to_write(field.clone(), path);
            if self.problems.len() > known {
                continue;
            }
            let Some(place) = self.place(path) else { continue };
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == place) {
                let message = format!(
                    "{} is what {other} names, too; give each a file of its own",
                    path.shown()
                );
                self.problem(field.clone(), message);
            }
            self.outside_of_the_ledger(field.clone(), path, &place, config);
            taken.push((field, place));
        }
    }

    fn sealing(&mut self, config: &Config) {
        if let Some(directory) = &config.output_files.sealed_ledger_secret_location {
            let field = FieldPath::dotted("output_files.sealed_ledger_secret_location");
            self.directory_to_write(field, directory);
        }
        let recover = config.command.recover.as_ref();
        if let Some(directory) = recover.and_then(|recover| recover.previous_sealed_ledger_secret_location.as_ref())
            && !self.at(directory).is_dir()
        {
            let field = FieldPath::dotted("command.recover.previous_sealed_ledger_secret_location");
            self.problem(field, format!("{} is not a directory", directory.shown()));
        }
    }

    /// Where a file is or would be, by whatever way its directory is named.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let at = self.at(path);
        Some(directory_of(&at).canonicalize().ok()?.join(at.file_name()?))
    }

    /// Nothing but chunks and snapshots belongs into these directories.
    fn outside_of_the_ledger(&mut self, field: FieldPath, path: &Path, place: &Path, config: &Config) {
        let directories = std::iter::once(&config.ledger.directory)
            .chain(&config.ledger.read_only_directories)
            .chain([&config.snapshots.directory])
            .chain(&config.snapshots.read_only_directory);
        let inside = |directory: &&PathBuf| {
            let directory = self.at(directory).canonicalize();
            directory.is_ok_and(|directory| place.starts_with(directory))
        };
        if let Some(directory) = directories.into_iter().find(inside) {
            let message = format!(
                "{} lies in {}, which holds chunks or snapshots only; give a file elsewhere",
                path.shown(),
                directory.shown()
            );
            self.problem(field, message);
        }
    }

    /// A relative path starts at the base.
    fn at(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// How many things are in a directory; 0 too where it can't be read, which is a problem elsewhere.
    fn entries(&self, directory: &Path) -> usize {
        std::fs::read_dir(self.at(directory)).map_or(0, |entries| entries.filter_map(Result::ok).count())
    }

    fn directory_to_read(&mut self, field: FieldPath, directory: &Path, of: &str) -> bool {
        let at = self.at(directory);
        if !at.is_dir() {
            self.problem(
                field,
                format!("{} read-only {of} is not a directory", directory.shown()),
            );
            return false;
        }
        match std::fs::read_dir(at) {
            Ok(_) => true,
            Err(why) => {
                self.problem(field, format!("could not list {}: {why}", directory.shown()));
                false
            }
        }
    }

    /// A directory that is there and writable, or could be made. Whether it is there.
    fn directory_to_write(&mut self, field: FieldPath, directory: &Path) -> bool {
        let at = self.at(directory);
        let problem = match std::fs::metadata(&at) {
            Ok(found) if !found.is_dir() => Some("it is not a directory".to_owned()),
            Ok(_) => {
                let unreadable = std::fs::read_dir(&at).err().map(|why| why.to_string());
                unreadable.or_else(|| refuses_files(&at))
            }
            Err(why) if why.kind() == ErrorKind::NotFound => {
                let above = at.ancestors().skip(1).find(|above| above.exists());
                above.and_then(refuses_files)
            }
            Err(why) => Some(why.to_string()),
        };
        match problem {
            Some(why) => {
                self.problem(field, format!("could not write into {}: {why}", directory.shown()));
                false
            }
            None => at.is_dir(),
        }
    }

    fn file_to_write(&mut self, field: FieldPath, path: &Path) {
        let at = self.at(path);
        let problem = match std::fs::symlink_metadata(&at) {
            Ok(found) => refuses_writing(&at, &found),
            Err(why) if why.kind() == ErrorKind::NotFound => {
                let above = at.parent().filter(|above| *above != Path::new(""));
                match above {
                    Some(above) if !above.is_dir() => Some(format!("{} is not a directory", above.shown())),
                    above => refuses_files(above.unwrap_or(Path::new("."))),
                }
            }
            Err(why) => Some(why.to_string()),
        };
        if let Some(why) = problem {
            self.problem(field, format!("could not write {}: {why}", path.shown()));
        }
    }

    fn readable(&mut self, field: FieldPath, path: &Path) {
        if let Err(why) = self.bytes(path) {
            self.problem(field, format!("could not read {}: {why}", path.shown()));
        }
    }

    fn json(&mut self, field: FieldPath, path: &Path) {
        let outcome = self.text(path).and_then(|text| {
            serde_json::from_str::<serde_json::Value>(&text).map_err(|why| why.to_string())?;
            json::check(text.as_bytes())
        });
        if let Err(why) = outcome {
            self.problem(field, format!("could not read {} as JSON: {why}", path.shown()));
        }
    }

    fn certificate_file(&mut self, field: FieldPath, path: &Path) {
        match self.text(path) {
            Ok(text) => self.certificate(field, path, &text),
            Err(why) => self.problem(field, format!("could not read {}: {why}", path.shown())),
        }
    }

    fn certificate(&mut self, field: FieldPath, path: &Path, text: &str) {
        if let Err(why) = Certificate::from_pem(text) {
            let message = format!("{} is not a certificate in PEM: {why}", path.shown());
            self.problem(field, message);
        }
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        String::from_utf8(self.bytes(path)?).map_err(|_| "it is not UTF-8 text".to_owned())
    }

    /// A regular file's bytes: a named pipe would be waited for, and what is in it would be gone.
    fn bytes(&self, path: &Path) -> Result<Vec<u8>, String> {
        let at = self.at(path);
        let found = std::fs::metadata(&at).map_err(|why| why.to_string())?;
        if !found.is_file() {
            return Err("it is not a file".to_owned());
        }
        let mut bytes = Vec::new();
        File::open(&at)
            .and_then(|file| file.take(MAX_READ_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|why| why.to_string())?;
        if bytes.len() as u64 > MAX_READ_BYTES {
            return Err(format!("it is longer than {MAX_READ_BYTES} bytes"));
        }
        Ok(bytes)
    }
}

/// Why no file could be made in a directory. Tried with a file that never gets a name, so nothing changes.
fn refuses_files(directory: &Path) -> Option<String> {
    let tried = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(directory);
    match tried {
        Ok(_) => None,
        Err(why) => match why.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
                Some(why.to_string())
            }
            // Not every file system knows files without names: then there is no telling without changing something.
            _ => None,
        },
    }
}

/// Why a file that is there could not be written again. Opened without being cut.
fn refuses_writing(path: &Path, found: &Metadata) -> Option<String> {
    if found.is_dir() {
        return Some("it is a directory".to_owned());
    }
    if found.is_symlink() {
        return Some("it is a link, and links are not followed".to_owned());
    }
    if !found.is_file() {
        return Some("it is a device, a pipe or a socket, expected a file".to_owned());
    }
    let written = OpenOptions::new().write(true).open(path);
    written
        .err()
        .map(|why| why.to_string())
        .or_else(|| refuses_files(directory_of(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_tried_without_leaving_anything_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let before = std::fs::metadata(directory.path()).unwrap().modified().unwrap();
        assert_eq!(refuses_files(directory.path()), None);
        assert_eq!(std::fs::metadata(directory.path()).unwrap().modified().unwrap(), before);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(refuses_files(&file).is_some());
    }
}

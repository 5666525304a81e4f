//! Seals ledger secrets once they are committed, on a thread of its own: a disk or device that fails or hangs holds up
//! nothing but this. Recovery specification, section 6.1.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::status::Status;
use crate::crypto::random::system_rng;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::journal::succession::{KnownSecret, random_iv};
use crate::sealing::names::file_name;
use crate::sealing::{Listed, SealedFiles, SealedSecret, directory};
use crate::shown::Show;

/// How soon it is tried again where sealing fails; twice as long after each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// At most so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a node that stops waits for what it is to seal.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// Seals what it is given.
pub struct Sealer {
    secrets: Option<Sender<KnownSecret>>,
    done: Receiver<()>,
    /// First seqno of the newest secret that it was given.
    given: Option<Seqno>,
    /// The service is open, and that is committed.
    is_open: bool,
}

impl Sealer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there can't be one.
    pub fn start(files: SealedFiles, status: Arc<Status>) -> std::io::Result<Sealer> {
        let (secrets, waiting) = channel();
        let (ends, done) = channel();
        std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            run(&files, &waiting, &status);
            drop(ends);
        })?;
        Ok(Sealer {
            secrets: Some(secrets),
            done,
            given: None,
            is_open: false,
        })
    }

    /// The service is open for good.
    pub fn opened(&mut self) {
        self.is_open = true;
    }

    /// Everything up to `committed` can't be taken back any more: seals those of the service's secrets of which that is true,
    /// and which are not sealed yet; the newest stands last. Before the service is open its ledger asks for the secret of the
    /// one before.
    pub fn committed(&mut self, committed: Seqno, secrets: &[KnownSecret]) {
        let Some(sender) = self.secrets.as_ref().filter(|_| self.is_open) else {
            return;
        };
        // The transaction that introduces a secret is the one before it.
        for due in secrets.iter().filter(|known| known.from <= committed.saturating_add(1)) {
            if self.given.is_none_or(|given| due.from > given) {
                self.given = Some(due.from);
                let _ = sender.send(due.clone());
            }
        }
    }

    /// Waits for what is still to be sealed, but not for ever.
    pub fn finish(&mut self) {
        self.secrets = None;
        if self.done.recv_timeout(LAST_CHANCE) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the last ledger secret may not have been sealed: that takes too long");
        }
    }
}

fn run(files: &SealedFiles, waiting: &Receiver<KnownSecret>, status: &Status) {
    while let Ok(first) = waiting.recv() {
        let mut known = first;
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = seal(files, &known);
            let version = known.from;
            match outcome {
                Ok(path) => {
                    let insecure = files.key.source().is_insecure();
                    tracing::info!(version, path, insecure, "ledger secret sealed");
                    status.update_sealing(|state| {
                        state.fails = None;
                        state.sealed_version = Some(version);
                    });
                    break;
                }
                Err(why) => {
                    tracing::error!(
                        version,
                        "a ledger secret could not be sealed, which is tried again; until then a recovery needs the \
                         members' shares: {why}"
                    );
                    status.update_sealing(|state| state.fails = Some(why.without_path()));
                }
            }
            match waiting.recv_timeout(pause) {
                // Nobody will ask for the one before it any more.
                Ok(newer) => known = newer,
                Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LONGEST_PAUSE),
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(why) = seal(files, &known) {
                        tracing::error!(version = known.from, "the last ledger secret is not sealed: {why}");
                    }
                    return;
                }
            }
        }
    }
}

/// Seals one secret; answers where.
fn seal(files: &SealedFiles, known: &KnownSecret) -> Result<String> {
    let directory = &files.directory;
    let held = Listed::of(directory, file_name(known.from).as_ref());
    let held = held.filter(|held| {
        let opened = directory::open(held, &*files.key);
        opened.is_ok_and(|unsealed| unsealed.secret.as_bytes() == known.secret.as_bytes())
    });
    if let Some(held) = held {
        // An attempt before this one wrote it, and failed after that.
        directory::sync(directory)?;
        return Ok(held.path.shown().to_string());
    }
    let mut rng = system_rng().map_err(|why| Error::Unreadable(why.to_string()))?;
    let iv = random_iv(&mut rng);
    let bytes = SealedSecret::seal(&known.secret, known.from, known.previous_stored, &*files.key, iv)
        .map_err(Error::Unreadable)?;
    let path = directory::write(directory, known.from, &bytes)?;
    Ok(path.shown().to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::crypto::LedgerSecret;
    use crate::node::sealing_state::SealingState;
    use crate::sealing::{KeyFile, search};

    fn files(scratch: &Path) -> SealedFiles {
        let key = scratch.join("key.hex");
        std::fs::write(&key, "11".repeat(32)).unwrap();
        SealedFiles {
            directory: scratch.join("sealed"),
            key: Arc::new(KeyFile::read(&key).unwrap()),
        }
    }

    fn known(from: Seqno) -> KnownSecret {
        KnownSecret {
            secret: LedgerSecret::from_bytes([u8::try_from(from % 256).unwrap(); 32]),
            from,
            previous_stored: Some(from - 1),
        }
    }

    fn sealed(files: &SealedFiles) -> Vec<Seqno> {
        let find = |version| {
            let found = search(&files.directory, version, &*files.key, Ok).found;
            found.is_some_and(|(_, unsealed)| unsealed.secret.as_bytes() == known(version).secret.as_bytes())
        };
        (1..400).filter(|version| find(*version)).collect()
    }

    fn status() -> Arc<Status> {
        let status = Arc::<Status>::default();
        status.set_sealing(SealingState::default());
        status
    }

    #[test]
    fn nothing_is_sealed_before_it_is_committed_nor_before_the_service_is_open() {
        let scratch = tempfile::tempdir().unwrap();
        let files = files(scratch.path());
        let secrets = [known(100), known(201), known(301)];
        let mut sealer = Sealer::start(files.clone(), status()).unwrap();
        sealer.committed(110, &secrets[..1]);
        sealer.opened();
        sealer.committed(120, &secrets[..1]);
        sealer.committed(199, &secrets[..2]);
        sealer.committed(250, &secrets);
        sealer.finish();
        assert_eq!(sealed(&files), [100, 201]);

        // Two rekeys under one signature.
        let mut sealer = Sealer::start(files.clone(), status()).unwrap();
        sealer.opened();
        sealer.committed(399, &[&secrets[..], &[known(310)]].concat());
        sealer.finish();
        assert_eq!(sealed(&files), [100, 201, 301, 310]);

        let mut sealer = Sealer::start(files.clone(), status()).unwrap();
        sealer.committed(1000, &[known(320)]);
        sealer.finish();
        assert_eq!(sealed(&files), [100, 201, 301, 310]);
    }

    #[test]
    fn what_an_earlier_attempt_has_written_is_not_written_again() {
        let scratch = tempfile::tempdir().unwrap();
        let files = files(scratch.path());
        for _ in 0..3 {
            seal(&files, &known(100)).unwrap();
        }
        assert_eq!(std::fs::read_dir(&files.directory).unwrap().count(), 1);
        assert_eq!(sealed(&files), [100]);
    }

    #[test]
    fn what_fails_is_said_and_tried_again_until_it_succeeds() {
        let scratch = tempfile::tempdir().unwrap();
        let files = files(scratch.path());
        std::fs::write(&files.directory, "in the way").unwrap();
        let status = status();
        let mut sealer = Sealer::start(files.clone(), Arc::clone(&status)).unwrap();
        sealer.opened();
        sealer.committed(100, &[known(100)]);
        let began = Instant::now();
        let wait = |wanted: &dyn Fn(&SealingState) -> bool| {
            while !status.recovery().sealing.is_some_and(|state| wanted(&state)) {
                assert!(began.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let place = scratch.path().to_str().unwrap().to_owned();
        wait(&|state| {
            let says = |why: &String| why.starts_with("could not make the directory: ") && !why.contains(&place);
            state.fails.as_ref().is_some_and(says)
        });
        std::fs::remove_file(&files.directory).unwrap();
        wait(&|state| state.fails.is_none() && state.sealed_version == Some(100));
        sealer.finish();
        assert_eq!(sealed(&files), [100]);
    }
}

//! What every seed begins with, made once per process: dead services, the keys of their members, a node's RSA key.

use std::path::{Path, PathBuf};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::crypto::rsa::{DecryptionKey, generate_key_pair};
use crate::crypto::x509::member_id;
use crate::crypto::{Certificate, Curve};
use crate::error::{Error, Result};
use crate::fixture::{Options, generate};
use crate::report::progress::Silent;
use crate::service::identity::failed;

/// A member who holds a share.
pub(super) struct Member {
    pub(super) id: String,
    pub(super) encryption: DecryptionKey,
}

/// A service after its disaster.
pub(super) struct Dead {
    /// Paths below its directory, with contents.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    pub(super) members: Vec<Member>,
    /// Shares that a recovery needs.
    pub(super) threshold: usize,
}

/// What every seed begins with.
pub struct World {
    pub(super) services: Vec<Dead>,
    /// Under which ledger secrets are sent to a node: its private half is forgotten.
    pub(super) node_encryption_key: String,
}

impl World {
    /// Makes it, in a directory of its own below `scratch`.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn make(scratch: &Path) -> Result<World> {
        let small = Options {
            entries: 20,
            value_size: 60,
            signature_every: 5,
            chunk_size: 6000,
            members: 1,
            threshold: 1,
            curve: Curve::P256,
            keys: 7,
            ..Options::default()
        };
        let all = [
            small.clone(),
            Options {
                members: 3,
                threshold: 2,
                rekey_every: 9,
                reshare_every: 7,
                unsigned_tail: 3,
                seed: 2,
                ..small.clone()
            },
            Options {
                entries: 30,
                snapshot_every: 10,
                seed: 3,
                ..small.clone()
            },
            Options {
                recoveries: 1,
                unfinished_recovery: true,
                snapshot_every: 8,
                seed: 4,
                ..small
            },
        ];
        let make = |(number, options): (usize, &Options)| {
            let out = scratch.join(format!("dead-{number}"));
            generate(options, &out, &Silent)?;
            Dead::read(&out, options)
        };
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = all
                .iter()
                .enumerate()
                .map(|each| scope.spawn(move || make(each)))
                .collect();
            let made = threads.into_iter().map(|thread| match thread.join() {
                Ok(made) => made,
                Err(_) => Err(Error::Unreadable("a service could not be made up".to_owned())),
            });
            made.collect::<Result<Vec<_>>>()
        });
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (_, node_encryption_key) = generate_key_pair(2048, &mut rng).map_err(failed("make an RSA key"))?;
        Ok(World {
            services: made?,
            node_encryption_key,
        })
    }
}

impl Dead {
    fn read(out: &Path, options: &Options) -> Result<Dead> {
        let mut files = Vec::new();
        for name in ["ledger", "snapshots"] {
            for (path, content) in read_directory(&out.join(name))? {
                files.push((Path::new(name).join(path.file_name().unwrap_or_default()), content));
            }
        }
        let read = |name: String| {
            let path = out.join("common").join(name);
            let text = std::fs::read_to_string(&path).map(Zeroizing::new);
            text.map_err(Error::io("read", &path))
        };
        let member = |number: usize| {
            let certificate = Certificate::from_pem(&read(format!("member{number}_cert.pem"))?)
                .map_err(failed("read a certificate"))?;
            let key = DecryptionKey::from_pem(&read(format!("member{number}_enc_privk.pem"))?);
            Ok(Member {
                id: hex::encode(member_id(certificate.der())),
                encryption: key.map_err(failed("read an RSA key"))?,
            })
        };
        let members = (0..options.members).map(member).collect::<Result<Vec<_>>>()?;
        Ok(Dead {
            files,
            members,
            threshold: options.threshold,
        })
    }
}

/// The files of a directory with their contents.
pub(super) fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let io = || Error::io("read the directory", directory);
    let mut files = Vec::new();
    for item in std::fs::read_dir(directory).map_err(io())? {
        let path = item.map_err(io())?.path();
        let content = std::fs::read(&path).map_err(Error::io("read", &path))?;
        files.push((path, content));
    }
    files.sort();
    Ok(files)
}

//! Where an archive's objects are: a directory, or a prefix in an object store.
//!
//! Both promise the same: an object is there as a whole or not at all, and what was put is durable when `put` returns.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

#[cfg(feature = "object-store")]
mod client;
mod directory;
#[cfg(feature = "object-store")]
mod object;

pub use directory::DirectoryStore;

/// Objects by name. Names are `manifest`, `manifest.spare`, `blocks/…`.
pub trait Store: Send + Sync {
    /// What a person calls it.
    fn name(&self) -> String;
    /// Its bytes, no more than `most` of them; none if there is no such object.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn get(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>>;
    /// Some of its bytes, as many as there are.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn get_part(&self, name: &str, part: Range<u64>) -> Result<Vec<u8>>;
    /// Puts an object, in place of one of that name.
    ///
    /// # Errors
    /// Whatever keeps it from being there as a whole.
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()>;
    /// Puts an object of a name that nothing has yet; answers whether that is so.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool>;
    /// All names and sizes, in order; those of foreign objects too.
    ///
    /// # Errors
    /// Whatever keeps it from being listed; also if there are more than a million.
    fn list(&self) -> Result<Vec<(String, u64)>>;
    /// Where it is on this machine's disk, if it is there.
    fn directory(&self) -> Option<&Path> {
        None
    }
    /// Whether many small reads cost much: then whole packs are read.
    fn is_far(&self) -> bool;
}

/// Objects listed at most: sixty terabytes of packs.
const MAX_OBJECTS: usize = 1_000_000;

fn too_many(name: &str) -> Error {
    Error::Unreadable(format!(
        "{name} holds more than {MAX_OBJECTS} objects, more than any archive"
    ))
}

/// Whether a destination is a URL rather than a path.
pub fn is_url(destination: &Path) -> bool {
    let text = destination.to_string_lossy();
    text.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The store at a path or URL, to be read.
///
/// # Errors
/// If there is none, or this build has no object stores.
pub fn open(destination: &Path) -> Result<Arc<dyn Store>> {
    match is_url(destination) {
        true => open_url(destination),
        false => Ok(Arc::new(DirectoryStore::open(destination)?)),
    }
}

/// The store at a path or URL, to be written; a directory is made, and held against a second run.
///
/// # Errors
/// As [`open`]; if it can't be made, or somebody else is writing there.
pub fn create(destination: &Path) -> Result<Arc<dyn Store>> {
    match is_url(destination) {
        true => open_url(destination),
        false => Ok(Arc::new(DirectoryStore::create(destination)?)),
    }
}

#[cfg(feature = "object-store")]
fn open_url(destination: &Path) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(object::ObjectStore::open(&destination.to_string_lossy())?))
}

#[cfg(not(feature = "object-store"))]
fn open_url(_: &Path) -> Result<Arc<dyn Store>> {
    Err(Error::Usage(
        "this rekindle was built without object stores (feature object-store); give a directory".to_owned(),
    ))
}

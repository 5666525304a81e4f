//! Objects in S3, Azure Blob Storage or Google Cloud Storage.
//!
//! Credentials and endpoints come from the environment, by the names that each cloud's own tools use. A put is one request: until
//! its last byte has come and its answer is sent there is no object, so an interrupted upload leaves nothing that could be taken
//! for one. What fails in between is tried again. A listing has so many pages, and no more.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStoreExt as _, PutMode, RetryConfig};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::client::Bounded;
use super::{MAX_OBJECTS, Store, too_many};
use crate::error::{Error, Result};
use crate::shown::{excerpt, line};

/// How long a request may take: a pack of 64 MiB over a line of 2 Mbit/s.
const TIMEOUT: &str = "300s";
/// How often a request is tried again, and for how long: what a server's restart takes.
const RETRIES: usize = 10;
const RETRY_FOR: Duration = Duration::from_secs(180);

/// Pages of a listing at most: those of a million objects, and as many empty ones.
const MAX_PAGES: usize = 2000;
/// A store in which one page of a listing can be asked for.
trait Far: object_store::ObjectStore + PaginatedListStore {}

impl<T: object_store::ObjectStore + PaginatedListStore> Far for T {}

/// A prefix in an object store.
pub struct ObjectStore {
    store: Arc<dyn Far>,
    prefix: Path,
    name: String,
    runtime: Runtime,
}

impl ObjectStore {
    /// The store at a URL.
    ///
    /// # Errors
    /// If the URL or what the environment says of it can't be.
    pub fn open(url: &str) -> Result<ObjectStore> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let is_plain = !rest.contains(['@', '?', '#']);
        // What else is in it may be a credential, and is not repeated.
        let name = match is_plain {
            true => line(url).into_owned(),
            false => format!("{}://...", line(scheme)),
        };
        let refused = |why: String| Error::Usage(format!("{name} can't be used as an archive: {why}"));
        if !is_plain {
            return Err(refused(
                "it holds more than a bucket and a prefix; credentials belong into the environment".to_owned(),
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|why| refused(why.to_string()))?;
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        };
        let timeout = ClientConfigKey::Timeout;
        let bare = format!("{scheme}://{bucket}");
        let built: object_store::Result<Arc<dyn Far>> = match scheme {
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_config(AmazonS3ConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry).with_http_connector(Bounded);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "az" | "azure" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env().with_config(AzureConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry).with_http_connector(Bounded);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let builder =
                    GoogleCloudStorageBuilder::from_env().with_config(GoogleConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry).with_http_connector(Bounded);
                builder.build().map(|store| Arc::new(store) as _)
            }
            other => {
                return Err(refused(format!(
                    "there is no store of the kind {other}; expected s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX"
                )));
            }
        };
        let store = built.map_err(|why| refused(without_secrets(&why.to_string())))?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|why| Error::Unreadable(format!("no threads can be started: {why}")))?;
        Ok(ObjectStore {
            store,
            prefix,
            name,
            runtime,
        })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, doing: &'static str, name: &str, why: &object_store::Error) -> Error {
        let text = format!(
            "{}; the same command goes on from there when it is run again",
            excerpt(&without_secrets(&why.to_string()))
        );
        match why {
            object_store::Error::PermissionDenied { .. } => {
                let path = std::path::PathBuf::from(format!("{}/{name}", self.name));
                Error::io(doing, &path)(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text))
            }
            _ => Error::Unreadable(format!("could not {doing} {name} in {}: {text}", self.name)),
        }
    }
}

impl Store for ObjectStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn get(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        let got = self.runtime.block_on(async {
            let answer = self.store.get(&path).await?;
            match answer.meta.size {
                size if size > most => self.store.get_range(&path, 0..most).await,
                _ => answer.bytes().await,
            }
        });
        match got {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(why) => Err(self.failed("read", name, &why)),
        }
    }

    fn get_part(&self, name: &str, part: Range<u64>) -> Result<Vec<u8>> {
        let path = self.path(name);
        let got = self.runtime.block_on(self.store.get_range(&path, part));
        got.map(Into::into).map_err(|why| self.failed("read", name, &why))
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(name);
        let put = self.runtime.block_on(self.store.put(&path, bytes.into()));
        put.map(drop).map_err(|why| self.failed("store", name, &why))
    }

    fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        let path = self.path(name);
        let put = self.store.put_opts(&path, bytes.clone().into(), PutMode::Create.into());
        match self.runtime.block_on(put) {
            Ok(_) => Ok(true),
            // Ours, if only the answer to it was lost.
            Err(object_store::Error::AlreadyExists { .. }) => Ok(self
                .get(name, bytes.len() as u64 + 1)?
                .is_some_and(|found| found == bytes)),
            // A server that does not know how to: between looking and putting there is but a moment.
            Err(_) => match self.get(name, bytes.len() as u64 + 1)? {
                Some(found) => Ok(found == bytes),
                None => self.put(name, bytes).map(|()| true),
            },
        }
    }

    fn list(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let blocks = self.path("blocks");
        let mut pages = 0;
        for (prefix, before) in [(&self.prefix, ""), (&blocks, "blocks/")] {
            let prefix = match prefix.as_ref() {
                "" => None,
                prefix => Some(format!("{prefix}/")),
            };
            let mut page_token = None;
            loop {
                let options = PaginatedListOptions {
                    delimiter: Some("/".into()),
                    page_token: page_token.take(),
                    ..PaginatedListOptions::default()
                };
                let page = self
                    .runtime
                    .block_on(self.store.list_paginated(prefix.as_deref(), options));
                let page = page.map_err(|why| self.failed("list", "objects", &why))?;
                for object in page.result.objects {
                    found.push((
                        format!("{before}{}", object.location.filename().unwrap_or_default()),
                        object.size,
                    ));
                }
                pages += 1;
                if found.len() > MAX_OBJECTS || pages > MAX_PAGES {
                    return Err(too_many(&self.name));
                }
                match page.page_token {
                    Some(token) => page_token = Some(token),
                    None => break,
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_far(&self) -> bool {
        true
    }
}

/// What the environment says that nobody is to read, taken out of what a server or a library says.
fn without_secrets(text: &str) -> String {
    let mut text = text.to_owned();
    let is_of_a_cloud = |name: &str| {
        ["AWS_", "AZURE_", "GOOGLE_"]
            .iter()
            .any(|cloud| name.starts_with(cloud))
    };
    let is_secret = |name: &str| {
        ["SECRET", "TOKEN", "KEY", "SAS", "PASSWORD"]
            .iter()
            .any(|word| name.contains(word))
    };
    for (name, value) in std::env::vars_os() {
        let (Some(name), Ok(value)) = (name.to_str(), value.into_string().map(Zeroizing::new)) else {
            continue;
        };
        // Of an endpoint with a password, the password.
        let inside = value
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'))
            .map(|(inside, _)| inside);
        let secret = if is_secret(name) { Some(value.as_str()) } else { inside };
        // A word of a few letters is no secret, and may stand anywhere.
        if let Some(secret) = secret.filter(|secret| is_of_a_cloud(name) && secret.len() >= 6) {
            text = text.replace(secret, "...");
            // A signature in an address stands there among other fields, in any order.
            let fields = secret.split('&').filter_map(|field| field.split_once('='));
            for (_, value) in fields.filter(|(name, value)| *name == "sig" && value.len() >= 6) {
                text = text.replace(value, "...");
            }
        }
    }
    text
}

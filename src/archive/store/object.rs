//! Objects in S3, Azure Blob Storage or Google Cloud Storage.
//!
//! Credentials and endpoints come from the environment, by the names that each cloud's own tools use. A put is one request: until
//! its last byte has come and its answer is sent there is no object, so an interrupted upload leaves nothing that could be taken
//! for one. What fails in between is tried again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStoreExt as _, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::{MAX_OBJECTS, Store, too_large, too_many};
use crate::error::{Error, Result};
use crate::shown::{Shown, line};

/// How long a request may take: a pack of 64 MiB over a line of 2 Mbit/s.
const TIMEOUT: &str = "300s";
/// How often a request is tried again, and for how long: what a server's restart takes.
const RETRIES: usize = 10;
const RETRY_FOR: Duration = Duration::from_secs(180);

/// A prefix in an object store.
pub struct ObjectStore {
    store: Arc<dyn object_store::ObjectStore>,
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
        let name = line(url).into_owned();
        let refused = |why: String| Error::Usage(format!("{name} can't be used as an archive: {why}"));
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if rest.contains(['@', '?', '#']) {
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
        let built: object_store::Result<Arc<dyn object_store::ObjectStore>> = match scheme {
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_config(AmazonS3ConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "az" | "azure" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env().with_config(AzureConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let builder =
                    GoogleCloudStorageBuilder::from_env().with_config(GoogleConfigKey::Client(timeout), TIMEOUT);
                let builder = builder.with_url(bare).with_retry(retry);
                builder.build().map(|store| Arc::new(store) as _)
            }
            other => {
                return Err(refused(format!(
                    "there is no store of the kind {other}; expected s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX"
                )));
            }
        };
        let store = built.map_err(|why| refused(why.to_string()))?;
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

    fn failed(&self, doing: &str, name: &str, why: &object_store::Error) -> Error {
        Error::Unreadable(format!(
            "could not {doing} {name} in {}: {}; the same command goes on from there when it is run again",
            self.name,
            Shown(why)
        ))
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
                size if size > most => Ok(Err(size)),
                _ => answer.bytes().await.map(Ok),
            }
        });
        match got {
            Ok(Ok(bytes)) => Ok(Some(bytes.into())),
            Ok(Err(size)) => Err(too_large(&self.name, name, size, most)),
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

    fn list(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let blocks = self.path("blocks");
        for (prefix, before) in [(&self.prefix, ""), (&blocks, "blocks/")] {
            let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(prefix)));
            let listed = listed.map_err(|why| self.failed("list", "objects", &why))?;
            for object in listed.objects {
                found.push((
                    format!("{before}{}", object.location.filename().unwrap_or_default()),
                    object.size,
                ));
            }
            if found.len() > MAX_OBJECTS {
                return Err(too_many(&self.name));
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_far(&self) -> bool {
        true
    }
}

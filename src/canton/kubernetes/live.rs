//! A real cluster, through the `kube` client: kubeconfig or the service account of the pod that this runs in.

mod answers;
mod process;
mod proxy;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::autoscaling::v2 as autoscaling;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::cluster::{Claim, Cluster, Deployment, Exec, Exit, Failure, Pod, Scale};
use crate::shown::excerpt;

/// How long one call may take; commands in containers have their own measure.
const CALL: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// Objects asked for at once.
const PAGE: u32 = 250;
/// Objects of one kind in a namespace at most: a server that never stops counting is not followed.
const MOST: usize = 10_000;

/// A cluster that answers over the network.
pub struct Live {
    runtime: Runtime,
    client: Client,
    address: String,
}

impl Live {
    /// Reads the kubeconfig at `path`, or where the environment says, or the pod's service account; and takes `context`
    /// of it, or the current one. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure::Configuration`] where there is none, or it lacks what is needed.
    pub fn configured(path: Option<&Path>, context: Option<&str>) -> Result<Live, Failure> {
        // The client takes the process's default provider; where one is installed already, that one is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let wrong = |why: &dyn std::fmt::Display| Failure::Configuration(excerpt(&why.to_string()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|why| wrong(&why))?;
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let read = async {
            match (path, context) {
                (Some(path), _) => {
                    let file = Kubeconfig::read_from(path).map_err(|why| wrong(&why))?;
                    Config::from_custom_kubeconfig(file, &options)
                        .await
                        .map_err(|why| wrong(&why))
                }
                (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|why| wrong(&why)),
                (None, None) => Config::infer().await.map_err(|why| wrong(&why)),
            }
        };
        let mut config = runtime.block_on(read)?;
        config.connect_timeout = Some(CONNECT);
        let host = config.cluster_url.host().unwrap_or_default();
        let excluded = ["NO_PROXY", "no_proxy"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        let is_excluded = excluded.into_iter().any(|list| proxy::is_excluded(&list, host));
        if let Some(proxy) = &config.proxy_url {
            // The environment's applies to servers with TLS, as for every other client.
            let is_environments = ["HTTPS_PROXY", "https_proxy"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok())
                .any(|value| value.parse::<hyper::Uri>().is_ok_and(|value| &value == proxy));
            let is_plain = config.cluster_url.scheme_str() == Some("http");
            match is_environments && (is_excluded || is_plain) {
                true => config.proxy_url = None,
                false => {
                    return Err(Failure::Configuration(format!(
                        "the way to {host} leads through the proxy {}, which this client can't take: add the host to NO_PROXY \
                         where it can be reached directly, or run kubectl proxy and a kubeconfig for it",
                        proxy.host().unwrap_or_default()
                    )));
                }
            }
        }
        let server = config.cluster_url.to_string();
        let address = match context {
            Some(context) => excerpt(&format!("{server} (context {context})")),
            None => excerpt(&server),
        };
        let client = runtime
            .block_on(async { Client::try_from(config) })
            .map_err(|why| wrong(&why))?;
        Ok(Live {
            runtime,
            client,
            address,
        })
    }

    fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            match tokio::time::timeout(CALL, call).await {
                Ok(answer) => answer.map_err(|why| answers::failure(&why)),
                Err(_) => Err(Failure::TimedOut(format!(
                    "the cluster gave no answer within {} s",
                    CALL.as_secs()
                ))),
            }
        })
    }

    fn all<K>(&self, namespace: &str, labels: &str) -> Result<Vec<K>, Failure>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let mut list = ListParams::default().limit(PAGE);
        if !labels.is_empty() {
            list = list.labels(labels);
        }
        let mut all = Vec::new();
        loop {
            let page = self.call(api.list(&list))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                _ if all.len() > MOST => {
                    return Err(Failure::Local(format!(
                        "namespace {namespace} has more than {MOST} objects of a kind"
                    )));
                }
                Some(token) => list.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }
}

impl Cluster for Live {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn deployments(&self, namespace: &str) -> Result<Vec<Deployment>, Failure> {
        let all: Vec<apps::Deployment> = self.all(namespace, "")?;
        Ok(all.into_iter().map(answers::deployment).collect())
    }

    fn scale(&self, namespace: &str, deployment: &str) -> Result<Scale, Failure> {
        let api: Api<apps::Deployment> = Api::namespaced(self.client.clone(), namespace);
        let scale = self.call(api.get_scale(deployment))?;
        let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        Ok(Scale {
            wanted: u32::try_from(wanted).unwrap_or(0),
            present: scale
                .status
                .map_or(0, |status| u32::try_from(status.replicas).unwrap_or(0)),
        })
    }

    fn set_scale(&self, namespace: &str, deployment: &str, replicas: u32) -> Result<(), Failure> {
        let api: Api<apps::Deployment> = Api::namespaced(self.client.clone(), namespace);
        let patch = serde_json::json!({ "spec": { "replicas": replicas } });
        self.call(api.patch_scale(deployment, &PatchParams::default(), &Patch::Merge(patch)))
            .map(|_| ())
    }

    fn autoscaled(&self, namespace: &str) -> Result<Vec<String>, Failure> {
        let all: Vec<autoscaling::HorizontalPodAutoscaler> = self.all(namespace, "")?;
        let targets = all
            .into_iter()
            .filter_map(|one| one.spec)
            .map(|spec| spec.scale_target_ref);
        Ok(targets
            .filter(|target| target.kind == "Deployment")
            .map(|target| target.name)
            .collect())
    }

    fn pods(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Result<Vec<Pod>, Failure> {
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let all: Vec<core::Pod> = self.all(namespace, &selector.join(","))?;
        Ok(all.into_iter().map(answers::pod).collect())
    }

    fn claims(&self, namespace: &str) -> Result<Vec<Claim>, Failure> {
        let all: Vec<core::PersistentVolumeClaim> = self.all(namespace, "")?;
        Ok(all.into_iter().map(answers::claim).collect())
    }

    fn exec(&self, exec: &Exec, stdin: &mut dyn Read, stdout: &mut dyn Write) -> Result<Exit, Failure> {
        let api: Api<core::Pod> = Api::namespaced(self.client.clone(), &exec.namespace);
        self.runtime.block_on(process::run(&api, exec, stdin, stdout))
    }
}

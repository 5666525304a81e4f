//! An API server of Kubernetes for tests: objects in memory, controllers that bring forth and delete pods after a while,
//! watches, and commands that really run, in a directory that stands for the containers' filesystem. A real `kubectl`
//! accepts it, which a test holds it to.

mod controllers;
mod exec;
mod routes;
mod websocket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The operator's token; another one is refused.
pub const TOKEN: &str = "an-operators-token";
/// What stands for a volume in commands.
pub const VOLUME: &str = "/domain-upgrade-dump";

/// How commands in containers go wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ExecFault {
    #[default]
    None,
    /// The command starts, and nothing moves any more.
    Hang,
    /// The connection is cut after so many bytes of input.
    CutAfter(usize),
    /// Every frame of input takes so long.
    Slow(Duration),
    /// Files may have this many blocks of 512 bytes: what a full disk is to a writer.
    DiskLimit(u32),
    /// The container's image lacks these tools.
    Without(Vec<String>),
    /// The pod is deleted after so many bytes of input.
    PodGoesAfter(usize),
    /// The renaming happens, and its answer is lost.
    CutAfterRename,
    /// What is written is not what was sent.
    Corrupts,
}

/// What goes wrong, and how fast things happen.
pub struct Manners {
    pub exec: ExecFault,
    /// 403 for these: verb and resource, as in RBAC.
    pub forbidden: Vec<(&'static str, &'static str)>,
    /// How many of the next changes of a scale meet a conflict.
    pub conflicts: u32,
    pub start: Duration,
    pub stop: Duration,
    /// Pods of these deployments never get ready, and why.
    pub failing: BTreeMap<String, &'static str>,
    /// Speaks v4 of the protocol for commands only, which can't pass on the end of the input.
    pub is_old: bool,
    /// Something that sets a deployment back as soon as it is scaled.
    pub sets_back: Option<String>,
}

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            exec: ExecFault::None,
            forbidden: Vec::new(),
            conflicts: 0,
            start: Duration::from_millis(150),
            stop: Duration::from_millis(150),
            failing: BTreeMap::new(),
            is_old: false,
            sets_back: None,
        }
    }
}

/// An event of a watch.
#[derive(Clone)]
struct Event {
    version: u64,
    kind: &'static str,
    resource: &'static str,
    object: Value,
}

#[derive(Default)]
pub struct State {
    version: u64,
    /// By resource, then by namespace and name.
    objects: BTreeMap<&'static str, BTreeMap<(String, String), Value>>,
    events: Vec<Event>,
    /// When a pod becomes ready, or is gone.
    due: BTreeMap<(String, String), Instant>,
    count: u64,
    pub manners: Manners,
    /// Every request: method and path.
    pub requests: Vec<String>,
    /// Commands that were begun.
    pub commands: u32,
}

pub struct ApiServer {
    pub state: Arc<Mutex<State>>,
    pub address: SocketAddr,
    pub directory: Arc<tempfile::TempDir>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ApiServer {
    pub fn start() -> ApiServer {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
        let directory = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(directory.path().join("volume")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = ApiServer {
            state: state.clone(),
            address,
            directory: directory.clone(),
            runtime: None,
        };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text()).unwrap();
        let volume = server.volume();
        let controlled = state.clone();
        runtime.spawn(async move {
            loop {
                controllers::act(&mut controlled.lock().unwrap());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, volume) = (state.clone(), volume.clone());
                let service =
                    hyper::service::service_fn(move |request| routes::answer(request, state.clone(), volume.clone()));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        server.runtime = Some(runtime);
        server
    }

    /// With the deployments of an SV, one ready pod each, and the claim of the SV app's volume.
    pub fn with_sv() -> ApiServer {
        let server = ApiServer::start();
        for name in [
            "global-domain-0-cometbft",
            "global-domain-0-mediator",
            "global-domain-0-sequencer",
            "participant-0",
            "scan-app",
            "sv-app",
            "validator-app",
            "sv-web-ui",
        ] {
            server.add(name, 1);
        }
        server.settle();
        server
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a deployment of namespace `sv`.
    pub fn add(&self, name: &str, replicas: u32) {
        let mut state = self.lock();
        let claim = format!("{name}-global-domain-migration-pvc");
        if name.ends_with("-app") {
            let object = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim, "namespace": "sv"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}},
                "status": {"phase": "Bound", "capacity": {"storage": "20Gi"}},
            });
            state.put("persistentvolumeclaims", object);
        }
        let volumes = match name.ends_with("-app") {
            true => json!([{"name": "dump", "persistentVolumeClaim": {"claimName": claim}}]),
            false => json!([]),
        };
        let mounts = match name.ends_with("-app") {
            true => json!([{"name": "dump", "mountPath": VOLUME}]),
            false => json!([]),
        };
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "sv", "labels": {"app": name}, "generation": 1},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"volumes": volumes, "containers": [
                        {"name": "istio-proxy", "image": "istio/proxyv2"},
                        {"name": name, "image": format!("example.org/splice/{name}:0.6.1"), "volumeMounts": mounts},
                    ]},
                },
            },
        });
        state.put("deployments", object);
    }

    /// Sets a variable of a deployment's container, in place of one of that name.
    pub fn set(&self, deployment: &str, variable: &str, value: &str) {
        let mut state = self.lock();
        let deployments = state.objects.get_mut("deployments").unwrap();
        let (_, object) = deployments
            .iter_mut()
            .find(|(_, one)| one["metadata"]["name"] == deployment)
            .unwrap();
        object["spec"]["template"]["spec"]["containers"][1]["env"] = json!([{"name": variable, "value": value}]);
    }

    /// Waits until every deployment is as it shall be.
    pub fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let is_settled = self
                .lock()
                .objects
                .get("deployments")
                .into_iter()
                .flatten()
                .all(|(_, one)| {
                    one["spec"]["replicas"] == one["status"]["readyReplicas"]
                        || (one["spec"]["replicas"] == 0 && one["status"]["replicas"] == 0)
                });
            if is_settled {
                return;
            }
            assert!(Instant::now() < end, "the test's own cluster does not settle");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Where the volume that is mounted in containers is on this machine.
    pub fn volume(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    pub fn target(&self) -> PathBuf {
        self.volume().join("domain_migration_dump.json")
    }

    /// Names of the files on the volume.
    pub fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.volume()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The pods of an app, as they are now.
    pub fn pods(&self, app: &str) -> Vec<String> {
        let state = self.lock();
        let pods = state.objects.get("pods").into_iter().flatten();
        pods.filter(|(_, pod)| pod["metadata"]["labels"]["app"] == app)
            .map(|((_, name), _)| name.clone())
            .collect()
    }

    /// Whether a pod is being deleted.
    pub fn has_leaving_pods(&self) -> bool {
        let state = self.lock();
        let mut pods = state.objects.get("pods").into_iter().flatten();
        pods.any(|(_, pod)| !pod["metadata"]["deletionTimestamp"].is_null())
    }

    /// Changes a pod of an app for good: controllers leave it as it is.
    pub fn change_pod(&self, app: &str, change: impl FnOnce(&mut Value)) {
        let name = self.pods(app).remove(0);
        let mut state = self.lock();
        let key = ("sv".to_owned(), name);
        state.due.remove(&key);
        let mut pod = state.objects["pods"][&key].clone();
        change(&mut pod);
        state.put("pods", pod);
    }

    pub fn replicas(&self, name: &str) -> u64 {
        self.lock().objects["deployments"][&("sv".to_owned(), name.to_owned())]["spec"]["replicas"]
            .as_u64()
            .unwrap()
    }

    fn kubeconfig_text(&self) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "operator", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator", "namespace": "sv"}}],
        });
        config.to_string()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    /// Stores an object, new or changed.
    fn put(&mut self, resource: &'static str, mut object: Value) {
        self.version += 1;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (
            text(&object["metadata"]["namespace"]),
            text(&object["metadata"]["name"]),
        );
        let is_new = !self.objects.get(resource).is_some_and(|all| all.contains_key(&key));
        if is_new {
            object["metadata"]["uid"] = json!(format!("00000000-0000-0000-0000-{:012}", self.version));
            object["metadata"]["creationTimestamp"] = json!("2026-11-20T12:00:00Z");
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.events.push(Event {
            version: self.version,
            kind: if is_new { "ADDED" } else { "MODIFIED" },
            resource,
            object: object.clone(),
        });
        self.objects.entry(resource).or_default().insert(key, object);
    }

    fn remove(&mut self, resource: &'static str, key: &(String, String)) {
        let Some(mut object) = self.objects.get_mut(resource).and_then(|all| all.remove(key)) else {
            return;
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.events.push(Event {
            version: self.version,
            kind: "DELETED",
            resource,
            object,
        });
    }

    /// Marks a pod as being deleted.
    fn delete_pod(&mut self, key: &(String, String)) {
        let Some(mut pod) = self.objects.get("pods").and_then(|all| all.get(key)).cloned() else {
            return;
        };
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-20T13:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        self.due.insert(key.clone(), Instant::now() + self.manners.stop);
        self.put("pods", pod);
    }
}

/// A `rekindle canton` against this server.
pub fn rekindle(server: &ApiServer, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command
        .arg("canton")
        .args(arguments)
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args(["-n", "sv"]);
    without_proxies(&mut command);
    command
}

/// A real `kubectl` against this server.
pub fn kubectl(server: &ApiServer, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("kubectl");
    command
        .args(arguments)
        .env("KUBECONFIG", server.kubeconfig())
        .env("HOME", server.directory.path());
    without_proxies(&mut command);
    command
}

fn without_proxies(command: &mut std::process::Command) {
    for name in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
}

//! A cluster in memory for tests: deployments bring forth and lose their pods over its own clock, and commands run for
//! real, by `sh`, in a directory that stands for the container's filesystem.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cluster::{Claim, Cluster, Container, Deployment, Exec, Exit, Failure, Mount, Pod, Scale};

/// The cluster. Its clock moves when [`Cluster::pause`] is called, and not otherwise.
pub struct InMemory {
    state: RefCell<BTreeMap<String, Running>>,
    clock: Cell<Duration>,
    /// How long a pod takes to start and to be deleted.
    pub pod_time: Duration,
    /// The claims of every namespace.
    pub claims: Vec<Claim>,
    /// Deployments that an autoscaler manages.
    pub autoscaled: Vec<String>,
    /// Failures that the next calls of [`Cluster::set_scale`] meet, first first.
    pub failing: RefCell<Vec<Failure>>,
    /// What was scaled to how many, in order.
    pub scaled: RefCell<Vec<(String, u32)>>,
    /// The directory that stands for `/` of every container.
    pub root: tempfile::TempDir,
}

struct Running {
    deployment: Deployment,
    pods: Vec<(Pod, Duration)>,
    leaving: Vec<(Pod, Duration)>,
    count: u32,
}

impl InMemory {
    /// A namespace with these deployments, one ready pod each.
    pub fn of(names: &[&str]) -> InMemory {
        let cluster = InMemory {
            state: RefCell::default(),
            clock: Cell::new(Duration::from_secs(1000)),
            pod_time: Duration::from_secs(20),
            claims: vec![Claim {
                name: "sv-app-global-domain-migration-pvc".to_owned(),
                phase: "Bound".to_owned(),
                capacity_bytes: Some(20 << 30),
            }],
            autoscaled: Vec::new(),
            failing: RefCell::default(),
            scaled: RefCell::default(),
            root: tempfile::tempdir().unwrap(),
        };
        for name in names {
            cluster.add(name, 1);
        }
        cluster
    }

    /// Adds a deployment with this many ready pods.
    pub fn add(&self, name: &str, replicas: u32) {
        let labels = BTreeMap::from([("app".to_owned(), name.to_owned())]);
        let mut running = Running {
            deployment: Deployment {
                name: name.to_owned(),
                labels: labels.clone(),
                selector: labels,
                images: vec![format!("example.org/splice/{name}:0.6.1")],
                replicas,
                is_observed: true,
                ..Deployment::default()
            },
            pods: Vec::new(),
            leaving: Vec::new(),
            count: 0,
        };
        running.follow(Duration::ZERO, Duration::ZERO);
        self.state.borrow_mut().insert(name.to_owned(), running);
    }

    /// Where a path of the containers is on this machine.
    pub fn local(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Changes pods of a deployment as they are shown from now on.
    pub fn with_pods(&self, name: &str, change: impl Fn(&mut Vec<Pod>)) {
        let mut state = self.state.borrow_mut();
        let running = state.get_mut(name).unwrap();
        let mut pods: Vec<Pod> = running.pods.iter().map(|(pod, _)| pod.clone()).collect();
        change(&mut pods);
        running.pods = pods.into_iter().map(|pod| (pod, Duration::ZERO)).collect();
    }

    fn absent(name: &str) -> Failure {
        Failure::Refused {
            status: 404,
            reason: "NotFound".to_owned(),
            message: format!("deployments.apps \"{name}\" not found"),
        }
    }

    fn update(&self) {
        for running in self.state.borrow_mut().values_mut() {
            running.follow(self.clock.get(), self.pod_time);
        }
    }
}

impl Running {
    /// What its controllers do: pods come and go until there are as many as there shall be.
    fn follow(&mut self, now: Duration, pod_time: Duration) {
        let wanted = usize::try_from(self.deployment.replicas).unwrap();
        while self.pods.len() > wanted {
            let (mut pod, _) = self.pods.pop().unwrap();
            pod.is_terminating = true;
            self.leaving.push((pod, now + pod_time));
        }
        while self.pods.len() < wanted {
            self.count += 1;
            let pod = pod(&self.deployment.name, self.count);
            self.pods.push((pod, now + pod_time));
        }
        self.leaving.retain(|(_, until)| *until > now);
        for (pod, from) in &mut self.pods {
            if *from <= now && pod.phase == "Pending" {
                pod.phase = "Running".to_owned();
                for container in &mut pod.containers {
                    (container.is_running, container.is_ready, container.reason) = (true, true, None);
                }
            }
        }
        let ready = self
            .pods
            .iter()
            .filter(|(pod, _)| pod.containers.iter().all(|one| one.is_ready));
        self.deployment.ready = u32::try_from(ready.count()).unwrap();
        self.deployment.present = u32::try_from(self.pods.len()).unwrap();
    }
}

fn pod(app: &str, count: u32) -> Pod {
    Pod {
        name: format!("{app}-7d9c5b6f8-x{count:04}"),
        phase: "Pending".to_owned(),
        is_terminating: false,
        containers: vec![Container {
            name: app.to_owned(),
            reason: Some("ContainerCreating".to_owned()),
            mounts: vec![Mount {
                path: "/domain-upgrade-dump".to_owned(),
                claim: Some(format!("{app}-global-domain-migration-pvc")),
                is_read_only: false,
            }],
            ..Container::default()
        }],
    }
}

impl Cluster for InMemory {
    fn address(&self) -> String {
        "a cluster in memory".to_owned()
    }

    fn deployments(&self, _: &str) -> Result<Vec<Deployment>, Failure> {
        self.update();
        Ok(self.state.borrow().values().map(|one| one.deployment.clone()).collect())
    }

    fn scale(&self, _: &str, name: &str) -> Result<Scale, Failure> {
        self.update();
        let state = self.state.borrow();
        let running = state.get(name).ok_or_else(|| InMemory::absent(name))?;
        Ok(Scale {
            wanted: running.deployment.replicas,
            present: running.deployment.present,
        })
    }

    fn set_scale(&self, _: &str, name: &str, replicas: u32) -> Result<(), Failure> {
        if !self.failing.borrow().is_empty() {
            return Err(self.failing.borrow_mut().remove(0));
        }
        let mut state = self.state.borrow_mut();
        let running = state.get_mut(name).ok_or_else(|| InMemory::absent(name))?;
        running.deployment.replicas = replicas;
        running.follow(self.clock.get(), self.pod_time);
        self.scaled.borrow_mut().push((name.to_owned(), replicas));
        Ok(())
    }

    fn autoscaled(&self, _: &str) -> Result<Vec<String>, Failure> {
        Ok(self.autoscaled.clone())
    }

    fn pods(&self, _: &str, labels: &BTreeMap<String, String>) -> Result<Vec<Pod>, Failure> {
        self.update();
        let state = self.state.borrow();
        let matching = state.values().filter(|one| {
            labels
                .iter()
                .all(|(key, value)| one.deployment.selector.get(key) == Some(value))
        });
        Ok(matching
            .flat_map(|one| one.pods.iter().chain(&one.leaving))
            .map(|(pod, _)| pod.clone())
            .collect())
    }

    fn claims(&self, _: &str) -> Result<Vec<Claim>, Failure> {
        Ok(self.claims.clone())
    }

    fn exec(&self, exec: &Exec, stdin: &mut dyn Read, stdout: &mut dyn Write) -> Result<Exit, Failure> {
        let (program, arguments) = exec.command.split_first().unwrap();
        // Absolute paths of the container are ones below the root here.
        let root = self.root.path().to_str().unwrap();
        let arguments = arguments
            .iter()
            .map(|text| text.replace("/domain-upgrade-dump", &format!("{root}/domain-upgrade-dump")));
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| Failure::Unreachable(why.to_string()))?;
        let mut pipe = child.stdin.take().unwrap();
        // A command may end without reading all of it.
        let _ = std::io::copy(stdin, &mut pipe);
        drop(pipe);
        let out = child.wait_with_output().unwrap();
        stdout
            .write_all(&out.stdout)
            .map_err(|why| Failure::Local(why.to_string()))?;
        Ok(Exit {
            code: out.status.code().unwrap_or(137),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }

    fn pause(&self, time: Duration) {
        self.clock.set(self.clock.get() + time);
    }
}

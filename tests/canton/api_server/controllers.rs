//! What a cluster's controllers do: as many pods as a deployment shall have, and its status after them.

use std::time::Instant;

use serde_json::{Value, json};

use super::State;

/// One round of all controllers.
pub fn act(state: &mut State) {
    let now = Instant::now();
    let deployments: Vec<Value> = state
        .objects
        .get("deployments")
        .into_iter()
        .flatten()
        .map(|(_, one)| one.clone())
        .collect();
    for deployment in deployments {
        follow(state, deployment, now);
    }
    let pods: Vec<((String, String), Value)> = state
        .objects
        .get("pods")
        .into_iter()
        .flatten()
        .map(|(key, pod)| (key.clone(), pod.clone()))
        .collect();
    for (key, mut pod) in pods {
        if state.due.get(&key).is_none_or(|due| *due > now) {
            continue;
        }
        state.due.remove(&key);
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            state.remove("pods", &key);
            continue;
        }
        let app = pod["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned();
        let failing = state.manners.failing.get(&app).copied();
        pod["status"] = status(&pod, failing);
        state.put("pods", pod);
    }
}

fn follow(state: &mut State, deployment: Value, now: Instant) {
    let name = deployment["metadata"]["name"].as_str().unwrap().to_owned();
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap() as usize;
    let of = |pod: &Value| {
        pod["metadata"]["labels"]["app"] == name.as_str() && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let all: Vec<(String, String)> = state
        .objects
        .get("pods")
        .into_iter()
        .flatten()
        .filter(|(_, pod)| of(pod) && pod["status"]["phase"] != "Failed")
        .map(|(key, _)| key.clone())
        .collect();
    for key in all.iter().skip(wanted) {
        state.delete_pod(key);
    }
    for _ in all.len()..wanted {
        state.count += 1;
        let pod_name = format!("{name}-5d8f7c9b6-{:05}", state.count);
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod_name, "namespace": "sv", "labels": {"app": name}},
            "spec": deployment["spec"]["template"]["spec"],
            "status": {"phase": "Pending"},
        });
        pod["status"]["containerStatuses"] = containers(&pod, Some("ContainerCreating"));
        state.due.insert(("sv".to_owned(), pod_name), now + state.manners.start);
        state.put("pods", pod);
    }
    let pods: Vec<&Value> = state
        .objects
        .get("pods")
        .into_iter()
        .flatten()
        .map(|(_, pod)| pod)
        .filter(|pod| of(pod))
        .collect();
    let is_ready = |pod: &&&Value| {
        pod["status"]["containerStatuses"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["ready"] == true))
    };
    let ready = pods.iter().filter(is_ready).count();
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": pods.len(), "updatedReplicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready,
        "conditions": [{"type": "Available", "status": if ready >= wanted { "True" } else { "False" }}],
    });
    if deployment["status"] != status {
        let mut deployment = deployment;
        deployment["status"] = status;
        state.put("deployments", deployment);
    }
}

fn status(pod: &Value, failing: Option<&str>) -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": if failing.is_none() { "True" } else { "False" }}],
        "containerStatuses": containers(pod, failing),
    })
}

fn containers(pod: &Value, waiting: Option<&str>) -> Value {
    let all = pod["spec"]["containers"].as_array().unwrap().iter();
    all.map(|container| {
        let state = match waiting {
            Some(reason) => json!({"waiting": {"reason": reason}}),
            None => json!({"running": {"startedAt": "2026-11-20T12:00:01Z"}}),
        };
        json!({
            "name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0,
            "ready": waiting.is_none(), "started": waiting.is_none(), "state": state,
        })
    })
    .collect()
}

//! The API: discovery, lists, single objects, patches, the scale subresource, watches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{State, TOKEN, exec};

pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A resource: its group and version, its name, its kind, and what may be done with it.
const RESOURCES: [(&str, &str, &str); 4] = [
    ("v1", "pods", "Pod"),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("apps/v1", "deployments", "Deployment"),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
];

pub async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    volume: PathBuf,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let query = parse_query(request.uri().query().unwrap_or_default());
    state
        .lock()
        .unwrap()
        .requests
        .push(format!("{} {path}", request.method()));
    let token = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    // `kubectl` keeps tokens to itself where there is no TLS.
    if token.is_some_and(|token| token != format!("Bearer {TOKEN}")) {
        return Ok(refusal(401, "Unauthorized", "Unauthorized"));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let Some(document) = discovery(&parts) {
        return Ok(document);
    }
    // `kubectl` asks for the namespace when something in it is missing.
    if let ["api", "v1", "namespaces", name @ "sv"] = parts.as_slice() {
        return Ok(document(
            200,
            &json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
        ));
    }
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", "namespaces", namespace, rest @ ..] => ("v1".to_owned(), (*namespace, rest)),
        ["apis", group, version, "namespaces", namespace, rest @ ..] => {
            (format!("{group}/{version}"), (*namespace, rest))
        }
        _ => {
            return Ok(refusal(
                404,
                "NotFound",
                "the server could not find the requested resource",
            ));
        }
    };
    let (namespace, rest) = rest;
    let found = rest
        .first()
        .and_then(|name| RESOURCES.iter().find(|one| one.0 == group && one.1 == *name));
    let Some((_, resource, kind)) = found else {
        return Ok(refusal(
            404,
            "NotFound",
            "the server could not find the requested resource",
        ));
    };
    let subresource = rest.get(2).copied().unwrap_or_default();
    let is_watch = query.get("watch").is_some_and(|value| value == "true" || value == "1");
    let verb = match (request.method(), rest.len(), subresource) {
        (_, _, "exec") => "create",
        (&Method::GET, 1, _) if is_watch => "watch",
        (&Method::GET, 1, _) => "list",
        (&Method::GET, ..) => "get",
        (&Method::DELETE, ..) => "delete",
        (&Method::PUT, ..) => "update",
        _ => "patch",
    };
    let right = if subresource.is_empty() {
        resource.to_string()
    } else {
        format!("{resource}/{subresource}")
    };
    if state
        .lock()
        .unwrap()
        .manners
        .forbidden
        .iter()
        .any(|(one, of)| *one == verb && *of == right)
    {
        let text = format!(
            "{right} is forbidden: User \"operator\" cannot {verb} resource \"{right}\" in the namespace \"{namespace}\""
        );
        return Ok(refusal(403, "Forbidden", &text));
    }
    let name = rest.get(1).copied().unwrap_or_default();
    let key = (namespace.to_owned(), name.to_owned());
    if subresource == "exec" {
        return Ok(exec::start(request, state, &key, volume));
    }
    if is_watch {
        return Ok(watch(state, resource, namespace, &query));
    }
    if rest.len() == 1 {
        let state = state.lock().unwrap();
        let all = state.objects.get(resource).into_iter().flatten();
        let items: Vec<&Value> = all
            .filter(|((of, _), one)| of == namespace && selected(one, &query))
            .map(|(_, one)| one)
            .collect();
        let version = state.version.to_string();
        return Ok(document(
            200,
            &json!({"kind": format!("{kind}List"), "apiVersion": group, "metadata": {"resourceVersion": version}, "items": items}),
        ));
    }
    let method = request.method().clone();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let mut state = state.lock().unwrap();
    let Some(mut object) = state.objects.get(resource).and_then(|all| all.get(&key)).cloned() else {
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let dotted = if group.is_empty() {
            String::new()
        } else {
            format!(".{group}")
        };
        let message = format!("{resource}{dotted} \"{name}\" not found");
        let details = json!({"name": name, "group": group, "kind": resource});
        return Ok(document(
            404,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
                "message": message, "details": details, "code": 404}),
        ));
    };
    match (method, subresource) {
        (Method::GET, "") => Ok(document(200, &object)),
        (Method::DELETE, "") if *resource == "pods" => {
            state.delete_pod(&key);
            Ok(document(200, &object))
        }
        (Method::GET, "scale") => Ok(document(200, &scale(&object))),
        (Method::PATCH | Method::PUT, "" | "scale") => {
            if state.manners.conflicts > 0 {
                state.manners.conflicts -= 1;
                let text = format!(
                    "Operation cannot be fulfilled on {resource} \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
                );
                return Ok(refusal(409, "Conflict", &text));
            }
            let change: Value = serde_json::from_slice(&body).unwrap_or_default();
            let Some(replicas) = change["spec"]["replicas"].as_i64() else {
                return Ok(refusal(422, "Invalid", "only spec.replicas can be changed here"));
            };
            let replicas = if state.manners.sets_back.as_deref() == Some(name) {
                1
            } else {
                replicas
            };
            object["spec"]["replicas"] = json!(replicas);
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            state.put("deployments", object.clone());
            Ok(document(
                200,
                &if subresource == "scale" { scale(&object) } else { object },
            ))
        }
        _ => Ok(refusal(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
    }
}

fn scale(deployment: &Value) -> Value {
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let selector: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    let metadata = &deployment["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]},
        "spec": {"replicas": deployment["spec"]["replicas"]},
        "status": {"replicas": deployment["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}

fn discovery(parts: &[&str]) -> Option<Answer> {
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let resources = |of: &str| {
        let all = RESOURCES.iter().filter(|one| one.0 == of);
        let mut list: Vec<Value> = all
            .map(|(_, name, kind)| {
                json!({"name": name, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind,
                    "shortNames": if *name == "deployments" { json!(["deploy"]) } else { json!([]) },
                    "verbs": ["get", "list", "watch", "patch", "update", "delete"]})
            })
            .collect();
        if of == "apps/v1" {
            list.push(
                json!({"name": "deployments/scale", "singularName": "", "namespaced": true, "kind": "Scale",
                "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]}),
            );
        }
        if of == "v1" {
            list.push(json!({"name": "pods/exec", "singularName": "", "namespaced": true, "kind": "PodExecOptions", "verbs": ["create", "get"]}));
        }
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": of, "resources": list})
    };
    let found = match parts {
        ["version"] => json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"}),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"]}),
        ["apis"] => {
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps", "v1"), group("autoscaling", "v2")]})
        }
        ["api", "v1"] => resources("v1"),
        ["apis", group, version] => resources(&format!("{group}/{version}")),
        _ => return None,
    };
    Some(document(200, &found))
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// A part of a query, without its percent signs.
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap()
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let has = |selector: &str, of: &dyn Fn(&str) -> Value| {
        selector.split(',').filter(|one| !one.is_empty()).all(|one| {
            let (key, value) = one.split_once('=').unwrap_or((one, ""));
            of(key) == value.trim_start_matches('=')
        })
    };
    let labels = query.get("labelSelector").map_or("", String::as_str);
    let fields = query.get("fieldSelector").map_or("", String::as_str);
    has(labels, &|key| object["metadata"]["labels"][key].clone())
        && has(fields, &|key| {
            object["metadata"][key.trim_start_matches("metadata.")].clone()
        })
}

/// A watch: events since a version, and those to come.
fn watch(
    state: Arc<Mutex<State>>,
    resource: &'static str,
    namespace: &str,
    query: &BTreeMap<String, String>,
) -> Answer {
    let (namespace, query) = (namespace.to_owned(), query.clone());
    let mut since: u64 = query
        .get("resourceVersion")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let seconds = query
        .get("timeoutSeconds")
        .and_then(|text| text.parse().ok())
        .unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while Instant::now() < end {
            let events: Vec<_> = {
                let state = state.lock().unwrap();
                let new = state
                    .events
                    .iter()
                    .filter(|event| event.version > since && event.resource == resource);
                new.filter(|event| {
                    event.object["metadata"]["namespace"] == namespace.as_str() && selected(&event.object, &query)
                })
                .cloned()
                .collect()
            };
            for event in events {
                since = event.version;
                let line = format!("{}\n", json!({"type": event.kind, "object": event.object}));
                if sender.send(Bytes::from(line)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    Response::builder()
        .header("content-type", "application/json")
        .body(Channel(receiver).boxed())
        .unwrap()
}

struct Channel(mpsc::Receiver<Bytes>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

pub fn document(status: u16, document: &Value) -> Answer {
    let body = Full::new(Bytes::from(document.to_string())).boxed();
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

pub fn refusal(status: u16, reason: &str, message: &str) -> Answer {
    document(
        status,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": status}),
    )
}

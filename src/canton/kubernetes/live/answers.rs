//! What the API server's objects mean here. An absent field is taken as Kubernetes defines its default.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::cluster::{Claim, Container, Deployment, Failure, Mount, Pod};
use crate::shown::{excerpt, line};

/// Why a call failed.
pub fn failure(why: &kube::Error) -> Failure {
    match why {
        kube::Error::Api(status) => Failure::Refused {
            status: status.code,
            reason: excerpt(&status.reason),
            message: excerpt(&status.message),
        },
        kube::Error::Auth(why) => Failure::Configuration(chain(why)),
        kube::Error::UpgradeConnection(kube::client::UpgradeConnectionError::ProtocolSwitch(status)) => {
            Failure::Refused {
                status: status.as_u16(),
                reason: String::new(),
                message: "the server does not run commands over WebSocket".to_owned(),
            }
        }
        other => Failure::Unreachable(chain(other)),
    }
}

/// An error and what is behind it: libraries say at the top only that something failed.
pub fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(why) = source {
        let more = why.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = why.source();
    }
    excerpt(&text)
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// A name or label. The API server lets none in that can't be shown; from one that does, it comes escaped, and then names
/// nothing.
fn name(text: Option<String>) -> String {
    line(&text.unwrap_or_default()).into_owned()
}

fn names(labels: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let all = labels.unwrap_or_default().into_iter();
    all.map(|(key, value)| (name(Some(key)), name(Some(value)))).collect()
}

/// A deployment.
pub fn deployment(of: apps::Deployment) -> Deployment {
    let spec = of.spec.unwrap_or_default();
    let status = of.status.unwrap_or_default();
    let is_simple = spec.selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    let containers = spec.template.spec.map(|spec| spec.containers).unwrap_or_default();
    let variables = containers.iter().flat_map(|container| container.env.iter().flatten());
    // A variable without either is an empty one.
    let variable = |of: &core::EnvVar| match of.value_from {
        Some(_) => (of.name.clone(), None),
        None => (of.name.clone(), Some(of.value.clone().unwrap_or_default())),
    };
    Deployment {
        environment: variables.map(variable).collect(),
        name: name(of.metadata.name),
        labels: names(of.metadata.labels),
        selector: match is_simple {
            true => names(spec.selector.match_labels),
            false => BTreeMap::new(),
        },
        images: containers.into_iter().filter_map(|container| container.image).collect(),
        replicas: spec.replicas.map_or(1, |replicas| count(Some(replicas))),
        ready: count(status.ready_replicas),
        present: count(status.replicas),
        is_observed: status.observed_generation.unwrap_or(0) >= of.metadata.generation.unwrap_or(0),
    }
}

/// A pod.
pub fn pod(of: core::Pod) -> Pod {
    let spec = of.spec.unwrap_or_default();
    let status = of.status.unwrap_or_default();
    let claims: BTreeMap<String, (String, bool)> = spec
        .volumes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|volume| {
            let claim = volume.persistent_volume_claim?;
            Some((volume.name, (claim.claim_name, claim.read_only.unwrap_or(false))))
        })
        .collect();
    let statuses = status.container_statuses.unwrap_or_default();
    let containers = spec.containers.into_iter().map(|container| {
        let seen = statuses.iter().find(|one| one.name == container.name);
        let state = seen.and_then(|one| one.state.clone()).unwrap_or_default();
        let waiting = state.waiting.and_then(|waiting| waiting.reason);
        let ended = state.terminated.and_then(|ended| ended.reason);
        let mounts = container.volume_mounts.unwrap_or_default().into_iter().map(|mount| {
            let claim = claims.get(&mount.name);
            Mount {
                path: mount.mount_path,
                claim: claim.map(|(name, _)| name.clone()),
                is_read_only: mount.read_only.unwrap_or(false) || claim.is_some_and(|(_, is_read_only)| *is_read_only),
            }
        });
        Container {
            is_running: state.running.is_some(),
            is_ready: seen.is_some_and(|one| one.ready),
            reason: waiting.or(ended).map(|reason| excerpt(&reason)),
            mounts: mounts.collect(),
            name: name(Some(container.name)),
        }
    });
    Pod {
        name: name(of.metadata.name),
        phase: name(Some(status.phase.unwrap_or_else(|| "Unknown".to_owned()))),
        is_terminating: of.metadata.deletion_timestamp.is_some(),
        containers: containers.collect(),
    }
}

/// A claim of a volume.
pub fn claim(of: core::PersistentVolumeClaim) -> Claim {
    let status = of.status.unwrap_or_default();
    let capacity = status.capacity.unwrap_or_default();
    Claim {
        name: name(of.metadata.name),
        phase: status.phase.unwrap_or_else(|| "Unknown".to_owned()),
        capacity_bytes: capacity.get("storage").and_then(quantity),
    }
}

/// A quantity of bytes as Kubernetes writes it: `20Gi`, `500M`, `1.5Gi`, `1e9`, `1073741824`. Rounded down.
fn quantity(of: &Quantity) -> Option<u64> {
    let text = of.0.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = (text.get(..digits)?, text.get(digits..)?);
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "m" => 1e-3,
        power => 10f64.powi(power.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?.into()),
    };
    let bytes = number * factor;
    // Above this an f64 no longer counts single bytes, and no volume is that big.
    (bytes.is_finite() && (0.0..9e15).contains(&bytes)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let read = |text: &str| quantity(&Quantity(text.to_owned()));
        assert_eq!(read("20Gi"), Some(20 << 30));
        assert_eq!(read("1.5Ki"), Some(1536));
        assert_eq!(read("500M"), Some(500_000_000));
        assert_eq!(read("1e3"), Some(1000));
        assert_eq!(read("128974848000m"), Some(128_974_848));
        for wrong in ["", "Gi", "1Q", "-5", "1e999", "9999999Pi", "1.2.3", "1eé"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_empty_object_is_read_as_nothing_certain() {
        let pod = pod(core::Pod::default());
        assert_eq!((pod.phase.as_str(), pod.containers.len()), ("Unknown", 0));
        let deployment = deployment(apps::Deployment {
            spec: Some(apps::DeploymentSpec::default()),
            ..apps::Deployment::default()
        });
        assert_eq!(
            (deployment.replicas, deployment.ready),
            (1, 0),
            "one replica is the default"
        );
    }
}

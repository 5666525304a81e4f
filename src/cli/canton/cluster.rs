//! How commands reach a cluster.

use std::path::PathBuf;

use crate::canton::kubernetes::Failure;
use crate::canton::kubernetes::live::Live;
use crate::canton::kubernetes::scale::Kubectl;
use crate::error::{Error, Result};

/// Where the installation runs.
#[derive(clap::Args)]
pub struct ClusterArgs {
    /// The namespace of the SV's installation
    #[arg(long, short, value_name = "NAME", value_parser = namespace)]
    pub namespace: String,

    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod that this runs in]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl ClusterArgs {
    /// The cluster; nothing is sent yet.
    pub fn cluster(&self) -> std::result::Result<Live, Failure> {
        Live::configured(self.kubeconfig.as_deref(), self.context.as_deref())
    }

    /// How `kubectl` reaches the same cluster.
    pub fn kubectl(&self) -> Result<Kubectl> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Some(
                path.to_str()
                    .ok_or_else(|| Error::Usage("the path of --kubeconfig is no UTF-8".to_owned()))?,
            ),
            None => None,
        };
        Ok(Kubectl {
            kubeconfig: kubeconfig.map(str::to_owned),
            context: self.context.clone(),
        })
    }
}

/// A name as Kubernetes allows it for namespaces, deployments and containers: it becomes a part of paths.
pub fn namespace(text: &str) -> std::result::Result<String, String> {
    let is_name = (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    match is_name {
        true => Ok(text.to_owned()),
        false => Err("expected lower-case letters, digits and hyphens, at most 63".to_owned()),
    }
}

//! `rekindle canton runbook` as operators run it: carried out against a cluster, killed at every line of its journal.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod killing;
mod network;
mod planning;
mod reonboarding;
mod restoring;
mod upgrade;

use crate::kubernetes::api_server::ApiServer;
use crate::sv_app::{Answer, SvApp};

struct Site {
    server: ApiServer,
    app: SvApp,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let app = SvApp::start("0.6.7", |request, _| {
            let active = serde_json::json!({"success": {"id": "x", "uptime": "PT5S", "ports": {}, "active": true}});
            let health = request.path.ends_with("/readyz") || request.path.ends_with("/livez");
            match request.path.ends_with("/cometbft/status") {
                _ if health => Answer::of(200, "", Vec::new()),
                true => Answer::json(
                    200,
                    &serde_json::json!({"id": "a", "catching_up": false, "voting_power": 1}),
                ),
                false => Answer::json(200, &active),
            }
        });
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "secret\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(directory.path().join("token"), private).unwrap();
        Site {
            server: ApiServer::with_sv(),
            app,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .args(["canton", "runbook"])
            .args(arguments)
            .current_dir(self.directory.path());
        command.args(["--url", &self.app.url, "--token-file", "token"]);
        command.arg("--kubeconfig").arg(self.server.kubeconfig());
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
        command.stdin(Stdio::null());
        command
    }

    fn private(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.path(name), private).unwrap();
    }

    /// The operator's command that starts these parts.
    fn starts(&self, parts: &str) -> String {
        format!(
            "'{}' canton scale -n sv --serial 1 --only {parts} --up --execute --kubeconfig '{}' && echo {parts} >> done",
            env!("CARGO_BIN_EXE_rekindle"),
            self.server.kubeconfig().to_str().unwrap()
        )
    }

    fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("journal")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn text(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

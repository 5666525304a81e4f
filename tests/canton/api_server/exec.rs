//! Commands in containers: WebSocket, channels v4 and v5, and a real process at the end of them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use super::routes::{Answer, decoded, refusal};
use super::{ExecFault, State, VOLUME, websocket};

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

pub fn start(request: Request<Incoming>, state: Arc<Mutex<State>>, key: &(String, String), volume: PathBuf) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let values = |of: &str| -> Vec<String> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(name, _)| *name == of)
            .map(|(_, value)| decoded(value))
            .collect()
    };
    let (command, container) = (values("command"), values("container").pop().unwrap_or_default());
    let (fault, is_old) = {
        let mut state = state.lock().unwrap();
        let Some(pod) = state.objects.get("pods").and_then(|all| all.get(key)) else {
            return refusal(404, "NotFound", &format!("pods \"{}\" not found", key.1));
        };
        let containers = pod["status"]["containerStatuses"].as_array().unwrap();
        let Some(of) = containers.iter().find(|one| one["name"] == container.as_str()) else {
            return refusal(
                400,
                "BadRequest",
                &format!("container {container} is not valid for pod {}", key.1),
            );
        };
        if of["state"]["running"].is_null() {
            return refusal(
                500,
                "InternalError",
                &format!("unable to upgrade connection: container not found (\"{container}\")"),
            );
        }
        state.commands += 1;
        (state.manners.exec.clone(), state.manners.is_old)
    };
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    if !header("upgrade").eq_ignore_ascii_case("websocket") {
        return refusal(400, "BadRequest", "Upgrade request required");
    }
    let wanted = if is_old {
        "v4.channel.k8s.io"
    } else {
        "v5.channel.k8s.io"
    };
    let offered = header("sec-websocket-protocol");
    let Some(protocol) = offered
        .split(',')
        .map(str::trim)
        .find(|one| *one == wanted)
        .map(str::to_owned)
    else {
        return refusal(403, "Forbidden", "no protocol in common");
    };
    let accept = websocket::accept(&header("sec-websocket-key"));
    let key = key.clone();
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            serve(TokioIo::new(upgraded), state, key, command, fault, &volume).await;
        }
    });
    Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept)
        .header("sec-websocket-protocol", protocol)
        .body(Full::new(Bytes::new()).boxed())
        .unwrap()
}

/// The command as it runs here: paths of the container are below the volume's directory.
fn process(command: &[String], fault: &ExecFault, volume: &Path) -> std::process::Command {
    let local = |text: &String| text.replace(VOLUME, volume.to_str().unwrap());
    let mut process = match fault {
        ExecFault::DiskLimit(blocks) => {
            let mut process = std::process::Command::new("sh");
            process.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"]);
            process.args(command.iter().map(local));
            process
        }
        _ => {
            let mut process = std::process::Command::new(&command[0]);
            process.args(command[1..].iter().map(local));
            process
        }
    };
    if let ExecFault::Without(tools) = fault {
        let bin = volume
            .parent()
            .unwrap()
            .join(format!("bin-without-{}", tools.join("-")));
        std::fs::create_dir_all(&bin).unwrap();
        for tool in [
            "sh",
            "head",
            "wc",
            "mv",
            "rm",
            "ln",
            "df",
            "tail",
            "cat",
            "sync",
            "sha256sum",
        ] {
            let link = bin.join(tool);
            if !tools.iter().any(|one| one == tool) && !link.exists() {
                let real = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(tool));
                std::os::unix::fs::symlink(real.iter().find(|path| path.exists()).unwrap(), link).unwrap();
            }
        }
        process.env("PATH", bin);
    }
    process
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process
}

async fn serve(
    stream: TokioIo<hyper::upgrade::Upgraded>,
    state: Arc<Mutex<State>>,
    key: (String, String),
    command: Vec<String>,
    fault: ExecFault,
    volume: &Path,
) {
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    let (frames, mut to_send) = mpsc::channel::<(u8, Vec<u8>)>(16);
    tokio::spawn(async move {
        while let Some((opcode, payload)) = to_send.recv().await {
            if websocket::write(&mut outgoing, opcode, &payload).await.is_err() {
                return;
            }
        }
        let _ = outgoing.shutdown().await;
    });
    if fault == ExecFault::Hang {
        tokio::time::sleep(Duration::from_secs(120)).await;
        return;
    }
    let is_rename = command.iter().any(|word| word.contains("|| exit 18"));
    let Ok(mut child) = process(&command, &fault, volume).spawn() else {
        let status = json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("OCI runtime exec failed: exec failed: unable to start container process: exec: \"{}\": executable file not found in $PATH", command[0])});
        let _ = frames
            .send((BINARY, [&[3], status.to_string().as_bytes()].concat()))
            .await;
        return;
    };
    let mut stdin = child.stdin.take();
    let out = spawn_forward(child.stdout.take().unwrap(), 1, frames.clone());
    let err = spawn_forward(child.stderr.take().unwrap(), 2, frames.clone());
    let (cut, mut is_cut) = oneshot::channel::<()>();
    let pong = frames.clone();
    let input_fault = fault.clone();
    let input = tokio::spawn(async move {
        let (mut taken, mut cut) = (0, Some(cut));
        while let Some((opcode, payload)) = websocket::read(&mut incoming).await {
            match (opcode, payload.first()) {
                (PING, _) => drop(pong.send((PONG, payload)).await),
                (CLOSE, _) => break,
                (BINARY, Some(0)) => {
                    let mut bytes = payload[1..].to_vec();
                    taken += bytes.len();
                    match &input_fault {
                        ExecFault::Slow(time) => tokio::time::sleep(*time).await,
                        ExecFault::CutAfter(limit) if taken >= *limit => {
                            let _ = cut.take().map(|cut| cut.send(()));
                        }
                        ExecFault::PodGoesAfter(limit) if taken >= *limit => {
                            state.lock().unwrap().delete_pod(&key);
                            {
                                let _ = cut.take().map(|cut| cut.send(()));
                            };
                        }
                        ExecFault::Corrupts => bytes.iter_mut().for_each(|byte| *byte ^= 1),
                        _ => {}
                    }
                    if let Some(pipe) = &mut stdin {
                        let _ = tokio::task::block_in_place(|| pipe.write_all(&bytes));
                    }
                }
                // v5: the input is at its end.
                (BINARY, Some(255)) => drop(stdin.take()),
                _ => {}
            }
        }
        // As with a runtime that notices: the command's input ends with the connection.
        drop(stdin);
        std::future::pending::<()>().await;
    });
    let status = tokio::select! {
        status = tokio::task::spawn_blocking(move || child.wait()) => status.unwrap(),
        _ = &mut is_cut => {
            input.abort();
            return;
        }
    };
    input.abort();
    let _ = (out.await, err.await);
    if fault == ExecFault::CutAfterRename && is_rename {
        return;
    }
    let code = status.ok().and_then(|status| status.code()).unwrap_or(137);
    let status = match code {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    };
    let _ = frames
        .send((BINARY, [&[3], status.to_string().as_bytes()].concat()))
        .await;
    let _ = frames.send((CLOSE, 1000u16.to_be_bytes().to_vec())).await;
}

fn spawn_forward(
    mut from: impl Read + Send + 'static,
    channel: u8,
    frames: mpsc::Sender<(u8, Vec<u8>)>,
) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let frame = [&[channel], &buffer[..length]].concat();
            if frames.blocking_send((BINARY, frame)).is_err() {
                return;
            }
        }
    })
}

//! A command that runs in a container, over WebSocket.
//!
//! The client's own streams do not end when the connection breaks; that the status can no longer come is the one sign of
//! it. So everything waits for the status at the same time, and for nothing longer than while bytes move.

use std::cell::Cell;
use std::io::{Read, Write};
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::super::cluster::{Exec, Exit, Failure};
use super::answers;
use crate::shown::excerpt;

/// Bytes under way in each direction.
const BUFFER: usize = 256 << 10;
/// Bytes kept of what the command complains about.
const COMPLAINT: usize = 4 << 10;
/// How long what was printed may take to arrive after the command ended.
const REST: Duration = Duration::from_secs(10);

/// Runs it. See [`super::Cluster::exec`].
pub async fn run(
    api: &Api<core::Pod>,
    exec: &Exec,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
) -> Result<Exit, Failure> {
    let mut first = vec![0; BUFFER];
    let length = read(stdin, &mut first)?;
    let params = AttachParams {
        container: Some(exec.container.clone()),
        stdin: length > 0,
        stdout: true,
        stderr: true,
        tty: false,
        max_stdin_buf_size: Some(BUFFER),
        max_stdout_buf_size: Some(BUFFER),
        max_stderr_buf_size: Some(BUFFER),
    };
    let idle = |doing: &str| {
        let seconds = exec.idle.as_secs();
        Failure::TimedOut(format!("{doing} in pod {} for {seconds} s, given up", exec.pod))
    };
    let start = api.exec(&exec.pod, &exec.command, &params);
    let mut process = match tokio::time::timeout(exec.idle, start).await {
        Ok(started) => started.map_err(|why| answers::failure(&why))?,
        Err(_) => return Err(idle("the command did not start")),
    };
    let moved = Cell::new(Instant::now());
    let (status, mut input) = (process.take_status(), process.stdin());
    let (mut output, mut complaint) = (process.stdout(), process.stderr());
    let mut said = Vec::new();
    let ended = {
        // The writer outlives the sending: its end would be passed on by closing the whole connection where the server
        // knows no better.
        let mut sending = pin!(send(stdin, input.as_mut(), first, length, &moved));
        let mut printing = pin!(receive(output.as_mut(), stdout, &moved));
        let mut complaining = pin!(collect(complaint.as_mut(), &mut said, &moved));
        let mut status = pin!(async {
            match status {
                Some(status) => status.await,
                None => None,
            }
        });
        let (mut sent, mut printed, mut complained) = (false, false, false);
        let ended = loop {
            tokio::select! {
                result = &mut sending, if !sent => { result?; sent = true; }
                result = &mut printing, if !printed => { result?; printed = true; }
                () = &mut complaining, if !complained => complained = true,
                status = &mut status => break status,
                () = tokio::time::sleep_until(moved.get() + exec.idle) => {
                    if moved.get().elapsed() >= exec.idle {
                        return Err(idle("nothing moved"));
                    }
                }
            }
        };
        if ended.is_some() {
            let rest = async {
                if !printed {
                    printing.await?;
                }
                if !complained {
                    complaining.await;
                }
                Ok(())
            };
            match tokio::time::timeout(REST, rest).await {
                Ok(result) => result?,
                Err(_) => return Err(idle("what the command printed did not arrive")),
            }
        }
        ended
    };
    match ended {
        Some(status) => exit(&status, &said),
        None => {
            drop((input, output, complaint));
            let why = match tokio::time::timeout(REST, process.join()).await {
                Ok(Err(why)) => answers::chain(&why),
                _ => "it was closed before the command ended".to_owned(),
            };
            Err(Failure::Unreachable(format!(
                "the connection to pod {} broke: {why}",
                exec.pod
            )))
        }
    }
}

fn read(stdin: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, Failure> {
    loop {
        match stdin.read(buffer) {
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            Err(why) => {
                return Err(Failure::Local(format!(
                    "could not read what is to be sent: {}",
                    excerpt(&why.to_string())
                )));
            }
            Ok(length) => return Ok(length),
        }
    }
}

async fn send(
    stdin: &mut dyn Read,
    input: Option<&mut (impl AsyncWrite + Unpin)>,
    mut buffer: Vec<u8>,
    mut length: usize,
    moved: &Cell<Instant>,
) -> Result<(), Failure> {
    let Some(input) = input else { return Ok(()) };
    while length > 0 {
        let bytes = buffer.get(..length).unwrap_or_default();
        // A command may end before it has read everything: then its status says what there is to say.
        if input.write_all(bytes).await.is_err() {
            return Ok(());
        }
        moved.set(Instant::now());
        length = read(stdin, &mut buffer)?;
    }
    Ok(())
}

async fn receive(
    output: Option<&mut (impl AsyncRead + Unpin)>,
    stdout: &mut dyn Write,
    moved: &Cell<Instant>,
) -> Result<(), Failure> {
    let Some(output) = output else { return Ok(()) };
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        moved.set(Instant::now());
        stdout
            .write_all(buffer.get(..length).unwrap_or_default())
            .map_err(|why| {
                Failure::Local(format!(
                    "could not take what was received: {}",
                    excerpt(&why.to_string())
                ))
            })?;
    }
    Ok(())
}

async fn collect(complaint: Option<&mut (impl AsyncRead + Unpin)>, said: &mut Vec<u8>, moved: &Cell<Instant>) {
    let Some(complaint) = complaint else { return };
    let mut buffer = vec![0; COMPLAINT];
    while let Ok(length @ 1..) = complaint.read(&mut buffer).await {
        moved.set(Instant::now());
        let room = COMPLAINT.saturating_sub(said.len()).min(length);
        said.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
}

/// What the status says of how the command ended.
fn exit(status: &Status, said: &[u8]) -> Result<Exit, Failure> {
    let stderr = excerpt(String::from_utf8_lossy(said).trim());
    if status.status.as_deref() == Some("Success") {
        return Ok(Exit { code: 0, stderr });
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        Some(code) => Ok(Exit { code, stderr }),
        None => Err(Failure::Refused {
            status: status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500),
            reason: excerpt(status.reason.as_deref().unwrap_or_default()),
            message: excerpt(status.message.as_deref().unwrap_or("the command could not be run")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_status(text: &str) -> Result<Exit, Failure> {
        exit(&serde_json::from_str(text).unwrap(), b" no such file\n")
    }

    #[test]
    fn statuses_are_read_as_kubelets_send_them() {
        assert_eq!(read_status(r#"{"metadata":{},"status":"Success"}"#).unwrap().code, 0);
        let failed = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 3",
            "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        let exit = read_status(failed).unwrap();
        assert_eq!((exit.code, exit.stderr.as_str()), (3, "no such file"));
        let missing = r#"{"metadata":{},"status":"Failure","reason":"InternalError","code":500,
            "message":"OCI runtime exec failed: exec: \"sh\": executable file not found in $PATH"}"#;
        assert!(matches!(
            read_status(missing),
            Err(Failure::Refused { status: 500, .. })
        ));
        assert!(
            read_status(r#"{"metadata":{}}"#).is_err(),
            "a status that says nothing is no success"
        );
    }
}

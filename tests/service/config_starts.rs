//! Every sample configuration starts a node that recovers a ledger, exactly as it stands in `config/`.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        std::fs::copy(item.path(), to.join(item.file_name())).unwrap();
    }
}

/// What the samples find in their working directory: ledger, snapshots, the previous identity, and a backup.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let fixture = root().join("fixtures/small");
    copy(&fixture.join("ledger"), &place.path().join("ledger"));
    copy(&fixture.join("snapshots"), &place.path().join("snapshots"));
    copy(&fixture.join("ledger"), &place.path().join("backup/ledger"));
    copy(&fixture.join("snapshots"), &place.path().join("backup/snapshots"));
    let certificate = fixture.join("common/service_cert.pem");
    std::fs::copy(certificate, place.path().join("previous_service_cert.pem")).unwrap();
    place
}

#[test]
fn every_sample_is_checked_and_starts_a_node() {
    let mut samples: Vec<PathBuf> = std::fs::read_dir(root().join("config"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    samples.sort();
    assert!(samples.len() >= 5, "{samples:?}");
    for sample in samples {
        let place = place();
        let checked = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["--check", "--config"])
            .arg(&sample)
            .current_dir(place.path())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}: {checked:?}", sample.display());
        let log = place.path().join("log");
        let mut node = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .arg("--config")
            .arg(&sample)
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let said = loop {
            let said = std::fs::read_to_string(&log).unwrap();
            if said.contains("PartOfPublicNetwork") || began.elapsed() > Duration::from_secs(60) {
                break said;
            }
            if let Some(status) = node.try_wait().unwrap() {
                panic!("{} ended with {status}: {said}", sample.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let pid = rustix::process::Pid::from_raw(node.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = node.wait().unwrap();
        assert!(said.contains("PartOfPublicNetwork"), "{}: {said}", sample.display());
        assert!(status.success(), "{}: {status}", sample.display());
        assert!(place.path().join("service_cert.pem").is_file(), "{}", sample.display());
    }
}

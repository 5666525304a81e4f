use std::io::Write;
use std::time::Duration;

use super::super::cluster::Cluster;
use super::super::testing::InMemory;
use super::scripts::Look;
use super::transfer::{self, Dump, Outcome};
use super::*;
use crate::canton::finding::Ending;
use crate::crypto::sha256;

const TARGET: &str = "/domain-upgrade-dump/domain_migration_dump.json";

fn request() -> Request {
    Request {
        namespace: "sv".to_owned(),
        app: "sv-app".to_owned(),
        container: "sv-app".to_owned(),
        path: TARGET.to_owned(),
        replaces: false,
    }
}

fn cluster() -> InMemory {
    let cluster = InMemory::of(&["sv-app"]);
    std::fs::create_dir(cluster.local("/domain-upgrade-dump")).unwrap();
    cluster
}

fn place_with(cluster: &InMemory, content: &[u8], checked: &[u8], request: &Request) -> Outcome {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let digest = sha256(checked);
    let mut dump = Dump {
        path: file.path(),
        file: file.reopen().unwrap(),
        size: checked.len() as u64,
        digest,
    };
    let names = Names::new(TARGET, &hex::encode(digest), [1, 2, 3, 4]);
    let pod = transfer::find(cluster, request).unwrap().unwrap();
    let idle = Duration::from_secs(5);
    transfer::carry_out(cluster, request, &pod.name, &mut dump, &names, idle, &mut |_| {})
}

fn place(cluster: &InMemory, content: &[u8], request: &Request) -> Outcome {
    place_with(cluster, content, content, request)
}

fn files(cluster: &InMemory) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(cluster.local("/domain-upgrade-dump"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_placed_once_and_nothing_else_remains() {
    let (cluster, content) = (cluster(), vec![7; 300_000]);
    let outcome = place(&cluster, &content, &request());
    assert!(outcome.is_placed && outcome.ending == Ending::Clean, "{outcome:?}");
    assert_eq!(std::fs::read(cluster.local(TARGET)).unwrap(), content);
    assert_eq!(files(&cluster), ["domain_migration_dump.json"]);
    let again = place(&cluster, &content, &request());
    assert!(again.is_placed && again.findings.has(Code::AlreadyPlaced));
}

#[test]
fn another_file_stays_unless_it_is_to_be_replaced_and_then_it_is_kept() {
    let cluster = cluster();
    std::fs::write(cluster.local(TARGET), "before").unwrap();
    let outcome = place(&cluster, b"after", &request());
    assert!(!outcome.is_placed && outcome.findings.has(Code::OtherFileThere));
    assert_eq!(outcome.ending, Ending::Negative);
    assert_eq!(std::fs::read(cluster.local(TARGET)).unwrap(), b"before");
    let replacing = Request {
        replaces: true,
        ..request()
    };
    let outcome = place(&cluster, b"after", &replacing);
    assert!(outcome.is_placed, "{outcome:?}");
    assert_eq!(std::fs::read(cluster.local(TARGET)).unwrap(), b"after");
    let kept = outcome.kept.unwrap();
    assert!(kept.ends_with(&format!("old-{}", &hex::encode(sha256(b"before"))[..16])));
    assert_eq!(std::fs::read(cluster.local(&kept)).unwrap(), b"before");
}

#[test]
fn a_file_that_changes_while_it_is_sent_never_gets_the_targets_name() {
    for content in [&b"short"[..], b"same length, other bytes"] {
        let cluster = cluster();
        let outcome = place_with(&cluster, content, b"the bytes that were good", &request());
        assert!(!outcome.is_placed, "{outcome:?}");
        assert_eq!(files(&cluster), Vec::<String>::new());
    }
}

#[test]
fn what_earlier_tries_left_is_removed_and_nothing_of_others() {
    let cluster = cluster();
    let part = Names::new(TARGET, &"ab".repeat(32), [9; 4]).part;
    for name in [
        part.as_str(),
        "/domain-upgrade-dump/domain_migration_dump.json.part-mine",
    ] {
        std::fs::write(cluster.local(name), "left").unwrap();
    }
    let outcome = place(&cluster, b"{}", &request());
    assert!(outcome.is_placed && outcome.findings.has(Code::LeftoversRemoved));
    assert_eq!(
        files(&cluster),
        ["domain_migration_dump.json", "domain_migration_dump.json.part-mine"]
    );
}

#[test]
fn a_target_that_is_no_file_and_a_missing_directory_are_refused() {
    let cluster = cluster();
    std::fs::create_dir(cluster.local(TARGET)).unwrap();
    let outcome = place(&cluster, b"{}", &request());
    assert!(outcome.findings.has(Code::ContainerUnfit) && !outcome.is_placed);
    assert_eq!(std::fs::read_dir(cluster.local(TARGET)).unwrap().count(), 0);
    std::fs::remove_dir_all(cluster.local("/domain-upgrade-dump")).unwrap();
    let outcome = place(&cluster, b"{}", &request());
    assert!(outcome.findings.finish()[0].message.contains("no directory"));
}

#[test]
fn exactly_one_pod_that_runs_is_taken() {
    let cluster = cluster();
    let find = || transfer::find(&cluster, &request()).unwrap();
    let mut twice = cluster
        .pods("sv", &[("app".to_owned(), "sv-app".to_owned())].into())
        .unwrap();
    twice.push(twice[0].clone());
    assert_eq!(choose(&twice, &request()).unwrap_err().code, Code::SeveralPods);
    twice[1].is_terminating = true;
    assert_eq!(choose(&twice, &request()).unwrap_err().code, Code::SeveralPods);
    twice[1].phase = "Failed".to_owned();
    assert!(choose(&twice, &request()).is_ok(), "an evicted pod is none");
    assert_eq!(choose(&[], &request()).unwrap_err().code, Code::NoPod);
    cluster.with_pods("sv-app", |pods| pods[0].phase = "Pending".to_owned());
    cluster.with_pods("sv-app", |pods| pods[0].is_terminating = true);
    assert_eq!(find().unwrap_err().code, Code::NoPod);
    cluster.with_pods("sv-app", |pods| {
        pods[0].is_terminating = false;
        pods[0].phase = "Running".to_owned();
        let sidecar = Container {
            name: "istio-proxy".to_owned(),
            is_running: true,
            ..Container::default()
        };
        pods[0].containers.insert(0, sidecar);
        pods[0].containers[1].is_running = true;
    });
    assert!(find().is_ok(), "a mesh's sidecar does not matter");
    cluster.with_pods("sv-app", |pods| {
        pods[0].containers[1].is_running = false;
        pods[0].containers[1].is_ready = false;
        pods[0].containers[1].reason = Some("CrashLoopBackOff".to_owned());
    });
    let finding = find().unwrap_err();
    assert_eq!(finding.code, Code::ContainerUnfit);
    assert!(finding.message.contains("CrashLoopBackOff"));
    let other = Request {
        container: "app".to_owned(),
        ..request()
    };
    assert!(
        transfer::find(&cluster, &other)
            .unwrap()
            .unwrap_err()
            .message
            .contains("istio-proxy, sv-app")
    );
}

#[test]
fn a_volume_must_outlive_the_pod_and_have_room() {
    let cluster = cluster();
    let pod = transfer::find(&cluster, &request()).unwrap().unwrap();
    let mut container = pod.containers[0].clone();
    let claims = cluster.claims("sv").unwrap();
    assert_eq!(volume(&container, TARGET, Some(&claims), 1 << 20), []);
    let codes = |container: &Container, path: &str, size: u64| -> Vec<Code> {
        volume(container, path, Some(&claims), size)
            .iter()
            .map(|finding| finding.code)
            .collect()
    };
    assert_eq!(codes(&container, TARGET, 21 << 30), [Code::NoRoomOnVolume]);
    assert_eq!(codes(&container, "/tmp/dump.json", 1), [Code::NotPersistent]);
    assert_eq!(codes(&container, "/domain-upgrade-dumps/x", 1), [Code::NotPersistent]);
    container.mounts.push(Mount {
        path: "/domain-upgrade-dump/sub/".to_owned(),
        ..Mount::default()
    });
    assert_eq!(
        codes(&container, "/domain-upgrade-dump/sub/x", 1),
        [Code::NotPersistent]
    );
    container.mounts[0].is_read_only = true;
    assert_eq!(codes(&container, TARGET, 1), [Code::NotPersistent]);
    container.mounts[0].claim = Some("another".to_owned());
    assert_eq!(codes(&container, TARGET, 1), [Code::NotPersistent, Code::NotPersistent]);
}

#[test]
fn places_are_absolute_and_go_no_way_up() {
    assert!(is_place(TARGET));
    for wrong in ["", "/", "/x", "x/y", "/a/../b", "/a//b", "/a/b/", "/a/b\nc", "/a/./b"] {
        assert!(!is_place(wrong), "{wrong}");
    }
}

#[test]
fn what_the_container_says_is_read_or_not_believed() {
    let printed = "absent\nwritable\nsha256sum\n/dev/my disk 1000 400 600 40% /domain-upgrade-dump\nend\n";
    let look = Look::read(printed).unwrap();
    assert_eq!(look.free_bytes, Some(600 * 1024));
    assert!(look.is_writable && look.has_sha256sum && !look.is_file);
    assert_eq!(Look::read("absent\nwritable\n"), None, "it broke off");
    assert_eq!(
        Look::read("df: 99999999999999999999 1% /\n% \nend\n")
            .unwrap()
            .free_bytes,
        None
    );
}

#[test]
fn names_with_quotes_and_spaces_are_only_names() {
    let names = Names::new("/domain-upgrade-dump/it's $(x) .json", &"0".repeat(64), [0; 4]);
    let lines = commands(&request(), "sv-app-1", &Kubectl::default(), "my dump's.json", 5, &names);
    assert!(lines[0].ends_with(r"< 'my dump'\''s.json'"), "{}", lines[0]);
    let cluster = cluster();
    for script in [
        scripts::look(&names),
        scripts::receive(&names, 0),
        scripts::rename(&names, None),
    ] {
        let exec = super::super::Exec {
            namespace: "sv".to_owned(),
            pod: String::new(),
            container: String::new(),
            command: shell::script(&script),
            idle: Duration::from_secs(5),
        };
        let exit = cluster
            .exec(&exec, &mut std::io::empty(), &mut std::io::sink())
            .unwrap();
        assert_eq!((exit.code, exit.stderr.as_str()), (0, ""), "{script}");
    }
    assert_eq!(files(&cluster), ["it's $(x) .json"]);
}

#[test]
fn what_came_into_being_in_the_meantime_is_not_overwritten() {
    let cluster = cluster();
    let names = Names::new(TARGET, &"0".repeat(64), [0; 4]);
    std::fs::write(cluster.local(&names.part), "new").unwrap();
    std::fs::write(cluster.local(TARGET), "theirs").unwrap();
    let exec = |script: &str| super::super::Exec {
        namespace: "sv".to_owned(),
        pod: String::new(),
        container: String::new(),
        command: shell::script(script),
        idle: Duration::from_secs(5),
    };
    let run = |script: String| {
        cluster
            .exec(&exec(&script), &mut std::io::empty(), &mut std::io::sink())
            .unwrap()
            .code
    };
    assert_eq!(run(scripts::rename(&names, None)), scripts::IN_THE_WAY);
    assert_eq!(
        run(format!("ln() {{ false; }}; {}", scripts::rename(&names, None))),
        scripts::IN_THE_WAY
    );
    assert_eq!(std::fs::read(cluster.local(TARGET)).unwrap(), b"theirs");
    assert_eq!(
        run(format!("ln() {{ false; }}; {}", scripts::rename(&names, Some("abc")))),
        0
    );
    assert_eq!(std::fs::read(cluster.local(TARGET)).unwrap(), b"new");
    assert_eq!(std::fs::read(cluster.local(&names.old("abc"))).unwrap(), b"theirs");
    assert_eq!(
        run(scripts::rename(&names, None)),
        16,
        "without a part nothing is renamed"
    );
}

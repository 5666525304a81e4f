//! Running databases: who is let in and how, and that they are seen at one instant and left as they are.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rekindle::canton::dump::{self, Field, Options, Rows, Source, Table};
use rekindle::canton::finding::Ending;

use super::{Everything, read, tables};
use crate::postgres::{PASSWORD, Postgres, READER};

/// Reads the address in the environment and says what came of it: run by other tests in a process of its own, for passwords
/// and what else is of a process.
#[test]
#[ignore = "a part of other tests"]
fn reads_the_address_it_is_told() {
    let Ok(address) = std::env::var("REKINDLE_TEST_ADDRESS") else {
        return;
    };
    let (read, rows) = read(&address);
    let messages: Vec<_> = read
        .findings
        .finish()
        .into_iter()
        .map(|finding| finding.message)
        .collect();
    println!(
        "\nsaid {:?} {} {messages:?}",
        read.ending,
        rows.values().map(Vec::len).sum::<usize>()
    );
}

/// What [`reads_the_address_it_is_told`] says, without a terminal.
fn said(address: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new("setsid")
        .arg("-w")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dumps::running::reads_the_address_it_is_told",
            "--ignored",
            "--nocapture",
        ])
        .env("REKINDLE_TEST_ADDRESS", address)
        .env_remove("PGPASSWORD")
        .env("PGPASSFILE", "/nonexistent")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(PASSWORD), "{text}");
    let said = text.lines().find(|line| line.starts_with("said "));
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_server_is_let_in_only_as_the_address_says() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let (port, root) = (postgres.port(), postgres.root_certificate());
    let wrong_root = postgres.path().join("other.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=tests",
        ])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&wrong_root)
        .output()
        .unwrap();
    assert!(made.status.success());
    let (root, wrong_root) = (root.display(), wrong_root.display());
    let of = |host: &str, more: &str| format!("postgres://postgres@{host}:{port}/part?{more}");
    for (host, more, is_encrypted) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={root}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), true),
        ("127.0.0.2", format!("sslmode=verify-ca&sslrootcert={root}"), true),
    ] {
        let address = of(host, &more);
        let (read, _) = read(&address);
        assert_eq!(read.ending, Ending::Clean, "{address}: {:?}", read.findings.finish());
        let log = std::fs::read_to_string(postgres.path().join("log")).unwrap();
        let last = log
            .lines()
            .rfind(|line| line.contains("connection authorized") && line.contains("application_name=rekindle"));
        assert_eq!(last.unwrap().contains("SSL enabled"), is_encrypted, "{address}");
    }
    for (host, more, why) in [
        (
            "127.0.0.2",
            format!("sslmode=verify-full&sslrootcert={root}"),
            "not valid for name",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={wrong_root}"),
            "certificate",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={wrong_root}"),
            "certificate",
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&sslrootcert={wrong_root}"),
            "certificate",
        ),
        ("127.0.0.1", "sslmode=verify-full".to_owned(), "certificate"),
        ("[::1]", "sslmode=disable".to_owned(), "error connecting"),
    ] {
        let (read, rows) = read(of(host, &more));
        assert_eq!(
            (read.ending, read.header.complete, rows.len()),
            (Ending::Refused, false, 0)
        );
        let message = read.findings.finish().remove(0).message;
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn passwords_come_from_the_environment_or_a_file_of_the_operators_own() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let address = format!("postgres://{READER}@127.0.0.1:{}/part?sslmode=require", postgres.port());
    let rows = 9 + 1 + 4 + 1 + 3000;
    let clean = format!("said Clean {rows} []");
    assert_eq!(said(&address, &[("PGPASSWORD", PASSWORD)]), clean);
    let refused = said(&address, &[("PGPASSWORD", "wrong")]);
    assert!(
        refused.starts_with("said Refused 0") && refused.contains("password authentication failed"),
        "{refused}"
    );
    let asked = said(&address, &[]);
    assert!(
        asked.starts_with("said Refused 0") && asked.contains("PGPASSWORD"),
        "{asked}"
    );
    let file = postgres.path().join("pgpass");
    std::fs::write(
        &file,
        format!(
            "# theirs\nelsewhere:*:*:*:x\n*:{}:part:{READER}:{}\n",
            postgres.port(),
            PASSWORD.replace(':', "\\:")
        ),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = said(&address, &[("PGPASSFILE", file)]);
    assert!(open.starts_with("said Refused 0") && open.contains("0600"), "{open}");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(said(&address, &[("PGPASSFILE", file)]), clean);
}

#[test]
fn a_running_database_is_seen_at_one_instant_and_not_changed() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    /// Changes the database while it is read.
    struct Meddling<'a>(&'a Postgres, Everything);
    impl Rows for Meddling<'_> {
        fn wants(&mut self, table: &Table) -> bool {
            if table.name == "columns" {
                self.0.sql(
                    "part",
                    "DELETE FROM participant.single; INSERT INTO participant.plain (id) VALUES (500) ON CONFLICT DO NOTHING",
                );
            }
            self.1.wants(table)
        }
        fn needs(&mut self, _: &Table, column: &str) -> bool {
            column != "payload"
        }
        fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
            self.1.row(table, fields);
        }
    }
    let mut meddling = Meddling(&postgres, Everything::default());
    let source = Source::parse(postgres.address("part").as_ref()).unwrap();
    let read = dump::read(&source, &Options::default(), &mut meddling).unwrap();
    assert_eq!(read.ending, Ending::Clean);
    let rows = |name: &str| meddling.1.rows[&("participant".to_owned(), name.to_owned())].clone();
    assert_eq!((rows("plain").len(), rows("single").len()), (9, 4));
    assert!(
        rows("large")
            .iter()
            .all(|row| row["payload"].is_none() && row["id"].is_some())
    );
    let log = std::fs::read_to_string(postgres.path().join("log")).unwrap();
    assert!(log.contains("READ ONLY"), "statements are logged");
    // A table that this user may not read is a refusal, not an empty table.
    postgres.sql("part", "CREATE ROLE stranger LOGIN");
    let (read, _) = self::read(postgres.address("part").replace("postgres@", "stranger@"));
    assert_eq!(read.ending, Ending::Refused);
    assert!(read.findings.finish()[0].message.contains("permission denied"));
}

#[test]
fn a_connection_that_breaks_leaves_no_doubt() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    /// Ends the session at the first row of the large table.
    struct Breaking<'a>(&'a Postgres, u64);
    impl Rows for Breaking<'_> {
        fn wants(&mut self, table: &Table) -> bool {
            table.name == "large"
        }
        fn row(&mut self, _: &Table, _: &[Field<'_>]) {
            self.1 += 1;
            if self.1 == 1 {
                let ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rekindle'";
                assert_eq!(self.0.sql("part", ours), "t\n");
            }
        }
    }
    postgres.sql(
        "part",
        "INSERT INTO participant.large SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i",
    );
    let source = Source::parse(postgres.address("part").as_ref()).unwrap();
    let mut rows = Breaking(&postgres, 0);
    let read = dump::read(&source, &Options::default(), &mut rows).unwrap();
    assert!((1..23_000).contains(&rows.1), "{}", rows.1);
    assert_eq!((read.ending, read.header.complete), (Ending::Refused, false));
    let message = read.findings.finish().remove(0).message;
    assert!(message.contains("participant.large end early"), "{message}");
}

//! A PostgreSQL server of the tests' own: on a Unix socket and a free port, with TLS, in a directory that goes with it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The user who owns everything and needs no password on the socket.
pub const OWNER: &str = "postgres";
/// A user who may log in over TCP, with [`PASSWORD`].
pub const READER: &str = "reader";
/// The password of [`READER`].
pub const PASSWORD: &str = "not-a-secret:1";

/// A running server. It is stopped when this is dropped, and by the kernel when the tests die.
pub struct Postgres {
    server: Child,
    directory: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

/// Where the server's and the client's programs are, the newest first.
fn programs() -> Option<PathBuf> {
    let has_all = |path: &PathBuf| {
        ["initdb", "postgres", "pg_dump"]
            .iter()
            .all(|name| path.join(name).is_file())
    };
    let mut found: Vec<_> = glob("/usr/lib/postgresql")
        .into_iter()
        .map(|path| path.join("bin"))
        .filter(has_all)
        .collect();
    found.sort();
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    found.pop().or_else(|| on_path.into_iter().find(has_all))
}

fn glob(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A program; root is not let in by PostgreSQL, so that it runs as the user `postgres` then.
fn command(program: &Path) -> Command {
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--pdeathsig=SIGQUIT",
                "--",
            ]);
            command.arg(program);
            command
        }
        false => Command::new(program),
    };
    command
        .env("LC_ALL", "C.UTF-8")
        .env_remove("PGPASSWORD")
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

/// Runs a command and answers its output.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

const SETTINGS: &str = "fsync = off\nmax_connections = 20\nlog_timezone = 'UTC'\ntimezone = 'Europe/Zurich'\nssl = on\n\
                        ssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.pem'\n\
                        log_connections = on\nlog_statement = all\n";
const ACCESS: &str = "local all all trust\nhost all postgres all trust\nhost all reader all scram-sha-256\n";

impl Postgres {
    /// Starts one. None, after saying so, where PostgreSQL is not installed; a failure where the tests must not do without.
    pub fn start() -> Option<Postgres> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("REKINDLE_REQUIRE_CANTON_TOOLS").is_none(),
                "PostgreSQL is not installed"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let (path, data) = (directory.path(), directory.path().join("data"));
        for made in [&data, &path.join("socket")] {
            fs::create_dir(made).unwrap();
        }
        certificates(path);
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(path));
        }
        let initdb = [
            "-A",
            "trust",
            "-U",
            OWNER,
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ];
        run(command(&programs.join("initdb")).args(initdb).arg(&data));
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        let settings = fs::read_to_string(data.join("postgresql.conf")).unwrap() + SETTINGS;
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        for name in ["server.pem", "server.key", "ca.pem"] {
            run(command(Path::new("cp")).arg(path.join(name)).arg(&data));
            run(command(Path::new("chmod")).arg("600").arg(data.join(name)));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(path.join("log")).unwrap();
        let server = command(&programs.join("postgres"))
            .args([
                "-c",
                "listen_addresses=127.0.0.1,127.0.0.2",
                "-p",
                &port.to_string(),
                "-k",
            ])
            .arg(path.join("socket"))
            .arg("-D")
            .arg(&data)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Postgres {
            server,
            programs,
            port,
            directory,
        };
        started.wait();
        started.sql(
            "postgres",
            &format!("CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data"),
        );
        Some(started)
    }

    fn wait(&self) {
        let begun = Instant::now();
        let is_up = || {
            self.client("psql")
                .args(["-c", "SELECT 1", "postgres"])
                .output()
                .unwrap()
                .status
                .success()
        };
        while !is_up() {
            let log = fs::read_to_string(self.path().join("log")).unwrap();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "PostgreSQL does not start: {log}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A directory that goes with the server, in which every user may write.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its port, on 127.0.0.1, and on 127.0.0.2, which its certificate does not name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate that the server's leads to; the server's own names localhost and 127.0.0.1.
    pub fn root_certificate(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// One of PostgreSQL's programs, with the server and its owner chosen.
    pub fn client(&self, program: &str) -> Command {
        let mut command = command(&self.programs.join(program));
        let socket = self.path().join("socket");
        command
            .env("PGHOST", socket)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", OWNER);
        command
    }

    /// Runs statements in a database.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            statements,
        ];
        String::from_utf8(run(self.client("psql").args(arguments))).unwrap()
    }

    /// Runs a program such as `pg_dump` whose output is to be in this file or directory.
    pub fn dump(&self, program: &str, arguments: &[&str], name: &str) -> PathBuf {
        let path = self.path().join(name);
        run(self.client(program).args(arguments).arg("-f").arg(&path));
        path
    }

    /// The address of a database, through the socket and as the owner.
    pub fn address(&self, database: &str) -> String {
        let socket = self.path().join("socket");
        format!(
            "postgres://{OWNER}@/{database}?host={}&port={}",
            socket.display(),
            self.port
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is a fast shutdown: sessions are ended.
        let _ = Command::new("kill")
            .args(["-INT", &self.server.id().to_string()])
            .status();
        let _ = self.server.wait();
    }
}

/// A certificate authority, and a server's certificate and key of its making.
fn certificates(path: &Path) {
    let openssl = |arguments: &str| {
        run(Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(path));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 2 -subj /CN=tests -keyout ca.key -out ca.pem -addext keyUsage=keyCertSign"
    ));
    openssl(&format!(
        "req {key} -subj /CN=localhost -keyout server.key -out server.csr"
    ));
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    fs::write(path.join("extensions"), names).unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
    );
}

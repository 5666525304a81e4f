//! Running databases: one transaction that only reads and sees the database as of one instant, as `pg_dump` does it. Nothing is
//! written, and what a server is asked to do ends by itself if this process does not.

use std::env;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, CopyOutStream, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::outcome::{finish, header};
use super::sql::{End, Sql};
use super::{Address, Field, Format, Header, Host, Read, Rows, Span, Table, TlsMode, secure};
use crate::canton::{Code, Timestamp};
use crate::error::Error;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(300);
/// Bytes of names that a database's catalog may have.
const LONGEST_CATALOG: usize = 256 << 20;

/// The transaction, and how values are written: as in `pg_dump`, in UTC. The server gives up before we would.
const BEGIN: &str = "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = '60min'; SET LOCAL lock_timeout = '20s';
    SET LOCAL idle_in_transaction_session_timeout = '10min';
    SET LOCAL search_path = ''; SET LOCAL row_security = off;
    SET LOCAL datestyle = ISO; SET LOCAL intervalstyle = postgres; SET LOCAL timezone = 'UTC';
    SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = hex";
/// When the transaction began, microseconds since 1970; the database; the server's release.
const ABOUT: &str =
    "SELECT (extract(epoch FROM now()) * 1000000)::bigint, current_database(), current_setting('server_version')";
/// All tables with rows of their own, and their columns in order.
const CATALOG: &str = "COPY (SELECT n.nspname, c.relname, a.attname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY n.nspname, c.relname, a.attnum) TO STDOUT";

/// What a server, or the way to it, answered instead.
struct Refused(String);

/// What a server answers, or not.
type Answer<T> = Result<T, Refused>;

impl From<tokio_postgres::Error> for Refused {
    fn from(e: tokio_postgres::Error) -> Refused {
        Refused(said(&e))
    }
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        // Causes repeat each other.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}

pub(super) fn read(address: &Address, rows: &mut dyn Rows) -> Result<Read, Error> {
    let named = address.user.clone();
    let Some(user) = named
        .or_else(|| env::var("PGUSER").ok())
        .or_else(|| env::var("USER").ok())
    else {
        let message =
            "the address of the database names no user, and PGUSER and USER are not set: postgres://USER@HOST/DATABASE";
        return Err(Error::Usage(message.to_owned()));
    };
    if Handle::try_current().is_ok() {
        return Err(Error::Usage(
            "a database can't be read from within an asynchronous task".to_owned(),
        ));
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Unreadable(format!("no connection can be made on this machine: {e}")))?;
    let mut session = Session {
        runtime: &runtime,
        database: address.database.clone().unwrap_or_else(|| user.clone()),
        address,
        user,
    };
    let mut sql = Sql::new(rows, address.to_string(), None);
    let mut header = header(Format::Running);
    match session.read(&mut sql, &mut header)? {
        Ok(()) => header.complete = true,
        Err(Refused(why)) => sql.found(Code::DatabaseRefused, None, why),
    }
    Ok(finish(sql, header))
}

struct Session<'a> {
    runtime: &'a Runtime,
    address: &'a Address,
    user: String,
    database: String,
}

impl Session<'_> {
    fn config(&self, password: Option<&str>) -> Config {
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(&self.database)
            .port(self.address.port)
            .application_name("rekindle")
            .connect_timeout(CONNECT);
        match &self.address.host {
            Host::Name(name) => config.host(name),
            Host::Socket(path) => config.host_path(path),
        };
        config.ssl_mode(match (&self.address.host, self.address.tls) {
            (Host::Socket(_), _) | (_, TlsMode::Disable) => SslMode::Disable,
            (_, TlsMode::Prefer) => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if let Some(password) = password {
            config.password(password);
        }
        config
    }

    fn connect(&self) -> Result<Answer<Client>, Error> {
        let tls = MakeRustlsConnect::new((*secure::tls(self.address)?).clone());
        let attempt = |password: Option<&str>| {
            let config = self.config(password);
            self.runtime.block_on(async {
                match tokio::time::timeout(CONNECT * 2, config.connect(tls.clone())).await {
                    Ok(Ok((client, connection))) => {
                        // It goes on whenever something of the client is awaited, and its errors come there too.
                        tokio::spawn(connection);
                        Ok(client)
                    }
                    Ok(Err(e)) => Err(Refused::from(e)),
                    Err(_) => Err(Refused("the server does not answer".to_owned())),
                }
            })
        };
        let (password, hint) = secure::password(self.address, &self.user, &self.database);
        let first = attempt(password.as_ref().map(|password| password.as_str()));
        let Err(Refused(why)) = first else {
            return Ok(first);
        };
        if password.is_some() || !why.contains("password missing") {
            return Ok(Err(Refused(why)));
        }
        let hint = hint.unwrap_or_else(|| "give it in PGPASSWORD or ~/.pgpass, or run this on a terminal".to_owned());
        Ok(match secure::asked(self.address, &self.user) {
            Some(password) => attempt(Some(&password)),
            None => Err(Refused(format!("the server wants a password: {hint}"))),
        })
    }

    /// Waits for an answer, but not for ever.
    fn wait<T, E: Into<Refused>>(&self, answer: impl Future<Output = Result<T, E>>) -> Answer<T> {
        let answer = async { tokio::time::timeout(SILENCE, answer).await };
        match self.runtime.block_on(answer) {
            Ok(answer) => answer.map_err(E::into),
            Err(_) => Err(Refused(format!(
                "the server says nothing for {} seconds",
                SILENCE.as_secs()
            ))),
        }
    }

    fn read(&mut self, sql: &mut Sql<'_>, header: &mut Header) -> Result<Answer<()>, Error> {
        Ok(match self.connect()? {
            Ok(client) => self.transaction(&client, sql, header),
            Err(refused) => Err(refused),
        })
    }

    fn transaction(&self, client: &Client, sql: &mut Sql<'_>, header: &mut Header) -> Answer<()> {
        self.wait(client.batch_execute(BEGIN))?;
        let about = self.wait(client.simple_query(ABOUT))?;
        let text = |column: usize| {
            about.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.try_get(column).ok().flatten().map(str::to_owned),
                _ => None,
            })
        };
        let started = text(0).and_then(|micros| Timestamp::from_micros(micros.parse().ok()?));
        header.started = started.map(|at| Span {
            earliest: at,
            latest: at,
        });
        header.zone_known = true;
        header.database = text(1);
        header.server_version = text(2);
        let mut catalog = Catalog::default();
        let place = sql.place.clone();
        let mut reader = Sql::new(&mut catalog, place, None);
        self.rows(client, CATALOG, &Catalog::table(), &mut reader)?;
        if catalog.size > LONGEST_CATALOG {
            return Err(Refused(
                "the catalog of the database is larger than that of any participant".to_owned(),
            ));
        }
        sql.database.clone_from(&header.database);
        for mut table in catalog.tables {
            table.database.clone_from(&header.database);
            if sql.rows.wants(&table) {
                let statement = statement(&table, sql.rows);
                self.rows(client, &statement, &table, sql)?;
            }
        }
        self.wait(client.batch_execute("ROLLBACK"))
    }

    /// Gives the rows of a statement away, as of what stands in a dump.
    fn rows(&self, client: &Client, statement: &str, table: &Table, sql: &mut Sql<'_>) -> Answer<()> {
        let stream = self.wait(client.copy_out(statement))?;
        let columns: Vec<_> = table.columns.iter().map(|column| quoted(column)).collect();
        let head = format!(
            "COPY {}.{} ({}) FROM stdin;\n",
            quoted(&table.schema),
            quoted(&table.name),
            columns.join(", ")
        );
        let mut arriving = Arriving::new(self, stream);
        let dump = io::Read::chain(head.as_bytes(), &mut arriving);
        match sql.run(io::Read::chain(dump, b"\\.\n".as_slice())) {
            End::Whole => Ok(()),
            End::CutOff => Err(Refused(format!(
                "the rows of {}.{} end in the middle",
                table.schema, table.name
            ))),
            End::Failed(e) => Err(Refused(format!(
                "the rows of {}.{} end early: {e}",
                table.schema, table.name
            ))),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Asks for the needed columns of a table, and for nothing in place of the others.
fn statement(table: &Table, rows: &mut dyn Rows) -> String {
    let columns = table.columns.iter().map(|column| match rows.needs(table, column) {
        true => quoted(column),
        false => "NULL".to_owned(),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    // Without the rows of tables that inherit from it, which are given as their own.
    format!(
        "COPY (SELECT {columns} FROM ONLY {}.{}) TO STDOUT",
        quoted(&table.schema),
        quoted(&table.name)
    )
}

/// What a server sends, as something to be read.
struct Arriving<'a, 's> {
    session: &'a Session<'s>,
    stream: Pin<Box<CopyOutStream>>,
    held: Bytes,
}

impl<'a, 's> Arriving<'a, 's> {
    fn new(session: &'a Session<'s>, stream: CopyOutStream) -> Self {
        Arriving {
            session,
            stream: Box::pin(stream),
            held: Bytes::new(),
        }
    }
}

impl io::Read for Arriving<'_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            let next = self.stream.try_next();
            match self.session.wait(async { next.await.map_err(|e| Refused(said(&e))) }) {
                Ok(Some(data)) => self.held = data,
                Ok(None) => return Ok(0),
                Err(Refused(why)) => return Err(io::Error::other(why)),
            }
        }
        let taken = self.held.len().min(room.len());
        if let Some(room) = room.get_mut(..taken) {
            self.held.copy_to_slice(room);
        }
        Ok(taken)
    }
}

/// The tables of a database.
#[derive(Default)]
struct Catalog {
    tables: Vec<Table>,
    size: usize,
}

impl Catalog {
    fn table() -> Table {
        Table {
            database: None,
            schema: "pg_catalog".to_owned(),
            name: "pg_class".to_owned(),
            columns: ["schema", "name", "column"].map(str::to_owned).to_vec(),
        }
    }
}

impl Rows for Catalog {
    fn wants(&mut self, _: &Table) -> bool {
        true
    }

    fn row(&mut self, _: &Table, fields: &[Field<'_>]) {
        let [Some(schema), Some(name), Some(column)] = fields else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (schema, name, column) = (text(schema), text(name), text(column));
        self.size += schema.len() + name.len() + column.len() + size_of::<Table>();
        if self.size > LONGEST_CATALOG {
            return;
        }
        match self.tables.last_mut() {
            Some(last) if last.schema == schema && last.name == name => last.columns.push(column),
            _ => self.tables.push(Table {
                database: None,
                schema,
                name,
                columns: vec![column],
            }),
        }
    }
}

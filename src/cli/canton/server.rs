//! Options of the commands that speak with an SV's services over HTTP.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::canton::http::{Address, Client, Settings, Token};
use crate::error::{Error, Result};

/// The environment's name for a token.
const TOKEN_VARIABLE: &str = "REKINDLE_CANTON_TOKEN";

/// How the server is reached, and what it is shown.
///
/// Proxies are those of HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Server {
    /// The file with the OAuth2 bearer token; - reads it from stdin [default: the variable REKINDLE_CANTON_TOKEN, else a
    /// prompt]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    pub token_file: Option<PathBuf>,
    /// Send no token
    #[arg(long)]
    pub no_token: bool,
    /// Trust the certificates in this PEM file, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Present this certificate chain to the server (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM) [default: it is in the same file]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Seconds that a connection may take
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub connect_timeout: u32,
    /// Seconds that the server may think before it answers
    #[arg(long, value_name = "S", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub answer_timeout: u32,
    /// Seconds that an answer may pause
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub idle_timeout: u32,
    /// Let the token go over plain HTTP to another machine
    #[arg(long)]
    pub allow_plain_http: bool,
}

impl Server {
    /// A client for the server at `address`. The token is asked for on the terminal where `needs_token` and none was given.
    ///
    /// # Errors
    /// Files that can't be read, or hold something else; no token where one is needed and nobody can be asked.
    pub fn client(&self, address: Address, needs_token: bool) -> Result<Client> {
        let token = self.token(needs_token)?;
        Client::new(address, self.settings(), token.as_ref())
    }

    /// A client for another server, reached in the same way, which is shown the token in `token_file` or none: never the one
    /// that is meant for the first.
    ///
    /// # Errors
    /// As [`Server::client`].
    pub fn other(&self, address: Address, token_file: Option<&Path>) -> Result<Client> {
        let token = token_file.map(Token::read).transpose()?;
        Client::new(address, self.settings(), token.as_ref())
    }

    fn settings(&self) -> Settings {
        Settings {
            roots: self.cacert.clone(),
            identity: self
                .cert
                .clone()
                .map(|chain| (chain.clone(), self.key.clone().unwrap_or(chain))),
            connect: Duration::from_secs(self.connect_timeout.into()),
            answer: Duration::from_secs(self.answer_timeout.into()),
            idle: Duration::from_secs(self.idle_timeout.into()),
            allows_plain_http: self.allow_plain_http,
        }
    }

    fn token(&self, is_needed: bool) -> Result<Option<Token>> {
        if self.no_token {
            return Ok(None);
        }
        if let Some(path) = &self.token_file {
            let path = match path.as_os_str() == "-" {
                true => Path::new("/dev/stdin"),
                false => path,
            };
            return Token::read(path).map(Some);
        }
        if let Some(value) = std::env::var_os(TOKEN_VARIABLE) {
            let text = Zeroizing::new(value.into_string().unwrap_or_else(|_| "\0".to_owned()));
            return Token::new(&text).map(Some);
        }
        if !is_needed {
            return Ok(None);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::Usage(format!(
                "no token: give --token-file FILE, set {TOKEN_VARIABLE}, or say --no-token"
            )));
        }
        let typed = rpassword::prompt_password("OAuth2 token: ").map(Zeroizing::new);
        Token::new(&typed.map_err(Error::io("read", Path::new("the terminal")))?).map(Some)
    }
}

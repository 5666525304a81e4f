//! `rekindle canton fetch`.

use crate::cli::Common;
use crate::error::{Error, Result};

/// fetch
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args, _: &Common) -> Result<u8> {
    Err(Error::Usage("not yet".to_owned()))
}

//! Files that a node writes for those who started it. Recovery specification, section 2.1.

use std::path::Path;

use serde_json::json;

use super::config::Config;
use crate::error::{Error, Result};

/// Replaces a file as a whole: whoever reads it meanwhile sees the old one or the new.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(Error::io("make the directory", parent))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = path.with_file_name(format!(".{name}.part"));
    std::fs::write(&part, contents).map_err(Error::io("write", &part))?;
    std::fs::rename(&part, path).map_err(Error::io("write", path))
}

/// The address under which other nodes will reach this one, written where the configuration asks for it. Nothing listens
/// there on a service of one node.
///
/// # Errors
/// [`Error::Io`].
pub fn write_node_address(config: &Config) -> Result<String> {
    let Some(interface) = &config.network.node_to_node_interface else {
        return Ok(String::new());
    };
    let address = interface.published_address.to_string();
    if let Some(path) = &config.output_files.node_to_node_address_file {
        write(path, json!({"node_to_node_interface": address}).to_string().as_bytes())?;
    }
    Ok(address)
}

//! Who hands out the endorsements of a chip, and how each is asked. Attestation specification, section 7.

use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;

use super::answers::Certificates;
use crate::attestation::Product;
use crate::attestation::snp::{Report, Tcb};
use crate::net::tls::{Anybody, client_config};
use crate::node::config::{EndorsementsServer, EndorsementsServerKind as Kind};

/// What endorsements are asked for: a chip with its firmware.
pub(super) struct Chip {
    pub product: Product,
    pub id: [u8; 64],
    pub tcb: Tcb,
}

impl Chip {
    /// The one that a report is of.
    ///
    /// # Errors
    /// In CCF's words, if its product is not known.
    pub fn of(report: &Report) -> Result<Chip, String> {
        let cpu = report.cpuid;
        let product = cpu
            .product()
            .ok_or_else(|| format!("SEV-SNP: Unsupported CPUID family {} model {}", cpu.family, cpu.model))?;
        Ok(Chip {
            product,
            id: report.chip_id,
            tcb: Tcb::decode(report.reported_tcb, product),
        })
    }

    /// The TCB as a number, in hex without leading zeros.
    fn tcb_digits(&self) -> String {
        match self.tcb.hexstring().trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        }
    }
}

/// A server of endorsements.
pub(super) struct Server {
    kind: Kind,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    pub max_retries: u32,
}

/// Kinds: host and port where the configuration says nothing.
fn default_of(kind: Kind) -> (&'static str, u16) {
    match kind {
        Kind::Azure => ("global.acccache.azure.net", 443),
        Kind::Amd => ("kdsintf.amd.com", 443),
        Kind::Thim => ("169.254.169.254", 80),
    }
}

impl Server {
    /// The configured one. Host and port may each be `$NAME`, which is looked up; what is not set stays as it is.
    ///
    /// # Errors
    /// In words: what its url is instead of `host` or `host:port`.
    pub fn of(setting: &EndorsementsServer, variable: impl Fn(&str) -> Option<String>) -> Result<Server, String> {
        let (host, port) = default_of(setting.kind);
        let mut server = Server {
            kind: setting.kind,
            host: host.to_owned(),
            port,
            max_retries: setting.max_retries_count,
        };
        let Some(url) = setting.url.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(server);
        };
        let wrong = |found: &str| {
            format!("{found:?} is no host or host:port (attestation.snp_endorsements_servers, url {url:?})")
        };
        let looked_up = |text: &str| match text.strip_prefix('$').and_then(&variable) {
            Some(value) => value,
            None => text.to_owned(),
        };
        let (host, port) = match url.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(|| wrong(url))?)),
            None => match url.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (url, None),
            },
        };
        server.host = looked_up(host);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if server.host.is_empty() || !server.host.chars().all(fits) {
            return Err(wrong(&server.host));
        }
        if let Some(port) = port {
            let port = looked_up(port);
            server.port = port.parse().map_err(|_| wrong(&port))?;
        }
        Ok(server)
    }

    /// What is asked for, one after the other.
    pub fn paths(&self, chip: &Chip) -> Vec<String> {
        let (id, tcb) = (hex::encode(chip.id), chip.tcb_digits());
        match self.kind {
            Kind::Azure => vec![format!(
                "/SevSnpVM/certificates/{id}/{tcb}?api-version=2020-10-15-preview"
            )],
            Kind::Amd => {
                let of = chip.product;
                let Tcb {
                    boot_loader,
                    tee,
                    snp,
                    microcode,
                    fmc,
                    ..
                } = chip.tcb;
                let fmc = fmc.map(|fmc| format!("&fmcSPL={fmc}")).unwrap_or_default();
                // Turin's chips have shorter ids, which fill the report's field with zeros.
                let id = match of {
                    Product::Turin => id.get(..16).unwrap_or(&id),
                    _ => &id,
                };
                vec![
                    format!(
                        "/vcek/v1/{of}/{id}?blSPL={boot_loader}{fmc}&snpSPL={snp}&teeSPL={tee}&ucodeSPL={microcode}"
                    ),
                    format!("/vcek/v1/{of}/cert_chain"),
                ]
            }
            Kind::Thim => vec![format!(
                "/metadata/THIM/amd/certification?platformId={id}&tcbVersion={tcb}"
            )],
        }
    }

    /// Headers of the requests.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            Kind::Thim => &[("metadata", "true")],
            Kind::Azure | Kind::Amd => &[],
        }
    }

    /// TLS with whoever answers: what is handed out is judged by its contents. None where the host's own agent is asked.
    ///
    /// # Errors
    /// In words; never, as what it needs is compiled in.
    pub fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        match self.kind {
            Kind::Thim => Ok(None),
            Kind::Azure | Kind::Amd => client_config(Anybody)
                .map(Some)
                .map_err(|why| format!("TLS can't be used: {why}")),
        }
    }

    /// The header `host`: the port is left out where it is the usual one.
    pub fn authority(&self) -> String {
        let usual = match self.kind {
            Kind::Thim => 80,
            Kind::Azure | Kind::Amd => 443,
        };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == usual {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// The certificates in the answers to all requests, in order.
    ///
    /// # Errors
    /// In words that repeat nothing of them.
    pub fn read(&self, answers: &[Bytes]) -> Result<Certificates, String> {
        match (self.kind, answers) {
            (Kind::Azure, [pem]) => Certificates::from_pem(pem),
            (Kind::Amd, [vcek, issuers]) => Certificates::from_parts(vcek, issuers),
            (Kind::Thim, [json]) => Certificates::from_json(json),
            _ => Err(format!("{} answers", answers.len())),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Azure => "Azure",
            Kind::Amd => "AMD",
            Kind::Thim => "THIM",
        };
        write!(f, "{kind} {}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(kind: Kind, url: Option<&str>) -> Result<Server, String> {
        let setting = EndorsementsServer {
            kind,
            url: url.map(str::to_owned),
            max_retries_count: 3,
        };
        Server::of(&setting, |name| match name {
            "Fabric_NodeIPOrFQDN" => Some("10.0.0.4".to_owned()),
            "PORT" => Some("2377".to_owned()),
            "HOSTILE" => Some("a/b?c".to_owned()),
            _ => None,
        })
    }

    fn chip(product: Product, raw: [u8; 8]) -> Chip {
        let mut id = [0; 64];
        id[..8].fill(0xab);
        Chip {
            product,
            id,
            tcb: Tcb::decode(raw, product),
        }
    }

    #[test]
    fn each_is_asked_in_its_own_way() {
        let milan = chip(Product::Milan, [4, 0, 0, 0, 0, 0, 24, 0x0b]);
        let id = format!("{}{}", "ab".repeat(8), "00".repeat(56));
        let paths = |kind, chip: &Chip| server(kind, None).unwrap().paths(chip);
        assert_eq!(
            paths(Kind::Azure, &milan),
            [format!(
                "/SevSnpVM/certificates/{id}/b18000000000004?api-version=2020-10-15-preview"
            )]
        );
        assert_eq!(
            paths(Kind::Thim, &milan),
            [format!(
                "/metadata/THIM/amd/certification?platformId={id}&tcbVersion=b18000000000004"
            )]
        );
        assert_eq!(
            paths(Kind::Amd, &milan),
            [
                format!("/vcek/v1/Milan/{id}?blSPL=4&snpSPL=24&teeSPL=0&ucodeSPL=11"),
                "/vcek/v1/Milan/cert_chain".to_owned()
            ]
        );
        let turin = chip(Product::Turin, [1, 2, 3, 4, 0, 0, 0, 81]);
        assert_eq!(
            paths(Kind::Amd, &turin)[0],
            "/vcek/v1/Turin/abababababababab?blSPL=2&fmcSPL=1&snpSPL=4&teeSPL=3&ucodeSPL=81"
        );
        let genoa = chip(Product::Genoa, [0; 8]);
        assert_eq!(
            paths(Kind::Amd, &genoa)[0],
            format!("/vcek/v1/Genoa/{id}?blSPL=0&snpSPL=0&teeSPL=0&ucodeSPL=0")
        );
        assert!(paths(Kind::Azure, &genoa)[0].contains("/0?"));
    }

    #[test]
    fn each_is_where_it_always_is_unless_the_configuration_or_the_environment_says_where() {
        for (kind, url, host, port, authority) in [
            (
                Kind::Azure,
                None,
                "global.acccache.azure.net",
                443,
                "global.acccache.azure.net",
            ),
            (Kind::Amd, None, "kdsintf.amd.com", 443, "kdsintf.amd.com"),
            (Kind::Thim, None, "169.254.169.254", 80, "169.254.169.254"),
            (Kind::Amd, Some("kds.example"), "kds.example", 443, "kds.example"),
            (Kind::Amd, Some("kds:8443"), "kds", 8443, "kds:8443"),
            (
                Kind::Thim,
                Some("$Fabric_NodeIPOrFQDN:2377"),
                "10.0.0.4",
                2377,
                "10.0.0.4:2377",
            ),
            (
                Kind::Thim,
                Some("$Fabric_NodeIPOrFQDN:$PORT"),
                "10.0.0.4",
                2377,
                "10.0.0.4:2377",
            ),
            (Kind::Thim, Some("[::1]:81"), "::1", 81, "[::1]:81"),
            (Kind::Thim, Some("[::1]"), "::1", 80, "[::1]"),
        ] {
            let server = server(kind, url).unwrap();
            assert_eq!(
                (server.host.as_str(), server.port, server.authority().as_str()),
                (host, port, authority)
            );
        }
        for url in [
            "https://a",
            "a:b",
            "a:70000",
            "$UNSET:1",
            "$HOSTILE",
            ":1",
            "a b",
            "[::1]x",
        ] {
            let why = server(Kind::Azure, Some(url)).err().unwrap();
            assert!(why.contains("snp_endorsements_servers"), "{why}");
        }
    }
}

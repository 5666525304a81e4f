//! The client of object stores: what a server answers is bounded, whoever it is, and nobody is sent elsewhere.
//!
//! Requests carry credentials in places that only the store knows of: a session's token in a header of its own, a signature in the
//! address. A client that follows a server elsewhere takes them there.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, NoProxy, Proxy};

/// Bytes of one page of a listing, of which the largest known has 5000 objects of a kilobyte; of an error; of anything.
const MAX_PAGE_BYTES: usize = 32 << 20;
const MAX_ERROR_BYTES: usize = 1 << 20;
const MAX_ANSWER_BYTES: usize = 2 << 30;

/// Makes such clients.
#[derive(Debug)]
pub struct Bounded;

impl HttpConnector for Bounded {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = client(options).map_err(|why| object_store::Error::Generic {
            store: "HTTP client",
            source: Box::new(why),
        })?;
        Ok(HttpClient::new(BoundedClient(HttpClient::new(client))))
    }
}

/// What the environment asks for, as the library's own client has it.
fn client(options: &ClientOptions) -> reqwest::Result<Client> {
    let said = |key: ClientConfigKey| options.get_config_value(&key);
    let is =
        |key: ClientConfigKey| said(key).is_some_and(|value| matches!(value.as_str(), "true" | "1" | "yes" | "on"));
    let time = |key: ClientConfigKey| said(key).and_then(|text| duration(&text));
    let mut builder = Client::builder().redirect(Policy::none()).referer(false);
    builder = builder.https_only(!is(ClientConfigKey::AllowHttp));
    builder = builder.user_agent(said(ClientConfigKey::UserAgent).unwrap_or_else(|| "rekindle".to_owned()));
    builder = builder.tls_danger_accept_invalid_certs(is(ClientConfigKey::AllowInvalidCertificates));
    if is(ClientConfigKey::NoSystemCertificates) {
        builder = builder.tls_certs_only([]);
    }
    if let Some(address) = said(ClientConfigKey::ProxyUrl) {
        let excludes = said(ClientConfigKey::ProxyExcludes).and_then(|names| NoProxy::from_string(&names));
        builder = builder.proxy(Proxy::all(address)?.no_proxy(excludes));
    }
    if let Some(pem) = said(ClientConfigKey::ProxyCaCertificate) {
        builder = builder.tls_certs_merge([Certificate::from_pem(pem.as_bytes())?]);
    }
    for (key, set) in [
        (
            ClientConfigKey::Timeout,
            reqwest::ClientBuilder::timeout as fn(_, _) -> _,
        ),
        (ClientConfigKey::ConnectTimeout, reqwest::ClientBuilder::connect_timeout),
        (ClientConfigKey::ReadTimeout, reqwest::ClientBuilder::read_timeout),
        (ClientConfigKey::PoolIdleTimeout, |builder, time| {
            builder.pool_idle_timeout(time)
        }),
    ] {
        if let Some(time) = time(key) {
            builder = set(builder, time);
        }
    }
    if let Some(most) = said(ClientConfigKey::PoolMaxIdlePerHost).and_then(|most| most.parse().ok()) {
        builder = builder.pool_max_idle_per_host(most);
    }
    match is(ClientConfigKey::Http2Only) {
        true => builder.http2_prior_knowledge().build(),
        // Several connections carry packs faster than one that all of them share.
        false => builder.http1_only().build(),
    }
}

/// `5s`, `1m 30s`, `500ms`, and whole seconds.
fn duration(text: &str) -> Option<Duration> {
    let parts = text.split_whitespace().map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = part.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let milliseconds = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(milliseconds)
    });
    let milliseconds = parts.sum::<Option<u64>>().filter(|sum| *sum > 0)?;
    Some(Duration::from_millis(milliseconds))
}

#[derive(Debug)]
struct BoundedClient(HttpClient);

impl HttpService for BoundedClient {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let is_list = request.uri().query().is_some_and(|query| query.contains("list"));
            let answer = self.0.execute(request).await?;
            let most = match answer.status().is_success() {
                true if is_list => MAX_PAGE_BYTES,
                true => MAX_ANSWER_BYTES,
                false => MAX_ERROR_BYTES,
            };
            let refused = |why| HttpError::new_boxed(HttpErrorKind::Decode, why);
            Ok(answer.map(|body| HttpResponseBody::new(Limited::new(body, most).map_err(refused))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_library_writes_them() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("5m", 300_000),
            ("1m 30s", 90_000),
            ("500ms", 500),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "0s",
            "s",
            "5 years",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}

//! What the document of a verification says in words and tables: identities, files, views, secrets.

use maud::{Markup, html};

use super::Verified;
use crate::recovery::verify::VerifyReport;
use crate::report::Verdict;
use crate::shown::{Show, line};
use crate::web::look::{Kind, badge, fingerprint};
use crate::web::number::{count, size};
use crate::web::parts::first_rows;

/// The last service identity, and the one before, as they are read over a phone.
pub(super) fn identities(report: &VerifyReport) -> Markup {
    let certificates = report
        .chronicle
        .as_deref()
        .map_or(&[][..], |chronicle| &chronicle.certificates);
    let services: Vec<_> = report
        .services
        .iter()
        .zip(certificates.iter().map(Some).chain(std::iter::repeat(None)))
        .collect();
    let named = services.iter().rev().zip(["The last identity", "The one before"]);
    html! {
        @if services.is_empty() {
            p { (badge(Kind::Warning, "The ledger names no service")) }
        }
        @for ((service, certificate), name) in named {
            div class="identity" {
                h3 { (name) ", from seqno " (count(service.from_seqno)) }
                @if let Some(certificate) = certificate {
                    p class="quiet" { "Its certificate, as words to read over a phone and as SHA-256:" }
                    (fingerprint(certificate))
                }
                p { "Its key: " code { (hex::encode(service.identity.0)) } }
                @match report.identity {
                    Some(identity) if identity == service.identity => p { (badge(Kind::Good, "It stands behind what is signed last")) },
                    _ => {},
                }
            }
        }
        @if report.services.len() > 1 {
            (first_rows("All of them", &["Service", "From seqno", "Recoveries before", "Key"], &numbered(&report.services), |(number, service)| vec![
                html! { (number) },
                html! { (count(service.from_seqno)) },
                html! { (service.recovery_count.map_or("not said".to_owned(), count)) },
                html! { code { (hex::encode(service.identity.0)) } },
            ]))
        }
    }
}

fn numbered<T>(items: &[T]) -> Vec<(u64, &T)> {
    (1u64..).zip(items).collect()
}

/// The rest.
pub(super) fn all(verified: &Verified<'_>) -> Markup {
    let report = verified.report;
    let heads = ["File", "Seqnos", "Size"];
    html! {
        (first_rows("Chunks", &heads, &verified.files.chunks, |chunk| vec![
            html! { code { (chunk.file.path.shown().to_string()) } },
            html! { (count(chunk.use_from)) " to " (count(chunk.file.last)) },
            html! { (size(chunk.file.size)) },
        ]))
        @if !report.snapshots.is_empty() {
            (first_rows("Snapshots", &["File", "Seqno", "Verdict"], &report.snapshots, |snapshot| vec![
                html! { code { (line(&snapshot.file)) } },
                html! { (count(snapshot.seqno)) },
                html! { @match snapshot.verdict {
                    Verdict::Ok => (badge(Kind::Good, "holds")),
                    _ => (badge(Kind::Warning, "see findings")),
                } },
            ]))
        }
        @if let Some(chronicle) = &report.chronicle {
            (first_rows("Views", &["View", "From seqno"], &chronicle.views, |(view, from)| vec![
                html! { (view) },
                html! { (count(*from)) },
            ]))
            (first_rows("Ledger secrets", &["At seqno", "What"], &chronicle.secrets, |(seqno, step)| vec![
                html! { (count(*seqno)) },
                html! { (step.in_words()) },
            ]))
        }
    }
}

//! Judging the nodes of a ledger: 1,000 on made SNP chips, each with a certificate of its own, beside the reading.

mod support;

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::attestation::{Anchors, Time, Verifier};
use rekindle::fixture::snp::Maker;
use rekindle::fixture::{Options as Made, Platform, generate};
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::attest::Settings;
use rekindle::recovery::verify::{Options, verify};
use rekindle::report::progress::Silent;

/// Services, and nodes in each.
const SERVICES: u64 = 20;
const NODES: usize = 50;

fn attest(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let made = Made {
        platform: Platform::Snp,
        nodes: NODES,
        recoveries: SERVICES - 1,
        ..Made::default()
    };
    generate(&made, directory.path(), &Silent).unwrap();
    let files = LedgerFiles::list(&[directory.path().join("ledger")], false).unwrap();
    let nodes = SERVICES * NODES as u64;
    // A verifier of its own each time: nothing is remembered from the run before.
    let settings = || Settings {
        verifier: Verifier::new(Anchors::built_in().and_for_tests(Maker::new(made.seed).root())),
        time: Time::Remark(1_800_000_000),
        minimum_tcb: Default::default(),
    };
    let run = |attest| {
        let options = Options {
            attest,
            ..Options::default()
        };
        verify(&files, &options, &Silent).unwrap()
    };
    let report = run(Some(Arc::new(settings()))).attestation.unwrap();
    let held = report.nodes.iter().filter(|node| node.verdict == "holds");
    assert_eq!(held.count() as u64, nodes, "{}", report.summary.in_words());
    let mut group = c.benchmark_group(format!("{nodes} nodes"));
    group.throughput(Throughput::Elements(nodes));
    group.bench_function("reading alone", |b| b.iter(|| run(None).findings.len()));
    group.bench_function("reading and judging", |b| {
        b.iter(|| run(Some(Arc::new(settings()))).findings.len());
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = attest);
criterion_main!(benches);

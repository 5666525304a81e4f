//! Verifying the signatures of a ledger, node's and service's, on one thread.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::merkle::Accumulator;
use rekindle::recovery::check::Check;
use rekindle::recovery::join::{Joiner, Mode};
use rekindle::recovery::scan::scan_segment;
use rekindle::recovery::segments::Windows;
use rekindle::recovery::trust::Trust;

fn checks(bench: &support::Bench) -> Vec<Check> {
    let mut joiner = Joiner::new(
        &bench.files,
        Mode::Audit,
        1,
        Some(Accumulator::genesis()),
        Trust::default(),
    );
    let mut windows = Windows::new(&bench.files, 1, u64::MAX);
    let mut checks = Vec::new();
    while let Some(window) = windows.next_window().unwrap() {
        for segment in window {
            checks.extend(joiner.join(scan_segment(segment, &[]), &[]));
        }
    }
    checks.extend(joiner.release());
    checks
}

fn signatures(c: &mut Criterion) {
    let bench = support::Bench::new();
    let checks = checks(&bench);
    assert!(checks.len() > 20);
    let signatures = checks
        .iter()
        .map(|check| u64::from(check.node.is_some()) + u64::from(check.cose.is_some()))
        .sum();
    let mut group = c.benchmark_group("signatures");
    group.throughput(Throughput::Elements(signatures));
    group.bench_function("P-384", |b| {
        b.iter(|| checks.iter().map(|check| check.verify().len()).sum::<usize>())
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = signatures);
criterion_main!(benches);

//! Building the live state: the public part, and all of it.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::format::Seqno;
use rekindle::recovery::state::{Selection, load_state};
use rekindle::report::progress::Silent;

fn state(c: &mut Criterion) {
    let bench = support::Bench::new();
    let secrets = bench.secrets();
    let mut group = c.benchmark_group("state");
    group.throughput(Throughput::Elements(bench.entries));
    for (name, keys) in [
        ("public", None),
        (
            "public and private",
            Some(&secrets as &dyn rekindle::recovery::writes::Keys),
        ),
    ] {
        let selection = Selection {
            at: Seqno::MAX,
            tables: None,
            keys,
            progress: &Silent,
            written: None,
        };
        group.bench_function(name, |b| {
            b.iter(|| load_state(&bench.files, None, &selection).unwrap().tally.entries)
        });
    }
}

criterion_group!(name = benches; config = support::criterion(); targets = state);
criterion_main!(benches);

//! Opening every entry: AES-GCM alone, and with the parsing and the commit evidence, as `unlock` does.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::format::Seqno;
use rekindle::recovery::unlock::decrypt_all;
use rekindle::report::progress::Silent;

fn decrypt(c: &mut Criterion) {
    let bench = support::Bench::new();
    let secrets = bench.secrets();
    let mut group = c.benchmark_group("decrypt");
    group.throughput(Throughput::Bytes(bench.bytes));
    group.bench_function("limit: AES-GCM, one thread", |b| {
        let mut plaintext = zeroize::Zeroizing::new(Vec::new());
        b.iter(|| {
            for segment in &bench.segments {
                segment.for_each(|located| {
                    let entry = &located.entry;
                    let secret = secrets.at(located.seqno).unwrap();
                    secret
                        .aead
                        .open(entry.iv_bytes, entry.public, entry.tag, entry.private, &mut plaintext)
                        .unwrap();
                });
            }
        });
    });
    group.bench_function("unlock, all threads", |b| {
        b.iter(|| {
            let tally = decrypt_all(&bench.files, &secrets, Seqno::MAX, &Silent).unwrap();
            assert_eq!(tally.entries, bench.entries);
        });
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = decrypt);
criterion_main!(benches);

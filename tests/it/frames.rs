//! The scanner before the Yjs library against bytes that nobody thought of: the fuzzer's checks (`fuzz/`) with its seeds,
//! and with bytes made at random, out of which updates are forged.

#[path = "../../fuzz/checks/yjs.rs"]
mod checks;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[test]
fn the_fuzzers_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/yjs");
    let files = fs::read_dir(folder).expect("the seeds are there");
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("a seed").path()).expect("a seed"))
        .collect();
    assert!(seeds.len() > 40);
    for seed in &seeds {
        checks::frame(seed);
        checks::forged(seed);
    }
}

proptest! {
    // What fails is printed, and belongs among the seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        checks::frame(&bytes);
        checks::forged(&bytes);
    }
}

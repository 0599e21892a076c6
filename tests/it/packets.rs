//! Socket.IO's packets and conversations against texts that nobody thought of: the fuzzers' checks (`fuzz/`) with their
//! seeds, and with texts made at random that look somewhat like packets.

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Some of what packets consist of, in any order.
const PARTS: &str = r#"([0-9b]{1,3}|-|/[a-z?]{0,3},?|\[|\]|\{|\}|,|"(join|change|leave|ping|room|code|token)?"|:|\x1e|40\x1e|42|\PC){0,30}"#;
/// Packets as clients send them, more or less.
const FRAMES: &str = r#"40(\x1e(4[0-6](1?[0-9]-)?(/a,)?[0-9]{0,18}(\["(join|change|leave|ping)",\{"room":"[a-z.]{0,3}"(,"code":".{0,5}")?\}\]|\{\})?|b[A-Z]{0,3}|[0-6])){0,8}"#;

fn seeds(target: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let files = fs::read_dir(folder.join(target)).expect("the seeds are there");
    let texts = files.map(|file| fs::read_to_string(file.expect("a seed").path()));
    texts.map(|text| text.expect("a seed is text")).collect()
}

#[test]
fn the_fuzzers_seeds_hold() {
    let (bodies, talks) = (seeds("packet"), seeds("talk"));
    assert!(bodies.len() > 5 && talks.len() > 5);
    for text in bodies.iter().chain(&talks) {
        checks::packets(text);
        checks::conversation(text);
    }
}

proptest! {
    // What fails is printed, and belongs among the seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_text(text in ".*") {
        checks::packets(&text);
        checks::conversation(&text);
    }

    #[test]
    fn what_looks_like_packets(text in PARTS) {
        checks::packets(&text);
        checks::conversation(&text);
    }

    #[test]
    fn what_clients_say_more_or_less(text in FRAMES) {
        checks::packets(&text);
        checks::conversation(&text);
    }
}

//! Frames that were written by clients of Yjs 13.6 and y-protocols: the seeds of the fuzzer.

use std::fs;
use std::path::Path;

use super::super::{Entry, Id, Limits, Message, Outline, Run, message};

fn seed(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/yjs");
    fs::read(folder.join(name).with_extension("bin")).expect("the seed is there")
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/yjs");
    let files = fs::read_dir(folder).expect("the seeds are there");
    let name = |file: fs::DirEntry| {
        file.path()
            .file_stem()
            .and_then(|name| name.to_str().map(str::to_owned))
    };
    let names = files.map(|file| name(file.expect("a seed")).expect("a name"));
    names.map(|name| (name.clone(), seed(&name))).collect()
}

/// A client that only ever edits its text would be refused.
#[test]
fn what_clients_write_is_taken() {
    let (refused, taken): (Vec<_>, Vec<_>) = seeds()
        .into_iter()
        .partition(|(name, _)| name.starts_with("refused-"));
    assert!(taken.len() > 30 && refused.len() > 10);
    for (name, frame) in &taken {
        if let Err(malformed) = message(frame, &Limits::default()) {
            panic!("{name}: {malformed}");
        }
    }
}

/// A document that is more than a text would reach the library.
#[test]
fn what_other_documents_hold_is_refused() {
    let cases = [
        ("map", "a map's entry"),
        ("array", "a value"),
        ("other-root", "a root of another name"),
        ("array-in-code", "a value"),
        ("binary-in-code", "binary content"),
        ("map-in-code", "a map's entry"),
        ("format", "formatting"),
        ("embed", "an embedded object"),
        ("attribute", "a map's entry"),
        ("nested-text", "a map's entry"),
        ("nested-in-code", "a nested type"),
        ("nested-collected", "a map's entry"),
        ("document", "a map's entry"),
        ("xml", "a nested type"),
    ];
    for (name, sentence) in cases {
        let refusal = super::refusal(&seed(&format!("refused-{name}")));
        assert!(refusal.starts_with(sentence), "{name}: {refusal}");
        assert!(
            refusal.contains("only edits of getText(\"code\") are taken"),
            "{name}: {refusal}"
        );
    }
}

/// A frame cut short would be read to its end and beyond.
#[test]
fn no_frame_is_taken_in_part() {
    for (name, frame) in seeds() {
        for length in 0..frame.len() {
            let part = message(&frame[..length], &Limits::default());
            assert!(
                part.is_err(),
                "{name}, {length} of {} bytes: {part:?}",
                frame.len()
            );
        }
        let longer = [frame.as_slice(), &[0]].concat();
        let longer = message(&longer, &Limits::default());
        assert!(longer.is_err(), "{name}, and a byte: {longer:?}");
    }
}

/// An outline that tells of other clocks than the library will add and delete.
#[test]
fn outlines_tell_what_updates_hold() {
    let one = 1000;
    let cases = [
        ("step2-empty", Outline::default()),
        (
            "edit-first",
            Outline {
                adds: vec![Run {
                    client: one,
                    from: 0,
                    to: 24,
                }],
                text_units: 24,
                content_bytes: 24,
                ..Outline::default()
            },
        ),
        (
            "edit-emoji",
            Outline {
                adds: vec![Run {
                    client: one,
                    from: 24,
                    to: 26,
                }],
                needs: vec![Id {
                    client: one,
                    clock: 23,
                }],
                text_units: 2,
                content_bytes: 4,
                ..Outline::default()
            },
        ),
        (
            "edit-delete",
            Outline {
                deletes: vec![Run {
                    client: one,
                    from: 3,
                    to: 7,
                }],
                ..Outline::default()
            },
        ),
    ];
    for (name, expected) in cases {
        let frame = seed(name);
        let update = match message(&frame, &Limits::default()) {
            Ok(Message::Update(update)) if name.starts_with("edit-") => update,
            Ok(Message::Step2(update)) if name.starts_with("step2-") => update,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(update.outline, expected, "{name}");
    }
}

/// Presence that is read wrong, or of the wrong client.
#[test]
fn awareness_is_read_as_it_was_written() {
    let frame = seed("awareness-several");
    let Ok(Message::Awareness(entries)) = message(&frame, &Limits::default()) else {
        panic!("no awareness");
    };
    let clients: Vec<_> = entries
        .iter()
        .map(|entry| (entry.client, entry.clock))
        .collect();
    assert_eq!(clients, [(4242, 3), (5, 7)]);
    assert!(entries[0].state.contains("Zoë"));
    assert_eq!(entries[1].state, r#"{"user":{"name":"half \ud83d"}}"#);

    let gone = seed("awareness-gone");
    let expected = Entry {
        client: 4242,
        clock: 4,
        state: "null",
    };
    assert_eq!(
        message(&gone, &Limits::default()),
        Ok(Message::Awareness(vec![expected]))
    );
}

//! Updates that Yjs would not write: each would panic the library, fill its memory, or be read otherwise by clients.

use super::super::{Limits, Run, update as scan};
use super::refused_update;
use super::writing::*;

const ALONE: &str = "only edits of getText(\"code\") are taken";

/// One struct of the client 7 at the clock 0.
fn alone(item: &[u8]) -> Vec<u8> {
    update(&[client(7, 0, &[item.to_vec()])], &[])
}

/// Kinds of content that no plain text has, and that take the library's stack or shift its indexes.
#[test]
fn only_text_is_taken() {
    let kinds = [
        (0, "collected content in a plain text"),
        (2, "a JSON value in a plain text"),
        (3, "binary content in a plain text"),
        (5, "an embedded object in a plain text"),
        (6, "formatting in a plain text"),
        (7, "a nested type in a plain text"),
        (8, "a value in a plain text"),
        (9, "a document in a plain text"),
        (11, "a struct of the unknown kind 11 in a plain text"),
        (20, "a struct of the unknown kind 20 in a plain text"),
        (0x24, "a map's entry in a plain text"),
        (0xa4, "a map's entry in a plain text"),
        (0x8a, "a gap with origins in a plain text"),
    ];
    for (info, sentence) in kinds {
        let refusal = refused_update(&alone(&[info, 1, 1, 1, 1, 1]));
        assert_eq!(refusal, format!("{sentence}: {ALONE} (byte 4)"), "{info}");
    }
}

/// Text in roots that nobody sees, or in types that nothing made.
#[test]
fn only_the_root_is_a_parent() {
    let cases = [
        (
            [vec![4, 1], string("Code"), string("x")].concat(),
            "a root of another name",
        ),
        (
            [vec![4, 1], string(""), string("x")].concat(),
            "a root of another name",
        ),
        (
            [vec![4, 0], numbers(&[7, 0]), string("x")].concat(),
            "the content of a nested type",
        ),
    ];
    for (item, sentence) in cases {
        assert_eq!(
            refused_update(&alone(&item)),
            format!("{sentence}: {ALONE} (byte 5)")
        );
    }
    assert_eq!(
        refused_update(&alone(&[4, 2, 1, b'x'])),
        "a struct's parent is of the kind 2: 1 is a root, 0 a nested type (byte 5)"
    );
}

/// Strings that are no text would be undefined behaviour where a library does not look.
#[test]
fn strings_are_utf8() {
    let cases: [&[u8]; 4] = [b"a\xff", b"a\xed\xa0\xbd", b"a\xc0\x80", b"a\xf0\x9f\x98"];
    for text in cases {
        let item = [
            vec![4, 1],
            string("code"),
            number(text.len() as u64),
            text.to_vec(),
        ]
        .concat();
        assert_eq!(
            refused_update(&alone(&item)),
            "text is not UTF-8 (byte 13)",
            "{text:?}"
        );
    }
}

/// Structs and runs of no length, of which the library drops some, and Yjs keeps them.
#[test]
fn nothing_is_empty() {
    let bytes = [
        (
            alone(&first("")),
            "text has the length 0, which Yjs does not write (byte 11)",
        ),
        (
            alone(&gap(0)),
            "a gap has the length 0, which Yjs does not write (byte 5)",
        ),
        (
            alone(&deleted((6, 0), 0)),
            "deleted text has the length 0, which Yjs does not write (byte 7)",
        ),
        (
            update(&[], &[(7, &[(3, 0)])]),
            "a deletion has the length 0, which Yjs does not write (byte 5)",
        ),
        (
            update(&[client(7, 0, &[]), client(8, 0, &[first("ab")])], &[]),
            "a client without structs: it is left out when it has none (byte 2)",
        ),
        (
            update(&[], &[(7, &[]), (8, &[(1, 1), (3, 1)])]),
            "a client without deletions: it is left out when it has none (byte 4)",
        ),
    ];
    for (bytes, sentence) in bytes {
        assert_eq!(refused_update(&bytes), sentence, "{bytes:?}");
    }
}

/// Clocks that wrap in 32 bits.
#[test]
fn clocks_end() {
    let most = i32::MAX as u64;
    let fits = update(
        &[client(7, most - 2, &[after((7, 1), "ab")])],
        &[(7, &[(most - 1, 1)])],
    );
    assert!(scan(&fits, &Limits::default()).is_ok());
    let cases = [
        (
            update(&[client(7, most - 1, &[after((7, 1), "ab")])], &[]),
            "text ends at the clock 2147483648: at most",
        ),
        (
            update(&[client(7, most, &[gap(most)])], &[]),
            "a gap ends at the clock 4294967294: at most",
        ),
        (
            update(&[client(7, 1, &[deleted((6, 0), most)])], &[]),
            "deleted text ends at the clock 2147483648: at most",
        ),
        (
            update(&[client(7, most + 1, &[gap(1)])], &[]),
            "a client's first clock counts 2147483648: at most",
        ),
        (
            update(&[], &[(7, &[(most, 1)])]),
            "a deletion ends at the clock 2147483648: at most",
        ),
    ];
    for (bytes, sentence) in cases {
        let refusal = refused_update(&bytes);
        assert!(refusal.starts_with(sentence), "{refusal}");
    }
}

/// The library replaces a struct that it is given twice, and frees what others point to.
#[test]
fn nobody_is_named_twice() {
    let twice = update(
        &[
            client(7, 0, &[first("a")]),
            client(8, 0, &[first("b")]),
            client(7, 1, &[first("c")]),
        ],
        &[],
    );
    assert_eq!(
        refused_update(&twice),
        "the client 7 is in the update twice: once is right (byte 26)"
    );
    let twice = update(&[], &[(7, &[(0, 1)]), (8, &[(0, 1)]), (7, &[(5, 1)])]);
    assert_eq!(
        refused_update(&twice),
        "the client 7 deletes twice in the update: once is right (byte 10)"
    );
}

/// The library searches deletions as if they were sorted.
#[test]
fn deletions_ascend() {
    let cases: [&[(u64, u64)]; 3] = [&[(5, 2), (3, 1)], &[(5, 2), (6, 1)], &[(5, 2), (5, 2)]];
    for runs in cases {
        let refusal = refused_update(&update(&[], &[(7, runs)]));
        let sentence = format!(
            "a deletion from the clock {} after one until 7: they ascend (byte 6)",
            runs[1].0
        );
        assert_eq!(refusal, sentence);
    }
    let bytes = update(&[], &[(7, &[(5, 2), (7, 1), (9, 1)])]);
    let taken = scan(&bytes, &Limits::default())
        .expect("runs that touch are runs")
        .outline;
    let run = |from, to| Run {
        client: 7,
        from,
        to,
    };
    assert_eq!(taken.deletes, [run(5, 7), run(7, 8), run(9, 10)]);
}

/// Memory would be set aside for structs that are not there.
#[test]
fn counts_are_backed_by_bytes() {
    let cases = [
        (
            number(1 << 32),
            "4294967296 clients in an update: the 0 bytes that follow have no room for that (byte 0)",
        ),
        (
            [numbers(&[1, 1 << 31, 7, 0]), first("a")].concat(),
            "2147483648 structs of a client: the 11 bytes that follow have no room for that (byte 1)",
        ),
        (
            numbers(&[0, 1, 7, 9, 0, 1]),
            "9 deletions of a client: the 2 bytes that follow have no room for that (byte 3)",
        ),
        (
            alone(&[vec![4, 1], string("code"), number(99), vec![b'x']].concat()),
            "text is said to have 99 bytes, but 2 follow (byte 11)",
        ),
    ];
    for (bytes, sentence) in cases {
        assert_eq!(refused_update(&bytes), sentence, "{bytes:?}");
    }
}

/// Limits that nothing looks at, or that hold for one client at a time.
#[test]
fn limits_hold() {
    let bytes = update(
        &[
            client(8, 0, &[first("a"), after((8, 0), "b")]),
            client(7, 0, &[after((8, 1), "c")]),
        ],
        &[(7, &[(0, 1)]), (8, &[(0, 1), (1, 1)])],
    );
    let limits = |clients, structs| Limits {
        clients,
        structs,
        ..Limits::default()
    };
    let deletes = |deletes| Limits {
        deletes,
        ..Limits::default()
    };
    assert!(scan(&bytes, &limits(2, 3)).is_ok());
    assert!(scan(&bytes, &deletes(3)).is_ok());
    let refusal = |limits| scan(&bytes, &limits).expect_err("over a limit").to_string();
    assert_eq!(
        refusal(limits(1, 3)),
        "2 clients in an update: at most 1 are taken at once (byte 0)"
    );
    assert_eq!(
        refusal(limits(2, 2)),
        "1 structs of a client: at most 0 are taken at once (byte 18)"
    );
    assert_eq!(
        refusal(deletes(2)),
        "2 deletions of a client: at most 1 are taken at once (byte 32)"
    );
}

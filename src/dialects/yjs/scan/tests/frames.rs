//! Frames: kinds of messages, state vectors, awareness, and the numbers and strings in all of them.

use super::super::{Entry, Limits, Message, message};
use super::refusal;
use super::writing::{number, numbers, string};

const MOST: u64 = (1 << 53) - 1;

fn step1(vector: &[u8]) -> Vec<u8> {
    [vec![0, 0], number(vector.len() as u64), vector.to_vec()].concat()
}

fn awareness(entries: &[(u64, u64, &str)]) -> Vec<u8> {
    let entry = |&(client, clock, state)| [numbers(&[client, clock]), string(state)].concat();
    let inside = [
        number(entries.len() as u64),
        entries.iter().flat_map(entry).collect(),
    ]
    .concat();
    [vec![1], number(inside.len() as u64), inside].concat()
}

/// Garbage would be taken for a message, or one message for another.
#[test]
fn what_is_no_message_is_refused() {
    let cases: &[(&[u8], &str)] = &[
        (&[], "the bytes end before the kind of a message (byte 0)"),
        (
            &[4],
            "there is no message 4: 0 is sync, 1 awareness, 2 auth, 3 asks for awareness (byte 0)",
        ),
        (
            &[0],
            "the bytes end before the step of a sync message (byte 1)",
        ),
        (
            &[0, 3, 0],
            "there is no step 3 of sync: 0 asks, 1 answers, 2 is an edit (byte 1)",
        ),
        (
            &[3, 3],
            "1 bytes follow a message, where nothing should (byte 1)",
        ),
        (
            &[0, 0, 2, 0, 0],
            "1 bytes follow a state vector, where nothing should (byte 4)",
        ),
        (
            &[0, 2, 3, 0, 0, 0],
            "1 bytes follow an update, where nothing should (byte 5)",
        ),
        (
            &[1, 2, 0, 0],
            "1 bytes follow an awareness update, where nothing should (byte 3)",
        ),
        (
            &[0, 0, 5, 0],
            "a state vector is said to have 5 bytes, but 1 follow (byte 2)",
        ),
        (
            &[2, 0, 2, 0xc3, 0x28],
            "the reason in an auth message is not UTF-8 (byte 3)",
        ),
    ];
    for (frame, sentence) in cases {
        assert_eq!(refusal(frame), *sentence, "{frame:?}");
    }
}

#[test]
fn what_a_node_ignores_is_taken() {
    let limits = Limits::default();
    assert_eq!(message(&[3], &limits), Ok(Message::QueryAwareness));
    assert_eq!(message(&[2, 0, 1, b'x'], &limits), Ok(Message::Other));
}

/// A number that one end reads otherwise than the other: too large for JavaScript, cut to 32 bits, or padded.
#[test]
fn numbers_are_exact() {
    let most = step1(&[number(1), number(MOST), number(i32::MAX as u64)].concat());
    let Ok(Message::Step1 { vector, raw }) = message(&most, &Limits::default()) else {
        panic!("not taken");
    };
    assert_eq!((vector.get(MOST), vector.get(1)), (i32::MAX as u64, 0));
    assert_eq!(raw, &most[3..]);

    let large = "a client in a state vector is a number of more than 53 bits, which JavaScript does not hold exactly (byte 4)";
    let cases = [
        (numbers(&[1, MOST + 1, 1]), large),
        (numbers(&[1, u64::MAX, 1]), large),
        ([vec![1], vec![0xff; 30]].concat(), large),
        (
            vec![1, 0x81, 0x00, 1],
            "a client in a state vector is a number with zeros before it: the shortest form is the right one (byte 4)",
        ),
        (
            numbers(&[1, 7, 1 << 31]),
            "a clock in a state vector counts 2147483648: at most 2147483647 (byte 5)",
        ),
    ];
    for (vector, sentence) in cases {
        assert_eq!(refusal(&step1(&vector)), sentence, "{vector:?}");
    }
}

/// Memory would be set aside for what a sender claims and never sends.
#[test]
fn counts_are_backed_by_bytes() {
    let many = number(1 << 40);
    let cases = [
        (
            step1(&many),
            "1099511627776 clients in a state vector: the 0 bytes that follow have no room for that (byte 3)",
        ),
        (
            step1(&numbers(&[2, 1, 1])),
            "2 clients in a state vector: the 2 bytes that follow have no room for that (byte 3)",
        ),
        (
            [vec![1], number(many.len() as u64), many].concat(),
            "1099511627776 entries of awareness: the 0 bytes that follow have no room for that (byte 2)",
        ),
    ];
    for (frame, sentence) in cases {
        assert_eq!(refusal(&frame), sentence, "{frame:?}");
    }
}

/// The later of two clocks would win, or the earlier: ends would differ.
#[test]
fn nobody_is_named_twice() {
    let twice = step1(&numbers(&[3, 9, 1, 5, 2, 9, 3]));
    assert_eq!(
        refusal(&twice),
        "the client 9 is in the state vector twice: once is right (byte 3)"
    );
    let twice = awareness(&[(5, 1, "{}"), (6, 1, "{}"), (5, 2, "null")]);
    assert_eq!(
        refusal(&twice),
        "the client 5 is in the awareness update twice: once is right (byte 13)"
    );
}

/// Everyone present would be told what their own JSON reader throws at.
#[test]
fn states_of_awareness_are_json() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let quoted = format!(r#""\"{}""#, "[".repeat(65));
    let taken = ["null", "{}", r#""\ud83d""#, "1e999", &quoted, &nested(64)];
    for state in taken {
        let frame = awareness(&[(5, 1, state)]);
        let expected = Entry {
            client: 5,
            clock: 1,
            state,
        };
        assert_eq!(
            message(&frame, &Limits::default()),
            Ok(Message::Awareness(vec![expected]))
        );
    }
    let (deep, large) = (nested(65), format!("\"{}\"", "x".repeat(16 * 1024)));
    let refused = [
        ("{", "a state of awareness is no JSON: EOF"),
        ("{} {}", "a state of awareness is no JSON: trailing"),
        ("undefined", "a state of awareness is no JSON: expected"),
        ("]", "a state of awareness is no JSON: expected"),
        (
            &deep,
            "a state of awareness nests too deep: at most 64 levels",
        ),
        (
            &large,
            "a state of awareness has 16386 bytes: at most 16384",
        ),
    ];
    for (state, sentence) in refused {
        let refusal = refusal(&awareness(&[(5, 1, state)]));
        assert!(refusal.starts_with(sentence), "{state}: {refusal}");
    }
}

/// Limits that nothing looks at.
#[test]
fn limits_hold() {
    let vector = step1(&numbers(&[2, 1, 1, 2, 2]));
    let entries = awareness(&[(1, 1, "1"), (2, 1, "2")]);
    let cases = [
        (
            &vector,
            Limits {
                bytes: 7,
                ..Limits::default()
            },
            "8 bytes are too many: at most 7 (byte 0)",
        ),
        (
            &vector,
            Limits {
                clients: 1,
                ..Limits::default()
            },
            "2 clients in a state vector: at most 1 are taken at once (byte 3)",
        ),
        (
            &entries,
            Limits {
                entries: 1,
                ..Limits::default()
            },
            "2 entries of awareness: at most 1 are taken at once (byte 2)",
        ),
    ];
    for (frame, limits, sentence) in cases {
        assert!(message(frame, &Limits::default()).is_ok());
        let refused = message(frame, &limits).map_err(|malformed| malformed.to_string());
        assert_eq!(refused, Err(sentence.to_owned()));
    }
}

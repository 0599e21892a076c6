//! Writes updates as Yjs does, and as it never would.

pub(super) fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

pub(super) fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|&one| number(one)).collect()
}

pub(super) fn string(text: &str) -> Vec<u8> {
    [number(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// An update of these clients, which deletes these clocks: client, then runs of clock and length.
pub(super) fn update(clients: &[Vec<u8>], deletes: &[(u64, &[(u64, u64)])]) -> Vec<u8> {
    let mut bytes = number(clients.len() as u64);
    bytes.extend(clients.iter().flatten());
    bytes.extend(number(deletes.len() as u64));
    for (client, runs) in deletes {
        bytes.extend(numbers(&[*client, runs.len() as u64]));
        bytes.extend(
            runs.iter()
                .flat_map(|&(clock, length)| numbers(&[clock, length])),
        );
    }
    bytes
}

/// A client's structs, from a clock on.
pub(super) fn client(client: u64, clock: u64, structs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = numbers(&[structs.len() as u64, client, clock]);
    bytes.extend(structs.iter().flatten());
    bytes
}

/// Text at the beginning of an empty document.
pub(super) fn first(text: &str) -> Vec<u8> {
    [vec![4, 1], string("code"), string(text)].concat()
}

/// Text after another's end.
pub(super) fn after(origin: (u64, u64), text: &str) -> Vec<u8> {
    [vec![0x84], numbers(&[origin.0, origin.1]), string(text)].concat()
}

/// Text before another's beginning.
pub(super) fn before(origin: (u64, u64), text: &str) -> Vec<u8> {
    [vec![0x44], numbers(&[origin.0, origin.1]), string(text)].concat()
}

pub(super) fn between(left: (u64, u64), right: (u64, u64), text: &str) -> Vec<u8> {
    [
        vec![0xc4],
        numbers(&[left.0, left.1, right.0, right.1]),
        string(text),
    ]
    .concat()
}

/// What was deleted long ago, after another's end.
pub(super) fn deleted(origin: (u64, u64), length: u64) -> Vec<u8> {
    [vec![0x81], numbers(&[origin.0, origin.1, length])].concat()
}

pub(super) fn gap(length: u64) -> Vec<u8> {
    [vec![10], number(length)].concat()
}

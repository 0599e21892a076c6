//! How an event is written: as a packet of Socket.IO, or in a plain frame `{"event":…,"data":…}` for clients without
//! that library.

use serde::Serialize;
use serde_json::json;

use super::packet::write;

pub struct Words<'a> {
    framing: Framing,
    out: &'a mut Vec<u8>,
}

enum Framing {
    Packets,
    Raw,
}

impl<'a> Words<'a> {
    pub fn packets(out: &'a mut Vec<u8>) -> Self {
        let framing = Framing::Packets;
        Self { framing, out }
    }

    pub fn raw(out: &'a mut Vec<u8>) -> Self {
        let framing = Framing::Raw;
        Self { framing, out }
    }

    pub fn event(&mut self, event: &str, data: &impl Serialize) {
        #[derive(Serialize)]
        struct Frame<'a, T> {
            event: &'a str,
            data: &'a T,
        }
        match self.framing {
            Framing::Packets => write::event(event, data, self.out),
            Framing::Raw => serde_json::to_writer(&mut *self.out, &Frame { event, data })
                .expect("writing plain fields to memory cannot fail"),
        }
    }

    /// An acknowledgement, which only packets ask for.
    pub fn ack(&mut self, number: u64) {
        if let Framing::Packets = self.framing {
            write::ack(number, self.out);
        }
    }

    /// A namespace that is not there, which only packets ask for.
    pub fn no_namespace(&mut self, namespace: &str) {
        if let Framing::Packets = self.framing {
            let why = json!({ "message": "Invalid namespace" });
            write::refused(namespace, &why, self.out);
        }
    }
}

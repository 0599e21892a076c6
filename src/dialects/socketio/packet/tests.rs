//! The examples of the two protocol texts, and what is none.

use super::*;

/// Kind, namespace, acknowledgement, data, parts.
fn read(text: &str) -> Result<String, Bad> {
    let packet = Packet::read(text)?;
    let Packet {
        kind,
        namespace,
        ack,
        data,
        parts,
    } = packet;
    let ack = ack.map_or("-".to_owned(), |ack| ack.to_string());
    let data = data.map_or("-", RawValue::get);
    Ok(format!("{kind:?} {namespace} {ack} {data} {parts}"))
}

#[test]
fn packets_are_read() {
    let cases = [
        ("0", "Connect / - - 0"),
        (r#"0{"token":"123"}"#, r#"Connect / - {"token":"123"} 0"#),
        (
            r#"0/admin,{"token":"123"}"#,
            r#"Connect /admin - {"token":"123"} 0"#,
        ),
        ("0/admin", "Connect /admin - - 0"),
        ("0/admin?a=b,", "Connect /admin - - 0"),
        ("1", "Disconnect / - - 0"),
        ("1/admin,", "Disconnect /admin - - 0"),
        (r#"2["foo"]"#, r#"Event / - ["foo"] 0"#),
        (r#"2/admin,["bar"]"#, r#"Event /admin - ["bar"] 0"#),
        (r#"212["foo"]"#, r#"Event / 12 ["foo"] 0"#),
        (r#"2/admin,456["x",1]"#, r#"Event /admin 456 ["x",1] 0"#),
        (r#"3/admin,13["bar"]"#, r#"Ack /admin 13 ["bar"] 0"#),
        (
            r#"51-["baz",{"_placeholder":true,"num":0}]"#,
            r#"Event / - ["baz",{"_placeholder":true,"num":0}] 1"#,
        ),
        (r#"51-15["bar"]"#, r#"Event / 15 ["bar"] 1"#),
        (r#"61-/admin,1["x"]"#, r#"Ack /admin 1 ["x"] 1"#),
    ];
    for (text, wanted) in cases {
        assert_eq!(read(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_is_no_packet_is_named() {
    let cases = [
        ("", Bad::Empty),
        ("7", Bad::Type),
        ("x", Bad::Type),
        ("é", Bad::Type),
        (r#"4{"message":"no"}"#, Bad::Type),
        ("2", Bad::Event),
        ("2{}", Bad::Event),
        (r#"2"foo""#, Bad::Event),
        (r#"2["foo""#, Bad::Json),
        (r#"2["foo"] x"#, Bad::Json),
        (r#"2/admin["foo"]"#, Bad::Namespace),
        (r#"299999999999999999999["foo"]"#, Bad::Ack),
        (r#"29007199254740992["foo"]"#, Bad::Ack),
        (r#"5["foo"]"#, Bad::Parts),
        (r#"5-["foo"]"#, Bad::Parts),
        (r#"5x-["foo"]"#, Bad::Parts),
        (r#"517-["foo"]"#, Bad::Parts),
        (r#"54294967297-["foo"]"#, Bad::Parts),
        ("0[1]", Bad::Json),
        ("0nonsense", Bad::Json),
        ("1[]", Bad::Data),
    ];
    for (text, wanted) in cases {
        assert_eq!(read(text), Err(wanted), "{text}");
    }
}

#[test]
fn an_event_has_a_name_and_perhaps_an_argument() {
    let event = |text| {
        let packet = Packet::read(text).expect("a packet");
        let found = packet.event();
        found.map(|(name, argument)| (name, argument.map(RawValue::get)))
    };
    assert_eq!(
        event(r#"2["join",{"room":"a"}]"#),
        Ok(("join".to_owned(), Some(r#"{"room":"a"}"#)))
    );
    assert_eq!(
        event(r#"2["\u0061 b", 1, 2]"#),
        Ok(("a b".to_owned(), Some("1")))
    );
    assert_eq!(event(r#"2["ping"]"#), Ok(("ping".to_owned(), None)));
    assert_eq!(event("2[]"), Err(Bad::Event));
    assert_eq!(event("2[7]"), Err(Bad::Event));
}

#[test]
fn a_body_holds_several() {
    let found: Vec<_> = Engine::read_all("4a\u{1e}2probe\u{1e}bAQID\u{1e}3\u{1e}\u{1e}9").collect();
    let wanted = [
        Ok(Engine::Message("a")),
        Ok(Engine::Ping("probe")),
        Ok(Engine::Binary),
        Ok(Engine::Pong("")),
        Err(Bad::Empty),
        Err(Bad::Type),
    ];
    assert_eq!(found, wanted);
    // The server alone opens.
    assert_eq!(Engine::read("0{}"), Err(Bad::Type));
}

#[test]
fn packets_are_written_as_the_texts_show_them() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    };
    let open = write::Open {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades: &["websocket"],
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: 1_000_000,
    };
    assert_eq!(
        written(&|out| write::open(&open, out)),
        r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    );
    assert_eq!(
        written(&|out| write::connected("x", out)),
        r#"40{"sid":"x"}"#
    );
    assert_eq!(written(&|out| write::event("a", &7, out)), r#"42["a",7]"#);
    assert_eq!(written(&|out| write::ack(12, out)), "4312[]");
    let why = serde_json::json!({"message": "no"});
    assert_eq!(
        written(&|out| write::refused("/x", &why, out)),
        r#"44/x,{"message":"no"}"#
    );
    assert_eq!(
        written(&|out| write::refused("/", &why, out)),
        r#"44{"message":"no"}"#
    );
}

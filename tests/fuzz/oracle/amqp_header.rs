//! What must hold for the payload of any header frame, and for any field table. Shared by the fuzz target and by the
//! test that replays its corpus.

use bytes::Bytes;
use warren_amqp::content::{Header, HeaderEdit, Property};
use warren_amqp::{ShortString, Table, TableView, Value};

/// Whether it is a content header.
pub(crate) fn accepted(payload: &[u8]) -> bool {
    table(payload);
    table(payload.get(18..).unwrap_or_default());
    let Ok(header) = Header::read(payload) else {
        return false;
    };
    assert_eq!(header.payload(), payload);
    assert_eq!(HeaderEdit::of(header).finish(), payload, "no change is a change");

    // As values and back: the values are the same.
    let properties = header.properties();
    let octets = properties.header(header.body_size());
    let again = Header::read(&octets).expect("what we send is understood");
    assert_eq!(again.properties().header(again.body_size()), octets);
    assert_eq!(again.flags(), header.flags() & !0b11);
    assert_eq!(again.expiration(), header.expiration());
    assert_eq!(again.is_persistent(), header.is_persistent());

    edit(header);
    true
}

/// Changes change what they name and nothing else.
fn edit(header: Header<'_>) {
    let name = "x-delivery-count";
    let others = |header: Header<'_>| -> Vec<Vec<u8>> {
        let entries = header.headers().map(|table| {
            let rest = table.iter().filter(|(key, _)| *key != name.as_bytes());
            rest.map(|(key, value)| [key, format!("{value:?}").as_bytes()].concat())
                .collect()
        });
        entries.unwrap_or_default()
    };
    for property in Property::ALL {
        let octets = HeaderEdit::of(header).without(*property).finish();
        let without = Header::read(&octets).expect("still a header");
        assert_eq!(without.flags(), header.flags() & !property.flag());
        for other in Property::ALL.iter().filter(|other| *other != property) {
            assert_eq!(without.short(*other), header.short(*other));
        }
    }
    let octets = HeaderEdit::of(header)
        .with_header(name, Value::I64(7))
        .with_short(Property::Expiration, &ShortString::from_static("5"))
        .finish();
    let with = Header::read(&octets);
    // One value more may be too many.
    if let Ok(with) = with {
        let count = with
            .headers()
            .and_then(|table| table.get(name))
            .and_then(|value| value.integer());
        assert_eq!((count, with.expiration()), (Some(7), Some(&b"5"[..])));
        assert_eq!(others(with), others(header));
        let octets = HeaderEdit::of(with).without_header(name).finish();
        let without = Header::read(&octets).expect("still a header");
        assert_eq!(without.headers().and_then(|table| table.get(name)), None);
        assert_eq!(others(without), others(header));
    }
}

/// Whoever reads a table reads the same.
fn table(entries: &[u8]) {
    let view = TableView::new(entries);
    let table = Table::decode_entries(Bytes::copy_from_slice(entries));
    assert_eq!(view.check(), table.as_ref().map(|_| ()).map_err(|error| *error));
    if let Ok(table) = table {
        assert_eq!(view.iter().count(), table.len());
        for ((name, value), (key, held)) in view.iter().zip(table.iter()) {
            assert_eq!(name, key.as_bytes());
            let value = value.to_value().expect("all of it can be read");
            // By what they show, since not every number equals itself.
            assert_eq!(format!("{value:?}"), format!("{held:?}"));
        }
    } else {
        // What can be read of it can be asked for.
        let _ = view.get("x-match");
        view.iter().for_each(|(_, value)| drop(value.to_value()));
    }
}

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn entries(table: &Table) -> Bytes {
    let mut out = BytesMut::new();
    table.encode(&mut out);
    out.freeze().split_off(4)
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

#[test]
fn every_letter_is_written_as_rabbitmq_writes_it() {
    let cases: [(Value, &[u8]); 18] = [
        (Value::Bool(true), b"t\x01"),
        (Value::I8(-1), b"b\xff"),
        (Value::U8(255), b"B\xff"),
        (Value::I16(-2), b"s\xff\xfe"),
        (Value::U16(2), b"u\0\x02"),
        (Value::I32(-2), b"I\xff\xff\xff\xfe"),
        (Value::U32(1000), b"i\0\0\x03\xe8"),
        (Value::I64(-1), b"l\xff\xff\xff\xff\xff\xff\xff\xff"),
        (Value::I64L(1), b"L\0\0\0\0\0\0\0\x01"),
        (Value::F32(1.0), b"f\x3f\x80\0\0"),
        (Value::F64(1.0), b"d\x3f\xf0\0\0\0\0\0\0"),
        (Value::Decimal { scale: 2, value: 314 }, b"D\x02\0\0\x01\x3a"),
        (Value::text("ab"), b"S\0\0\0\x02ab"),
        (Value::Octets(Bytes::from_static(b"\0")), b"x\0\0\0\x01\0"),
        (Value::Timestamp(1), b"T\0\0\0\0\0\0\0\x01"),
        (
            Value::Array(vec![Value::Void, Value::U8(1)]),
            b"A\0\0\0\x03VB\x01",
        ),
        (
            Value::Table(Table::new().with("k", Value::Void)),
            b"F\0\0\0\x03\x01kV",
        ),
        (Value::Void, b"V"),
    ];
    for (value, octets) in cases {
        let table = Table::new().with("n", value);
        let expected = [b"\x01n", octets].concat();
        assert_eq!(entries(&table)[..], expected, "{table:?}");
        assert_eq!(Table::decode_entries(Bytes::from(expected)), Ok(table));
    }
}

#[test]
fn a_letter_that_is_not_rabbitmqs_is_named() {
    let octets = Bytes::from_static(b"\x01nU\0\x01");
    assert_eq!(
        Table::decode_entries(octets),
        Err(InvalidTable::UnknownLetter(b'U'))
    );
}

#[test]
fn a_table_that_is_cut_anywhere_but_between_entries_is_refused() {
    let table = Table::new()
        .with("a", Value::text("text"))
        .with("b", Value::I64(7));
    let octets = entries(&table);
    let first = entries(&Table::new().with("a", Value::text("text"))).len();
    for end in 1..octets.len() {
        let result = Table::decode_entries(octets.slice(..end));
        assert_eq!(result.is_ok(), end == first, "cut at {end}");
    }
}

#[test]
fn tables_may_be_as_deep_as_the_limit_and_no_deeper() {
    let nested = |depth: usize| {
        (1..depth).fold(Table::new(), |inner, _| {
            Table::new().with("n", Value::Table(inner))
        })
    };
    assert!(Table::decode_entries(entries(&nested(DEPTH_MAX))).is_ok());
    assert_eq!(
        Table::decode_entries(entries(&nested(DEPTH_MAX + 1))),
        Err(InvalidTable::TooDeep)
    );
}

#[test]
fn a_table_may_have_as_many_values_as_the_limit_and_no_more() {
    let many = |count: usize| {
        let array = Value::Array(vec![Value::Void; count - 1]);
        entries(&Table::new().with("n", array))
    };
    assert!(Table::decode_entries(many(VALUES_MAX)).is_ok());
    assert_eq!(
        Table::decode_entries(many(VALUES_MAX + 1)),
        Err(InvalidTable::TooMany)
    );
}

#[test]
fn the_first_of_two_equal_names_counts_and_both_are_kept() {
    let table = Table::new().with("n", Value::U8(1)).with("n", Value::U8(2));
    assert_eq!(table.get("n"), Some(&Value::U8(1)));
    assert_eq!(Table::decode_entries(entries(&table)), Ok(table));
}

#[test]
fn a_peer_can_only_what_its_capabilities_say_is_true() {
    let capabilities = Table::new()
        .with("basic.nack", Value::Bool(true))
        .with("connection.blocked", Value::Bool(false))
        .with("direct_reply_to", Value::U8(1));
    let properties = Table::new().with("capabilities", Value::Table(capabilities));
    assert!(properties.can("basic.nack"));
    for cannot in ["connection.blocked", "direct_reply_to", "publisher_confirms"] {
        assert!(!properties.can(cannot), "{cannot}");
    }
    assert!(!Table::new().can("basic.nack"));
}

#[test]
fn texts_are_slices_of_what_was_read() {
    let octets = entries(&Table::new().with("n", Value::text("text")));
    let table = Table::decode_entries(octets.clone()).unwrap();
    let Some(Value::Text(text)) = table.get("n") else {
        panic!("a text");
    };
    assert_eq!(text.as_ptr(), octets.as_ptr().wrapping_add(7));
}

fn value() -> impl Strategy<Value = Value> {
    let octets = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<i64>().prop_map(Value::I64L),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        octets().prop_map(Value::Text),
        octets().prop_map(Value::Octets),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec(("[a-z]{0,6}", inner), 0..5).prop_map(|entries| {
                Value::Table(
                    entries
                        .iter()
                        .map(|(name, value)| (short(name), value.clone()))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn tables_come_out_as_they_went_in(values in prop::collection::vec(("[a-z.-]{0,12}", value()), 0..6)) {
        let table: Table = values.iter().map(|(name, value)| (short(name), value.clone())).collect();
        let octets = entries(&table);
        let again = Table::decode_entries(octets.clone()).unwrap();
        prop_assert_eq!(entries(&again), octets);
        prop_assert_eq!(again, table);
    }

    #[test]
    fn no_octets_make_a_table_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Table::decode_entries(Bytes::from(octets));
    }

    #[test]
    fn what_looks_like_a_table_leaves_as_it_came(octets in prop::collection::vec(
        prop_oneof![Just(0_u8), Just(1), Just(b'F'), Just(b'A'), Just(b'S'), Just(b'V'), Just(b'b'), Just(b'u')],
        0..60,
    )) {
        if let Ok(table) = Table::decode_entries(Bytes::from(octets.clone())) {
            prop_assert_eq!(&entries(&table)[..], &octets[..]);
        }
    }
}

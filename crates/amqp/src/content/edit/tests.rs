use proptest::prelude::*;

use super::*;
use crate::content::Properties;
use crate::table::Table;

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

fn all() -> Properties {
    Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("utf-8")),
        headers: Some(
            Table::new()
                .with("a", Value::I64L(1))
                .with("CC", Value::Array(vec![Value::text("x")]))
                .with("b", Value::text("two"))
                .with("CC", Value::Void),
        ),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(short("c")),
        reply_to: Some(short("r")),
        expiration: Some(short("1000")),
        message_id: Some(short("m")),
        timestamp: Some(1_700_000_000),
        message_type: Some(short("t")),
        user_id: Some(short("guest")),
        app_id: Some(short("app")),
        cluster_id: Some(short("")),
    }
}

fn edited(before: &Properties, edit: impl FnOnce(HeaderEdit<'_>) -> HeaderEdit<'_>) -> Properties {
    let header = before.header(77);
    let after = edit(HeaderEdit::of(Header::read(&header).unwrap())).finish();
    let after = Header::read(&after).unwrap();
    assert_eq!(after.body_size(), 77);
    after.properties()
}

#[test]
fn without_changes_not_an_octet_changes() {
    let mut header = all().header(3).to_vec();
    // Two flags that mean nothing; RabbitMQ passes them on.
    header[13] |= 0b11;
    let edit = HeaderEdit::of(Header::read(&header).unwrap());
    assert_eq!(edit.finish(), header);
    let edit = HeaderEdit::of(Header::read(&header).unwrap()).without_header("none of them");
    assert_eq!(edit.finish(), header);
}

#[test]
fn a_header_is_replaced_where_the_first_was_and_others_of_its_name_go() {
    let after = edited(&all(), |edit| edit.with_header("CC", Value::U8(7)));
    let headers = Table::new()
        .with("a", Value::I64L(1))
        .with("CC", Value::U8(7))
        .with("b", Value::text("two"));
    assert_eq!(
        after,
        Properties {
            headers: Some(headers),
            ..all()
        }
    );
}

#[test]
fn a_new_header_comes_last_and_what_is_taken_out_is_gone() {
    let after = edited(&all(), |edit| {
        edit.with_header("x-death", Value::Array(vec![]))
            .without_header("CC")
            .without_header("a")
    });
    let headers = Table::new()
        .with("b", Value::text("two"))
        .with("x-death", Value::Array(vec![]));
    assert_eq!(after.headers, Some(headers));
}

#[test]
fn the_last_of_two_changes_to_one_thing_counts() {
    let after = edited(&all(), |edit| {
        edit.with_header("a", Value::Void)
            .without_header("a")
            .without(Property::Expiration)
            .with_short(Property::Expiration, &short("5"))
    });
    assert_eq!(after.headers.unwrap().get("a"), None);
    assert_eq!(after.expiration, Some(short("5")));
}

#[test]
fn a_table_comes_into_being_for_a_header_and_not_for_nothing() {
    let none = Properties::default();
    assert_eq!(edited(&none, |edit| edit.without_header("BCC")), none);
    let after = edited(&none, |edit| edit.with_header("x-delivery-count", Value::I64(1)));
    assert_eq!(
        after.headers,
        Some(Table::new().with("x-delivery-count", Value::I64(1)))
    );
    let emptied = Properties {
        headers: Some(Table::new().with("BCC", Value::Void)),
        ..none
    };
    assert_eq!(
        edited(&emptied, |edit| edit.without_header("BCC")).headers,
        Some(Table::new())
    );
}

#[test]
fn only_short_strings_are_set_as_such() {
    let after = edited(&all(), |edit| {
        edit.with_short(Property::Priority, &short("x"))
            .with_short(Property::ReplyTo, &short("amq.rabbitmq.reply-to.xyz"))
    });
    assert_eq!(after.priority, Some(9));
    assert_eq!(after.reply_to, Some(short("amq.rabbitmq.reply-to.xyz")));
}

proptest! {
    /// Any properties, any one taken out: all others stay.
    #[test]
    fn each_property_can_be_taken_out_alone(there: [bool; 14], out in 0_usize..14) {
        let whole = all().header(1);
        let whole = Header::read(&whole).unwrap();
        let some = Property::ALL.iter().zip(there).filter(|(_, there)| !there);
        let some = some.fold(HeaderEdit::of(whole), |edit, (property, _)| edit.without(*property)).finish();
        let some = Header::read(&some).unwrap();
        let property = Property::ALL[out];
        let less = HeaderEdit::of(some).without(property).finish();
        let less = Header::read(&less).unwrap();
        for (other, was_there) in Property::ALL.iter().zip(there) {
            prop_assert_eq!(some.has(*other), was_there);
            prop_assert_eq!(less.has(*other), was_there && *other != property);
            if less.has(*other) {
                prop_assert_eq!(less.payload().get(less.span(*other)), whole.payload().get(whole.span(*other)));
            }
        }
    }
}

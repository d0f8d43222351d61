//! Our frames against frames recorded from keepalived 2.4.3.

use proptest::prelude::*;

use super::*;

/// Gratuitous ARP for 10.77.9.1 from 36:d7:b6:ee:12:10.
const KEEPALIVED_ARP: &str =
    "ffffffffffff36d7b6ee12100806000108000604000136d7b6ee12100a4d0901ffffffffffff0a4d0901";
/// Unsolicited neighbour advertisements for fe80::77:9:1 and fd77::9:1 from the same host, which does not forward.
const KEEPALIVED_NA: [(&str, &str); 2] = [
    (
        "fe80::77:9:1",
        "33330000000136d7b6ee121086dd6000000000203afffe800000000000000000007700090001ff0200000000000000000000000000\
         01880058c620000000fe800000000000000000007700090001020136d7b6ee1210",
    ),
    (
        "fd77::9:1",
        "33330000000136d7b6ee121086dd6000000000203afffd770000000000000000000000090001ff0200000000000000000000000000\
         0188005bc620000000fd770000000000000000000000090001020136d7b6ee1210",
    ),
];
const MAC: Mac = [0x36, 0xd7, 0xb6, 0xee, 0x12, 0x10];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

#[test]
fn the_request_form_is_keepalived_s_frame_byte_for_byte() {
    let address = Ipv4Addr::new(10, 77, 9, 1);
    assert_eq!(
        gratuitous_arp(MAC, address, ArpForm::Request),
        bytes(KEEPALIVED_ARP)
    );
}

#[test]
fn the_reply_form_differs_in_operation_and_target_hardware_address_only() {
    let address = Ipv4Addr::new(10, 77, 9, 1);
    let mut expected = bytes(KEEPALIVED_ARP);
    expected[21] = 2;
    expected[32..38].copy_from_slice(&MAC);
    assert_eq!(gratuitous_arp(MAC, address, ArpForm::Reply), expected);
}

#[test]
fn the_neighbour_advertisement_is_keepalived_s_frame_byte_for_byte() {
    for (address, frame) in KEEPALIVED_NA {
        assert_eq!(
            neighbour_advertisement(MAC, address.parse().unwrap(), false),
            bytes(frame),
            "{address}"
        );
    }
}

#[test]
fn a_forwarding_host_sets_the_router_flag_and_the_checksum_follows() {
    let frame = neighbour_advertisement(MAC, "fd77::9:1".parse().unwrap(), true);
    assert_eq!(frame[ETHERNET + IPV6 + 4], 0xa0);
    // 0x5bc6 less 0x8000 in one's complement.
    assert_eq!(frame[56..58], [0xdb, 0xc5]);
}

#[test]
fn probes_name_no_sender() {
    let frame = arp_probe(MAC, Ipv4Addr::new(10, 0, 0, 9));
    assert_eq!(frame[28..32], [0; 4]);
    assert_eq!(holder(&frame), None);
    let frame = neighbour_probe(MAC, "fd77::12:3456".parse().unwrap());
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(frame[ETHERNET + 8..ETHERNET + 24], [0; 16]);
    assert_eq!(holder(&frame), None);
}

#[test]
fn announcements_and_answers_name_the_holder() {
    let v4 = Ipv4Addr::new(10, 77, 9, 1);
    for form in [ArpForm::Request, ArpForm::Reply] {
        assert_eq!(holder(&gratuitous_arp(MAC, v4, form)), Some((v4.into(), MAC)));
    }
    let v6: Ipv6Addr = "fd77::9:1".parse().unwrap();
    let mut frame = neighbour_advertisement(MAC, v6, false);
    assert_eq!(holder(&frame), Some((v6.into(), MAC)));
    // Without the option the source of the frame counts.
    frame.truncate(ETHERNET + IPV6 + NEIGHBOUR);
    assert_eq!(holder(&frame), Some((v6.into(), MAC)));
    // From beyond the link it counts for nothing.
    frame[ETHERNET + 7] = 254;
    assert_eq!(holder(&frame), None);
}

proptest! {
    #[test]
    fn no_frame_can_cause_a_panic(mut frame in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..3usize) {
        if frame.len() >= ETHERNET {
            frame[12..14].copy_from_slice(&[[8, 6], [0x86, 0xdd], [8, 0]][kind]);
        }
        let _ = holder(&frame);
    }

    #[test]
    fn cutting_or_flipping_a_real_frame_cannot_cause_a_panic(cut in 0..90usize, at in 0..86usize, bits: u8) {
        let mut frame = bytes(KEEPALIVED_NA[0].1);
        frame[at] ^= bits;
        frame.truncate(cut);
        let _ = holder(&frame);
    }
}

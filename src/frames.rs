//! The Ethernet frames that say where an address lives, and those that ask.
//!
//! Announcements: gratuitous ARP (both forms) and unsolicited neighbour advertisements. Probes: ARP and neighbour
//! solicitation without a sender address, which ask who answers for an address without touching any cache.
//! Deliberately absent: VRRP itself (the `vrrp` crate) and sockets (`plumbing::port`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::Packet;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionTypes,
    NeighborAdvertFlags, NeighborAdvertPacket,
};
use pnet::packet::icmpv6::{self, Icmpv6Packet, Icmpv6Types};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::util::MacAddr;

/// A hardware address.
pub type Mac = [u8; 6];

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
/// Neighbour solicitation or advertisement without options.
const NEIGHBOUR: usize = 24;
/// A link-layer address option.
const OPTION: usize = 8;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// How a gratuitous ARP is put. Hosts learn from either; some switches and firewalls only from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpForm {
    Request,
    Reply,
}

/// RFC 9568 section 6.4.1 with errata 7947: sender and target protocol address are the *virtual* address.
#[must_use]
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr, form: ArpForm) -> Vec<u8> {
    let (operation, target) = match form {
        ArpForm::Request => (ArpOperations::Request, MacAddr::broadcast()),
        ArpForm::Reply => (ArpOperations::Reply, mac.into()),
    };
    arp(mac, operation, address, target, address)
}

/// "Who has this address?" without naming an asker (RFC 5227 section 2.1.1).
#[must_use]
pub fn arp_probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(
        mac,
        ArpOperations::Request,
        Ipv4Addr::UNSPECIFIED,
        MacAddr::zero(),
        address,
    )
}

fn arp(
    mac: Mac,
    operation: ArpOperation,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut frame = ethernet(mac, MacAddr::broadcast(), EtherTypes::Arp, ARP);
    if let Some(mut arp) = MutableArpPacket::new(&mut frame[ETHERNET..]) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(mac.into());
        arp.set_sender_proto_addr(sender);
        arp.set_target_hw_addr(target_mac);
        arp.set_target_proto_addr(target);
    }
    frame
}

/// RFC 9568 section 6.4.1: R as the host forwards, S = 0, O = 1, target and source the virtual address, with its
/// link-layer address, to all nodes.
#[must_use]
pub fn neighbour_advertisement(mac: Mac, address: Ipv6Addr, forwarding: bool) -> Vec<u8> {
    let mut frame = ipv6(mac, address, ALL_NODES, NEIGHBOUR + OPTION);
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(&mut frame[ETHERNET + IPV6..]) {
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        let router = if forwarding {
            NeighborAdvertFlags::Router
        } else {
            0
        };
        advert.set_flags(NeighborAdvertFlags::Override | router);
        advert.set_target_addr(address);
    }
    if let Some(mut option) = MutableNdpOptionPacket::new(&mut frame[ETHERNET + IPV6 + NEIGHBOUR..]) {
        option.set_option_type(NdpOptionTypes::TargetLLAddr);
        option.set_length(1);
        option.set_data(&mac);
    }
    seal(frame, address, ALL_NODES)
}

/// The question of duplicate address detection (RFC 4862 section 5.4.2): unspecified source, no option.
#[must_use]
pub fn neighbour_probe(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let destination = solicited_node(address);
    let mut frame = ipv6(mac, Ipv6Addr::UNSPECIFIED, destination, NEIGHBOUR);
    if let Some(mut question) = MutableNeighborSolicitPacket::new(&mut frame[ETHERNET + IPV6..]) {
        question.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        question.set_target_addr(address);
    }
    seal(frame, Ipv6Addr::UNSPECIFIED, destination)
}

/// The group that everyone who may hold `address` listens to.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    )
}

fn ethernet(source: Mac, destination: MacAddr, kind: EtherType, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + payload];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_source(source.into());
        ethernet.set_destination(destination);
        ethernet.set_ethertype(kind);
    }
    frame
}

fn ipv6(mac: Mac, source: Ipv6Addr, destination: Ipv6Addr, payload: usize) -> Vec<u8> {
    let [.., a, b, c, d] = destination.octets();
    let mut frame = ethernet(
        mac,
        MacAddr::new(0x33, 0x33, a, b, c, d),
        EtherTypes::Ipv6,
        IPV6 + payload,
    );
    if let Some(mut ipv6) = MutableIpv6Packet::new(&mut frame[ETHERNET..]) {
        ipv6.set_version(6);
        ipv6.set_payload_length(payload as u16);
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ipv6.set_hop_limit(255);
        ipv6.set_source(source);
        ipv6.set_destination(destination);
    }
    frame
}

/// Fills in the ICMPv6 checksum.
fn seal(mut frame: Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let message = &mut frame[ETHERNET + IPV6..];
    let checksum = Icmpv6Packet::new(message).map_or(0, |m| icmpv6::checksum(&m, &source, &destination));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// Who a received frame says holds which address: the sender of an ARP message, the target of a neighbour
/// advertisement. `None` for everything else, however malformed.
#[must_use]
pub fn holder(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let ethernet = EthernetPacket::new(frame)?;
    match ethernet.get_ethertype() {
        EtherTypes::Arp => arp_holder(ethernet.payload()),
        EtherTypes::Ipv6 => neighbour_holder(&ethernet),
        _ => None,
    }
}

fn arp_holder(message: &[u8]) -> Option<(IpAddr, Mac)> {
    let arp = ArpPacket::new(message)?;
    let sized = arp.get_hw_addr_len() == 6 && arp.get_proto_addr_len() == 4;
    let sender = arp.get_sender_proto_addr();
    if !sized || arp.get_protocol_type() != EtherTypes::Ipv4 || sender.is_unspecified() {
        return None;
    }
    Some((sender.into(), arp.get_sender_hw_addr().octets()))
}

fn neighbour_holder(ethernet: &EthernetPacket<'_>) -> Option<(IpAddr, Mac)> {
    let ipv6 = Ipv6Packet::new(ethernet.payload())?;
    // A hop limit of 255 proves that the sender is on this link (RFC 4861 section 7.1.2).
    if ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6 || ipv6.get_hop_limit() != 255 {
        return None;
    }
    let message = ethernet.payload().get(IPV6..)?;
    let advert = NeighborAdvertPacket::new(message)?;
    if advert.get_icmpv6_type() != Icmpv6Types::NeighborAdvert {
        return None;
    }
    // The option may be left out of an answer to a unicast question; the frame's source is then the best we have.
    let mac = match message.get(NEIGHBOUR..NEIGHBOUR + OPTION) {
        Some([2, 1, mac @ ..]) => mac.try_into().ok()?,
        _ => ethernet.get_source().octets(),
    };
    Some((advert.get_target_addr().into(), mac))
}

#[cfg(test)]
mod tests;

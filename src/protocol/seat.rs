//! One virtual router at the protocol thread's table: the pure [`Router`] with the packets it sends, the profile it
//! receives by, and its counters.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::SockAddr;
use warren_vrrp::checksum::{ChecksumForm, ChecksumPolicy};
use warren_vrrp::packet::{
    self, AdvertToSend, Auth, Delivery, Envelope, Interval, ReceiveProfile, Reject, UnicastPeer,
};
use warren_vrrp::router::{Peer, Phase, WaitingFor};
use warren_vrrp::{Family, Input, Instant, Priority, Router, Settings, State};

use super::{Event, Slot};
use crate::guard::messages::ReadyPacket;
use crate::wire::{Sender, socket_address};

/// A repeated complaint about the same thing is reported at most this often; counters see every one.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Peers whose checksum form is remembered.
const FORMS_MAX: usize = 16;

/// Everything the protocol thread needs to know about a virtual router.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) slot: Slot,
    pub(crate) settings: Settings,
    pub(crate) interval: Interval,
    pub(crate) owner: bool,
    /// Advertised addresses, in order.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) auth: Auth,
    pub(crate) checksum: ChecksumPolicy,
    /// Empty: multicast.
    pub(crate) peers: Vec<UnicastPeer>,
    pub(crate) strict: bool,
    /// Wires that adverts come in by and go out by; they differ with a virtual MAC.
    pub(crate) receive_on: usize,
    /// With a virtual MAC there is another way in: frames that another host sent from this very MAC are handed by the kernel to the
    /// interface that has it, and the base never sees them.
    pub(crate) receive_own_mac_on: Option<usize>,
    pub(crate) send_on: usize,
    pub(crate) send_interface: String,
    pub(crate) send_interface_index: u32,
}

impl Installation {
    /// Every wire that adverts may come in by.
    pub(super) fn receive_on(&self) -> [Option<usize>; 2] {
        [Some(self.receive_on), self.receive_own_mac_on]
    }

    fn destinations(&self) -> Vec<IpAddr> {
        if self.peers.is_empty() {
            vec![self.settings.family.group()]
        } else {
            self.peers.iter().map(|peer| peer.address).collect()
        }
    }

    fn advert(&self, priority: Priority, checksum: ChecksumForm) -> AdvertToSend<'_> {
        AdvertToSend {
            vrid: self.settings.vrid,
            priority,
            interval: self.interval,
            addresses: &self.addresses,
            auth: self.auth,
            checksum,
        }
    }
}

/// A picture of a router for status and metrics.
#[derive(Debug, Clone)]
pub(crate) struct SeatView {
    pub(crate) slot: Slot,
    pub(crate) phase: Phase,
    pub(crate) waiting_for: Option<WaitingFor>,
    pub(crate) active: Option<Peer>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) learned_interval: Duration,
    pub(crate) skew: Duration,
    pub(crate) active_down: Duration,
    pub(crate) lower_active_since: Option<Instant>,
    pub(crate) stalls: u64,
    pub(crate) counters: Counters,
    pub(crate) forms: Vec<(IpAddr, ChecksumForm)>,
    pub(crate) addresses_differ: Option<IpAddr>,
}

/// What one router has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) sent: u64,
    pub(crate) send_failures: u64,
    pub(crate) received: u64,
    /// Priority-0 adverts among them.
    pub(crate) resignations_received: u64,
    pub(crate) resignations_sent: u64,
    pub(crate) rejected: [u64; Reject::REASONS.len()],
    pub(crate) became_active: u64,
}

/// What came of a packet.
pub(super) enum Heard {
    Advert { input: Input, note: Option<Event> },
    Refused { report: Option<Event> },
}

/// What came of sending.
pub(super) struct Outcome {
    pub(super) sent: bool,
    pub(super) report: Option<Event>,
}

pub(super) struct Seat {
    installation: Installation,
    pub(super) router: Router,
    /// To be forgotten as soon as it has left.
    pub(super) removed: bool,
    /// The guard had no room for the role as it is now.
    pub(super) role_untold: bool,
    source: Option<IpAddr>,
    outgoing: Vec<Outgoing>,
    /// Form last heard from each peer.
    forms: Vec<(IpAddr, ChecksumForm)>,
    /// Form last heard from anybody: what a multicast answers in.
    form_heard: Option<ChecksumForm>,
    counters: Counters,
    reported: [Reported; Reject::REASONS.len()],
    sending_fails: bool,
    addresses_differ: Option<IpAddr>,
    lower_priority_reported: Option<Instant>,
    rival_reported: Option<Instant>,
}

/// When a reason was last reported, and how often it has come up since.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    at: Option<Instant>,
    since: u64,
}

/// The packet for one destination, kept ready.
struct Outgoing {
    destination: IpAddr,
    address: SockAddr,
    packet: Vec<u8>,
    built: Option<(Priority, IpAddr, ChecksumForm)>,
}

impl Seat {
    pub(super) fn new(installation: Installation) -> Self {
        Self {
            router: Router::new(installation.settings.clone()),
            outgoing: outgoing(&installation),
            installation,
            removed: false,
            role_untold: false,
            source: None,
            forms: Vec::with_capacity(FORMS_MAX),
            form_heard: None,
            counters: Counters::default(),
            reported: [Reported::default(); Reject::REASONS.len()],
            sending_fails: false,
            addresses_differ: None,
            lower_priority_reported: None,
            rival_reported: None,
        }
    }

    /// New settings; counters and what is known of the peers stay.
    pub(super) fn reinstall(&mut self, installation: Installation) {
        self.outgoing = outgoing(&installation);
        self.installation = installation;
        self.addresses_differ = None;
    }

    pub(super) fn receive_on(&self) -> [Option<usize>; 2] {
        self.installation.receive_on()
    }

    pub(super) fn send_on(&self) -> usize {
        self.installation.send_on
    }

    /// Hands an input to the router, after a look at what it means for the packets.
    pub(super) fn take(&mut self, now: Instant, input: &Input) {
        if let Input::LinkReady { source } = input {
            self.source = Some(*source);
        }
        self.router.handle(now, input);
    }

    /// Checks a packet.
    pub(super) fn hear(&mut self, now: Instant, envelope: &Envelope, payload: &[u8]) -> Heard {
        let remembered = self
            .forms
            .iter()
            .find(|(peer, _)| *peer == envelope.source)
            .map(|(_, form)| *form);
        let installation = &self.installation;
        let delivery = if installation.peers.is_empty() {
            Delivery::Multicast {
                group: installation.settings.family.group(),
            }
        } else {
            Delivery::Unicast {
                peers: &installation.peers,
            }
        };
        let profile = ReceiveProfile {
            family: installation.settings.family,
            vrid: installation.settings.vrid,
            interval: installation.interval,
            auth: installation.auth,
            owner: installation.owner,
            addresses: &installation.addresses,
            delivery,
            own_address: self.source,
            zero_addresses: installation.addresses.is_empty(),
            strict_link_local: installation.strict,
        };
        let advert = match packet::decode(envelope, payload, &profile, remembered) {
            Ok(advert) => advert,
            Err(reject) => {
                return Heard::Refused {
                    report: self.refuse(now, reject, envelope.source),
                };
            }
        };
        let (source, priority, interval) = (advert.source, advert.priority, advert.interval);
        let (differ, rival) = (!advert.addresses_match, advert.rival_owner);
        let form = advert.checksum_form;
        self.counters.received += 1;
        self.counters.resignations_received += u64::from(priority == Priority::RESIGN);
        if let Some(form) = form {
            self.remember(source, form);
        }
        let note = self.notice(now, source, differ, rival);
        Heard::Advert {
            input: Input::Advert {
                source,
                priority,
                interval,
            },
            note,
        }
    }

    fn refuse(&mut self, now: Instant, reject: Reject, source: IpAddr) -> Option<Event> {
        let index = reject.index();
        *self.counters.rejected.get_mut(index)? += 1;
        let reported = self.reported.get_mut(index)?;
        reported.since += 1;
        if reported.at.is_some_and(|at| now.since(at) < REPORT_EVERY) {
            return None;
        }
        let count = std::mem::take(&mut reported.since);
        reported.at = Some(now);
        Some(Event::Rejected {
            slot: self.installation.slot,
            reject,
            source,
            count,
        })
    }

    fn remember(&mut self, peer: IpAddr, form: ChecksumForm) {
        self.form_heard = Some(form);
        if let Some(entry) = self.forms.iter_mut().find(|(known, _)| *known == peer) {
            entry.1 = form;
        } else if self.forms.len() < FORMS_MAX {
            // Beyond that there are more peers than a sane link has; they are verified in either form just the same.
            self.forms.push((peer, form));
        }
    }

    fn notice(&mut self, now: Instant, peer: IpAddr, differ: bool, rival: bool) -> Option<Event> {
        let slot = self.installation.slot;
        if !differ {
            if self.addresses_differ == Some(peer) {
                self.addresses_differ = None;
            }
        } else if self.addresses_differ.is_none() {
            self.addresses_differ = Some(peer);
            return Some(Event::AddressesDiffer { slot, peer });
        }
        let silent = |at| now.since(at) >= REPORT_EVERY;
        if !rival || self.router.state() != State::Active || !self.rival_reported.is_none_or(silent) {
            return None;
        }
        self.rival_reported = Some(now);
        Some(Event::RivalOwner { slot, peer })
    }

    /// What to report about a lower-priority active, if it has not been reported just now.
    pub(super) fn lower_priority_event(&mut self, now: Instant) -> Option<Event> {
        if self
            .lower_priority_reported
            .is_some_and(|at| now.since(at) < Duration::from_secs(1))
        {
            return None;
        }
        self.lower_priority_reported = Some(now);
        let peer = self.router.peers().iter().max_by_key(|peer| peer.heard)?;
        Some(Event::LowerPriorityActive {
            slot: self.installation.slot,
            peer: peer.address,
            priority: peer.priority.0,
        })
    }

    /// Sends an advert to every destination; sent means that at least one left the host.
    pub(super) fn send_advert(&mut self, sender: Option<&Sender>, priority: Priority) -> Outcome {
        let mut failure = None;
        let mut sent = false;
        for position in 0..self.outgoing.len() {
            match self.send_one(position, sender, priority) {
                Ok(()) => sent = true,
                Err(error) => failure = Some(error),
            }
        }
        self.counters.sent += u64::from(sent);
        self.counters.resignations_sent += u64::from(sent && priority == Priority::RESIGN);
        self.counters.send_failures += u64::from(failure.is_some());
        let slot = self.installation.slot;
        let fails = failure.is_some();
        let report = (fails != self.sending_fails).then_some(Event::SendFailed { slot, error: failure });
        self.sending_fails = fails;
        Outcome { sent, report }
    }

    fn send_one(&mut self, position: usize, sender: Option<&Sender>, priority: Priority) -> io::Result<()> {
        let sender = sender.ok_or(io::ErrorKind::NotConnected)?;
        let source = self.source.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let outgoing = &mut self.outgoing[position];
        let heard = if self.installation.peers.is_empty() {
            self.form_heard
        } else {
            self.forms
                .iter()
                .find(|(peer, _)| *peer == outgoing.destination)
                .map(|(_, form)| *form)
        };
        let form = self.installation.checksum.to_send(heard);
        if outgoing.built != Some((priority, source, form)) {
            let advert = self.installation.advert(priority, form);
            outgoing.packet = ip_packet(&advert, source, outgoing.destination)?;
            outgoing.built = Some((priority, source, form));
        }
        sender.send(&outgoing.packet, &outgoing.address)
    }

    pub(super) fn note_transition(&mut self, to: State) {
        self.counters.became_active += u64::from(to == State::Active);
    }

    pub(super) fn view(&self) -> SeatView {
        SeatView {
            slot: self.installation.slot,
            phase: self.router.phase(),
            waiting_for: self.router.waiting_for(),
            active: self.router.active().copied(),
            peers: self.router.peers().to_vec(),
            learned_interval: self.router.learned_interval(),
            skew: self.router.skew(),
            active_down: self.router.active_down(),
            lower_active_since: self.router.lower_active_since(),
            stalls: self.router.stalls(),
            counters: self.counters.clone(),
            forms: self.forms.clone(),
            addresses_differ: self.addresses_differ,
        }
    }
}

fn outgoing(installation: &Installation) -> Vec<Outgoing> {
    installation
        .destinations()
        .into_iter()
        .map(|destination| Outgoing {
            destination,
            address: socket_address(destination, installation.send_interface_index),
            packet: Vec::new(),
            built: None,
        })
        .collect()
}

/// The advert with its IP header.
fn ip_packet(advert: &AdvertToSend<'_>, source: IpAddr, destination: IpAddr) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    advert
        .encode(source, destination, &mut message)
        .map_err(io::Error::other)?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet::ipv4_header(source, destination, length).to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet::ipv6_header(source, destination, length).to_vec()
        }
        _ => {
            return Err(io::Error::other(
                "source and destination are of different families",
            ));
        }
    };
    packet.extend(message);
    Ok(packet)
}

/// The packets that resign on a router's behalf, for the guard to keep.
pub(crate) fn resignation(installation: &Installation, source: IpAddr) -> Vec<ReadyPacket> {
    // Whatever form the peers use is not known here; a resignation goes out in each form there is.
    let forms: &[ChecksumForm] = match (installation.settings.version, installation.settings.family) {
        (warren_vrrp::Version::V3, Family::V4) => &[ChecksumForm::Rfc9568, ChecksumForm::PseudoHeader],
        _ => &[ChecksumForm::Rfc9568],
    };
    let advert = |form| installation.advert(Priority::RESIGN, form);
    installation
        .destinations()
        .into_iter()
        .flat_map(|destination| forms.iter().map(move |form| (destination, *form)))
        .filter_map(|(destination, form)| {
            Some(ReadyPacket {
                interface: installation.send_interface.clone(),
                interface_index: installation.send_interface_index,
                destination,
                bytes: ip_packet(&advert(form), source, destination).ok()?,
            })
        })
        .collect()
}

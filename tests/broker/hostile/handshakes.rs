//! The same where octets go through TLS: what costs a server most is asked of it before anybody knows who asks.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ::aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ::aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, KeyLog, RootCertStore, StreamOwned};

use super::super::bystander::{self, Attacker, Field, Limit, PATIENCE, Stream};
use super::{ATTACKERS, answers, connect, octets};

/// Kinds of records (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// The broker's name in its certificate.
const NAME: &str = "broker.test";

/// Who vouches for everybody, and where its files are.
struct Authority {
    directory: tempfile::TempDir,
    own: CertificateDer<'static>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let own = authority("authority").self_signed(&key).unwrap();
        fs::write(directory.path().join("authority.pem"), own.pem()).unwrap();
        let issuer = Issuer::new(authority("authority"), key);
        // To sign with such a key takes a server longest of those that are common.
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let certificate = params(NAME).signed_by(&key, &issuer).unwrap();
        let both = certificate.pem() + &key.serialize_pem();
        fs::write(directory.path().join("broker.pem"), both).unwrap();
        Self {
            directory,
            own: own.der().clone(),
        }
    }

    /// What to write in a broker's configuration.
    fn toml(&self) -> String {
        let directory = self.directory.path().display();
        format!(
            "[broker]\ntls_listen = [\"127.0.0.1:0\"]\ntls.certificates = [\"{directory}/broker.pem\"]\n\
             tls.client_ca = \"{directory}/authority.pem\"\ntls.clients = \"optional\"\n"
        )
    }

    /// A client that trusts it.
    fn client(&self, own: Option<(Vec<CertificateDer<'static>>, KeyPair)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        // What is said on such a connection is made here.
        let provider = CryptoProvider {
            cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let builder = ClientConfig::builder_with_provider(provider.into());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.resumption = Resumption::disabled();
        config
    }

    /// Vouched for by so many who have one name, each of whom could be the one meant, and none of whom is known.
    fn maze(count: usize) -> (Vec<CertificateDer<'static>>, KeyPair) {
        let issuer = Issuer::new(authority("x"), KeyPair::generate().unwrap());
        let key = KeyPair::generate().unwrap();
        let mut chain = vec![params("y").signed_by(&key, &issuer).unwrap().der().clone()];
        for _ in 0..count {
            let key = KeyPair::generate().unwrap();
            let mut another = CertificateParams::new(Vec::new()).unwrap();
            another.distinguished_name = authority("x").distinguished_name;
            another.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            chain.push(another.signed_by(&key, &issuer).unwrap().der().clone());
        }
        (chain, key)
    }
}

fn begin(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME).unwrap()).unwrap()
}

/// As it is.
fn record(kind: u8, octets: &[u8]) -> Vec<u8> {
    let length = octets.len() as u16;
    [&[kind, 3, 3, (length >> 8) as u8, length as u8], octets].concat()
}

/// What a client says first.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = Vec::new();
    begin(config).write_tls(&mut hello).unwrap();
    hello
}

/// A client's side of a handshake that goes well as far as he can see.
fn shake(config: &Arc<ClientConfig>, mut stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let mut connection = begin(config);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    StreamOwned::new(connection, stream)
}

/// Brokers that are attacked: the bystander comes to one as he is, and to the other over TLS.
fn on_both(attack: impl Fn(&mut Field, &'static str, SocketAddr, &Authority)) {
    let authority = Authority::new();
    for (over, encrypted) in [("", false), (" (TLS)", true)] {
        let config = Arc::new(authority.client(None));
        let (_directory, mut field) = Field::over(&authority.toml(), |broker| match encrypted {
            false => Box::new(bystander::connect(broker.address)) as Box<dyn Stream>,
            true => Box::new(shake(&config, bystander::connect(broker.others[0]))),
        });
        let at = field.broker.others[0];
        attack(&mut field, over, at, &authority);
    }
}

/// Each does it again and again.
fn attackers<'a>(act: impl Fn() + Send + Sync + Clone + 'a) -> Vec<Attacker<'a>> {
    let attacker = |_| Box::new(act.clone()) as Attacker<'a>;
    (0..ATTACKERS).map(attacker).collect()
}

/// Whatever the broker still says, until it hangs up.
fn await_end(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the broker does not hang up"),
            Ok(0) | Err(_) => return,
        }
    }
}

#[test]
fn handshakes_that_are_begun_and_left_cost_others_nothing() {
    /// Of each attacker, at once.
    const CROWD: usize = 20;
    on_both(|field, over, at, authority| {
        let hello = hello(&Arc::new(authority.client(None)));
        let act = || {
            let begin = |_| {
                let mut stream = connect(at);
                stream.write_all(&hello).unwrap();
                stream
            };
            let crowd: Vec<TcpStream> = (0..CROWD).map(begin).collect();
            for mut stream in crowd {
                // It has signed by then.
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            }
        };
        let name = format!("handshakes left{over}");
        field.endures(&name, 32 << 20, Limit::INTACT, attackers(act));
    });
}

#[test]
fn certificates_that_nobody_vouches_for_cost_others_nothing() {
    /// With a certificate: all that are looked at, and what there is room for.
    const OTHERS: [usize; 2] = [6, 80];
    on_both(|field, over, at, authority| {
        let configs = OTHERS.map(|count| Arc::new(authority.client(Some(Authority::maze(count)))));
        let act = || {
            for config in &configs {
                let mut connection = begin(config);
                let mut stream = connect(at);
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
                await_end(&mut StreamOwned::new(connection, stream));
            }
        };
        let name = format!("certificates{over}");
        field.endures(&name, 32 << 20, Limit::INTACT, attackers(act));
    });
}

#[test]
fn sessions_that_are_gone_on_with_cost_others_nothing() {
    on_both(|field, over, at, authority| {
        let mut config = authority.client(None);
        config.resumption = Resumption::default();
        let config = Arc::new(config);
        let act = || {
            let mut stream = shake(&config, connect(at));
            stream.write_all(b"HTTP/1.1").unwrap();
            await_end(&mut stream);
        };
        let name = format!("sessions{over}");
        field.endures(&name, 32 << 20, Limit::INTACT, attackers(act));
    });
}

#[test]
fn garbage_instead_of_a_handshake_or_behind_it_costs_nothing_but_its_connection() {
    on_both(|field, over, at, authority| {
        let config = Arc::new(authority.client(None));
        let hello = hello(&config);
        let plain = field.at;
        let before = [
            (at, octets::open()),
            (at, vec![0; 60_000]),
            (at, record(DATA, &[7; 16_000])),
            (at, hello[..hello.len() / 2].to_vec()),
            (at, [hello.as_slice(), &hello].concat()),
            (plain, hello.clone()),
        ];
        let behind = [
            record(DATA, &[7; 60_000]),
            record(DATA, &[7; 100]),
            hello,
            octets::open(),
        ];
        let act = || {
            for (at, said) in &before {
                answers(connect(*at), said);
            }
            for said in &behind {
                let StreamOwned { sock: mut stream, .. } = shake(&config, connect(at));
                // It may have heard enough before the end.
                let _ = stream.write_all(said);
                await_end(&mut stream);
            }
        };
        let name = format!("garbage{over}");
        field.endures(&name, 32 << 20, Limit::INTACT, attackers(act));
    });
}

#[test]
fn a_handshake_that_comes_octet_by_octet_costs_others_nothing() {
    /// Connections of each attacker.
    const EACH: usize = 100;
    /// How long an octet is waited for.
    const PAUSE: Duration = Duration::from_millis(2);
    on_both(|field, over, at, authority| {
        let hello = hello(&Arc::new(authority.client(None)));
        let attacker = |_| {
            let hello = &hello;
            let begin = |place: usize| {
                let mut stream = connect(at);
                stream.write_all(&hello[..place]).unwrap();
                (stream, place)
            };
            let mut all: Vec<_> = (0..EACH).map(begin).collect();
            Box::new(move || {
                for (stream, place) in &mut all {
                    if *place >= hello.len() {
                        (*stream, *place) = (connect(at), 0);
                    }
                    stream.write_all(&hello[*place..=*place]).unwrap();
                    *place += 1;
                }
                thread::sleep(PAUSE);
            }) as Attacker<'_>
        };
        let attackers = (0..ATTACKERS).map(attacker).collect();
        let name = format!("hello octet by octet{over}");
        field.endures(&name, 32 << 20, Limit::INTACT, attackers);
    });
}

/// A client who makes his records himself.
struct Forger {
    connection: ClientConnection,
    stream: TcpStream,
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: Vec<u8>,
    number: u64,
    heard: Vec<u8>,
}

/// By which a client takes another key (RFC 8446, section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// With what a client's first key is made.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<u8>>);

impl KeyLog for Told {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446, section 7.1).
fn expand(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let info = [&[0, length as u8, label.len() as u8], label.as_bytes(), &[0]].concat();
    let mut octets = vec![0; length];
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    let info = [info.as_slice()];
    let expanded = secret.expand(&info, Length(length)).unwrap();
    expanded.fill(&mut octets).unwrap();
    octets
}

fn key(secret: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &expand(secret, "key", 16)).unwrap())
}

impl Forger {
    fn new(authority: &Authority, at: SocketAddr) -> Self {
        let told = Arc::new(Told::default());
        let mut config = authority.client(None);
        config.key_log = told.clone();
        let StreamOwned { conn, sock } = shake(&Arc::new(config), connect(at));
        let secret = told.0.lock().unwrap().clone();
        Self {
            connection: conn,
            stream: sock,
            key: key(&secret),
            iv: expand(&secret, "iv", 12),
            secret,
            number: 0,
            heard: Vec::new(),
        }
    }

    /// One record.
    fn record(&mut self, kind: u8, octets: &[u8]) -> Vec<u8> {
        let mut nonce: [u8; 12] = self.iv.as_slice().try_into().unwrap();
        for (octet, number) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *octet ^= number;
        }
        self.number += 1;
        let mut sealed = [octets, &[kind]].concat();
        let length = (sealed.len() + AES_128_GCM.tag_len()) as u16;
        let head = [DATA, 3, 3, (length >> 8) as u8, length as u8];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let seal = self
            .key
            .seal_in_place_append_tag(nonce, Aad::from(head), &mut sealed);
        seal.unwrap();
        [head.as_slice(), &sealed].concat()
    }

    fn another_key(&mut self) -> Vec<u8> {
        let record = self.record(HANDSHAKE, &KEY_UPDATE);
        self.secret = expand(&self.secret, "traffic upd", 32);
        self.key = key(&self.secret);
        self.iv = expand(&self.secret, "iv", 12);
        self.number = 0;
        record
    }

    /// Says it, and waits until the broker has done it.
    fn say(&mut self, records: &[u8]) {
        let records = [records, &self.record(DATA, &octets::are_you_there())].concat();
        self.stream.write_all(&records).unwrap();
        octets::await_yes(self);
    }
}

impl Read for Forger {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.heard.is_empty() {
            if self.connection.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let state = self.connection.process_new_packets().unwrap();
            let mut heard = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut heard)?;
            self.heard = heard;
        }
        let count = buffer.len().min(self.heard.len());
        buffer[..count].copy_from_slice(&self.heard[..count]);
        self.heard.drain(..count);
        Ok(count)
    }
}

/// Each of them has one connection, and says what he makes for it.
fn forgers<'a>(
    authority: &'a Authority,
    at: SocketAddr,
    make: impl Fn(&mut Forger) -> Vec<u8> + Send + Clone + 'a,
) -> Vec<Attacker<'a>> {
    let attacker = |_| {
        let mut forger = Forger::new(authority, at);
        let hello = forger.record(DATA, &octets::open());
        forger.say(&hello);
        let make = make.clone();
        Box::new(move || {
            let records = make(&mut forger);
            forger.say(&records);
        }) as Attacker<'a>
    };
    (0..ATTACKERS).map(attacker).collect()
}

#[test]
fn records_in_which_there_is_nothing_or_hardly_anything_cost_others_no_more_than_a_turn() {
    on_both(|field, over, at, authority| {
        let limit = Limit::after_turns(ATTACKERS as u64);
        // A new key in each of them, as often as there may be one.
        let keys = |forger: &mut Forger| {
            let round = |_| {
                let keys = (0..32).flat_map(|_| forger.another_key()).collect::<Vec<u8>>();
                [keys, forger.record(DATA, b"")].concat()
            };
            (0..300).flat_map(round).collect()
        };
        let name = format!("keys{over}");
        field.endures(&name, 32 << 20, limit, forgers(authority, at, keys));
        let crumbs = |forger: &mut Forger| {
            let said = octets::lost_message().repeat(3);
            let records = said.iter().flat_map(|octet| forger.record(DATA, &[*octet]));
            records.collect()
        };
        let name = format!("records of an octet{over}");
        field.endures(&name, 32 << 20, limit, forgers(authority, at, crumbs));
    });
}

#[test]
fn whoever_says_much_over_tls_has_no_more_than_his_turn() {
    on_both(|field, over, at, authority| {
        let config = Arc::new(authority.client(None));
        let said = [octets::lost_message().repeat(60), octets::are_you_there()].concat();
        let attacker = |_| {
            let mut stream = shake(&config, connect(at));
            stream.write_all(&octets::open()).unwrap();
            let said = &said;
            Box::new(move || {
                stream.write_all(said).unwrap();
                octets::await_yes(&mut stream);
            }) as Attacker<'_>
        };
        let attackers = (0..ATTACKERS).map(attacker).collect();
        let limit = Limit::after_turns(ATTACKERS as u64);
        field.endures(
            &format!("messages that come back over TLS{over}"),
            64 << 20,
            limit,
            attackers,
        );
    });
}

#[test]
fn two_thousand_handshakes_that_are_not_done_are_borne_and_let_go() {
    const COUNT: usize = 2000;
    /// Octets of memory for each: more than a handshake may have of them.
    const EACH: u64 = 40 * 1024;
    let authority = Authority::new();
    let toml = authority.toml() + "handshake_timeout = \"20s\"\n";
    let (_directory, mut field) = Field::over(&toml, |broker| Box::new(bystander::connect(broker.address)));
    let (at, process) = (field.broker.others[0], field.broker.process.id());
    let hello = hello(&Arc::new(authority.client(None)));
    // Of a hello that is long, and has no end.
    let mut long = [&[1, 0, 0xff, 0], [0; 60_000].as_slice()].concat();
    long = long
        .chunks(16_384)
        .flat_map(|part| record(HANDSHAKE, part))
        .collect();
    let said = [&[], &hello[..hello.len() / 2], &hello, &long[..20_000]];
    let open = || fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let come = || {
        let come = |number: usize| {
            let mut stream = connect(at);
            stream.write_all(said[number % said.len()]).unwrap();
            stream
        };
        let mut streams: Vec<_> = (0..COUNT).map(come).collect();
        for stream in streams.iter_mut().skip(2).step_by(said.len()) {
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        }
        let deadline = Instant::now() + PATIENCE;
        while open() < COUNT {
            assert!(Instant::now() < deadline, "{} of {COUNT} were let in", open());
            thread::sleep(Duration::from_millis(10));
        }
        streams
    };
    let streams = field.bears("half a handshake", COUNT as u64 * EACH, 1, come, |_| ());
    // Nobody listens to the end.
    let mut streams = streams.into_iter().skip(3).step_by(said.len());
    let mut last = streams.next().unwrap();
    let _ = last.write_all(&long[20_000..]);
    await_end(&mut last);
    assert!(open() > COUNT / 2, "the others are there");
    for mut stream in streams {
        await_end(&mut stream);
    }
}

//! Names that stand for one thing, then another, then nothing.

use parking_lot::Mutex;

use super::*;
use crate::check::fixture::{self, World, eventually};
use crate::plan::testing;

fn by_name(names: &[&str]) -> Plan {
    let address = ([127, 0, 0, 1], 1).into();
    let mut plan = testing::plan(&vec![address; names.len()]);
    let mut names = names.iter();
    for server in &mut Arc::make_mut(&mut plan.backends[0]).servers {
        let name = (*names.next().unwrap()).to_owned();
        Arc::make_mut(server).address = HostAddress::Name(name, 5672);
    }
    plan
}

/// What a resolver says that can be taught.
#[derive(Clone, Default)]
struct Hosts(Arc<Mutex<HashMap<String, Vec<IpAddr>>>>);

impl Hosts {
    fn say(&self, name: &str, addresses: &[[u8; 4]]) {
        let addresses = addresses.iter().map(|octets| IpAddr::from(*octets)).collect();
        self.0.lock().insert(name.to_owned(), addresses);
    }

    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.lock().get(name).cloned();
        known.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "Name or service not known"))
    }

    fn watch(&self, world: &World) -> tokio::task::JoinHandle<()> {
        let hosts = self.clone();
        let pauses = [Duration::from_millis(20), Duration::from_millis(5)];
        let look_up: Lookup = Arc::new(move |name: &str| hosts.look_up(name));
        tokio::spawn(run_by(world.servers.clone(), look_up, pauses))
    }
}

fn address(world: &World, id: u32) -> Option<String> {
    match world.server(id).target.load_full().as_deref()? {
        Target::Tcp(address) => Some(address.to_string()),
        Target::Unix(_) => None,
    }
}

#[tokio::test]
async fn a_server_follows_its_name_without_a_restart_and_stays_while_it_may() {
    let hosts = Hosts::default();
    hosts.say("rabbit", &[[10, 0, 0, 1], [10, 0, 0, 2]]);
    let world = World::idle(by_name(&["rabbit"]));
    let task = hosts.watch(&world);
    let is = |expected: &str| address(&world, 1).as_deref() == Some(expected);
    eventually("the first", || is("10.0.0.1:5672")).await;
    // Another order is no reason to move.
    hosts.say("rabbit", &[[10, 0, 0, 2], [10, 0, 0, 1]]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is("10.0.0.1:5672"));
    hosts.say("rabbit", &[[10, 0, 0, 2]]);
    eventually("the other", || is("10.0.0.2:5672")).await;
    assert_eq!(
        world.lines(),
        ["back/server1 changed its IP from 10.0.0.1 to 10.0.0.2 by DNS."]
    );
    // No answer is no news, but for the count of them.
    assert_eq!(world.servers.live.failed_resolutions.load(Relaxed), 0);
    hosts.0.lock().clear();
    eventually("no answers", || {
        world.servers.live.failed_resolutions.load(Relaxed) > 3
    })
    .await;
    assert!(is("10.0.0.2:5672"));
    assert_eq!(
        (world.server(1).status(), world.lines()),
        ("no check".to_owned(), Vec::new())
    );
    task.abort();
}

#[tokio::test]
async fn a_server_without_address_is_out_of_service_until_its_name_resolves() {
    let (hosts, world) = (Hosts::default(), World::idle(by_name(&["later"])));
    let task = hosts.watch(&world);
    eventually("out", || world.server(1).status() == "MAINT (resolution)").await;
    assert_eq!(world.backend().usable(), 0);
    hosts.say("later", &[[10, 0, 0, 9]]);
    eventually("in", || world.server(1).status() == "no check").await;
    assert_eq!(
        (world.backend().usable(), address(&world, 1)),
        (1, Some("10.0.0.9:5672".to_owned()))
    );
    assert_eq!(
        world.lines(),
        [
            "Server back/server1 is going DOWN for maintenance (No IP for server). 0 active and 0 backup servers \
             left. 0 sessions active, 0 requeued, 0 remaining in queue.",
            "backend back has no server available!",
            "Server back/server1 is UP/READY (resolves again)."
        ]
    );
    task.abort();
}

#[tokio::test]
async fn a_reload_brings_new_names_at_once_and_forgets_old_ones() {
    let hosts = Hosts::default();
    hosts.say("new", &[[10, 0, 0, 3]]);
    let world = World::idle(by_name(&["old"]));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answers) = (Arc::clone(&asked), hosts.clone());
    let look_up: Lookup = Arc::new(move |name: &str| {
        log.lock().push(name.to_owned());
        answers.look_up(name)
    });
    let hour = Duration::from_secs(3600);
    let task = tokio::spawn(run_by(world.servers.clone(), look_up, [hour, hour]));
    eventually("asked", || *asked.lock() == ["old"]).await;
    let mut plan = by_name(&["new"]);
    fixture::change(&mut plan, |server| server.name = "server7".to_owned());
    world.reload(plan);
    eventually("resolved", || address(&world, 7).is_some()).await;
    world.servers.reloaded();
    eventually("again", || *asked.lock() == ["old", "new", "new"]).await;
    task.abort();
}

#[tokio::test]
async fn a_slow_resolver_holds_up_nobody_and_has_a_bounded_number_of_threads() {
    let names: Vec<String> = (0..20).map(|number| format!("slow{number}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.truncate(LOOKUPS_MAX + 4);
    let world = World::idle(by_name(&all));
    let under_way = Arc::new(Mutex::new((0, 0)));
    let count = Arc::clone(&under_way);
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    let look_up: Lookup = Arc::new(move |_: &str| {
        {
            let mut count = count.lock();
            count.0 += 1;
            count.1 = count.1.max(count.0);
        }
        // Until the test lets go of the other end.
        let _ = gate.lock().recv();
        count.lock().0 -= 1;
        Ok(vec![IpAddr::from([10, 0, 0, 1])])
    });
    let hour = Duration::from_secs(3600);
    let task = tokio::spawn(run_by(world.servers.clone(), look_up, [hour, hour]));
    eventually("as many as may be", || under_way.lock().0 == LOOKUPS_MAX).await;
    drop(open);
    eventually("all", || (1..=12).all(|id| address(&world, id).is_some())).await;
    assert_eq!(under_way.lock().1, LOOKUPS_MAX);
    task.abort();
}

#[test]
fn names_that_must_resolve_at_the_start_are_all_named_if_they_do_not() {
    let hosts = Hosts::default();
    hosts.say("good", &[[10, 0, 0, 1]]);
    let mut plan = by_name(&["good", "bad", "worse", "good"]);
    fixture::change(&mut plan, |server| {
        server.may_be_unresolved = server.name == "server3"
    });
    let error = look_up_all_by(&plan, &|name| hosts.look_up(name)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server back/server2: could not resolve address 'bad' (Name or service not known): correct the name, add it \
         to /etc/hosts, or allow it to be unknown at the start with 'init-addr none'"
    );
    fixture::change(&mut plan, |server| server.may_be_unresolved = true);
    let addresses = look_up_all_by(&plan, &|name| hosts.look_up(name)).unwrap();
    let world = World::idle(plan);
    addresses.apply(&world.servers);
    let statuses: Vec<_> = (1..=4).map(|id| world.server(id).status()).collect();
    assert_eq!(
        statuses,
        ["no check", "MAINT (resolution)", "MAINT (resolution)", "no check"]
    );
    assert_eq!(address(&world, 4).as_deref(), Some("10.0.0.1:5672"));
    assert_eq!(world.lines(), [""; 0]);
    assert_eq!(world.server(2).operational.lock().times_down, 0);
}

#[test]
fn the_system_knows_localhost_and_not_what_cannot_be() {
    assert!(look_up("localhost").unwrap().iter().all(IpAddr::is_loopback));
    assert!(look_up("name.invalid").is_err());
}

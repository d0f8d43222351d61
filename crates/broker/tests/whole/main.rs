//! A whole broker, and clients that talk to it over TCP: what they are told, octet by octet.
//!
//! Where RabbitMQ is installed it is asked the same, so that a test which expects the wrong thing is found.

mod access;
mod agreement;
mod blocked;
mod broker;
mod client;
mod dead_letters;
mod defined;
mod definitions;
mod delayed;
mod earlier;
mod elsewhere;
mod killed;
mod limits;
mod overdue;
mod policies;
#[path = "../crash/process.rs"]
mod process;
mod quorum;
mod rabbitmq;
mod random;
mod replies;
mod reply_to;
mod restarts;
mod rules;
#[path = "../../../../tests/skip.rs"]
mod skip;
mod transactions;
mod unwritten;
mod words;
mod wrong;

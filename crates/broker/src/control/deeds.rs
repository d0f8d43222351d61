//! What operators change, for the log: who finds a queue gone the next morning wants to know when, and by whom. Names only: values may
//! be secrets.

use warren_api::broker::{Reply, Request, Setting};
use warren_kit::control::Peer;

/// Says that it was done.
pub(super) fn say(peer: Peer, deed: Option<String>, reply: &Reply) {
    if let (Some(deed), Reply::Done { count, .. }) = (deed, reply) {
        tracing::info!(%deed, count, uid = peer.uid, "changed by an operator");
    }
}

/// In the words of rabbitmqctl. Nothing for what changes nothing, or is logged where it is done.
pub(super) fn of(request: &Request) -> Option<String> {
    Some(match request {
        Request::AddUser { user, .. } => format!("add_user {user}"),
        Request::DeleteUser { user } => format!("delete_user {user}"),
        Request::ChangePassword { user, .. } => format!("change_password {user}"),
        Request::ClearPassword { user } => format!("clear_password {user}"),
        Request::SetUserTags { user, tags } => format!("set_user_tags {user} {}", tags.join(" ")),
        Request::AddVhost { vhost, .. } => format!("add_vhost {vhost}"),
        Request::DeleteVhost { vhost } => format!("delete_vhost {vhost}"),
        Request::SetPermissions { user, vhost, .. } => format!("set_permissions -p {vhost} {user}"),
        Request::ClearPermissions { user, vhost } => format!("clear_permissions -p {vhost} {user}"),
        Request::SetPolicy {
            vhost, name, pattern, ..
        } => format!("set_policy -p {vhost} {name} {pattern}"),
        Request::ClearPolicy { vhost, name, .. } => format!("clear_policy -p {vhost} {name}"),
        Request::Set { setting } => set(setting),
        Request::ImportDefinitions { .. } => "import_definitions".to_owned(),
        Request::DeleteQueue { vhost, queue, .. } => format!("delete_queue -p {vhost} {queue}"),
        Request::PurgeQueue { vhost, queue } => format!("purge_queue -p {vhost} {queue}"),
        Request::Listeners { open: true } => "resume_listeners".to_owned(),
        Request::Listeners { open: false } => "suspend_listeners".to_owned(),
        Request::Drain {} => "drain".to_owned(),
        Request::Revive {} => "revive".to_owned(),
        Request::Stop {} => "stop".to_owned(),
        Request::Status {}
        | Request::Health {}
        | Request::List { .. }
        | Request::AuthenticateUser { .. }
        | Request::ExportDefinitions { .. }
        | Request::ResetLogins {}
        | Request::CloseConnection { .. }
        | Request::CloseConnections { .. } => return None,
    })
}

fn set(setting: &Setting) -> String {
    match setting {
        Setting::TopicPermissions {
            user,
            vhost,
            exchange,
            ..
        } => {
            format!("set_topic_permissions -p {vhost} {user} {exchange}")
        }
        Setting::NoTopicPermissions { user, vhost, .. } => {
            format!("clear_topic_permissions -p {vhost} {user}")
        }
        Setting::VhostLimits { vhost, limits } => match limits {
            Some(limits) => format!("set_vhost_limits -p {vhost} {limits}"),
            None => format!("clear_vhost_limits -p {vhost}"),
        },
        Setting::UserLimits { user, limits } => format!("set_user_limits {user} {limits}"),
        Setting::NoUserLimit { user, limit } => format!("clear_user_limits {user} {limit}"),
        Setting::Parameter {
            vhost,
            component,
            name,
            value,
        } => {
            let verb = if value.is_some() { "set" } else { "clear" };
            match vhost {
                Some(vhost) => format!("{verb}_parameter -p {vhost} {component} {name}"),
                None => format!("{verb}_global_parameter {name}"),
            }
        }
        Setting::VhostTags { vhost, tags } => format!("set_vhost_tags {vhost} {}", tags.join(" ")),
        Setting::Tracing { vhost, on: true } => format!("trace_on -p {vhost}"),
        Setting::Tracing { vhost, on: false } => format!("trace_off -p {vhost}"),
        Setting::LogLevel { level } => format!("set_log_level {level}"),
        Setting::MemoryLimit { limit } => format!("set_vm_memory_high_watermark {limit:?}"),
        Setting::DiskLimit { limit } => format!("set_disk_free_limit {limit:?}"),
    }
}

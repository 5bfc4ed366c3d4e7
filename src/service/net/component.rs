//! A component's connection (XEP-0114), on this box.

use super::link::ComponentLink;
use super::pump::{Entry, Pump, tune};
use super::transport::Socket;
use crate::service::hub::Hub;
use crate::service::share::Owner;
use crate::stream::component::Component;
use std::net::IpAddr;
use std::sync::Arc;

/// Carries a connection to its end.
pub async fn serve(hub: Arc<Hub>, socket: Socket, ip: IpAddr) {
    let since = hub.mono();
    tune(&socket);
    let random = match crate::service::random() {
        Ok(random) => random,
        Err(e) => return log::error!("{e}"),
    };
    let stream = Component::new(hub.terms().domain.clone(), hub.components(), since, random);
    let share = hub.shares().share(Owner::Address(ip));
    let entry = Entry::new(hub, share);
    let link = ComponentLink::new(entry.sid, stream);
    Pump::new(entry, socket, link, since).carry().await;
}

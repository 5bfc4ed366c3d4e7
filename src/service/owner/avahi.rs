//! What avahi can tell the network of this server, where it answers for the box.

use super::{control, records, status};
use crate::service::cert::Certificates;
use crate::service::mdns;
use crate::service::net::{listen, listeners::HTTPS};
use crate::service::serve::{Options, Place};
use crate::service::{Failure, Result};

/// A file for avahi, by the settings, and by what a running server says of its port for browsers.
///
/// # Errors
/// When the settings are wrong, or nothing is open to the network.
pub fn run(options: &Options) -> Result<String> {
    let Place { data, config, domain } = options.place()?;
    let running = control::runs(&data).then(|| status::health(&data).ok()?.web).flatten();
    let web = running.as_deref().and_then(records::port_of);
    let mut ports = listen::wanted(&config);
    let browsers = ports.iter_mut().filter(|(name, _)| *name == HTTPS);
    browsers.for_each(|(_, at)| at.set_port(web.unwrap_or(at.port())));
    let servers = config.federation.has_peers(Certificates::of(&data).is_public(domain.domain()));
    let services = mdns::wanted(domain.domain(), &ports, servers).services;
    if services.is_empty() {
        return Err(Failure::new(
            "there is nothing to tell: by the settings no port is open to the network ([listen])",
        ));
    }
    Ok(mdns::avahi_service(&format!("Chat of {domain}"), &services))
}

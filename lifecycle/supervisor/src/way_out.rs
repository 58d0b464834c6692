//! The way out of a launcher's network: its far end is ours, and open while its command runs.

use std::io;
use std::os::fd::OwnedFd;

use sandbox::{Confinement, Ends};
use uplink::{Rules, Uplink};

/// Takes what a launcher that was asked like this has sent: the far end first.
pub(crate) fn take(asked: &Confinement, descriptors: Vec<OwnedFd>) -> io::Result<Option<Ends>> {
    if asked.own_network().is_none() {
        return Ok(None);
    }
    let mut descriptors = descriptors.into_iter();
    let packets = descriptors.next().ok_or_else(|| io::Error::other("the end of the cable did not come"))?;
    Ok(Some(Ends { packets, doors: descriptors.collect() }))
}

/// Opens it.
pub(crate) fn open(ends: Option<Ends>, rules: Option<&Rules>) -> io::Result<Option<Uplink>> {
    let Some((ends, rules)) = ends.zip(rules) else { return Ok(None) };
    Uplink::open(ends.packets, ends.doors, rules.clone()).map(Some)
}

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::forces::Receiver;
use crate::plan::Plan;
use crate::tally::Counters;
use crate::terminals::beacon::{Beacon, Tongue};
use crate::terminals::jt808::{Issue, Vehicle};
use crate::terminals::muster::{Gateway, Member};
use crate::terminals::{Cadence, Carrier, Terminal};
use crate::{Device, Forces, Protocol, Transport};

/// Gateways that radios, phones and aircraft are spread over.
const GATEWAYS: usize = 8;

/// Everyone who gets a connection of its own, gateways first.
pub(super) fn senders(
    plan: &Plan,
    forces: &Arc<Forces>,
    counters: &BTreeMap<Protocol, Arc<Counters>>,
) -> Vec<(Protocol, Box<dyn Terminal>)> {
    let alarms = plan.alarms(forces);
    let mut behind_gateways = vec![Vec::new(); GATEWAYS];
    let mut own: Vec<(Protocol, Box<dyn Terminal>)> = Vec::new();
    let mut number = 0;
    for unit in 0..forces.units() as u32 {
        for (slot, device) in (0u8..).zip(forces.devices_of(unit as usize)) {
            number += 1;
            let (Some(target), Some(counters)) = (plan.target(device.protocol), counters.get(&device.protocol)) else {
                continue;
            };
            counters.devices.add(1);
            let cadence = Cadence::new(plan.interval(&device), number);
            if device.protocol == Protocol::Muster {
                // Of a person's devices, the terminal in the second slot has the button.
                let alarm = alarms.iter().find(|(officer, _)| (*officer, 1) == (unit, slot)).map(|(_, at)| *at);
                let member = Member { name: device.id.as_str().to_owned(), unit, slot, cadence, alarm };
                behind_gateways[number % GATEWAYS].push(member);
            } else {
                let receiver = Receiver { forces: Arc::clone(forces), unit, slot, start: plan.start };
                let carrier = carrier(target.transport);
                own.push((device.protocol, terminal(&device, carrier, receiver, cadence, Arc::clone(counters))));
            }
        }
    }
    let mut senders = gateways(plan, forces, counters, behind_gateways);
    senders.append(&mut own);
    for (protocol, _) in &senders {
        counters[protocol].senders.add(1);
    }
    senders
}

fn gateways(
    plan: &Plan,
    forces: &Arc<Forces>,
    counters: &BTreeMap<Protocol, Arc<Counters>>,
    behind: Vec<Vec<Member>>,
) -> Vec<(Protocol, Box<dyn Terminal>)> {
    let (Some(target), Some(counters)) = (plan.target(Protocol::Muster), counters.get(&Protocol::Muster)) else {
        return Vec::new();
    };
    let gateway = |(number, members): (usize, Vec<Member>)| {
        let (forces, counters) = (Arc::clone(forces), Arc::clone(counters));
        let name = format!("gateway-{}", number + 1);
        let carrier = carrier(target.transport);
        let gateway = Gateway::new(name, forces, plan.start, carrier, plan.batches, members, counters);
        (Protocol::Muster, Box::new(gateway) as Box<dyn Terminal>)
    };
    behind.into_iter().enumerate().filter(|(_, members)| !members.is_empty()).map(gateway).collect()
}

/// The terminal that speaks for one device. Every other vehicle follows the issue of 2019.
fn terminal(
    device: &Device,
    carrier: Carrier,
    receiver: Receiver,
    cadence: Cadence,
    counters: Arc<Counters>,
) -> Box<dyn Terminal> {
    let number = device.number().to_owned();
    let tongue = match device.protocol {
        Protocol::Jt808 | Protocol::Muster => {
            let issue = if receiver.unit.is_multiple_of(2) { Issue::Of2013 } else { Issue::Of2019 };
            return Box::new(Vehicle::new(issue, &number, receiver, cadence, counters));
        }
        Protocol::Nmea => Tongue::Nmea,
        Protocol::Taip => Tongue::Taip,
    };
    Box::new(Beacon { tongue, carrier, number, receiver, cadence, counters })
}

const fn carrier(transport: Transport) -> Carrier {
    match transport {
        Transport::Tcp | Transport::Http => Carrier::Stream,
        Transport::Udp => Carrier::Datagrams,
    }
}

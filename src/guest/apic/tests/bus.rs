//! The bus: for whom a message is, who is kicked, and what happens when vCPUs come and go.

extern crate std;

use std::sync::Mutex;
use std::vec::Vec;

use super::{Apic, Random, enabled, write};
use crate::{
    Error, VcpuHandle,
    guest::apic::{ApicBus, ApicDestination, ApicMessage, Effect, VcpuHost},
    nested::mock::MockFrames,
    spec::x86::apic::{ApicDeliveryMode, ApicRegister},
};

type Handle = VcpuHandle<MockFrames>;

/// A host that notes what it is asked for.
#[derive(Default)]
struct Host {
    kicked: Mutex<Vec<usize>>,
    woken: Mutex<Vec<u32>>,
}

impl VcpuHost for Host {
    fn kick(&self, cpu: usize) {
        self.kicked.lock().unwrap().push(cpu);
    }

    fn wake(&self, apic_id: u32) {
        self.woken.lock().unwrap().push(apic_id);
    }
}

/// Some vCPUs on a bus.
struct Machine {
    apics: Vec<Apic>,
    handles: Vec<Handle>,
    bus: ApicBus<MockFrames>,
    host: &'static Host,
}

impl Machine {
    fn new(ids: &[u32]) -> Self {
        let host: &'static Host = std::boxed::Box::leak(std::boxed::Box::default());
        let bus = ApicBus::new(host).expect("a frame");
        let mut machine = Self { apics: Vec::new(), handles: Vec::new(), bus, host };
        for id in ids {
            let handle = Handle::new().expect("a frame");
            let mut apic = enabled(*id);
            apic.connect(machine.bus.join(*id, handle.clone()).expect("room"));
            machine.apics.push(apic);
            machine.handles.push(handle);
        }
        machine
    }

    /// Who has got `vector`.
    fn receivers(&self, vector: u8) -> Vec<usize> {
        let has = |handle: &Handle| handle.take().interrupts[usize::from(vector / 64)] >> (vector % 64) & 1 != 0;
        self.handles.iter().enumerate().filter(|(_, handle)| has(handle)).map(|(index, _)| index).collect()
    }

    fn deliver(&self, destination: ApicDestination) -> Vec<usize> {
        let found = self.bus.deliver(ApicMessage { destination, ..ApicMessage::fixed(0, 0x40) });
        let receivers = self.receivers(0x40);
        assert_eq!(found, !receivers.is_empty());
        receivers
    }
}

use ApicDestination::{All, Logical, Others, Physical};

#[test]
fn physical_destinations_and_shorthands() {
    let machine = Machine::new(&[0, 1, 5, 0x80]);
    assert_eq!(machine.deliver(Physical(5)), [2]);
    assert_eq!(machine.deliver(Physical(0x80)), [3]);
    assert!(machine.deliver(Physical(2)).is_empty());
    assert_eq!(machine.deliver(All), [0, 1, 2, 3]);
    // A device is nobody's self.
    assert_eq!(machine.deliver(Others), [0, 1, 2, 3]);
    for (destination, expected) in [(Others, &[0, 2, 3][..]), (All, &[0, 1, 2, 3]), (Physical(1), &[1])] {
        assert!(machine.apics[1].send(ApicMessage { destination, ..ApicMessage::fixed(0, 0x40) }));
        assert_eq!(machine.receivers(0x40), expected);
    }
}

#[test]
fn logical_destinations_in_all_models() {
    let mut machine = Machine::new(&[0, 1, 2, 3]);
    for (apic, logical) in machine.apics.iter_mut().zip([1, 2, 4, 0x84]) {
        write(apic, ApicRegister::LOGICAL_DESTINATION, logical << 24);
    }
    assert_eq!(machine.deliver(Logical(3)), [0, 1]);
    assert_eq!(machine.deliver(Logical(4)), [2, 3]);
    assert_eq!(machine.deliver(Logical(0xff)), [0, 1, 2, 3]);
    assert!(machine.deliver(Logical(0x40)).is_empty());
    for (apic, logical) in machine.apics.iter_mut().zip([0x11, 0x12, 0x21, 0x28]) {
        write(apic, ApicRegister::DESTINATION_FORMAT, 0);
        write(apic, ApicRegister::LOGICAL_DESTINATION, logical << 24);
    }
    assert_eq!(machine.deliver(Logical(0x13)), [0, 1]);
    assert_eq!(machine.deliver(Logical(0x29)), [2, 3]);
    assert_eq!(machine.deliver(Logical(0x2f)), [2, 3]);
    assert_eq!(machine.deliver(Logical(0xff)), [0, 1, 2, 3]);
    assert!(machine.deliver(Logical(0x31)).is_empty());
    // A model that does not exist is addressed by nothing.
    write(&mut machine.apics[0], ApicRegister::DESTINATION_FORMAT, 0x5fff_ffff);
    assert_eq!(machine.deliver(Logical(0xff)), [1, 2, 3]);

    let mut machine = Machine::new(&[0, 3, 0x12, 0x1f]);
    for apic in &mut machine.apics {
        apic.set_base(apic.base() | 1 << 10, 40).expect("from xAPIC mode");
    }
    assert_eq!(machine.deliver(Logical(0x0009)), [0, 1]);
    assert_eq!(machine.deliver(Logical(0x1_8004)), [2, 3]);
    assert_eq!(machine.deliver(Logical(0x1_8000)), [3]);
    assert!(machine.deliver(Logical(0x2_ffff)).is_empty());
}

#[test]
fn lowest_priority_and_turns() {
    let mut machine = Machine::new(&[0, 1, 2]);
    let message =
        ApicMessage { destination: All, delivery: ApicDeliveryMode::LOWEST_PRIORITY, ..ApicMessage::fixed(0, 0x40) };
    write(&mut machine.apics[1], ApicRegister::TASK_PRIORITY, 0x50);
    let mut got = [0; 3];
    for _ in 0..100 {
        assert!(machine.bus.deliver(message));
        let receivers = machine.receivers(0x40);
        assert_eq!(receivers.len(), 1);
        got[receivers[0]] += 1;
    }
    assert_eq!(got, [50, 0, 50]);
    write(&mut machine.apics[0], ApicRegister::TASK_PRIORITY, 0x90);
    write(&mut machine.apics[2], ApicRegister::TASK_PRIORITY, 0x60);
    machine.bus.deliver(message);
    assert_eq!(machine.receivers(0x40), [1]);
    for apic in &mut machine.apics {
        write(apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0xff);
    }
    assert!(!machine.bus.deliver(message));
}

#[test]
fn those_that_are_off_take_nothing_or_only_what_is_not_fixed() {
    let mut machine = Machine::new(&[0, 1]);
    write(&mut machine.apics[1], ApicRegister::SPURIOUS_INTERRUPT_VECTOR, 0xff);
    assert_eq!(machine.deliver(All), [0]);
    let nmi = ApicMessage { delivery: ApicDeliveryMode::NMI, ..ApicMessage::fixed(1, 0) };
    assert!(machine.bus.deliver(nmi) && machine.handles[1].take().nmi);
    let base = machine.apics[1].base();
    machine.apics[1].set_base(base & !(1 << 11), 40).expect("off");
    assert!(!machine.bus.deliver(nmi) && !machine.handles[1].has_mail());
    for delivery in [ApicDeliveryMode::SMI, ApicDeliveryMode::EXT_INT, ApicDeliveryMode(3)] {
        assert!(!machine.bus.deliver(ApicMessage { delivery, ..nmi }));
        assert!(!machine.bus.deliver(ApicMessage { delivery, ..ApicMessage::fixed(0, 0x40) }));
    }
}

#[test]
fn inits_and_start_up_messages() {
    let machine = Machine::new(&[0, 1, 2]);
    let others = |delivery, vector| ApicMessage { destination: All, delivery, vector, level: false };
    assert!(machine.apics[0].send(others(ApicDeliveryMode::INIT, 0)));
    assert!(machine.apics[0].send(others(ApicDeliveryMode::START_UP, 0x9f)));
    assert!(!machine.handles[0].has_mail(), "nobody starts itself");
    for handle in &machine.handles[1..] {
        let mail = handle.take();
        assert_eq!((mail.init, mail.start_up), (true, Some(0x9f)));
    }
}

#[test]
fn whoever_runs_is_kicked_and_whoever_does_not_is_woken() {
    let machine = Machine::new(&[0, 1, 2]);
    machine.handles[1].enter_run_on(7);
    machine.apics[0]
        .send(ApicMessage { destination: All, ..ApicMessage::fixed(0, 0x40) })
        .then_some(())
        .expect("a bus");
    assert_eq!(*machine.host.kicked.lock().unwrap(), [7]);
    assert_eq!(*machine.host.woken.lock().unwrap(), [2]);
    machine.handles[1].leave_run();
    machine.bus.deliver(ApicMessage::fixed(1, 0x40));
    assert_eq!(*machine.host.woken.lock().unwrap(), [2, 1]);
}

#[test]
fn places_are_given_back_and_ids_are_unique() {
    let mut machine = Machine::new(&[0, 1]);
    let again = machine.bus.join(1, Handle::new().expect("a frame"));
    assert!(matches!(again, Err(Error::InvalidInput(_))));
    drop(again);
    machine.apics.pop();
    assert!(machine.deliver(Physical(1)).is_empty());
    let link = machine.bus.join(1, machine.handles[1].clone()).expect("its place is free");
    drop(link);
    // Until it is full.
    let mut links = Vec::new();
    let full = loop {
        match machine.bus.join(1_000 + links.len() as u32, Handle::new().expect("a frame")) {
            Ok(link) => links.push(link),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::InvalidInput(_)) && links.len() >= 64);
    drop(links);
    drop(machine);
    assert_eq!(MockFrames::live(), 0);
}

#[test]
fn devices_messages() {
    let message = ApicMessage::from_msi(0xfee0_3000, 0x4041).expect("for local APICs");
    assert_eq!(message, ApicMessage::fixed(3, 0x41));
    let message = ApicMessage::from_msi(0xfeef_f00c, 0xc155).expect("for local APICs");
    assert_eq!((message.destination, message.level), (Logical(0xff), true));
    assert_eq!(message.delivery, ApicDeliveryMode::LOWEST_PRIORITY);
    assert_eq!(ApicMessage::from_msi(0xfeef_f000, 0x41).map(|message| message.destination), Some(All));
    for other in [0xfed0_0000, 0xfef0_0000, 0x1_fee0_0000, 0] {
        assert_eq!(ApicMessage::from_msi(other, 0x41), None);
    }
    let message = ApicMessage::from_io_apic(2, true, ApicDeliveryMode::FIXED, 0x50, true);
    assert_eq!(message, ApicMessage { destination: Logical(2), level: true, ..ApicMessage::fixed(0, 0x50) });
}

/// Threads that send, while others join, leave, and change their addresses: no message is delivered to nobody's memory,
/// and none that was sent to somebody who stays is lost.
#[test]
fn nothing_is_lost_between_threads() {
    let mut machine = Machine::new(&[0, 1, 2, 3]);
    let stay = machine.handles[0].clone();
    let (first, rest) = machine.apics.split_first_mut().expect("four");
    let bus = &machine.bus;
    const SENT: usize = 20_000;
    // All frames belong to this thread; the others only use them.
    let joined: Vec<Handle> = (0..SENT / 100).map(|_| Handle::new().expect("a frame")).collect();
    let received = std::thread::scope(|scope| {
        let senders: Vec<_> = [0x40u8, 0x41]
            .into_iter()
            .map(|vector| {
                scope.spawn(move || {
                    for _ in 0..SENT {
                        while !bus.deliver(ApicMessage { destination: All, ..ApicMessage::fixed(0, vector) }) {}
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut random = Random(3);
            for handle in &joined {
                let link = bus.join(100, handle.clone()).expect("room");
                let apic = &mut rest[random.below(3) as usize];
                write(apic, ApicRegister::LOGICAL_DESTINATION, random.next() as u32);
                drop(link);
            }
        });
        let mut received = [0usize; 2];
        loop {
            let done = senders.iter().all(std::thread::ScopedJoinHandle::is_finished);
            let mail = stay.take();
            received[0] += (mail.interrupts[1] & 1) as usize;
            received[1] += (mail.interrupts[1] >> 1 & 1) as usize;
            if done && !stay.has_mail() {
                break received;
            }
        }
    });
    assert!(received.iter().all(|count| (1..=SENT).contains(count)), "{received:?}");
    assert_eq!(write(first, ApicRegister::END_OF_INTERRUPT, 0), Effect::None);
}

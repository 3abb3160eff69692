//! All clients by slot. The one whose command runs is taken out and put back afterwards, so that
//! its handler may change the engine and the client at once.

use std::rc::Rc;

use crate::client::{Client, ClientId, Closing, Duty, OutputBounds};

#[derive(Default)]
pub struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
    last_serial: u64,
    count: usize,
    /// Slots of clients that are gone and whose connections are not.
    retired: usize,
    /// The sum of what clients counted when they were last looked at, in bytes.
    evictable_bytes: u64,
    /// Clients with output to write or an end to perform; drained by `net`.
    pub flush: Vec<ClientId>,
    pub bounds: Rc<OutputBounds>,
}

struct Slot {
    serial: u64,
    client: Option<Box<Client>>,
    /// The client is gone; the slot is kept for its connection.
    retired: bool,
}

impl Clients {
    pub fn add(&mut self, duty: Duty, now_ms: u64) -> ClientId {
        self.last_serial += 1;
        self.count += 1;
        let serial = self.last_serial;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { serial: 0, client: None, retired: false });
            self.slots.len() as u32 - 1
        });
        let id = ClientId { serial, slot };
        let mut client = Box::new(Client::new(id, duty, now_ms));
        client.bounds = Rc::clone(&self.bounds);
        self.slots[slot as usize] = Slot { serial, client: Some(client), retired: false };
        id
    }

    pub fn remove(&mut self, id: ClientId) -> Option<Box<Client>> {
        let client = self.retire(id);
        self.release(id);
        client
    }

    /// As [`Self::remove`], but the slot is nobody else's before [`Self::release`].
    pub fn retire(&mut self, id: ClientId) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial)?;
        if std::mem::replace(&mut slot.retired, true) {
            return None;
        }
        let client = slot.client.take();
        self.retired += 1;
        self.count -= 1;
        let counted = client.as_ref().map_or(0, |client| client.counted_bytes);
        self.evictable_bytes = self.evictable_bytes.saturating_sub(counted);
        client
    }

    /// Gives the slot of a retired client free.
    pub fn release(&mut self, id: ClientId) {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial);
        if let Some(slot) = slot.filter(|slot| slot.retired) {
            *slot = Slot { serial: 0, client: None, retired: false };
            self.free.push(id.slot);
            self.retired -= 1;
        }
    }

    /// Takes note of what a client counts towards `maxmemory-clients` by now. Returns the sum of what
    /// all counted when they were last looked at, in bytes.
    pub fn count(&mut self, id: ClientId) -> u64 {
        let before = self.evictable_bytes;
        if let Some(client) = self.get_mut(id) {
            let bytes = client.evictable_bytes() as u64;
            let counted = std::mem::replace(&mut client.counted_bytes, bytes);
            // The sum lacks who was running when all were counted.
            self.evictable_bytes = before.saturating_sub(counted) + bytes;
        }
        self.evictable_bytes
    }

    /// Counts every client anew but the one that is running; the sum, in bytes.
    pub fn count_all(&mut self) -> u64 {
        let mut sum = 0;
        for client in self.iter_mut() {
            client.counted_bytes = client.evictable_bytes() as u64;
            sum += client.counted_bytes;
        }
        self.evictable_bytes = sum;
        sum
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// How many clients are gone and still have a connection.
    pub fn retired(&self) -> usize {
        self.retired
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn get(&self, id: ClientId) -> Option<&Client> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.serial == id.serial)?;
        slot.client.as_deref()
    }

    /// The client with this serial number (`CLIENT ID`), but for the running one.
    pub fn by_serial(&self, serial: u64) -> Option<ClientId> {
        self.iter().find(|client| client.id.serial == serial).map(|client| client.id)
    }

    #[inline]
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial)?;
        slot.client.as_deref_mut()
    }

    /// Takes a client out to run it; `put_back` must follow.
    #[inline]
    pub fn take(&mut self, id: ClientId) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial)?;
        slot.client.take()
    }

    #[inline]
    pub fn put_back(&mut self, client: Box<Client>) {
        let slot = &mut self.slots[client.id.slot as usize];
        debug_assert_eq!(slot.serial, client.id.serial);
        slot.client = Some(client);
    }

    /// Every client but the one that is running.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|slot| slot.client.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().filter_map(|slot| slot.client.as_deref_mut())
    }

    /// Queues a client for writing; called by whoever appended to the output of another client.
    #[inline]
    pub fn queue_flush(&mut self, id: ClientId) {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial);
        if let Some(client) = slot.and_then(|slot| slot.client.as_deref_mut())
            && !client.flush_queued
        {
            client.flush_queued = true;
            self.flush.push(id);
        }
    }

    /// Ends a connection that is not the running one, and gives back at once what it holds.
    pub fn give_up(&mut self, id: ClientId) {
        if let Some(client) = self.get_mut(id) {
            client.give_up();
            self.queue_flush(id);
        }
    }

    /// Ends a connection that is not the running one.
    pub fn close(&mut self, id: ClientId, how: Closing) {
        if let Some(client) = self.get_mut(id)
            && client.closing != Closing::Now
        {
            client.closing = how;
            self.queue_flush(id);
        }
    }
}

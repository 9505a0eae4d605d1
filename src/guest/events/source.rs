//! Where a guest's external interrupts come from.

/// An interrupt controller, as the event engine sees it: it has requests, orders them by priority, and is told when one is
/// delivered. The local APIC is one, and [`InterruptQueue`] is the plainest.
///
/// What a source says holds for one decision: the engine asks anew before each entry for which [`Events::any`] holds. A
/// source whose answer changes for another reason than an entry (a lower task priority, an EOI, a new request) tells the
/// engine with [`Events::wake`].
///
/// [`Events::any`]: super::Events::any
/// [`Events::wake`]: super::Events::wake
pub(crate) trait InterruptSource {
    /// The interrupt that would be delivered now if RFLAGS.IF is 1 and no shadow is in the way: what the task priority and
    /// handlers in service hold back does not count.
    fn highest(&self) -> Option<u8>;

    /// The interrupt that [`highest`](Self::highest) named is being delivered: it is no longer requested. It will not come
    /// back: if its delivery is interrupted, the engine keeps it and delivers it again.
    fn acknowledge(&mut self, vector: u8);

    /// Whether interrupts are requested that the task priority may hold back. While this holds each entry is planned anew,
    /// for a source that does not see all changes of the task priority.
    fn any(&self) -> bool {
        self.highest().is_some()
    }
}

/// Pending interrupts, a bit for each vector, held back by CR8 alone: for a guest whose interrupt controller is the VMM's
/// business.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InterruptQueue {
    pub(in crate::guest) requests: [u64; 4],
    /// CR8: interrupts of this priority class and below wait. 0 lets all of them through, those of class 0 too, which only
    /// other interrupt controllers than the local APIC send.
    task_priority: u8,
}

impl InterruptQueue {
    /// Makes an external interrupt pending.
    pub(crate) fn request(&mut self, vector: u8) {
        self.requests[usize::from(vector >> 6) & 3] |= 1 << (vector & 63);
    }

    /// Makes all of these external interrupts pending.
    pub(crate) fn request_all(&mut self, vectors: &[u64; 4]) {
        for (pending, new) in self.requests.iter_mut().zip(vectors) {
            *pending |= new;
        }
    }

    /// The guest's CR8.
    pub(crate) fn task_priority(&self) -> u8 {
        self.task_priority
    }

    /// Sets the guest's CR8 (4 bits).
    pub(crate) fn set_task_priority(&mut self, class: u8) {
        self.task_priority = class & 0xf;
    }
}

impl InterruptSource for InterruptQueue {
    fn highest(&self) -> Option<u8> {
        let (index, word) = self.requests.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        let vector = (index as u8) << 6 | (63 - word.leading_zeros() as u8);
        (self.task_priority == 0 || vector >> 4 > self.task_priority).then_some(vector)
    }

    fn acknowledge(&mut self, vector: u8) {
        self.requests[usize::from(vector >> 6) & 3] &= !(1 << (vector & 63));
    }

    fn any(&self) -> bool {
        self.requests != [0; 4]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_priority_holds_interrupts_back() {
        let mut queue = InterruptQueue::default();
        queue.request(0x45);
        queue.set_task_priority(4);
        assert_eq!((queue.highest(), queue.any()), (None, true));
        queue.set_task_priority(3);
        assert_eq!(queue.highest(), Some(0x45));
        queue.acknowledge(0x45);
        assert_eq!((queue.highest(), queue.any()), (None, false));
    }

    #[test]
    fn task_priority_0_lets_all_vectors_through() {
        let mut queue = InterruptQueue::default();
        queue.request(8);
        assert_eq!(queue.highest(), Some(8));
        queue.set_task_priority(1);
        assert_eq!(queue.highest(), None);
    }
}

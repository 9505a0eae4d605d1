//! COM1 of the guest. The emulator connects to a port of this host; what it sends is the guest's output, what it gets the
//! guest's input.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// The end of the line that waits for the emulator.
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
}

impl Console {
    pub fn listen() -> Result<Console> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the guest's terminal")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Console { listener, address })
    }

    /// What the emulator connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the emulator, hands the way in to `on_connect`, and gives all output to `on_output` until the emulator
    /// closes the line, or `done` is true before it has opened one.
    pub fn carry(
        self,
        done: &AtomicBool,
        on_connect: impl FnOnce(TcpStream),
        mut on_output: impl FnMut(&[u8]),
    ) -> Result<()> {
        let Some(mut stream) = self.accept(done)? else { return Ok(()) };
        drop(self.listener);
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        on_connect(stream.try_clone()?);
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => on_output(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An emulator that was killed.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("the guest's terminal"),
            }
        }
    }

    fn accept(&self, done: &AtomicBool) -> Result<Option<TcpStream>> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the guest's terminal"),
            }
            if done.load(Ordering::Relaxed) {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What is typed after Ctrl-A means something to us.
#[derive(Default)]
pub struct Keys {
    after_escape: bool,
}

const CONTROL_A: u8 = 1;

impl Keys {
    /// Takes what was typed, leaves what the guest gets; true when the user wants to end the run.
    pub fn filter(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for byte in typed.iter().copied() {
            match (std::mem::take(&mut self.after_escape), byte) {
                (false, CONTROL_A) => self.after_escape = true,
                (true, b'x' | b'X') => return true,
                // Twice is once; anything else after it was meant for the guest as well.
                (_, byte) => passed.push(byte),
            }
        }
        false
    }
}

/// Sends our input to the guest until there is none, in the background; `keys` when it comes from a terminal. Nothing waits
/// for it: reading cannot be given up, and ends with the program.
pub fn feed(mut guest: TcpStream, mut keys: Option<Keys>, on_stop: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = input.read(&mut bytes) {
            let mut passed = Vec::new();
            let stop = match &mut keys {
                Some(keys) => keys.filter(&bytes[..count], &mut passed),
                None => {
                    passed.extend_from_slice(&bytes[..count]);
                    false
                }
            };
            if stop {
                on_stop();
                return;
            }
            if guest.write_all(&passed).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways() {
        let console = Console::listen().expect("a port");
        let address = console.address();
        let guest = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            let mut question = [0; 3];
            stream.read_exact(&mut question).expect("input");
            stream.write_all(&question).expect("output");
            stream.write_all(b"\xFFend").expect("output");
        });
        let mut seen = Vec::new();
        let on_connect = |mut guest: TcpStream| guest.write_all(b"why").expect("input");
        console.carry(&AtomicBool::new(false), on_connect, |bytes| seen.extend_from_slice(bytes)).expect("carried");
        guest.join().expect("no panic");
        assert_eq!(seen, b"why\xFFend");
    }

    #[test]
    fn nobody_waits_for_an_emulator_that_is_gone() {
        let console = Console::listen().expect("a port");
        console.carry(&AtomicBool::new(true), |_| panic!("nobody"), |_| panic!("nothing")).expect("given up");
    }

    #[test]
    fn control_a_x_ends_the_run() {
        let mut keys = Keys::default();
        let mut passed = Vec::new();
        assert!(!keys.filter(b"ls\r\x03\x01", &mut passed));
        assert!(!keys.filter(b"\x01\x01c", &mut passed));
        assert_eq!(passed, b"ls\r\x03\x01c");
        assert!(keys.filter(b"a\x01xb", &mut passed));
        assert_eq!(passed, b"ls\r\x03\x01ca");
    }
}

//! Queries over UDP and their answers, many at a time: while one is answered others arrive, and all that have arrived
//! are taken, and answered, by one call of the system each.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// Queries that are taken at once.
const MOST: usize = 16;

/// Octets of a query that are read; what is longer is no question for a list.
const QUERY: usize = 4_096;

/// Memory for the queries that are taken at once, and for their answers.
pub(super) struct Datagrams {
    queries: Box<[[u8; QUERY]; MOST]>,
    answers: [Vec<u8>; MOST],
    arrived: Vec<(usize, SockaddrStorage)>,
    receiving: MultiHeaders<SockaddrStorage>,
    sending: MultiHeaders<SockaddrStorage>,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        Self {
            queries: Box::new([[0; QUERY]; MOST]),
            answers: std::array::from_fn(|_| Vec::with_capacity(512)),
            arrived: Vec::with_capacity(MOST),
            receiving: MultiHeaders::preallocate(MOST, None),
            sending: MultiHeaders::preallocate(MOST, None),
        }
    }

    /// Waits for queries, lets each be answered, and sends the answers that are not empty; how many could not be sent.
    ///
    /// # Errors
    /// When nothing has arrived within the socket's time-out, or an earlier answer turns out not to have arrived.
    pub(super) fn exchange(
        &mut self,
        socket: &UdpSocket,
        mut answer: impl FnMut(&[u8], IpAddr, &mut Vec<u8>),
    ) -> io::Result<u64> {
        self.receive(socket)?;
        for ((query, answer_to), (len, from)) in self.queries.iter().zip(&mut self.answers).zip(&self.arrived) {
            answer_to.clear();
            if let Some(from) = address(from) {
                answer(query.get(..*len).unwrap_or(&[]), from, answer_to);
            }
        }
        Ok(self.send(socket))
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.arrived.clear();
        let mut room = self.queries.each_mut().map(|query| [IoSliceMut::new(query)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = recvmmsg(socket.as_raw_fd(), &mut self.receiving, room.iter_mut(), flags, None)?;
        self.arrived.extend(received.filter_map(|message| Some((message.bytes, message.address?))));
        Ok(())
    }

    fn send(&mut self, socket: &UdpSocket) -> u64 {
        let answers = self.answers.iter().zip(&self.arrived).filter(|(answer, _)| !answer.is_empty());
        let (slices, addresses): (Vec<_>, Vec<_>) =
            answers.map(|(answer, (_, to))| ([IoSlice::new(answer)], Some(*to))).unzip();
        let (mut at, mut unsent) = (0, 0);
        while let (Some(slices @ [_, ..]), Some(addresses)) = (slices.get(at..), addresses.get(at..)) {
            let fd = socket.as_raw_fd();
            match sendmmsg(fd, &mut self.sending, slices, addresses, [], MsgFlags::empty()) {
                Ok(sent) => at += sent.count().max(1),
                Err(Errno::EINTR) => {}
                // The first of them could not be sent; the others are tried.
                Err(_) => {
                    unsent += 1;
                    at += 1;
                }
            }
        }
        unsent
    }
}

fn address(of: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = of.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| of.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

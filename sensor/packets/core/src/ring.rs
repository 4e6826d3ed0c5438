//! A capture ring: one AF_PACKET socket whose packets the kernel writes in blocks into memory that is ours to read
//! (TPACKET_V3, the kernel's Documentation/networking/packet_mmap.rst). The other unsafe module beside `memory`.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The kernel hands a block over when it is full or this old.
pub const RETIRE_MS: u32 = 32;
/// A multiple of every page size in use; holds the largest packet that segmentation offload makes.
pub const BLOCK: usize = 1 << 20;
/// Offset of `block_status` in a block (struct tpacket_block_desc).
const STATUS: usize = 8;
const ARPHRD_LOOPBACK: u16 = 772;
/// Not in the libc crate: linux/if_packet.h.
const PACKET_FANOUT_DATA: c_int = 22;
const PACKET_IGNORE_OUTGOING: c_int = 23;
const FANOUT_CBPF: u32 = 6;
const FANOUT_FLAG_UNIQUEID: u32 = 0x2000;

/// One instruction of a classic BPF program: code, jt, jf, k.
pub type Instruction = (u16, u8, u8, u32);

pub struct Ring {
    fd: OwnedFd,
    memory: NonNull<u8>,
    size: usize,
    /// Which block is next.
    next: usize,
    /// LINKTYPE of its frames.
    pub link: u32,
}

// SAFETY: the mapping belongs to this value alone, and nothing in it is bound to a thread.
unsafe impl Send for Ring {}
// SAFETY: what `&Ring` can do is system calls on the descriptor; the memory is reached through `&mut Ring` only.
unsafe impl Sync for Ring {}

impl Ring {
    /// Opens a ring on an interface, with as many bytes as whole blocks hold. No packet enters it before `admit`.
    pub fn open(interface: &str, bytes: usize, promiscuous: bool) -> io::Result<Self> {
        let name = CString::new(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: `name` is a string with its NUL.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let index = c_int::try_from(index).map_err(io::Error::other)?;
        let hardware = hardware(index)?;
        // What has no Ethernet header is taken from its network header on.
        let (kind, link) = match hardware {
            libc::ARPHRD_ETHER | ARPHRD_LOOPBACK => (libc::SOCK_RAW, 1),
            _ => (libc::SOCK_DGRAM, 101),
        };
        let fd = socket(kind)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program(&mut [refuse()]))?;
        set(&fd, libc::SOL_PACKET, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V3)?;
        if hardware == ARPHRD_LOOPBACK {
            set(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32)?; // it comes in as well
        }
        let blocks = bytes.checked_div(BLOCK).unwrap_or_default().max(4);
        let size = blocks.saturating_mul(BLOCK);
        let request = libc::tpacket_req3 {
            tp_block_size: u32::try_from(BLOCK).map_err(io::Error::other)?,
            tp_block_nr: u32::try_from(blocks).map_err(io::Error::other)?,
            tp_frame_size: 2_048, // frames are as long as their packets; the kernel wants a divisor
            tp_frame_nr: u32::try_from(size.checked_div(2_048).unwrap_or_default())
                .map_err(io::Error::other)?,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let memory = map(&fd, size)?;
        let ring = Self { fd, memory, size, next: 0, link };
        bind(&ring.fd, index)?;
        if promiscuous {
            // SAFETY: all zeros is a packet_mreq.
            let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
            request.mr_ifindex = index;
            request.mr_type = libc::PACKET_MR_PROMISC as u16;
            set(&ring.fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
        }
        Ok(ring)
    }

    /// Shares the interface's packets with the other rings of the group, by the remainder of what `spread` returns.
    /// None: of a new group, whose number no other sensor has, not even one in a container. Returns the group.
    pub fn join(&self, group: Option<u16>, spread: &[Instruction]) -> io::Result<u16> {
        let kind = if group.is_some() { FANOUT_CBPF } else { FANOUT_CBPF | FANOUT_FLAG_UNIQUEID };
        let mut mode = u32::from(group.unwrap_or_default()) | kind << 16;
        set(&self.fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &mode)?;
        set(&self.fd, libc::SOL_PACKET, PACKET_FANOUT_DATA, &program(&mut filter(spread)))?;
        get(&self.fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &mut mode)?;
        Ok(mode as u16)
    }

    /// Lets in what the filter accepts; an empty one accepts all.
    pub fn admit(&self, accept: &[Instruction]) -> io::Result<()> {
        if accept.is_empty() {
            return set(&self.fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32);
        }
        set(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program(&mut filter(accept)))
    }

    /// From here on no packet enters; those in the ring stay.
    pub fn shut(&self) -> io::Result<()> {
        set(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program(&mut [refuse()]))
    }

    fn status(&self) -> &AtomicU32 {
        let at = self.next.saturating_mul(BLOCK).saturating_add(STATUS);
        // SAFETY: `next` is below the number of blocks, so that the word is in the mapping, which lives as long as
        // `self`; blocks are page-aligned, so that the word is aligned. The kernel writes it too: hence an atomic.
        unsafe { AtomicU32::from_ptr(self.memory.as_ptr().add(at).cast()) }
    }

    /// The next block, if the kernel has handed it over; it is ours until `release`.
    pub fn block(&mut self) -> Option<&mut [u8]> {
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let at = self.next.saturating_mul(BLOCK);
        // SAFETY: the block is inside the mapping (see `status`). While its status has TP_STATUS_USER the kernel
        // neither reads nor writes it; the acquire above orders its writes before our reads. `&mut self` makes this
        // the only reference, and `release`, which ends our turn, needs `&mut self` too.
        Some(unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(at), BLOCK) })
    }

    /// Gives the block back.
    pub fn release(&mut self) {
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        let blocks = self.size.checked_div(BLOCK).unwrap_or_default();
        self.next = self.next.saturating_add(1).checked_rem(blocks).unwrap_or_default();
    }

    /// Packets since the last call: those that were to enter, and those of them that found no room.
    pub fn statistics(&self) -> (u64, u64) {
        // SAFETY: all zeros is a tpacket_stats_v3.
        let mut stats: libc::tpacket_stats_v3 = unsafe { std::mem::zeroed() };
        let done = get(&self.fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut stats);
        done.map_or((0, 0), |()| (u64::from(stats.tp_packets), u64::from(stats.tp_drops)))
    }

    /// What went wrong with the socket since the last call: the interface went down, or away.
    pub fn error(&self) -> Option<io::Error> {
        let mut code = 0_i32;
        get(&self.fd, libc::SOL_SOCKET, libc::SO_ERROR, &mut code).ok()?;
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `open` with this size, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.size) };
    }
}

/// Waits until one of the rings has a block or trouble, or the time is over.
pub fn wait<'a>(rings: impl Iterator<Item = &'a Ring>, milliseconds: c_int) {
    let mut polled: Vec<libc::pollfd> = rings
        .map(|ring| libc::pollfd { fd: ring.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: pointer and length are of one live vector. An interrupted wait is a short one.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
}

fn socket(kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. Protocol 0: nothing is received before `bind`.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The interface's ARPHRD type, as a bound socket says it.
fn hardware(index: c_int) -> io::Result<u16> {
    let fd = socket(libc::SOCK_DGRAM)?;
    address(&fd, index, 0)?;
    // SAFETY: all zeros is a sockaddr_ll.
    let mut bound: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: a live, writable sockaddr_ll and its length.
    let done = unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut bound).cast(), &raw mut length) };
    check(done).map(|()| bound.sll_hatype)
}

fn bind(fd: &OwnedFd, index: c_int) -> io::Result<()> {
    address(fd, index, (libc::ETH_P_ALL as u16).to_be())
}

fn address(fd: &OwnedFd, index: c_int, protocol: u16) -> io::Result<()> {
    // SAFETY: all zeros is a sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: a live sockaddr_ll and its length.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })
}

fn map(fd: &OwnedFd, size: usize) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new shared mapping of the socket's ring at an address of the kernel's choice.
    let memory =
        unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn set<T>(fd: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let (pointer, length) = (std::ptr::from_ref(value).cast::<c_void>(), size_of::<T>() as libc::socklen_t);
    // SAFETY: pointer and length of a live value; the kernel copies it.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, length) })
}

fn get<T>(fd: &OwnedFd, level: c_int, name: c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    let pointer = std::ptr::from_mut(value).cast::<c_void>();
    // SAFETY: pointer and length of a live value, which is only ever an integer or a struct of integers.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, pointer, &raw mut length) })
}

fn check(outcome: c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn refuse() -> libc::sock_filter {
    libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 } // ret #0
}

fn filter(program: &[Instruction]) -> Vec<libc::sock_filter> {
    program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect()
}

/// Borrows the instructions by address: they must live until the system call.
fn program(filter: &mut [libc::sock_filter]) -> libc::sock_fprog {
    libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(u16::MAX), filter: filter.as_mut_ptr() }
}

//! seccomp: calls into the kernel that no script needs and that attacks begin with. A deny list:
//! what is on it answers EPERM, or ENOSYS where programs have another way that they then take.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

#[cfg(target_arch = "x86_64")]
use crate::bpf::{IF_AT_LEAST, LOAD, RETURN};
use crate::level::Level;
use crate::network::Network;

/// Never, whatever the arguments.
const DENIED: &[i64] = &[
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // the kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    libc::SYS_vhangup,
    // keys outlive a process and are shared by a user
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // the file system's shape, and ways around paths
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // namespaces and clocks
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// IPC objects of System V and POSIX queues outlive their process and are found by anybody: only in
/// an IPC namespace are they one's own.
const SHARED: [i64; 13] = [
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Not known here: programs go on without. `clone3` hides its flags from us.
const UNKNOWN: [i64; 4] =
    [libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// New namespaces, by `clone`, whose lowest byte is a signal.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// And by `unshare`, which knows one more (`CLONE_NEWTIME`, linux/sched.h).
const NEW_TIME: i32 = 0x80;

/// The bits of a socket's type; the others are flags (linux/net.h).
const SOCKET_TYPE: u64 = 0xf;

/// Puts text into a terminal's input (asm-generic/ioctls.h).
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541c];

/// The x32 way to call an x86-64 kernel: the same calls, and some more, from this number on (asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Of a filter's answers: this error (linux/seccomp.h).
#[cfg(target_arch = "x86_64")]
const RET_ERRNO: u32 = 0x0005_0000;

/// Where the call's number is (`struct seccomp_data`).
#[cfg(target_arch = "x86_64")]
const NUMBER: u32 = 0;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("this architecture has no filter")]
    Architecture,
    #[error("{0}")]
    Rules(#[from] seccompiler::BackendError),
    #[error("{0}")]
    Install(#[from] seccompiler::Error),
}

/// From now on, for us and all that we start.
pub(crate) fn filter(level: Level, network: Network) -> Result<(), FilterError> {
    install(denied(level, network)?, libc::EPERM)?;
    install(UNKNOWN.into_iter().map(|call| (call, Vec::new())).collect(), libc::ENOSYS)
}

/// The same, of sockets alone: where a filter for a wider network is there already.
pub(crate) fn filter_sockets(network: Network) -> Result<(), FilterError> {
    install(of_network(network)?, libc::EPERM)
}

fn install(rules: Rules, errno: i32) -> Result<(), FilterError> {
    let architecture: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|_| FilterError::Architecture)?;
    let action = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?;
    Ok(apply_filter(&without_x32(filter.try_into()?))?)
}

fn of_network(network: Network) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::from([(libc::SYS_socket, sockets(network)?)]);
    if network == Network::Internet {
        rules.extend(fast_open()?);
    }
    Ok(rules)
}

fn denied(level: Level, network: Network) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    if level < Level::Namespaces {
        rules.extend(SHARED.map(|call| (call, Vec::new())));
    }
    let new = |flag: i32| {
        let bit = u64::from(flag.cast_unsigned());
        SeccompRule::new(vec![SeccompCondition::new(0, Len::Qword, Op::MaskedEq(bit), bit)?])
    };
    let clone = NAMESPACES.into_iter().map(new).collect::<Result<Vec<_>, _>>()?;
    let unshare = NAMESPACES.into_iter().chain([NEW_TIME]).map(new).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_clone, clone);
    rules.insert(libc::SYS_unshare, unshare);
    // the limits of others; 0 is oneself
    let others = SeccompCondition::new(0, Len::Dword, Op::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![others])?]);
    let inputs = TERMINAL_INPUT
        .map(|request| SeccompRule::new(vec![SeccompCondition::new(1, Len::Dword, Op::Eq, request)?]));
    rules.insert(libc::SYS_ioctl, inputs.into_iter().collect::<Result<Vec<_>, _>>()?);
    rules.extend(of_network(network)?);
    Ok(rules)
}

/// Families and protocols that stay: local ones, the kernel's own tables, and the internet's unless there is
/// none. Landlock guards the connections of TCP proper: a relative of it would pass by.
fn sockets(network: Network) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut families: Vec<(i32, &[i32])> = vec![(libc::AF_NETLINK, &[libc::NETLINK_ROUTE])];
    if network != Network::None {
        families.push((libc::AF_INET, &[0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP]));
        families.push((libc::AF_INET6, &[0, libc::IPPROTO_ICMPV6, libc::IPPROTO_TCP, libc::IPPROTO_UDP]));
    }
    let known = families.iter().map(|(family, _)| *family).chain([libc::AF_UNIX]);
    let mut rules =
        vec![SeccompRule::new(known.map(|family| is(0, Op::Ne, family)).collect::<Result<_, _>>()?)?];
    for (family, protocols) in families {
        let others = protocols.iter().map(|protocol| is(2, Op::Ne, *protocol));
        let strange: Result<Vec<_>, _> = [is(0, Op::Eq, family)].into_iter().chain(others).collect();
        rules.push(SeccompRule::new(strange?)?);
    }
    // whichever protocol they choose by themselves: SCTP and DCCP
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_SEQPACKET, libc::SOCK_DCCP] {
            let kind = u64::from(kind.cast_unsigned());
            let of_kind = SeccompCondition::new(1, Len::Dword, Op::MaskedEq(SOCKET_TYPE), kind)?;
            rules.push(SeccompRule::new(vec![is(0, Op::Eq, family)?, of_kind])?);
        }
    }
    Ok(rules)
}

fn is(argument: u8, how: Op, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, Len::Dword, how, u64::from(value.cast_unsigned()))
}

/// TCP Fast Open connects by sending, where Landlock does not look. Programs then connect as ever.
fn fast_open() -> Result<Vec<(i64, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let flag = u64::from(libc::MSG_FASTOPEN.cast_unsigned());
    let calls = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)];
    let rule = |(call, argument)| {
        let set = SeccompCondition::new(argument, Len::Dword, Op::MaskedEq(flag), flag)?;
        Ok((call, vec![SeccompRule::new(vec![set])?]))
    };
    calls.into_iter().map(rule).collect()
}

/// Before anything else: the x32 way has other numbers for what is denied, and nobody here goes it.
#[cfg(target_arch = "x86_64")]
fn without_x32(program: BpfProgram) -> BpfProgram {
    let step = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    let refused = RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let first = [step(LOAD, 0, NUMBER), step(IF_AT_LEAST, 1, X32), step(RETURN, 0, refused)];
    first.into_iter().chain(program).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32(program: BpfProgram) -> BpfProgram {
    program
}
